//! Format version 2 stays readable: a stored journal is recovered as on the day it was written.

use crate::restartable::Restartable;
use crate::traces::{QUESTIONS, TRACES};
use std::fs;
use std::path::Path;

/// It has a state, requests after it, and a recovery.
fn write_journal() -> Vec<u8> {
    let mut node = Restartable::new();
    let (before, after) = TRACES.split_at(TRACES.len() - 6);
    for request in before {
        node.say(request);
    }
    node.compact();
    for request in after {
        node.say(request);
    }
    node.say(r#"{"src": "c1", "body": {"type": "status"}}"#);
    node.restarted().journal
}

/// If this fails, the format has changed, and the version in the header must change, too. Only before the first release
/// may this file be rewritten instead, with `UPDATE_GOLDEN=1`.
#[test]
fn a_journal_of_version_2_is_recovered() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/version_2.journal");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, write_journal()).expect("the test's own file can be written");
    }
    let journal = fs::read(&path).expect("it is in the repository");
    let mut recovered = Restartable::on(journal);
    let mut node = Restartable::new();
    for request in TRACES {
        node.say(request);
    }
    let mut node = node.restarted().restarted();
    for question in QUESTIONS {
        assert_eq!(recovered.say(question), node.say(question), "to {question}");
    }
}
