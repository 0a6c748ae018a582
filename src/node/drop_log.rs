//! The log of dropped input, which is bounded however much there is of it.

use std::io::Write as _;

/// Of each run, at most this many dropped pieces get their own log line.
const MAX_LISTED: u64 = 100;

/// Logs the pieces of the input that get no reply. A run is a series of them without an answered message in between. The
/// first [`MAX_LISTED`] of a run get a line each. The rest are counted; the count is logged each time the run has grown
/// tenfold, and when it ends. So the log of a run grows with the logarithm of its length, and does not depend on how the
/// input arrives.
#[derive(Debug, Default)]
pub struct DropLog {
    /// How many there are in this run.
    count: u64,
    /// How many of them the log does not show yet, and their first and last lines.
    unlisted: u64,
    first_line: u64,
    last_line: u64,
}

impl DropLog {
    /// Adds a piece that starts on that line of the input.
    pub fn add(&mut self, log: &mut Vec<u8>, line: u64, describe: impl FnOnce() -> String) {
        self.count += 1;
        if self.count <= MAX_LISTED {
            let _ = writeln!(log, "line {line}: dropped: {}", describe());
            return;
        }
        if self.unlisted == 0 {
            self.first_line = line;
        }
        self.unlisted += 1;
        self.last_line = line;
        let is_power_of_ten = self.count == 10_u64.pow(self.count.ilog10());
        if is_power_of_ten {
            self.log_unlisted(log);
        }
    }

    /// Ends the run, if there is one.
    pub fn end_run(&mut self, log: &mut Vec<u8>) {
        if self.count > 0 {
            self.log_unlisted(log);
            self.count = 0;
        }
    }

    fn log_unlisted(&mut self, log: &mut Vec<u8>) {
        let Self {
            unlisted,
            first_line,
            last_line,
            ..
        } = *self;
        let _ = match unlisted {
            0 => Ok(()),
            1 => writeln!(log, "line {last_line}: dropped: one more"),
            _ => writeln!(
                log,
                "lines {first_line} to {last_line}: dropped: {unlisted} more"
            ),
        };
        self.unlisted = 0;
    }
}
