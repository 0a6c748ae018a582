//! The cost of a journal: for heartbeats, for replies about tasks, and when a node recovers from it.

use super::Bench;
use super::process::{Session, file_to_file, node};
use super::table::{Measured, Rounds, Row, Target, Unit, thousands};
use super::workload::{
    INIT, Order, chunk, complete_task, heartbeats, request_task, submit_job, task, worker,
};
use mapreduce_master::journal::compact::compact;
use mapreduce_master::journal::{HEADER, recover};
use mapreduce_master::node::{MAX_FEED_BYTES, Node};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

/// How many cycles of `request_task` and `complete_task` are sent and synced together.
const CYCLES_AT_ONCE: usize = 50;

/// The cost for heartbeats, and for replies about tasks.
pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let count = bench.scaled(1_000_000);
    let input = [INIT, &heartbeats(count, 1_000, Order::Normal)].concat();
    let input = bench.scratch.file("journaled", &input)?;
    let output = bench.scratch.path("replies");
    let path = bench.scratch.path("journal");
    let rounds = Rounds::run(bench.rounds(), || {
        let mut times = vec![file_to_file(&mut node(), &input, &output)?];
        for sync in ["batch", "never"] {
            let mut node = node();
            node.arg("--journal")
                .arg(&path)
                .args(["--journal-sync", sync]);
            times.push(file_to_file(&mut node, &input, &output)?);
            fs::remove_file(&path)?;
        }
        Ok(times)
    })?;
    let what = format!("{} heartbeats with a journal", thousands(count));
    let mut rows = vec![
        Row {
            what: what.clone(),
            against: "without",
            target: Target::AtMost(1.5, Unit::Times),
            measured: rounds.ratio((1, count), (0, count)),
            how: "file to file, whole process",
        },
        Row {
            what: format!("{what}, --journal-sync never"),
            against: "without",
            target: Target::AtMost(1.4, Unit::Times),
            measured: rounds.ratio((2, count), (0, count)),
            how: "file to file, whole process",
        },
    ];
    rows.push(synced_cycles(bench)?);
    rows.push(compaction_pause(bench)?);
    rows.extend(recovery(bench)?);
    Ok(rows)
}

/// Batches of cycles, each acknowledged once it is on disk, compared with writing and syncing the same number of bytes.
fn synced_cycles(bench: &Bench) -> io::Result<Row> {
    let batches = bench.scaled(1_000) / 5;
    let tasks = batches * CYCLES_AT_ONCE;
    let path = bench.scratch.path("journal");
    let mut cycles = Vec::new();
    for batch in 0..batches {
        let mut input = Vec::new();
        for number in batch * CYCLES_AT_ONCE..(batch + 1) * CYCLES_AT_ONCE {
            request_task(&mut input, &worker(0));
            complete_task(&mut input, &worker(0), &task(number), 1, "1");
        }
        cycles.push(input);
    }
    let rounds = Rounds::run(bench.few_rounds(), || {
        let mut session = Session::start(node().arg("--journal").arg(&path))?;
        let mut job = Vec::new();
        submit_job(&mut job, (0..tasks).map(chunk), 0);
        session.exchange(&job, "job_submitted")?;
        let started = Instant::now();
        for input in &cycles {
            session.exchange(input, "\"accepted\": true")?;
        }
        let node = started.elapsed();
        session.finish()?;
        fs::remove_file(&path)?;

        let started = Instant::now();
        let mut file = File::create(&path)?;
        for input in &cycles {
            file.write_all(input)?;
            file.sync_data()?;
        }
        let disk = started.elapsed();
        fs::remove_file(&path)?;
        Ok([node, disk])
    })?;
    Ok(Row {
        what: format!("{CYCLES_AT_ONCE} cycles of request_task and complete_task, synced together"),
        against: "one fdatasync of as many bytes",
        target: Target::None(Unit::Times),
        measured: rounds.ratio((0, batches), (1, batches)),
        how: "pipes, wall; disks differ",
    })
}

/// The worst round trip that a client sees while a large state is compacted.
fn compaction_pause(bench: &Bench) -> io::Result<Row> {
    let count = bench.scaled(1_000_000);
    let path = bench.scratch.path("journal");
    let mut input = Vec::new();
    // Requests that the state does not need any more, so that it is shorter than they are.
    for _ in 0..4 {
        input.extend(heartbeats(count, count, Order::Normal));
    }
    submit_job(&mut input, (0..count).map(chunk), 0);
    let records = journal_of(&input)?;
    let mut pauses = Vec::new();
    for _ in 0..bench.few_rounds() {
        fs::write(&path, &records)?;
        File::open(&path)?.sync_all()?;
        let from = ["--journal-compact-from", "1"];
        let mut session = Session::start(node().args(from).arg("--journal").arg(&path))?;
        session.ask(b"{\"type\": \"status\"}\n")?;
        let mut round_trip = || {
            let started = Instant::now();
            session.ask(b"{\"type\": \"heartbeat\", \"worker_id\": \"w\", \"timestamp\": 1}\n")?;
            let time = started.elapsed();
            thread::sleep(PAUSE);
            io::Result::Ok(time)
        };
        let mut during = Vec::new();
        while fs::metadata(&path)?.len() >= records.len() as u64 {
            during.push(round_trip()?);
        }
        // What comes last may be about to end.
        during.push(round_trip()?);
        let mut after = Vec::new();
        for _ in 0..during.len() {
            after.push(round_trip()?);
        }
        session.finish()?;
        fs::remove_file(&path)?;
        pauses.push((worst(&during), worst(&after), median(&mut after)));
    }
    pauses.sort_unstable();
    let (during, after, median) = pauses[pauses.len() / 2];
    let [during, after, median] = [during, after, median].map(|time| time.as_secs_f64() * 1e3);
    Ok(Row {
        what: format!(
            "worst round trip of a heartbeat while {0} workers and {0} tasks are compacted",
            thousands(count)
        ),
        against: "minus the median without",
        target: Target::AtMost(10.0, Unit::Milliseconds),
        measured: Measured::Value(
            during - median,
            format!("{during:.2} ms / {median:.2} ms; worst without: {after:.2} ms"),
        ),
        how: "pipes, wall, with whatever else runs",
    })
}

/// Between two round trips.
const PAUSE: Duration = Duration::from_micros(500);

fn worst(times: &[Duration]) -> Duration {
    times.iter().copied().max().unwrap_or_default()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Recovery from a journal, and from a compacted one.
fn recovery(bench: &Bench) -> io::Result<Vec<Row>> {
    let count = bench.scaled(1_000_000);
    let path = bench.scratch.path("journal");
    // With few workers, the journal is not compacted meanwhile, and recovery reads every record.
    let records = journal_of(&heartbeats(count, 1_000, Order::Normal))?;
    let input = bench
        .scratch
        .file("recovered", &heartbeats(count, 1_000, Order::Normal))?;
    let output = bench.scratch.path("replies");
    let nothing = bench.scratch.file("nothing", b"")?;
    let rounds = Rounds::run(bench.rounds(), || {
        fs::write(&path, &records)?;
        let recovery = file_to_file(node().arg("--journal").arg(&path), &nothing, &output)?;
        let answers = file_to_file(&mut node(), &input, &output)?;
        Ok([recovery, answers])
    })?;
    let mut rows = vec![Row {
        what: format!("recovery of {} records", thousands(count)),
        against: "answering them",
        target: Target::AtMost(2.0, Unit::Times),
        measured: rounds.ratio((0, count), (1, count)),
        how: "file to file, whole process",
    }];

    let mut state = heartbeats(count, count, Order::Normal);
    submit_job(&mut state, (0..count).map(chunk), 0);
    let records = journal_of(&state)?;
    let compaction = Rounds::run(1, || {
        let mut compacted = Vec::new();
        let started = Instant::now();
        compact(&records[..], &mut compacted, u64::MAX).map_err(io::Error::other)?;
        let written = started.elapsed();
        let started = Instant::now();
        recover(&compacted[..]).map_err(io::Error::other)?;
        Ok([written, started.elapsed()])
    })?;
    let state = format!("{0} workers and {0} tasks", thousands(count));
    for (place, what) in ["a compaction of", "recovery from the compacted journal of"]
        .into_iter()
        .enumerate()
    {
        rows.push(Row {
            what: format!("{what} {state}"),
            against: "",
            target: Target::None(Unit::Seconds),
            measured: compaction.seconds(place),
            how: "in this process, wall, memory to memory",
        });
    }
    Ok(rows)
}

/// The journal of a node that was sent `input`, not compacted.
fn journal_of(input: &[u8]) -> io::Result<Vec<u8>> {
    let new = recover(io::empty()).map_err(io::Error::other)?;
    let mut node = Node::recovered(new, true);
    let mut journal = Vec::new();
    for piece in input.chunks(MAX_FEED_BYTES) {
        node.feed(piece);
        while node.answer_some() {
            node.replies.clear();
        }
        node.replies.clear();
        if let Some(recorder) = &mut node.recorder {
            journal.append(&mut recorder.records);
        }
    }
    assert!(
        journal.starts_with(HEADER.as_bytes()),
        "a journal starts with its header"
    );
    Ok(journal)
}
