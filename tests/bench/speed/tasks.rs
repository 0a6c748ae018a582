//! A million tasks that are submitted, run, fail, and are reassigned.

use super::Bench;
use super::process::{Session, baseline, node};
use super::table::{Measured, Rounds, Row, Target, Unit, thousands};
use super::workload::{
    chunk, complete_task, fail_task, job_status, reassign, remove_job, request_task,
    request_task_after, scattered, submit_job, task, worker,
};
use std::io;
use std::time::Duration;

const FEW: usize = 1_000;
const OUTPUT: &str = "{\"words\": 1234}";

/// A job from its submission to its end.
pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let many = bench.scaled(1_000_000);
    // Enough jobs of few tasks to take a measurable time.
    let jobs = many.div_ceil(5 * FEW);
    let cycles = cycles(many, 1);
    let mut memory = Measured::Missing("no /proc/PID/status");
    let rounds = Rounds::run(bench.few_rounds(), || {
        let mut session = Session::start(&mut node())?;
        let before = session.peak_memory().unwrap_or(0);
        let submit = submit(&mut session, many)?;
        memory = Measured::memory(session.peak_memory(), before + many * chunk(0).len(), many);
        let run = session.exchange(&cycles, "\"accepted\": true")?;
        expect_completed(&mut session, many)?;
        session.finish()?;

        let mut ceiling = Session::start(&mut baseline("task-ceiling")?)?;
        let ceiling_run = ceiling.exchange(&cycles, "heartbeat_ok")?;
        ceiling.finish()?;

        Ok([submit, run, ceiling_run, run_small_jobs(jobs)?])
    })?;
    let many_text = thousands(many);
    Ok(vec![
        Row {
            what: format!("submit_job of {many_text} map tasks"),
            against: "",
            target: Target::AtMost(5.0, Unit::Seconds),
            measured: rounds.seconds(0),
            how: "pipes, one message",
        },
        Row {
            what: "its memory per task, its chunk apart".to_owned(),
            against: "",
            target: Target::AtMost(400.0, Unit::Bytes),
            measured: memory,
            how: "growth of the peak (VmHWM)",
        },
        Row {
            what: format!("request_task and complete_task on {many_text} tasks, per message"),
            against: "ceiling",
            target: Target::AtMost(2.0, Unit::Times),
            measured: rounds.ratio((1, 2 * many), (2, 2 * many)),
            how: "pipes, 1,000 workers",
        },
        Row {
            what: format!("the same on {many_text} tasks, per cycle"),
            against: "on 1,000 tasks",
            target: Target::AtMost(1.5, Unit::Times),
            measured: rounds.ratio((1, many), (3, jobs * FEW)),
            how: "pipes, jobs of 1,000 one after the other",
        },
    ])
}

fn submit(session: &mut Session, tasks: usize) -> io::Result<Duration> {
    let mut input = Vec::new();
    submit_job(&mut input, (0..tasks).map(chunk), 0);
    session.exchange(&input, "job_submitted")
}

/// A thousand workers at a time request one task each, and then complete that attempt of it.
fn cycles(tasks: usize, attempt: usize) -> Vec<u8> {
    let mut input = Vec::new();
    for first in (0..tasks).step_by(FEW) {
        for number in 0..FEW {
            request_task(&mut input, &worker(number));
        }
        for number in 0..FEW {
            complete_task(
                &mut input,
                &worker(number),
                &task(first + number),
                attempt,
                OUTPUT,
            );
        }
    }
    input
}

fn run_small_jobs(jobs: usize) -> io::Result<Duration> {
    let mut session = Session::start(&mut node())?;
    let mut remove = Vec::new();
    remove_job(&mut remove);
    let mut time = Duration::ZERO;
    for job in 0..jobs {
        submit(&mut session, FEW)?;
        // An attempt number is above those of all tasks that were removed.
        let cycles = cycles(FEW, job + 1);
        time += session.exchange(&cycles, "\"accepted\": true")?;
        expect_completed(&mut session, FEW)?;
        session.exchange(&remove, "job_removed")?;
    }
    session.finish()?;
    Ok(time)
}

/// Checks that every cycle did its work.
fn expect_completed(session: &mut Session, tasks: usize) -> io::Result<()> {
    let mut status = Vec::new();
    job_status(&mut status);
    session.exchange(&status, &format!("\"completed\": {tasks}, "))?;
    Ok(())
}

/// Failures of one task while there are few or a million others, each on a worker of its own.
pub fn flatness(bench: &Bench) -> io::Result<Vec<Row>> {
    let many = bench.scaled(1_000_000);
    let steps = many / 5;
    let jobs = 2 * steps / FEW;
    let rounds = Rounds::run(bench.few_rounds(), || {
        Ok([go_wrong(1, many, steps)?, go_wrong(jobs, FEW, FEW / 2)?].concat())
    })?;
    let rows = [
        "fail_task",
        "request_task of what was queued again",
        "reassign of one task",
        "fail_task, out of order",
        "request_task of what was queued again, out of order",
        "reassign of one task, out of order",
    ];
    let rows = rows.iter().enumerate().map(|(place, what)| Row {
        what: format!("{what}, {} tasks and workers", thousands(many)),
        against: "with 1,000 of each",
        target: Target::AtMost(2.5, Unit::Times),
        measured: rounds.ratio((place, steps), (rows.len() + place, steps)),
        how: "pipes, one of five tasks",
    });
    Ok(rows.collect())
}

/// In each of several jobs, one after the other, tasks fail on their workers, are requested again in the order of the
/// failures, and are reassigned to a neighbor: first some in task order, then the same number from the second half in
/// scattered order. Returns the times of the three phases for each order.
fn go_wrong(jobs: usize, tasks: usize, steps: usize) -> io::Result<[Duration; 6]> {
    let half = tasks / 2;
    let mut remove = Vec::new();
    remove_job(&mut remove);
    let mut session = Session::start(&mut node())?;
    let mut times = [Duration::ZERO; 6];
    for job in 0..jobs {
        // A task has up to three attempts, and an attempt number is above those of all tasks that were removed.
        let attempt = 3 * job + 1;
        // A worker avoids a task that it failed at until its clock has moved.
        let ms = 2 * job;
        let mut request = Vec::new();
        for number in 0..tasks {
            request_task_after(&mut request, &worker(number), ms);
        }
        let phases = [
            go_wrong_with(0..steps, attempt, ms + 1),
            go_wrong_with(
                (0..steps).map(|step| half + scattered(step, half)),
                attempt,
                ms + 1,
            ),
        ];
        submit(&mut session, tasks)?;
        session.exchange(&request, "task_assigned")?;
        for (time, (input, expected)) in times.iter_mut().zip(phases.iter().flatten()) {
            *time += session.exchange(input, expected)?;
        }
        session.exchange(&remove, "job_removed")?;
    }
    session.finish()?;
    Ok(times)
}

/// The messages of the three phases for these tasks: the failures of that attempt, the requests some ms after the start,
/// and the reassignments; and what the last reply to each phase has to contain.
fn go_wrong_with(
    numbers: impl Iterator<Item = usize>,
    attempt: usize,
    ms: usize,
) -> [(Vec<u8>, String); 3] {
    let [mut fail, mut request, mut move_on] = [const { Vec::new() }; 3];
    let mut last = String::new();
    for number in numbers {
        let (from, to) = (worker(number), worker(number ^ 1));
        last = task(number);
        fail_task(&mut fail, &from, &last, attempt);
        request_task_after(&mut request, &from, ms);
        reassign(&mut move_on, &from, &to, number);
    }
    [
        (fail, format!("\"task_id\": \"{last}\", \"retry\": true")),
        (request, format!("\"id\": \"{last}\"")),
        (move_on, format!("\"reassigned_tasks\": [\"{last}\"]")),
    ]
}
