//! Compacting: writes the state that a journal leads to as a journal.

use super::format::PARTIAL_HEADER;
use super::recorder::write_state;
use super::recovery::{Recovery, read};
use anyhow::bail;
use std::io::{self, BufRead, Write};

/// The outcome of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compacted {
    /// Lengths in bytes.
    Shorter { before: u64, after: u64 },
    /// The compacted journal would not be shorter than the limit, so it was not finished.
    NotShorter,
}

/// The error of a compaction process that ended for that reason.
pub const NOT_SHORTER: &str = "the compacted journal would not be shorter";

/// Reads a journal to its last whole record, and writes a journal to `output` that leads to the same state. Records
/// that follow the old journal can follow the new one. Its header says that it is [partial](PARTIAL_HEADER). Stops
/// after `max_bytes` bytes. Errors: the journal is damaged or new, or `output` fails.
pub fn compact(
    journal: impl BufRead,
    output: impl Write,
    max_bytes: u64,
) -> anyhow::Result<Compacted> {
    let recovery = read(journal)?;
    if recovery.is_new() {
        bail!("there is nothing to compact");
    }
    let before = recovery.bytes;
    let mut output = Limited {
        output,
        left: max_bytes,
        is_full: false,
    };
    let Recovery {
        service, recorder, ..
    } = &recovery;
    match write_state(PARTIAL_HEADER, service, recorder, &mut output) {
        Ok(()) => Ok(Compacted::Shorter {
            before,
            after: max_bytes - output.left,
        }),
        Err(_) if output.is_full => Ok(Compacted::NotShorter),
        Err(error) => Err(error.into()),
    }
}

/// A writer that takes a limited number of bytes.
struct Limited<W> {
    output: W,
    left: u64,
    is_full: bool,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                self.is_full = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        self.output.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
