//! `mapreduce-master`, without a command: the node, which answers what it reads on stdin.

use super::arguments::{Arguments, Opt, Syntax, UsageError, quoted};
use super::{Command, SUBCOMMANDS};
use anyhow::Context as _;
use mapreduce_master::journal::Recovery;
use mapreduce_master::journal::file::{Journal, Sync};
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
}

impl Command for Serve {
    const SYNTAX: Syntax = Syntax {
        options: &[
            Opt::flag("--quiet").or("-q"),
            Opt::value("--journal"),
            Opt::value("--journal-sync"),
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
        Ok(Self {
            quiet,
            journal,
            sync,
        })
    }

    fn run(self) -> anyhow::Result<()> {
        let (mut node, journal) = match &self.journal {
            None => (Node::new(self.quiet), None),
            Some(path) => {
                let started = Instant::now();
                let (journal, recovery) = Journal::open(path, self.sync)
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
    if recovery.torn_bytes > 0 {
        let (torn, at) = (recovery.torn_bytes, recovery.bytes);
        let _ = writeln!(
            log,
            "journal: dropped a torn record, {torn} bytes at byte {at}"
        );
    }
    if recovery.records > 0 && !quiet {
        let (records, known) = (recovery.records, recovery.service.master.summary());
        let _ = writeln!(
            log,
            "journal: recovered in {elapsed:.1?} from {records} records; {known}"
        );
    }
    let _ = io::stderr().write_all(&log);
}
