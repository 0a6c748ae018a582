//! Jobs: their options, their tasks and their progress (protocol, section 6).

use super::keys::{JobKey, Kind, Lane, TaskKey, WorkerId};
use super::run_times::RunTimes;
use super::tasks::{Task, TaskState, Work};
use crate::wire::{JobCounts, JobOptions, TaskCounts};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The id of the job of the tasks taken in by `reassign`.
pub const TAKEN_IN: &str = "";

/// A job.
///
/// Invariants: `counts` and `run_times` are those of `tasks`; `counters` has the sums over the accepted results and
/// the lost ones that nothing has replaced; a running job has an unfinished task of the kind that ends it.
#[derive(Debug)]
pub struct Job {
    pub id: Rc<str>,
    /// Place in the order in which the jobs were submitted.
    pub submitted: u64,
    pub options: JobOptions,
    pub state: JobState,
    /// The maps, then the reduces.
    pub tasks: Vec<Task>,
    pub map_tasks: usize,
    /// How many tasks there are, by kind and state.
    counts: [[usize; TaskState::COUNT]; 2],
    /// Of the completed tasks, by kind.
    run_times: [RunTimes; 2],
    /// The sum of each counter, and how many results have it.
    pub counters: BTreeMap<Box<str>, (i128, u64)>,
    /// The recent failures of each worker. A worker whose last attempt succeeded has no entry.
    pub conduct: BTreeMap<WorkerId, Conduct>,
    /// The workers whose last `max_worker_failures` attempts all failed. Only they can be excluded.
    pub suspects: BTreeSet<WorkerId>,
    /// When all exclusions were last ended: the last heartbeat of the worker that asked, in ms.
    pub amnesty_at: Option<i64>,
}

/// What a worker has reported lately on its attempts of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conduct {
    /// How many of the last attempts failed, in a row.
    pub failures: u64,
    /// The worker's last heartbeat when the last of them failed, in ms, if it was known.
    pub failed_at: Option<i64>,
}

#[derive(Debug)]
pub enum JobState {
    Running,
    Completed,
    Failed {
        /// The task by which it failed.
        task: TaskKey,
        /// A JSON string.
        error: Box<RawValue>,
    },
}

impl JobState {
    /// The state on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }
}

impl Job {
    pub fn new(id: &str, submitted: u64, options: JobOptions) -> Self {
        Self {
            id: id.into(),
            submitted,
            options,
            state: JobState::Running,
            tasks: Vec::new(),
            map_tasks: 0,
            counts: <_>::default(),
            run_times: <_>::default(),
            counters: BTreeMap::new(),
            conduct: BTreeMap::new(),
            suspects: BTreeSet::new(),
            amnesty_at: None,
        }
    }

    pub fn reduce_tasks(&self) -> usize {
        self.tasks.len() - self.map_tasks
    }

    pub fn kind(&self, task: u32) -> Kind {
        if (task as usize) < self.map_tasks {
            Kind::Map
        } else {
            Kind::Reduce
        }
    }

    /// The tasks of one kind, in task order.
    pub fn tasks_of(&self, kind: Kind) -> &[Task] {
        let (maps, reduces) = self.tasks.split_at(self.map_tasks);
        match kind {
            Kind::Map => maps,
            Kind::Reduce => reduces,
        }
    }

    /// The id of a task.
    pub fn task_id(&self, task: u32) -> Cow<'_, str> {
        match &self.tasks[task as usize].work {
            Work::Map { id, .. } => Cow::Borrowed(id),
            Work::Reduce => reduce_id(&self.id, task as usize - self.map_tasks).into(),
        }
    }

    /// The kind of task that ends the job when all of that kind are done: reduces, or maps if there are no reduces.
    pub fn last_kind(&self) -> Kind {
        if self.reduce_tasks() > 0 {
            Kind::Reduce
        } else {
            Kind::Map
        }
    }

    pub fn count(&self, kind: Kind, state: TaskState) -> usize {
        self.counts[kind as usize][state as usize]
    }

    pub fn unfinished(&self, kind: Kind) -> usize {
        self.count(kind, TaskState::Idle) + self.count(kind, TaskState::Running)
    }

    /// The barrier (section 6): whether tasks of that kind may be handed out. Reduces may only while every map is
    /// completed or skipped.
    pub fn is_open(&self, kind: Kind) -> bool {
        kind == Kind::Map || self.unfinished(Kind::Map) == 0
    }

    /// Whether the output of a completed map is lost with its worker: it lives there, and is still needed.
    pub fn outputs_live_on_workers(&self) -> bool {
        self.options.map_output == crate::wire::MapOutput::Worker
            && self.unfinished(Kind::Reduce) > 0
    }

    pub fn run_times(&self, kind: Kind) -> &RunTimes {
        &self.run_times[kind as usize]
    }

    pub(super) fn run_times_mut(&mut self, kind: Kind) -> &mut RunTimes {
        &mut self.run_times[kind as usize]
    }

    /// Replaces the counters of a task's lost result by those of its new one.
    pub(super) fn replace_lost_counters(&mut self, task: u32) {
        if let Some(faults) = &mut self.tasks[task as usize].faults {
            for (name, count) in std::mem::take(&mut faults.lost_counters) {
                if let Some((sum, results)) = self.counters.get_mut(&name) {
                    *sum -= i128::from(count);
                    *results -= 1;
                    if *results == 0 {
                        self.counters.remove(&name);
                    }
                }
            }
        }
        self.add_counters(task);
    }

    /// Adds the counters of a task's result, or of its lost one, to the sums.
    pub(super) fn add_counters(&mut self, task: u32) {
        let task = &self.tasks[task as usize];
        let counters = match (&task.result, &task.faults) {
            (Some(result), _) => &result.counters,
            (None, Some(faults)) => &faults.lost_counters,
            (None, None) => return,
        };
        for (name, count) in counters {
            let (sum, results) = self.counters.entry(name.clone()).or_default();
            *sum += i128::from(*count);
            *results += 1;
        }
    }

    pub fn task_counts(&self, kind: Kind) -> TaskCounts {
        let count = |state| self.count(kind, state);
        TaskCounts {
            idle: count(TaskState::Idle),
            running: count(TaskState::Running),
            completed: count(TaskState::Completed),
            skipped: count(TaskState::Skipped),
            failed: count(TaskState::Failed),
            withdrawn: count(TaskState::Withdrawn),
        }
    }
}

/// The id of a job's reduce task.
pub fn reduce_id(job: &str, partition: usize) -> String {
    format!("{job}-reduce-{partition}")
}

/// Splits the id of a reduce task into its job's and its partition; `None` for an id that no reduce task can have.
fn split_reduce_id(id: &str) -> Option<(&str, usize)> {
    let (rest, partition) = id.rsplit_once('-')?;
    let job = rest.strip_suffix("-reduce")?;
    let number: u32 = partition.parse().ok()?;
    // "+1" and "01" parse as numbers, but no reduce task has such an id.
    let is_canonical = partition.starts_with(|first: char| first.is_ascii_digit())
        && (partition == "0" || !partition.starts_with('0'));
    is_canonical.then_some((job, number as usize))
}

/// All jobs and their tasks.
#[derive(Debug, Default)]
pub struct Jobs {
    /// Indexed by key. The slots of removed jobs are reused.
    jobs: Vec<Option<Job>>,
    free: Vec<JobKey>,
    by_id: HashMap<Rc<str>, JobKey>,
    /// The map tasks by id. The ids of reduces follow from their jobs'.
    maps_by_id: HashMap<Rc<str>, TaskKey>,
    counts: JobCounts,
    /// How many jobs were ever added; the next job's place in the order of submission.
    pub(super) submitted: u64,
}

impl Jobs {
    pub fn find(&self, id: &str) -> Option<JobKey> {
        self.by_id.get(id).copied()
    }

    pub fn find_task(&self, id: &str) -> Option<TaskKey> {
        self.find_map(id).or_else(|| self.find_reduce(id))
    }

    pub fn find_reduce(&self, id: &str) -> Option<TaskKey> {
        let (job_id, partition) = split_reduce_id(id)?;
        let key = self.find(job_id)?;
        let job = self.get(key);
        let task = (partition < job.reduce_tasks()).then_some(job.map_tasks + partition)?;
        Some(TaskKey::new(key, task))
    }

    pub fn find_map(&self, id: &str) -> Option<TaskKey> {
        self.maps_by_id.get(id).copied()
    }

    pub fn has_maps(&self) -> bool {
        !self.maps_by_id.is_empty()
    }

    /// The job with that key. Panics if it was removed, since keys never come from outside.
    pub fn get(&self, key: JobKey) -> &Job {
        self.jobs[key as usize]
            .as_ref()
            .expect("no key outlives its job")
    }

    pub(super) fn get_mut(&mut self, key: JobKey) -> &mut Job {
        self.jobs[key as usize]
            .as_mut()
            .expect("no key outlives its job")
    }

    pub fn task(&self, key: TaskKey) -> &Task {
        &self.get(key.job).tasks[key.task as usize]
    }

    pub(super) fn task_mut(&mut self, key: TaskKey) -> &mut Task {
        &mut self.get_mut(key.job).tasks[key.task as usize]
    }

    pub fn task_id(&self, key: TaskKey) -> Cow<'_, str> {
        self.get(key.job).task_id(key.task)
    }

    pub fn kind(&self, key: TaskKey) -> Kind {
        self.get(key.job).kind(key.task)
    }

    /// The lane of the queues in which a task waits.
    pub fn lane(&self, key: TaskKey) -> Lane {
        Lane {
            job: key.job,
            kind: self.kind(key),
        }
    }

    pub fn counts(&self) -> JobCounts {
        self.counts
    }

    /// The jobs in the order in which they were submitted.
    pub fn in_order(&self) -> Vec<(JobKey, &Job)> {
        let mut list: Vec<_> = (0..)
            .zip(&self.jobs)
            .filter_map(|(key, job)| Some((key, job.as_ref()?)))
            .collect();
        list.sort_unstable_by_key(|(_, job)| job.submitted);
        list
    }

    /// Adds a job whose id is not taken.
    pub(super) fn add(&mut self, job: Job) -> JobKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.jobs.push(None);
            JobKey::try_from(self.jobs.len() - 1).expect("there are fewer than 2^32 jobs")
        });
        self.by_id.insert(Rc::clone(&job.id), key);
        *self.counts.of(&job.state) += 1;
        self.jobs[key as usize] = Some(job);
        key
    }

    pub(super) fn remove(&mut self, key: JobKey) -> Option<Job> {
        let job = self.jobs[key as usize].take()?;
        self.free.push(key);
        self.by_id.remove(&job.id);
        for task in &job.tasks {
            if let Work::Map { id, .. } = &task.work {
                self.maps_by_id.remove(id);
            }
        }
        *self.counts.of(&job.state) -= 1;
        Some(job)
    }

    /// Makes room for `maps` map tasks and `reduces` reduce tasks of a job.
    pub(super) fn reserve(&mut self, key: JobKey, maps: usize, reduces: usize) {
        self.maps_by_id.reserve(maps);
        self.get_mut(key).tasks.reserve_exact(maps + reduces);
    }

    /// Appends a task to a job: maps before reduces.
    pub(super) fn add_task(&mut self, job_key: JobKey, task: Task) -> TaskKey {
        let job = self.get_mut(job_key);
        let key = TaskKey::new(job_key, job.tasks.len());
        let kind = match &task.work {
            Work::Map { .. } => Kind::Map,
            Work::Reduce => Kind::Reduce,
        };
        job.counts[kind as usize][task.state as usize] += 1;
        job.map_tasks += usize::from(kind == Kind::Map);
        let map_id = match &task.work {
            Work::Map { id, .. } => Some(Rc::clone(id)),
            Work::Reduce => None,
        };
        job.tasks.push(task);
        if let Some(id) = map_id {
            self.maps_by_id.insert(id, key);
        }
        key
    }

    /// Changes a task's state. Returns whether that opened or closed the barrier before the job's reduces.
    pub(super) fn set_task_state(&mut self, key: TaskKey, state: TaskState) -> bool {
        let job = self.get_mut(key.job);
        let was_open = job.is_open(Kind::Reduce);
        let kind = job.kind(key.task);
        let task = &mut job.tasks[key.task as usize];
        let before = std::mem::replace(&mut task.state, state);
        job.counts[kind as usize][before as usize] -= 1;
        job.counts[kind as usize][state as usize] += 1;
        job.is_open(Kind::Reduce) != was_open
    }

    pub(super) fn set_job_state(&mut self, key: JobKey, state: JobState) {
        let job = self.jobs[key as usize]
            .as_mut()
            .expect("no key outlives its job");
        *self.counts.of(&job.state) -= 1;
        *self.counts.of(&state) += 1;
        job.state = state;
    }
}

impl JobCounts {
    fn of(&mut self, state: &JobState) -> &mut usize {
        match state {
            JobState::Running => &mut self.running,
            JobState::Completed => &mut self.completed,
            JobState::Failed { .. } => &mut self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{reduce_id, split_reduce_id};

    #[test]
    fn only_the_ids_that_reduces_have_are_split() {
        for (job, partition) in [("j", 0), ("", 7), ("a-reduce-1", 10), ("-reduce-", 999_999)] {
            assert_eq!(
                split_reduce_id(&reduce_id(job, partition)),
                Some((job, partition))
            );
        }
        for id in [
            "",
            "j",
            "j-reduce-",
            "j-reduce-01",
            "j-reduce-+1",
            "j-reduce-x",
            "j-reduce--1",
        ] {
            assert_eq!(split_reduce_id(id), None, "{id}");
        }
    }
}
