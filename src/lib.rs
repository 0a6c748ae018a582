//! The fault-tolerant master of a `MapReduce` cluster, as a node that speaks JSON lines.
//!
//! The modules in the order in which a message passes through them:
//!
//! ```text
//! bytes ──framing──▶ message ──wire──▶ Request ──▶ Master ──▶ Reply ──wire──▶ bytes
//! ```
//!
//! * [`framing`]: bytes to messages
//! * [`wire`]: messages to requests, and replies to bytes
//! * [`node`]: reads, has requests answered, writes; addressing
//! * [`master`]: what the cluster is and how it changes, without any input or output

#![forbid(unsafe_code)]

pub mod framing;
pub mod master;
pub mod node;
pub mod wire;
