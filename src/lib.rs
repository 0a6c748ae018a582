#![doc = include_str!("protocol.md")]
//!
//! # The code
//!
//! The modules, in the order in which a message passes through them:
//!
//! ```text
//! bytes ──framing──▶ message ──wire──▶ Request ──▶ Master ──▶ Reply ──wire──▶ bytes
//! ```
//!
//! * [`framing`]: bytes to messages
//! * [`wire`]: messages to requests, and replies to bytes
//! * [`service`]: gets a message answered, and addresses the reply
//! * [`master`]: the state of the cluster and how it changes, without any input or output
//! * [`node`]: the loop that reads, has messages answered, and writes
//! * [`journal`]: the write-ahead log, from which a node that was killed recovers
//! * [`nearest`]: what a misspelt word may stand for
//! * [`timeline`]: a job's life as a page
//! * [`streams`]: a log that never delays the node, and pipes in non-blocking mode

#![forbid(unsafe_code)]

pub mod framing;
pub mod journal;
pub mod master;
pub mod nearest;
pub mod node;
pub mod service;
pub mod streams;
pub mod timeline;
pub mod wire;
