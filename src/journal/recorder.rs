//! Makes the records of a node's requests.

use super::format::{Checksum, HEADER, SYNCED, append};
use crate::service::Service;
use crate::wire::{self, Effect};
use std::io::{self, Write};

/// How many ids are set aside at once.
const MSG_IDS_AT_ONCE: u64 = 1 << 16;

/// Makes the records of a node's requests, which are written before the replies.
#[derive(Debug)]
pub struct Recorder {
    pub(super) checksum: Checksum,
    /// The first `msg_id` that is not set aside.
    pub(super) msg_ids_end: u64,
    /// The records that are not written yet, one line each.
    pub records: Vec<u8>,
    /// Whether one of these has to be synced before it is acknowledged.
    pub must_sync: bool,
}

impl Recorder {
    /// The records of a new journal.
    pub(super) fn new() -> Self {
        Self {
            checksum: Checksum::START,
            msg_ids_end: 0,
            records: HEADER.as_bytes().to_vec(),
            must_sync: true,
        }
    }

    /// The records of a new journal that starts with the state of `service`. Errors: none in practice.
    pub fn starting_with(service: &Service) -> io::Result<Self> {
        let recorder = Self {
            msg_ids_end: service.address.next_msg_id,
            records: Vec::new(),
            ..Self::new()
        };
        let mut records = Vec::new();
        write_state(HEADER, service, &recorder, &mut records)?;
        Ok(Self {
            records,
            ..recorder
        })
    }

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

    /// Records that everything before it was synced.
    pub fn record_sync(&mut self) {
        self.append(SYNCED);
    }

    pub(super) fn append(&mut self, record: &[u8]) {
        append(&mut self.records, &mut self.checksum, record);
    }

    fn set_msg_ids_aside(&mut self, service: &Service) {
        self.msg_ids_end = service.address.next_msg_id + MSG_IDS_AT_ONCE;
        self.append(format!("!msg_ids {}", self.msg_ids_end).as_bytes());
        self.must_sync = true;
    }
}

/// Writes a journal that starts with the state of `service`, and that `recorder` can continue.
pub(super) fn write_state(
    header: &str,
    service: &Service,
    recorder: &Recorder,
    mut output: impl Write,
) -> io::Result<()> {
    let mut checksum = Checksum::START;
    let mut line = header.as_bytes().to_vec();
    let mut write = |record: &[u8]| {
        append(&mut line, &mut checksum, record);
        output.write_all(&line)?;
        line.clear();
        io::Result::Ok(())
    };
    write(b"!state begin")?;
    if recorder.msg_ids_end > 0 {
        write(format!("!msg_ids {}", recorder.msg_ids_end).as_bytes())?;
    }
    let mut record = Vec::new();
    service.save(|state| {
        record.clear();
        record.extend_from_slice(b"!state ");
        record.extend_from_slice(state.get().as_bytes());
        write(&record)
    })?;
    write(&end_of_state(recorder.checksum))?;
    output.flush()
}

/// The last record of a state. The chain of checksums continues after it as in the journal that the state was made of.
pub(super) fn end_of_state(checksum: Checksum) -> Vec<u8> {
    [b"!state end ", &checksum.to_hex()[..]].concat()
}
