//! `mapreduce-master compact [FILE]`: replaces the requests in a journal with the state that they lead to.
//!
//! A node starts the same command, without FILE, to compact its own journal in the background.

use super::Command;
use super::arguments::{Arguments, Opt, Syntax, UsageError, quoted};
use anyhow::Context as _;
use mapreduce_master::journal::compact::{Compacted, NOT_SHORTER};
use mapreduce_master::journal::{self, file};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

#[derive(Debug)]
pub struct Compact {
    /// The journal; without one, stdin is read and stdout written.
    journal: Option<PathBuf>,
    /// How much of stdin is read, in bytes.
    bytes: Option<u64>,
}

impl Command for Compact {
    const SYNTAX: Syntax = Syntax {
        options: &[Opt::value("--bytes")],
        operands: &["FILE"],
    };

    fn new(mut arguments: Arguments) -> Result<Self, UsageError> {
        let journal = arguments.operand().map(PathBuf::from);
        let bytes = match arguments.value("--bytes") {
            None => None,
            Some(_) if journal.is_some() => {
                return Err(UsageError::new(
                    "--bytes applies only to a journal on stdin; omit FILE or --bytes",
                ));
            }
            Some(value) => {
                let bytes = value.to_str().and_then(|value| value.parse().ok());
                let problem =
                    || format!("--bytes must be a number of bytes, not {}", quoted(&value));
                Some(bytes.ok_or_else(|| UsageError::new(problem()))?)
            }
        };
        Ok(Self { journal, bytes })
    }

    fn run(self) -> anyhow::Result<()> {
        let Some(path) = self.journal else {
            let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return journal::compact_stream(&input, &output, self.bytes);
        };
        let context = || format!("journal {}", path.display());
        let text = match file::compact_file(&path).with_context(context)? {
            Compacted::Shorter { before, after } => {
                format!("compacted from {before} to {after} bytes\n")
            }
            Compacted::NotShorter => format!("left as it is: {NOT_SHORTER}\n"),
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}
