//! `mapreduce-master timeline`: what it says of small conversations, what it makes of hostile ones, and how its page
//! works in a browser.

use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MASTER: &str = env!("CARGO_BIN_EXE_mapreduce-master");
const SESSION: &str = include_str!("golden/session/word_count_with_a_failure.in");

/// What the command writes for `input`.
fn timeline(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(MASTER)
        .arg("timeline")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the master starts");
    let mut stdin = child.stdin.take().expect("its stdin is a pipe");
    stdin
        .write_all(input.as_bytes())
        .expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}

/// The story that a page carries.
fn story(page: &str) -> Value {
    let (_, data) = page
        .split_once("<script type=\"application/json\" id=\"story\">")
        .expect("the page carries its story");
    let (data, _) = data.split_once("</script>").expect("the story has an end");
    serde_json::from_str(data).expect("the story is JSON")
}

#[test]
fn page_tells_what_a_failure_cost() {
    let story = story(&timeline(&[], SESSION));
    let failure = &story["workers"][1]["failures"][0];
    assert_eq!(story["workers"][1]["id"], "w2");
    assert_eq!(
        (&failure["at"], &failure["back"]),
        (&4000.into(), &4900.into())
    );
    // line-3 ran from 500 to the check at 4000, and the output of line-2 took 500 ms to make.
    assert_eq!(failure["cost"], 4000);
    assert_eq!(story["numbers"]["lost"]["lost"], 3500);
    assert_eq!(story["numbers"]["lost"]["outputs"], 500);
    assert_eq!(story["numbers"]["duplicates_dropped"], 1);
    assert_eq!(
        story["jobs"][0]["barrier"],
        serde_json::json!([[4800, null]])
    );
    assert_eq!(story["jobs"][0]["ended"], 5100);
}

#[test]
fn page_tells_what_a_backup_cost_and_saved() {
    let conversation = r#"
{"type": "submit_job", "job_id": "j", "tasks": [{"id": "t", "chunk": 1}]}
{"type": "request_task", "worker_id": "slow", "timestamp": 1000}
{"type": "check_stragglers", "now": 5000, "slow_after_ms": 1000}
{"type": "request_task", "worker_id": "quick", "timestamp": 5000}
{"type": "complete_task", "worker_id": "quick", "task_id": "t", "attempt": 2, "timestamp": 6000, "output": 1}
{"type": "complete_task", "worker_id": "slow", "task_id": "t", "attempt": 1, "timestamp": 9000, "output": 1}
"#;
    let story = story(&timeline(&[], conversation));
    let backup = &story["backups"][0];
    assert_eq!(backup["won"], true);
    assert_eq!(backup["cost"], 1000);
    assert_eq!(
        backup["saved"], 3000,
        "the slow attempt delivered 3 s later"
    );
}

#[test]
fn trace_is_valid_and_its_threads_overlap_nowhere() {
    let trace: Value = serde_json::from_str(&timeline(&["--json"], SESSION)).expect("it is JSON");
    let events = trace["traceEvents"].as_array().expect("it has events");
    let mut spans: Vec<(i64, i64, i64, i64)> = Vec::new();
    for event in events {
        assert!(event["name"].is_string() && event["pid"].is_number() && event["tid"].is_number());
        match event["ph"].as_str() {
            Some("M") => {}
            Some("i") => assert!(event["ts"].is_i64() && event["s"] == "t"),
            Some("X") => {
                let field = |name: &str| event[name].as_i64().expect("it is an integer");
                assert!(field("dur") >= 0);
                spans.push((
                    field("pid"),
                    field("tid"),
                    field("ts"),
                    field("ts") + field("dur"),
                ));
            }
            phase => panic!("unknown phase {phase:?}"),
        }
    }
    spans.sort_unstable();
    assert_eq!(spans.len(), 8, "seven attempts and a job");
    for pair in spans.windows(2) {
        let ((pid, tid, _, end), (pid_behind, tid_behind, start, _)) = (pair[0], pair[1]);
        assert!((pid, tid) != (pid_behind, tid_behind) || end <= start);
    }
}

/// Ids and errors that would break out of the page, or run in it.
fn hostile() -> String {
    let evil = r"</script><img src=x onerror=alert(1)><!--\u202e\u0000{{script}}";
    format!(
        r#"
{{"type": "submit_job", "job_id": "{evil}", "tasks": [{{"id": "{evil}", "chunk": 1}}, {{"id": "", "chunk": 1}}, {{"id": "__proto__", "chunk": 1}}]}}
{{"type": "request_task", "worker_id": "{evil}", "timestamp": -9223372036854775808}}
{{"type": "fail_task", "worker_id": "{evil}", "task_id": "{evil}", "attempt": 1, "timestamp": 9223372036854775807, "error": "{evil}\ud800"}}
{{"type": "request_task", "worker_id": "__proto__", "timestamp": 3}}
{{"type": "request_task", "worker_id": "constructor", "timestamp": 4}}
{{"type": "check_failures", "timeout_ms": 0, "now": 9223372036854775807}}
"#
    )
}

#[test]
fn page_keeps_hostile_ids_in_their_place() {
    let page = timeline(&[], &hostile());
    assert!(!page.contains("<img"), "an id became markup");
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(
        story(&page)["tasks"]["id"][0]
            .as_str()
            .is_some_and(|id| id.starts_with("</script>"))
    );
    serde_json::from_str::<Value>(&timeline(&["--json"], &hostile())).expect("the trace is JSON");
}

/// Any conversation of the golden tests, and none at all, has a page and a trace.
#[test]
fn every_golden_conversation_has_a_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut conversations = vec![String::new()];
    for topic in fs::read_dir(folder)
        .expect("tests/golden is there")
        .flatten()
    {
        for file in fs::read_dir(topic.path()).into_iter().flatten().flatten() {
            if file
                .path()
                .extension()
                .is_some_and(|extension| extension == "in")
            {
                conversations.push(fs::read_to_string(file.path()).unwrap_or_default());
            }
        }
    }
    for conversation in conversations {
        story(&timeline(&[], &conversation));
    }
}

#[test]
fn pages_work_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/timeline");
    let modules = std::env::var_os("TIMELINE_NODE_MODULES").map(PathBuf::from);
    let is_there = modules
        .as_ref()
        .is_some_and(|path| path.join("playwright-core").exists());
    if !is_there {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI needs Chromium and playwright-core"
        );
        eprintln!(
            "SKIPPED: set TIMELINE_NODE_MODULES to a node_modules folder with playwright-core, and install chromium"
        );
        return;
    }
    let file = std::env::temp_dir().join(format!("timeline-{}.html", std::process::id()));
    for conversation in [SESSION, &hostile(), ""] {
        fs::write(&file, timeline(&[], conversation)).expect("the page is written");
        let output = Command::new("node")
            .arg(folder.join("browser.js"))
            .arg(&file)
            .env("NODE_PATH", modules.as_deref().unwrap_or(Path::new("")))
            .output()
            .expect("node starts");
        let (problems, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success() && problems.is_empty(),
            "{problems}{errors}"
        );
    }
    let _ = fs::remove_file(file);
}
