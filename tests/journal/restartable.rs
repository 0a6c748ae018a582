//! A node whose journal is kept in memory, so that it can be killed and compacted a thousand times a second.
//!
//! It does what the node does, except for framing and the disk.

use mapreduce_master::journal::compact::compact;
use mapreduce_master::journal::{HEADER, PARTIAL_HEADER, Recorder, recover};
use mapreduce_master::service::Service;
use mapreduce_master::wire::{self, Effect, Message};

pub struct Restartable {
    service: Service,
    recorder: Recorder,
    /// The bytes of the file.
    pub journal: Vec<u8>,
    /// How much of it would survive a power loss.
    pub synced_bytes: usize,
    /// Whether there is nothing to compact.
    is_new: bool,
    /// The `msg_id` of the latest reply in an envelope.
    latest_msg_id: Option<u64>,
}

impl Restartable {
    pub fn new() -> Self {
        Self::on(Vec::new())
    }

    /// Starts a node on a journal. It removes a torn record, as the real one does.
    pub fn on(mut journal: Vec<u8>) -> Self {
        let recovery = recover(&journal[..]).expect("the journal is whole");
        let dropped_bytes = recovery.dropped.map_or(0, |dropped| dropped.bytes);
        assert_eq!(
            recovery.bytes + dropped_bytes,
            journal.len() as u64,
            "all of the file is accounted for"
        );
        journal.truncate(usize::try_from(recovery.bytes).expect("it is a length in memory"));
        let mut node = Self {
            is_new: recovery.is_new(),
            service: recovery.service,
            recorder: recovery.recorder,
            journal,
            synced_bytes: 0,
            latest_msg_id: None,
        };
        node.write();
        node
    }

    /// Kills the node, and starts another on its journal.
    pub fn restarted(self) -> Self {
        let mut node = Self::on(self.journal);
        node.latest_msg_id = self.latest_msg_id;
        node
    }

    /// Compacts the journal, whatever its length, while the node keeps running.
    pub fn compact(&mut self) {
        if !self.is_new {
            self.journal = compacted(&self.journal);
        }
    }

    /// The reply to a message, as a line; empty if it gets none. Its `msg_id` is checked, and left out.
    pub fn say(&mut self, message: &str) -> String {
        let mut fields = Message::EMPTY;
        let mut reply = Vec::new();
        if wire::parse(message.as_bytes(), &mut fields).is_ok()
            && let Ok(effect) = self.service.answer(&fields, &mut reply)
        {
            self.is_new &= effect == Effect::None;
            self.recorder
                .record(message.as_bytes(), effect, &self.service);
        }
        self.write();
        let reply = String::from_utf8(reply).expect("a reply is text");
        let (reply, msg_id) = without_msg_id(&reply);
        if msg_id.is_some() {
            assert!(msg_id > self.latest_msg_id, "no msg_id is used twice");
            self.latest_msg_id = msg_id;
        }
        reply
    }

    fn write(&mut self) {
        self.journal.append(&mut self.recorder.records);
        if std::mem::take(&mut self.recorder.must_sync) {
            self.synced_bytes = self.journal.len();
            self.recorder.record_sync();
            self.journal.append(&mut self.recorder.records);
        }
    }
}

/// A reply without its `msg_id`, and the `msg_id`.
pub fn without_msg_id(reply: &str) -> (String, Option<u64>) {
    const NAME: &str = ", \"msg_id\": ";
    // In an envelope it is the third field of the body at the latest, in front of everything that may be opaque.
    let Some((before, rest)) = reply
        .starts_with("{\"src\": ")
        .then(|| reply.split_once(NAME))
        .flatten()
    else {
        return (reply.to_owned(), None);
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let msg_id = rest[..digits].parse().expect("a msg_id is a number");
    (format!("{before}{}", &rest[digits..]), Some(msg_id))
}

/// A journal after a compaction.
pub fn compacted(journal: &[u8]) -> Vec<u8> {
    let mut compacted = Vec::new();
    compact(journal, &mut compacted, u64::MAX).expect("the journal is whole");
    let header = &mut compacted[..HEADER.len()];
    assert_eq!(header, PARTIAL_HEADER.as_bytes());
    header.copy_from_slice(HEADER.as_bytes());
    compacted
}
