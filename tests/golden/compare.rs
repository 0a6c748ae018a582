//! Compares replies with those expected, and shows what differs.

use crate::case::{Case, Expected};
use serde_json::Value;
use std::fmt::Write as _;

/// The most bytes of a line that are shown.
const MAX_SHOWN_BYTES: usize = 1000;

/// The most differences of a conversation that are shown.
const MAX_SHOWN_DIFFERENCES: usize = 3;

/// The most replies that are compared beyond those that are expected.
const MAX_REPLIES_TOO_MANY: usize = 100;

/// How much of two lines is shown from where they differ.
const MAX_SHOWN_DIFFERENCE: usize = 60;

/// A string in a reply that is left open.
const ANY_STRING: &str = r#""…""#;

/// What an error's text begins with.
const TEXT: &str = r#""text": ""#;

/// What counts as the same reply.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    /// As JSON: the order of keys and blanks between tokens do not matter. Otherwise each byte does.
    pub as_json: bool,
    /// The `text` of an error may be any: it is for people, and each program has its own.
    pub any_text: bool,
}

impl Comparison {
    fn is_same(self, expected: &str, got: &str) -> bool {
        if self.as_json {
            let parse = |line: &str| serde_json::from_str::<Value>(line).ok();
            return match (parse(expected), parse(got)) {
                (Some(expected), Some(got)) => self.is_same_json(&expected, &got),
                _ => expected == got,
            };
        }
        if self.any_text
            && expected.contains(r#""type": "error""#)
            && let Some((before, text)) = expected.split_once(TEXT)
        {
            let open = format!("{before}{TEXT}…{}", &text[end_of_string(text)..]);
            return is_same_text(&open, got);
        }
        is_same_text(expected, got)
    }

    fn is_same_json(self, expected: &Value, got: &Value) -> bool {
        match (expected, got) {
            (Value::Object(fields), Value::Object(others)) => {
                let is_error = fields.get("type").is_some_and(|kind| kind == "error");
                fields.len() == others.len()
                    && fields.iter().all(|(key, value)| {
                        let is_open = key == "text" && (self.any_text && is_error || value == "…");
                        others.get(key).is_some_and(|other| {
                            is_open && other.is_string() || self.is_same_json(value, other)
                        })
                    })
            }
            (Value::Array(values), Value::Array(others)) => {
                values.len() == others.len()
                    && values
                        .iter()
                        .zip(others)
                        .all(|(value, other)| self.is_same_json(value, other))
            }
            _ => expected == got || expected == "…" && got.is_string(),
        }
    }

    /// Shows where the replies of a conversation differ from those expected, with the request of each. `None` if they do not.
    pub fn report(self, case: &Case, got: &[&str]) -> Option<String> {
        let expected = &case.expected()[..];
        let compared = &got[..got.len().min(expected.len() + MAX_REPLIES_TOO_MANY)];
        let pairs = self.align(expected, compared);
        let different: Vec<_> = pairs
            .iter()
            .filter(|pair| match pair {
                (Some(at), Some(to)) => !self.is_same(expected[*at].reply, compared[*to]),
                _ => true,
            })
            .collect();
        if different.is_empty() {
            return None;
        }
        let mut report = String::new();
        for (at, to) in different.iter().take(MAX_SHOWN_DIFFERENCES) {
            let wanted = at.map(|at| &expected[at]);
            let reply = to.map(|to| compared[to]);
            if let Some(wanted) = wanted {
                let _ = writeln!(report, "  {}:{}", case.file.display(), wanted.line);
                let request = show(&wanted.request).replace('\n', "\n            ");
                let _ = writeln!(report, "  request   {request}");
            }
            let wanted = wanted.map(|wanted| wanted.reply);
            let _ = writeln!(
                report,
                "  expected  {}",
                wanted.map_or("nothing".into(), show)
            );
            let _ = writeln!(
                report,
                "  got       {}",
                reply.map_or("nothing".into(), show)
            );
            if let (Some(wanted), Some(reply)) = (wanted, reply) {
                let _ = writeln!(report, "  differs   {}", difference(wanted, reply));
            }
            report.push('\n');
        }
        let hidden = different.len().saturating_sub(MAX_SHOWN_DIFFERENCES);
        if hidden > 0 {
            let _ = writeln!(report, "  and {hidden} more");
        }
        if expected.len() != got.len() {
            let _ = writeln!(
                report,
                "  {} replies expected, {} came",
                expected.len(),
                got.len()
            );
        }
        Some(report)
    }

    /// Pairs the replies with those expected, in order, so that as many as possible are the same, and as many others
    /// as possible answer the same `msg_id`: one reply that is missing does not make all that follow look wrong.
    fn align(self, expected: &[Expected<'_>], got: &[&str]) -> Vec<(Option<usize>, Option<usize>)> {
        const ALONE: usize = 2;
        let pair_cost = |at: usize, to: usize| {
            let (expected, got) = (expected[at].reply, got[to]);
            if self.is_same(expected, got) {
                0
            } else if in_reply_to(expected) == in_reply_to(got) {
                1
            } else {
                2 * ALONE + 1
            }
        };
        // The least cost of what is left from each place on.
        let (rows, columns) = (expected.len(), got.len());
        let mut costs = vec![vec![0; columns + 1]; rows + 1];
        for at in (0..=rows).rev() {
            for to in (0..=columns).rev() {
                costs[at][to] = match (at < rows, to < columns) {
                    (false, false) => 0,
                    (true, false) => costs[at + 1][to] + ALONE,
                    (false, true) => costs[at][to + 1] + ALONE,
                    (true, true) => (costs[at + 1][to + 1] + pair_cost(at, to))
                        .min(costs[at + 1][to] + ALONE)
                        .min(costs[at][to + 1] + ALONE),
                };
            }
        }
        let (mut at, mut to) = (0, 0);
        let mut pairs = Vec::new();
        while at < rows || to < columns {
            let cost = costs[at][to];
            if at < rows && to < columns && cost == costs[at + 1][to + 1] + pair_cost(at, to) {
                pairs.push((Some(at), Some(to)));
                at += 1;
                to += 1;
            } else if at < rows && cost == costs[at + 1][to] + ALONE {
                pairs.push((Some(at), None));
                at += 1;
            } else {
                pairs.push((None, Some(to)));
                to += 1;
            }
        }
        pairs
    }
}

/// Whether an expected reply leaves a string open.
pub fn has_open_strings(case: &Case) -> bool {
    let expected = case.expected();
    expected.iter().any(|one| one.reply.contains(ANY_STRING))
}

/// Whether two lines are the same, but for the strings that the expected one leaves open.
fn is_same_text(expected: &str, got: &str) -> bool {
    let Some((before, after)) = expected.split_once(ANY_STRING) else {
        return expected == got;
    };
    let string = got
        .strip_prefix(before)
        .and_then(|rest| rest.strip_prefix('"'));
    string.is_some_and(|string| {
        let rest = string[end_of_string(string)..].strip_prefix('"');
        rest.is_some_and(|rest| is_same_text(after, rest))
    })
}

/// What a reply says that it answers, as it is written there.
fn in_reply_to(reply: &str) -> Option<&str> {
    let (_, rest) = reply.split_once(r#""in_reply_to":"#)?;
    rest.split([',', '}']).next().map(str::trim)
}

/// Where a JSON string ends whose opening quote was taken off: at its closing quote, or at the end if there is none.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// Both lines from where they begin to differ.
fn difference(expected: &str, got: &str) -> String {
    let same = (expected.chars().zip(got.chars()))
        .take_while(|(expected, got)| expected == got)
        .count();
    let rest =
        |line: &str| -> String { line.chars().skip(same).take(MAX_SHOWN_DIFFERENCE).collect() };
    let (expected, got) = (rest(expected), rest(got));
    format!("from column {} on: `{expected}` became `{got}`", same + 1)
}

/// A line, with what a terminal would not show escaped; cut if it is long.
pub fn show(line: &str) -> String {
    let mut shown = String::new();
    for (at, letter) in line.char_indices() {
        if at >= MAX_SHOWN_BYTES {
            let _ = write!(shown, "… and {} bytes more", line.len() - at);
            break;
        }
        if letter.is_control() && letter != '\n' {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}
