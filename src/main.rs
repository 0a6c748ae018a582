//! `mapreduce-master`: the command line and the exit status.

#![forbid(unsafe_code)]

mod commands;

use commands::UsageError;
use mapreduce_master::streams::Log;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = commands::parse(std::env::args_os().skip(1))
        .map_err(anyhow::Error::from)
        .and_then(|action| action());
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    let (advice, status) = if error.is::<UsageError>() {
        ("; see --help", ExitCode::from(2))
    } else {
        ("", ExitCode::FAILURE)
    };
    // Through a log, so that a stderr that nobody reads does not delay the end.
    if let Ok(mut log) = Log::start(io::stderr()) {
        let _ = writeln!(log, "mapreduce-master: {error:#}{advice}");
    }
    status
}
