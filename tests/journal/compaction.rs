//! A long journal is compacted by a child process. Nothing is lost, whenever the node or the child is killed, and removed
//! jobs and workers are gone.

use crate::node::{BINARY, Folder, Node, assert_in_use, refusal, shell_command};
use crate::random::Random;
use crate::traces::{QUESTIONS, TRACES};
use mapreduce_master::journal::{HEADER, PARTIAL_HEADER};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// How long to wait for something to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The nodes here compact a journal beyond this length, in bytes.
const LIMIT: usize = 4 * MIB;

fn start(path: &Path) -> Node {
    Node::spawn(command().arg(path))
}

/// A node on the journal whose name follows.
fn command() -> Command {
    let mut command = Command::new(BINARY);
    command.args([
        "--quiet",
        "--journal-compact-from",
        &LIMIT.to_string(),
        "--journal",
    ]);
    command
}

/// A job of one map with a chunk of this length.
fn submit(job: &str, chunk_bytes: usize) -> String {
    let chunk = "x".repeat(chunk_bytes);
    format!(
        r#"{{"type": "submit_job", "job_id": "{job}", "tasks": [{{"id": "{job}-m", "chunk": "{chunk}"}}]}}"#
    )
}

/// A message that is written in full, but does not change the state once `w3` is known.
fn long_heartbeat(bytes: usize) -> String {
    let ignored = "x".repeat(bytes);
    format!(
        r#"{{"type": "heartbeat", "worker_id": "w3", "timestamp": 9223372036854775807, "ignored": "{ignored}"}}"#
    )
}

/// Fills a journal to a little less than the length beyond which it is compacted.
fn fill(node: &mut Node, path: &Path) {
    node.expect(&long_heartbeat(0), "heartbeat_ok");
    while length(path) < LIMIT - LIMIT / 16 {
        node.expect(&long_heartbeat(LIMIT / 16 - 1000), "heartbeat_ok");
    }
    assert!(length(path) < LIMIT);
}

/// Makes a filled journal grow a little more, which starts a compaction.
fn start_compaction(node: &mut Node) {
    node.expect(&long_heartbeat(LIMIT / 12), "heartbeat_ok");
}

/// Compacts a filled journal. A node takes the next step of a compaction when it receives a message.
fn compact(node: &mut Node, path: &Path) {
    start_compaction(node);
    go_on_until(node, || starts_with_state(path) && length(path) < LIMIT);
}

/// Sends messages until the condition holds.
fn go_on_until(node: &mut Node, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it never is so");
        node.expect(&long_heartbeat(0), "heartbeat_ok");
        thread::sleep(Duration::from_millis(1));
    }
}

fn length(path: &Path) -> usize {
    let bytes = fs::metadata(path).expect("the journal is there").len();
    usize::try_from(bytes).expect("it is a length")
}

fn assert_answer(reply: &str, kind: &str) {
    assert!(reply.contains(&format!("\"type\": \"{kind}\"")), "{reply}");
}

fn starts_with_state(path: &Path) -> bool {
    let journal = fs::File::open(path).expect("the journal is there");
    let mut lines = BufReader::new(journal).lines();
    lines
        .nth(1)
        .is_some_and(|line| line.is_ok_and(|line| line.ends_with(" !state begin")))
}

/// The replies of a node without a journal.
fn answers_without_journal() -> Vec<String> {
    let mut node = Node::spawn(Command::new(BINARY).arg("--quiet"));
    node.ask_all(&TRACES);
    // The worker that fills the journal is heard from.
    node.ask(&long_heartbeat(0));
    let answers = node.ask_all(&QUESTIONS);
    node.end();
    answers
}

#[test]
fn compacted_journal_has_the_same_state_and_nothing_that_was_removed() {
    let folder = Folder::new("compacted");
    let path = folder.file("journal");
    let mut node = start(&path);
    node.ask_all(&TRACES);
    // Twice: the second state is made from one that was read.
    for _ in 0..2 {
        fill(&mut node, &path);
        compact(&mut node, &path);
        // The requests during the compaction are in it unchanged.
        assert!(length(&path) < LIMIT / 2, "it is compacted");
        assert_eq!(folder.names(), ["journal"]);
        let log = refusal(&path);
        assert!(log.contains("in use"), "{log}");
    }
    assert_eq!(node.ask_all(&QUESTIONS), answers_without_journal());
    node.kill();
    let journal = fs::read_to_string(&path).expect("it is text");
    let state = journal
        .lines()
        .take_while(|line| !line.contains(" !state end "));
    state.for_each(|line| assert!(!line.contains("gone"), "{line}"));
    let mut node = start(&path);
    let status = node.ask(QUESTIONS[0]);
    assert_eq!(status, answers_without_journal()[QUESTIONS.len() - 1]);
    node.kill();
}

/// The state is large, so that a compaction takes a while.
#[test]
fn kill_of_the_node_during_a_compaction_loses_nothing() {
    const JOBS: usize = 5;
    let mut random = Random::new(1);
    let folder = Folder::new("killed");
    let (path, full) = (folder.file("journal"), folder.file("full"));
    let mut node = start(&full);
    node.ask_all(&TRACES);
    for job in 0..JOBS {
        node.ask(&submit(&format!("kept-{job}"), LIMIT / 13));
    }
    fill(&mut node, &full);
    node.kill();
    let expected = answers_without_journal();
    for round in 0..12 {
        fs::copy(&full, &path).expect("there is room");
        let mut node = start(&path);
        start_compaction(&mut node);
        if round % 3 == 0 {
            thread::sleep(Duration::from_micros(random.below(500_000)));
        } else {
            let compaction = || starts_with_state(&path);
            let started = Instant::now();
            let time = Duration::from_micros(random.below(3_000_000));
            go_on_until(&mut node, || compaction() || started.elapsed() > time);
        }
        node.kill();
        let mut node = start(&path);
        for job in 0..JOBS {
            let status = node.ask(&format!(
                r#"{{"type": "task_status", "task_id": "kept-{job}-m"}}"#
            ));
            assert_answer(&status, "task_status_ok");
        }
        // The requests that are only queries.
        assert_eq!(node.ask_all(&QUESTIONS[1..12]), expected[1..12]);
        node.end();
        assert_eq!(
            folder.names(),
            ["full", "journal"],
            "nothing is left behind"
        );
    }
}

#[test]
fn journal_keeps_its_path_owner_and_mode() {
    let folder = Folder::new("place");
    let (link, target) = (folder.file("link"), folder.file("target"));
    symlink("target", &link).expect("a link can be made");
    fs::write(&target, "").expect("the folder can be written to");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).expect("it is ours");
    // Only root can change the owner of a file.
    let _ = chown(&target, Some(12_345), Some(23_456));
    let look = || {
        let metadata = fs::metadata(&target).expect("it is there");
        (metadata.uid(), metadata.gid(), metadata.mode())
    };
    let before = look();
    let mut node = start(&link);
    fill(&mut node, &link);
    compact(&mut node, &link);
    assert!(link.is_symlink(), "the link is still one");
    assert!(
        starts_with_state(&target),
        "and what it names is the journal"
    );
    assert_eq!(look(), before);
    assert_in_use(&link);
    assert_in_use(&target);
    assert_eq!(folder.names(), ["link", "target"]);
    node.kill();
}

/// If there were two names, one of them would still lead to the old journal, which another node could open.
#[test]
fn journal_with_two_names_is_not_compacted() {
    let folder = Folder::new("names");
    let (path, other) = (folder.file("journal"), folder.file("other"));
    fs::write(&path, "").expect("the folder can be written to");
    fs::hard_link(&path, &other).expect("a link can be made");
    let mut node = start(&path);
    fill(&mut node, &path);
    start_compaction(&mut node);
    // It is tried repeatedly, and logged once.
    while length(&path) < 3 * LIMIT {
        start_compaction(&mut node);
    }
    assert_in_use(&path);
    assert_in_use(&other);
    let log = node.end();
    assert_eq!(
        log.matches("not compacted: it has more than one name")
            .count(),
        1,
        "{log}"
    );
}

/// Somebody may already use the names of the files beside a journal.
#[test]
fn files_of_others_are_not_overwritten_or_removed() {
    let folder = Folder::new("aside");
    let path = folder.file("journal");
    let mut idle = start(&folder.file("journal.compaction-1"));
    idle.ask(r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#);
    idle.end();
    for (number, content) in ["", "m", "mapreduce-master partial", HEADER]
        .iter()
        .enumerate()
    {
        let name = format!("journal.compaction-{}", number + 2);
        fs::write(folder.file(&name), content).expect("the folder can be written to");
    }
    fs::create_dir(folder.file("journal.compaction-6")).expect("the folder can be written to");
    symlink("target", folder.file("journal.compaction-7")).expect("a link can be made");
    let names = folder.names();
    let files: Vec<_> = names[..5]
        .iter()
        .map(|name| fs::read(folder.file(name)))
        .collect();
    let mut node = start(&path);
    fill(&mut node, &path);
    compact(&mut node, &path);
    node.kill();
    let mut node = start(&path);
    node.ask(r#"{"type": "status"}"#);
    node.kill();
    assert_eq!(
        folder.names(),
        [&["journal".to_owned()], &names[..]].concat()
    );
    for (name, before) in names.iter().zip(files) {
        let now = fs::read(folder.file(name)).expect("it is still there");
        assert_eq!(now, before.expect("it was there"), "{name}");
    }
}

/// When no name is left, the journal grows, and one line says so.
#[test]
fn compaction_without_a_free_name_is_not_done() {
    let folder = Folder::new("no-name");
    let path = folder.file("journal");
    for number in 1..=9 {
        let name = format!("journal.compaction-{number}");
        fs::write(folder.file(&name), "m").expect("the folder can be written to");
    }
    let mut node = start(&path);
    fill(&mut node, &path);
    while length(&path) < 3 * LIMIT {
        start_compaction(&mut node);
    }
    assert!(!starts_with_state(&path));
    let log = node.end();
    assert_eq!(
        log.matches("not compacted: cannot create ").count(),
        1,
        "{log}"
    );
}

/// A journal's name may be too long to append anything.
#[test]
fn journal_with_the_longest_possible_name_grows() {
    let folder = Folder::new("long-name");
    let path = folder.file(&"j".repeat(250));
    let mut node = start(&path);
    fill(&mut node, &path);
    while length(&path) < 3 * LIMIT {
        start_compaction(&mut node);
    }
    let log = node.end();
    assert_eq!(
        log.matches("not compacted: cannot create ").count(),
        1,
        "{log}"
    );
    assert_eq!(log.lines().count(), 1, "{log}");
}

/// After a compaction was killed with its node, its file is removed, unless a node uses it.
#[test]
fn leftovers_of_a_killed_compaction_are_removed() {
    let folder = Folder::new("leftover");
    let (path, aside) = (folder.file("journal"), folder.file("journal.compaction-3"));
    for leftover in [PARTIAL_HEADER.to_owned(), format!("{PARTIAL_HEADER}0123")] {
        fs::write(&aside, leftover).expect("the folder can be written to");
        let in_use = fs::File::open(&aside).expect("it was just written");
        in_use.lock().expect("nobody else has it");
        let mut node = start(&path);
        node.ask(r#"{"type": "status"}"#);
        node.kill();
        assert_eq!(folder.names(), ["journal", "journal.compaction-3"]);
        drop(in_use);
        let mut node = start(&path);
        node.ask(r#"{"type": "status"}"#);
        node.kill();
        assert_eq!(folder.names(), ["journal"]);
    }
}

/// A node that cannot open another file keeps using its journal.
#[test]
fn failed_compaction_loses_nothing_and_leaves_nothing() {
    let folder = Folder::new("failing");
    let full = folder.file("full");
    let mut node = start(&full);
    node.expect(&submit("before", 100), "job_submitted");
    fill(&mut node, &full);
    node.kill();
    let mut outcomes = Vec::new();
    for files in 5..16 {
        let path = folder.file("journal");
        fs::copy(&full, &path).expect("there is room");
        let limited = format!(
            r#"ulimit -n {files}; exec "$NODE" --quiet --journal-compact-from {LIMIT} --journal "$FILE""#
        );
        let mut node = Node::spawn(&mut shell_command(&limited, &path));
        start_compaction(&mut node);
        for _ in 0..100 {
            node.expect(&long_heartbeat(0), "heartbeat_ok");
        }
        go_on_until(&mut node, || folder.names() == ["full", "journal"]);
        node.expect(&submit("after", 100), "job_submitted");
        let is_compacted = starts_with_state(&path);
        let log = node.end();
        assert_eq!(
            log.matches("the journal is not compacted: ").count(),
            usize::from(!is_compacted),
            "{log}"
        );
        assert_eq!(log.lines().count(), usize::from(!is_compacted), "{log}");
        outcomes.push(is_compacted);
        assert_jobs(&path, &["before", "after"]);
    }
    assert!(!outcomes[0] && outcomes[10], "{outcomes:?}");
}

/// The child is killed at any moment, by a person or because memory is short.
#[cfg(target_os = "linux")]
#[test]
fn kill_of_the_child_loses_nothing_and_leaves_nothing() {
    let mut random = Random::new(2);
    let folder = Folder::new("child");
    let full = folder.file("full");
    let mut node = start(&full);
    node.expect(&submit("before", LIMIT / 3), "job_submitted");
    fill(&mut node, &full);
    node.kill();
    let mut killed = 0;
    for _ in 0..8 {
        let path = folder.file("journal");
        fs::copy(&full, &path).expect("there is room");
        let mut node = start(&path);
        start_compaction(&mut node);
        // A moment of any order of magnitude: how long the child lives depends on the machine.
        thread::sleep(Duration::from_micros(
            random.below(1_500_000) >> random.below(8),
        ));
        if node.kill_children() {
            go_on_until(&mut node, || folder.names() == ["full", "journal"]);
            node.expect(&submit("after", 100), "job_submitted");
            if starts_with_state(&path) {
                // It had finished.
                node.kill();
                continue;
            }
            // It is tried again when the journal has grown.
            let limit = length(&path) * 3 / 2;
            while length(&path) < limit {
                start_compaction(&mut node);
            }
            compact(&mut node, &path);
            let log = node.end();
            assert_eq!(
                log.matches("not compacted: its process ended with signal: 9")
                    .count(),
                1,
                "{log}"
            );
            assert_jobs(&path, &["before", "after"]);
            killed += 1;
        } else {
            node.kill();
        }
    }
    assert!(killed > 0, "no child was there to be killed");
}

/// Checks that a node that is started on the journal knows these jobs.
fn assert_jobs(path: &Path, jobs: &[&str]) {
    let mut node = start(path);
    for job in jobs {
        let status = node.ask(&format!(r#"{{"type": "job_status", "job_id": "{job}"}}"#));
        assert_answer(&status, "job_status_ok");
    }
    node.end();
}
