//! Changes of the file under a running node: the node reports them and ends before it acknowledges anything more.

use crate::node::{Folder, Node, assert_failed};
use std::fs;
use std::io::Write as _;
use std::path::Path;

const HEARTBEAT: &str = r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#;
const SUBMIT: &str = r#"{"type": "submit_job", "job_id": "j", "tasks": []}"#;

/// Changes the journal of a running node. Checks that the node acknowledges nothing more, and says why.
fn assert_noticed(name: &str, harm: impl Fn(&Path), why: &str) {
    for request in [HEARTBEAT, SUBMIT] {
        let folder = Folder::new(name);
        let path = folder.file("journal");
        let mut node = Node::spawn(
            std::process::Command::new(crate::node::BINARY)
                .args(["--quiet", "--journal"])
                .arg(&path),
        );
        assert_ne!(node.ask(HEARTBEAT), "");
        harm(&path);
        assert_eq!(node.ask(request), "", "{name}: {request}");
        let (status, log) = node.wait();
        assert_failed(status, &log);
        assert!(log.contains(why), "{name}: {log}");
    }
}

#[test]
fn deleted_journal_is_noticed() {
    let remove = |path: &Path| fs::remove_file(path).expect("it is there");
    assert_noticed("deleted", remove, "the journal was deleted or moved");
}

#[test]
fn moved_journal_is_noticed() {
    let rename = |path: &Path| fs::rename(path, path.with_extension("old")).expect("it is there");
    assert_noticed("moved", rename, "the journal was deleted or moved");
}

#[test]
fn replaced_journal_is_noticed() {
    let why = "another file has taken the journal's place";
    let rename_over = |path: &Path| {
        let other = path.with_extension("other");
        fs::copy(path, &other).expect("there is room");
        fs::rename(other, path).expect("it is there");
    };
    assert_noticed("renamed-over", rename_over, why);
    let copy_back = |path: &Path| {
        let old = path.with_extension("old");
        fs::rename(path, &old).expect("it is there");
        fs::copy(old, path).expect("there is room");
    };
    assert_noticed("copied-back", copy_back, why);
}

#[test]
fn truncated_journal_is_noticed() {
    for bytes in [0, 10, 100] {
        let cut = |path: &Path| {
            let file = fs::File::options().write(true).open(path);
            let file = file.expect("it is there");
            file.set_len(bytes).expect("it is ours");
        };
        assert_noticed("cut", cut, "somebody else has truncated the journal to ");
    }
}

#[test]
fn journal_written_to_by_somebody_else_is_noticed() {
    let write = |path: &Path| {
        let file = fs::File::options().append(true).open(path);
        let mut file = file.expect("it is there");
        file.write_all(b"x").expect("it is ours");
    };
    assert_noticed(
        "written-to",
        write,
        "somebody else has written to the journal",
    );
}

#[test]
fn journal_with_a_second_name_is_noticed() {
    let link = |path: &Path| {
        fs::hard_link(path, path.with_extension("link")).expect("a link can be made");
    };
    assert_noticed("linked", link, "the journal was given a second name");
}

/// A node that only answers queries has nothing to write, and nothing to lose.
#[test]
fn queries_are_answered_without_a_journal() {
    let folder = Folder::new("questions");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    node.ask(HEARTBEAT);
    fs::remove_file(&path).expect("it is there");
    assert_ne!(node.ask(r#"{"type": "status"}"#), "");
    node.kill();
}
