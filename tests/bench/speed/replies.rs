//! Long replies: a task with a chunk of 1 MiB, handed out again and again.

use super::Bench;
use super::process::{Session, baseline, node};
use super::table::{Rounds, Row, Target, Unit};
use super::workload::{request_task, submit_job, worker};
use mapreduce_master::node::Node;
use std::hint::black_box;
use std::io;
use std::time::Instant;

const CHUNK_BYTES: usize = 1 << 20;
const TIMES: usize = 50;

pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let chunk = format!("\"{}\"", "x".repeat(CHUNK_BYTES - 2));
    let (mut submit, mut request) = (Vec::new(), Vec::new());
    submit_job(&mut submit, std::iter::once(chunk.clone()), 0);
    // A worker that asks again without `running` has lost the reply, and gets the same task again.
    request_task(&mut request, &worker(0));
    let requests = request.repeat(TIMES);

    let mut session = Session::start(&mut node())?;
    session.exchange(&submit, "job_submitted")?;
    let reply = session.ask(&request)?;
    let reply = bench.scratch.file("reply", &reply)?;
    let mut answer = Session::start(baseline("answer")?.arg(reply))?;
    let processes = Rounds::run(bench.many_rounds(), || {
        Ok([
            session.exchange(&requests, "task_assigned")?,
            answer.exchange(&requests, "task_assigned")?,
        ])
    })?;
    session.finish()?;
    answer.finish()?;

    let mut node = Node::new(true);
    let mut node_answers = |request: &[u8]| {
        node.feed(request);
        let mut bytes = 0;
        let mut has_more = true;
        while has_more {
            has_more = node.answer_some();
            bytes += black_box(&node.replies).len();
            node.replies.clear();
        }
        bytes
    };
    node_answers(&submit);
    let mut copy = Vec::new();
    let in_process = Rounds::run(TIMES * bench.many_rounds(), || {
        let started = Instant::now();
        assert!(
            node_answers(&request) > CHUNK_BYTES,
            "no chunk in the reply"
        );
        let (node_time, started) = (started.elapsed(), Instant::now());
        copy.clear();
        copy.extend_from_slice(black_box(chunk.as_bytes()));
        black_box(&copy);
        Ok([node_time, started.elapsed()])
    })?;

    let what = "request_task with a chunk of 1 MiB";
    Ok(vec![
        Row {
            what: what.to_owned(),
            against: "writing that reply from memory",
            target: Target::AtMost(3.0, Unit::Times),
            measured: processes.ratio((0, TIMES), (1, TIMES)),
            how: "pipes, the same task 50 times",
        },
        Row {
            what: format!("{what}, no process around it"),
            against: "copying the chunk in memory",
            target: Target::AtMost(3.0, Unit::Times),
            measured: in_process.ratio((0, 1), (1, 1)),
            how: "Node in this process, wall",
        },
    ])
}
