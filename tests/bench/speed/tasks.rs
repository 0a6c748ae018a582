//! A million tasks: submitted, run, failed, reassigned.

use super::Bench;
use super::process::{Session, baseline, node};
use super::table::{Measured, Rounds, Row, Target, Unit, thousands};
use super::workload::{
    chunk, complete_task, fail_task, job_status, reassign, remove_job, request_task, scattered,
    submit_job, task, worker,
};
use std::io;
use std::time::Duration;

const FEW: usize = 1_000;
const OUTPUT: &str = "{\"words\": 1234}";

/// From the submission of a job to its end.
pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let many = bench.scaled(1_000_000);
    // As many jobs of few tasks as take some time.
    let jobs = many.div_ceil(5 * FEW);
    let cycles = cycles(many);
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

/// A thousand workers at a time request a task each and then complete it.
fn cycles(tasks: usize) -> Vec<u8> {
    let mut input = Vec::new();
    for first in (0..tasks).step_by(FEW) {
        for number in 0..FEW {
            request_task(&mut input, &worker(number));
        }
        for number in 0..FEW {
            complete_task(&mut input, &worker(number), &task(first + number), OUTPUT);
        }
    }
    input
}

fn run_small_jobs(jobs: usize) -> io::Result<Duration> {
    let mut session = Session::start(&mut node())?;
    let cycles = cycles(FEW);
    let mut remove = Vec::new();
    remove_job(&mut remove);
    let mut time = Duration::ZERO;
    for _ in 0..jobs {
        submit(&mut session, FEW)?;
        time += session.exchange(&cycles, "\"accepted\": true")?;
        expect_completed(&mut session, FEW)?;
        session.exchange(&remove, "job_removed")?;
    }
    session.finish()?;
    Ok(time)
}

/// Every single cycle has to have done its work.
fn expect_completed(session: &mut Session, tasks: usize) -> io::Result<()> {
    let mut status = Vec::new();
    job_status(&mut status);
    session.exchange(&status, &format!("\"completed\": {tasks}, "))?;
    Ok(())
}

/// What may go wrong with one task, while there are few or a million others, each on a worker of its own.
pub fn flatness(bench: &Bench) -> io::Result<Vec<Row>> {
    let many = bench.scaled(1_000_000);
    let jobs = many.div_ceil(5 * FEW);
    let rounds = Rounds::run(bench.few_rounds(), || {
        let [fail, requeued, reassign] = go_wrong(1, many)?;
        let [few_fail, few_requeued, few_reassign] = go_wrong(jobs, FEW)?;
        Ok([
            fail,
            few_fail,
            requeued,
            few_requeued,
            reassign,
            few_reassign,
        ])
    })?;
    let rows = [
        "fail_task",
        "request_task, queued again in another order",
        "reassign of one task",
    ];
    let rows = rows.iter().enumerate().map(|(place, what)| Row {
        what: format!("{what}, {} tasks and workers", thousands(many)),
        against: "with 1,000 of each",
        target: Target::AtMost(2.5, Unit::Times),
        measured: rounds.ratio((2 * place, many), (2 * place + 1, jobs * FEW)),
        how: "pipes, tasks in scattered order",
    });
    Ok(rows.collect())
}

/// In each of several jobs, one after the other, each task fails on its worker, is requested again in the
/// order of the failures, and is reassigned to the next worker. Returns the time of each of the three.
fn go_wrong(jobs: usize, tasks: usize) -> io::Result<[Duration; 3]> {
    let mut inputs = [const { Vec::new() }; 5];
    let [request, fail, request_again, move_on, remove] = &mut inputs;
    for number in 0..tasks {
        request_task(request, &worker(number));
    }
    for step in 0..tasks {
        let number = scattered(step, tasks);
        let (from, to) = (worker(number), worker((number + 1) % tasks));
        fail_task(fail, &from, &task(number));
        request_task(request_again, &from);
        reassign(move_on, &from, &to, number);
    }
    remove_job(remove);
    let last = task(scattered(tasks - 1, tasks));
    let mut session = Session::start(&mut node())?;
    let mut times = [Duration::ZERO; 3];
    for _ in 0..jobs {
        submit(&mut session, tasks)?;
        session.exchange(&inputs[0], "task_assigned")?;
        times[0] += session.exchange(&inputs[1], "\"retry\": true")?;
        times[1] += session.exchange(&inputs[2], &format!("\"id\": \"{last}\""))?;
        times[2] += session.exchange(&inputs[3], &format!("\"reassigned_tasks\": [\"{last}\"]"))?;
        session.exchange(&inputs[4], "job_removed")?;
    }
    session.finish()?;
    Ok(times)
}
