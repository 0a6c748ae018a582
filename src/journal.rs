//! The journal: what a node was told, written ahead, so that it can be told again (paper, §3.3).
//!
//! A journal is lines of text. The first one says what it is; then comes one record a line, a checksum
//! in 16 hexadecimal digits and a space before it:
//!
//! ```text
//! mapreduce-master journal 1
//! 5f0a6c1e94a2b377 {"type":"heartbeat","msg_id":1,"worker_id":"w1","timestamp":1700000000000}
//! ```
//!
//! A record that starts with `{` is a request as it came in, on one line. The journal's own records start
//! with `!`: `!snapshot {…}` is the whole state, `!recovered` says that a node was started from what stands before
//! it, and `!msg_ids N` sets the ids of replies aside up to `N`, so that none is used twice.
//!
//! Each checksum covers the one before it: a line that is damaged, missing, repeated or moved breaks the
//! chain. This module reads and writes bytes; [`mod@file`] keeps them on a disk.

pub mod file;

use crate::service::Service;
use crate::wire::{self, Effect, Message};
use std::io::{self, BufRead, Read as _};
use std::{fmt, str};

/// The first line, with the version of the format.
pub const HEADER: &str = "mapreduce-master journal 1\n";

/// What the first line of every version starts with.
const ANY_HEADER: &str = "mapreduce-master journal ";

/// So many ids are set aside at once.
const MSG_IDS_AT_ONCE: u64 = 1 << 16;

/// Length of a checksum and the space behind it, in bytes.
const PREFIX_BYTES: usize = 17;

/// A checksum over all records so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checksum(u64);

impl Checksum {
    const START: Self = Self(0);

    /// The checksum with one record more.
    fn with(self, record: &[u8]) -> Self {
        let (words, rest) = record.as_chunks::<8>();
        words
            .iter()
            .fold(self, |sum, word| sum.step(*word))
            .finish(rest, record.len())
    }

    /// Whether some beginning of `line` is a whole record.
    fn is_in(self, line: &[u8]) -> bool {
        let Some((_, record)) = line.split_at_checked(PREFIX_BYTES) else {
            return false;
        };
        let mut sum = self;
        for (at, word) in record.chunks(8).enumerate() {
            let is_whole =
                |rest| line.starts_with(&sum.finish(&word[..rest], 8 * at + rest).to_hex());
            if (0..word.len()).any(is_whole) {
                return true;
            }
            if let Ok(word) = word.try_into() {
                sum = sum.step(word);
            }
        }
        false
    }

    /// Takes in eight bytes. This is one-to-one in the sum and in the bytes, so that damage within one such
    /// word is always seen; and it brings each bit down as well as up, so that damage close by, in the next
    /// word, does not undo it.
    fn step(self, word: [u8; 8]) -> Self {
        let product = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(product ^ product >> 32)
    }

    /// Takes in what is left of a record, less than eight bytes, and its length.
    fn finish(self, rest: &[u8], length: usize) -> Self {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        self.step(word).step((length as u64).to_le_bytes())
    }

    fn to_hex(self) -> [u8; 16] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 16];
        for (pair, byte) in digits
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(self.0.to_be_bytes())
        {
            *pair = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        }
        digits
    }
}

/// Makes the records of what a node does, ahead of its replies.
#[derive(Debug)]
pub struct Recorder {
    checksum: Checksum,
    /// From here on ids are not set aside yet.
    msg_ids_end: u64,
    /// The records that have not been taken yet, a line each.
    pub records: Vec<u8>,
    /// Whether one of these has to survive a power loss.
    pub must_sync: bool,
}

impl Recorder {
    /// Records a message that was answered, if that has changed anything.
    pub fn record(&mut self, message: &[u8], effect: Effect, service: &Service) {
        if effect > Effect::None {
            self.append(&wire::on_one_line(message));
        }
        self.must_sync |= effect == Effect::Changed;
        if service.address.next_msg_id > self.msg_ids_end {
            self.set_msg_ids_aside(service);
        }
    }

    /// The records of a journal that begins with the state of `service`.
    pub fn snapshot(service: &mut Service) -> serde_json::Result<Self> {
        let mut recorder = Self::new();
        let start = recorder.begin();
        recorder.records.extend_from_slice(b"!snapshot ");
        recorder.records.push(b'[');
        let mut is_first = true;
        service.save(|record| {
            if !std::mem::take(&mut is_first) {
                recorder.records.push(b',');
            }
            recorder.records.extend_from_slice(record.get().as_bytes());
        });
        recorder.records.push(b']');
        recorder.end(start);
        Ok(recorder)
    }

    /// The records of a new journal.
    fn new() -> Self {
        Self {
            checksum: Checksum::START,
            msg_ids_end: 0,
            records: HEADER.as_bytes().to_vec(),
            must_sync: true,
        }
    }

    fn set_msg_ids_aside(&mut self, service: &Service) {
        self.msg_ids_end = service.address.next_msg_id + MSG_IDS_AT_ONCE;
        self.append(format!("!msg_ids {}", self.msg_ids_end).as_bytes());
        self.must_sync = true;
    }

    fn append(&mut self, record: &[u8]) {
        let start = self.begin();
        self.records.extend_from_slice(record);
        self.end(start);
    }

    /// Begins a record; returns where its line starts.
    fn begin(&mut self) -> usize {
        self.records.extend_from_slice(b"0123456789abcdef ");
        self.records.len() - PREFIX_BYTES
    }

    /// Ends the record whose line starts there.
    fn end(&mut self, start: usize) {
        let (checksum, record) = self.records[start..].split_at_mut(PREFIX_BYTES - 1);
        self.checksum = self.checksum.with(&record[1..]);
        checksum.copy_from_slice(&self.checksum.to_hex());
        self.records.push(b'\n');
    }
}

/// What was read of a journal.
#[derive(Debug)]
pub struct Recovery {
    /// The state that the records lead to.
    pub service: Service,
    /// Goes on behind them.
    pub recorder: Recorder,
    /// How many records there are.
    pub records: u64,
    /// Length of the journal up to the end of the last whole record, in bytes.
    pub bytes: u64,
    /// Length of the snapshot that it starts with, in bytes; 0 without one.
    pub snapshot_bytes: u64,
    /// Length of the torn record behind the last whole one, in bytes.
    pub torn_bytes: u64,
}

/// Why a journal cannot be read.
#[derive(Debug)]
pub enum Damage {
    NotAJournal,
    UnknownVersion,
    /// A record is not what was written. The first one is record 1.
    Record {
        number: u64,
        offset: u64,
        problem: &'static str,
    },
    Io(io::Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAJournal => f.write_str("this file is not a journal"),
            Self::UnknownVersion => f.write_str("this version of the format is not known"),
            Self::Record {
                number,
                offset,
                problem,
            } => {
                write!(
                    f,
                    "record {number}, at byte {offset}, is damaged: {problem}"
                )
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Damage {}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a journal. An empty one is a new one. A last record that was torn when the node was killed is left
/// out; any other damage is an error.
pub fn recover(mut journal: impl BufRead) -> Result<Recovery, Damage> {
    let mut recovery = Recovery {
        service: Service::default(),
        recorder: Recorder::new(),
        records: 0,
        bytes: HEADER.len() as u64,
        snapshot_bytes: 0,
        torn_bytes: 0,
    };
    let mut line = Vec::new();
    journal
        .by_ref()
        .take(HEADER.len() as u64)
        .read_to_end(&mut line)?;
    if line != HEADER.as_bytes() {
        return if HEADER.as_bytes().starts_with(&line) {
            Ok(Recovery {
                bytes: 0,
                torn_bytes: line.len() as u64,
                ..recovery
            })
        } else if line.starts_with(ANY_HEADER.as_bytes()) {
            Err(Damage::UnknownVersion)
        } else {
            Err(Damage::NotAJournal)
        };
    }
    recovery.recorder.records.clear();
    recovery.recorder.must_sync = false;
    loop {
        line.clear();
        if journal.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if !recovery.read_line(&line)? {
            recovery.torn_bytes = line.len() as u64;
            break;
        }
    }
    if recovery.records > 0 {
        let address = &mut recovery.service.address;
        address.next_msg_id = address.next_msg_id.max(recovery.recorder.msg_ids_end);
        recovery.service.master.recover();
        recovery.recorder.append(b"!recovered");
        recovery.recorder.must_sync = true;
    }
    Ok(recovery)
}

impl Recovery {
    /// Reads one line; returns whether it was a whole record.
    fn read_line(&mut self, line: &[u8]) -> Result<bool, Damage> {
        let (number, offset) = (self.records + 1, self.bytes);
        let damage = |problem| Damage::Record {
            number,
            offset,
            problem,
        };
        let (line, is_ended) = match line.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let Some(record) = self.check(line) else {
            // A line without its end is torn; but one that begins with a whole record has had an end.
            return if is_ended || self.recorder.checksum.is_in(line) {
                Err(damage("its checksum is wrong"))
            } else {
                Ok(false)
            };
        };
        self.recorder.checksum = self.recorder.checksum.with(record);
        self.apply(record).map_err(damage)?;
        self.records = number;
        self.bytes += line.len() as u64 + 1;
        if !is_ended {
            self.bytes -= 1;
            self.recorder.records.push(b'\n');
        }
        Ok(true)
    }

    /// The record of a line, if its checksum is right.
    fn check<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let (prefix, record) = line.split_at_checked(PREFIX_BYTES)?;
        let checksum = self.recorder.checksum.with(record).to_hex();
        (prefix.strip_suffix(b" ") == Some(&checksum)).then_some(record)
    }

    fn apply(&mut self, record: &[u8]) -> Result<(), &'static str> {
        if record.starts_with(b"{") {
            let mut message = Message::EMPTY;
            wire::parse(record, &mut message).map_err(|_| "it is not a JSON object")?;
            match self.service.answer(&message, &mut Vec::new()) {
                Ok(Effect::Heard | Effect::Changed) => Ok(()),
                Ok(Effect::None) | Err(_) => Err("it is not a request that changes anything here"),
            }
        } else if let Some(state) = record.strip_prefix(b"!snapshot ") {
            let state = str::from_utf8(state).map_err(|_| "it is not a snapshot")?;
            self.service = Service::restore(state).map_err(|_| "it is not a snapshot")?;
            self.snapshot_bytes = record.len() as u64;
            Ok(())
        } else if let Some(end) = record.strip_prefix(b"!msg_ids ") {
            let end = str::from_utf8(end).ok().and_then(|end| end.parse().ok());
            self.recorder.msg_ids_end = end.ok_or("it sets no ids aside")?;
            Ok(())
        } else if record == b"!recovered" {
            self.service.master.recover();
            Ok(())
        } else {
            Err("it is of no known kind")
        }
    }
}
