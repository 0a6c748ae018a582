//! The log on stderr, for people: one line an event, with the line of the input that caused it.

use crate::process::run;

const W1: &str = r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1000}"#;
const W2: &str = r#"{"type": "heartbeat", "worker_id": "w2", "timestamp": 99000}"#;
const CHECK: &str = r#"{"type": "check_failures", "timeout_ms": 5000, "now": 100000}"#;
const JOB: &str = r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "t1", "chunk": 1}, {"id": "t2", "chunk": 2}]}"#;
const W1_REQUESTS: &str = r#"{"type": "request_task", "worker_id": "w1", "timestamp": 1000}"#;
const REASSIGN: &str = r#"{"type": "reassign", "failed_worker": "w1", "healthy_worker": "w2"}"#;
const INIT: &str = r#"{"src": "c1", "dest": "n1", "body": {"type": "init", "node_id": "n1"}}"#;

/// Checks that `input` leaves one line of log for each of `expected`, with all the words of that in it, in order.
#[track_caller]
fn assert_logs(input: &[&str], expected: &[&[&str]]) {
    let ended = run(&[], input.join("\n") + "\n");
    ended.replies();
    let log = ended.log();
    let matches = log.len() == expected.len()
        && log.iter().zip(expected).all(|(line, words)| {
            let mut rest = *line;
            words.iter().all(|word| match rest.split_once(word) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
        });
    assert!(matches, "expected\n{expected:#?}\ngot\n{log:#?}");
}

#[test]
fn worker_joined() {
    assert_logs(
        &[W1, "", W2],
        &[
            &["line 1:", "\"w1\"", "joined"],
            &["line 3:", "\"w2\"", "joined"],
        ],
    );
}

#[test]
fn nothing_per_heartbeat() {
    assert_logs(&[W1; 1000], &[&["line 1:", "joined"]]);
}

#[test]
fn worker_failed_with_its_silence_and_what_was_queued_again() {
    assert_logs(
        &[JOB, W1_REQUESTS, W2, CHECK],
        &[
            &["line 2:", "\"w1\"", "joined"],
            &["line 3:", "\"w2\"", "joined"],
            &[
                "line 4:", "\"w1\"", "failed", "99000 ms", "requeued", "\"t1\"",
            ],
        ],
    );
}

#[test]
fn worker_failed_that_had_no_task() {
    assert_logs(
        &[W1, CHECK],
        &[
            &["line 1:"],
            &["line 2:", "\"w1\"", "failed", "99000 ms", "nothing"],
        ],
    );
}

#[test]
fn silence_is_exact_at_extreme_times() {
    let heartbeat = W1.replace("1000", "-9223372036854775808");
    let check = CHECK.replace("100000", "9223372036854775807");
    assert_logs(
        &[&heartbeat, &check],
        &[
            &["line 1:"],
            &["line 2:", "failed", " 18446744073709551615 ms"],
        ],
    );
}

#[test]
fn check_repeated_fails_nobody_anew() {
    assert_logs(&[W1, CHECK, CHECK, CHECK], &[&["line 1:"], &["line 2:"]]);
}

#[test]
fn worker_back_and_failed_anew() {
    assert_logs(
        &[W1, CHECK, W1, CHECK],
        &[
            &["line 1:", "joined"],
            &["line 2:", "failed"],
            &["line 3:", "\"w1\"", "back"],
            &["line 4:", "failed"],
        ],
    );
}

#[test]
fn worker_removed_with_what_was_queued_again() {
    let remove = r#"{"type": "remove_worker", "worker_id": "w1"}"#;
    assert_logs(
        &[JOB, W1_REQUESTS, remove],
        &[
            &["line 2:", "joined"],
            &["line 3:", "\"w1\"", "removed", "requeued", "\"t1\""],
        ],
    );
}

#[test]
fn tasks_reassigned() {
    assert_logs(
        &[JOB, W1_REQUESTS, W2, REASSIGN, REASSIGN],
        &[
            &["line 2:", "\"w1\"", "joined"],
            &["line 3:", "\"w2\"", "joined"],
            &["line 4:", "reassigned", "\"w1\"", "\"w2\"", "\"t1\""],
        ],
    );
}

#[test]
fn worker_joins_by_a_reassignment() {
    assert_logs(
        &[JOB, W1_REQUESTS, REASSIGN],
        &[
            &["line 2:", "\"w1\"", "joined"],
            &["line 3:", "reassigned", "\"w1\"", "\"w2\"", "\"t1\""],
            &["line 3:", "\"w2\"", "joined"],
        ],
    );
}

#[test]
fn task_failed_and_queued_again_until_the_job_fails() {
    let job = JOB.replace("}]}", "}], \"max_failures\": 2}");
    let fail = |attempt| {
        format!(
            r#"{{"type": "fail_task", "worker_id": "w1", "task_id": "t1", "attempt": {attempt}, "timestamp": 0, "error": "no\nspace"}}"#
        )
    };
    assert_logs(
        &[
            &job,
            W1_REQUESTS,
            &fail(1),
            W1_REQUESTS,
            &fail(2),
            W1_REQUESTS,
        ],
        &[
            &["line 2:", "joined"],
            &[
                "line 3:",
                "\"t1\"",
                "failed",
                "\"w1\"",
                "no\\nspace",
                "requeued",
                "\"t1\"",
            ],
            &[
                "line 5:",
                "\"t1\"",
                "failed",
                "\"w1\"",
                "no\\nspace",
                "nothing",
            ],
            &["line 5:", "job \"j\" failed", "no\\nspace"],
        ],
    );
}

#[test]
fn task_skipped_and_job_completed() {
    let job = JOB.replace("}]}", "}], \"max_failures\": 1, \"max_skipped\": 1}");
    let fail = r#"{"type": "fail_task", "worker_id": "w1", "task_id": "t1", "attempt": 1, "timestamp": 0, "error": "x"}"#;
    let complete = r#"{"type": "complete_task", "worker_id": "w1", "task_id": "t2", "attempt": 1, "timestamp": 0, "output": 2}"#;
    assert_logs(
        &[&job, W1_REQUESTS, fail, W1_REQUESTS, complete, complete],
        &[
            &["line 2:", "joined"],
            &["line 3:", "\"t1\"", "failed"],
            &["line 3:", "\"t1\"", "skipped"],
            &["line 5:", "job \"j\" completed"],
        ],
    );
}

#[test]
fn request_answered_with_an_error_is_no_event() {
    assert_logs(
        &[
            W1,
            r#"{"type": "nonsense"}"#,
            r#"{"type": "heartbeat"}"#,
            r#"{"type": "heartbeat", "msg_id": "x", "worker_id": "w2", "timestamp": 0}"#,
            r#"{"type": "remove_worker", "worker_id": "w2"}"#,
            r#"{"type": "status"}"#,
            INIT,
        ],
        &[&["line 1:", "\"w1\"", "joined"]],
    );
}

#[test]
fn init_with_another_name_is_refused_and_logged() {
    let init = |name| format!(r#"{{"type": "init", "node_id": "{name}"}}"#);
    for options in [&[][..], &["--quiet"]] {
        let ended = run(options, [init("n1"), init("n1"), init("n2")].join("\n"));
        assert_eq!(ended.log().len(), 1, "{}", ended.log);
        assert!(
            ended.log.starts_with("line 3: init refused"),
            "{}",
            ended.log
        );
    }
}

#[test]
fn an_event_is_one_line_whatever_the_ids() {
    let heartbeat = r#"{"type": "heartbeat", "worker_id": "a\nb\u001b\r", "timestamp": 0}"#;
    let check = r#"{"type": "check_failures", "timeout_ms": 0, "now": 1}"#;
    assert_logs(
        &[heartbeat, check],
        &[&["line 1:", "joined"], &["line 2:", "failed"]],
    );
    let ended = run(&[], heartbeat);
    let is_plain = |letter: char| letter == '\n' || !letter.is_control();
    assert!(ended.log.chars().all(is_plain), "{:?}", ended.log);
}

#[test]
fn input_dropped_and_why() {
    for (input, why) in [
        ("hello", "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        ("{\"type\": \"status\"} x", "malformed"),
        ("{'type': 'status'}", "malformed"),
        ("{\"type\": \"\u{1}\"}", "malformed"),
        ("{\"type\": \"status", "string"),
        ("{\"type\": \"status\",", "unfinished"),
        ("{\"in_reply_to\": 1}", "reply"),
    ] {
        let words: &[&str] = &["line 2:", "dropped", why];
        assert_logs(&[W1, input, W1], &[&["line 1:", "joined"], words]);
    }
}

#[test]
fn envelope_without_src_after_init_is_dropped() {
    assert_logs(
        &[
            INIT,
            r#"{"src": 5, "body": {"type": "status"}}"#,
            r#"{"body": 5}"#,
        ],
        &[
            &["line 2:", "dropped", "src"],
            &["line 3:", "dropped", "src"],
        ],
    );
}

#[test]
fn each_dropped_message_has_one_line_that_says_where_it_starts() {
    assert_logs(
        &[
            "\u{feff}",
            "{",
            "  \"type\": \"status\"",
            "} x",
            "\r",
            "{\"type\": \"status",
            "skipped",
            "  {\"skipped\": true}",
            "}",
            "{",
            "  \"type\":",
            "{\"type\": \"status\"}",
            "no",
            "object",
            "{",
        ],
        &[
            &["line 2:", "dropped", "malformed"],
            &["line 6:", "dropped", "string"],
            &["line 10:", "dropped", "unfinished"],
            &["line 13:", "dropped"],
            &["line 14:", "dropped"],
            &["line 15:", "dropped", "unfinished"],
        ],
    );
}

/// The log of input of which nothing is answered.
fn log_of(input: impl Into<Vec<u8>>) -> Vec<String> {
    let ended = run(&[], input);
    assert!(ended.replies().is_empty());
    ended.log().into_iter().map(str::to_owned).collect()
}

#[test]
fn malformed_line_is_logged_with_the_place_of_the_fault_and_the_sender() {
    for (input, logged) in [
        ("hello", "not a JSON object at column 1"),
        ("  hello", "not a JSON object at column 3"),
        (
            r#"{"type" "status"}"#,
            "malformed JSON object at column 9: expected `:`",
        ),
        (
            r#"  {"type" "status"}"#,
            "malformed JSON object at column 11: expected `:`",
        ),
        (
            r#"{"type": "status"} x"#,
            "malformed JSON object at column 20: trailing characters",
        ),
        (
            r#"{"src": "c1", "body": {"msg_id": 7, "type": status}}"#,
            r#"malformed JSON object at column 45: expected value (src "c1", msg_id 7)"#,
        ),
        (
            r#"{"msg_id": -7, "type": status}"#,
            "malformed JSON object at column 24: expected value (msg_id -7)",
        ),
        (
            r#"{"src": "c\n\u0031", "type": status}"#,
            r#"malformed JSON object at column 30: expected value (src "c\n1")"#,
        ),
        (
            r#"{"src": "c1", "body": {"type": "status"#,
            r#"malformed JSON object: a string is left open at the end of a line at column 38 (src "c1")"#,
        ),
        (
            "{\n  \"msg_id\": 3,\n  \"type\": \"x\" \"y\"\n}",
            "malformed JSON object at line 3, column 15: expected `,` or `}` (msg_id 3)",
        ),
        (
            "{\n  \"msg_id\": 3,",
            "unfinished JSON object at line 2, column 14 (msg_id 3)",
        ),
    ] {
        assert_eq!(log_of(input), [format!("line 1: dropped: {logged}")]);
    }
    assert_eq!(
        log_of(b"{\"msg_id\": 1, \"type\": \"\xff\"}\n"),
        ["line 1: dropped: malformed JSON object at column 24: invalid UTF-8 (msg_id 1)"]
    );
}

#[test]
fn message_that_is_a_reply_is_logged_with_its_sender() {
    for body in [
        r#"{"type": "status", "in_reply_to": 2, "msg_id": 7}"#,
        r#"{"type": "error", "msg_id": 7}"#,
        r#"{"type": "\u0065rror", "msg_id": 7, "code": 12}"#,
    ] {
        let reason = "it is a reply itself, and replies are not answered";
        assert_eq!(
            log_of(format!(r#"{{"src": "n2", "body": {body}}}"#)),
            [format!(r#"line 1: dropped: {reason} (src "n2", msg_id 7)"#)]
        );
    }
}

#[test]
fn log_of_a_run_of_dropped_lines_grows_with_its_logarithm() {
    let log = log_of("x\n{}}\n".repeat(60_000));
    assert_eq!(log.len(), 100 + 4, "{log:#?}");
    assert_eq!(
        log[99],
        "line 100: dropped: malformed JSON object at column 3: trailing characters"
    );
    assert_eq!(
        log[100..],
        [
            "lines 101 to 1000: dropped: 900 more",
            "lines 1001 to 10000: dropped: 9000 more",
            "lines 10001 to 100000: dropped: 90000 more",
            "lines 100001 to 120000: dropped: 20000 more",
        ]
    );
}

#[test]
fn run_of_dropped_lines_ends_with_the_next_answer() {
    let input = "x\n".repeat(102) + W1 + "\n" + &"x\n".repeat(101) + W1;
    let ended = run(&["--quiet"], input);
    let log = ended.log();
    assert_eq!(log.len(), 202, "{log:#?}");
    assert_eq!(log[100], "lines 101 to 102: dropped: 2 more");
    assert_eq!(log[101], "line 104: dropped: not a JSON object at column 1");
    assert_eq!(log[201], "line 204: dropped: one more");
}

#[test]
fn ten_megabytes_of_garbage_leave_a_log_of_a_few_kilobytes() {
    let ended = run(&["--quiet"], "x\n".repeat(5_000_000));
    assert!(ended.log.len() < 8000, "{}", ended.log);
}
