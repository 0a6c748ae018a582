//! Recovery: from a journal to the state that it leads to.

use super::format::{Checksum, Damage, Lines, Next, Start};
use super::recorder::Recorder;
use crate::service::{Loader, Service};
use crate::wire::{self, Effect, Message};
use std::io::{self, BufRead};
use std::{fmt, str};

/// A journal that was read.
#[derive(Debug)]
pub struct Recovery {
    /// The state that the records lead to.
    pub service: Service,
    /// Continues the journal after the last record.
    pub recorder: Recorder,
    /// The number of requests since the last compaction.
    pub requests: u64,
    /// Length of the journal up to the end of the last whole record, in bytes; 0 for a new one.
    pub bytes: u64,
    /// Length of the state that it starts with, in bytes; 0 without one.
    pub state_bytes: u64,
    /// What follows the last whole record, and is dropped.
    pub dropped: Option<Dropped>,
    /// Whether the header still says that the journal is partial.
    pub is_partial: bool,
}

/// The end of a journal, which was never acknowledged or never synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Whether a power loss has left zeros in it. If not, it is the beginning of one record.
    pub has_hole: bool,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, bytes, .. } = self;
        if self.has_hole {
            write!(f, "dropped {bytes} bytes at byte {offset}, ")?;
            f.write_str("which were not synced before a power loss and have a hole")
        } else {
            write!(f, "dropped a torn record, {bytes} bytes at byte {offset}")
        }
    }
}

impl Recovery {
    /// Whether there is nothing to recover: no request has changed anything yet.
    pub fn is_new(&self) -> bool {
        self.requests == 0 && self.state_bytes == 0
    }
}

/// Reads a journal for a node that continues it. An empty file is a new journal. An incomplete end, left by a kill or a
/// power loss, is dropped. Any other damage is an error.
pub fn recover(journal: impl BufRead) -> Result<Recovery, Damage> {
    let mut recovery = read(journal)?;
    if !recovery.is_new() {
        let address = &mut recovery.service.address;
        address.next_msg_id = address.next_msg_id.max(recovery.recorder.msg_ids_end);
        recovery.service.master.recover();
        recovery.recorder.append(b"!recovered");
        recovery.recorder.must_sync = true;
    }
    Ok(recovery)
}

/// Reads a journal.
pub(super) fn read(journal: impl BufRead) -> Result<Recovery, Damage> {
    read_with(journal, |service, step| match step {
        Step::Request(message) => service.apply(message).unwrap_or(Effect::None),
        Step::Recovery => Effect::Changed,
    })
}

/// Reads a journal, and writes the replies to its requests.
pub fn replay(journal: impl BufRead, mut output: impl io::Write) -> Result<Recovery, Damage> {
    let mut replies = Vec::new();
    let mut problem = None;
    let recovery = read_with(journal, |service, step| {
        let Step::Request(message) = step else {
            return Effect::Changed;
        };
        let effect = service.answer(message, &mut replies);
        if problem.is_none() {
            problem = output.write_all(&replies).err();
        }
        replies.clear();
        effect.unwrap_or(Effect::None)
    })?;
    match problem {
        None => Ok(recovery),
        Some(error) => Err(error.into()),
    }
}

/// What a journal records.
#[derive(Debug)]
pub enum Step<'m, 'a> {
    /// A request that changed something, to be applied again.
    Request(&'m Message<'a>),
    /// A node recovered from the journal. The service has already processed it.
    Recovery,
}

/// Reads a journal, with `take` to take its steps. `take` returns what a request has changed: `Effect::None` means that
/// the journal is damaged.
pub fn read_with(
    journal: impl BufRead,
    take: impl FnMut(&mut Service, Step<'_, '_>) -> Effect,
) -> Result<Recovery, Damage> {
    let mut lines = Lines::new(journal);
    let mut reader = Reader {
        service: Service::default(),
        loading: None,
        msg_ids_end: 0,
        requests: 0,
        take,
    };
    let mut recovery = Recovery {
        service: Service::default(),
        recorder: Recorder::new(),
        requests: 0,
        bytes: 0,
        state_bytes: 0,
        dropped: None,
        is_partial: false,
    };
    match lines.read_header()? {
        Start::Journal => {}
        Start::Partial => recovery.is_partial = true,
        Start::New(bytes) => {
            recovery.dropped = (bytes > 0).then_some(Dropped {
                offset: 0,
                bytes,
                has_hole: false,
            });
            return Ok(recovery);
        }
    }
    loop {
        let (number, offset) = (lines.number, lines.offset);
        let (bytes, has_hole) = match lines.next()? {
            Next::Record(record) => {
                match reader.read(record, number) {
                    Ok(None) => {}
                    Ok(Some(checksum)) => {
                        lines.checksum = checksum;
                        recovery.state_bytes = lines.offset;
                    }
                    Err(problem) => {
                        return Err(Damage::Line {
                            number,
                            offset,
                            problem,
                        });
                    }
                }
                continue;
            }
            Next::End => break,
            Next::Torn(bytes) => (bytes, false),
            Next::Hole(bytes) => (bytes, true),
        };
        recovery.dropped = Some(Dropped {
            offset,
            bytes,
            has_hole,
        });
        break;
    }
    if reader.loading.is_some() || recovery.is_partial && recovery.state_bytes == 0 {
        return Err(lines.damage("the state that the journal starts with has no end"));
    }
    recovery.service = reader.service;
    recovery.requests = reader.requests;
    recovery.bytes = lines.offset;
    recovery.recorder.checksum = lines.checksum;
    recovery.recorder.msg_ids_end = reader.msg_ids_end;
    recovery.recorder.records.clear();
    recovery.recorder.must_sync = false;
    Ok(recovery)
}

/// The state after the records read so far.
struct Reader<T> {
    service: Service,
    /// `Some` while a state is being read.
    loading: Option<Loader>,
    msg_ids_end: u64,
    requests: u64,
    take: T,
}

impl<T: FnMut(&mut Service, Step<'_, '_>) -> Effect> Reader<T> {
    /// Reads a record. After the last one of a state, returns the checksum from which the chain continues.
    fn read(&mut self, record: &[u8], number: u64) -> Result<Option<Checksum>, String> {
        if record.starts_with(b"{") {
            if self.loading.is_some() {
                return Err("it is a request within a state".into());
            }
            let mut message = Message::EMPTY;
            wire::parse(record, &mut message).map_err(|_| "it is not a JSON object")?;
            if (self.take)(&mut self.service, Step::Request(&message)) == Effect::None {
                return Err("it is not a request that changes anything here".into());
            }
            self.requests += 1;
        } else if let Some(state) = record.strip_prefix(b"!state ") {
            return self.read_state(state, number);
        } else if let Some(end) = record.strip_prefix(b"!msg_ids ") {
            let end = str::from_utf8(end).ok().and_then(|end| end.parse().ok());
            self.msg_ids_end = end.ok_or("it sets no ids aside")?;
        } else if record == b"!recovered" && self.loading.is_none() {
            self.service.master.recover();
            (self.take)(&mut self.service, Step::Recovery);
        } else if record != super::format::SYNCED || self.loading.is_some() {
            return Err("it is of an unknown kind".into());
        }
        Ok(None)
    }

    /// Reads a record of the state that a compacted journal starts with.
    fn read_state(&mut self, state: &[u8], number: u64) -> Result<Option<Checksum>, String> {
        if state == b"begin" {
            if number != 2 {
                return Err("a state begins behind other records".into());
            }
            self.loading = Some(Loader::default());
            return Ok(None);
        }
        let loading = self.loading.as_mut();
        let loading = loading.ok_or("it belongs to a state that has not begun")?;
        let Some(checksum) = state.strip_prefix(b"end ") else {
            let state = str::from_utf8(state).map_err(|_| "it is not UTF-8")?;
            return match loading.load(state) {
                Ok(()) => Ok(None),
                Err(corrupt) => Err(corrupt.to_string()),
            };
        };
        let checksum = Checksum::from_hex(checksum).ok_or("it ends a state without a checksum")?;
        let loading = self.loading.take().unwrap_or_default();
        self.service = loading.finish().map_err(|corrupt| corrupt.to_string())?;
        Ok(Some(checksum))
    }
}
