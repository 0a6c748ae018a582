//! `mapreduce-master`: arguments, stdin and stdout, exit status.

#![forbid(unsafe_code)]

use anyhow::Context as _;
use mapreduce_master::journal::Recovery;
use mapreduce_master::journal::file::{Journal, Sync};
use mapreduce_master::node::{self, Node};
use std::ffi::OsString;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
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
    Print(&'static str),
}

fn main() -> ExitCode {
    let outcome = match read_arguments(std::env::args_os().skip(1)) {
        Ok(Command::Run(options)) => run(&options),
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

const VERSION: &str = concat!("mapreduce-master ", env!("CARGO_PKG_VERSION"), "\n");

const HELP: &str = include_str!("help.txt");
