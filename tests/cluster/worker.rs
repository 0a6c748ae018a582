//! Workers: they ask for tasks, run them and report, each in its own way.

use super::client::{Actor, Client, Context, Seen, Timer};
use super::random::Random;
use super::word_count;
use serde_json::{Value, json};

/// What kind of worker it is, and what happens to it.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// How many tasks it runs at once.
    pub slots: usize,
    /// How long a task takes it, give or take a tenth.
    pub task_ms: u64,
    pub heartbeat_every_ms: i64,
    pub faults: Vec<(When, Then)>,
}

impl Behaviour {
    pub const HEALTHY: Self = Self {
        slots: 1,
        task_ms: 400,
        heartbeat_every_ms: 500,
        faults: Vec::new(),
    };

    pub fn with(when: When, then: Then) -> Self {
        Self::HEALTHY.and(when, then)
    }

    pub fn and(mut self, when: When, then: Then) -> Self {
        self.faults.push((when, then));
        self
    }
}

/// When something happens to a worker.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// It has fetched its n-th map, or reduce; restarts do not start the count anew.
    Maps(usize),
    Reduces(usize),
    /// It has fetched that task.
    Task(&'static str),
    /// Its n-th map was accepted.
    AcceptedMaps(usize),
    /// It has had maps accepted, and there is nothing to do.
    Idle,
    /// In that many of a hundred tasks that it fetches, at some time around the task's end.
    Percent(u64),
}

/// What happens to a worker.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// It dies, and all that is on its disk with it.
    Die,
    DieAndRestart {
        after_ms: i64,
        how: Restart,
    },
    /// It stands still, then goes on as if nothing had been: a zombie.
    Hang {
        ms: i64,
    },
    /// It reports this error instead of the task's output.
    Fail(&'static str),
    /// The output that it reported last cannot be read from its disk any more.
    LoseOutput,
}

/// Who a worker is after a restart.
#[derive(Clone, Copy, Debug)]
pub enum Restart {
    /// It has the same id, and says nothing of its former life.
    SameId,
    /// It has the same id, and says by its incarnation that this is another life.
    SameIdNextIncarnation,
    /// It has the same id, and first has its former life removed.
    SameIdAfterRemoval,
    NewId,
}

pub struct Worker {
    client: Client,
    name: String,
    behaviour: Behaviour,
    random: Random,
    state: State,
    /// How often it was started. What was to happen in a former life does not.
    life: u32,
    has_incarnations: bool,
    asleep_until: i64,
    /// What it runs, until the report is answered.
    running: Vec<Running>,
    asking: bool,
    fetched_maps: usize,
    fetched_reduces: usize,
    accepted_maps: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    /// It has asked for its former life to be removed.
    Starting,
    Up,
}

/// What a worker notices of its own doings.
#[derive(Clone, Copy)]
enum Event {
    FetchedMap,
    FetchedReduce,
    AcceptedMap,
    NothingToDo,
}

struct Running {
    task_id: String,
    attempt: u64,
    is_map: bool,
    report: Value,
    is_reported: bool,
}

impl Worker {
    /// Soon, for a worker that has nothing to do.
    const PAUSE_MS: i64 = 100;

    pub fn new(name: String, behaviour: Behaviour, random: Random) -> Self {
        let has_incarnations = behaviour.faults.iter().any(|(_, then)| {
            matches!(then, Then::DieAndRestart { how, .. } if matches!(how, Restart::SameIdNextIncarnation))
        });
        Self {
            client: Client::new(name.clone()),
            has_incarnations,
            name,
            behaviour,
            random,
            state: State::Down,
            life: 0,
            asleep_until: i64::MIN,
            running: Vec::new(),
            asking: false,
            fetched_maps: 0,
            fetched_reduces: 0,
            accepted_maps: 0,
        }
    }

    fn go_up(&mut self, context: &mut Context) {
        self.state = State::Up;
        self.beat(context);
        self.ask(context);
    }

    fn beat(&mut self, context: &mut Context) {
        let (life, now) = (self.life, context.now);
        let mut heartbeat =
            json!({"type": "heartbeat", "worker_id": self.client.id, "timestamp": now});
        self.add_incarnation(&mut heartbeat);
        self.client.tell(heartbeat, context);
        let every_ms = self.behaviour.heartbeat_every_ms;
        context.timers.push((every_ms, Timer::Heartbeat { life }));
    }

    /// Asks for a task, if it has a free slot and has not asked already.
    fn ask(&mut self, context: &mut Context) {
        let is_busy = self.asking || self.running.len() == self.behaviour.slots;
        if is_busy || self.state == State::Down || self.asleep_until > context.now {
            return;
        }
        self.asking = true;
        let now = context.now;
        let mut request =
            json!({"type": "request_task", "worker_id": self.client.id, "timestamp": now});
        if !self.running.is_empty() {
            let ids: Vec<&str> = self.running.iter().map(|task| &*task.task_id).collect();
            request["running"] = json!(ids);
        }
        self.add_incarnation(&mut request);
        self.client.request(request, context);
    }

    fn add_incarnation(&self, request: &mut Value) {
        if self.has_incarnations {
            request["incarnation"] = json!(self.life);
        }
    }

    fn drop_cancelled(&mut self, reply: &Value, context: &mut Context) {
        for id in reply["cancel"].as_array().into_iter().flatten() {
            let is_dropped = |task: &Running| task.task_id == *id && !task.is_reported;
            for task in self.running.extract_if(.., |task| is_dropped(task)) {
                context.seen.push(Seen::Cancelled {
                    worker: self.client.id.clone(),
                    task_id: task.task_id,
                });
            }
        }
    }

    /// Starts to run a task. Its output is known at once, and reported when the task ends.
    fn run(&mut self, task: &Value, context: &mut Context) {
        let text = |field: &str| task[field].as_str().expect("a string").to_owned();
        let (task_id, is_map) = (text("id"), task["kind"] == "map");
        context.seen.push(Seen::Fetched {
            worker: self.client.id.clone(),
            task_id: task_id.clone(),
        });
        assert!(
            self.running.iter().all(|task| task.task_id != task_id),
            "{} is given {task_id}, which it said it runs",
            self.client.id
        );
        self.running.push(Running {
            task_id: task_id.clone(),
            attempt: task["attempt"].as_u64().expect("a count"),
            is_map,
            report: if is_map {
                map_report(task)
            } else {
                reduce_report(task, &self.client.id, context)
            },
            is_reported: false,
        });
        let (life, task_ms) = (self.life, self.behaviour.task_ms);
        let takes_ms = task_ms * 9 / 10 + self.random.below(task_ms / 5 + 1);
        let timer = Timer::TaskEnds {
            life,
            task_id: task_id.clone(),
        };
        context.timers.push((takes_ms.cast_signed(), timer));
        if is_map {
            self.fetched_maps += 1;
            self.meet(Event::FetchedMap, &task_id, context);
        } else {
            self.fetched_reduces += 1;
            self.meet(Event::FetchedReduce, &task_id, context);
        }
    }

    fn report(&mut self, task_id: &str, context: &mut Context) {
        let mut tasks = self.running.iter_mut();
        let Some(task) = tasks.find(|task| task.task_id == task_id && !task.is_reported) else {
            return;
        };
        task.is_reported = true;
        let mut report = task.report.take();
        report["worker_id"] = json!(self.client.id);
        report["task_id"] = json!(task_id);
        report["attempt"] = json!(task.attempt);
        report["timestamp"] = json!(context.now);
        if task.is_map && report["type"] == "complete_task" {
            context.disks.write(&self.client.id, task_id, task.attempt);
        }
        self.client.request(report, context);
    }

    fn end_task(&mut self, reply: &Value, context: &mut Context) {
        let mut tasks = self.running.iter();
        let at = tasks.position(|task| reply["task_id"] == *task.task_id);
        let task = self
            .running
            .remove(at.expect("a report is of a running task"));
        if let Some(accepted) = reply["accepted"].as_bool() {
            context.seen.push(Seen::Completed {
                worker: self.client.id.clone(),
                task_id: task.task_id.clone(),
                accepted,
            });
            if task.is_map && accepted {
                self.accepted_maps += 1;
                self.meet(Event::AcceptedMap, &task.task_id, context);
            }
        }
    }

    /// Something happens, and what the worker's behaviour says about it happens then.
    fn meet(&mut self, event: Event, task_id: &str, context: &mut Context) {
        for (when, then) in self.behaviour.faults.clone() {
            let is_due = match (when, event) {
                (When::Maps(n), Event::FetchedMap) => n == self.fetched_maps,
                (When::Reduces(n), Event::FetchedReduce) => n == self.fetched_reduces,
                (When::AcceptedMaps(n), Event::AcceptedMap) => n == self.accepted_maps,
                (When::Idle, Event::NothingToDo) => self.accepted_maps > 0,
                (When::Task(id), Event::FetchedMap | Event::FetchedReduce) => id == task_id,
                (When::Percent(percent), Event::FetchedMap | Event::FetchedReduce) => {
                    if self.random.percent(percent) {
                        let after_ms = self.random.below(self.behaviour.task_ms * 2);
                        let life = self.life;
                        let timer = Timer::Strike { life, then };
                        context.timers.push((after_ms.cast_signed(), timer));
                    }
                    false
                }
                _ => false,
            };
            if is_due {
                self.strike(then, task_id, context);
            }
        }
    }

    fn strike(&mut self, then: Then, task_id: &str, context: &mut Context) {
        match then {
            Then::Die => self.die(context),
            Then::DieAndRestart { after_ms, how } => {
                self.die(context);
                context.timers.push((after_ms, Timer::Restart(how)));
            }
            Then::Hang { ms } => self.asleep_until = context.now + ms,
            Then::Fail(error) => {
                let tasks = self.running.iter_mut();
                for task in tasks.filter(|task| task.task_id == task_id) {
                    task.report = json!({"type": "fail_task", "error": error});
                }
            }
            Then::LoseOutput => context.disks.lose_task(&self.client.id, task_id),
        }
    }

    fn die(&mut self, context: &mut Context) {
        self.state = State::Down;
        self.client.forget();
        self.asking = false;
        context.disks.lose_all(&self.client.id);
        let with = self.running.drain(..).map(|task| task.task_id).collect();
        let worker = self.client.id.clone();
        context.seen.push(Seen::Died { worker, with });
    }

    fn restart(&mut self, how: Restart, context: &mut Context) {
        self.life += 1;
        match how {
            Restart::SameId | Restart::SameIdNextIncarnation => self.go_up(context),
            Restart::NewId => {
                self.client.id = format!("{}.{}", self.name, self.life);
                self.go_up(context);
            }
            Restart::SameIdAfterRemoval => {
                self.state = State::Starting;
                let removal = json!({"type": "remove_worker", "worker_id": self.client.id});
                self.client.request(removal, context);
            }
        }
    }
}

impl Actor for Worker {
    fn id(&self) -> &str {
        &self.client.id
    }

    fn start(&mut self, context: &mut Context) {
        self.go_up(context);
    }

    fn hear(&mut self, reply: &Value, context: &mut Context) {
        if self.state == State::Down || !self.client.is_answered_by(reply) {
            return;
        }
        match reply["type"].as_str().expect("a reply has a type") {
            "worker_removed" => self.go_up(context),
            // Our first request was executed, and its reply lost.
            "error" if self.state == State::Starting && reply["code"] == 20 => self.go_up(context),
            "task_assigned" => {
                self.asking = false;
                self.drop_cancelled(reply, context);
                self.run(&reply["task"], context);
                self.ask(context);
            }
            "no_task" => {
                self.asking = false;
                self.drop_cancelled(reply, context);
                if reply["done"] == true && self.running.is_empty() {
                    self.state = State::Down;
                } else {
                    let life = self.life;
                    context.timers.push((Self::PAUSE_MS, Timer::Ask { life }));
                    self.meet(Event::NothingToDo, "", context);
                }
            }
            "task_completed" | "task_failed" => {
                self.end_task(reply, context);
                self.ask(context);
            }
            _ => panic!("worker {} hears {reply}", self.client.id),
        }
    }

    fn wake(&mut self, timer: Timer, context: &mut Context) {
        let is_up = self.state == State::Up;
        match timer {
            Timer::Resend { msg_id } => self.client.resend(msg_id, context),
            Timer::Restart(how) => self.restart(how, context),
            Timer::Heartbeat { life } if is_up && life == self.life => self.beat(context),
            Timer::Ask { life } if is_up && life == self.life => self.ask(context),
            Timer::TaskEnds { life, task_id } if is_up && life == self.life => {
                self.report(&task_id, context);
            }
            Timer::Strike { life, then } if is_up && life == self.life => {
                self.strike(then, "", context);
            }
            _ => {}
        }
    }

    fn asleep_until(&self) -> i64 {
        self.asleep_until
    }
}

fn map_report(task: &Value) -> Value {
    let chunk = task["chunk"].as_str().expect("chunks are text");
    let partitions = task["partitions"]
        .as_u64()
        .and_then(|count| usize::try_from(count).ok());
    let output = word_count::map(chunk, partitions.expect("a count"));
    completed(output)
}

fn completed(output: Value) -> Value {
    let mut report = json!({"type": "complete_task"});
    report["output"] = output;
    report
}

/// The sums of all inputs; or, where some cannot be read any more, which.
fn reduce_report(task: &Value, worker: &str, context: &mut Context) -> Value {
    let inputs = task["inputs"].as_array().expect("a list");
    let lost: Vec<Value> = inputs
        .iter()
        .filter(|input| !context.disks.can_read(input))
        .map(|input| json!({"task_id": input["task_id"], "attempt": input["attempt"]}))
        .collect();
    if lost.is_empty() {
        let output = word_count::reduce(inputs.iter().map(|input| &input["output"]));
        return completed(output);
    }
    for map in &lost {
        context.seen.push(Seen::CouldNotRead {
            worker: worker.to_owned(),
            map: map["task_id"].as_str().expect("a string").to_owned(),
        });
    }
    json!({"type": "fail_task", "error": "cannot read all inputs", "lost_inputs": lost})
}
