//! A cluster in virtual time: worker processes that run maps and reduces, a monitor, and the node between them.
//!
//! A worker asks for a task, runs it, reports it and asks again; every few seconds it sends a heartbeat. The
//! monitor checks for failures and for stragglers. Nothing here depends on how long the master really takes.

mod worker;

use crate::ledger::Ledger;
use crate::master::{Master, Work};
use crate::model::{self, MAPS, Model, REDUCES, WORKERS};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt::Write as _;
use std::fs::File;
use std::time::Duration;
use worker::{Process, Running};

const CHECK_EVERY: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(15);

const SAMPLE_EVERY: Duration = Duration::from_secs(20);
const KILLED: usize = 200;

/// No job takes half as long. Without this limit, the monitor's checks would keep a stuck run going for ever.
const GIVE_UP_AT: Duration = Duration::from_secs(3_600);

/// How the runs differ.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Whether the monitor sends `check_stragglers`.
    pub backups: bool,
    /// When 200 workers are killed.
    pub kill_at: Option<Duration>,
}

/// The outcome of a run.
pub struct Outcome {
    /// Time from the submission to the last reduce's result.
    pub elapsed: Duration,
    /// When the last map completed before the first reduce was handed out.
    pub maps_done: Duration,
    /// When each reduce completed, in ascending order.
    pub reduces_done: Vec<Duration>,
    /// Map attempts and reduce attempts beyond the first of each task.
    pub backups: [u32; 2],
    pub re_executions: [u32; 2],
    pub duplicates_dropped: u32,
    pub samples: Vec<Sample>,
    pub work: Work,
}

/// How many tasks are running at a time.
#[derive(Clone, Copy, Default)]
pub struct Sample {
    pub at: Duration,
    pub maps: usize,
    pub shuffling: usize,
    /// Reduces that have all their inputs, and sort and write.
    pub writing: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker asks for a task.
    Ask {
        process: usize,
    },
    Heartbeat {
        process: usize,
    },
    /// A reduce has tried to fetch all the inputs that it lacked.
    Fetched {
        process: usize,
        run: u64,
    },
    /// A task has finished running.
    Done {
        process: usize,
        run: u64,
    },
    CheckFailures,
    CheckStragglers,
    Kill,
    Sample,
}

pub struct Cluster {
    model: Model,
    scenario: Scenario,
    now: Duration,
    /// Ties are broken by the order in which events were scheduled.
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    master: Master,
    processes: Vec<Process>,
    runs: u64,
    ledger: Ledger,
    /// The names of failed workers that the master has reported.
    reported: BTreeSet<String>,
    samples: Vec<Sample>,
}

impl Cluster {
    /// Runs the job from its submission to its end. The messages go into `record`, too. Panics if the master does
    /// anything wrong, or if `record` cannot be written.
    pub fn run(model: Model, scenario: Scenario, record: Option<File>) -> Outcome {
        let mut cluster = Self {
            model,
            scenario,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            scheduled: 0,
            master: Master::new(record),
            processes: Vec::new(),
            runs: 0,
            ledger: Ledger::default(),
            reported: BTreeSet::new(),
            samples: Vec::new(),
        };
        cluster.submit();
        for machine in 0..WORKERS {
            cluster.start_process(machine, model.start(machine));
        }
        cluster.at(CHECK_EVERY, Event::CheckFailures);
        if scenario.backups {
            cluster.at(CHECK_EVERY, Event::CheckStragglers);
        }
        if let Some(time) = scenario.kill_at {
            cluster.at(time, Event::Kill);
        }
        cluster.at(Duration::ZERO, Event::Sample);
        while !cluster.ledger.is_complete() {
            let Reverse((time, _, event)) = cluster.events.pop().expect("checks never end");
            assert!(time < GIVE_UP_AT, "tasks were lost: the job does not end");
            cluster.now = time;
            cluster.step(event);
        }
        cluster.finish()
    }

    fn submit(&mut self) {
        self.master.ask(
            self.now,
            "harness",
            "init",
            format_args!(", \"node_id\": \"master\""),
        );
        let mut tasks = String::new();
        for map in 0..MAPS {
            let comma = if map > 0 { ", " } else { "" };
            let _ = write!(tasks, "{comma}{{\"id\": \"map-{map}\", \"chunk\": {map}}}");
        }
        let reply = self.master.ask(
            self.now,
            "submitter",
            "submit_job",
            format_args!(
                ", \"job_id\": \"sort\", \"reduce_tasks\": {REDUCES}, \"tasks\": [{tasks}]"
            ),
        );
        assert_eq!(reply.body.r#type, "job_submitted");
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Ask { process } => self.ask(process),
            Event::Heartbeat { process } => self.heartbeat(process),
            Event::Fetched { process, run } => self.fetched(process, run),
            Event::Done { process, run } => self.done(process, run),
            Event::CheckFailures => self.check_failures(),
            Event::CheckStragglers => self.check_stragglers(),
            Event::Kill => self.kill(),
            Event::Sample => self.sample(),
        }
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((time, self.scheduled, event)));
    }

    fn check_failures(&mut self) {
        let fields = format_args!(
            ", \"timeout_ms\": {}, \"now\": {}",
            FAILED_AFTER.as_millis(),
            self.now.as_millis()
        );
        let reply = self
            .master
            .ask(self.now, "monitor", "check_failures", fields);
        for name in reply.body.failed_workers {
            if self.reported.contains(name) {
                continue;
            }
            self.reported.insert(name.to_string());
            let worker = self.processes.iter().find(|worker| worker.name == name);
            let worker = worker.expect("a failed worker was there");
            assert!(!worker.is_alive_at(self.now), "{name} has not failed");
            for run in worker.running.iter().chain(&worker.held) {
                self.ledger.end(run.task, run.attempt);
            }
        }
        self.at(self.now + CHECK_EVERY, Event::CheckFailures);
    }

    fn check_stragglers(&mut self) {
        let fields = format_args!(", \"now\": {}", self.now.as_millis());
        let reply = self
            .master
            .ask(self.now, "monitor", "check_stragglers", fields);
        assert_eq!(reply.body.r#type, "stragglers_detected");
        self.at(self.now + CHECK_EVERY, Event::CheckStragglers);
    }

    /// Kills worker processes, and starts new ones on their machines at once, as the paper's cluster did.
    fn kill(&mut self) {
        for machine in self.model.killed(KILLED) {
            self.processes[machine as usize].died_at = Some(self.now);
            self.start_process(machine, self.now);
        }
    }

    fn sample(&mut self) {
        let mut sample = Sample {
            at: self.now,
            ..Sample::default()
        };
        let alive = self
            .processes
            .iter()
            .filter(|worker| worker.is_alive_at(self.now));
        for run in alive.filter_map(|worker| worker.running.as_ref()) {
            *match &run.work {
                Running::Map => &mut sample.maps,
                Running::Reduce(reduce) if reduce.lacking.is_empty() => &mut sample.writing,
                Running::Reduce(_) => &mut sample.shuffling,
            } += 1;
        }
        self.samples.push(sample);
        self.at(self.now + SAMPLE_EVERY, Event::Sample);
    }

    /// Compares what the master says at the end with what happened.
    fn finish(mut self) -> Outcome {
        let fields = format_args!(", \"job_id\": \"sort\"");
        let job = self
            .master
            .ask(self.now, "submitter", "job_status", fields)
            .body;
        assert_eq!(job.state, Some("completed"));
        let sum = |reduce| {
            (0..MAPS)
                .map(|map| u64::from(model::digit(map, reduce)))
                .sum()
        };
        let expected: Vec<u64> = (0..REDUCES).map(sum).collect();
        assert!(
            job.outputs == Some(expected),
            "the job's output is not what its input gives"
        );

        let status = self
            .master
            .ask(self.now, "submitter", "status", format_args!(""))
            .body;
        let attempts = status.attempts.expect("status has them");
        let ledger = self.ledger;
        assert_eq!(attempts.started, ledger.started.iter().sum::<u32>());
        assert_eq!(attempts.completed, ledger.accepted.iter().sum::<u32>());
        assert_eq!(attempts.speculative, ledger.backups.iter().sum::<u32>());
        assert_eq!(attempts.failed, 0);
        assert_eq!(status.duplicates_dropped, Some(ledger.dropped));
        let killed = if self.scenario.kill_at.is_some() {
            KILLED
        } else {
            0
        };
        assert_eq!(self.reported.len(), killed, "workers reported as failed");

        let tasks = [MAPS, REDUCES];
        Outcome {
            elapsed: self.now,
            maps_done: ledger.maps_done,
            re_executions: [0, 1]
                .map(|kind| ledger.started[kind] - ledger.backups[kind] - tasks[kind]),
            backups: ledger.backups,
            reduces_done: ledger.reduces_done,
            duplicates_dropped: ledger.dropped,
            samples: self.samples,
            work: self.master.work,
        }
    }
}
