//! What workers and the monitor have in common: they live by replies and timers, and send their requests again
//! until these are answered.

use super::node::Letter;
use super::worker::{Restart, Then};
use serde_json::Value;
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
