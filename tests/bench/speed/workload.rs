//! Messages to measure with, as bytes: one a line.

use std::io::Write as _;

/// The time at which everything begins, in ms.
pub const START_MS: usize = 1_700_000_000_000;

/// Names the node, so that it answers envelopes with envelopes from then on.
pub const INIT: &[u8] = b"{\"src\": \"c0\", \"dest\": \"n1\", \"body\": {\"type\": \"init\", \
    \"msg_id\": 1, \"node_id\": \"n1\", \"node_ids\": [\"n1\"]}}\n";

/// In which order an envelope and its body have their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As Maelstrom and the course write them.
    Normal,
    TypeLast,
    SrcAfterBody,
    UnknownBetween,
    /// The last three at once.
    All,
}

impl Order {
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal order",
            Self::TypeLast => "`type` last",
            Self::SrcAfterBody => "`src` after `body`",
            Self::UnknownBetween => "unknown fields in between",
            Self::All => "all three at once",
        }
    }
}

/// The id of a worker: 8 bytes.
pub fn worker(number: usize) -> String {
    format!("w{number:07}")
}

/// `count` heartbeats in envelopes, from `workers` workers in turn.
pub fn heartbeats(count: usize, workers: usize, order: Order) -> Vec<u8> {
    let mut input = Vec::with_capacity(count * 150);
    for number in 0..count {
        let worker = worker(scattered(number, workers));
        let rest = match order {
            Order::UnknownBetween | Order::All => format!(
                "\"msg_id\": {number}, \"load\": [0.5, 0.25], \"worker_id\": \"{worker}\", \
                 \"host\": {{\"rack\": \"r7\"}}, \"timestamp\": {}",
                START_MS + number
            ),
            _ => format!(
                "\"msg_id\": {number}, \"worker_id\": \"{worker}\", \"timestamp\": {}",
                START_MS + number
            ),
        };
        let body = match order {
            Order::TypeLast | Order::All => format!("{{{rest}, \"type\": \"heartbeat\"}}"),
            _ => format!("{{\"type\": \"heartbeat\", {rest}}}"),
        };
        let _ = match order {
            Order::SrcAfterBody => {
                writeln!(
                    input,
                    "{{\"dest\": \"n1\", \"body\": {body}, \"src\": \"{worker}\"}}"
                )
            }
            Order::UnknownBetween => writeln!(
                input,
                "{{\"id\": {number}, \"src\": \"{worker}\", \"dest\": \"n1\", \"body\": {body}}}"
            ),
            Order::All => writeln!(
                input,
                "{{\"id\": {number}, \"dest\": \"n1\", \"body\": {body}, \"src\": \"{worker}\"}}"
            ),
            Order::Normal | Order::TypeLast => {
                writeln!(
                    input,
                    "{{\"src\": \"{worker}\", \"dest\": \"n1\", \"body\": {body}}}"
                )
            }
        };
    }
    input
}

/// The numbers below `count`, each once in `count` steps, neighbours far apart: in a real cluster nobody reports
/// in the order of registration.
pub fn scattered(step: usize, count: usize) -> usize {
    // A prime that divides none of the counts in use, so that the steps meet every number.
    const STRIDE: usize = 611_953;
    (step * STRIDE) % count
}
