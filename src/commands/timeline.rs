//! `mapreduce-master timeline [--json] [FILE]`: what happened in a journal or a conversation, as a page.

use super::Command;
use super::arguments::{Arguments, Opt, Syntax, UsageError};
use anyhow::Context as _;
use mapreduce_master::timeline::{self, Story};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Timeline {
    /// The file to read; `None` means stdin.
    input: Option<PathBuf>,
    is_json: bool,
}

impl Command for Timeline {
    const SYNTAX: Syntax = Syntax {
        options: &[Opt::flag("--json")],
        operands: &["FILE"],
    };

    fn new(mut arguments: Arguments) -> Result<Self, UsageError> {
        Ok(Self {
            is_json: arguments.flag("--json"),
            input: arguments.operand().map(PathBuf::from),
        })
    }

    fn run(self) -> anyhow::Result<()> {
        let story: Story = match &self.input {
            None => timeline::read(io::stdin().lock())?,
            Some(path) => File::open(path)
                .map_err(anyhow::Error::from)
                .and_then(|file| timeline::read(BufReader::new(file)))
                .with_context(|| path.display().to_string())?,
        };
        let output = BufWriter::new(io::stdout().lock());
        let written = if self.is_json {
            timeline::write_trace(&story, output)
        } else {
            timeline::write_page(&story, output)
        };
        match written {
            // The reader of stdout has gone away.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.context("cannot write the timeline"),
        }
    }
}
