//! What the pages say is true: the protocol agrees with the code, with `--help` and with the golden conversations, names
//! files that exist, and every shell example of every page does what the page shows.

#[path = "docs/contract.rs"]
mod contract;
#[path = "docs/examples.rs"]
mod examples;
#[path = "docs/golden.rs"]
mod golden;
#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/probe.rs"]
mod probe;
#[path = "docs/schema.rs"]
mod schema;

use contract::{Description, Messages, protocol, rows, sections};
use golden::{Object, parse};
use pages::{code_spans, files_in, folders_in, pages, read, relative, root};
use schema::{Schema, Shape};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_mapreduce-master");

/// The fields that every reply may have, and those of an error.
const ADDRESSING: [&str; 3] = ["type", "in_reply_to", "msg_id"];
const ERROR: [&str; 2] = ["code", "text"];

/// The field that holds a map or a reduce task.
const TASK: &str = "task_assigned.task";

/// Collects everything that is wrong, so that one run shows all of it.
#[derive(Default)]
struct Problems(BTreeSet<String>);

impl Problems {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.insert(problem.into());
    }

    /// Notes what is only in one of two sets.
    fn compare<T: Ord + std::fmt::Display>(
        &mut self,
        what: &str,
        (left, left_set): (&str, &BTreeSet<T>),
        (right, right_set): (&str, &BTreeSet<T>),
    ) {
        for item in left_set.difference(right_set) {
            self.add(format!("{what}: `{item}` is in {left}, but not in {right}"));
        }
        for item in right_set.difference(left_set) {
            self.add(format!("{what}: `{item}` is in {right}, but not in {left}"));
        }
    }

    #[track_caller]
    fn assert_none(self) {
        const MAX_SHOWN: usize = 30;
        let count = self.0.len();
        let shown: Vec<_> = self.0.into_iter().take(MAX_SHOWN).collect();
        let more = count - shown.len();
        assert!(count == 0, "\n{}\n(and {more} more)\n", shown.join("\n"));
    }
}

fn help() -> String {
    let output = Command::new(BINARY)
        .arg("--help")
        .output()
        .expect("the binary runs");
    String::from_utf8(output.stdout).expect("the help is text")
}

fn types(messages: &Messages) -> BTreeSet<String> {
    messages.keys().cloned().collect()
}

#[test]
fn help_and_protocol_describe_the_same_messages() {
    const PROTOCOL: &str = "src/protocol.md";
    let protocol = Description::of_protocol(&protocol());
    let help = Description::of_help(&help());
    let mut problems = Problems::default();
    for (what, protocol, help) in [
        ("requests", &protocol.requests, &help.requests),
        ("replies", &protocol.replies, &help.replies),
    ] {
        problems.compare(what, (PROTOCOL, &types(protocol)), ("--help", &types(help)));
        for (name, schema) in protocol {
            if let Some(other) = help.get(name) {
                problems.compare(
                    name,
                    (PROTOCOL, &schema.lines()),
                    ("--help", &other.lines()),
                );
            }
        }
    }
    let answers = |description: &Description| -> BTreeSet<String> {
        let answers = description.answers.iter();
        answers
            .map(|(request, replies)| format!("{request} -> {}", replies.join(" or ")))
            .collect()
    };
    problems.compare(
        "answers",
        (PROTOCOL, &answers(&protocol)),
        ("--help", &answers(&help)),
    );
    let tasks = |description: &Description| -> BTreeSet<String> {
        let tasks = description.tasks.iter();
        tasks
            .map(|task| task.lines().into_iter().collect::<Vec<_>>().join(", "))
            .collect()
    };
    problems.compare(
        "task",
        (PROTOCOL, &tasks(&protocol)),
        ("--help", &tasks(&help)),
    );
    problems.assert_none();
}

#[test]
fn code_knows_the_requests_of_the_protocol_and_no_others() {
    let described = types(&Description::of_protocol(&protocol()).requests);
    let known = mapreduce_master::wire::TYPES.map(str::to_owned).into();
    let mut problems = Problems::default();
    problems.compare(
        "requests",
        ("src/protocol.md", &described),
        ("wire::TYPES", &known),
    );
    problems.assert_none();
}

#[test]
fn code_reads_the_fields_of_the_protocol_and_no_others() {
    let source = read(&root().join("src/wire/fields.rs"));
    let known = fields_in_the_code(&source);
    let mut problems = Problems::default();
    let description = Description::of_protocol(&protocol());
    for problem in probe::probe(&description.requests, &known) {
        problems.add(problem);
    }
    // A field that no message has is a leftover.
    let described: BTreeSet<_> = description
        .requests
        .values()
        .flat_map(Schema::names)
        .collect();
    for field in &known {
        if !described.contains(field.as_str()) && !probe::ENVELOPE.contains(&field.as_str()) {
            problems.add(format!(
                "`{field}` is in src/wire/fields.rs, but no request in src/protocol.md has it"
            ));
        }
    }
    problems.assert_none();
}

/// The variants of `enum Field`, as they are called on the wire.
fn fields_in_the_code(source: &str) -> Vec<String> {
    let (_, rest) = source
        .split_once("pub enum Field {")
        .expect("src/wire/fields.rs has an enum Field");
    let (variants, _) = rest.split_once("\n}").expect("it ends");
    let lines = variants.lines().map(str::trim);
    let variants: String = lines
        .filter(|line| !line.starts_with("//") && !line.starts_with('#'))
        .collect();
    let names = variants.split(',').map(str::trim);
    let names = names.filter(|name| !name.is_empty() && *name != "Unknown");
    let names: Vec<_> = names
        .map(|name| {
            name.chars().fold(String::new(), |mut snake, char| {
                if char.is_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(char.to_ascii_lowercase());
                snake
            })
        })
        .collect();
    assert!(names.len() > 20, "the fields are found: {names:?}");
    names
}

#[test]
fn code_writes_the_replies_of_the_protocol_and_no_others() {
    let source = read(&root().join("src/wire/reply.rs"));
    let description = Description::of_protocol(&protocol());
    let mut problems = Problems::default();

    let mut described = types(&description.replies);
    described.insert("error".to_owned());
    let written = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::"));
    let written = written.filter_map(|line| line.split_once("=> \"")?.1.split_once('"'));
    let written = written.map(|(name, _)| name.to_owned()).collect();
    problems.compare(
        "replies",
        ("src/protocol.md", &described),
        ("src/wire/reply.rs", &written),
    );

    let schemas = description.replies.values().chain(&description.tasks);
    let mut described: BTreeSet<_> = schemas.flat_map(Schema::names).map(str::to_owned).collect();
    described.extend(ERROR.map(str::to_owned));
    let written = fields_of_serialized_types(&source);
    problems.compare(
        "fields of replies",
        ("src/protocol.md", &described),
        ("src/wire/reply.rs", &written),
    );
    problems.assert_none();
}

/// The fields of all types that derive `Serialize`.
fn fields_of_serialized_types(source: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    let mut is_serialized = false;
    for line in source.lines() {
        if line.starts_with("#[derive(") {
            is_serialized = line.contains("Serialize");
        } else if line.starts_with('}') {
            is_serialized = false;
        } else if is_serialized {
            let line = line.trim().trim_start_matches("pub ");
            if let Some((name, rest)) = schema::word(line)
                && rest.starts_with(": ")
            {
                fields.insert(name.to_owned());
            }
        }
    }
    fields
}

#[test]
fn golden_replies_have_the_fields_of_the_protocol_and_show_each_of_them() {
    let description = Description::of_protocol(&protocol());
    let mut seen = BTreeSet::new();
    let mut problems = Problems::default();
    for (file, reply) in golden::replies() {
        let name: String =
            (reply.get("type").and_then(|name| parse(name))).expect("a reply has a type");
        let Some(schema) = description.replies.get(&name) else {
            if name != "error" {
                problems.add(format!("{file}: `{name}` is not in src/protocol.md"));
            }
            continue;
        };
        let mut check = Check {
            description: &description,
            seen: &mut seen,
            problems: &mut problems,
            file: &file,
        };
        check.fields(&name, schema, &reply);
    }
    let mut all = BTreeSet::new();
    for (name, schema) in &description.replies {
        all.insert(name.clone());
        paths(&description, name, schema, &mut all);
    }
    for path in all.difference(&seen) {
        problems.add(format!(
            "`{path}` is in src/protocol.md, but in no golden conversation"
        ));
    }
    problems.assert_none();
}

/// Compares values with schemas.
struct Check<'a> {
    description: &'a Description,
    seen: &'a mut BTreeSet<String>,
    problems: &'a mut Problems,
    file: &'a str,
}

impl Check<'_> {
    fn fields(&mut self, path: &str, schema: &Schema, object: &Object) {
        self.seen.insert(path.to_owned());
        let is_reply = !path.contains('.');
        for name in object.keys() {
            if schema.field(name).is_none() && !(is_reply && ADDRESSING.contains(&name.as_str())) {
                self.problems.add(format!(
                    "{}: `{path}.{name}` is not in src/protocol.md",
                    self.file
                ));
            }
        }
        for field in &schema.0 {
            let path = format!("{path}.{}", field.name);
            match object.get(&field.name) {
                Some(value) => self.value(&path, &field.shape, value),
                None if field.is_optional => {}
                None => self
                    .problems
                    .add(format!("{}: `{path}` is missing", self.file)),
            }
        }
    }

    fn value(&mut self, path: &str, shape: &Shape, value: &RawValue) {
        self.seen.insert(path.to_owned());
        let is_right = match shape {
            Shape::Any if path == TASK => self.task(path, value).is_some(),
            Shape::Any => true,
            Shape::OneOf(values) => {
                parse(value).is_some_and(|value: String| values.contains(&value))
            }
            Shape::Object(schema) => parse(value).is_some_and(|object| {
                self.fields(path, schema, &object);
                true
            }),
            Shape::Elided => parse::<Object>(value).is_some(),
            Shape::Map => parse::<BTreeMap<String, serde_json::Number>>(value).is_some(),
            Shape::Objects(schema) => parse(value).is_some_and(|list: Vec<Object>| {
                let path = format!("{path}[]");
                for element in &list {
                    self.fields(&path, schema, element);
                }
                true
            }),
            Shape::Strings => parse::<Vec<String>>(value).is_some(),
        };
        if !is_right {
            self.problems.add(format!(
                "{}: `{path}` is not what src/protocol.md says: {value}",
                self.file
            ));
        }
    }

    /// A map or a reduce task, by its `kind`.
    fn task(&mut self, path: &str, value: &RawValue) -> Option<()> {
        let object: Object = parse(value)?;
        let kind: String = parse(object.get("kind")?)?;
        let description = self.description;
        let task = description
            .tasks
            .iter()
            .find(|task| kind_of(task) == kind)?;
        self.fields(&format!("{path}.{kind}"), task, &object);
        Some(())
    }
}

/// The one `kind` of a task.
fn kind_of(task: &Schema) -> &str {
    match task.field("kind").map(|field| &field.shape) {
        Some(Shape::OneOf(kinds)) if kinds.len() == 1 => &kinds[0],
        _ => panic!("a task has a kind"),
    }
}

/// The path of each field, as [`Check`] notes them.
fn paths(description: &Description, path: &str, schema: &Schema, all: &mut BTreeSet<String>) {
    for field in &schema.0 {
        let path = format!("{path}.{}", field.name);
        all.insert(path.clone());
        match &field.shape {
            Shape::Object(inner) => paths(description, &path, inner, all),
            Shape::Objects(inner) => paths(description, &format!("{path}[]"), inner, all),
            Shape::Any if path == TASK => {
                for task in &description.tasks {
                    let path = format!("{path}.{}", kind_of(task));
                    all.insert(path.clone());
                    paths(description, &path, task, all);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn sections_that_are_cited_exist() {
    let protocol = protocol();
    let sections = sections(&protocol);
    let is_missing = |number: usize| number == 0 || number > sections.len();
    let has_part = |number: usize, title: &str| {
        let section = number.checked_sub(1).and_then(|at| sections.get(at));
        let marks = [("\n### ", "\n"), ("* **", ".**"), ("* **", "**")];
        let mut titles = marks
            .iter()
            .map(|(start, end)| format!("{start}{title}{end}"));
        section.is_some_and(|section| titles.any(|title| section.text.contains(&title)))
    };
    let mut problems = Problems::default();
    let mut count = 0;
    for path in files_in("src").iter().chain(&files_in("tests")) {
        let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else {
            continue;
        };
        if !["rs", "py", "js", "md", "txt"].contains(&extension) {
            continue;
        }
        let text = read(path);
        let lines: Vec<_> = text.lines().map(without_comment_mark).collect();
        for (at, line) in lines.iter().enumerate() {
            let next = lines.get(at + 1).copied().unwrap_or_default();
            for citation in citations_in(line, next) {
                count += 1;
                let problem = match citation {
                    Citation::Section(number) => is_missing(number)
                        .then(|| format!("src/protocol.md has no section {number}")),
                    Citation::Part(number, title) => (!has_part(number, &title)).then(|| {
                        format!("section {number} of src/protocol.md has no part {title:?}")
                    }),
                };
                if let Some(problem) = problem {
                    problems.add(format!("{}:{}: {problem}", relative(path), at + 1));
                }
            }
        }
    }
    assert!(count > 20, "citations are found: {count}");
    problems.assert_none();
}

/// A place in the protocol.
#[derive(Debug, PartialEq, Eq)]
enum Citation {
    Section(usize),
    /// A section and the title of one of its parts.
    Part(usize, String),
}

fn without_comment_mark(line: &str) -> &str {
    let line = line.trim();
    ["//!", "///", "//", "#"]
        .iter()
        .find_map(|mark| line.strip_prefix(mark))
        .unwrap_or(line)
        .trim()
}

/// The citations that start in a line: `section 5`, `sections 1, 2 and 5`, `sections 2 to 6`, `section 6, "Reports"`. They
/// may go on in the next line.
fn citations_in(line: &str, next: &str) -> Vec<Citation> {
    let text = format!("{line} {next}");
    let mut found = Vec::new();
    let starts = text
        .match_indices("ection")
        .map(|(start, word)| (start, &text[start + word.len()..]));
    for (_, rest) in starts.take_while(|(start, _)| *start < line.len()) {
        let Some(mut rest) = rest.strip_prefix("s ").or_else(|| rest.strip_prefix(' ')) else {
            continue;
        };
        loop {
            let end = rest
                .find(|char: char| !char.is_ascii_digit())
                .unwrap_or(rest.len());
            let Ok(number) = rest[..end].parse() else {
                break;
            };
            found.push(Citation::Section(number));
            rest = &rest[end..];
            if let Some((title, _)) = rest
                .strip_prefix(", \"")
                .and_then(|title| title.split_once('"'))
            {
                found.push(Citation::Part(number, title.to_owned()));
                break;
            }
            let Some(next) = [", ", " and ", " to ", " or "]
                .iter()
                .find_map(|link| rest.strip_prefix(link))
            else {
                break;
            };
            rest = next;
        }
    }
    found
}

#[test]
fn citations_are_found_in_all_their_forms() {
    for (line, next, expected) in [
        ("(protocol, chapter 5; paper, §3.3)", "", vec![5]),
        ("(protocol, chapters 2 and 3): nothing", "", vec![2, 3]),
        (
            "Chapter 12. Chapters 1, 2 and 30, too; chapter 4, which",
            "",
            vec![12, 1, 2, 30, 4],
        ),
        (
            "chapters 2 to 6 and `-- NAME` chapters whose name",
            "",
            vec![2, 6],
        ),
        ("interchapter 5a, chapteral 6, chapter five", "", vec![5]),
        ("those of chapters 4 and", "5, and chapter 6", vec![4, 5]),
    ] {
        // Not spelled out, since this file is searched, too.
        let [line, next] =
            [line, next].map(|text| text.replace("hapter", "ection").replace('C', "S"));
        let expected: Vec<_> = expected.into_iter().map(Citation::Section).collect();
        assert_eq!(citations_in(&line, &next), expected, "{line}");
    }
    let line = "(protocol, chapter 6,".replace("chapter", "section");
    let part = Citation::Part(6, "Handing out tasks".to_owned());
    assert_eq!(
        citations_in(&line, "\"Handing out tasks\")"),
        [Citation::Section(6), part]
    );
}

#[test]
fn table_of_rules_names_what_exists_and_leaves_nothing_out() {
    let protocol = protocol();
    let sections = sections(&protocol);
    let table = sections.last().expect("there are sections");
    let mut problems = Problems::default();
    let mut files = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for row in rows(table.text) {
        let [section, rule, code, conversations] = &row[..] else {
            panic!("a row has four cells: {row:?}");
        };
        if !section
            .parse()
            .is_ok_and(|section: usize| (1..table.number).contains(&section))
        {
            problems.add(format!("{rule}: there is no section {section}"));
        }
        files.extend(code_spans(code).into_iter().map(str::to_owned));
        folders.extend(code_spans(conversations).into_iter().map(str::to_owned));
    }
    for file in files.iter().filter(|file| !root().join(file).is_file()) {
        problems.add(format!("{file} is in the table, but does not exist"));
    }
    for file in files_in("src/master").iter().map(|path| relative(path)) {
        if !files.contains(&file) {
            problems.add(format!("{file} is not in the table"));
        }
    }
    problems.compare(
        "golden conversations",
        ("the table", &folders),
        (
            "tests/golden",
            &folders_in("tests/golden").into_iter().collect(),
        ),
    );
    problems.assert_none();
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut problems = Problems::default();
    for page in pages() {
        let text = read(&page);
        let inline = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        for (target, _) in inline {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let folder = page.parent().expect("a page is in a folder");
            if !folder.join(path).exists() {
                problems.add(format!("{}: {path} does not exist", relative(&page)));
            }
        }
    }
    problems.assert_none();
}

#[test]
fn page_on_the_tests_names_every_suite() {
    let page = read(&root().join("tests/README.md"));
    let mut problems = Problems::default();
    for path in files_in("tests") {
        let file = relative(&path);
        let name = file.trim_start_matches("tests/");
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        let is_suite = is_rust && !name.contains('/');
        if is_suite && !page.contains(&format!("[`{name}`]({name})")) {
            problems.add(format!("{file} is not in tests/README.md"));
        }
    }
    problems.assert_none();
}

#[test]
fn readme_is_short() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(
        lines <= 150,
        "README.md has {lines} lines; it is for someone who has just found the project"
    );
}
