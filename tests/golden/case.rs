//! A golden conversation: how it is written in a file, read, and rewritten. [`Case::parse`] has the format.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

/// A conversation: what the program reads, and what it is to write.
#[derive(Debug)]
pub struct Case {
    /// `TOPIC/NAME`, as its files are named.
    pub name: String,
    /// The file that a reader opens, from the top folder on: the case itself or, of a raw pair, the replies.
    pub file: PathBuf,
    /// Arguments for the program.
    pub options: Vec<String>,
    items: Vec<Item>,
}

/// A line of a file.
#[derive(Debug, Clone)]
enum Item {
    /// A comment, a blank line or the options, kept as they are.
    Other(String),
    Input {
        /// The line as it is written in the file.
        text: String,
        bytes: Vec<u8>,
    },
    Reply(String),
    /// A bare `<`: the input before it gets no reply.
    NoReply,
    /// What a line on stderr contains.
    Log(String),
}

/// A reply that is expected, and where.
#[derive(Debug)]
pub struct Expected<'a> {
    pub reply: &'a str,
    /// The number of its line in [`Case::file`].
    pub line: usize,
    /// The input that it answers, which may be several lines.
    pub request: String,
}

impl Case {
    /// Every conversation in the folders of `tests/golden/`, by name. Panics on a file that is not part of one, which
    /// would otherwise go unnoticed, and on one that cannot be read.
    pub fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for topic in sorted(&top().join(FOLDER)) {
            if topic.is_dir() {
                for file in sorted(&topic) {
                    let file = file.strip_prefix(top()).expect("within the top folder");
                    cases.extend(Self::read(file));
                }
            }
        }
        assert!(!cases.is_empty(), "there are no golden conversations");
        for pair in cases.windows(2) {
            assert!(pair[0].name != pair[1].name, "{}: twice", pair[0].name);
        }
        cases
    }

    /// Reads a conversation from its file. `None` for the second file of a raw pair.
    fn read(file: &Path) -> Option<Self> {
        let show = file.display();
        let bytes = fs::read(top().join(file)).unwrap_or_else(|error| panic!("{show}: {error}"));
        let text = || {
            let text = std::str::from_utf8(&bytes);
            text.unwrap_or_else(|error| panic!("{show}: {error}"))
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => {
                let (options, items) =
                    Self::parse(text()).unwrap_or_else(|problem| panic!("{show}:{problem}"));
                Some(Self {
                    name: name(file),
                    file: file.to_owned(),
                    options,
                    items,
                })
            }
            Some("in") => Some(Self::raw_pair(file, bytes)),
            Some("out") => {
                let input = file.with_extension("in");
                assert!(
                    top().join(&input).exists(),
                    "{show} has no {}",
                    input.display()
                );
                None
            }
            _ => panic!("{show} is not part of a golden conversation"),
        }
    }

    /// Reads the lines of a conversation:
    ///
    /// * `> ` a line of input. Lines that follow each other are one message, or get no reply but that to the last.
    /// * `>\ ` bytes of input with escapes (`\r`, `\n`, `\t`, `\xff`, `\\`). They end in a newline only if they say so.
    /// * `< ` a reply to what precedes. A string in it that is `"…"` may be any, until an update fills it in.
    /// * `<` alone: what precedes gets no reply. One or the other must follow every input.
    /// * `! ` a text that is in a line on stderr, in this order. Other lines may come between.
    /// * `$ ` options for the program, in the first line that is not a comment.
    /// * `# ` a comment. Comments and blank lines may stand anywhere.
    fn parse(text: &str) -> Result<(Vec<String>, Vec<Item>), String> {
        let mut options = Vec::new();
        let mut items = Vec::new();
        let mut is_answered = true;
        for (at, line) in text.lines().enumerate() {
            let problem = |problem: &str| Err(format!("{}: {problem}", at + 1));
            let is_input = line.starts_with('>');
            let is_first_input = items.iter().all(|item| matches!(item, Item::Other(_)));
            if !is_input && !is_answered && line.is_empty() {
                return problem("the input before this line needs its reply, or `<` for none");
            }
            let item = if line.is_empty() || line.starts_with('#') {
                Item::Other(line.to_owned())
            } else if let Some(given) = line.strip_prefix("$ ") {
                if !is_first_input {
                    return problem("options come before the first input");
                }
                options.extend(given.split_whitespace().map(str::to_owned));
                Item::Other(line.to_owned())
            } else if let Some(escaped) = line.strip_prefix(">\\ ") {
                let Some(bytes) = unescape(escaped) else {
                    return problem("an invalid escape");
                };
                let text = line.to_owned();
                Item::Input { text, bytes }
            } else if let Some(input) = after_marker(line, '>') {
                let text = line.to_owned();
                let bytes = format!("{input}\n").into_bytes();
                Item::Input { text, bytes }
            } else if is_first_input {
                return problem("no input precedes this line");
            } else if line == "<" {
                Item::NoReply
            } else if let Some(reply) = after_marker(line, '<') {
                Item::Reply(reply.to_owned())
            } else if let Some(log) = after_marker(line, '!') {
                Item::Log(log.to_owned())
            } else {
                return problem("starts with none of `> `, `< `, `! `, `# `, `$ `");
            };
            match item {
                Item::Input { .. } => is_answered = false,
                Item::Reply(_) | Item::NoReply => is_answered = true,
                Item::Other(_) | Item::Log(_) => {}
            }
            items.push(item);
        }
        if is_answered {
            Ok((options, items))
        } else {
            Err("the last input needs its reply, or `<` for none".into())
        }
    }

    /// A conversation in two files of bytes as they are: `NAME.in` for the input, `NAME.out` for the replies.
    fn raw_pair(file: &Path, input: Vec<u8>) -> Self {
        let output = file.with_extension("out");
        let replies = fs::read_to_string(top().join(&output))
            .unwrap_or_else(|error| panic!("{}: {error}", output.display()));
        let text = format!("> the input in {}", file.display());
        let mut items = vec![Item::Input { text, bytes: input }];
        items.extend(replies.lines().map(|reply| Item::Reply(reply.to_owned())));
        Self {
            name: name(file),
            file: output,
            options: Vec::new(),
            items,
        }
    }

    fn is_raw(&self) -> bool {
        self.file
            .extension()
            .is_some_and(|extension| extension == "out")
    }

    /// Everything that the program is to read.
    pub fn input(&self) -> Vec<u8> {
        self.input_lines().concat()
    }

    /// The input in pieces, in each of which at most one message ends.
    pub fn input_lines(&self) -> Vec<&[u8]> {
        let inputs = self.items.iter().filter_map(|item| match item {
            Item::Input { bytes, .. } => Some(&bytes[..]),
            _ => None,
        });
        if self.is_raw() {
            inputs
                .flat_map(|bytes| bytes.split_inclusive(|byte| *byte == b'\n'))
                .collect()
        } else {
            inputs.collect()
        }
    }

    /// How many replies are expected once each of the [`Self::input_lines`] was read; `None` where the files do not
    /// say.
    pub fn reply_counts(&self) -> Option<Vec<usize>> {
        if self.is_raw() {
            return None;
        }
        let mut counts = Vec::new();
        for item in &self.items {
            match (item, counts.last_mut()) {
                (Item::Input { .. }, last) => {
                    let count = last.map_or(0, |last| *last);
                    counts.push(count);
                }
                (Item::Reply(_), Some(last)) => *last += 1,
                _ => {}
            }
        }
        Some(counts)
    }

    /// The replies, in order.
    pub fn expected(&self) -> Vec<Expected<'_>> {
        let mut expected = Vec::new();
        let mut request = String::new();
        let mut is_request_over = false;
        let first_line = usize::from(!self.is_raw());
        for (at, item) in self.items.iter().enumerate() {
            match item {
                Item::Input { text, .. } => {
                    if is_request_over {
                        request.clear();
                        is_request_over = false;
                    }
                    if !request.is_empty() {
                        request.push('\n');
                    }
                    request.push_str(text.strip_prefix("> ").unwrap_or(text));
                }
                Item::Reply(reply) => {
                    is_request_over = true;
                    expected.push(Expected {
                        reply,
                        line: at + first_line,
                        request: request.clone(),
                    });
                }
                Item::NoReply => is_request_over = true,
                Item::Other(_) | Item::Log(_) => {}
            }
        }
        expected
    }

    /// What stderr is to contain, in order.
    pub fn expected_log(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| match item {
            Item::Log(log) => Some(&log[..]),
            _ => None,
        })
    }

    /// Puts these replies in the place of those expected: for each of the [`Self::input_lines`], those that are there
    /// once it was read. Everything else in the file stays.
    pub fn rewrite(&mut self, replies: &[Vec<String>]) -> std::io::Result<()> {
        if self.is_raw() {
            let lines: String = replies.concat().iter().fold(String::new(), |mut all, one| {
                let _ = writeln!(all, "{one}");
                all
            });
            return fs::write(top().join(&self.file), lines);
        }
        let mut replies = replies.iter();
        let mut rewritten: Vec<Item> = Vec::new();
        let mut rest = std::mem::take(&mut self.items).into_iter().peekable();
        while let Some(item) = rest.next() {
            let is_input = matches!(item, Item::Input { .. });
            if !matches!(item, Item::Reply(_) | Item::NoReply) {
                rewritten.push(item);
            }
            if !is_input {
                continue;
            }
            let mut new: Vec<Item> = (replies.next().into_iter().flatten())
                .map(|reply| Item::Reply(reply.clone()))
                .collect();
            let is_last = !matches!(rest.peek(), Some(Item::Input { .. }));
            if new.is_empty() && is_last {
                new.push(Item::NoReply);
            }
            // What stands between an input and its replies stays there.
            let mut between = Vec::new();
            if is_last {
                while let Some(other) = rest.next_if(|item| {
                    matches!(item, Item::Log(_))
                        || matches!(item, Item::Other(text) if !text.is_empty())
                }) {
                    between.push(other);
                }
                if !matches!(rest.peek(), Some(Item::Reply(_) | Item::NoReply)) {
                    rewritten.append(&mut new);
                }
            }
            rewritten.append(&mut between);
            rewritten.append(&mut new);
        }
        self.items = rewritten;
        fs::write(top().join(&self.file), self.to_string())
    }
}

/// The text of its file.
impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in &self.items {
            match item {
                Item::Other(text) | Item::Input { text, .. } => writeln!(out, "{text}")?,
                Item::Reply(reply) => writeln!(out, "< {reply}")?,
                Item::NoReply => writeln!(out, "<")?,
                Item::Log(log) => writeln!(out, "! {log}")?,
            }
        }
        Ok(())
    }
}

/// Where the conversations are, in a folder for each topic.
const FOLDER: &str = "tests/golden";

/// The top folder of this project.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the golden folder can be read");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("the golden folder can be read").path())
        .collect();
    paths.sort();
    paths
}

fn name(file: &Path) -> String {
    let name = file.with_extension("");
    let name = name.strip_prefix(FOLDER).expect("in the golden folder");
    let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// The rest of a line that starts with `marker` and a blank, or is `marker` alone.
fn after_marker(line: &str, marker: char) -> Option<&str> {
    let rest = line.strip_prefix(marker)?;
    rest.strip_prefix(' ').or(rest.is_empty().then_some(rest))
}

fn unescape(escaped: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    let digits = std::str::from_utf8(&digits).ok()?;
                    u8::from_str_radix(digits, 16).ok()?
                }
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(bytes)
}
