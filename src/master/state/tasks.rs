//! Tasks and their attempts (protocol, section 6).

use super::keys::{Rank, WorkerId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What a task runs. A map stores its id and its chunk; the id of a reduce is derived from its index in the job.
#[derive(Debug)]
pub enum Work {
    Map {
        id: std::rc::Rc<str>,
        chunk: Box<RawValue>,
    },
    Reduce,
}

/// A task.
///
/// Invariants: it is queued ⇔ it is idle; it has a live attempt ⇔ it is running; a backup waits ⇒ it has exactly one
/// live attempt; it has a result ⇔ it is completed.
#[derive(Debug)]
pub struct Task {
    pub work: Work,
    /// Place in task order, the order in which the master came to know the tasks.
    pub order: u64,
    pub state: TaskState,
    /// The highest attempt number that any task used that was removed before this one was added. This task's numbers are
    /// all greater.
    pub numbers_above: u64,
    /// Its attempts, by ascending number. One that ended before it was fetched is kept only while it is the latest attempt
    /// or the winner, or if its worker has reported on it.
    pub attempts: Vec<Attempt>,
    pub live: LiveAttempts,
    /// Its rank in the queue, while it waits there.
    pub queued: Option<Rank>,
    /// The rank of its backup, while one waits.
    pub backup: Option<Rank>,
    pub result: Option<Box<TaskResult>>,
    pub faults: Option<Box<TaskFaults>>,
    /// Its index in the list of running tasks, while it is running.
    pub running_at: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Unfinished, without a live attempt: it waits in the queue.
    Idle,
    /// Unfinished, with a live attempt.
    Running,
    Completed,
    /// Given up; its job goes on without it.
    Skipped,
    /// Given up; this failed its job.
    Failed,
    /// No longer needed, since its job ended.
    Withdrawn,
}

impl TaskState {
    pub const COUNT: usize = 6;

    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Idle | Self::Running)
    }

    /// The state on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// One run of a task by one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    pub number: u64,
    pub worker: WorkerId,
    /// Place in the order of all assignments.
    pub assigned: u64,
    pub fetched: Fetched,
    /// When `check_stragglers` considers the attempt to have started, in ms; `None` until a fetch or a check sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_from: Option<i64>,
    /// Whether it was fetched since the last recovery.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched_since_recovery: bool,
    /// Whether it ended by a `fail_task` without `lost_inputs`, a wrong output or a time-out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_failed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_timed_out: bool,
    /// Whether its worker has reported on it, and so has heard of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_reported: bool,
}

/// Whether the worker has fetched its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetched {
    No,
    /// First by the request with that `timestamp`, in ms.
    At(i64),
    /// At a time that the master does not know.
    Unknown,
}

/// The accepted result of a task.
#[derive(Debug)]
pub struct TaskResult {
    /// The winner's number.
    pub attempt: u64,
    /// The `timestamp` of the result, in ms.
    pub completed_at: i64,
    pub output: Box<RawValue>,
    /// Where in the text of `output` each partition starts and ends; for maps of a job with reduces.
    pub partitions: Box<[(u32, u32)]>,
    pub counters: Counters,
}

impl TaskResult {
    /// The output for one partition, as JSON.
    pub fn partition(&self, partition: usize) -> &str {
        let (start, end) = self.partitions[partition];
        &self.output.get()[start as usize..end as usize]
    }
}

/// Counters by name (paper, §4.7).
pub type Counters = BTreeMap<Box<str>, i64>;

/// What went wrong with a task.
#[derive(Debug, Default)]
pub struct TaskFaults {
    /// How many failures count towards `max_failures`.
    pub failures: u64,
    /// How many losses count towards `max_losses`.
    pub losses: u64,
    /// The error of its last failure, as a JSON string.
    pub error: Option<Box<RawValue>>,
    pub history: Vec<History>,
    /// The counters of a lost output, which count until another result is accepted.
    pub lost_counters: Counters,
}

/// An attempt that went wrong, or whose output was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    pub attempt: u64,
    pub worker: WorkerId,
    /// The worker's last heartbeat then, in ms.
    pub at: i64,
}

impl TaskFaults {
    pub(super) fn is_empty(&self) -> bool {
        self.failures == 0
            && self.losses == 0
            && self.error.is_none()
            && self.history.is_empty()
            && self.lost_counters.is_empty()
    }
}

/// The numbers of a task's live attempts, ascending. A task has at most two: one, and its backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveAttempts([Option<std::num::NonZeroU64>; 2]);

impl LiveAttempts {
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.0.into_iter().flatten().map(std::num::NonZeroU64::get)
    }

    pub fn is_empty(self) -> bool {
        self.0[0].is_none()
    }

    pub fn contains(self, number: u64) -> bool {
        self.iter().any(|live| live == number)
    }

    /// The only live attempt, if there is exactly one.
    pub fn only(self) -> Option<u64> {
        if self.0[1].is_some() {
            None
        } else {
            self.iter().next()
        }
    }

    /// Adds a number above the others. Returns whether there was room.
    pub(super) fn add(&mut self, number: u64) -> bool {
        let free = usize::from(self.0[0].is_some());
        let has_room = self.0[1].is_none();
        self.0[if has_room { free } else { 1 }] = std::num::NonZeroU64::new(number);
        has_room
    }

    pub(super) fn remove(&mut self, number: u64) {
        let [first, second] = self.0.map(|live| live.filter(|live| live.get() != number));
        self.0 = if first.is_some() {
            [first, second]
        } else {
            [second, None]
        };
    }
}

impl Task {
    pub fn new(work: Work, order: u64, numbers_above: u64) -> Self {
        Self {
            work,
            order,
            state: TaskState::Idle,
            numbers_above,
            attempts: Vec::new(),
            live: LiveAttempts::default(),
            queued: None,
            backup: None,
            result: None,
            faults: None,
            running_at: 0,
        }
    }

    /// The id of a map; that of a reduce follows from its job.
    pub fn map_id(&self) -> &str {
        match &self.work {
            Work::Map { id, .. } => id,
            Work::Reduce => "",
        }
    }

    /// The attempt with this number; `None` if it never existed or is forgotten.
    pub fn attempt(&self, number: u64) -> Option<&Attempt> {
        self.place(number).map(|place| &self.attempts[place])
    }

    pub(super) fn attempt_mut(&mut self, number: u64) -> Option<&mut Attempt> {
        self.place(number).map(|place| &mut self.attempts[place])
    }

    fn place(&self, number: u64) -> Option<usize> {
        (self.attempts)
            .binary_search_by_key(&number, |attempt| attempt.number)
            .ok()
    }

    /// The live attempts, by ascending number.
    pub fn live_attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.live.iter().filter_map(|number| self.attempt(number))
    }

    /// The number of the live attempt on that worker.
    pub fn live_on(&self, worker: &str) -> Option<u64> {
        (self.live_attempts())
            .find(|attempt| *attempt.worker == *worker)
            .map(|attempt| attempt.number)
    }

    /// The most recent attempt on that worker.
    pub fn last_on(&self, worker: &str) -> Option<&Attempt> {
        (self.attempts.iter().rev()).find(|attempt| *attempt.worker == *worker)
    }

    /// The highest attempt number used.
    pub fn last_number(&self) -> u64 {
        (self.attempts.last()).map_or(self.numbers_above, |attempt| attempt.number)
    }

    /// The attempt whose result was accepted.
    pub fn winner(&self) -> Option<&Attempt> {
        self.attempt(self.result.as_ref()?.attempt)
    }

    /// The accepted output.
    pub fn output(&self) -> Option<&RawValue> {
        self.result.as_deref().map(|result| &*result.output)
    }

    /// How long the winner ran, in ms, from its first fetch to its result, both by its worker's clock; `None` where
    /// one of the two is not known.
    pub fn run_time(&self) -> Option<i128> {
        let result = self.result.as_ref()?;
        match self.winner()?.fetched {
            Fetched::At(fetched_at) => {
                Some(i128::from(result.completed_at) - i128::from(fetched_at))
            }
            Fetched::No | Fetched::Unknown => None,
        }
    }

    pub fn failures(&self) -> u64 {
        self.faults.as_ref().map_or(0, |faults| faults.failures)
    }

    pub fn losses(&self) -> u64 {
        self.faults.as_ref().map_or(0, |faults| faults.losses)
    }

    /// Which attempts went wrong, and on which workers.
    pub fn history(&self) -> &[History] {
        self.faults.as_ref().map_or(&[], |faults| &faults.history)
    }

    pub(super) fn faults_mut(&mut self) -> &mut TaskFaults {
        self.faults.get_or_insert_default()
    }

    /// Forgets the attempts that no worker ever heard of, because they ended before they were fetched. The most recent
    /// attempt and the winner stay.
    pub(super) fn forget_unfetched(&mut self) {
        let (live, last) = (self.live, self.last_number());
        let winner = self.result.as_ref().map(|result| result.attempt);
        let is_remembered = |attempt: &Attempt| {
            attempt.fetched != Fetched::No
                || attempt.is_reported
                || live.contains(attempt.number)
                || attempt.number == last
                || Some(attempt.number) == winner
        };
        if self.attempts.iter().all(is_remembered) {
            return;
        }
        self.attempts.retain(is_remembered);
        let attempts = &self.attempts;
        if let Some(faults) = &mut self.faults {
            (faults.history).retain(|entry| {
                attempts
                    .iter()
                    .any(|attempt| attempt.number == entry.attempt)
            });
        }
    }
}
