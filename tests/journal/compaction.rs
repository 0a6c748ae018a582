//! A journal that has grown past 64 MiB is replaced by a snapshot: nothing is lost by it, at whatever moment the node
//! is killed, and what was removed is gone.

use crate::node::{BINARY, Folder, Node, assert_in_use, refusal, shell_command};
use crate::random::Random;
use crate::traces::{QUESTIONS, TRACES};
use mapreduce_master::journal::HEADER;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// The length beyond which a journal is compacted, in MiB.
const LIMIT_MIB: usize = 64;

/// A job of one map whose chunk is that long.
fn submit(job: &str, chunk_bytes: usize) -> String {
    let chunk = "x".repeat(chunk_bytes);
    format!(
        r#"{{"type": "submit_job", "job_id": "{job}", "tasks": [{{"id": "{job}-m", "chunk": "{chunk}"}}]}}"#
    )
}

/// A message that is kept as it came, all of it, but leaves the state as it is once `w3` is known.
fn long_heartbeat(bytes: usize) -> String {
    let ignored = "x".repeat(bytes);
    format!(
        r#"{{"type": "heartbeat", "worker_id": "w3", "timestamp": 9223372036854775807, "ignored": "{ignored}"}}"#
    )
}

/// Has a journal grow to a little less than the length beyond which it is compacted.
fn fill(node: &mut Node, path: &Path) {
    assert_answer(&node.ask(&long_heartbeat(0)), "heartbeat_ok");
    while length(path) < LIMIT_MIB * MIB - 4 * MIB {
        assert_answer(&node.ask(&long_heartbeat(4 * MIB - 1000)), "heartbeat_ok");
    }
    assert!(length(path) < LIMIT_MIB * MIB);
}

/// The message after which a journal is compacted that was filled.
fn compact(node: &mut Node) {
    assert_answer(&node.ask(&long_heartbeat(5 * MIB)), "heartbeat_ok");
}

fn length(path: &Path) -> usize {
    let bytes = fs::metadata(path).expect("the journal is there").len();
    usize::try_from(bytes).expect("it is a length")
}

fn assert_answer(reply: &str, kind: &str) {
    assert!(reply.contains(&format!("\"type\": \"{kind}\"")), "{reply}");
}

fn starts_with_snapshot(path: &Path) -> bool {
    let journal = fs::read(path).expect("the journal is there");
    let mut lines = journal.split(|byte| *byte == b'\n').skip(1);
    lines
        .next()
        .is_some_and(|line| line[17..].starts_with(b"!snapshot {"))
}

/// What a node without a journal answers.
fn answers_without_journal() -> Vec<String> {
    let mut node = Node::spawn(Command::new(BINARY).arg("--quiet"));
    node.ask_all(&TRACES);
    let answers = node.ask_all(&QUESTIONS);
    node.end();
    answers
}

#[test]
fn a_compacted_journal_holds_the_same_state_and_nothing_that_was_removed() {
    let folder = Folder::new("compacted");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    node.ask_all(&TRACES);
    // Twice: the second snapshot is made of a state that has been in one.
    for _ in 0..2 {
        fill(&mut node, &path);
        compact(&mut node);
        assert!(
            starts_with_snapshot(&path) && length(&path) < MIB,
            "it is compacted"
        );
        assert_eq!(folder.names(), ["journal"]);
        let log = refusal(&path);
        assert!(log.contains("in use"), "{log}");
    }
    assert_eq!(node.ask_all(&QUESTIONS), answers_without_journal());
    node.kill();
    let journal = fs::read_to_string(&path).expect("it is text");
    let snapshot = journal.lines().nth(1).expect("it is the first record");
    assert!(!snapshot.contains("gone"), "{snapshot}");
    let mut node = Node::start(&path);
    let status = node.ask(QUESTIONS[0]);
    assert_eq!(status, answers_without_journal()[QUESTIONS.len() - 1]);
    node.kill();
}

/// The snapshot is large, so that writing it takes its time.
#[test]
fn a_kill_at_any_moment_of_a_compaction_loses_nothing() {
    const JOBS: usize = 5;
    let mut random = Random::new(1);
    let folder = Folder::new("killed");
    let (path, long) = (folder.file("journal"), folder.file("long"));
    let mut node = Node::start(&long);
    node.ask_all(&TRACES);
    for job in 0..JOBS {
        node.ask(&submit(&format!("kept-{job}"), 5 * MIB));
    }
    fill(&mut node, &long);
    node.kill();
    let expected = answers_without_journal();
    let files = folder.names().len() + 1;
    for round in 0..4 {
        fs::copy(&long, &path).expect("there is room");
        let mut node = Node::start(&path);
        node.send(&long_heartbeat(5 * MIB));
        wait_until(|| folder.names().len() > files);
        if round % 2 == 0 {
            thread::sleep(Duration::from_micros(random.below(50_000)));
        } else {
            wait_until(|| folder.names().len() == files);
            assert!(starts_with_snapshot(&path), "it is compacted");
        }
        node.kill();
        let mut node = Node::start(&path);
        for job in 0..JOBS {
            let status = node.ask(&format!(
                r#"{{"type": "task_status", "task_id": "kept-{job}-m"}}"#
            ));
            assert_answer(&status, "task_status_ok");
        }
        // Those that only ask.
        assert_eq!(node.ask_all(&QUESTIONS[1..12]), expected[1..12]);
        node.kill();
        assert_eq!(folder.names().len(), files, "nothing is left behind");
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it never is so"
        );
        thread::yield_now();
    }
}

#[test]
fn a_journal_stays_where_it_is_and_as_private_as_it_was() {
    let folder = Folder::new("place");
    let (link, target) = (folder.file("link"), folder.file("target"));
    symlink("target", &link).expect("a link can be made");
    fs::write(&target, "").expect("the folder can be written to");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let mut node = Node::start(&link);
    fill(&mut node, &link);
    compact(&mut node);
    assert!(link.is_symlink(), "the link is still one");
    assert!(
        starts_with_snapshot(&target),
        "and what it names is the journal"
    );
    let mode = fs::metadata(&target)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_in_use(&link);
    assert_in_use(&target);
    assert_eq!(folder.names(), ["link", "target"]);
    node.kill();
}

/// With two names, one of them would go on naming the old journal, for another node to take up.
#[test]
fn a_journal_of_two_names_does_not_become_two_journals() {
    let folder = Folder::new("names");
    let (path, other) = (folder.file("journal"), folder.file("other"));
    let mut node = Node::start(&path);
    fill(&mut node, &path);
    fs::hard_link(&path, &other).expect("a link can be made");
    compact(&mut node);
    assert_in_use(&path);
    assert_in_use(&other);
    let log = node.kill();
    assert!(log.contains("not compacted"), "{log}");
}

/// Another file may have come to the journal's place, and it may be another node's.
#[test]
fn a_journal_that_was_moved_away_is_not_put_back() {
    let folder = Folder::new("moved");
    let (path, moved) = (folder.file("journal"), folder.file("moved"));
    let mut node = Node::start(&path);
    fill(&mut node, &path);
    fs::rename(&path, &moved).expect("it is ours");
    let mut other = Node::start(&path);
    other.ask(r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#);
    compact(&mut node);
    let journal = fs::read_to_string(&path).expect("it is text");
    assert!(journal.contains(r#""worker_id": "w1""#), "{journal}");
    assert!(
        length(&moved) > LIMIT_MIB * MIB,
        "the node goes on with the file that it has"
    );
    node.kill();
    other.kill();
}

/// Whatever name the snapshot has until it takes the journal's place.
#[test]
fn a_snapshot_is_not_written_over_another_file_and_not_left_behind() {
    let folder = Folder::new("aside");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    node.ask(&submit("kept", 10 * MIB));
    fill(&mut node, &path);
    let long = fs::read(&path).expect("it is there");
    node.send(&long_heartbeat(5 * MIB));
    wait_until(|| folder.names().len() > 1);
    let names = folder.names();
    node.kill();
    let name = names.iter().find(|name| *name != "journal");
    let aside = folder.file(name.expect("there are two"));
    // The beginning of a snapshot, of a compaction that was killed.
    fs::write(&path, &long).expect("it is ours");
    fs::write(&aside, &long[..HEADER.len() + 4]).expect("it is ours");
    let mut node = Node::start(&path);
    node.ask(r#"{"type": "status"}"#);
    assert_eq!(folder.names(), ["journal"], "it is not left behind");
    // The journal of another node, which is running.
    let mut other = Node::start(&aside);
    other.ask(r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#);
    let others = fs::read(&aside).expect("it is there");
    compact(&mut node);
    assert_eq!(fs::read(&aside).expect("it is still there"), others);
    assert!(node.kill().contains("not compacted"));
    other.kill();
    // Someone's letter.
    fs::write(&aside, "dear aunt").expect("it is ours");
    let mut node = Node::start(&path);
    node.ask(r#"{"type": "status"}"#);
    assert_eq!(fs::read(&aside).expect("it is still there"), b"dear aunt");
    assert!(node.kill().contains("not compacted"));
}

/// A node that has no more files to open, or no more room, goes on with the journal that it has; and gives back the
/// room that a part of a snapshot has taken.
#[test]
fn a_compaction_that_fails_loses_nothing_and_leaves_nothing() {
    for limit in ["-n 5", "-n 6", "-f 140000"] {
        let folder = Folder::new("failing");
        let path = folder.file("journal");
        let limited =
            format!(r#"trap "" XFSZ; ulimit {limit}; exec "$NODE" --quiet --journal "$FILE""#);
        let mut node = Node::spawn(&mut shell_command(&limited, &path));
        let mut jobs = vec!["small".to_owned()];
        assert_answer(&node.ask(&submit("small", 100)), "job_submitted");
        if limit.starts_with("-f") {
            // The ids of its reduces make the state longer than the request, and the snapshot than the limit.
            let job = "j".repeat(MIB);
            let request = format!(
                r#"{{"type": "submit_job", "job_id": "{job}", "tasks": [], "reduce_tasks": 15}}"#
            );
            assert_answer(&node.ask(&request), "job_submitted");
            jobs.push(job);
            for job in 0..14 {
                jobs.push(format!("kept-{job}"));
                assert_answer(&node.ask(&submit(&jobs[job + 2], 4 * MIB)), "job_submitted");
            }
        }
        fill(&mut node, &path);
        compact(&mut node);
        assert_eq!(folder.names(), ["journal"], "{limit}");
        assert_eq!(starts_with_snapshot(&path), limit == "-n 6", "{limit}");
        jobs.push("after".into());
        assert_answer(&node.ask(&submit("after", 100)), "job_submitted");
        node.kill();
        let mut node = Node::start(&path);
        for job in &jobs {
            let status = node.ask(&format!(r#"{{"type": "job_status", "job_id": "{job}"}}"#));
            assert_answer(&status, "job_status_ok");
        }
        node.kill();
    }
}
