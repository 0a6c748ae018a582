//! `mapreduce-master`: arguments, stdin and stdout, exit status.

#![forbid(unsafe_code)]

use anyhow::Context as _;
use mapreduce_master::journal::compact::{Compacted, NOT_SHORTER};
use mapreduce_master::journal::file::{Journal, Sync, compact_file};
use mapreduce_master::journal::{self, Recovery};
use mapreduce_master::node::{self, Node};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    quiet: bool,
    journal: Option<PathBuf>,
    sync: Option<Sync>,
}

enum Command {
    Run(Options),
    /// Compacts the journal of that name, or the first bytes of the one on stdin.
    Compact(Option<PathBuf>, Option<u64>),
    /// Answers the requests of a journal again.
    Replay(PathBuf),
    Print(&'static str),
}

fn main() -> ExitCode {
    let outcome = match read_arguments(std::env::args_os().skip(1)) {
        Ok(Command::Run(options)) => run(&options),
        Ok(Command::Compact(path, bytes)) => compact(path.as_deref(), bytes),
        Ok(Command::Replay(path)) => replay(&path),
        Ok(Command::Print(text)) => match io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        },
        Err(problem) => {
            let _ = writeln!(io::stderr(), "mapreduce-master: {problem}; see --help");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "mapreduce-master: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read_arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = |name| arguments.next().ok_or(format!("{name} needs a value"));
        match argument.to_str() {
            Some("compact") => {
                let operand = arguments.next();
                return if operand.as_ref().is_some_and(|operand| operand == "--bytes") {
                    let bytes = arguments
                        .next()
                        .and_then(|bytes| bytes.to_str()?.parse().ok());
                    let bytes = bytes.ok_or("--bytes needs a number")?;
                    Ok(Command::Compact(None, Some(bytes)))
                } else {
                    Ok(Command::Compact(operand.map(PathBuf::from), None))
                };
            }
            Some("replay") => {
                let path = arguments.next().ok_or("replay needs FILE")?;
                return Ok(Command::Replay(path.into()));
            }
            Some("--help") => return Ok(Command::Print(HELP)),
            Some("--version") => return Ok(Command::Print(VERSION)),
            Some("--quiet") => options.quiet = true,
            Some("--journal") => options.journal = Some(value("--journal")?.into()),
            Some("--journal-sync") => {
                options.sync = Some(match value("--journal-sync")?.to_str() {
                    Some("batch") => Sync::Batch,
                    Some("never") => Sync::Never,
                    _ => return Err("--journal-sync is batch or never".into()),
                });
            }
            _ => return Err(format!("unknown argument {:?}", argument.to_string_lossy())),
        }
    }
    if options.sync.is_some() && options.journal.is_none() {
        return Err("--journal-sync needs --journal".into());
    }
    Ok(Command::Run(options))
}

fn run(options: &Options) -> anyhow::Result<()> {
    let (mut node, journal) = match &options.journal {
        None => (Node::new(options.quiet), None),
        Some(path) => {
            let started = Instant::now();
            let sync = options.sync.unwrap_or(Sync::Batch);
            let (journal, recovery) =
                Journal::open(path, sync).with_context(|| format!("journal {}", path.display()))?;
            log_recovery(&recovery, started.elapsed(), options.quiet);
            (Node::recovered(recovery, options.quiet), Some(journal))
        }
    };
    let input = BufReader::with_capacity(node::MAX_FEED_BYTES, io::stdin().lock());
    let outcome = node::run_node(&mut node, journal, input, io::stdout().lock(), io::stderr());
    // A large cluster takes long to free piece by piece, and the process is about to end.
    std::mem::forget(node);
    outcome
}

fn compact(path: Option<&Path>, bytes: Option<u64>) -> anyhow::Result<()> {
    match path {
        None => {
            let (input, output) = (io::stdin(), io::stdout());
            let input = File::from(input.as_fd().try_clone_to_owned()?);
            let output = File::from(output.as_fd().try_clone_to_owned()?);
            journal::compact_stream(&input, &output, bytes)
        }
        Some(path) => {
            let context = || format!("journal {}", path.display());
            let compacted = compact_file(path).with_context(context)?;
            let text = match compacted {
                Compacted::Shorter { before, after } => {
                    format!("compacted from {before} to {after} bytes\n")
                }
                Compacted::NotShorter => format!("left as it is: {NOT_SHORTER}\n"),
            };
            Ok(io::stdout().write_all(text.as_bytes())?)
        }
    }
}

fn replay(path: &Path) -> anyhow::Result<()> {
    let context = || format!("journal {}", path.display());
    let file = File::open(path).with_context(context)?;
    let output = BufWriter::new(io::stdout().lock());
    let recovery = journal::replay(BufReader::new(file), output).with_context(context)?;
    if let Some(dropped) = recovery.dropped {
        let _ = writeln!(io::stderr(), "journal: {dropped}");
    }
    Ok(())
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

const VERSION: &str = concat!("mapreduce-master ", env!("CARGO_PKG_VERSION"), "\n");

const HELP: &str = include_str!("help.txt");
