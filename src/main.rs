//! `mapreduce-master`: the command line and the exit status.

#![forbid(unsafe_code)]

mod commands;

use commands::UsageError;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = commands::parse(std::env::args_os().skip(1))
        .map_err(anyhow::Error::from)
        .and_then(|action| action());
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    // There is nobody left to tell that stderr cannot be written.
    if error.is::<UsageError>() {
        let _ = writeln!(io::stderr(), "mapreduce-master: {error:#}; see --help");
        ExitCode::from(2)
    } else {
        let _ = writeln!(io::stderr(), "mapreduce-master: {error:#}");
        ExitCode::FAILURE
    }
}
