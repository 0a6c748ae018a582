//! A journal is a promise to the future: one that was written by version 2 of the format is read as long as the
//! header says so.

use crate::restartable::Restartable;
use crate::traces::{QUESTIONS, TRACES};
use std::fs;
use std::path::Path;

/// It has a snapshot in it, behind which the conversation goes on, and a recovery.
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

/// When this fails, the format has changed: the version in the header has to change with it. Only while nobody has a
/// journal yet may this one be written anew instead, by `UPDATE_GOLDEN=1`.
#[test]
fn a_journal_of_version_2_is_recovered() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/version_2.journal");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, write_journal()).expect("the test's own file can be written");
    }
    let journal = fs::read(&path).expect("it is in the repository");
    let mut recovered = Restartable::on(journal);
    let mut told = Restartable::new();
    for request in TRACES {
        told.say(request);
    }
    let mut told = told.restarted().restarted();
    for question in QUESTIONS {
        assert_eq!(recovered.say(question), told.say(question), "to {question}");
    }
}
