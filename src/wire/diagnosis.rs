//! What is wrong with a text that is not a message, and who sent it, for the log.

use super::Quoted;
use super::fields::{Field, Message, Value, read_message, read_string};
use std::fmt;

/// Only this many bytes at the start of a text are searched for its sender.
const SENDER_WITHIN_BYTES: usize = 64 << 10;

/// Where a text stops being JSON.
#[derive(Debug)]
pub struct Fault {
    /// The line of the text, from 1.
    pub line: usize,
    /// The byte of that line, from 1.
    pub column: usize,
    /// `None` if the text ends too early, and nothing else is wrong with it.
    pub problem: Option<String>,
}

/// Finds where a text stops being JSON; `None` for one value and nothing else.
pub fn find_fault(text: &[u8]) -> Option<Fault> {
    let utf8 = std::str::from_utf8(text);
    let valid = match &utf8 {
        Ok(_) => text,
        Err(error) => &text[..error.valid_up_to()],
    };
    let fault = serde_json::from_slice::<&serde_json::value::RawValue>(valid).err();
    match (fault, utf8) {
        (Some(error), Ok(_)) if error.is_eof() => Some(Fault {
            line: error.line(),
            column: error.column(),
            problem: None,
        }),
        (Some(error), _) if !error.is_eof() => {
            let (line, column) = (error.line(), error.column());
            let full = error.to_string();
            let place = format!(" at line {line} column {column}");
            let problem = full.strip_suffix(&place).unwrap_or(&full).to_owned();
            Some(Fault {
                line,
                column: column.max(1),
                problem: Some(problem),
            })
        }
        (_, Err(_)) => {
            let lines: Vec<_> = valid.split(|byte| *byte == b'\n').collect();
            Some(Fault {
                line: lines.len(),
                column: 1 + lines.last().map_or(0, |line| line.len()),
                problem: Some("invalid UTF-8".to_owned()),
            })
        }
        _ => None,
    }
}

/// The sender of a dropped text, if it can be read: displays as ` (src "c1", msg_id 7)`, or as nothing.
#[derive(Debug, Default)]
pub struct Sender {
    src: Option<String>,
    msg_id: Option<i64>,
}

impl Sender {
    /// Reads the beginning of a text.
    pub fn find(text: &[u8]) -> Self {
        let text = &text[..text.len().min(SENDER_WITHIN_BYTES)];
        let mut message = Message::EMPTY;
        // This fails after it has read what it can.
        let mut json = serde_json::Deserializer::from_slice(text);
        let _ = read_message(&mut json, &mut message);
        Self::of(&message)
    }

    /// The origin of a message that was read.
    pub fn of(message: &Message<'_>) -> Self {
        let src = message.fields.given(Field::Src).and_then(Value::json);
        let msg_id = message.fields.given(Field::MsgId);
        Self {
            src: src
                .and_then(read_string)
                .map(|src| Quoted(&src).to_string()),
            msg_id: msg_id.and_then(Value::integer),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.src, self.msg_id) {
            (None, None) => Ok(()),
            (None, Some(msg_id)) => write!(f, " (msg_id {msg_id})"),
            (Some(src), None) => write!(f, " (src {src})"),
            (Some(src), Some(msg_id)) => write!(f, " (src {src}, msg_id {msg_id})"),
        }
    }
}
