//! Turns messages into requests, and replies into bytes (protocol, sections 2 and 3), using only `serde`.
//!
//! Nearly every message is read in one pass, in any field order: each known field (`Fields`) is read as its type (a
//! string, an integer or raw JSON), and everything else is skipped. If a field has another type, a second pass reads all
//! fields as raw JSON. [`Request`] then interprets the fields that its type needs. So a wrong field is reported by name,
//! and only broken JSON loses a message.

mod diagnosis;
mod fields;
mod reply;
mod request;

pub use diagnosis::{Fault, Sender, find_fault};
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
