//! The kit over NATS, with real servers on this machine: what `tests/nats/scenarios.py` says of each.
//!
//! Needs `nats-server`, and a Python that has nats-py (`src/cluster/requirements.txt`): `python3`, or the one that the
//! environment variable `NATS_PYTHON` names. Where they are missing, the tests say so and are skipped; with `CI` set,
//! that is an error.

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

fn python() -> String {
    env::var("NATS_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Whether a command is there and succeeds.
fn works(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// Says that a test is skipped. An error where it must not be.
fn skip(scenario: &str, missing: &str) {
    assert!(
        env::var_os("CI").is_none(),
        "{scenario}: {missing} is missing"
    );
    say_skipped(scenario, &format!("{missing} is missing"));
}

/// Past the capture of a test's output: nobody reads that of a test that passes.
fn say_skipped(scenario: &str, why: &str) {
    let _ = writeln!(
        io::stderr(),
        "\nSKIPPED: nats::{scenario} was not tested: {why}\n"
    );
}

/// One scenario at a time: each starts three servers and a dozen processes, and elections take long on a busy machine.
static TURN: Mutex<()> = Mutex::new(());

fn run(scenario: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !works("nats-server", &["--version"]) {
        return skip(scenario, "nats-server");
    }
    if !works(&python(), &["-c", "import nats"]) {
        return skip(scenario, "nats-py");
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nats");
    let folder = format!("nats-{scenario}-{}", std::process::id());
    let output = Command::new(python())
        .arg(tests.join("scenarios.py"))
        .args([scenario, env!("CARGO_BIN_EXE_mapreduce-master")])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python is there");
    let log = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{log}");
    print!("{said}");
}

/// Three servers and three replicas; replicas, workers, and one, two or all servers are killed at random.
#[test]
fn kills_change_no_count_and_no_reply() {
    run("kills");
}

#[test]
fn nobody_healthy_fails_while_the_log_the_masters_or_the_monitor_are_silent() {
    run("silence");
}

#[test]
fn connection_that_hears_nothing_is_made_again() {
    run("deafness");
}

#[test]
fn replica_goes_on_from_a_snapshot_and_streams_are_trimmed() {
    run("snapshots");
}

#[test]
fn interrupted_submitter_takes_its_job_with_it() {
    run("interruption");
}

#[test]
fn hostile_messages_have_one_reply_each_and_harm_nobody() {
    run("hostile");
}

#[test]
fn with_the_configuration_to_copy_nobody_can_be_somebody_else() {
    run("security");
}

/// In network namespaces: a server, a replica and a worker are cut off, and come back.
#[test]
fn partitions_change_no_count_and_no_reply() {
    let name = format!("mr-probe-{}", std::process::id());
    if !works("ip", &["netns", "add", &name]) {
        // Only root can make them, and not everywhere: not an error in CI, either.
        say_skipped("partitions", "network namespaces cannot be made here");
        return;
    }
    works("ip", &["netns", "delete", &name]);
    run("partitions");
}
