//! `--restore`: a node goes on as the one that wrote a snapshot (protocol, section 8).

use crate::process::{run, unused_path};
use std::fs;

/// Requests after which the state has something of everything, the name of the node included.
const BEFORE: &str = r#"{"src": "c1", "body": {"type": "init", "msg_id": 1, "node_id": "n1"}}
{"src": "c1", "body": {"type": "submit_job", "msg_id": 2, "job_id": "j", "tasks": [{"id": "t", "chunk": [1.0, "\ud800"]}]}}
{"src": "w1", "body": {"type": "request_task", "msg_id": 3, "worker_id": "w1", "timestamp": 5}}
"#;

const AFTER: &str = r#"{"src": "w1", "body": {"type": "fail_task", "msg_id": 4, "worker_id": "w1", "task_id": "t", "attempt": 1, "timestamp": 7, "error": "\udc00"}}
{"src": "w2", "body": {"type": "request_task", "msg_id": 5, "worker_id": "w2", "timestamp": 8}}
{"src": "c1", "body": {"type": "check_failures", "msg_id": 6, "timeout_ms": 1, "now": 9}}
{"src": "c1", "body": {"type": "list_workers", "msg_id": 7}}
"#;

/// Writes the `state` of a snapshot after [`BEFORE`] to a file, and returns its path.
fn state_file(name: &str) -> String {
    let snapshot = r#"{"src": "c1", "body": {"type": "snapshot", "msg_id": 9}}"#;
    let ended = run(&["--quiet"], format!("{BEFORE}{snapshot}"));
    let reply = *ended.replies().last().expect("there is a reply");
    let (_, state) = reply.split_once("\"state\": ").expect("it has a state");
    let state = state.strip_suffix("}}").expect("in an envelope");
    let path = unused_path(name);
    fs::write(&path, state).expect("it can be written");
    path
}

/// What the node that wrote the snapshot answers to [`AFTER`].
fn expected() -> Vec<String> {
    let snapshot = r#"{"src": "c1", "body": {"type": "snapshot", "msg_id": 9}}"#;
    let ended = run(&["--quiet"], format!("{BEFORE}{snapshot}\n{AFTER}"));
    ended.replies();
    ended.replies[4..].to_vec()
}

#[test]
fn restored_node_gives_the_same_replies() {
    let path = state_file("restore");
    assert_eq!(
        run(&["--quiet", "--restore", &path], AFTER).replies(),
        expected()
    );
}

#[test]
fn restored_node_records_its_state_in_a_new_journal() {
    let (state, journal) = (state_file("restore-1"), unused_path("restore-journal"));
    let options = ["--quiet", "--restore", &state, "--journal", &journal];
    let (first, rest) = AFTER.split_at(AFTER.find('\n').expect("it has lines") + 1);
    let expected = expected();
    assert_eq!(run(&options, first).replies(), expected[..1]);
    // It goes on from the journal, with the grace of a recovery and with msg_ids not used before.
    let ended = run(&["--quiet", "--journal", &journal], rest);
    let replies = ended.replies();
    assert!(
        replies[0].contains(r#""task": {"id": "t", "job_id": "j", "kind": "map", "attempt": 2"#),
        "{replies:?}"
    );
    // With --restore it is refused, and left as it is.
    let before = fs::read(&journal).expect("it is there");
    let ended = run(&options, rest);
    assert_eq!(ended.status, Some(2));
    assert!(
        ended
            .log
            .contains("--restore needs a journal that is new or empty"),
        "{}",
        ended.log
    );
    assert!(fs::read(&journal).expect("it is there") == before);
}

#[test]
fn file_that_is_not_a_state_ends_the_node() {
    let path = unused_path("no-state");
    for state in ["", "{}", "[]", "[1]", "null", "\"x\"", "not JSON"] {
        fs::write(&path, state).expect("it can be written");
        let ended = run(&["--restore", &path], AFTER);
        assert_eq!(ended.status, Some(1), "{state}");
        assert_eq!(ended.log().len(), 1, "{}", ended.log);
        assert!(
            ended
                .log
                .starts_with(&format!("mapreduce-master: state {path}: ")),
            "{}",
            ended.log
        );
        assert!(ended.replies.is_empty());
    }
    let missing = run(&["--restore", &unused_path("missing")], AFTER);
    assert_eq!(missing.status, Some(1));
}

/// What a node says is one line, whatever is in the state that it was started from.
#[test]
fn state_with_a_line_break_in_its_json_ends_the_node() {
    let path = state_file("line-break");
    let state = fs::read_to_string(&path).expect("it can be read");
    for (right, forged) in [
        (r#""chunk":"[1.0,"#, r#""chunk":"[1.0,\n"#),
        (r#""node_id":"\"n1\"""#, r#""node_id":"[1,\n2]""#),
        (r#""node_id":"\"n1\"""#, r#""node_id":"1""#),
    ] {
        assert!(state.contains(right), "{right} is not in {state}");
        fs::write(&path, state.replace(right, forged)).expect("it can be written");
        let ended = run(&["--restore", &path], AFTER);
        assert_eq!(ended.status, Some(1), "{forged}");
        assert_eq!(ended.log().len(), 1, "{}", ended.log);
    }
}
