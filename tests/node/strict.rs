//! `--strict`: every line is one message and gets exactly one reply; senders are checked (protocol, section 1).

use crate::process::{heartbeat, heartbeat_ok, run};
use mapreduce_master::node::Node;

/// The replies to `input` with `--strict`.
fn strict(input: impl Into<Vec<u8>>) -> Vec<String> {
    let ended = run(&["--strict", "--quiet"], input);
    ended.replies();
    ended.replies
}

/// Whether a reply is a bare error 12 that refers to no request.
fn is_bare_12(reply: &str) -> bool {
    reply.starts_with(r#"{"type": "error", "code": 12, "text": ""#)
}

const INIT: &str = r#"{"src": "c1", "body": {"type": "init", "node_id": "n1"}}"#;

#[test]
fn every_line_gets_exactly_one_reply() {
    let too_long = format!("{{\"x\": \"{}", "y".repeat(65 << 20));
    let dropped = [
        "",
        "   \t",
        "\r",
        "hello",
        "  [1]",
        "{",
        "}",
        "{\"type\": \"status",
        "{\"type\": \"status\",",
        "{\"type\": \"status\"} {\"type\": \"status\"}",
        "\u{feff}{\"type\": \"status\"}",
        &too_long,
        r#"{"type": "error", "msg_id": 1}"#,
        r#"{"src": "c", "body": {"type": "status", "msg_id": 1, "in_reply_to": 2}}"#,
        r#"{"body": {"type": "status", "msg_id": 1}}"#,
        r#"{"src": "\ud800", "body": {"type": "status", "msg_id": 1}}"#,
    ];
    let status = "{\"type\": \"status\"}\n";
    for dropped in dropped {
        for line_end in ["\n", "\r\n", ""] {
            let replies = strict(format!("{INIT}\n{status}{dropped}{line_end}"));
            let shown = &dropped[..dropped.len().min(100)];
            // No line end and nothing before it is no line.
            let count = if (dropped, line_end) == ("", "") {
                2
            } else {
                3
            };
            assert_eq!(replies.len(), count, "{shown:?}: {replies:?}");
            assert!(
                replies[2..].iter().all(|reply| is_bare_12(reply)),
                "{shown:?}: {replies:?}"
            );
        }
        // Nothing is skipped after it.
        let replies = strict(format!("{INIT}\n{dropped}\n {status}{status}"));
        assert_eq!(replies.len(), 4);
        assert!(is_bare_12(&replies[1]));
        assert!(replies[2..].iter().all(|reply| reply.contains("status_ok")));
    }
}

#[test]
fn error_says_where_the_line_is_malformed() {
    assert_eq!(
        strict(r#" {"type" "status"}"#),
        [
            r#"{"type": "error", "code": 12, "text": "malformed JSON object at column 10: expected `:`"}"#
        ]
    );
}

#[test]
fn message_over_several_lines_is_as_many_errors() {
    let replies = strict("{\n\"type\": \"status\"\n}\n");
    assert_eq!(replies.len(), 3);
    assert!(replies.iter().all(|reply| is_bare_12(reply)));
}

#[test]
fn byte_order_mark_at_the_start_is_skipped_and_no_line() {
    let replies = strict(format!("\u{feff}{}", r#"{"type": "status", "msg_id": 1}"#));
    assert!(replies[0].starts_with(r#"{"type": "status_ok", "in_reply_to": 1"#));
    assert_eq!(replies.len(), 1);
    assert!(strict("\u{feff}").is_empty());
}

#[test]
fn replies_do_not_depend_on_how_the_input_is_cut() {
    let input = "\u{feff}  \n{\r\n\n{\"type\": \"status\"}\n  x\n \r\n\t";
    let whole = strict(input);
    assert_eq!(whole.len(), 7);
    let mut node = Node::new(true).strict();
    for byte in input.as_bytes() {
        node.feed(&[*byte]);
        assert!(!node.answer_some());
    }
    node.end();
    node.answer_some();
    let replies = String::from_utf8_lossy(&node.replies);
    assert_eq!(replies.lines().collect::<Vec<_>>(), whole);
}

#[test]
fn message_of_a_worker_must_come_from_that_worker() {
    let requests = [
        r#""type": "heartbeat", "timestamp": 0"#,
        r#""type": "request_task", "timestamp": 0"#,
        r#""type": "complete_task", "timestamp": 0, "task_id": "t", "attempt": 1, "output": 0"#,
        r#""type": "fail_task", "timestamp": 0, "task_id": "t", "attempt": 1, "error": """#,
    ];
    let job = r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "t", "chunk": 0}]}"#;
    let fetch =
        r#"{"src": "w1", "body": {"type": "request_task", "worker_id": "w1", "timestamp": 0}}"#;
    for request in requests {
        let body = format!(r#"{{{request}, "msg_id": 5, "worker_id": "w1"}}"#);
        for (forged, text) in [
            (
                format!(r#"{{"src": "w2", "body": {body}}}"#),
                r#"field \"worker_id\" must be the src of the envelope, which is \"w2\""#,
            ),
            (body.clone(), "a worker's message must come in an envelope"),
        ] {
            let workers = r#"{"type": "list_workers"}"#;
            let replies = strict([job, fetch, workers, &forged, workers].join("\n"));
            let refusal =
                format!(r#"{{"type": "error", "in_reply_to": 5, "code": 22, "text": "{text}"}}"#);
            assert_eq!(replies[3], refusal);
            assert_eq!(replies[2], replies[4], "it has no effect");
        }
        let genuine = format!(r#"{{"src": "w\u0031", "body": {body}}}"#);
        let replies = strict([job, fetch, &genuine].join("\n"));
        assert!(!replies[2].contains("error"), "{replies:?}");
    }
}

#[test]
fn sender_is_checked_last_of_all() {
    let forged = |body: &str| format!(r#"{{"src": "w2", "body": {body}}}"#);
    let job = r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "t", "chunk": 0}], "reduce_tasks": 1}"#;
    let inputs = r#""lost_inputs": [{"task_id": "u", "attempt": 1}]"#;
    let w1 = r#""worker_id": "w1", "timestamp": 0"#;
    for (body, code, text) in [
        (
            r#"{"type": "heartbeat", "worker_id": "w1"}"#.to_owned(),
            12,
            "timestamp",
        ),
        (
            format!(
                r#"{{"type": "complete_task", {w1}, "task_id": "u", "attempt": 1, "output": 0}}"#
            ),
            20,
            "no task",
        ),
        (
            format!(
                r#"{{"type": "fail_task", {w1}, "task_id": "t", "attempt": 1, "error": "", {inputs}}}"#
            ),
            12,
            "lost_inputs",
        ),
        (
            format!(
                r#"{{"type": "complete_task", {w1}, "task_id": "t", "attempt": 9, "output": 0}}"#
            ),
            22,
            "attempt",
        ),
    ] {
        let replies = strict([job, &forged(&body)].join("\n"));
        assert!(
            replies[1].contains(&format!("\"code\": {code}")),
            "{replies:?}"
        );
        assert!(replies[1].contains(text), "{replies:?}");
    }
}

#[test]
fn without_it_nothing_of_this_holds() {
    let input = format!("\n\nhello\n{}", heartbeat(1));
    assert_eq!(run(&[], input).replies(), [heartbeat_ok(1)]);
}
