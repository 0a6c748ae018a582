//! A cluster in virtual time: worker processes that run maps and reduces, a monitor, and the node between them.
//!
//! A worker asks for a task, runs it, reports it and asks again; every few seconds it sends a heartbeat. The
//! monitor checks for failures and for stragglers. The node is called at the virtual time of each request; its
//! reply gets to the worker after the master's network link has sent it. Nothing here depends on how long
//! the node really takes.

use crate::ledger::{Inputs, Kind, Ledger, TaskRef};
use crate::model::{self, MAPS, Model, REDUCES, WORKERS};
use crate::timed::{TimedNode, Work};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// How long a worker without a task waits before it asks again.
const ASK_EVERY: Duration = Duration::from_secs(2);
const CHECK_EVERY: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(15);

/// Between two machines and back, in the paper's data centre less than this.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// The master's link has 1 Gbit/s, as all machines of the paper: 8 ns a byte.
const LINK_PER_BYTE: Duration = Duration::from_nanos(8);

pub const SAMPLE_EVERY: Duration = Duration::from_secs(20);
const KILLED: usize = 200;

/// What is different between the runs.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Whether the monitor sends `check_stragglers`.
    pub backups: bool,
    /// When 200 workers are killed.
    pub kill_at: Option<Duration>,
}

/// What came of a run.
pub struct Outcome {
    /// From the submission to the last reduce's result.
    pub elapsed: Duration,
    /// When the last map was done before the first reduce was handed out.
    pub maps_done: Duration,
    /// When each reduce was done, ascending.
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
    pub maps: usize,
    pub shuffling: usize,
    /// Reduces that have all their inputs: they sort and write.
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
    /// A task has been run to its end.
    Done {
        process: usize,
        run: u64,
    },
    CheckFailures,
    CheckStragglers,
    Kill,
    Sample,
}

/// A worker process. A process that is killed is followed by another one on its machine, with a name of its own.
struct Process {
    name: String,
    machine: u32,
    died_at: Option<Duration>,
    running: Option<Run>,
    /// A reduce that lacks inputs, until the master says where they are now. Others may run meanwhile.
    held: Option<Run>,
}

impl Process {
    fn is_alive_at(&self, time: Duration) -> bool {
        self.died_at.is_none_or(|died_at| time < died_at)
    }
}

/// A task that a worker is running.
struct Run {
    number: u64,
    task: TaskRef,
    attempt: u32,
    work: Running,
}

enum Running {
    Map,
    Reduce(Reduce),
}

struct Reduce {
    inputs: Rc<Inputs>,
    sum: u64,
    /// The maps whose outputs it lacks, in the order in which it fetches them.
    lacking: Vec<u32>,
    /// When it began to fetch these.
    fetches_since: Duration,
    time_per_input: Duration,
    time_to_sort_and_write: Duration,
}

impl Reduce {
    /// When it has tried to fetch all that it lacks.
    fn fetched_at(&self, number: usize) -> Duration {
        let number = u32::try_from(number).expect("as many as there are maps");
        self.fetches_since + self.time_per_input * number
    }
}

pub struct Cluster {
    model: Model,
    scenario: Scenario,
    now: Duration,
    /// Ties are broken by the order in which events were scheduled.
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    node: TimedNode,
    link_free_at: Duration,
    processes: Vec<Process>,
    runs: u64,
    ledger: Ledger,
    /// The names of failed workers that the master has reported.
    reported: BTreeSet<String>,
    samples: Vec<Sample>,
}

impl Cluster {
    /// Runs the job from its submission to its end. Panics if the master does anything wrong.
    pub fn run(model: Model, scenario: Scenario) -> Outcome {
        let mut cluster = Self {
            model,
            scenario,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            scheduled: 0,
            node: TimedNode::new(),
            link_free_at: Duration::ZERO,
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
        cluster.at(SAMPLE_EVERY / 2, Event::Sample);
        while !cluster.ledger.is_complete() {
            let Reverse((time, _, event)) = cluster.events.pop().expect("checks never end");
            cluster.now = time;
            cluster.step(event);
        }
        cluster.finish()
    }

    fn submit(&mut self) {
        self.node.ask(
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
        let reply = self.node.ask(
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

    fn start_process(&mut self, machine: u32, time: Duration) {
        let process = self.processes.len();
        self.processes.push(Process {
            name: format!("worker-{process}"),
            machine,
            died_at: None,
            running: None,
            held: None,
        });
        self.at(time, Event::Ask { process });
        let first_beat = HEARTBEAT_EVERY.mul_f64(self.model.first_beat(machine));
        self.at(time + first_beat, Event::Heartbeat { process });
    }

    fn heartbeat(&mut self, process: usize) {
        let worker = &self.processes[process];
        if !worker.is_alive_at(self.now) {
            return;
        }
        let fields = format_args!(
            ", \"worker_id\": \"{}\", \"timestamp\": {}",
            worker.name,
            self.now.as_millis()
        );
        let reply = self.node.ask(self.now, &worker.name, "heartbeat", fields);
        assert_eq!(reply.body.r#type, "heartbeat_ok");
        let bytes = reply.bytes;
        self.arrival(bytes);
        self.at(self.now + HEARTBEAT_EVERY, Event::Heartbeat { process });
    }

    /// Asks for a task. A reduce that is held is not named as running, so that the master hands it out again
    /// as soon as there is an output of each map, and until then something else: the maps that have to be run again.
    fn ask(&mut self, process: usize) {
        let worker = &self.processes[process];
        if !worker.is_alive_at(self.now) {
            return;
        }
        let fields = format_args!(
            ", \"worker_id\": \"{}\", \"timestamp\": {}",
            worker.name,
            self.now.as_millis()
        );
        let reply = self
            .node
            .ask(self.now, &worker.name, "request_task", fields);
        let bytes = reply.bytes;
        let Some(given) = reply.body.task else {
            assert_eq!(reply.body.r#type, "no_task");
            self.arrival(bytes);
            self.at(self.now + ASK_EVERY, Event::Ask { process });
            return;
        };
        match (given.chunk, given.partition) {
            (Some(map), None) => {
                let attempt = given.attempt;
                let began = self.arrival(bytes);
                self.start_map(process, map, attempt, began);
            }
            (None, Some(reduce)) => {
                let attempt = given.attempt;
                let names = |process: usize| &*self.processes[process].name;
                let (inputs, sum) = self.ledger.check_inputs(reduce, reply.inputs, names);
                let began = self.arrival(bytes);
                let held = self.processes[process].held.take();
                match held {
                    Some(held) if held.task.number == reduce && held.attempt == attempt => {
                        self.resume_reduce(process, held, inputs, began);
                    }
                    _ => self.start_reduce(process, reduce, attempt, (inputs, sum), began),
                }
            }
            _ => panic!("a task is a map or a reduce"),
        }
    }

    /// When a reply gets to its worker: the master's link sends one after the other.
    fn arrival(&mut self, bytes: u32) -> Duration {
        self.link_free_at = self.link_free_at.max(self.now) + LINK_PER_BYTE * bytes;
        self.link_free_at + ROUND_TRIP
    }

    fn start_map(&mut self, process: usize, map: u32, attempt: u32, began: Duration) {
        let task = TaskRef {
            kind: Kind::Map,
            number: map,
        };
        self.ledger.start(task, attempt);
        let machine = self.processes[process].machine;
        let time = self.model.map_time(machine, map, attempt);
        let run = self.set_running(process, task, attempt, Running::Map);
        self.at(began + time, Event::Done { process, run });
    }

    fn start_reduce(
        &mut self,
        process: usize,
        reduce: u32,
        attempt: u32,
        (inputs, sum): (Rc<Inputs>, u64),
        began: Duration,
    ) {
        let task = TaskRef {
            kind: Kind::Reduce,
            number: reduce,
        };
        self.ledger.start(task, attempt);
        let machine = self.processes[process].machine;
        let (shuffle, time) = self.model.reduce_times(machine, reduce, attempt);
        // From a place of its own on, so that not all of them are at the same worker.
        let first = reduce * (MAPS / REDUCES);
        let work = Reduce {
            inputs,
            sum,
            lacking: (first..MAPS).chain(0..first).collect(),
            fetches_since: began,
            time_per_input: shuffle / MAPS,
            time_to_sort_and_write: time - shuffle,
        };
        self.fetch(process, task, attempt, work);
    }

    fn resume_reduce(&mut self, process: usize, held: Run, inputs: Rc<Inputs>, began: Duration) {
        let Running::Reduce(mut reduce) = held.work else {
            panic!("only reduces are held");
        };
        reduce.inputs = inputs;
        reduce.fetches_since = began;
        let is_gone = |map: &u32| {
            let (_, process) = reduce.inputs.winners[*map as usize];
            !self.processes[process].is_alive_at(self.now)
        };
        if reduce.lacking.iter().any(is_gone) {
            let gone: Vec<u32> = reduce.lacking.iter().copied().filter(is_gone).collect();
            self.report_lost_inputs(process, held.task, held.attempt, &gone, &reduce.inputs);
        } else {
            self.fetch(process, held.task, held.attempt, reduce);
        }
    }

    fn fetch(&mut self, process: usize, task: TaskRef, attempt: u32, reduce: Reduce) {
        let time = reduce.fetched_at(reduce.lacking.len());
        let run = self.set_running(process, task, attempt, Running::Reduce(reduce));
        self.at(time, Event::Fetched { process, run });
    }

    fn set_running(&mut self, process: usize, task: TaskRef, attempt: u32, work: Running) -> u64 {
        self.runs += 1;
        self.processes[process].running = Some(Run {
            number: self.runs,
            task,
            attempt,
            work,
        });
        self.runs
    }

    /// What a live process is running, if it is still that.
    fn take_run(&mut self, process: usize, run: u64) -> Option<Run> {
        let worker = &mut self.processes[process];
        let is_alive = worker.is_alive_at(self.now);
        worker
            .running
            .take_if(|running| is_alive && running.number == run)
    }

    /// A reduce goes on when it has all its inputs. What it lacks is where a process is gone; before that is
    /// taken for a loss, the master is asked where the outputs are by now.
    fn fetched(&mut self, process: usize, number: u64) {
        let Some(mut run) = self.take_run(process, number) else {
            return;
        };
        let Running::Reduce(reduce) = &mut run.work else {
            panic!("maps fetch nothing here");
        };
        let places = std::mem::take(&mut reduce.lacking).into_iter().enumerate();
        reduce.lacking = places
            .filter(|(place, map)| {
                let (_, process) = reduce.inputs.winners[*map as usize];
                !self.processes[process].is_alive_at(reduce.fetched_at(*place))
            })
            .map(|(_, map)| map)
            .collect();
        if reduce.lacking.is_empty() {
            let time = self.now + reduce.time_to_sort_and_write;
            self.processes[process].running = Some(run);
            self.at(
                time,
                Event::Done {
                    process,
                    run: number,
                },
            );
        } else {
            self.processes[process].held = Some(run);
            self.ask(process);
        }
    }

    fn report_lost_inputs(
        &mut self,
        process: usize,
        task: TaskRef,
        attempt: u32,
        gone: &[u32],
        inputs: &Inputs,
    ) {
        let entry = |map: &u32| {
            let (attempt, _) = inputs.winners[*map as usize];
            format!("{{\"task_id\": \"map-{map}\", \"attempt\": {attempt}}}")
        };
        let lost: Vec<String> = gone.iter().map(entry).collect();
        let name = &self.processes[process].name;
        let fields = format_args!(
            ", \"worker_id\": \"{name}\", \"task_id\": \"{task}\", \"attempt\": {attempt}, \"timestamp\": {}, \
             \"error\": \"inputs cannot be fetched\", \"lost_inputs\": [{}]",
            self.now.as_millis(),
            lost.join(", ")
        );
        let reply = self.node.ask(self.now, name, "fail_task", fields);
        assert_eq!(reply.body.r#type, "task_failed");
        let bytes = reply.bytes;
        self.ledger.end(task, attempt);
        let time = self.arrival(bytes);
        self.at(time, Event::Ask { process });
    }

    fn done(&mut self, process: usize, run: u64) {
        let Some(Run {
            task,
            attempt,
            work,
            ..
        }) = self.take_run(process, run)
        else {
            return;
        };
        let output = match work {
            Running::Map => map_output(task.number),
            Running::Reduce(reduce) => reduce.sum.to_string(),
        };
        let name = &self.processes[process].name;
        let fields = format_args!(
            ", \"worker_id\": \"{name}\", \"task_id\": \"{task}\", \"attempt\": {attempt}, \"timestamp\": {}, \
             \"output\": {output}",
            self.now.as_millis()
        );
        let reply = self.node.ask(self.now, name, "complete_task", fields);
        let bytes = reply.bytes;
        if reply.body.accepted.expect("the reply to it says so") {
            let lost = self.ledger.accept(task, attempt, process, self.now);
            let had_it = lost.is_some_and(|process| self.processes[process].is_alive_at(self.now));
            assert!(
                !had_it,
                "two results of {task} were accepted, and the first was not lost"
            );
        } else {
            self.ledger.dropped += 1;
        }
        let time = self.arrival(bytes);
        self.at(time, Event::Ask { process });
    }

    fn check_failures(&mut self) {
        let fields = format_args!(
            ", \"timeout_ms\": {}, \"now\": {}",
            FAILED_AFTER.as_millis(),
            self.now.as_millis()
        );
        let reply = self.node.ask(self.now, "monitor", "check_failures", fields);
        let bytes = reply.bytes;
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
        self.arrival(bytes);
        self.at(self.now + CHECK_EVERY, Event::CheckFailures);
    }

    fn check_stragglers(&mut self) {
        let fields = format_args!(", \"now\": {}", self.now.as_millis());
        let reply = self
            .node
            .ask(self.now, "monitor", "check_stragglers", fields);
        assert_eq!(reply.body.r#type, "stragglers_detected");
        let bytes = reply.bytes;
        self.arrival(bytes);
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
        let mut sample = Sample::default();
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

    /// Holds what the master says in the end against what happened.
    fn finish(mut self) -> Outcome {
        let fields = format_args!(", \"job_id\": \"sort\"");
        let job = self
            .node
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
            .node
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
            work: self.node.work,
        }
    }
}

/// What a map gives to each reduce, one digit each.
fn map_output(map: u32) -> String {
    let mut output = String::with_capacity(2 * REDUCES as usize + 1);
    for reduce in 0..REDUCES {
        output.push(if reduce > 0 { ',' } else { '[' });
        output.push(char::from(b'0' + model::digit(map, reduce)));
    }
    output.push(']');
    output
}
