//! Ctrl-C, and the sudden end of any of the processes.

use super::kit::{Folder, Run};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Says where it runs, and goes on for much longer than a test waits.
const ENDLESS: &str = "
import os, sys, time
def map(lines):
    print('runs as', os.getpid(), flush=True)
    time.sleep(1000)
    yield 'a', 1
def reduce(key, values):
    yield key, 1
";

/// Starts a job; returns the process when both of its maps run, and the ids of theirs.
fn start_endless(folder: &Folder, options: &str) -> (Child, Vec<u32>, impl BufRead + use<>) {
    folder
        .write("endless.py", ENDLESS)
        .write("one", "a")
        .write("two", "b");
    let mut run = folder.start(&format!(
        "--quiet --chunk-mb 0.000001 {options} endless.py one two"
    ));
    let mut log = BufReader::new(run.stderr.take().expect("stderr is piped"));
    let mut running = Vec::new();
    while running.len() < 2 {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).expect("the log can be read"), 0);
        let id = line
            .trim_end()
            .rsplit_once("runs as ")
            .expect("only maps say anything")
            .1;
        running.push(id.parse().expect("it is a process"));
    }
    (run, running, log)
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    assert!(status.expect("kill is there").success());
}

/// A process that has ended, or waits to be reaped, does not count.
fn is_alive(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

/// All processes that have that process among their ancestors.
fn descendants(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children: Vec<u32> = children
        .unwrap_or_default()
        .split_whitespace()
        .flat_map(str::parse)
        .collect();
    let below: Vec<u32> = children.iter().copied().flat_map(descendants).collect();
    [children, below].concat()
}

fn assert_all_end(processes: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(process) = processes.iter().find(|process| is_alive(**process)) {
        assert!(Instant::now() < deadline, "process {process} goes on");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_leaves_nothing_running_and_nothing_half() {
    for (name, options) in [("INT", ""), ("TERM", "--output out")] {
        let folder = Folder::new();
        let (run, maps, log) = start_endless(&folder, options);
        let processes = descendants(run.id());
        assert!(
            maps.iter().all(|map| processes.contains(map)),
            "{maps:?} {processes:?}"
        );
        signal(run.id(), name);
        let run = Run::from(run.wait_with_output());
        assert_eq!(run.status, Some(130), "{}", run.log);
        assert!(run.results.is_empty());
        assert_all_end(&processes);
        assert_eq!(folder.names(), ["endless.py", "one", "two"]);
        let said: Vec<String> = log.lines().map_while(Result::ok).collect();
        assert_eq!(said, ["local.py: interrupted; nothing was kept"]);
    }
}

#[test]
fn killed_run_leaves_nothing_running() {
    let folder = Folder::new();
    let (mut run, maps, _log) = start_endless(&folder, "");
    let processes = descendants(run.id());
    assert!(maps.iter().all(|map| processes.contains(map)));
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    assert_all_end(&processes);
}

#[test]
fn killed_master_ends_the_run_and_leaves_nothing_running() {
    let folder = Folder::new();
    let (run, _, mut log) = start_endless(&folder, "");
    let processes = descendants(run.id());
    let name =
        |process: &u32| fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let master = processes
        .iter()
        .find(|process| name(process).starts_with("mapreduce"));
    signal(*master.expect("there is a master"), "KILL");
    let run = Run::from(run.wait_with_output());
    assert_eq!(run.status, Some(1));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut log, &mut said).expect("the log can be read");
    assert_eq!(said, "local.py: the master ended, killed by SIGKILL\n");
    assert_all_end(&processes);
    assert_eq!(folder.names(), ["endless.py", "one", "two"]);
}

/// Its task runs again: in a worker that was started in its place, or in another one.
#[test]
fn killed_workers_are_replaced() {
    let folder = Folder::new();
    let (run, maps, mut log) = start_endless(&folder, "");
    let first = descendants(run.id())
        .into_iter()
        .find(|process| descendants(*process).contains(&maps[0]));
    signal(first.expect("the map has a worker"), "KILL");
    let mut said = String::new();
    while !said.contains("runs as") {
        assert_ne!(
            log.read_line(&mut said).expect("the log can be read"),
            0,
            "{said}"
        );
    }
    assert!(
        said.contains("ended, killed by SIGKILL; it is started again"),
        "{said}"
    );
    assert_all_end(&maps[..1]);
    signal(run.id(), "INT");
    assert_eq!(Run::from(run.wait_with_output()).status, Some(130));
}
