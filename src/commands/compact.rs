//! `mapreduce-master compact`: a journal written again, as the state that it leads to.

use super::Command;
use super::arguments::{Arguments, Opt, Syntax, UsageError, quoted};
use anyhow::Context as _;
use mapreduce_master::journal::compact::{Compacted, NOT_SHORTER};
use mapreduce_master::journal::{compact_file, compact_stream};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

/// Compacts a journal that no node uses, in its place; or, as a node has it done, what it reads on stdin.
#[derive(Debug)]
pub enum Compact {
    File(PathBuf),
    /// The first bytes of the input only, if that makes them fewer.
    Stream {
        bytes: Option<u64>,
    },
}

impl Command for Compact {
    const SYNTAX: Syntax = Syntax {
        options: &[Opt::value("--bytes")],
        operands: &["FILE"],
    };

    fn new(mut arguments: Arguments) -> Result<Self, UsageError> {
        let file = arguments.operand();
        match (file, arguments.value("--bytes")) {
            (Some(file), None) => Ok(Self::File(file.into())),
            (Some(_), Some(_)) => Err(UsageError::new(
                "--bytes is for standard input; leave FILE out",
            )),
            (None, None) => Ok(Self::Stream { bytes: None }),
            (None, Some(bytes)) => match bytes.to_str().and_then(|bytes| bytes.parse().ok()) {
                Some(bytes) => Ok(Self::Stream { bytes: Some(bytes) }),
                None => {
                    let problem = format!("--bytes is a number, not {}", quoted(&bytes));
                    Err(UsageError::new(problem))
                }
            },
        }
    }

    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Stream { bytes } => {
                let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
                let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                compact_stream(&input, &output, bytes)
            }
            Self::File(path) => {
                let context = || format!("journal {}", path.display());
                let text = match compact_file(&path).with_context(context)? {
                    Compacted::Shorter { before, after } => {
                        format!("compacted from {before} to {after} bytes\n")
                    }
                    Compacted::NotShorter => format!("left as it is: {NOT_SHORTER}\n"),
                };
                Ok(io::stdout().write_all(text.as_bytes())?)
            }
        }
    }
}
