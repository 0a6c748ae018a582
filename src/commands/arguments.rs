//! Command-line arguments, by the usual conventions: `--option VALUE`, `--option=VALUE`, `--` before operands that
//! look like options.

use mapreduce_master::nearest::nearest;
use mapreduce_master::wire::Quoted;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// An invalid command line: says what is wrong with it, and what to write instead.
#[derive(Debug)]
pub struct UsageError(String);

impl UsageError {
    pub fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// What a command takes.
pub struct Syntax {
    pub options: &'static [Opt],
    /// The names of its operands, such as `FILE`. The parser treats all of them as optional.
    pub operands: &'static [&'static str],
}

/// An option of a command.
#[derive(Clone, Copy)]
pub struct Opt {
    /// With its dashes: `--quiet`.
    name: &'static str,
    /// One dash and a letter.
    short: Option<&'static str>,
    has_value: bool,
}

impl Opt {
    /// An option without a value.
    pub const fn flag(name: &'static str) -> Self {
        Self {
            name,
            short: None,
            has_value: false,
        }
    }

    /// An option that has a value.
    pub const fn value(name: &'static str) -> Self {
        Self {
            has_value: true,
            ..Self::flag(name)
        }
    }

    /// Adds a short name, such as `-q`.
    pub const fn or(self, short: &'static str) -> Self {
        Self {
            short: Some(short),
            ..self
        }
    }
}

const HELP: Opt = Opt::flag("--help").or("-h");
const VERSION: Opt = Opt::flag("--version").or("-V");

/// The outcome of parsing a command line.
pub enum Outcome {
    Help,
    Version,
    Given(Arguments),
}

/// The arguments that a command was given, in a form that its [`Syntax`] allows.
#[derive(Debug, Default)]
pub struct Arguments {
    /// Each at most once; a flag has an empty value.
    options: Vec<(&'static str, OsString)>,
    operands: VecDeque<OsString>,
}

impl Arguments {
    /// Parses the words after the name of a command. `--help` and `--version` take effect as soon as they are read.
    pub fn read(
        syntax: &Syntax,
        words: &mut dyn Iterator<Item = OsString>,
    ) -> Result<Outcome, UsageError> {
        let mut arguments = Self::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                arguments.operands.extend(words);
                break;
            }
            if !looks_like_option(&word) {
                arguments.operands.push_back(word);
                continue;
            }
            let (option, attached) = find_option(syntax, &word)?;
            let name = option.name;
            if arguments.flag(name) {
                return Err(UsageError(format!("{name} is given twice; give it once")));
            }
            let value = match (option.has_value, attached) {
                (false, None) => OsString::new(),
                (false, Some(_)) => {
                    return Err(UsageError(format!("{name} takes no value; write {name}")));
                }
                (true, Some(value)) => value.into(),
                (true, None) => match words.next_if(|next| !looks_like_option(next)) {
                    Some(value) => value,
                    None => return Err(missing_value(name, words.peek())),
                },
            };
            if name == HELP.name {
                return Ok(Outcome::Help);
            }
            if name == VERSION.name {
                return Ok(Outcome::Version);
            }
            if option.has_value && value.is_empty() {
                let problem =
                    format!("the value of {name} is empty; give one, or leave {name} out");
                return Err(UsageError(problem));
            }
            arguments.options.push((name, value));
        }
        match arguments.operands.get(syntax.operands.len()) {
            None => Ok(Outcome::Given(arguments)),
            Some(surplus) => Err(UsageError(format!(
                "unexpected argument {}; leave it out",
                quoted(surplus)
            ))),
        }
    }

    /// Whether an option was given.
    pub fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| *given == name)
    }

    /// Takes the value of an option, if it was given; it is not empty.
    pub fn value(&mut self, name: &str) -> Option<OsString> {
        let at = self.options.iter().position(|(given, _)| *given == name)?;
        Some(self.options.swap_remove(at).1)
    }

    /// Takes the next operand, if there is one; it may be empty.
    pub fn operand(&mut self) -> Option<OsString> {
        self.operands.pop_front()
    }
}

/// An argument as it is shown in an error.
pub fn quoted(argument: &OsStr) -> String {
    Quoted(&argument.to_string_lossy()).to_string()
}

/// Whether an argument is an option rather than an operand or a value. A lone `-` is not an option.
fn looks_like_option(word: &OsStr) -> bool {
    word.len() > 1 && word.as_encoded_bytes().starts_with(b"-")
}

/// The option that `word` names, and the value after its `=`.
fn find_option<'w>(syntax: &Syntax, word: &'w OsStr) -> Result<(Opt, Option<&'w str>), UsageError> {
    let Some(text) = word.to_str() else {
        let problem = format!(
            "{} is not UTF-8; pass the value as a separate argument",
            quoted(word)
        );
        return Err(UsageError(problem));
    };
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let mut options = [HELP, VERSION]
        .into_iter()
        .chain(syntax.options.iter().copied());
    if let Some(option) = options.find(|option| option.name == name || option.short == Some(name)) {
        return Ok((option, value));
    }
    let names: Vec<_> = [HELP, VERSION]
        .iter()
        .chain(syntax.options)
        .map(|option| option.name)
        .collect();
    let hint = nearest(name, &names)
        .first()
        .map_or(String::new(), |near| format!("; did you mean {near}?"));
    Err(UsageError(format!("unknown option {}{hint}", Quoted(name))))
}

fn missing_value(name: &str, next: Option<&OsString>) -> UsageError {
    UsageError(match next {
        None => format!("{name} needs a value"),
        Some(next) => format!(
            "{name} needs a value, and {} looks like an option; if it is the value, write {name}=VALUE",
            quoted(next)
        ),
    })
}
