//! A full disk, simulated by a limit on the file's length: what was not written is not acknowledged, and the node says why
//! and ends.

use crate::node::{Folder, Node, assert_failed, shell_command};
use std::fs;
use std::path::Path;
use std::process::Command;

/// In blocks of 512 bytes, as in POSIX, or of 1,024, as in some shells.
const LIMITS: [usize; 4] = [1, 2, 3, 20];

const JOBS: usize = 150;

fn submit(job: usize) -> String {
    // Of different lengths, so that the limit falls anywhere in a record.
    let chunk = "x".repeat(job * 7 % 50);
    format!(
        r#"{{"type": "submit_job", "job_id": "{job}", "tasks": [{{"id": "{job}-m", "chunk": "{chunk}"}}]}}"#
    )
}

/// A node whose files are limited to this many blocks. A write beyond the limit is an error, or a signal.
fn limited(path: &Path, blocks: usize, is_error: bool) -> Command {
    let ignore = if is_error { r#"trap "" XFSZ;"# } else { "" };
    let command = format!(r#"{ignore} ulimit -f {blocks}; exec "$NODE" --quiet --journal "$FILE""#);
    shell_command(&command, path)
}

/// Checks that a node recovers at least the jobs that were acknowledged, each once, and can then submit them all.
fn go_on(path: &Path, acknowledged: usize) {
    let mut node = Node::start(path);
    let mut recovered = 0;
    while node
        .ask(&format!(
            r#"{{"type": "job_status", "job_id": "{recovered}"}}"#
        ))
        .contains("job_status_ok")
    {
        recovered += 1;
    }
    assert!(recovered >= acknowledged, "{recovered} of {acknowledged}");
    for job in 0..JOBS {
        let reply = node.ask(&submit(job));
        assert!(reply.contains("job_submitted"), "{reply}");
    }
    node.kill();
    let mut node = Node::start(path);
    let status = node.ask(r#"{"type": "status"}"#);
    assert!(
        status.contains(&format!("\"jobs\": {{\"running\": {JOBS},")),
        "{status}"
    );
    node.kill();
}

#[test]
fn requests_that_a_full_disk_did_not_take_are_not_acknowledged() {
    for blocks in LIMITS {
        for is_error in [true, false] {
            let folder = Folder::new(&format!("full-{blocks}-{is_error}"));
            let path = folder.file("journal");
            let mut node = Node::spawn(&mut limited(&path, blocks, is_error));
            let acknowledged = (0..JOBS)
                .take_while(|job| !node.ask(&submit(*job)).is_empty())
                .count();
            assert!(acknowledged < JOBS, "the limit is reached");
            let (status, log) = node.wait();
            assert_failed(status, &log);
            assert!(log.contains("cannot write to the journal"), "{log}");
            go_on(&path, acknowledged);
        }
    }
}

#[test]
fn only_the_written_requests_of_a_batch_are_acknowledged() {
    let folder = Folder::new("full-together");
    for blocks in LIMITS {
        let path = folder.file(&format!("journal-{blocks}"));
        let requests = folder.file("requests");
        let lines: Vec<String> = (0..JOBS).map(submit).collect();
        fs::write(&requests, lines.join("\n")).expect("the folder can be written to");
        let mut node = limited(&path, blocks, true);
        let input = fs::File::open(&requests).expect("it was just written");
        let output = node.stdin(input).output().expect("there is a shell");
        let log = String::from_utf8_lossy(&output.stderr);
        assert_failed(output.status, &log);
        let acknowledged = String::from_utf8_lossy(&output.stdout).lines().count();
        assert!(acknowledged < JOBS, "the limit is reached");
        go_on(&path, acknowledged);
    }
}

/// A node that starts without any space cannot even record its recovery.
#[test]
fn node_that_starts_without_space_acknowledges_nothing() {
    let folder = Folder::new("no-room");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    node.ask_all(&[&*submit(0), &submit(1), &submit(2)]);
    node.kill();
    let journal = fs::read(&path).expect("it is there");
    for path in [path, folder.file("new")] {
        let mut node = Node::spawn(&mut limited(&path, 0, true));
        assert_eq!(node.ask(&submit(3)), "");
        let (status, log) = node.wait();
        assert_failed(status, &log);
    }
    assert_eq!(
        fs::read(folder.file("journal")).expect("it is there"),
        journal
    );
    assert_eq!(fs::read(folder.file("new")).expect("it is there"), b"");
    // Without the trap, the signal ends the node. It cannot say why, but acknowledges nothing either.
    let mut node = Node::spawn(&mut limited(&folder.file("journal"), 0, false));
    assert_eq!(node.ask(&submit(3)), "");
    assert!(!node.wait().0.success());
    go_on(&folder.file("journal"), 3);
}
