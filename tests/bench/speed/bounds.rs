//! Requests whose cost must not depend on what they do not ask about. Each is measured with a lot of it, and with little.

use super::Bench;
use super::process::{Session, node};
use super::table::{Rounds, Row, Target, Unit, thousands};
use super::workload::other;
use std::fmt::Write as _;
use std::io;

const FEW: usize = 100;

/// How many times the request is repeated.
const TIMES: usize = 200;

/// The messages that set up the state before the requests, for a given count.
type SetUp = fn(usize) -> Vec<u8>;

struct Case {
    what: &'static str,
    many: usize,
    set_up: SetUp,
    /// The requests that are measured, and what the last reply has to contain.
    requests: fn() -> Vec<u8>,
    expected: &'static str,
}

const CASES: [Case; 8] = [
    Case {
        what: "request_task by a worker that failed at this many queued tasks",
        many: 100_000,
        set_up: failed_at,
        requests: || request("w", 2),
        expected: "task_assigned",
    },
    Case {
        what: "request_task by a worker excluded from a job of this many tasks",
        many: 1_000_000,
        set_up: |tasks| excluded_from(1, tasks),
        requests: || request("w", 2),
        expected: "no_task",
    },
    Case {
        what: "request_task by a worker excluded from this many jobs",
        many: 1_000,
        set_up: |jobs| excluded_from(jobs, 4),
        requests: || request("w", 2),
        expected: "no_task",
    },
    Case {
        what: "request_task by a worker with this many live reduces behind a closed barrier",
        many: 1_000_000,
        set_up: behind_the_barrier,
        requests: || request("w", 200),
        expected: "task_assigned",
    },
    Case {
        what: "heartbeat and check_failures of a flapping worker that lost this many queued tasks",
        many: 1_000_000,
        set_up: lost,
        requests: || {
            let mut input = Vec::new();
            for now in 1..=TIMES / 2 {
                heartbeat(&mut input, "w", 1_000 * now);
                check(&mut input, 1_000 * now + 100);
            }
            input
        },
        expected: "\"failed_workers\": [\"w\"]",
    },
    Case {
        what: "reassign without tasks from a worker with this many map outputs",
        many: 1_000_000,
        set_up: outputs,
        requests: || {
            let mut input = Vec::new();
            for _ in 0..TIMES {
                let fields = "\"failed_worker\": \"w\", \"healthy_worker\": \"v\"";
                other(&mut input, "reassign", fields);
            }
            input
        },
        expected: "\"reassigned_tasks\": []",
    },
    Case {
        what: "check_stragglers with one of this many tasks running",
        many: 1_000_000,
        set_up: nearly_done,
        requests: check_stragglers,
        expected: "stragglers_detected",
    },
    Case {
        what: "check_stragglers with this many jobs at rest",
        many: 250_000,
        set_up: |jobs| {
            let mut input = Vec::new();
            for number in 0..jobs {
                let task = format!("{{\"id\": \"t{number}\", \"chunk\": 0}}");
                submit(&mut input, number, &task, "");
            }
            input
        },
        requests: check_stragglers,
        expected: "stragglers_detected",
    },
];

/// Each request, with a lot of state that does not concern it and with little.
pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in &CASES {
        let many = bench.scaled(case.many);
        let requests = (case.requests)();
        let count = requests.split(|byte| *byte == b'\n').count() - 1;
        let rounds = Rounds::run(bench.few_rounds(), || {
            let mut times = Vec::new();
            for there in [many, FEW] {
                let mut session = Session::start(node().arg("--quiet"))?;
                session.exchange(&(case.set_up)(there), "\"type\"")?;
                // The first request after a long message also frees the memory that held it.
                let mut first = Vec::new();
                other(&mut first, "job_status", "\"job_id\": \"none\"");
                session.exchange(&first, "no job")?;
                times.push(session.exchange(&requests, case.expected)?);
                session.finish()?;
            }
            Ok(times)
        })?;
        rows.push(Row {
            what: format!("{}: {}", case.what, thousands(many)),
            against: "with 100",
            target: Target::AtMost(2.5, Unit::Times),
            measured: rounds.ratio((0, count), (1, count)),
            how: "pipes, repeated",
        });
    }
    rows.push(reduces(bench)?);
    Ok(rows)
}

/// One short message that submits a job of a million reduces.
fn reduces(bench: &Bench) -> io::Result<Row> {
    let count = bench.scaled(1_000_000);
    let mut input = Vec::new();
    let fields = format!("\"job_id\": \"j\", \"tasks\": [], \"reduce_tasks\": {count}");
    other(&mut input, "submit_job", fields);
    let rounds = Rounds::run(bench.rounds(), || {
        let mut session = Session::start(&mut node())?;
        let time = session.exchange(&input, "job_submitted")?;
        session.finish()?;
        Ok([time])
    })?;
    Ok(Row {
        what: format!("submit_job with reduce_tasks: {}", thousands(count)),
        against: "",
        target: Target::AtMost(0.3, Unit::Seconds),
        measured: rounds.seconds(0),
        how: "pipes, one message",
    })
}

fn request(worker: &str, timestamp: usize) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..TIMES {
        request_task(&mut input, worker, timestamp);
    }
    input
}

fn request_task(input: &mut Vec<u8>, worker: &str, timestamp: usize) {
    let fields = format!("\"worker_id\": \"{worker}\", \"timestamp\": {timestamp}");
    other(input, "request_task", fields);
}

fn heartbeat(input: &mut Vec<u8>, worker: &str, timestamp: usize) {
    let fields = format!("\"worker_id\": \"{worker}\", \"timestamp\": {timestamp}");
    other(input, "heartbeat", fields);
}

fn check(input: &mut Vec<u8>, now: usize) {
    other(
        input,
        "check_failures",
        format!("\"timeout_ms\": 10, \"now\": {now}"),
    );
}

fn check_stragglers() -> Vec<u8> {
    let mut input = Vec::new();
    for now in 0..TIMES {
        other(
            &mut input,
            "check_stragglers",
            format!("\"now\": {}", 1_000 + now),
        );
    }
    input
}

fn submit(input: &mut Vec<u8>, job: usize, tasks: &str, options: &str) {
    let fields = format!("\"job_id\": \"j{job}\", \"tasks\": [{tasks}]{options}");
    other(input, "submit_job", fields);
}

fn tasks(name: &str, count: usize) -> String {
    let mut list = String::new();
    for number in 0..count {
        let separator = if number > 0 { ", " } else { "" };
        let _ = write!(
            list,
            "{separator}{{\"id\": \"{name}{number}\", \"chunk\": 0}}"
        );
    }
    list
}

fn report(input: &mut Vec<u8>, kind: &str, task: &str, rest: &str) {
    let fields = format!(
        "\"worker_id\": \"w\", \"task_id\": \"{task}\", \"attempt\": 1, \"timestamp\": 1, {rest}"
    );
    other(input, kind, fields);
}

fn failed_at(count: usize) -> Vec<u8> {
    let mut input = Vec::new();
    submit(
        &mut input,
        0,
        &tasks("t", count),
        ", \"max_worker_failures\": 1000000000",
    );
    for number in 0..count {
        request_task(&mut input, "w", 1);
        report(
            &mut input,
            "fail_task",
            &format!("t{number}"),
            "\"error\": \"\"",
        );
    }
    heartbeat(&mut input, "v", 1);
    input
}

fn excluded_from(jobs: usize, count: usize) -> Vec<u8> {
    let mut input = Vec::new();
    submit(&mut input, jobs, &tasks("others", 2), "");
    request_task(&mut input, "u", 1);
    request_task(&mut input, "v", 1);
    for job in 0..jobs {
        let name = format!("t{job}-");
        submit(
            &mut input,
            job,
            &tasks(&name, count),
            ", \"max_worker_failures\": 1",
        );
        request_task(&mut input, "w", 1);
        report(
            &mut input,
            "fail_task",
            &format!("{name}0"),
            "\"error\": \"\"",
        );
    }
    input
}

fn behind_the_barrier(count: usize) -> Vec<u8> {
    let mut input = Vec::new();
    let options = format!(", \"reduce_tasks\": {count}");
    submit(&mut input, 0, &tasks("m", 1), &options);
    request_task(&mut input, "maps", 1);
    let output = format!("[{}]", vec!["0"; count].join(", "));
    let fields = format!(
        "\"worker_id\": \"maps\", \"task_id\": \"m0\", \"attempt\": 1, \"timestamp\": 1, \"output\": {output}"
    );
    other(&mut input, "complete_task", fields);
    let reduces = format!(
        "\"failed_worker\": \"x\", \"healthy_worker\": \"w\", \"tasks\": [{}]",
        tasks("j0-reduce-", count)
    );
    other(&mut input, "reassign", reduces);
    check(&mut input, 100);
    input
}

fn lost(count: usize) -> Vec<u8> {
    let mut input = Vec::new();
    let fields = format!(
        "\"failed_worker\": \"x\", \"healthy_worker\": \"w\", \"tasks\": [{}]",
        tasks("t", count)
    );
    other(&mut input, "reassign", fields);
    heartbeat(&mut input, "w", 1);
    check(&mut input, 100);
    input
}

fn outputs(count: usize) -> Vec<u8> {
    let mut input = Vec::new();
    submit(&mut input, 0, &tasks("t", count), ", \"reduce_tasks\": 1");
    for number in 0..count {
        request_task(&mut input, "w", 1);
        report(
            &mut input,
            "complete_task",
            &format!("t{number}"),
            "\"output\": [0]",
        );
    }
    input
}

fn nearly_done(count: usize) -> Vec<u8> {
    let mut input = Vec::new();
    submit(&mut input, 0, &tasks("t", count), "");
    for number in 0..count - 1 {
        request_task(&mut input, "w", 1);
        report(
            &mut input,
            "complete_task",
            &format!("t{number}"),
            "\"output\": 0",
        );
    }
    request_task(&mut input, "w", 1);
    input
}
