//! The hot path: heartbeats of known workers, file to file.

use super::Bench;
use super::process::{baseline, file_to_file, newlines, node};
use super::table::{Rounds, Row, Target, Unit, thousands};
use super::workload::{INIT, Order, heartbeats, heartbeats_of, scattered};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

const WORKERS: usize = 1_000;
const HOW: &str = "file to file, whole process";

fn in_another_order(number: usize) -> usize {
    scattered(number, WORKERS)
}

fn in_same_order(number: usize) -> usize {
    scattered(number % WORKERS, WORKERS)
}

/// Compared with the ceiling and with a straightforward node, before and after `init`.
pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let count = bench.scaled(1_000_000);
    let mut rows = Vec::new();
    for (when, init) in [("before", &b""[..]), ("after", INIT)] {
        let file = |name, from: fn(usize) -> usize| {
            let heartbeats = heartbeats_of(0..count, Order::Normal, from);
            bench.scratch.file(name, &[init, &heartbeats].concat())
        };
        let input = file("another-order", in_another_order)?;
        let same_order = file("same-order", in_same_order)?;
        let output = bench.scratch.path("replies");
        let run = |mut program, input| file_to_file(&mut program, input, &output);
        let rounds = Rounds::run(bench.rounds(), || {
            let time = run(node(), &input)?;
            expect_replies(&output, count + usize::from(!init.is_empty()))?;
            Ok([
                time,
                run(baseline("ceiling")?, &input)?,
                run(baseline("straightforward")?, &input)?,
                run(node(), &same_order)?,
            ])
        })?;
        let what = format!(
            "{} heartbeats of {} workers, envelopes {when} `init`",
            thousands(count),
            thousands(WORKERS)
        );
        rows.push(Row {
            what: what.clone(),
            against: "ceiling",
            target: Target::AtMost(1.25, Unit::Times),
            measured: rounds.ratio((0, count), (1, count)),
            how: HOW,
        });
        rows.push(Row {
            what: format!("{what}, in the same order each time"),
            against: "ceiling",
            target: Target::AtMost(1.25, Unit::Times),
            measured: rounds.ratio((3, count), (1, count)),
            how: HOW,
        });
        rows.push(Row {
            what: format!("{what}: times as fast"),
            against: "straightforward node",
            target: Target::AtLeast(4.0, Unit::Times),
            measured: rounds.ratio((2, count), (0, count)),
            how: HOW,
        });
    }
    Ok(rows)
}

/// Other orders of fields, compared with the node's own time for the normal order.
pub fn orders(bench: &Bench) -> io::Result<Vec<Row>> {
    let count = bench.scaled(1_000_000);
    let orders = [
        Order::Normal,
        Order::TypeLast,
        Order::SrcAfterBody,
        Order::UnknownBetween,
        Order::All,
    ];
    let mut inputs = Vec::new();
    for order in orders {
        let input = [INIT, &heartbeats(count, WORKERS, order)].concat();
        inputs.push(bench.scratch.file(&format!("{order:?}"), &input)?);
    }
    let output = bench.scratch.path("replies");
    let rounds = Rounds::run(bench.rounds(), || {
        let mut times = [Duration::ZERO; 5];
        for (time, input) in times.iter_mut().zip(&inputs) {
            *time = file_to_file(&mut node(), input, &output)?;
            expect_replies(&output, count + 1)?;
        }
        Ok(times)
    })?;
    let rows = orders.iter().enumerate().skip(1).map(|(place, order)| Row {
        what: format!("heartbeats with {}", order.name()),
        against: "its own time in normal order",
        target: Target::AtMost(1.6, Unit::Times),
        measured: rounds.ratio((place, count), (0, count)),
        how: HOW,
    });
    Ok(rows.collect())
}

/// Checks the replies, since a node that answers with errors would be fast, too.
fn expect_replies(output: &Path, count: usize) -> io::Result<()> {
    let replies = fs::read(output)?;
    assert_eq!(newlines(&replies), count, "replies");
    let last = replies.rsplit(|byte| *byte == b'\n').nth(1);
    let last = String::from_utf8_lossy(last.unwrap_or_default());
    assert!(last.contains("\"heartbeat_ok\""), "no heartbeat_ok: {last}");
    Ok(())
}
