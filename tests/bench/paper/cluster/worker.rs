//! The workers: what a process does between receiving a task and reporting its result.

use super::{Cluster, Event};
use crate::ledger::{Inputs, Kind, TaskRef};
use crate::model::{self, MAPS, REDUCES};
use std::rc::Rc;
use std::time::Duration;

const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// How long a worker without a task waits before it asks again.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// A worker process. When it is killed, another one with a name of its own starts on its machine.
pub struct Process {
    pub name: String,
    pub machine: u32,
    pub died_at: Option<Duration>,
    pub running: Option<Run>,
    /// A reduce that lacks inputs, until the master says where they are now. The worker may run other tasks meanwhile.
    pub held: Option<Run>,
}

impl Process {
    pub fn is_alive_at(&self, time: Duration) -> bool {
        self.died_at.is_none_or(|died_at| time < died_at)
    }

    /// The fields that name the worker and the time, to append to other fields.
    fn fields(&self, now: Duration) -> String {
        let (name, now) = (&self.name, now.as_millis());
        format!(", \"worker_id\": \"{name}\", \"timestamp\": {now}")
    }
}

/// A task that a worker is running.
pub struct Run {
    pub number: u64,
    pub task: TaskRef,
    pub attempt: u32,
    pub work: Running,
}

pub enum Running {
    Map,
    Reduce(Reduce),
}

pub struct Reduce {
    pub inputs: Rc<Inputs>,
    pub sum: u64,
    /// The maps whose outputs it lacks, in the order in which it fetches them.
    pub lacking: Vec<u32>,
    /// When it began to fetch them.
    pub fetches_since: Duration,
    pub time_per_input: Duration,
    pub time_to_sort_and_write: Duration,
}

impl Reduce {
    /// When it will have tried to fetch all that it lacks.
    fn fetched_at(&self, number: usize) -> Duration {
        let number = u32::try_from(number).expect("as many as there are maps");
        self.fetches_since + self.time_per_input * number
    }
}

impl Cluster {
    pub fn start_process(&mut self, machine: u32, time: Duration) {
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

    pub fn heartbeat(&mut self, process: usize) {
        let worker = &self.processes[process];
        if !worker.is_alive_at(self.now) {
            return;
        }
        let reply = (self.master).ask(self.now, &worker.name, "heartbeat", worker.fields(self.now));
        assert_eq!(reply.body.r#type, "heartbeat_ok");
        self.at(self.now + HEARTBEAT_EVERY, Event::Heartbeat { process });
    }

    /// Asks for a task. A reduce on hold is not listed in `running`, so that the master hands it out again as soon as
    /// every map has an output. Until then the master hands out other tasks: the maps that have to run again.
    pub fn ask(&mut self, process: usize) {
        let worker = &self.processes[process];
        if !worker.is_alive_at(self.now) {
            return;
        }
        let reply = (self.master).ask(
            self.now,
            &worker.name,
            "request_task",
            worker.fields(self.now),
        );
        let arrives_at = reply.arrives_at;
        let Some(given) = reply.body.task else {
            assert_eq!(reply.body.r#type, "no_task");
            self.at(arrives_at + ASK_EVERY, Event::Ask { process });
            return;
        };
        match (given.chunk, given.partition) {
            (Some(map), None) => {
                let attempt = given.attempt;
                self.start_map(process, map, attempt, arrives_at);
            }
            (None, Some(reduce)) => {
                let attempt = given.attempt;
                let names = |process: usize| &*self.processes[process].name;
                let (inputs, sum) = self.ledger.check_inputs(reduce, reply.inputs, names);
                let held = self.processes[process].held.take();
                match held {
                    Some(held) if held.task.number == reduce && held.attempt == attempt => {
                        self.resume_reduce(process, held, inputs, arrives_at);
                    }
                    _ => self.start_reduce(process, reduce, attempt, (inputs, sum), arrives_at),
                }
            }
            _ => panic!("a task is a map or a reduce"),
        }
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
        let (shuffle, time_to_sort_and_write) = self.model.reduce_times(machine, reduce, attempt);
        // Each reduce starts at another map, so that they do not all fetch from the same worker at once.
        let first = reduce * (MAPS / REDUCES);
        let work = Reduce {
            inputs,
            sum,
            lacking: (first..MAPS).chain(0..first).collect(),
            fetches_since: began,
            time_per_input: shuffle / MAPS,
            time_to_sort_and_write,
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

    /// The task that a live process is running, if it is still this one.
    fn take_run(&mut self, process: usize, run: u64) -> Option<Run> {
        let worker = &mut self.processes[process];
        let is_alive = worker.is_alive_at(self.now);
        worker
            .running
            .take_if(|running| is_alive && running.number == run)
    }

    /// Continues a reduce that has all its inputs. The inputs that it lacks were on processes that are gone. Before it
    /// reports them lost, it asks the master where those outputs are now.
    pub fn fetched(&mut self, process: usize, number: u64) {
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
        let reply = self.master.ask(self.now, name, "fail_task", fields);
        assert_eq!(reply.body.r#type, "task_failed");
        let time = reply.arrives_at;
        self.ledger.end(task, attempt);
        self.at(time, Event::Ask { process });
    }

    pub fn done(&mut self, process: usize, run: u64) {
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
        let reply = self.master.ask(self.now, name, "complete_task", fields);
        let time = reply.arrives_at;
        if reply.body.accepted.expect("the reply to it says so") {
            let lost = self.ledger.accept(task, attempt, process, self.now);
            let had_it = lost.is_some_and(|process| self.processes[process].is_alive_at(self.now));
            assert!(
                !had_it,
                "two results of {task} were accepted, and the first was not lost"
            );
        } else {
            self.ledger.drop_result(task);
        }
        self.at(time, Event::Ask { process });
    }
}

/// A map's output: one digit for each reduce.
fn map_output(map: u32) -> String {
    let mut output = String::with_capacity(2 * REDUCES as usize + 1);
    for reduce in 0..REDUCES {
        output.push(if reduce > 0 { ',' } else { '[' });
        output.push(char::from(b'0' + model::digit(map, reduce)));
    }
    output.push(']');
    output
}
