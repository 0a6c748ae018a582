//! Tasks and their attempts: what they are, and the few ways in which they change (protocol, section 6).
//!
//! Whatever ends an attempt (its result, its error, the loss of its worker, a reassignment, the end of its
//! job), it ends in [`Master::end_attempt`]; and what becomes of a task without live attempts is decided in
//! [`Master::settle`].

use super::Master;
use super::events::Event;
use super::jobs::{JobState, lane_of};
use super::queue::Rank;
use super::workers::{Assignment, WorkerKey};
use crate::wire::Quoted;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Where a task is found: its job's number, and its place in the job, maps before reduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    pub job: u32,
    pub task: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    Map = 0,
    Reduce = 1,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    pub id: Box<str>,
    /// What a map works on; a reduce has none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    pub chunk: Option<Box<RawValue>>,
    /// Place in task order, the order in which the master came to know the tasks.
    pub order: u64,
    pub state: TaskState,
    /// Every attempt so far; attempt `n` is at `n - 1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The numbers of the live attempts, ascending: two at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub live: LiveAttempts,
    #[serde(default, skip_serializing_if = "is_default")]
    pub failures: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub losses: u64,
    /// The error of the last attempt that reported one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub error: Option<Box<str>>,
    /// Its place in the queue, while it waits there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queued: Option<Rank>,
    /// The place of its backup, while one waits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub backup: Option<Rank>,
    /// Of a completed task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<TaskResult>>,
}

/// A field that is left out of snapshots because it says nothing.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A value that is there, `null` or not.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// Unfinished, without a live attempt: it waits in the queue.
    Idle,
    /// Unfinished, with a live attempt.
    Running,
    Completed,
    /// Given up, and its job goes on without it.
    Skipped,
    /// Given up, and its job failed by that.
    Failed,
    /// Not needed any more, since its job ended.
    Withdrawn,
}

impl TaskState {
    pub const COUNT: usize = 6;

    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Idle | Self::Running)
    }

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
#[derive(Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub worker: WorkerKey,
    /// Place in the order of all assignments.
    pub assigned: u64,
    pub fetched: Fetched,
}

/// Whether the worker has fetched its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fetched {
    No,
    /// At that `timestamp`, in ms.
    At(i64),
    /// At a time that we were not told.
    Sometime,
}

/// The accepted result of a task.
#[derive(Debug, Serialize, Deserialize)]
pub struct TaskResult {
    pub attempt: u32,
    /// The `timestamp` of the result, in ms.
    pub completed_at: i64,
    pub output: Box<RawValue>,
    /// Where in the text of `output` each partition starts and ends; for maps of a job with reduces.
    pub partitions: Box<[(u32, u32)]>,
}

/// The numbers of a task's live attempts, ascending. A task has two at most: one, and its backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveAttempts([Option<std::num::NonZeroU32>; 2]);

impl LiveAttempts {
    pub fn iter(self) -> impl Iterator<Item = u32> {
        self.0.into_iter().flatten().map(std::num::NonZeroU32::get)
    }

    pub fn is_empty(self) -> bool {
        self.0[0].is_none()
    }

    /// The only live attempt, if there is exactly one.
    pub fn only(self) -> Option<u32> {
        if self.0[1].is_some() {
            None
        } else {
            self.iter().next()
        }
    }

    fn add(&mut self, number: u32) {
        debug_assert!(
            self.0[1].is_none(),
            "at most two attempts of a task are live"
        );
        let free = usize::from(self.0[0].is_some());
        self.0[free] = std::num::NonZeroU32::new(number);
    }

    fn remove(&mut self, number: u32) {
        let [first, second] = self.0.map(|live| live.filter(|live| live.get() != number));
        self.0 = if first.is_some() {
            [first, second]
        } else {
            [second, None]
        };
    }
}

impl Task {
    pub fn new(id: &str, chunk: Option<Box<RawValue>>, order: u64) -> Self {
        Self {
            id: id.into(),
            chunk,
            order,
            state: TaskState::Idle,
            attempts: Vec::new(),
            live: LiveAttempts::default(),
            failures: 0,
            losses: 0,
            error: None,
            queued: None,
            backup: None,
            result: None,
        }
    }

    pub fn attempt(&self, number: u32) -> &Attempt {
        &self.attempts[number as usize - 1]
    }

    /// The live attempt on that worker.
    pub fn live_on(&self, worker: WorkerKey) -> Option<u32> {
        self.live
            .iter()
            .find(|number| self.attempt(*number).worker == worker)
    }

    /// The attempt of that number, if it was given to that worker.
    pub fn given(&self, number: i64, worker: WorkerKey) -> Option<u32> {
        let number = u32::try_from(number).ok()?;
        let attempt = self
            .attempts
            .get(usize::try_from(number).ok()?.checked_sub(1)?)?;
        (attempt.worker == worker).then_some(number)
    }

    /// The attempt whose result was accepted.
    pub fn winner(&self) -> Option<&Attempt> {
        self.result
            .as_deref()
            .map(|result| self.attempt(result.attempt))
    }

    /// The accepted output.
    pub fn output(&self) -> Option<&RawValue> {
        self.result.as_deref().map(|result| &*result.output)
    }

    /// How long the winning attempt ran, in ms, from its first fetch to its result; `None` where one of the
    /// two is missing.
    pub fn run_time(&self) -> Option<i128> {
        let result = self.result.as_ref()?;
        match self.attempt(result.attempt).fetched {
            Fetched::At(fetched_at) => {
                Some(i128::from(result.completed_at) - i128::from(fetched_at))
            }
            Fetched::No | Fetched::Sometime => None,
        }
    }
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its task has ended: by its own result, by another attempt's, or with the job.
    WithTask,
    /// Its worker reported an error of its own.
    Failed,
    /// Its worker could not fetch its inputs.
    WithoutInputs,
    /// Its worker failed, left, or had the task taken from it.
    Lost,
}

impl Master {
    /// Gives a task to a worker as a new attempt; returns the attempt's number.
    pub(super) fn start_attempt(
        &mut self,
        key: TaskKey,
        worker: WorkerKey,
        fetched: Fetched,
    ) -> u32 {
        self.leave_queue(key);
        self.drop_backup(key);
        let assigned = self.next_assigned;
        self.next_assigned += 1;
        self.counters.started += 1;
        let task = self.jobs.task_mut(key);
        if task.attempts.is_empty() {
            task.attempts.reserve_exact(1);
        }
        task.attempts.push(Attempt {
            worker,
            assigned,
            fetched,
        });
        let number = u32::try_from(task.attempts.len()).expect("memory ends before the numbers do");
        task.live.add(number);
        let holdings = self.workers.holdings_mut(worker);
        holdings.attempts += 1;
        let assignment = Assignment {
            assigned,
            task: key,
        };
        holdings.live.insert(assigned, key);
        self.hold_latest(worker, assignment);
        self.set_state(key, TaskState::Running);
        number
    }

    /// Ends a live attempt. Unless its task has ended too, [`settle`](Self::settle) decides what comes next.
    pub(super) fn end_attempt(&mut self, key: TaskKey, number: u32, end: End) {
        let task = self.jobs.task_mut(key);
        task.live.remove(number);
        let &Attempt {
            worker,
            assigned,
            fetched,
        } = task.attempt(number);
        match end {
            End::WithTask | End::WithoutInputs => {}
            End::Failed => {
                task.failures += 1;
                self.counters.failed += 1;
            }
            End::Lost => {
                task.losses += u64::from(fetched != Fetched::No);
                self.counters.lost += 1;
            }
        }
        self.workers.holdings_mut(worker).live.remove(&assigned);
    }

    /// Queues an unfinished task again when no attempt of it is live; or gives it up, when its limits are
    /// reached. Returns whether it was queued.
    pub(super) fn settle(&mut self, key: TaskKey) -> bool {
        let task = self.jobs.task(key);
        if !task.state.is_unfinished() || !task.live.is_empty() || task.queued.is_some() {
            return false;
        }
        if self.give_up_if_exhausted(key) {
            return false;
        }
        self.drop_backup(key);
        self.set_state(key, TaskState::Idle);
        let rank = self.next_rank;
        self.next_rank += 1;
        self.enter_queue(key, rank);
        true
    }

    /// Ends a task for good, and its attempts with it.
    pub(super) fn finish(&mut self, key: TaskKey, state: TaskState) {
        self.leave_queue(key);
        self.drop_backup(key);
        for number in self.jobs.task(key).live.iter() {
            self.end_attempt(key, number, End::WithTask);
        }
        self.set_state(key, state);
    }

    /// Gives up an unfinished task that has no live attempt and has reached its limits: skips it, or fails its
    /// job by it.
    pub(super) fn give_up_if_exhausted(&mut self, key: TaskKey) -> bool {
        let job = self.jobs.job(key);
        let task = self.jobs.task(key);
        let limits = job.limits;
        let is_exhausted = task.failures >= limits.max_failures || task.losses >= limits.max_losses;
        if !is_exhausted || !task.live.is_empty() {
            return false;
        }
        if job.may_skip_more() {
            self.events.push(|| Event::TaskSkipped {
                task: task.id.clone(),
            });
            self.finish(key, TaskState::Skipped);
            self.complete_job_if_done(key.job);
            return true;
        }
        let error = match &task.error {
            Some(error) if task.failures >= limits.max_failures => error.clone(),
            _ => match task.losses {
                1 => format!("task {} was lost once", Quoted(&task.id)).into(),
                losses => format!("task {} was lost {losses} times", Quoted(&task.id)).into(),
            },
        };
        self.finish(key, TaskState::Failed);
        self.end_job(key.job, JobState::Failed { error });
        true
    }

    /// Takes back the result of a map, whose output is lost. Returns whether it was queued again.
    pub(super) fn lose_output(&mut self, key: TaskKey) -> bool {
        let task = self.jobs.task_mut(key);
        task.result = None;
        if let Some(&Attempt {
            worker, assigned, ..
        }) = task.attempts.last()
        {
            self.hold_latest(
                worker,
                Assignment {
                    assigned,
                    task: key,
                },
            );
        }
        self.set_state(key, TaskState::Idle);
        self.settle(key)
    }

    /// Notes with a worker that an attempt of it is the most recent one of its task, or its result is
    /// accepted. It may be noted already.
    pub(super) fn hold_latest(&mut self, worker: WorkerKey, assignment: Assignment) {
        let jobs = &self.jobs;
        let latest = &mut self.workers.holdings_mut(worker).latest;
        latest.push(assignment, |other| jobs.is_latest_or_output(other));
    }

    pub(super) fn enter_queue(&mut self, key: TaskKey, rank: Rank) {
        let lane = self.jobs.lane(key);
        self.jobs.task_mut(key).queued = Some(rank);
        self.queue.insert(lane, rank, key);
    }

    fn leave_queue(&mut self, key: TaskKey) {
        let lane = self.jobs.lane(key);
        if let Some(rank) = self.jobs.task_mut(key).queued.take() {
            self.queue.remove(lane, rank);
        }
    }

    fn drop_backup(&mut self, key: TaskKey) {
        let lane = self.jobs.lane(key);
        if let Some(rank) = self.jobs.task_mut(key).backup.take() {
            self.backups.remove(lane, rank);
        }
    }

    fn set_state(&mut self, key: TaskKey, state: TaskState) {
        if self.jobs.set_state(key, state) {
            self.set_barrier(key.job);
        }
    }

    /// Holds a job's reduces back, or lets them go, as its maps are.
    pub(super) fn set_barrier(&mut self, job: u32) {
        let is_open = self.jobs.at(job).is_open(Kind::Reduce);
        let lane = lane_of(job, Kind::Reduce);
        self.queue.set_open(lane, is_open);
        self.backups.set_open(lane, is_open);
    }
}
