//! `mapreduce-master replay`: the replies to the requests in a journal, once more.

use super::Command;
use super::arguments::{Arguments, Syntax, UsageError};
use anyhow::Context as _;
use mapreduce_master::journal::{Damage, replay};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Write as _};
use std::path::PathBuf;

/// Answers the requests of a journal, from the state on that it starts with. A node may use it meanwhile.
#[derive(Debug)]
pub struct Replay {
    journal: PathBuf,
}

impl Command for Replay {
    const SYNTAX: Syntax = Syntax {
        options: &[],
        operands: &["FILE"],
    };

    fn new(mut arguments: Arguments) -> Result<Self, UsageError> {
        match arguments.operand() {
            Some(journal) => Ok(Self {
                journal: journal.into(),
            }),
            None => Err(UsageError::new("replay needs the FILE of a journal")),
        }
    }

    fn run(self) -> anyhow::Result<()> {
        let context = || format!("journal {}", self.journal.display());
        let journal = File::open(&self.journal).with_context(context)?;
        let output = BufWriter::new(io::stdout().lock());
        let recovery = match replay(BufReader::new(journal), output) {
            Err(Damage::Io(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            recovery => recovery.with_context(context)?,
        };
        if let Some(dropped) = recovery.dropped {
            let _ = writeln!(io::stderr(), "journal: {dropped}");
        }
        Ok(())
    }
}
