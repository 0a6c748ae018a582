//! Messages to requests, replies to bytes (protocol, sections 2 and 3): `serde` and nothing else.
//!
//! Nearly every message is read in one pass, whatever the order of its fields: each known field is read as the string,
//! the integer or the JSON that it should be (`Fields`), and everything else is skipped. Where one is not what it should
//! be, a second reading keeps them all as JSON. [`Request`] then interprets what its type needs, so that a wrong
//! field is reported by name, and only broken JSON loses a message.

mod diagnosis;
mod fields;
mod reply;
mod request;

pub use diagnosis::{Fault, Origin, find_fault};
pub use fields::{Message, NotAnObject, parse, read_string};
pub use reply::*;
pub use request::*;

use std::borrow::Cow;
use std::fmt;

/// Why a request is refused. A refused request has no effect (protocol, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: ErrorCode,
    pub text: Cow<'static, str>,
}

impl Error {
    /// An error with a code and a text for people.
    pub fn new(code: ErrorCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

/// Errors and the log show at most this many characters of a text from outside.
pub const MAX_SHOWN_CHARS: usize = 100;

/// Displays a text from outside in quotes, truncated to [`MAX_SHOWN_CHARS`].
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_SHOWN_CHARS) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text)
    }
}

impl std::error::Error for Error {}

/// The Maelstrom error codes that the master uses (protocol, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    NotSupported = 10,
    MalformedRequest = 12,
    KeyDoesNotExist = 20,
    KeyAlreadyExists = 21,
    PreconditionFailed = 22,
}
