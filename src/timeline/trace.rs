//! Writes a story in the Trace Event Format, for Perfetto and `chrome://tracing`.

use super::page::{end_name, job_end_name, truncate};
use super::story::{FailureKind, Story};
use crate::master::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

const WORKERS: u8 = 1;
const JOBS: u8 = 2;

/// The largest time that every reader of JSON takes for what it is, in µs.
const MAX_US: i64 = 1 << 53;

const MAX_CHARS: usize = 2000;

/// Writes the trace. Times in it start at the story's first; `otherData` says when that was. Errors: `output` fails.
pub fn write_trace(story: &Story, mut output: impl Write) -> io::Result<()> {
    let (from, to) = story.span();
    let us = |at: i64| {
        (i64::try_from(1000 * (i128::from(at) - i128::from(from))).unwrap_or(MAX_US)).min(MAX_US)
    };
    let other = json!({"first_time_ms": from.to_string(), "notes": story.notes});
    writeln!(
        output,
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{other},\"traceEvents\":["
    )?;
    let name = |pid: u8, what: &str, tid: usize, name: &str| json!({"ph": "M", "pid": pid, "tid": tid, "name": what, "args": {"name": truncate(name, MAX_CHARS)}});
    write!(output, "{}", name(WORKERS, "process_name", 0, "workers"))?;
    let mut event = |event: Value| write!(output, ",\n{event}");
    event(name(JOBS, "process_name", 0, "jobs"))?;

    // A thread for each lane of each worker, in which nothing overlaps.
    let mut lanes = vec![1; story.workers.len()];
    for attempt in &story.attempts {
        lanes[attempt.worker] = lanes[attempt.worker].max(attempt.lane + 1);
    }
    let mut first_lane = Vec::new();
    let mut next = 1;
    for (worker, lanes) in story.workers.iter().zip(&lanes) {
        first_lane.push(next);
        for tid in next..next + lanes {
            event(name(WORKERS, "thread_name", tid, &worker.id))?;
            event(
                json!({"ph": "M", "pid": WORKERS, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}),
            )?;
        }
        next += lanes;
        for failure in &worker.failures {
            let what = match failure.kind {
                FailureKind::Check { silent_ms, .. } => {
                    format!("failed: silent for {silent_ms} ms")
                }
                FailureKind::Restart => "restarted".to_owned(),
                FailureKind::Removal => "removed".to_owned(),
                FailureKind::Reassignment => "reassigned from".to_owned(),
            };
            event(
                json!({"ph": "i", "s": "t", "pid": WORKERS, "tid": first_lane[first_lane.len() - 1], "ts": us(failure.at), "name": what}),
            )?;
            if let Some(back) = failure.back {
                event(
                    json!({"ph": "i", "s": "t", "pid": WORKERS, "tid": first_lane[first_lane.len() - 1], "ts": us(back), "name": "back"}),
                )?;
            }
        }
    }
    for attempt in &story.attempts {
        let (task, start) = (&story.tasks[attempt.task], attempt.start());
        let end = attempt.ended.map_or(to, |(at, _)| at).max(start);
        event(json!({
            "ph": "X",
            "pid": WORKERS,
            "tid": first_lane[attempt.worker] + attempt.lane,
            "ts": us(start),
            "dur": us(end) - us(start),
            "name": truncate(&task.id, MAX_CHARS),
            "cat": if task.kind == Kind::Map { "map" } else { "reduce" },
            "args": {
                "attempt": attempt.number,
                "job": truncate(&story.jobs[task.job].id, MAX_CHARS),
                "end": end_name(attempt.ended.map(|(_, end)| end)),
                "backup": attempt.backup.is_some(),
                "fetched": attempt.fetched.is_some(),
                "output_lost": attempt.output_lost.is_some(),
                "error": attempt.error.as_deref().map(|error| truncate(error, MAX_CHARS)),
            },
        }))?;
    }
    for (index, job) in story.jobs.iter().enumerate() {
        let tid = index + 1;
        event(name(JOBS, "thread_name", tid, &job.id))?;
        let end = job.ended.map_or(to, |(at, _)| at).max(job.submitted);
        let state = job.ended.map_or("running", |(_, end)| job_end_name(end));
        event(
            json!({"ph": "X", "pid": JOBS, "tid": tid, "ts": us(job.submitted), "dur": us(end) - us(job.submitted),
            "name": truncate(&job.id, MAX_CHARS), "cat": "job", "args": {"state": state, "maps": job.map_tasks, "reduces": job.reduce_tasks}}),
        )?;
        for barrier in &job.barriers {
            event(
                json!({"ph": "i", "s": "t", "pid": JOBS, "tid": tid, "ts": us(barrier.opened), "name": "barrier opens"}),
            )?;
            if let Some(closed) = barrier.closed {
                event(
                    json!({"ph": "i", "s": "t", "pid": JOBS, "tid": tid, "ts": us(closed), "name": "barrier closes"}),
                )?;
            }
        }
    }
    for at in &story.recoveries {
        event(
            json!({"ph": "i", "s": "g", "pid": JOBS, "tid": 0, "ts": us(*at), "name": "master restarted"}),
        )?;
    }
    for counter in counters(story, us) {
        event(counter)?;
    }
    output.write_all(b"\n]}\n")?;
    output.flush()
}

/// The events of two counters: what runs, and what waits. `us` is where a time in ms is on the trace.
fn counters(story: &Story, us: impl Fn(i64) -> i64) -> impl Iterator<Item = Value> {
    let counter = |name: &str, at: i64, maps: i64, reduces: i64| json!({"ph": "C", "pid": JOBS, "tid": 0, "ts": at, "name": name, "args": {"maps": maps, "reduces": reduces}});
    (counts(story).into_iter()).flat_map(
        move |(at, [maps, reduces, waiting_maps, waiting_reduces])| {
            let at = us(at);
            [
                counter("running", at, maps, reduces),
                counter("waiting", at, waiting_maps, waiting_reduces),
            ]
        },
    )
}

/// How many attempts of maps and of reduces ran, and how many maps and reduces waited, from each time on.
fn counts(story: &Story) -> BTreeMap<i64, [i64; 4]> {
    let mut changes = BTreeMap::<i64, [i64; 4]>::new();
    let mut change = |series: usize, tasks: usize, from: i64, to: Option<i64>| {
        let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
        changes.entry(from).or_default()[series] += tasks;
        if let Some(to) = to {
            changes.entry(to.max(from)).or_default()[series] -= tasks;
        }
    };
    for attempt in &story.attempts {
        let series = usize::from(story.tasks[attempt.task].kind == Kind::Reduce);
        change(series, 1, attempt.start(), attempt.ended.map(|(at, _)| at));
    }
    for wait in &story.waits {
        let series = 2 + usize::from(wait.kind == Kind::Reduce);
        change(series, wait.tasks, wait.from, wait.to);
    }
    let mut sums = [0; 4];
    for change in changes.values_mut() {
        for (sum, series) in sums.iter_mut().zip(change) {
            *sum += *series;
            *series = *sum;
        }
    }
    changes
}
