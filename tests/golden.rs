//! Replays the conversations of `tests/golden/` and compares the replies, byte for byte.
//!
//! A conversation is a file `TOPIC/NAME.txt` with requests and replies in turn, one behaviour of the protocol each, and
//! the name says which ([`Case`] has the format). To add one, write it by hand, from `src/protocol.md`. A file that must
//! stay as it is, such as the course's samples, is a pair `NAME.in` and `NAME.out`.
//!
//! ```sh
//! cargo test --test golden                          # all of them
//! cargo test --test golden reassign                 # one topic
//! cargo test --test golden reassign/to_the_same     # those whose name contains this
//! UPDATE_GOLDEN=1 cargo test --test golden          # replaces the replies that differ; read the diff
//! ```
//!
//! Any other program can be put to them as well. Each conversation starts it anew, from the top folder of this project:
//!
//! ```sh
//! MASTER='python3 my_master.py' cargo test --test golden course
//! ```
//!
//! `COMPARE=json` compares as JSON: the order of keys and blanks between tokens do not matter. What an error's `text`
//! says never matters for another program. `TIMEOUT_MS` (10000) is how long a conversation may take.

#[path = "golden/case.rs"]
mod case;
#[path = "golden/compare.rs"]
mod compare;
#[path = "golden/harness.rs"]
mod harness;
#[path = "golden/program.rs"]
mod program;
#[path = "golden/runner.rs"]
mod runner;

use case::Case;
use compare::Comparison;
use mapreduce_master::node;
use program::{Ended, Program};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::env;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

/// The most bytes of a program's stderr that a report shows: its end, where a program says what it died of.
const MAX_SHOWN_LOG_BYTES: usize = 1000;

/// What the environment asks for.
struct Settings {
    program: Program,
    comparison: Comparison,
    update: bool,
}

fn main() -> ExitCode {
    let settings = match Settings::from_environment() {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let is_own = settings.program.command.is_none();
    let mut tests: Vec<harness::Test> = Vec::new();
    for mut case in Case::all() {
        let settings = &settings;
        tests.push(harness::Test {
            name: case.name.clone(),
            run: Box::new(move || settings.replay(&mut case)),
        });
    }
    if is_own && !settings.update {
        tests.extend(runner::tests());
    }
    harness::run(tests, !is_own)
}

impl Settings {
    fn from_environment() -> Result<Self, String> {
        let command = env::var_os("MASTER").filter(|command| !command.is_empty());
        let update = env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
        if command.is_some() && update {
            return Err(
                "UPDATE_GOLDEN=1 writes what this project's master answers, not MASTER".into(),
            );
        }
        let as_json = match env::var("COMPARE").as_deref() {
            Ok("json") => true,
            Ok("text" | "") | Err(env::VarError::NotPresent) => false,
            _ => return Err("COMPARE is text or json".into()),
        };
        let timeout_ms = match env::var("TIMEOUT_MS") {
            Ok(text) => text
                .parse()
                .map_err(|_| "TIMEOUT_MS is a number".to_owned())?,
            Err(_) => 10_000,
        };
        Ok(Self {
            comparison: Comparison {
                as_json,
                any_text: command.is_some(),
            },
            program: Program {
                command,
                timeout: Duration::from_millis(timeout_ms),
            },
            update,
        })
    }

    /// Has the program answer a conversation. Errors: a report for people of what differs.
    fn replay(&self, case: &mut Case) -> Result<(), String> {
        let ended = self.run(case, case.input())?;
        let report = self.report(case, &ended);
        if self.update && ended.status.is_some_and(|status| status.success()) {
            if report.is_some() || compare::has_open_strings(case) {
                return self.update(case);
            }
            return Ok(());
        }
        if let Some(mut report) = report {
            if self.program.command.is_none() {
                report.push_str("if this is meant: UPDATE_GOLDEN=1 cargo test --test golden\n");
            }
            return Err(report);
        }
        if self.program.command.is_none() && case.options.is_empty() {
            return check_pace(case);
        }
        Ok(())
    }

    fn run(&self, case: &Case, input: Vec<u8>) -> Result<Ended, String> {
        (self.program.run(&case.options, input)).map_err(|error| format!("cannot run it: {error}"))
    }

    fn report(&self, case: &Case, ended: &Ended) -> Option<String> {
        let mut report = String::new();
        let output = String::from_utf8_lossy(&ended.output);
        let got: Vec<_> = output.lines().collect();
        if let Some(differences) = self.comparison.report(case, &got) {
            report.push_str(&differences);
        }
        if !self.comparison.as_json && output.contains('\r') {
            report.push_str("  a line of the output ends with a carriage return\n");
        }
        if !output.is_empty() && !output.ends_with('\n') {
            report.push_str("  the last line of the output does not end with a newline\n");
        }
        match ended.status {
            None => {
                let ms = self.program.timeout.as_millis();
                let _ = writeln!(
                    report,
                    "  the program did not end within {ms} ms, and was killed"
                );
            }
            Some(status) if !status.success() => {
                let _ = writeln!(report, "  the program failed: {status}");
            }
            Some(_) => {}
        }
        let mut log = ended.log.lines();
        if self.program.command.is_none() {
            for expected in case.expected_log() {
                if !log.any(|line| line.contains(expected)) {
                    let _ = writeln!(report, "  stderr lacks, where it should be: {expected}");
                }
            }
        }
        if report.is_empty() {
            return None;
        }
        if !ended.log.is_empty() {
            let from = ended.log.len().saturating_sub(MAX_SHOWN_LOG_BYTES);
            let end = String::from_utf8_lossy(&ended.log.as_bytes()[from..]);
            let _ = writeln!(report, "  stderr ends with:\n{}", compare::show(&end));
        }
        Some(report)
    }

    /// Replaces the replies in the file. Which request each belongs to, shorter and shorter inputs tell.
    fn update(&self, case: &mut Case) -> Result<(), String> {
        let lines: Vec<Vec<u8>> = case.input_lines().into_iter().map(<[u8]>::to_vec).collect();
        let mut count = 0;
        let mut replies = Vec::new();
        for end in 1..=lines.len() {
            let ended = self.run(case, lines[..end].concat())?;
            let output = String::from_utf8(ended.output).map_err(|error| error.to_string())?;
            let all: Vec<_> = output.lines().map(str::to_owned).collect();
            replies.push(all.get(count..).unwrap_or_default().to_vec());
            count = all.len();
        }
        case.rewrite(&replies).map_err(|error| error.to_string())
    }
}

/// Checks that each reply is written before more input is read than its request, and only then, however small the pieces
/// are that the input comes in.
fn check_pace(case: &Case) -> Result<(), String> {
    let Some(expected) = case.reply_counts() else {
        return Ok(());
    };
    for piece_bytes in [usize::MAX, 7, 1] {
        let replies = RefCell::new(0);
        let mut counts = Vec::new();
        let pieces = Pieces {
            lines: case.input_lines().into(),
            is_read: false,
            piece_bytes,
            replies: &replies,
            counts: &mut counts,
        };
        node::run(pieces, Count(&replies), io::sink(), true).map_err(|error| error.to_string())?;
        // The last line may be a message without a newline, which only the end of the input shows to be complete.
        if let Some(last) = counts.last_mut() {
            *last = *replies.borrow();
        }
        if counts != expected {
            return Err(format!(
                "{}\n\n  Replies after each line of input, if it is read in pieces of {piece_bytes} bytes at most:\n  \
                 expected  {expected:?}\n  got       {counts:?}\n",
                case.file.display()
            ));
        }
    }
    Ok(())
}

/// An input that never gives more than a line at once, and notes how many replies there are after each.
struct Pieces<'a> {
    lines: VecDeque<&'a [u8]>,
    /// Whether the first line was given in full.
    is_read: bool,
    piece_bytes: usize,
    replies: &'a RefCell<usize>,
    counts: &'a mut Vec<usize>,
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.is_read {
            // More is asked for: whatever was read so far has been answered.
            self.counts.push(*self.replies.borrow());
            self.lines.pop_front();
            self.is_read = false;
        }
        let line = self.lines.front().copied().unwrap_or_default();
        Ok(&line[..line.len().min(self.piece_bytes)])
    }

    fn consume(&mut self, count: usize) {
        if let Some(line) = self.lines.front_mut() {
            *line = &line[count..];
            self.is_read = line.is_empty();
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.fill_buf()?;
        let count = bytes.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// An output that counts lines.
struct Count<'a>(&'a RefCell<usize>);

impl Write for Count<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0.borrow_mut() += bytes.split(|byte| *byte == b'\n').count() - 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
