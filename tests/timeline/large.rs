//! The size of the paper's experiment (§5.3): 1,746 workers, 15,000 maps, 4,000 reduces, 200 killed workers.
//!
//! A cluster in virtual time talks to the master in this process, and the story is drawn from what happens in it. Nobody
//! reads the replies, so none are written: a worker learns what it got from the master's events.

use mapreduce_master::master::{Event, Keep};
use mapreduce_master::service::Service;
use mapreduce_master::timeline::{Collector, Source, Story};
use mapreduce_master::wire::{self, Message};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub const WORKERS: usize = 1746;
pub const MAPS: usize = 15_000;
pub const REDUCES: usize = 4_000;
pub const KILLED: usize = 200;

const KILL_AT: i64 = 300_000;
const HEARTBEAT_MS: i64 = 10_000;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Heartbeat {
        worker: usize,
    },
    Ask {
        worker: usize,
    },
    Done {
        worker: usize,
        task: String,
        attempt: u64,
    },
    Check,
}

struct Cluster {
    service: Service,
    collector: Collector,
    /// What happens when, in ms; of two steps at the same time the one that was planned first.
    steps: BinaryHeap<Reverse<(i64, u64, Step)>>,
    planned: u64,
    map_output: String,
    has_ended: bool,
}

/// The story of the job.
pub fn story() -> Story {
    let mut cluster = Cluster {
        service: Service::default(),
        collector: Collector::new(Source::Conversation),
        steps: BinaryHeap::new(),
        planned: 0,
        map_output: format!("[{}]", vec!["0"; REDUCES].join(",")),
        has_ended: false,
    };
    let maps: Vec<_> = (0..MAPS)
        .map(|map| format!("{{\"id\":\"map-{map}\",\"chunk\":{map}}}"))
        .collect();
    cluster.send(&format!(
        "{{\"type\":\"submit_job\",\"job_id\":\"sort\",\"tasks\":[{}],\"reduce_tasks\":{REDUCES}}}",
        maps.join(",")
    ));
    for worker in 0..WORKERS {
        let at = 1 + scatter(worker, 60_000);
        cluster.plan(at, Step::Ask { worker });
        cluster.plan(at + HEARTBEAT_MS, Step::Heartbeat { worker });
    }
    cluster.plan(5_000, Step::Check);
    while let Some(Reverse((now, _, step))) = cluster.steps.pop() {
        cluster.take(now, step);
    }
    cluster.collector.finish(&mut cluster.service.master)
}

/// A number below `below` that looks random.
fn scatter(seed: usize, below: i64) -> i64 {
    let mixed = (seed as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    i64::try_from(mixed >> 33).expect("31 bits") % below
}

fn is_killed(worker: usize) -> bool {
    worker.is_multiple_of(WORKERS / KILLED) && worker / (WORKERS / KILLED) < KILLED
}

impl Cluster {
    fn plan(&mut self, at: i64, step: Step) {
        self.planned += 1;
        self.steps.push(Reverse((at, self.planned, step)));
    }

    fn take(&mut self, now: i64, step: Step) {
        let worker = match &step {
            Step::Heartbeat { worker } | Step::Ask { worker } | Step::Done { worker, .. } => {
                Some(*worker)
            }
            Step::Check => None,
        };
        if now >= KILL_AT && worker.is_some_and(is_killed) {
            return;
        }
        match step {
            Step::Heartbeat { worker } => {
                self.send(&format!(
                    "{{\"type\":\"heartbeat\",\"worker_id\":\"w{worker}\",\"timestamp\":{now}}}"
                ));
                if !self.has_ended {
                    self.plan(now + HEARTBEAT_MS, Step::Heartbeat { worker });
                }
            }
            Step::Ask { worker } => self.ask(now, worker),
            Step::Done {
                worker,
                task,
                attempt,
            } => {
                let output = if task.starts_with("map-") {
                    &self.map_output
                } else {
                    "0"
                };
                let report = format!(
                    "{{\"type\":\"complete_task\",\"worker_id\":\"w{worker}\",\"task_id\":\"{task}\",\
                     \"attempt\":{attempt},\"timestamp\":{now},\"output\":{output}}}"
                );
                self.send(&report);
                self.ask(now, worker);
            }
            Step::Check => {
                self.send(&format!(
                    "{{\"type\":\"check_failures\",\"timeout_ms\":30000,\"now\":{now}}}"
                ));
                self.send(&format!("{{\"type\":\"check_stragglers\",\"now\":{now}}}"));
                if !self.has_ended {
                    self.plan(now + 5_000, Step::Check);
                }
            }
        }
    }

    fn ask(&mut self, now: i64, worker: usize) {
        self.send(&format!(
            "{{\"type\":\"request_task\",\"worker_id\":\"w{worker}\",\"timestamp\":{now}}}"
        ));
        let given = self
            .service
            .master
            .events()
            .iter()
            .find_map(|event| match event {
                Event::AttemptStarted { task, attempt, .. } => Some((task.to_string(), *attempt)),
                _ => None,
            });
        match given {
            Some((task, attempt)) => {
                let usual = if task.starts_with("map-") {
                    15_000
                } else {
                    220_000
                };
                let slowness = if worker % 175 == 1 { 3 } else { 1 };
                let planned = usize::try_from(self.planned).expect("a few million");
                let time = slowness * (usual * 3 / 4 + scatter(planned, usual / 2));
                self.plan(
                    now + time,
                    Step::Done {
                        worker,
                        task,
                        attempt,
                    },
                );
            }
            None if !self.has_ended => self.plan(now + 5_000, Step::Ask { worker }),
            None => {}
        }
    }

    fn send(&mut self, text: &str) {
        let mut message = Message::EMPTY;
        wire::parse(text.as_bytes(), &mut message).expect("it is a message");
        self.service.master.events_mut().keep(Keep::Everything);
        self.service.apply(&message).expect("it is a request");
        let events = self.service.master.events();
        self.has_ended |= events
            .iter()
            .any(|event| matches!(event, Event::JobCompleted { .. }));
        self.collector.take(events.iter(), events.at());
    }
}
