//! Tests of the runner itself: a student's master is put to the course's conversations, without a bug and with some.

use crate::harness::Test;
use std::env;
use std::process::Command;

const STUDENTS_MASTER: &str = "python3 tests/golden/students_master.py";

/// A conversation of the course that every bug breaks.
const CASE: &str = "course/message_table_with_w2_known";

pub fn tests() -> Vec<Test<'static>> {
    let tests: [(&str, fn()); 9] = [
        ("a_students_master_passes", a_students_master_passes),
        (
            "a_bug_is_shown_with_its_request",
            a_bug_is_shown_with_its_request,
        ),
        (
            "json_may_be_written_otherwise",
            json_may_be_written_otherwise,
        ),
        (
            "a_missing_reply_hides_no_other",
            a_missing_reply_hides_no_other,
        ),
        (
            "output_that_is_not_a_reply_fails",
            output_that_is_not_a_reply_fails,
        ),
        (
            "a_program_that_dies_is_shown_with_its_last_words",
            a_program_that_dies_is_shown_with_its_last_words,
        ),
        (
            "a_program_that_hangs_is_killed",
            a_program_that_hangs_is_killed,
        ),
        (
            "a_program_that_never_stops_writing_is_stopped",
            a_program_that_never_stops_writing_is_stopped,
        ),
        (
            "arguments_select_a_topic_or_a_case",
            arguments_select_a_topic_or_a_case,
        ),
    ];
    (tests.into_iter())
        .map(|(name, test)| Test {
            name: format!("runner/{name}"),
            run: Box::new(move || {
                if has_python() {
                    test();
                }
                Ok(())
            }),
        })
        .collect()
}

fn has_python() -> bool {
    let found = (Command::new("python3").arg("--version").output())
        .is_ok_and(|output| output.status.success());
    assert!(
        found || env::var_os("CI").is_none(),
        "the student's master needs python3"
    );
    found
}

/// How long a program may take that is not to hang: long enough on the slowest machine.
const PATIENCE_MS: &str = "60000";

/// Runs this program again, with these arguments and variables. Returns whether it succeeded, and all that it printed.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(env::current_exe().expect("this program has a path"))
        .args(arguments)
        .env("MASTER", STUDENTS_MASTER)
        .env("TIMEOUT_MS", PATIENCE_MS)
        .env_remove("COMPARE")
        .envs(variables.iter().copied())
        .output()
        .expect("this program can be run again");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).expect("reports are text");
    (output.status.success(), printed)
}

fn run_with_bug(bug: &str, timeout_ms: &str) -> String {
    let (is_success, printed) = run(&[CASE], &[("BUG", bug), ("TIMEOUT_MS", timeout_ms)]);
    assert!(!is_success, "{printed}");
    assert!(
        printed.contains("test result: FAILED. 0 passed; 1 failed;"),
        "{printed}"
    );
    printed
}

#[track_caller]
fn assert_shows(printed: &str, parts: &[&str]) {
    for part in parts {
        assert!(printed.contains(part), "{part}\nis not in\n{printed}");
    }
}

fn a_students_master_passes() {
    let (is_success, printed) = run(&["course"], &[]);
    assert!(is_success, "{printed}");
    assert_shows(
        &printed,
        &[
            "test course/record_heartbeat ... ok",
            "test result: ok. 7 passed; 0 failed;",
        ],
    );
}

fn a_bug_is_shown_with_its_request() {
    assert_shows(
        &run_with_bug("equal", PATIENCE_MS),
        &[r#"
  tests/golden/course/message_table_with_w2_known.txt:11
  request   { "type": "check_failures", "msg_id": 2, "timeout_ms": 5000, "now": 1700000010000 }
  expected  {"type": "failures_detected", "in_reply_to": 2, "failed_workers": ["w2"]}
  got       {"type": "failures_detected", "in_reply_to": 2, "failed_workers": ["w2", "w1"]}
  differs   from column 72 on: `]}` became `, "w1"]}`
"#],
    );
}

fn json_may_be_written_otherwise() {
    assert_shows(
        &run_with_bug("compact", PATIENCE_MS),
        &["  differs   from column 3 on: "],
    );
    let (is_success, printed) = run(&["course"], &[("BUG", "compact"), ("COMPARE", "json")]);
    assert!(is_success, "{printed}");
    let (is_success, printed) = run(&[CASE], &[("BUG", "equal"), ("COMPARE", "json")]);
    assert!(!is_success, "{printed}");
}

fn a_missing_reply_hides_no_other() {
    let printed = run_with_bug("silent", PATIENCE_MS);
    assert_shows(
        &printed,
        &[
            r#"  expected  {"type": "heartbeat_ok", "in_reply_to": 1}
  got       nothing
"#,
            "  5 replies expected, 4 came\n",
        ],
    );
    assert_eq!(printed.matches("  expected  ").count(), 1, "{printed}");
}

fn output_that_is_not_a_reply_fails() {
    assert_shows(
        &run_with_bug("chatty", PATIENCE_MS),
        &[
            "  expected  nothing\n  got       done\n",
            "  5 replies expected, 10 came\n",
        ],
    );
}

fn a_program_that_dies_is_shown_with_its_last_words() {
    assert_shows(
        &run_with_bug("dies", PATIENCE_MS),
        &[
            "  got       nothing\n",
            "  the program failed: exit status: 1\n",
            "the second message is too much",
        ],
    );
}

fn a_program_that_hangs_is_killed() {
    assert_shows(
        &run_with_bug("hangs", "3000"),
        &[
            "  got       nothing\n",
            "  the program did not end within 3000 ms, and was killed\n",
        ],
    );
}

fn a_program_that_never_stops_writing_is_stopped() {
    let (is_success, printed) = run(&["--exact", CASE], &[("MASTER", "yes")]);
    assert!(!is_success, "{printed}");
    assert_shows(
        &printed,
        &[
            "  5 replies expected, 8388608 came\n",
            "  the program failed: exit status: ",
        ],
    );
}

fn arguments_select_a_topic_or_a_case() {
    let (_, printed) = run(&["--list", "course"], &[]);
    assert_shows(
        &printed,
        &[
            "course/record_heartbeat: test\n",
            "\n7 tests, 0 benchmarks\n",
        ],
    );
    let (_, printed) = run(&["--list", "course/message_table", "--skip", "w2"], &[]);
    assert_shows(
        &printed,
        &["course/message_table: test\n\n1 tests, 0 benchmarks\n"],
    );
    let (is_success, printed) = run(&["course/mesage"], &[]);
    assert!(!is_success, "{printed}");
    assert_shows(
        &printed,
        &["no conversation has such a name; the topics: addressing, "],
    );
}
