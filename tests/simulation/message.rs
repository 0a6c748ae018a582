//! Requests as the actors write them.

use std::fmt::{Display, Write as _};

/// The body of a request, its fields in the order in which they were added, `type` first.
#[derive(Clone)]
pub struct Body(String);

impl Body {
    pub fn new(kind: &str) -> Self {
        Self(format!("{{\"type\": {kind:?}"))
    }

    /// What [`fields`](Self::fields) returned.
    pub fn from_fields(fields: String) -> Self {
        Self(fields)
    }

    /// Its fields as text, the object not closed yet.
    pub fn fields(&self) -> &str {
        &self.0
    }

    /// A field whose value is JSON already: a number, a chunk, an output.
    #[must_use]
    pub fn json(mut self, name: &str, value: impl Display) -> Self {
        let _ = write!(self.0, ", {name:?}: {value}");
        self
    }

    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.json(name, quoted(value))
    }

    #[must_use]
    pub fn texts<'a>(self, name: &str, values: impl IntoIterator<Item = &'a String>) -> Self {
        self.json(name, list(values.into_iter().map(|value| quoted(value))))
    }

    /// The line that carries it: bare, or in an envelope from `src`.
    pub fn line(&self, msg_id: Option<i64>, src: Option<&str>) -> String {
        let mut line = self.0.clone();
        if let Some(msg_id) = msg_id {
            let _ = write!(line, ", \"msg_id\": {msg_id}");
        }
        line.push('}');
        match src {
            Some(src) => format!(
                "{{\"src\": {}, \"dest\": \"n1\", \"body\": {line}}}",
                quoted(src)
            ),
            None => line,
        }
    }
}

pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always printable")
}

pub fn list(elements: impl IntoIterator<Item = String>) -> String {
    let elements: Vec<String> = elements.into_iter().collect();
    format!("[{}]", elements.join(", "))
}
