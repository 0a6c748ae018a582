//! JSON: what the fields of a request are (section 3), and what its opaque values look like in a reply.

use super::messages::{MALFORMED, Refused};

#[derive(Debug)]
pub(super) struct Json<'a> {
    /// Its exact text.
    pub(super) raw: &'a str,
    pub(super) value: Value<'a>,
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool,
    Number,
    /// None: it has an escaped half of a surrogate pair, and is no Unicode text.
    Text(Option<String>),
    List(Vec<Json<'a>>),
    Object(Vec<(Option<String>, Json<'a>)>),
}

pub(super) struct Fields<'a>(pub(super) &'a [(Option<String>, Json<'a>)]);

impl<'a> Fields<'a> {
    /// "Of a key given twice in an object the last counts"
    pub(super) fn get(&self, name: &str) -> Option<&'a Json<'a>> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key.as_deref() == Some(name))
            .map(|(_, value)| value)
    }

    /// "`null` in an optional field means absent."
    pub(super) fn optional(&self, name: &str) -> Option<&'a Json<'a>> {
        self.get(name)
            .filter(|json| !matches!(json.value, Value::Null))
    }

    /// "Ids and `error` are strings; the empty string is one."
    pub(super) fn text(&self, name: &str) -> Result<String, Refused> {
        self.get(name).and_then(Json::as_text).ok_or(MALFORMED)
    }

    pub(super) fn integer(&self, name: &str) -> Result<i64, Refused> {
        self.get(name).and_then(Json::as_integer).ok_or(MALFORMED)
    }

    pub(super) fn optional_integer(&self, name: &str) -> Result<Option<i64>, Refused> {
        match self.optional(name) {
            None => Ok(None),
            Some(json) => Ok(Some(json.as_integer().ok_or(MALFORMED)?)),
        }
    }

    /// "Durations and counts are not negative (12)."
    pub(super) fn duration(&self, name: &str) -> Result<i64, Refused> {
        self.optional_duration(name)?.ok_or(MALFORMED)
    }

    pub(super) fn optional_duration(&self, name: &str) -> Result<Option<i64>, Refused> {
        match self.optional_integer(name)? {
            Some(negative) if negative < 0 => Err(MALFORMED),
            duration => Ok(duration),
        }
    }

    /// The text of an `error`, as it is printed: "an `error` that has one [half of a surrogate pair] is kept as it came,
    /// with all of its escapes".
    pub(super) fn error_text(&self, name: &str) -> Result<String, Refused> {
        let json = self.get(name).ok_or(MALFORMED)?;
        match &json.value {
            Value::Text(Some(text)) => Ok(quoted(text)),
            Value::Text(None) => Ok(json.raw.to_string()),
            _ => Err(MALFORMED),
        }
    }

    pub(super) fn optional_texts(&self, name: &str) -> Result<Option<Vec<String>>, Refused> {
        let Some(json) = self.optional(name) else {
            return Ok(None);
        };
        let texts: Result<Vec<String>, Refused> = json
            .as_list()?
            .iter()
            .map(|element| element.as_text().ok_or(MALFORMED))
            .collect();
        Ok(Some(texts?))
    }
}

impl<'a> Json<'a> {
    pub(super) fn as_text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => text.clone(),
            _ => None,
        }
    }

    /// "Integers are 64-bit and signed, without fraction or exponent (`1.0` is 12)."
    pub(super) fn as_integer(&self) -> Option<i64> {
        match self.value {
            Value::Number => self.raw.parse::<i64>().ok(),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Result<&[Json<'a>], Refused> {
        match &self.value {
            Value::List(elements) => Ok(elements),
            _ => Err(MALFORMED),
        }
    }

    pub(super) fn as_fields(&self) -> Result<Fields<'_>, Refused> {
        match &self.value {
            Value::Object(fields) => Ok(Fields(fields)),
            _ => Err(MALFORMED),
        }
    }
}

/// `[{id, chunk}…]`. CHOICE: a chunk may be any JSON, `null` too.
pub(super) fn ids_and_chunks(tasks: &Json) -> Result<Vec<(String, String)>, Refused> {
    let mut found = vec![];
    for task in tasks.as_list()? {
        let task = task.as_fields()?;
        let chunk = task.get("chunk").ok_or(MALFORMED)?;
        found.push((task.text("id")?, one_line(chunk.raw)));
    }
    Ok(found)
}

/// "Chunks and outputs are given back with their key order, number text and string escapes as they came; only blanks
/// between tokens may change, since a reply is one line": blanks with a line break among them become one space after
/// `,` or `:`, and nothing elsewhere.
pub(super) fn one_line(json: &str) -> String {
    let mut line = String::new();
    let mut in_string = false;
    let mut escaped = false;
    let mut blanks = String::new();
    for c in json.chars() {
        if !in_string && matches!(c, ' ' | '\t' | '\r' | '\n') {
            blanks.push(c);
            continue;
        }
        if blanks.contains(['\n', '\r']) {
            if line.ends_with([',', ':']) {
                line.push(' ');
            }
        } else {
            line.push_str(&blanks);
        }
        blanks.clear();
        line.push(c);
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '"' {
            in_string = !in_string;
        }
    }
    line
}

/// The text of one element of a list.
pub(super) fn element(list: &str, index: i64) -> String {
    let Some(Json {
        value: Value::List(elements),
        ..
    }) = Parser::parse(list)
    else {
        unreachable!("a map's output is a list in a job with reduces");
    };
    elements[usize::try_from(index).unwrap()].raw.to_string()
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always printable")
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "most callers have just made the list"
)]
pub(super) fn list(elements: Vec<String>) -> String {
    format!("[{}]", elements.join(", "))
}

pub(super) fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

/// A reader of JSON (RFC 8259) that keeps the text of every value, and all keys in their order.
pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Json<'a>> {
        let mut parser = Parser { text, at: 0 };
        parser.blanks();
        let json = parser.value()?;
        parser.blanks();
        (parser.at == text.len()).then_some(json)
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    pub(super) fn take(&mut self, wanted: &str) -> Option<()> {
        self.text[self.at..]
            .starts_with(wanted)
            .then(|| self.at += wanted.len())
    }

    pub(super) fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n')) {
            self.at += 1;
        }
    }

    pub(super) fn value(&mut self) -> Option<Json<'a>> {
        let start = self.at;
        let value = match self.peek()? {
            'n' => self.take("null").map(|()| Value::Null)?,
            't' => self.take("true").map(|()| Value::Bool)?,
            'f' => self.take("false").map(|()| Value::Bool)?,
            '"' => Value::Text(self.string()?),
            '[' => Value::List(self.list()?),
            '{' => Value::Object(self.object()?),
            _ => self.number().map(|()| Value::Number)?,
        };
        Some(Json {
            raw: &self.text[start..self.at],
            value,
        })
    }

    pub(super) fn list(&mut self) -> Option<Vec<Json<'a>>> {
        let mut elements = vec![];
        self.take("[")?;
        self.blanks();
        if self.take("]").is_some() {
            return Some(elements);
        }
        loop {
            self.blanks();
            elements.push(self.value()?);
            self.blanks();
            if self.take("]").is_some() {
                return Some(elements);
            }
            self.take(",")?;
        }
    }

    pub(super) fn object(&mut self) -> Option<Vec<(Option<String>, Json<'a>)>> {
        let mut fields = vec![];
        self.take("{")?;
        self.blanks();
        if self.take("}").is_some() {
            return Some(fields);
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.blanks();
            self.take(":")?;
            self.blanks();
            fields.push((key, self.value()?));
            self.blanks();
            if self.take("}").is_some() {
                return Some(fields);
            }
            self.take(",")?;
        }
    }

    pub(super) fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some('0'..='9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    pub(super) fn number(&mut self) -> Option<()> {
        let _sign = self.take("-");
        if self.take("0").is_none() {
            self.digits()?;
        }
        if self.take(".").is_some() {
            self.digits()?;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _sign = self.take("+").or_else(|| self.take("-"));
            self.digits()?;
        }
        Some(())
    }

    /// None: no JSON string. Some(None): a JSON string that is no Unicode text.
    #[expect(clippy::option_option, reason = "a string is one of three things")]
    pub(super) fn string(&mut self) -> Option<Option<String>> {
        let mut units: Vec<u16> = vec![];
        self.take("\"")?;
        loop {
            let c = self.peek()?;
            self.at += c.len_utf8();
            let unescaped = match c {
                '"' => return Some(String::from_utf16(&units).ok()),
                '\0'..='\u{1f}' => return None,
                '\\' => {
                    let escape = self.peek()?;
                    self.at += escape.len_utf8();
                    match escape {
                        '"' | '\\' | '/' => escape,
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'u' => {
                            let hex = self.text.get(self.at..self.at + 4)?;
                            if !hex.chars().all(|c| c.is_ascii_hexdigit()) {
                                return None;
                            }
                            self.at += 4;
                            units.push(u16::from_str_radix(hex, 16).ok()?);
                            continue;
                        }
                        _ => return None,
                    }
                }
                _ => c,
            };
            units.extend_from_slice(unescaped.encode_utf16(&mut [0; 2]));
        }
    }
}
