//! The harness: a node, its clients, and the network between them, on a clock of their own. Nobody waits for
//! real: when nothing is left to do at one time, the next time comes.

use super::client::{Actor, Context, Disks, Seen, Timer};
use super::monitor::{Checks, Monitor};
use super::network::{Faults, Network};
use super::node::{Letter, Node};
use super::outcome::{Ledger, Outcome};
use super::random::Random;
use super::word_count::{self, TEXT};
use super::worker::{Behaviour, Worker};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;

pub const JOB: &str = "words";

/// A job, those who run it, and what goes wrong.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub maps: usize,
    pub reduces: usize,
    /// Further fields of `submit_job`.
    pub options: Value,
    pub workers: Vec<Behaviour>,
    pub network: Faults,
    pub checks: Checks,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            maps: 16,
            reduces: 4,
            options: json!({}),
            workers: vec![Behaviour::HEALTHY; 4],
            network: Faults::NONE,
            checks: Checks::DEFAULT,
        }
    }
}

impl Scenario {
    /// Runs the job until it has ended and nobody has anything to say any more.
    pub fn run(&self, seed: u64) -> Outcome {
        let chunks = word_count::chunks(&TEXT, self.maps);
        let mut harness = Harness::new(self, seed, &chunks);
        harness.run();
        harness.finish(chunks, self.reduces)
    }

    /// The job, as `submit_job`.
    pub fn submission(&self, chunks: &[String]) -> Value {
        let tasks: Vec<Value> = (0..)
            .zip(chunks)
            .map(|(number, chunk)| json!({"id": map_id(number), "chunk": chunk}))
            .collect();
        let mut submission = json!({
            "type": "submit_job",
            "job_id": JOB,
            "reduce_tasks": self.reduces,
        });
        submission["tasks"] = Value::Array(tasks);
        let options = self.options.as_object().expect("options are an object");
        for (field, value) in options {
            submission[field] = value.clone();
        }
        submission
    }
}

pub fn map_id(number: usize) -> String {
    format!("map-{number}")
}

pub fn reduce_id(number: usize) -> String {
    format!("{JOB}-reduce-{number}")
}

/// What happens at some time.
enum Event {
    ReachesNode(Letter),
    ReachesActor { id: String, reply: Rc<Value> },
    Wakes { actor: usize, timer: Timer },
}

struct Harness {
    node: Node,
    network: Network,
    actors: Vec<Box<dyn Actor>>,
    /// In ms since the epoch.
    now: i64,
    /// By time, then in the order in which they were planned.
    events: BTreeMap<(i64, u64), Event>,
    planned: u64,
    disks: Disks,
    seen: Vec<Seen>,
    ledger: Ledger,
}

impl Harness {
    const START: i64 = 1_700_000_000_000;
    /// A job that takes longer hangs.
    const MOST_MS: i64 = 24 * 3_600_000;

    fn new(scenario: &Scenario, seed: u64, chunks: &[String]) -> Self {
        let mut random = Random::new(seed);
        let monitor = Monitor::new(scenario.submission(chunks), scenario.checks.clone());
        let mut actors: Vec<Box<dyn Actor>> = vec![Box::new(monitor)];
        for (number, behaviour) in (1..).zip(&scenario.workers) {
            let random = Random::new(random.next());
            let worker = Worker::new(format!("w{number}"), behaviour.clone(), random);
            actors.push(Box::new(worker));
        }
        let disks = if scenario.options["map_output"] == "shared" {
            Disks::Shared
        } else {
            Disks::Local(std::collections::HashSet::new())
        };
        Self {
            node: Node::start(),
            network: Network::new(scenario.network.clone(), random),
            actors,
            now: Self::START,
            events: BTreeMap::new(),
            planned: 0,
            disks,
            seen: Vec::new(),
            ledger: Ledger::default(),
        }
    }

    fn run(&mut self) {
        for actor in 0..self.actors.len() {
            self.act(actor, |actor, context| actor.start(context));
        }
        while let Some(((now, _), event)) = self.events.pop_first() {
            assert!(now < Self::START + Self::MOST_MS, "the job hangs");
            self.now = now;
            let asleep_until = self
                .reached_by(&event)
                .map_or(now, |actor| self.actors[actor].asleep_until());
            if asleep_until > now {
                self.plan(asleep_until - now, event);
            } else {
                self.happen(event);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let reached = self.reached_by(&event);
        match event {
            Event::ReachesNode(letter) => {
                let reply = Rc::new(self.node.ask(&letter));
                self.ledger.enter(&letter.src, &reply);
                for delay_ms in self.network.carry() {
                    let (id, reply) = (letter.src.clone(), Rc::clone(&reply));
                    self.plan(delay_ms, Event::ReachesActor { id, reply });
                }
            }
            Event::ReachesActor { reply, .. } => {
                if let Some(actor) = reached {
                    self.act(actor, |actor, context| actor.hear(&reply, context));
                }
            }
            Event::Wakes { actor, timer } => {
                self.act(actor, |actor, context| actor.wake(timer, context));
            }
        }
    }

    /// The actor to whom something happens; none where nobody has that name any more.
    fn reached_by(&self, event: &Event) -> Option<usize> {
        match event {
            Event::ReachesNode(_) => None,
            Event::ReachesActor { id, .. } => self.actors.iter().position(|actor| actor.id() == id),
            Event::Wakes { actor, .. } => Some(*actor),
        }
    }

    /// Lets an actor do something, and sees to what it wants done.
    fn act(&mut self, actor: usize, act: impl FnOnce(&mut dyn Actor, &mut Context)) {
        let mut context = Context {
            now: self.now,
            disks: &mut self.disks,
            seen: &mut self.seen,
            letters: Vec::new(),
            timers: Vec::new(),
        };
        act(&mut *self.actors[actor], &mut context);
        let Context {
            letters, timers, ..
        } = context;
        for letter in letters {
            for delay_ms in self.network.carry() {
                self.plan(delay_ms, Event::ReachesNode(letter.clone()));
            }
        }
        for (after_ms, timer) in timers {
            self.plan(after_ms, Event::Wakes { actor, timer });
        }
    }

    fn plan(&mut self, after_ms: i64, event: Event) {
        self.events
            .insert((self.now + after_ms, self.planned), event);
        self.planned += 1;
    }

    /// Asks the node how it all ended, over a line on which nothing is lost, and stops it.
    fn finish(mut self, chunks: Vec<String>, reduces: usize) -> Outcome {
        let mut last_msg_id = 0;
        let mut ask = |body: Value| {
            last_msg_id += 1;
            self.node.ask(&Letter::new("reader", last_msg_id, body))
        };
        let job = ask(json!({"type": "job_status", "job_id": JOB}));
        let status = ask(json!({"type": "status"}));
        let ids = (0..chunks.len())
            .map(map_id)
            .chain((0..reduces).map(reduce_id));
        let tasks = ids
            .map(|id| {
                (
                    id.clone(),
                    ask(json!({"type": "task_status", "task_id": id})),
                )
            })
            .collect();
        self.node.stop();
        let outcome = Outcome {
            chunks,
            job,
            status,
            tasks,
            seen: self.seen,
            messages: self.network.messages,
            ended_at: self.now,
        };
        self.ledger.check(&outcome);
        outcome
    }
}
