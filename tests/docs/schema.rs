//! The notation in which the protocol and `--help` describe messages: `{job_id, tasks: [{id, chunk}…], max_losses?}`.

use std::collections::BTreeSet;

/// The fields of an object, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema(pub Vec<Field>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub is_optional: bool,
    pub shape: Shape,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A value whose type the notation does not give.
    Any,
    /// One of these strings.
    OneOf(Vec<String>),
    Object(Schema),
    /// `{…}`: an object that is described elsewhere.
    Elided,
    /// `{name: integer…}`: an object with any names.
    Map,
    /// A list of objects.
    Objects(Schema),
    /// A list of strings.
    Strings,
}

impl Schema {
    /// Reads an object at the start of `text`. Returns it and the rest of the text.
    pub fn parse(text: &str) -> Option<(Self, &str)> {
        let mut rest = text.trim_start().strip_prefix('{')?.trim_start();
        let mut fields = Vec::new();
        while !rest.starts_with('}') {
            let (field, behind) = Field::parse(rest)?;
            fields.push(field);
            let behind = behind.trim_start();
            rest = behind.strip_prefix(',').unwrap_or(behind).trim_start();
            if rest.is_empty() {
                return None;
            }
        }
        Some((Self(fields), &rest[1..]))
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name == name)
    }

    /// The names of all fields, those of objects inside them included.
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for field in &self.0 {
            names.insert(field.name.as_str());
            if let Shape::Object(inner) | Shape::Objects(inner) = &field.shape {
                names.extend(inner.names());
            }
        }
        names
    }

    /// One line for each field, `tasks[].id` for that of an object in a list; for comparing two schemas.
    pub fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for field in &self.0 {
            let name = &field.name;
            let mark = if field.is_optional { "?" } else { "" };
            match &field.shape {
                Shape::Any => lines.insert(format!("{name}{mark}")),
                Shape::OneOf(values) => lines.insert(format!("{name}{mark}: {}", values.join("|"))),
                Shape::Elided => lines.insert(format!("{name}{mark}: {{…}}")),
                Shape::Map => lines.insert(format!("{name}{mark}: {{name: integer…}}")),
                Shape::Strings => lines.insert(format!("{name}{mark}: [string…]")),
                Shape::Object(inner) => {
                    lines.extend(
                        inner
                            .lines()
                            .iter()
                            .map(|line| format!("{name}{mark}.{line}")),
                    );
                    true
                }
                Shape::Objects(inner) => {
                    lines.extend(
                        inner
                            .lines()
                            .iter()
                            .map(|line| format!("{name}{mark}[].{line}")),
                    );
                    true
                }
            };
        }
        lines
    }
}

impl Field {
    fn parse(text: &str) -> Option<(Self, &str)> {
        let (name, rest) = word(text)?;
        let (is_optional, rest) = match rest.strip_prefix('?') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (shape, rest) = match rest.strip_prefix(':') {
            Some(rest) => Shape::parse(rest.trim_start())?,
            None => (Shape::Any, rest),
        };
        let name = name.to_owned();
        Some((
            Self {
                name,
                is_optional,
                shape,
            },
            rest,
        ))
    }
}

impl Shape {
    fn parse(text: &str) -> Option<(Self, &str)> {
        if let Some(rest) = text.strip_prefix("{…}") {
            return Some((Self::Elided, rest));
        }
        if let Some(rest) = text.strip_prefix("{name: integer…}") {
            return Some((Self::Map, rest));
        }
        if text.starts_with('{') {
            let (schema, rest) = Schema::parse(text)?;
            return Some((Self::Object(schema), rest));
        }
        if let Some(element) = text.strip_prefix('[') {
            let (shape, rest) = if element.starts_with('{') {
                let (schema, rest) = Schema::parse(element)?;
                (Self::Objects(schema), rest)
            } else {
                (Self::Strings, word(element)?.1)
            };
            return Some((shape, rest.strip_prefix("…]")?));
        }
        let mut values = Vec::new();
        let mut rest = text;
        while let Some(behind) = rest.trim_start().strip_prefix('"') {
            let (value, behind) = behind.split_once('"')?;
            values.push(value.to_owned());
            rest = behind;
            match rest.strip_prefix('|') {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        (!values.is_empty()).then_some((Self::OneOf(values), rest))
    }
}

/// The identifier at the start of `text`, and the rest.
pub fn word(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|char: char| !(char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_'))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[test]
fn notation_is_read_as_it_is_meant() {
    let text =
        r#"{a, b?: [id…], c: [{d, e?}…], f: {g: "x"|"y", h: {…}}, i?: {name: integer…}} and more"#;
    let (schema, rest) = Schema::parse(text).expect("it is well formed");
    let lines: Vec<_> = schema.lines().into_iter().collect();
    assert_eq!(rest, " and more");
    assert_eq!(
        lines,
        [
            "a",
            "b?: [string…]",
            "c[].d",
            "c[].e?",
            "f.g: x|y",
            "f.h: {…}",
            "i?: {name: integer…}"
        ]
    );
    for text in ["{a", "{a: }", "{a: [id]}", "{a: \"x}", "a}", "{,}"] {
        assert_eq!(Schema::parse(text), None, "{text}");
    }
}
