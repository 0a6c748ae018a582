//! The master as the simulation knows it: bytes in, bytes out.
//!
//! This is the place for whatever else can happen to a master. One that crashes and comes back from its journal would
//! replace `node` here, on an [`Input`](super::witness::Input) of its own, and nobody else would have to know.

use mapreduce_master::node::Node;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub struct Master {
    node: Node,
}

impl Master {
    pub fn start() -> Self {
        Self {
            node: Node::new(true),
        }
    }

    /// Feeds bytes in two pieces, and returns the lines that come out; nothing if the master panics.
    pub fn answer(&mut self, bytes: &[u8]) -> Option<Vec<String>> {
        // Anywhere, also in the middle of a character.
        let cut = bytes.len() * 2 / 3;
        let node = &mut self.node;
        let answered = catch_unwind(AssertUnwindSafe(|| {
            for piece in [&bytes[..cut], &bytes[cut..]] {
                node.feed(piece);
                while node.answer_some() {}
            }
        }));
        answered.ok()?;
        node.log.clear();
        let replies = String::from_utf8_lossy(&std::mem::take(&mut node.replies)).into_owned();
        Some(replies.lines().map(str::to_owned).collect())
    }
}
