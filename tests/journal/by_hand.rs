//! What people can do with a journal: compact, copy, replay and read it, in use or at rest, compacted or not.

use crate::node::{BINARY, Folder, Node, shell};
use crate::traces::{QUESTIONS, TRACES};
use mapreduce_master::journal::HEADER;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The replies of a node that received the traces and was restarted.
fn answers(path: &Path) -> Vec<String> {
    let mut node = Node::start(path);
    let answers = node.ask_all(&QUESTIONS);
    node.kill();
    answers
}

/// A journal of the traces, after many heartbeats, so that its state is shorter.
fn write_journal(path: &Path) {
    let mut node = Node::start(path);
    for _ in 0..200 {
        node.ask(r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#);
    }
    node.ask_all(&TRACES);
    node.kill();
}

#[test]
fn journal_at_rest_is_compacted_in_place() {
    let folder = Folder::new("by-hand-compact");
    let (path, copy) = (folder.file("journal"), folder.file("copy"));
    write_journal(&path);
    fs::copy(&path, &copy).expect("there is room");
    let expected = answers(&copy);
    let before = fs::metadata(&path).expect("it is there").len();
    let output = shell(r#""$NODE" compact "$FILE""#, &path);
    assert!(output.status.success(), "{output:?}");
    let after = fs::metadata(&path).expect("it is there").len();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("compacted from {before} to {after} bytes\n")
    );
    assert!(after < before / 2);
    // A second time changes nothing.
    let output = shell(r#""$NODE" compact "$FILE""#, &path);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(b"left as it is: "), "{output:?}");
    assert_eq!(fs::metadata(&path).expect("it is there").len(), after);
    assert!(
        fs::read(&path)
            .expect("it is there")
            .starts_with(HEADER.as_bytes())
    );
    assert_eq!(answers(&path), expected);
    assert_eq!(folder.names(), ["copy", "journal"]);
}

#[test]
fn file_that_cannot_be_compacted_is_unchanged() {
    let folder = Folder::new("by-hand-refused");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    node.ask_all(&TRACES);
    let fails = |why: &str| {
        let journal = fs::read(&path).ok();
        let output = shell(r#""$NODE" compact "$FILE""#, &path);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(why), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert_eq!(fs::read(&path).ok(), journal);
    };
    fails("it is in use by another node");
    node.kill();
    let mut journal = fs::read(&path).expect("it is there");
    journal[100] ^= 1;
    fs::write(&path, journal).expect("it is ours");
    fails("is damaged");
    fs::write(&path, HEADER).expect("it is ours");
    fails("there is nothing to compact");
    fs::write(&path, "").expect("it is ours");
    fails("there is nothing to compact");
    fs::write(&path, "dear aunt").expect("it is ours");
    fails("not a journal");
    fs::remove_file(&path).expect("it is ours");
    fails("No such file");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn journal_in_use_can_be_copied() {
    let folder = Folder::new("by-hand-copy");
    let (path, copy) = (folder.file("journal"), folder.file("copy"));
    let mut node = Node::start(&path);
    node.ask_all(&TRACES);
    let output = shell(
        r#""$NODE" compact < "$FILE" > "$FILE.copy" && mv "$FILE.copy" "${FILE%/*}/copy""#,
        &path,
    );
    assert!(output.status.success(), "{output:?}");
    let piped = shell(r#""$NODE" compact < "$FILE" | cat"#, &path);
    assert_eq!(piped.stdout, fs::read(&copy).expect("it was written"));
    node.kill();
    assert_eq!(answers(&copy), answers(&path));
}

#[test]
fn journal_is_replayed_from_its_state() {
    const REPLAY: &str = r#""$NODE" replay "$FILE""#;
    let folder = Folder::new("by-hand-replay");
    let path = folder.file("journal");
    write_journal(&path);
    shell(r#""$NODE" compact "$FILE""#, &path);
    let output = shell(REPLAY, &path);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    let mut node = Node::start(&path);
    // The queries that change something.
    let replies = node.ask_all(&QUESTIONS[13..17]);
    let output = shell(REPLAY, &path);
    assert_eq!(String::from_utf8_lossy(&output.stdout), replies.concat());
    assert_eq!(output.stderr, b"");
    node.kill();
    // A reader that goes away is not an error.
    let output = shell(r#""$NODE" replay "$FILE" | head -c 1"#, &path);
    assert_eq!(output.stderr, b"");
    let output = shell(
        r#"head -c -3 "$FILE" > "$FILE.torn"; "$NODE" replay "$FILE.torn""#,
        &path,
    );
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.starts_with("journal: dropped a torn record, "), "{log}");
}

/// The recipes in the journal's README.
#[test]
fn journal_is_read_with_cut_and_its_requests_with_sed() {
    let page = include_str!("../../src/journal/README.md");
    let recipes: Vec<&str> = page
        .lines()
        .filter(|line| line.contains("cluster.journal") && line.starts_with(['c', 's']))
        .collect();
    let [cut, sed] = recipes[..] else {
        panic!("{recipes:?}");
    };
    let folder = Folder::new("by-hand-read");
    let path = folder.file("cluster.journal");
    let mut node = Node::start(&path);
    node.ask_all(&TRACES[..9]);
    node.kill();
    shell(
        r#""$NODE" compact < "$FILE" > "$FILE.2"; mv "$FILE.2" "$FILE""#,
        &path,
    );
    let mut node = Node::start(&path);
    node.ask_all(&TRACES[9..11]);
    node.kill();
    let run = |recipe: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", recipe]).env("NODE", BINARY);
        shell.current_dir(path.parent().expect("it is in a folder"));
        let output = shell.output().expect("there is a shell");
        String::from_utf8(output.stdout).expect("a journal is text")
    };
    assert_eq!(run(sed), format!("{}\n{}\n", TRACES[9], TRACES[10]));
    let all = run(&cut.replace("| less", "| cat"));
    assert!(all.contains("\n!state begin\n!state {"), "{all}");
    assert!(
        all.contains(&format!("\n!synced\n{}\n", TRACES[10])),
        "{all}"
    );
}

#[test]
fn meaningless_options_are_refused() {
    let folder = Folder::new("by-hand-options");
    let path = folder.file("journal");
    for (arguments, why) in [
        ("--journal-compact-from 1", "needs --journal FILE"),
        (
            r#"--journal "$FILE" --journal-compact-from x"#,
            "must be a number of bytes",
        ),
        (
            r#"--journal "$FILE" --journal-compact-from -1"#,
            "looks like an option",
        ),
        ("compact --bytes x", "--bytes must be a number of bytes"),
        (r#"compact --bytes 1 "$FILE""#, "omit FILE or --bytes"),
        ("replay", "needs the FILE"),
    ] {
        let output = shell(&format!(r#""$NODE" {arguments} < /dev/null"#), &path);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {log}");
        assert!(log.contains(why), "{arguments}: {log}");
    }
    assert_eq!(folder.names(), [""; 0]);
}
