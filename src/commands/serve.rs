//! `mapreduce-master`, without a command: runs the node, which answers the messages on stdin.

use super::arguments::{Arguments, Opt, Syntax, UsageError, quoted};
use super::{Command, SUBCOMMANDS};
use anyhow::Context as _;
use mapreduce_master::journal::file::{COMPACT_FROM_BYTES, Journal, Sync};
use mapreduce_master::journal::{Recorder, Recovery};
use mapreduce_master::nearest::nearest;
use mapreduce_master::node::{self, Node};
use mapreduce_master::service::Service;
use mapreduce_master::streams::{Blocking, Log};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Serve {
    quiet: bool,
    strict: bool,
    restore: Option<PathBuf>,
    journal: Option<PathBuf>,
    sync: Sync,
    /// The length from which the journal is compacted, in bytes.
    compact_from_bytes: u64,
}

impl Command for Serve {
    const SYNTAX: Syntax = Syntax {
        options: &[
            Opt::flag("--quiet").or("-q"),
            Opt::flag("--strict"),
            Opt::value("--restore"),
            Opt::value("--journal"),
            Opt::value("--journal-sync"),
            Opt::value("--journal-compact-from"),
        ],
        // Accepted here only so that `new` can reject it with a helpful error.
        operands: &["FILE"],
    };

    fn new(mut arguments: Arguments) -> Result<Self, UsageError> {
        if let Some(operand) = arguments.operand() {
            return Err(unexpected(&operand));
        }
        let journal = arguments.value("--journal").map(PathBuf::from);
        let sync = match arguments.value("--journal-sync") {
            None => Sync::Batch,
            Some(_) if journal.is_none() => {
                return Err(UsageError::new("--journal-sync needs --journal FILE"));
            }
            Some(value) if value == "batch" => Sync::Batch,
            Some(value) if value == "never" => Sync::Never,
            Some(value) => {
                let problem = format!(
                    "--journal-sync must be batch or never, not {}",
                    quoted(&value)
                );
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
            Some(value) => {
                let bytes = value.to_str().and_then(|value| value.parse().ok());
                let problem = || {
                    format!(
                        "--journal-compact-from must be a number of bytes, not {}",
                        quoted(&value)
                    )
                };
                bytes.ok_or_else(|| UsageError::new(problem()))?
            }
        };
        Ok(Self {
            quiet: arguments.flag("--quiet"),
            strict: arguments.flag("--strict"),
            restore: arguments.value("--restore").map(PathBuf::from),
            journal,
            sync,
            compact_from_bytes,
        })
    }

    fn run(self) -> anyhow::Result<()> {
        let mut log = Log::start(io::stderr()).context("cannot start the log thread")?;
        let (mut node, journal) = self.start(&mut log)?;
        if self.strict {
            node = node.strict();
        }
        if io::stdin().is_terminal() && !self.quiet {
            let _ = writeln!(log, "{TERMINAL_HINT}");
        }
        let input = BufReader::with_capacity(node::MAX_FEED_BYTES, Blocking(io::stdin().lock()));
        let output = Blocking(io::stdout().lock());
        let outcome = node::run_node(&mut node, journal, input, output, log);
        // Freeing a large state takes long, and the process is about to exit.
        std::mem::forget(node);
        outcome
    }
}

/// A hint for people who start the node on a terminal.
const TERMINAL_HINT: &str = "mapreduce-master: reading JSON messages from stdin, one per line; see --help, or end with Ctrl-D";

impl Serve {
    /// The node before it has read anything, and its journal.
    fn start(&self, log: &mut Log) -> anyhow::Result<(Node, Option<Journal>)> {
        let restored = match &self.restore {
            None => None,
            Some(_) if self.journal.as_deref().is_some_and(is_not_empty) => {
                return Err(UsageError::new(
                    "--restore needs a journal that is new or empty; leave out --restore to recover from this one",
                )
                .into());
            }
            Some(path) => Some(restore(path).with_context(|| format!("state {}", path.display()))?),
        };
        let Some(path) = &self.journal else {
            return Ok((
                Node::from_service(restored.unwrap_or_default(), self.quiet),
                None,
            ));
        };
        let started = Instant::now();
        let (journal, mut recovery) = Journal::open(path, self.sync, self.compact_from_bytes)
            .with_context(|| format!("journal {}", path.display()))?;
        log_recovery(log, &recovery, started.elapsed(), self.quiet);
        if let Some(service) = restored {
            recovery.recorder = Recorder::starting_with(&service)?;
            recovery.service = service;
        }
        Ok((Node::recovered(recovery, self.quiet), Some(journal)))
    }
}

/// Whether there is a file with anything in it.
fn is_not_empty(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}

/// Reads the `state` of a `snapshot_ok` (protocol, section 8). Errors: the file cannot be read, or is not a state.
fn restore(path: &Path) -> anyhow::Result<Service> {
    Ok(Service::restore(&fs::read_to_string(path)?)?)
}

/// What to do about an argument that is neither an option nor a command.
fn unexpected(operand: &OsStr) -> UsageError {
    let names: Vec<_> = SUBCOMMANDS.iter().map(|(name, _)| *name).collect();
    let word = operand.to_string_lossy();
    let shown = quoted(operand);
    let options = ["help", "version"];
    UsageError::new(if options.contains(&&*word) {
        format!("unknown command {shown}; did you mean --{word}?")
    } else if names.contains(&&*word) {
        format!("a command comes before its options; write mapreduce-master {word} …")
    } else if let Some(near) = nearest(&word, &names).first() {
        format!("unknown command {shown}; did you mean {near}?")
    } else {
        format!("unexpected argument {shown}: the node reads standard input; try `< FILE`")
    })
}

/// Logs what was dropped and what was recovered, a line each.
fn log_recovery(log: &mut Log, recovery: &Recovery, elapsed: Duration, quiet: bool) {
    if let Some(dropped) = recovery.dropped {
        let _ = writeln!(log, "journal: {dropped}");
    }
    if !recovery.is_new() && !quiet {
        let (requests, known) = (recovery.requests, recovery.service.master.summary());
        let noun = if requests == 1 { "request" } else { "requests" };
        let state = if recovery.state_bytes > 0 {
            "a state and "
        } else {
            ""
        };
        let _ = writeln!(
            log,
            "journal: recovered in {elapsed:.1?} from {state}{requests} {noun}; {known}"
        );
    }
}
