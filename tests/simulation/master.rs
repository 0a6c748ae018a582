//! The master as the simulation knows it: bytes in, bytes out; and what can happen to it as a process.
//!
//! It writes a journal, kept in memory here. When it is killed, nothing but that is left of it.

use mapreduce_master::journal::compact::compact;
use mapreduce_master::journal::recover;
use mapreduce_master::node::Node;
use mapreduce_master::service::Service;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Deserialize)]
struct SnapshotOk {
    state: Box<RawValue>,
}

pub struct Master {
    node: Node,
    journal: Vec<u8>,
    /// How long the journal of a new master is.
    new_length: usize,
}

impl Master {
    /// A master that goes on where a journal ends, or a new one where it is empty. Nothing if it panics, or does not
    /// like the journal.
    pub fn start(journal: Vec<u8>) -> Option<Self> {
        let recovery = catch_unwind(AssertUnwindSafe(|| recover(&journal[..])))
            .ok()?
            .ok()?;
        let whole = usize::try_from(recovery.bytes).ok()?;
        let node = Node::recovered(recovery, true);
        let is_new = journal.is_empty();
        let mut master = Self {
            node,
            journal,
            new_length: 0,
        };
        // The record that was torn when the master was killed.
        master.journal.truncate(whole);
        let records = master.take_records();
        master.journal.extend(records);
        if is_new {
            master.new_length = master.journal.len();
        }
        Some(master)
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
        let records = self.take_records();
        self.journal.extend(records);
        Some(replies.lines().map(str::to_owned).collect())
    }

    /// Is killed while it answers: what it was about to write is in the journal as far as half of the first record.
    pub fn answer_in_vain(&mut self, bytes: &[u8]) -> Option<()> {
        let journaled = self.journal.len();
        self.answer(bytes)?;
        let written = self.journal[journaled..]
            .split(|byte| *byte == b'\n')
            .next()
            .map_or(0, <[u8]>::len);
        self.journal.truncate(journaled + written / 2);
        Some(())
    }

    /// Whether nothing is left of it when it is killed, so that it starts as a new one.
    pub fn has_empty_journal(&self) -> bool {
        self.journal.len() == self.new_length
    }

    /// Is killed and started again, on a compacted journal if it `compacts`.
    pub fn restart(&mut self, compacts: bool) -> Option<()> {
        let (journal, new_length) = (std::mem::take(&mut self.journal), self.new_length);
        *self = Self::start(journal)?;
        if self.journal.len() == new_length {
            // There is nothing to compact.
            self.new_length = new_length;
        } else if compacts {
            let mut compacted = Vec::new();
            let journal = &self.journal[..];
            catch_unwind(AssertUnwindSafe(|| {
                compact(journal, &mut compacted, u64::MAX)
            }))
            .ok()?
            .ok()?;
            *self = Self::start(compacted)?;
        }
        Some(())
    }

    /// Is replaced by a node that is started from its snapshot, and keeps no journal.
    pub fn restore(&mut self) -> Option<()> {
        let reply = self.answer(b"{\"type\": \"snapshot\"}\n")?.pop()?;
        let snapshot: SnapshotOk = serde_json::from_str(&reply).ok()?;
        let service = catch_unwind(|| Service::restore(snapshot.state.get()));
        self.node = Node::from_service(service.ok()?.ok()?, true);
        Some(())
    }

    fn take_records(&mut self) -> Vec<u8> {
        self.node
            .recorder
            .as_mut()
            .map(|recorder| std::mem::take(&mut recorder.records))
            .unwrap_or_default()
    }
}
