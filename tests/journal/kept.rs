//! What a node writes into its journal, and what it says about it when it starts.

use crate::node::{Folder, Node, shell, shell_command};
use mapreduce_master::journal::HEADER;
use std::fs;

const JOB: &str = "{\n  \"type\": \"submit_job\",\n  \"job_id\": \"j\",\n  \"tasks\": [{\"id\": \"m\", \"chunk\":\r\n    {\"b\" : 1.0,\n  \t\"a\":[ 1e400,\n-0 ]\n}}]\n}";

const JOB_ON_ONE_LINE: &str = r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "m", "chunk": {"b" : 1.0, "a":[ 1e400, -0 ]}}]}"#;

const TASK: &str = r#"{"type": "request_task", "worker_id": "w1", "timestamp": 1}"#;

#[test]
fn message_on_several_lines_is_recovered_with_the_same_chunk() {
    let folder = Folder::new("lines");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    let submitted = node.ask(JOB);
    let journal = fs::read_to_string(&path).expect("it is text");
    assert!(
        journal.contains(&format!(" {} {JOB_ON_ONE_LINE}\n", JOB_ON_ONE_LINE.len())),
        "{journal}"
    );
    node.kill();
    let mut node = Node::start(&path);
    let assigned = node.ask(TASK);
    assert!(
        assigned.contains(r#""chunk": {"b" : 1.0, "a":[ 1e400, -0 ]}"#),
        "{assigned}"
    );
    // The same job has the same chunks as text, whatever its layout.
    assert_eq!(node.ask(JOB), submitted);
    assert_eq!(node.ask(JOB_ON_ONE_LINE), submitted);
    node.kill();
}

#[test]
fn requests_that_change_nothing_are_not_written() {
    let folder = Folder::new("queries");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    node.ask_all(&[JOB, TASK]);
    let journal = fs::read(&path).expect("the node wrote it");
    node.ask_all(&[
        r#"{"type": "status"}"#,
        r#"{"type": "job_status", "job_id": "j"}"#,
        r#"{"type": "task_status", "task_id": "m"}"#,
        r#"{"type": "task_status", "task_id": "unknown"}"#,
        r#"{"type": "nonsense"}"#,
        r#"{"type": "heartbeat", "worker_id": 1, "timestamp": 1}"#,
        r#"{"type": "heartbeat", "worker_id": "w9", "timestamp": 1, "msg_id": "1"}"#,
        r#"{"type": "submit_job", "job_id": "j", "tasks": []}"#,
        r#"{"type": "complete_task", "worker_id": "w9", "task_id": "m", "attempt": 1, "timestamp": 1, "output": 1}"#,
        r#"{"type": "remove_worker", "worker_id": "w9"}"#,
        r#"{"type": "reassign", "failed_worker": "w9", "healthy_worker": "w9"}"#,
        "{}",
    ]);
    // These get no reply; the reply to the query after them shows that they were read.
    node.ask("nonsense\n\n{\"type\": \"heartbeat\", \"in_reply_to\": 1, \"worker_id\": \"w9\", \"timestamp\": 1}\n{\"type\": \"status\"}");
    assert_eq!(fs::read(&path).expect("it is still there"), journal);
    node.kill();
}

#[test]
fn recovery_is_logged_in_one_line() {
    let folder = Folder::new("logged");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    node.ask_all(&[JOB, TASK]);
    let log = node.end();
    assert!(
        !log.contains("recovered"),
        "there was nothing to recover: {log}"
    );
    let journal = fs::read(&path).expect("the node wrote it");
    let log = Node::start(&path).end();
    assert!(
        log.starts_with("journal: recovered in ")
            && log.ends_with(" from 2 requests; workers: 1, jobs: 1\n"),
        "{log}"
    );
    assert_eq!(log.matches('\n').count(), 1, "{log}");
    // All but the last three bytes of the last request.
    let text = String::from_utf8(journal).expect("it is text");
    let end = text.find(TASK).expect("it is the last request") + TASK.len();
    fs::write(&path, &text[..end - 3]).expect("it is ours");
    let log = Node::start(&path).end();
    let lines: Vec<&str> = log.lines().collect();
    let [torn, recovered] = lines[..] else {
        panic!("{log}");
    };
    let torn_at = end - TASK.len() - 20;
    assert_eq!(
        torn,
        format!(
            "journal: dropped a torn record, {} bytes at byte {torn_at}",
            TASK.len() + 17
        )
    );
    assert!(
        recovered.ends_with(" from 1 request; workers: 0, jobs: 1"),
        "{log}"
    );
    // The torn record is gone, and was logged once.
    let log = Node::start(&path).end();
    assert!(!log.contains("torn"), "{log}");
}

#[test]
fn journal_can_be_replayed_by_hand() {
    const BY_HAND: &str = r#""$NODE" replay "$FILE""#;
    let folder = Folder::new("by-hand");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    let replies = node.ask_all(&[
        JOB,
        r#"{"type": "init", "node_id": "n1"}"#,
        TASK,
        r#"  {"type": "heartbeat", "worker_id": "{ü\u0000", "timestamp": -9223372036854775808, "unknown": {"}": ["\n"]}}  "#,
        r#"{"type": "check_failures", "timeout_ms": 0, "now": 9223372036854775807}"#,
        TASK,
        r#"{"src": "c1", "body": {"type": "check_stragglers", "now": 5}}"#,
    ]);
    // The node is still running: a journal may be read at any time.
    let replayed = shell(BY_HAND, &path);
    assert_eq!(String::from_utf8_lossy(&replayed.stdout), replies.concat());
    assert_eq!(replayed.stderr, b"");
    node.kill();
}

#[test]
fn journal_is_lines_of_text() {
    let folder = Folder::new("text");
    let path = folder.file("journal");
    for _ in 0..2 {
        let mut node = Node::start(&path);
        node.ask_all(&[
            JOB,
            r#"{"type": "init", "node_id": "n1"}"#,
            r#"{"src": "c1", "body": {"type": "status"}}"#,
        ]);
        node.kill();
    }
    let journal = fs::read_to_string(&path).expect("it is text");
    let records = journal
        .strip_prefix(HEADER)
        .expect("the version comes first");
    for line in records.lines() {
        let mut fields = line.splitn(3, ' ');
        let mut field = || fields.next().expect("a line has three fields");
        let (checksum, length, record) = (field(), field(), field());
        assert!(
            checksum.len() == 16 && checksum.bytes().all(|digit| digit.is_ascii_hexdigit()),
            "{line}"
        );
        assert_eq!(length, record.len().to_string(), "{line}");
        assert!(record.starts_with(['{', '!']), "{line}");
    }
    assert!(records.ends_with('\n'));
    let own = |name| {
        records
            .lines()
            .filter(|line| {
                line.splitn(3, ' ')
                    .nth(2)
                    .is_some_and(|record| record.starts_with(name))
            })
            .count()
    };
    assert_eq!(own("!recovered"), 1, "{records}");
    assert_eq!(own("!msg_ids "), 2, "{records}");
}

#[test]
fn msg_ids_continue_even_if_no_request_with_one_changed_anything() {
    const STATUS: &str = r#"{"src": "c1", "body": {"type": "status"}}"#;
    let folder = Folder::new("msg-ids");
    let path = folder.file("journal");
    let mut latest = None;
    for _ in 0..3 {
        let mut node = Node::start(&path);
        node.ask(r#"{"type": "init", "node_id": "n1"}"#);
        for _ in 0..3 {
            let (_, msg_id) = crate::restartable::without_msg_id(&node.ask(STATUS));
            assert!(
                msg_id.is_some() && msg_id > latest,
                "{msg_id:?} after {latest:?}"
            );
            latest = msg_id;
        }
        node.kill();
    }
}

/// A line `!synced` follows what was synced.
#[test]
fn requests_that_count_as_heartbeats_are_written_but_not_synced() {
    let folder = Folder::new("synced");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    let syncs = || {
        let journal = fs::read_to_string(&path).expect("it is text");
        journal.matches(" 7 !synced\n").count()
    };
    let ask = |node: &mut Node, request: &str| {
        let (length, before) = (fs::metadata(&path).expect("it is there").len(), syncs());
        assert!(!node.ask(request).contains("error"), "{request}");
        let is_written = fs::metadata(&path).expect("it is there").len() > length;
        (is_written, syncs() - before)
    };
    // The header is synced with the first record, whatever its kind.
    node.ask(r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#);
    for (request, is_written, synced) in [
        (
            r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 2}"#,
            true,
            0,
        ),
        (
            r#"{"type": "request_task", "worker_id": "w1", "timestamp": 3}"#,
            true,
            0,
        ),
        (
            r#"{"type": "check_failures", "timeout_ms": 100, "now": 4}"#,
            true,
            0,
        ),
        (r#"{"type": "check_stragglers", "now": 4}"#, true, 0),
        (JOB, true, 1),
        (TASK, true, 1),
        (
            r#"{"type": "request_task", "worker_id": "w2", "timestamp": 3}"#,
            true,
            0,
        ),
        (r#"{"type": "status"}"#, false, 0),
        (
            r#"{"type": "complete_task", "worker_id": "w1", "task_id": "m", "attempt": 1, "timestamp": 5, "output": 1}"#,
            true,
            1,
        ),
        (
            r#"{"type": "check_failures", "timeout_ms": 100, "now": 1000}"#,
            true,
            1,
        ),
        (
            r#"{"type": "check_failures", "timeout_ms": 100, "now": 1001}"#,
            true,
            0,
        ),
    ] {
        assert_eq!(ask(&mut node, request), (is_written, synced), "{request}");
    }
    node.kill();
    // Nothing is synced, whatever the request.
    let mut node = Node::spawn(&mut shell_command(
        r#"exec "$NODE" --quiet --journal "$FILE" --journal-sync never"#,
        &path,
    ));
    assert_eq!(ask(&mut node, JOB_2), (true, 0));
    node.kill();
}

const JOB_2: &str = r#"{"type": "submit_job", "job_id": "j2", "tasks": []}"#;
