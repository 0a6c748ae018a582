//! `mapreduce-master replay FILE`: prints the replies to the requests in a journal.

use super::Command;
use super::arguments::{Arguments, Syntax, UsageError};
use anyhow::Context as _;
use mapreduce_master::journal::{self, Damage};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Write as _};
use std::path::PathBuf;

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
        let journal = arguments.operand().map(PathBuf::from);
        let journal =
            journal.ok_or_else(|| UsageError::new("replay needs the FILE of a journal"))?;
        Ok(Self { journal })
    }

    fn run(self) -> anyhow::Result<()> {
        let context = || format!("journal {}", self.journal.display());
        let file = File::open(&self.journal).with_context(context)?;
        let output = BufWriter::new(io::stdout().lock());
        let recovery = match journal::replay(BufReader::new(file), output) {
            // The reader of stdout has gone away.
            Err(Damage::Io(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            recovery => recovery.with_context(context)?,
        };
        if let Some(dropped) = recovery.dropped {
            let _ = writeln!(io::stderr(), "journal: {dropped}");
        }
        Ok(())
    }
}
