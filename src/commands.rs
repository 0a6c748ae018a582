//! The command line. Each command has a file of its own, with its syntax and what it does.
//!
//! To add a command, write a file with a type that implements [`Command`], and add a line to [`SUBCOMMANDS`].

mod arguments;
mod compact;
mod replay;
mod serve;
mod timeline;

pub use arguments::UsageError;

use self::timeline::Timeline;
use arguments::{Arguments, Outcome, Syntax};
use compact::Compact;
use replay::Replay;
use serve::Serve;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write as _};

/// A parsed command line, ready to run.
pub type Action = Box<dyn FnOnce() -> anyhow::Result<()>>;

/// A command of the program.
trait Command: Sized + 'static {
    /// The options and operands that it takes.
    const SYNTAX: Syntax;

    /// Makes the command from arguments that match [`SYNTAX`](Self::SYNTAX).
    fn new(arguments: Arguments) -> Result<Self, UsageError>;

    /// Runs the command. A [`UsageError`] ends the program with exit status 2, any other error with 1.
    fn run(self) -> anyhow::Result<()>;
}

/// Parses the words after a command's name.
type Parse = fn(&mut dyn Iterator<Item = OsString>) -> Result<Action, UsageError>;

/// The commands that have a name.
const SUBCOMMANDS: &[(&str, Parse)] = &[
    ("compact", parse_as::<Compact>),
    ("replay", parse_as::<Replay>),
    ("timeline", parse_as::<Timeline>),
];

/// Parses a command line without the program's name. If it does not start with the name of a command, it is for
/// [`Serve`].
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Action, UsageError> {
    let mut words = words.peekable();
    let subcommand = words.peek().and_then(|word| {
        SUBCOMMANDS
            .iter()
            .find(|(name, _)| word.to_str() == Some(name))
    });
    match subcommand {
        Some((_, parse)) => parse(&mut words.skip(1)),
        None => parse_as::<Serve>(&mut words),
    }
}

fn parse_as<C: Command>(words: &mut dyn Iterator<Item = OsString>) -> Result<Action, UsageError> {
    Ok(match Arguments::read(&C::SYNTAX, words)? {
        Outcome::Help => Box::new(|| print(HELP)),
        Outcome::Version => Box::new(|| print(VERSION)),
        Outcome::Given(arguments) => {
            let command = C::new(arguments)?;
            Box::new(|| command.run())
        }
    })
}

const VERSION: &str = concat!("mapreduce-master ", env!("CARGO_PKG_VERSION"), "\n");

const HELP: &str = include_str!("help.txt");

fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
