//! `mapreduce-master timeline`: what it says of small conversations, what it makes of hostile ones, and how its page
//! works in a browser.

#[allow(dead_code)] // Only the input is of interest here.
#[path = "golden/case.rs"]
mod case;
#[path = "timeline/large.rs"]
mod large;

use case::Case;
use mapreduce_master::timeline;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MASTER: &str = env!("CARGO_BIN_EXE_mapreduce-master");
const SESSION: &str = include_str!("golden/session/word_count_with_a_failure.in");

/// What `mapreduce-master timeline` writes for `input`.
fn run_timeline(arguments: &[&str], input: &str) -> String {
    run(&[&["timeline"], arguments].concat(), input)
}

/// What the program writes for `input`, which it reads to its end.
fn run(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(MASTER)
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
fn story_in(page: &str) -> Value {
    let (_, data) = page
        .split_once("<script type=\"application/json\" id=\"story\">")
        .expect("the page carries its story");
    let (data, _) = data.split_once("</script>").expect("the story has an end");
    serde_json::from_str(data).expect("the story is JSON")
}

#[test]
fn page_tells_what_a_failure_cost() {
    let story = story_in(&run_timeline(&[], SESSION));
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
    let story = story_in(&run_timeline(&[], conversation));
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
    let trace: Value =
        serde_json::from_str(&run_timeline(&["--json"], SESSION)).expect("it is JSON");
    let events = trace["traceEvents"].as_array().expect("it has events");
    let mut spans: Vec<(i64, i64, i64, i64)> = Vec::new();
    let mut counters = Vec::new();
    for event in events {
        assert!(event["name"].is_string() && event["pid"].is_number() && event["tid"].is_number());
        match event["ph"].as_str() {
            Some("M") => {}
            Some("i") => assert!(event["ts"].is_i64() && event["s"] == "t"),
            Some("C") => counters.push((
                event["name"].as_str().expect("it has a name"),
                event["args"]["maps"].as_i64().expect("it counts maps"),
                event["args"]["reduces"]
                    .as_i64()
                    .expect("it counts reduces"),
            )),
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
    assert!(
        counters
            .iter()
            .all(|(_, maps, reduces)| *maps >= 0 && *reduces >= 0)
    );
    assert!(counters.contains(&("waiting", 1, 2)) && counters.contains(&("running", 0, 2)));
    assert_eq!(
        counters[counters.len() - 2..],
        [("running", 0, 0), ("waiting", 0, 0)]
    );
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
    let page = run_timeline(&[], &hostile());
    assert!(!page.contains("<img"), "an id became markup");
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(
        story_in(&page)["tasks"]["id"][0]
            .as_str()
            .is_some_and(|id| id.starts_with("</script>"))
    );
    serde_json::from_str::<Value>(&run_timeline(&["--json"], &hostile()))
        .expect("the trace is JSON");
}

/// The conversations in `tests/timeline/stories`, each with the story that its page carries. `UPDATE_GOLDEN=1` replaces
/// the stories that differ.
#[test]
fn golden_stories() {
    let mut count = 0;
    let mut differing = Vec::new();
    for file in fs::read_dir(folder().join("stories")).expect("it is there") {
        let file = file.expect("it can be read").path();
        if file
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        count += 1;
        let conversation = fs::read_to_string(&file).expect("it is UTF-8");
        let story = story_in(&run_timeline(&[], &conversation));
        let got = format!("{story:#}\n");
        let golden = file.with_extension("json");
        if fs::read_to_string(&golden).is_ok_and(|expected| expected == got) {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
            fs::write(&golden, &got).expect("the golden file is written");
        } else {
            differing.push(format!("{}:\n{got}", golden.display()));
        }
    }
    assert!(count > 2, "the conversations were not found");
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/timeline")
}

#[test]
fn journal_shows_recoveries_and_a_compacted_one_starts_at_its_snapshot() {
    let journal = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("timeline-{}.journal", std::process::id()));
    let journal_text = journal.to_str().expect("the path is UTF-8");
    let node = |input: &str| run(&["--quiet", "--journal", journal_text], input);
    let of_journal = || story_in(&run_timeline(&[journal_text], ""));
    node(
        r#"
{"type": "submit_job", "job_id": "j", "tasks": [{"id": "j-reduce-map", "chunk": 1}, {"id": "done", "chunk": 1}]}
{"type": "request_task", "worker_id": "w", "timestamp": 1000}
{"type": "request_task", "worker_id": "v", "timestamp": 1500}
{"type": "complete_task", "worker_id": "v", "task_id": "done", "attempt": 1, "timestamp": 2000, "output": 1}
"#,
    );
    assert_eq!(of_journal()["recoveries"], serde_json::json!([]));
    // So many that a snapshot is shorter.
    let heartbeat = "{\"type\": \"heartbeat\", \"worker_id\": \"w\", \"timestamp\": 2500}\n";
    node(&heartbeat.repeat(50));
    let story = of_journal();
    assert_eq!(
        story["recoveries"],
        serde_json::json!([1000]),
        "2,000 is 1,000 after the start"
    );
    assert_eq!(story["notes"], serde_json::json!([]));

    run(&["compact", journal_text], "");
    node(
        r#"{"type": "complete_task", "worker_id": "w", "task_id": "j-reduce-map", "attempt": 1, "timestamp": 3000, "output": 1}"#,
    );
    let story = of_journal();
    let text = story["notes"][0].as_str().expect("there is a note");
    assert!(text.contains("compacted"), "{text}");
    assert_eq!(story["workers"].as_array().map(Vec::len), Some(2));
    assert_eq!(story["tasks"]["id"], serde_json::json!(["j-reduce-map"]));
    assert_eq!(story["tasks"]["reduce"], serde_json::json!([0]));
    assert_eq!(
        story["attempts"]["how"],
        serde_json::json!([1]),
        "it was accepted"
    );
    assert_eq!(story["jobs"][0]["state"], "completed");
    let _ = fs::remove_file(journal);
}

/// Any conversation of the golden tests, and none at all, has a page and a trace.
#[test]
fn every_golden_conversation_has_a_page_and_a_trace() {
    let mut conversations: Vec<Vec<u8>> = Case::all().iter().map(Case::input).collect();
    assert!(
        conversations.len() > 700,
        "the conversations were not found"
    );
    conversations.push(Vec::new());
    for conversation in conversations {
        let read = || timeline::read(&conversation[..]).expect("it can be read");
        let (mut page, mut trace) = (Vec::new(), Vec::new());
        timeline::write_page(&read(), &mut page).expect("a Vec takes everything");
        story_in(&String::from_utf8(page).expect("a page is UTF-8"));
        timeline::write_trace(&read(), &mut trace).expect("a Vec takes everything");
        serde_json::from_slice::<Value>(&trace).expect("a trace is JSON");
    }
}

#[test]
fn large_job_makes_a_page_that_opens_quickly() {
    let story = large::story();
    assert_eq!(story.workers.len(), large::WORKERS);
    let failed: Vec<_> = (story.workers.iter())
        .filter(|worker| !worker.failures.is_empty())
        .collect();
    assert_eq!(
        failed.len(),
        large::KILLED,
        "nobody but the killed workers failed"
    );
    assert!(story.attempts.len() > large::MAPS + large::REDUCES + large::KILLED);
    assert!(story.jobs[0].ended.is_some());
    let mut page = Vec::new();
    timeline::write_page(&story, &mut page).expect("a Vec takes everything");
    assert!(page.len() < 10_000_000, "{} bytes", page.len());
    let mut trace = Vec::new();
    timeline::write_trace(&story, &mut trace).expect("a Vec takes everything");
    serde_json::from_slice::<Value>(&trace).expect("a trace is JSON");
    open_in_browser(&[String::from_utf8(page).expect("a page is UTF-8")]);
}

#[test]
fn pages_work_in_a_browser() {
    let mut conversations = vec![SESSION.to_owned(), hostile(), many_at_once(), String::new()];
    for file in fs::read_dir(folder().join("stories")).expect("it is there") {
        let file = file.expect("it can be read").path();
        if file
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            conversations.push(fs::read_to_string(file).expect("it is UTF-8"));
        }
    }
    let pages: Vec<_> = (conversations.iter())
        .map(|conversation| run_timeline(&[], conversation))
        .collect();
    open_in_browser(&pages);
}

/// A worker that is given 10,000 tasks at once.
fn many_at_once() -> String {
    let tasks: Vec<_> = (0..10_000)
        .map(|number| format!("{{\"id\": \"t{number}\", \"chunk\": 1}}"))
        .collect();
    format!(
        "{{\"type\": \"reassign\", \"failed_worker\": \"x\", \"healthy_worker\": \"y\", \"tasks\": [{}]}}\n\
         {{\"type\": \"heartbeat\", \"worker_id\": \"y\", \"timestamp\": 5}}\n",
        tasks.join(", ")
    )
}

/// Opens pages in Chromium and checks what a reader needs of them.
fn open_in_browser(pages: &[String]) {
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
    for page in pages {
        let name = format!("timeline-{}-{}.html", std::process::id(), page.len());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, page).expect("the page is written");
        let output = Command::new("node")
            .arg(folder().join("browser.js"))
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
        let _ = fs::remove_file(file);
    }
}
