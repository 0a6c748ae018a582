//! What the protocol says, and what `--help` says, in the same terms.

use crate::pages::{code_spans, read, root};
use crate::schema::{Schema, word};
use std::collections::BTreeMap;

/// Messages by their type.
pub type Messages = BTreeMap<String, Schema>;

/// The messages that a text describes.
#[derive(Debug, Default)]
pub struct Description {
    pub requests: Messages,
    pub replies: Messages,
    /// The types of reply to each type of request, in order; an error is not listed.
    pub answers: BTreeMap<String, Vec<String>>,
    /// What the field `task` of a reply holds: a map or a reduce task.
    pub tasks: Vec<Schema>,
}

/// A section of the protocol.
pub struct Section<'a> {
    pub number: usize,
    pub text: &'a str,
}

pub fn protocol() -> String {
    read(&root().join("src/protocol.md"))
}

/// The numbered sections of the protocol.
pub fn sections(protocol: &str) -> Vec<Section<'_>> {
    let parts = protocol.split("\n## ").skip(1);
    let sections: Vec<_> = parts
        .map(|text| {
            let number = text
                .split('.')
                .next()
                .and_then(|number| number.parse().ok());
            Section {
                number: number.expect("every section has a number"),
                text,
            }
        })
        .collect();
    for (at, section) in sections.iter().enumerate() {
        assert_eq!(
            section.number,
            at + 1,
            "the sections are numbered without a gap"
        );
    }
    sections
}

/// The rows of a section's tables, without their heads, each as its cells.
pub fn rows(section: &str) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in section.lines() {
        let Some(line) = line.strip_prefix('|') else {
            continue;
        };
        let line = line
            .strip_suffix('|')
            .expect("a row ends with a bar")
            .replace("\\|", "\u{0}");
        let cells: Vec<_> = line
            .split('|')
            .map(|cell| cell.trim().replace('\u{0}', "|"))
            .collect();
        if cells.iter().all(|cell| cell.trim_matches('-').is_empty()) {
            rows.pop();
        } else {
            rows.push(cells);
        }
    }
    rows
}

/// Types with their fields, in order: `task_completed` `{task_id, accepted}`, or `task_failed` `{task_id, retry}`.
fn named_schemas(spans: &[&str]) -> Vec<(String, Option<Schema>)> {
    let mut named: Vec<(String, Option<Schema>)> = Vec::new();
    for span in spans {
        if span.starts_with('{') {
            let (schema, rest) =
                Schema::parse(span).unwrap_or_else(|| panic!("cannot read {span}"));
            assert_eq!(rest, "", "{span}");
            named.last_mut().expect("a type comes before its fields").1 = Some(schema);
        } else if word(span).is_some_and(|(_, rest)| rest.is_empty()) {
            named.push(((*span).to_owned(), None));
        }
    }
    named
}

impl Description {
    fn add_request(&mut self, name: &str, schema: Option<Schema>) {
        let before = self
            .requests
            .insert(name.to_owned(), schema.unwrap_or_default());
        assert!(before.is_none(), "{name} is described twice");
    }

    fn add_reply(&mut self, request: &str, name: &str, schema: Option<Schema>) {
        self.answers
            .entry(request.to_owned())
            .or_default()
            .push(name.to_owned());
        self.add_fields(name, schema);
    }

    /// Where a reply is described twice, the descriptions agree.
    fn add_fields(&mut self, name: &str, schema: Option<Schema>) {
        let known = self.replies.entry(name.to_owned()).or_default();
        let Some(schema) = schema else { return };
        assert!(
            *known == Schema::default() || *known == schema,
            "{name} is described in two ways"
        );
        *known = schema;
    }

    /// The messages in the tables of the sections 5 and 6, and in the paragraphs below them.
    pub fn of_protocol(protocol: &str) -> Self {
        let mut description = Self::default();
        for section in sections(protocol)
            .iter()
            .filter(|section| [5, 6].contains(&section.number))
        {
            for row in rows(section.text) {
                let [request, reply] = &row[..] else {
                    panic!("a row has a request and a reply: {row:?}");
                };
                let request = named_schemas(&code_spans(request));
                let [(name, schema)] = &request[..] else {
                    panic!("a row has one request: {row:?}");
                };
                description.add_request(name, schema.clone());
                for (reply, schema) in named_schemas(&code_spans(reply)) {
                    description.add_reply(name, &reply, schema);
                }
            }
            // A paragraph that starts with a name in bold may give its fields.
            for paragraph in section.text.split("\n* ") {
                let Some((name, rest)) = paragraph
                    .strip_prefix("**`")
                    .and_then(|text| text.split_once("`**"))
                else {
                    continue;
                };
                let spans = code_spans(rest);
                let mut schemas =
                    spans
                        .iter()
                        .take_while(|span| span.starts_with('{'))
                        .map(|span| {
                            Schema::parse(span)
                                .unwrap_or_else(|| panic!("cannot read {span}"))
                                .0
                        });
                if name == "task" {
                    description.tasks = schemas.collect();
                } else if let Some(schema) = schemas.next() {
                    assert!(
                        description.replies.contains_key(name),
                        "{name} is in no table"
                    );
                    description.add_fields(name, Some(schema));
                }
            }
        }
        description
    }

    /// The messages that `--help` lists: an entry starts with four blanks and the type of a request, and its replies
    /// stand behind arrows.
    pub fn of_help(help: &str) -> Self {
        let mut entries: Vec<String> = Vec::new();
        let list = help
            .split("Requests and replies")
            .nth(1)
            .expect("the help lists the messages");
        for line in list.lines().skip_while(|line| !line.is_empty()).skip(1) {
            if line.is_empty() {
                break;
            }
            if line.starts_with("     ") {
                let entry = entries.last_mut().expect("an entry comes first");
                *entry += " ";
                *entry += line.trim();
            } else {
                entries.push(line.trim().to_owned());
            }
        }
        let mut description = Self::default();
        for entry in &entries {
            let mut parts = entry.split(" -> ");
            let request = parts.next().unwrap_or_default();
            let (name, rest) = word(request).unwrap_or_else(|| panic!("no type in {entry:?}"));
            description.add_request(name, Schema::parse(rest).map(|(schema, _)| schema));
            for part in parts {
                let (replies, tasks) = part.split_once(", where task is ").unwrap_or((part, ""));
                let mut rest = replies;
                while let Some((reply, behind)) = word(rest.trim_start()) {
                    let (schema, behind) = match Schema::parse(behind) {
                        Some((schema, behind)) => (Some(schema), behind),
                        None => (None, behind),
                    };
                    description.add_reply(name, reply, schema);
                    rest = behind.strip_prefix(" or").unwrap_or("");
                }
                let mut rest = tasks;
                while let Some((schema, behind)) = Schema::parse(rest) {
                    description.tasks.push(schema);
                    rest = behind.strip_prefix(" or").unwrap_or("");
                }
            }
        }
        description
    }
}
