//! The replies in the golden conversations.

use crate::pages::{files_in, read, relative};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// An object whose values are not looked into: opaque JSON may hold what no parser turns into a value, such as `1e400`.
pub type Object = BTreeMap<String, Box<RawValue>>;

/// Reads a value as far as `T` goes.
pub fn parse<'a, T: serde::Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// The bodies of all replies, each with the name of its file.
pub fn replies() -> Vec<(String, Object)> {
    let mut replies = Vec::new();
    for path in files_in("tests/golden") {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let mark = match extension {
            Some("txt") => "< ",
            Some("out") => "",
            _ => continue,
        };
        for line in read(&path).lines() {
            let Some(line) = line.strip_prefix(mark) else {
                continue;
            };
            let reply: Option<Object> = serde_json::from_str(line).ok();
            let body = reply.map(|reply| match reply.get("body") {
                Some(body) => parse(body),
                None => Some(reply),
            });
            let Some(Some(body)) = body else {
                panic!("{}: not a reply: {line}", relative(&path));
            };
            replies.push((relative(&path), body));
        }
    }
    assert!(replies.len() > 100, "there are golden conversations");
    replies
}
