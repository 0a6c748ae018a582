//! Replays every conversation of `tests/golden/` and compares the replies byte for byte.
//!
//! A conversation is two files, one behaviour of the protocol each, and the name says which: `NAME.in.jsonl` is what
//! the node reads, raw bytes that need not even be text, and `NAME.out.jsonl` is all that it writes. To add one, write
//! both by hand, from the protocol. When a change of behaviour is meant, `UPDATE_GOLDEN=1 cargo test --test golden`
//! rewrites the outputs, and `git diff` shows what that means for whoever talks to the node.

use mapreduce_master::node;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

const HOW_TO_UPDATE: &str = "if this is meant: UPDATE_GOLDEN=1 cargo test --test golden";

/// The most bytes of a line that a report shows.
const MAX_SHOWN_BYTES: usize = 1000;

#[test]
fn replies_are_the_golden_ones() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut reports = Vec::new();
    for name in names() {
        let output = path(&name, "out");
        let input = read_input(&name);
        let replies = replies(&input[..]);
        if update {
            fs::write(&output, &replies).expect("the golden folder can be written");
        } else if !output.exists() {
            reports.push(format!("{name}.in.jsonl has no {name}.out.jsonl"));
        } else {
            let expected = fs::read(&output).expect("a golden output can be read");
            reports.extend(difference(&name, &input, &expected, &replies));
        }
    }
    assert!(
        reports.is_empty(),
        "conversations that differ: {}\n\n{}\n\n{HOW_TO_UPDATE}\n",
        reports.len(),
        reports.join("\n\n")
    );
}

/// A pipe may cut the input anywhere: within a message, a letter, a line ending.
#[test]
fn replies_do_not_depend_on_how_the_input_is_cut() {
    for name in names() {
        let input = read_input(&name);
        let whole = replies(&input[..]);
        for piece_bytes in [1, 2, 7] {
            let pieces = replies(BufReader::with_capacity(piece_bytes, &input[..]));
            if let Some(report) = difference(&name, &input, &whole, &pieces) {
                panic!("read in pieces of {piece_bytes} bytes, the replies are others\n{report}");
            }
        }
    }
}

/// What the node answers to all of `input`.
fn replies(input: impl BufRead) -> Vec<u8> {
    let mut replies = Vec::new();
    node::run(input, &mut replies, std::io::sink(), true)
        .expect("neither memory nor a sink can fail");
    replies
}

/// The names of the conversations; fails on any file that is not part of one, which would otherwise go unnoticed.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut outputs = BTreeSet::new();
    for entry in fs::read_dir(folder()).expect("the golden folder is there") {
        let file = entry.expect("the golden folder can be read").file_name();
        let file = file.to_str().expect("golden files have names in UTF-8");
        if let Some(name) = file.strip_suffix(".in.jsonl") {
            names.insert(name.to_owned());
        } else if let Some(name) = file.strip_suffix(".out.jsonl") {
            outputs.insert(name.to_owned());
        } else {
            assert_eq!(
                file, ".gitattributes",
                "is neither NAME.in.jsonl nor NAME.out.jsonl"
            );
        }
    }
    assert!(
        !names.is_empty(),
        "there is no conversation in {}",
        folder().display()
    );
    if let Some(name) = outputs.difference(&names).next() {
        panic!("{name}.out.jsonl has no {name}.in.jsonl");
    }
    names
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn path(name: &str, direction: &str) -> PathBuf {
    folder().join(format!("{name}.{direction}.jsonl"))
}

fn read_input(name: &str) -> Vec<u8> {
    fs::read(path(name, "in")).expect("a golden input can be read")
}

/// Reports the first line in which the replies differ from the expected ones, and the request that it answers.
fn difference(name: &str, input: &[u8], expected: &[u8], replies: &[u8]) -> Option<String> {
    if expected == replies {
        return None;
    }
    let expected = lines(expected);
    let replies = lines(replies);
    let same = (expected.iter().zip(&replies))
        .take_while(|(expected, reply)| expected == reply)
        .count();
    let mut report = format!(
        "{name}.out.jsonl, line {}\nexpected: {}\n     got: {}",
        same + 1,
        show(expected.get(same).copied()),
        show(replies.get(same).copied()),
    );
    if same < replies.len() {
        let inputs = lines(input);
        let first = lines_answered_by(&inputs, same);
        let last = lines_answered_by(&inputs, same + 1);
        for line in first + 1..=last {
            let request = show(Some(inputs[line - 1]));
            let _ = write!(report, "\n{name}.in.jsonl, line {line}: {request}");
        }
    }
    Some(report)
}

/// How many lines of input it takes until there are `count` replies.
fn lines_answered_by(inputs: &[&[u8]], count: usize) -> usize {
    (0..inputs.len())
        .find(|end| lines(&replies(&inputs[..*end].concat()[..])).len() >= count)
        .unwrap_or(inputs.len())
}

/// The lines with their terminators, since these are compared as well.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn show(line: Option<&[u8]>) -> String {
    let Some(line) = line else {
        return "nothing".to_owned();
    };
    let shown = &line[..line.len().min(MAX_SHOWN_BYTES)];
    let rest = line.len() - shown.len();
    let text = shown.escape_ascii().to_string().replace("\\\"", "\"");
    match rest {
        0 => text,
        _ => format!("{text}… and {rest} bytes more"),
    }
}
