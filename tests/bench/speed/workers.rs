//! 100,000 workers, ten times the largest Hadoop cluster: their heartbeats, their checks, their memory.

use super::Bench;
use super::process::{Session, baseline, node};
use super::table::{Measured, Rounds, Row, Target, Unit, thousands};
use super::workload::{Order, check_failures, heartbeats, heartbeats_of, scattered};
use std::io;
use std::time::Duration;

const FEW: usize = 1_000;
const TIMES: usize = 5;

/// Longer than any worker was silent.
const LONG_MS: usize = 1_000_000_000;

/// Five heartbeats of each worker, and the memory per worker.
pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let many = bench.scaled(100_000);
    let mut peak = None;
    let rounds = Rounds::run(bench.few_rounds(), || {
        let mut times = [Duration::ZERO; 3];
        for (time, (workers, is_same_order)) in
            times
                .iter_mut()
                .zip([(FEW, false), (many, true), (many, false)])
        {
            let mut session = Session::start(&mut node())?;
            for turn in 0..TIMES {
                let first = if is_same_order { 0 } else { turn * many };
                let input = heartbeats_of(first..first + many, Order::Normal, |number| {
                    scattered(number, workers)
                });
                *time += session.exchange(&input, "heartbeat_ok")?;
            }
            peak = session.peak_memory();
            session.finish()?;
        }
        Ok(times)
    })?;
    let count = TIMES * many;
    let of_each = |order, place| Row {
        what: format!(
            "{} workers, five heartbeats of each, in {order}",
            thousands(many)
        ),
        against: "as many of 1,000 workers",
        target: Target::AtMost(2.5, Unit::Times),
        measured: rounds.ratio((place, count), (0, count)),
        how: "pipes, from the start",
    };
    Ok(vec![
        of_each("the same order each time", 1),
        of_each("another order each time", 2),
        Row {
            what: format!(
                "memory per worker, {} of them, ids of 8 bytes",
                thousands(many)
            ),
            against: "",
            target: Target::AtMost(256.0, Unit::Bytes),
            measured: Measured::memory(peak, 0, many),
            how: "peak of the process (VmHWM), all of it",
        },
    ])
}

/// Failure checks of 100,000 workers.
pub fn checks(bench: &Bench) -> io::Result<Vec<Row>> {
    const CHECKS: usize = 100;
    let count = bench.scaled(100_000);
    let all = heartbeats(count, count, Order::Normal);
    let some = heartbeats(count / 5, count, Order::Normal);
    let mut check = Vec::new();
    check_failures(&mut check, count, LONG_MS);
    let mut session = Session::start(&mut node())?;
    session.exchange(&all, "heartbeat_ok")?;
    let rounds = Rounds::run(bench.rounds(), || {
        Ok([
            session.exchange(&check.repeat(CHECKS), "\"failed_workers\": []")?,
            session.exchange(&some, "heartbeat_ok")?,
            {
                session.exchange(&check, "\"failed_workers\": []")?;
                session.exchange(&some, "heartbeat_ok")?
            },
        ])
    })?;
    let mut rows = vec![
        Row {
            what: format!("check_failures, {} workers, none failed", thousands(count)),
            against: "",
            target: Target::AtMost(10.0, Unit::Nanoseconds),
            measured: rounds.nanoseconds(0, CHECKS * count),
            how: "pipes, 100 checks, per worker",
        },
        Row {
            what: "heartbeats of them right after such a check".to_owned(),
            against: "without a check",
            target: Target::AtMost(1.1, Unit::Times),
            measured: rounds.ratio((2, count / 5), (1, count / 5)),
            how: "pipes",
        },
    ];

    let mut check = Vec::new();
    check_failures(&mut check, count, 0);
    let reply = session.ask(&check)?;
    let reply = bench.scratch.file("failures", &reply)?;
    let mut answer = Session::start(baseline("answer")?.arg(&reply))?;
    let mut serialize = Session::start(baseline("serialize")?.arg(&reply))?;
    let rounds = Rounds::run(bench.rounds(), || {
        // Heartbeats make the workers healthy, so that all of them can fail again.
        session.exchange(&all, "heartbeat_ok")?;
        Ok([
            session.exchange(&check, "\"failed_workers\": [\"w")?,
            serialize.exchange(b"\n", "\"failed_workers\":[\"w")?,
            answer.exchange(b"\n", "\"failed_workers\": [\"w")?,
        ])
    })?;
    session.finish()?;
    serialize.finish()?;
    answer.finish()?;
    for (place, against) in [
        (1, "serializing that reply from a list of ids"),
        (2, "writing the bytes of that reply from memory"),
    ] {
        rows.push(Row {
            what: format!("check_failures, all of {} workers fail", thousands(count)),
            against,
            target: Target::AtMost(2.0, Unit::Times),
            measured: rounds.ratio((0, 1), (place, 1)),
            how: "pipes",
        });
    }
    Ok(rows)
}
