//! The reduce phase: every reduce is handed one number from every map.

use super::Bench;
use super::process::{Session, node};
use super::table::{Rounds, Row, Target, Unit};
use super::workload::{chunk, complete_task, request_task, submit_job, task, worker};
use std::io;
use std::time::Duration;

const MANY: usize = 1_000;
const FEW: usize = 100;

/// Many reduces compared with fewer, and many maps compared with fewer.
pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let rounds = Rounds::run(bench.many_rounds(), || {
        Ok([reduce(MANY, MANY)?, reduce(MANY, FEW)?, reduce(FEW, MANY)?])
    })?;
    let how = "pipes; request_task and complete_task of all reduces";
    Ok(vec![
        Row {
            what: "1,000 maps × 1,000 reduces, per reduce".to_owned(),
            against: "1,000 maps × 100 reduces",
            target: Target::AtMost(1.5, Unit::Times),
            measured: rounds.ratio((0, MANY), (1, FEW)),
            how,
        },
        Row {
            what: "1,000 maps × 1,000 reduces, per reduce and map".to_owned(),
            against: "100 maps × 1,000 reduces",
            target: Target::AtMost(1.5, Unit::Times),
            measured: rounds.ratio((0, MANY * MANY), (2, FEW * MANY)),
            how,
        },
    ])
}

/// Runs a job, and returns the time of its reduce phase.
fn reduce(maps: usize, reduces: usize) -> io::Result<Duration> {
    let mut map_phase = Vec::new();
    submit_job(&mut map_phase, (0..maps).map(chunk), reduces);
    let partitions: Vec<String> = (0..reduces).map(|number| number.to_string()).collect();
    let output = format!("[{}]", partitions.join(", "));
    for number in 0..maps {
        request_task(&mut map_phase, &worker(number));
        complete_task(&mut map_phase, &worker(number), &task(number), 1, &output);
    }
    let mut reduce_phase = Vec::new();
    for number in 0..reduces {
        let worker = worker(number);
        request_task(&mut reduce_phase, &worker);
        complete_task(
            &mut reduce_phase,
            &worker,
            &format!("job-reduce-{number}"),
            1,
            "1",
        );
    }
    let mut session = Session::start(&mut node())?;
    session.exchange(&map_phase, "\"accepted\": true")?;
    let time = session.exchange(&reduce_phase, "\"accepted\": true")?;
    session.finish()?;
    Ok(time)
}
