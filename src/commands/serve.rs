//! `mapreduce-master`, without a command: the node, which answers what it reads on stdin.

use super::arguments::{Arguments, Opt, Syntax, UsageError, quoted};
use super::{Command, SUBCOMMANDS};
use anyhow::Context as _;
use mapreduce_master::journal::Recovery;
use mapreduce_master::journal::file::{COMPACT_FROM_BYTES, Journal, Sync};
use mapreduce_master::nearest::nearest;
use mapreduce_master::node::{self, Node};
use std::ffi::OsStr;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Serve {
    quiet: bool,
    journal: Option<PathBuf>,
    sync: Sync,
    /// The length from which the journal is compacted, in bytes.
    compact_from_bytes: u64,
}

impl Command for Serve {
    const SYNTAX: Syntax = Syntax {
        options: &[
            Opt::flag("--quiet").or("-q"),
            Opt::value("--journal"),
            Opt::value("--journal-sync"),
            Opt::value("--journal-compact-from"),
        ],
        // It takes none, and says better than others could what to do with one.
        operands: &["FILE"],
    };

    fn new(mut arguments: Arguments) -> Result<Self, UsageError> {
        if let Some(operand) = arguments.operand() {
            return Err(unexpected(&operand));
        }
        let quiet = arguments.flag("--quiet");
        let journal = arguments.value("--journal").map(PathBuf::from);
        let sync = match arguments.value("--journal-sync") {
            None => Sync::Batch,
            Some(_) if journal.is_none() => {
                return Err(UsageError::new("--journal-sync needs --journal FILE"));
            }
            Some(value) if value == "batch" => Sync::Batch,
            Some(value) if value == "never" => Sync::Never,
            Some(value) => {
                let problem = format!("--journal-sync is batch or never, not {}", quoted(&value));
                return Err(UsageError::new(problem));
            }
        };
        let compact_from_bytes = match arguments.value("--journal-compact-from") {
            None => COMPACT_FROM_BYTES,
            Some(_) if journal.is_none() => {
                return Err(UsageError::new(
                    "--journal-compact-from needs --journal FILE",
                ));
            }
            Some(value) => match value.to_str().and_then(|bytes| bytes.parse().ok()) {
                Some(bytes) => bytes,
                None => {
                    let value = quoted(&value);
                    let problem =
                        format!("--journal-compact-from is a number of bytes, not {value}");
                    return Err(UsageError::new(problem));
                }
            },
        };
        Ok(Self {
            quiet,
            journal,
            sync,
            compact_from_bytes,
        })
    }

    fn run(self) -> anyhow::Result<()> {
        let (mut node, journal) = match &self.journal {
            None => (Node::new(self.quiet), None),
            Some(path) => {
                let started = Instant::now();
                let (journal, recovery) = Journal::open(path, self.sync, self.compact_from_bytes)
                    .with_context(|| format!("journal {}", path.display()))?;
                log_recovery(&recovery, started.elapsed(), self.quiet);
                (Node::recovered(recovery, self.quiet), Some(journal))
            }
        };
        let input = BufReader::with_capacity(node::MAX_FEED_BYTES, io::stdin().lock());
        let outcome = node::run_node(&mut node, journal, input, io::stdout().lock(), io::stderr());
        // A large cluster takes long to free piece by piece, and the process is about to end.
        std::mem::forget(node);
        outcome
    }
}

/// What to do about an argument that is neither an option nor a command.
fn unexpected(operand: &OsStr) -> UsageError {
    let names: Vec<_> = SUBCOMMANDS.iter().map(|(name, _)| *name).collect();
    let word = operand.to_string_lossy();
    let shown = quoted(operand);
    UsageError::new(if names.contains(&&*word) {
        format!("a command comes before its options; write mapreduce-master {word} …")
    } else if let Some(near) = nearest(&word, &names).first() {
        format!("unknown command {shown}; did you mean {near}?")
    } else {
        format!("unexpected argument {shown}: the node reads standard input; try `< FILE`")
    })
}

/// Says in a line each what was dropped and what was recovered.
fn log_recovery(recovery: &Recovery, elapsed: Duration, quiet: bool) {
    let mut log = Vec::new();
    if let Some(dropped) = recovery.dropped {
        let _ = writeln!(log, "journal: {dropped}");
    }
    if !recovery.is_new() && !quiet {
        let (requests, known) = (recovery.requests, recovery.service.master.summary());
        let state = if recovery.state_bytes > 0 {
            "a state and "
        } else {
            ""
        };
        let _ = writeln!(
            log,
            "journal: recovered in {elapsed:.1?} from {state}{requests} requests; {known}"
        );
    }
    let _ = io::stderr().write_all(&log);
}
