//! What workers and the monitor have in common: they send requests again until these are answered.

use super::node::Letter;
use super::worker::{Restart, Then};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// Someone who talks to the node: a state machine, which is told of replies and of times, and says what it
/// wants done about them.
pub trait Actor {
    /// Where replies to it go.
    fn id(&self) -> &str;
    fn start(&mut self, context: &mut Context);
    fn hear(&mut self, reply: &Value, context: &mut Context);
    fn wake(&mut self, timer: Timer, context: &mut Context);
    /// Until when nothing reaches it.
    fn asleep_until(&self) -> i64 {
        i64::MIN
    }
}

/// Why an actor is woken.
#[derive(Clone, Debug)]
pub enum Timer {
    /// No reply came.
    Resend { msg_id: u64 },
    /// A monitor looks after the workers.
    Check,
    /// A worker shows that it lives.
    Heartbeat { life: u32 },
    /// A worker that had nothing to do asks again.
    Ask { life: u32 },
    /// A worker has run a task.
    TaskEnds { life: u32, task_id: String },
    /// What a behaviour says happens to a worker.
    Strike { life: u32, then: Then },
    /// A worker that died starts again.
    Restart(Restart),
}

/// What an actor sees of the world, and what it wants done.
pub struct Context<'a> {
    /// In ms since the epoch.
    pub now: i64,
    pub disks: &'a mut Disks,
    pub letters: Vec<Letter>,
    /// After how many ms, and why.
    pub timers: Vec<(i64, Timer)>,
    pub seen: &'a mut Vec<Seen>,
}

/// What happened to a worker, for the tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Fetched {
        worker: String,
        task_id: String,
    },
    Completed {
        worker: String,
        task_id: String,
        accepted: bool,
    },
    Cancelled {
        worker: String,
        task_id: String,
    },
    CouldNotRead {
        worker: String,
        map: String,
    },
    Died {
        worker: String,
        with: Vec<String>,
    },
}

/// Which map outputs can be fetched from where.
pub enum Disks {
    /// All of them, for good, from a file system of the whole cluster.
    Shared,
    /// From the workers' own disks: worker, map, attempt.
    Local(HashSet<(String, String, u64)>),
}

impl Disks {
    pub fn write(&mut self, worker: &str, map: &str, attempt: u64) {
        if let Self::Local(files) = self {
            files.insert((worker.to_owned(), map.to_owned(), attempt));
        }
    }

    /// Whether that input of a reduce task can be read.
    pub fn can_read(&self, input: &Value) -> bool {
        let Self::Local(files) = self else {
            return true;
        };
        files.iter().any(|(worker, map, attempt)| {
            input["worker_id"] == **worker
                && input["task_id"] == **map
                && input["attempt"] == *attempt
        })
    }

    pub fn lose_task(&mut self, worker: &str, map: &str) {
        if let Self::Local(files) = self {
            files.retain(|(on, of, _)| !(on == worker && of == map));
        }
    }

    pub fn lose_all(&mut self, worker: &str) {
        if let Self::Local(files) = self {
            files.retain(|(on, ..)| on != worker);
        }
    }
}

/// The sending half of an actor.
pub struct Client {
    pub id: String,
    last_msg_id: u64,
    unanswered: BTreeMap<u64, Letter>,
}

impl Client {
    const PATIENCE_MS: i64 = 100;

    pub fn new(id: String) -> Self {
        Self {
            id,
            last_msg_id: 0,
            unanswered: BTreeMap::new(),
        }
    }

    /// Sends a request, again and again until it is answered.
    pub fn request(&mut self, body: Value, context: &mut Context) {
        let letter = self.letter(body);
        self.unanswered.insert(letter.msg_id, letter.clone());
        Self::post(letter, context);
    }

    /// Sends a request once: if it is lost, the next of its kind makes up for it.
    pub fn tell(&mut self, body: Value, context: &mut Context) {
        let letter = self.letter(body);
        context.letters.push(letter);
    }

    pub fn resend(&mut self, msg_id: u64, context: &mut Context) {
        if let Some(letter) = self.unanswered.get(&msg_id).cloned() {
            Self::post(letter, context);
        }
    }

    /// Takes in a reply. Returns whether it is the first one to a request that waits for one.
    pub fn is_answered_by(&mut self, reply: &Value) -> bool {
        let msg_id = reply["in_reply_to"]
            .as_u64()
            .expect("every request has a msg_id");
        self.unanswered.remove(&msg_id).is_some()
    }

    /// Forgets what it was about to say, but not which `msg_id`s were used: a late reply to a former life must
    /// not be taken for one to this life.
    pub fn forget(&mut self) {
        self.unanswered.clear();
    }

    fn letter(&mut self, body: Value) -> Letter {
        self.last_msg_id += 1;
        Letter::new(&self.id, self.last_msg_id, body)
    }

    fn post(letter: Letter, context: &mut Context) {
        let msg_id = letter.msg_id;
        context.letters.push(letter);
        context
            .timers
            .push((Self::PATIENCE_MS, Timer::Resend { msg_id }));
    }
}

/// The monitor: submits the job, checks on the workers, and asks how the job is until it ends.
pub struct Monitor {
    client: Client,
    submission: Value,
    checks: Checks,
    state: State,
}

#[derive(Clone, Debug)]
pub struct Checks {
    pub every_ms: i64,
    pub timeout_ms: i64,
    pub stragglers: Stragglers,
}

impl Checks {
    pub const DEFAULT: Self = Self {
        every_ms: 500,
        timeout_ms: 3_000,
        stragglers: Stragglers::ByMedian,
    };

    pub const WITHOUT_BACKUPS: Self = Self {
        stragglers: Stragglers::Ignored,
        ..Self::DEFAULT
    };
}

/// Whether stragglers get backup attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stragglers {
    Ignored,
    /// Those slower than 1.5 × the median, once most of their kind are completed.
    ByMedian,
}

#[derive(PartialEq, Eq)]
enum State {
    Submitting,
    Watching,
    Done,
}

impl Monitor {
    pub fn new(submission: Value, checks: Checks) -> Self {
        Self {
            client: Client::new("monitor".into()),
            submission,
            checks,
            state: State::Submitting,
        }
    }

    fn check(&mut self, context: &mut Context) {
        let now = context.now;
        let Checks {
            every_ms,
            timeout_ms,
            stragglers,
        } = self.checks;
        let failures = json!({"type": "check_failures", "timeout_ms": timeout_ms, "now": now});
        self.client.tell(failures, context);
        if stragglers == Stragglers::ByMedian {
            let stragglers = json!({"type": "check_stragglers", "now": now});
            self.client.tell(stragglers, context);
        }
        let status = json!({"type": "job_status", "job_id": self.submission["job_id"]});
        self.client.tell(status, context);
        context.timers.push((every_ms, Timer::Check));
    }
}

impl Actor for Monitor {
    fn id(&self) -> &str {
        &self.client.id
    }

    fn start(&mut self, context: &mut Context) {
        self.client.request(self.submission.clone(), context);
    }

    fn hear(&mut self, reply: &Value, context: &mut Context) {
        match reply["type"].as_str() {
            Some("job_submitted") if self.client.is_answered_by(reply) => {
                self.state = State::Watching;
                self.check(context);
            }
            Some("job_status_ok") if reply["state"] != "running" => self.state = State::Done,
            Some("error") => panic!("the monitor hears {reply}"),
            _ => {}
        }
    }

    fn wake(&mut self, timer: Timer, context: &mut Context) {
        match timer {
            Timer::Resend { msg_id } => self.client.resend(msg_id, context),
            Timer::Check if self.state == State::Watching => self.check(context),
            _ => {}
        }
    }
}
