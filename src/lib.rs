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
//! * [`service`]: has a message answered, and addresses the reply
//! * [`master`]: what the cluster is and how it changes, without any input or output
//! * [`node`]: reads, has messages answered, writes
//! * [`journal`]: what a node needs to go on where it was when it was killed
//! * [`nearest`]: what a misspelt word may stand for

#![forbid(unsafe_code)]

pub mod framing;
pub mod journal;
pub mod master;
pub mod nearest;
pub mod node;
pub mod service;
pub mod wire;
