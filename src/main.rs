//! `mapreduce-master`: arguments, stdin and stdout, exit status.

#![forbid(unsafe_code)]

use mapreduce_master::node;
use std::ffi::OsStr;
use std::io::{self, BufReader, Write as _};
use std::process::ExitCode;

const INPUT_BUFFER_BYTES: usize = 64 << 10;

fn main() -> ExitCode {
    let mut quiet = false;
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--help") => return print(HELP),
            Some("--version") => {
                return print(concat!(
                    "mapreduce-master ",
                    env!("CARGO_PKG_VERSION"),
                    "\n"
                ));
            }
            Some("--quiet") => quiet = true,
            _ => return refuse(&argument),
        }
    }
    let input = BufReader::with_capacity(INPUT_BUFFER_BYTES, io::stdin().lock());
    match node::run(input, io::stdout().lock(), io::stderr(), quiet) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "mapreduce-master: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const HELP: &str = "help\n";

fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn refuse(argument: &OsStr) -> ExitCode {
    let _ = writeln!(
        io::stderr(),
        "mapreduce-master: unknown argument {:?}; see --help",
        argument.display()
    );
    ExitCode::from(2)
}
