//! Reads a snapshot: validates every record, and recomputes the derived data.

use super::{JobRecord, JobStateRecord, Record, TaskRecord, TotalsRecord};
use crate::master::state::Master;
use crate::master::state::jobs::{Job, JobState, TAKEN_IN};
use crate::master::state::keys::{JobKey, Kind, Rank, TaskKey, WorkerId, fresh_rank};
use crate::master::state::tasks::{
    History, LiveAttempts, Task, TaskFaults, TaskResult, TaskState, Work,
};
use crate::master::state::workers::Worker;
use crate::wire::{MAX_REDUCE_TASKS, split_array};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

/// The largest count or number that a snapshot may hold. It leaves enough room that none of them ever overflows.
const MAX_COUNT: u64 = 1 << 60;

/// A record that no master can have written: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt(pub &'static str);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Corrupt {}

fn ensure(is_right: bool, problem: &'static str) -> Result<(), Corrupt> {
    if is_right {
        Ok(())
    } else {
        Err(Corrupt(problem))
    }
}

/// Reads the records of a snapshot in the order in which they were written.
#[derive(Debug, Default)]
pub struct Loader {
    master: Master,
    has_totals: bool,
    job: Option<JobKey>,
    /// The worker ids so far, so that all references to a worker share one allocation.
    ids: HashSet<WorkerId>,
}

impl Loader {
    /// Takes the next record.
    pub fn load(&mut self, record: Record<'_>) -> Result<(), Corrupt> {
        if let Record::Totals(record) = record {
            ensure(!self.has_totals, "the totals appear twice")?;
            self.has_totals = true;
            return self.load_totals(*record);
        }
        ensure(self.has_totals, "the totals do not come first")?;
        match record {
            Record::Totals(_) => Ok(()),
            Record::Worker { id, worker } => self.load_worker(&id, worker),
            Record::Job(record) => self.load_job(*record),
            Record::Task(record) => self.load_task(*record),
            Record::Reduces {
                count,
                order,
                numbers_above,
            } => {
                ensure(count <= MAX_REDUCE_TASKS, "there are too many reduces")?;
                ensure(order < MAX_COUNT, "a number is too large")?;
                for order in (order..).take(count as usize) {
                    ensure(order < MAX_COUNT, "a number is too large")?;
                    let mut task = Task::new(Work::Reduce, order, numbers_above);
                    task.queued = Some(fresh_rank(order));
                    self.add(task)?;
                }
                Ok(())
            }
        }
    }

    fn load_totals(&mut self, record: TotalsRecord) -> Result<(), Corrupt> {
        let totals = &record.totals;
        let counts = [
            totals.attempts.started,
            totals.attempts.completed,
            totals.attempts.failed,
            totals.attempts.lost,
            totals.attempts.speculative,
            totals.duplicates_dropped,
            totals.numbers_used,
            totals.tasks,
            totals.queued,
            record.workers_joined,
            record.jobs_submitted,
        ];
        ensure(
            counts.iter().all(|count| *count <= MAX_COUNT),
            "a count is too large",
        )?;
        self.master.totals = record.totals;
        self.master.workers.joined = record.workers_joined;
        self.master.jobs.submitted = record.jobs_submitted;
        self.master.failure_checks = record.failure_checks;
        self.master.straggler_checks = record.straggler_checks;
        Ok(())
    }

    fn load_worker(&mut self, id: &str, worker: Worker) -> Result<(), Corrupt> {
        let id = self.shared_id(id);
        self.master.workers.load(&id, worker).map_err(Corrupt)
    }

    fn load_job(&mut self, record: JobRecord<'_>) -> Result<(), Corrupt> {
        ensure(
            self.master.jobs.find(&record.id).is_none(),
            "a job appears twice",
        )?;
        ensure(
            record.submitted < self.master.jobs.submitted,
            "a job was submitted after the last one was",
        )?;
        let options = &record.options;
        ensure(
            options.max_failures > 0
                && options.max_losses > 0
                && options.max_worker_failures > 0
                && options.avoid_ms >= 0
                && options.task_timeout_ms.is_none_or(|timeout| timeout >= 0),
            "an option of a job is out of range",
        )?;
        let mut job = Job::new(&record.id, record.submitted, record.options);
        job.amnesty_at = record.amnesty_at;
        for (worker, conduct) in record.conduct.into_owned() {
            ensure(
                (1..=MAX_COUNT).contains(&conduct.failures),
                "a count of failures is out of range",
            )?;
            let worker = self.shared_id(&worker);
            if conduct.failures >= options.max_worker_failures {
                job.suspects.insert(Rc::clone(&worker));
            }
            job.conduct.insert(worker, conduct);
        }
        let workers: Vec<WorkerId> = job.conduct.keys().cloned().collect();
        let key = self.master.jobs.add(job);
        for worker in workers {
            self.master
                .workers
                .hold(&worker, |holdings| holdings.failed_in.insert(key));
        }
        let state = match record.state {
            JobStateRecord::Running => JobState::Running,
            JobStateRecord::Completed => JobState::Completed,
            JobStateRecord::Failed { task, error } => JobState::Failed {
                task: TaskKey { job: key, task },
                error: text(&error)?,
            },
        };
        self.master.jobs.set_job_state(key, state);
        self.job = Some(key);
        Ok(())
    }

    fn load_task(&mut self, record: TaskRecord<'_>) -> Result<(), Corrupt> {
        let work = match (record.id, record.chunk) {
            (Some(id), Some(chunk)) => Work::Map {
                id: id.as_ref().into(),
                chunk: json(&chunk)?,
            },
            (None, None) => Work::Reduce,
            _ => {
                return Err(Corrupt(
                    "a map has an id and a chunk, and a reduce has neither",
                ));
            }
        };
        let mut task = Task::new(work, record.order, record.numbers_above);
        task.state = record.state;
        let is_fresh = record.queued.is_none() && task.state == TaskState::Idle;
        task.queued = if is_fresh {
            Some(fresh_rank(record.order))
        } else {
            record.queued
        };
        task.backup = record.backup;
        for mut attempt in record.attempts.into_owned() {
            ensure(
                attempt.number > task.last_number() && attempt.number <= MAX_COUNT,
                "an attempt number is out of order",
            )?;
            ensure(
                attempt.assigned < self.master.totals.attempts.started,
                "an attempt was assigned after the last one was",
            )?;
            attempt.worker = self.shared_id(&attempt.worker);
            task.attempts.push(attempt);
        }
        task.live = live_attempts(&task, &record.live)?;
        if let Some(result) = record.result {
            task.result = Some(Box::new(TaskResult {
                attempt: result.attempt,
                completed_at: result.completed_at,
                output: json(&result.output)?,
                partitions: Box::default(),
                counters: result.counters.into_owned(),
            }));
            ensure(
                task.winner().is_some(),
                "a result belongs to an attempt that does not exist",
            )?;
        }
        ensure(
            record.failures <= MAX_COUNT && record.losses <= MAX_COUNT,
            "a count is too large",
        )?;
        let faults = TaskFaults {
            failures: record.failures,
            losses: record.losses,
            error: record.error.as_deref().map(text).transpose()?,
            history: (record.history.iter())
                .map(|entry| History {
                    worker: self.shared_id(&entry.worker),
                    ..*entry
                })
                .collect(),
            lost_counters: record.lost_counters.into_owned(),
        };
        if !faults.is_empty() {
            task.faults = Some(Box::new(faults));
        }
        self.add(task)
    }

    /// Adds a task to the last job, with what follows from it.
    fn add(&mut self, task: Task) -> Result<(), Corrupt> {
        let job_key = self.job.ok_or(Corrupt("a task comes before its job"))?;
        let job = self.master.jobs.get(job_key);
        let is_map = matches!(task.work, Work::Map { .. });
        ensure(
            if is_map {
                job.reduce_tasks() == 0
            } else {
                &*job.id != TAKEN_IN && job.reduce_tasks() < MAX_REDUCE_TASKS as usize
            },
            "a job has its maps first, and not too many reduces",
        )?;
        ensure(
            (job.tasks.last()).is_none_or(|last| last.order < task.order)
                && task.order < self.master.totals.tasks,
            "a task is out of order",
        )?;
        ensure(
            task.numbers_above <= self.master.totals.numbers_used,
            "an attempt number was never used",
        )?;
        ensure(
            (task.state == TaskState::Idle) == task.queued.is_some(),
            "a task is queued if and only if it is idle",
        )?;
        ensure(
            (task.state == TaskState::Running) != task.live.is_empty(),
            "a task has a live attempt if and only if it is running",
        )?;
        ensure(
            (task.state == TaskState::Completed) == task.result.is_some(),
            "a task has a result if and only if it is completed",
        )?;
        ensure(
            task.backup.is_none() || task.live.only().is_some(),
            "a backup waits for a task that has exactly one live attempt",
        )?;
        let is_rank = |rank: Rank| rank.get() <= self.master.totals.queued;
        ensure(
            (task.queued).is_none_or(|rank| is_rank(rank) || rank == fresh_rank(task.order))
                && task.backup.is_none_or(is_rank),
            "a place in a queue was never given",
        )?;
        if let Work::Map { id, .. } = &task.work {
            ensure(
                self.master.jobs.find_map(id).is_none(),
                "a task appears twice",
            )?;
        }
        self.master.jobs.add_task(job_key, task);
        Ok(())
    }

    fn shared_id(&mut self, id: &str) -> WorkerId {
        if let Some(shared) = self.ids.get(id) {
            return Rc::clone(shared);
        }
        let shared: WorkerId = id.into();
        self.ids.insert(Rc::clone(&shared));
        shared
    }

    /// The master that wrote the records, once all of them are loaded.
    pub fn finish(mut self) -> Result<Master, Corrupt> {
        ensure(self.has_totals, "the totals are missing")?;
        self.ids.clear();
        let mut master = self.master;
        let jobs: Vec<JobKey> = master.jobs.in_order().iter().map(|(key, _)| *key).collect();
        let mut places = Places::default();
        for job in jobs {
            master.derive_job(job, &mut places)?;
        }
        places.check()?;
        Ok(master)
    }
}

fn live_attempts(task: &Task, numbers: &[u64]) -> Result<LiveAttempts, Corrupt> {
    let mut live = LiveAttempts::default();
    let mut workers = HashSet::new();
    let mut last = 0;
    for number in numbers {
        let attempt = task
            .attempt(*number)
            .ok_or(Corrupt("no such live attempt"))?;
        let is_right = *number > last && workers.insert(&attempt.worker) && live.add(*number);
        ensure(
            is_right,
            "a task has at most two live attempts, on two workers",
        )?;
        last = *number;
    }
    Ok(live)
}

/// The places in orders and queues, of which each may be used only once.
#[derive(Default)]
struct Places {
    ranks: Vec<Rank>,
    assigned: Vec<u64>,
    orders: Vec<u64>,
    submitted: Vec<u64>,
}

impl Places {
    fn check(mut self) -> Result<(), Corrupt> {
        self.ranks.sort_unstable();
        let is_twice = has_twice(&mut self.assigned)
            || has_twice(&mut self.orders)
            || has_twice(&mut self.submitted)
            || self.ranks.windows(2).any(|pair| pair[0] == pair[1]);
        ensure(!is_twice, "two have the same place in an order")
    }
}

fn has_twice(list: &mut [u64]) -> bool {
    list.sort_unstable();
    list.windows(2).any(|pair| pair[0] == pair[1])
}

impl Master {
    /// Recomputes the data that is derived from the tasks of a loaded job.
    fn derive_job(&mut self, job_key: JobKey, places: &mut Places) -> Result<(), Corrupt> {
        let job = self.jobs.get(job_key);
        let is_running = job.state.is_running();
        let unfinished = |kind| job.unfinished(kind);
        ensure(
            if is_running {
                unfinished(job.last_kind()) > 0
            } else {
                unfinished(Kind::Map) + unfinished(Kind::Reduce) == 0
            },
            "a job is running if and only if there is something left to do",
        )?;
        if let JobState::Failed { task, .. } = &job.state {
            let failed = job.tasks.get(task.task as usize);
            ensure(
                failed.is_some_and(|task| task.state == TaskState::Failed),
                "a job failed by a task that did not fail",
            )?;
        }
        places.submitted.push(job.submitted);
        let (reduces, outputs_live) = (job.reduce_tasks(), job.outputs_live_on_workers());
        for task in 0..self.jobs.get(job_key).tasks.len() {
            let key = TaskKey::new(job_key, task);
            let kind = self.jobs.kind(key);
            let lane = self.jobs.lane(key);
            if let Work::Map { id, .. } = &self.jobs.task(key).work {
                ensure(
                    self.jobs.find_reduce(id).is_none(),
                    "a map has the id of a reduce",
                )?;
            }
            let job = self.jobs.get_mut(job_key);
            let task = &mut job.tasks[key.task as usize];
            places.orders.push(task.order);
            places
                .ranks
                .extend(task.queued.into_iter().chain(task.backup));
            places
                .assigned
                .extend(task.attempts.iter().map(|attempt| attempt.assigned));
            if let Some(rank) = task.queued {
                self.queue.insert(lane, rank, key);
            }
            if let Some(rank) = task.backup {
                self.backups.insert(lane, rank, key);
            }
            if kind == Kind::Map
                && reduces > 0
                && let Some(result) = &mut task.result
            {
                result.partitions = split_array(&result.output, reduces).ok_or(Corrupt(
                    "an output does not have one element for each partition",
                ))?;
            }
            if !task.live.is_empty() {
                task.running_at = u32::try_from(self.running.len())
                    .map_err(|_| Corrupt("there are too many tasks"))?;
                self.running.push(key);
            }
            let run_time = task.run_time();
            if let Some(run_time) = run_time {
                job.run_times_mut(kind).add(run_time);
            }
            job.add_counters(key.task);
            let task = &job.tasks[key.task as usize];
            for attempt in task.live_attempts() {
                let place = (lane, attempt.assigned);
                self.workers
                    .hold(&attempt.worker, |holdings| holdings.live.insert(place, key));
            }
            if let Some(last) = task.attempts.last()
                && task.state.is_unfinished()
                && !task.live.contains(last.number)
            {
                self.workers
                    .hold(&last.worker, |holdings| holdings.ended_here.insert(key));
            }
            if kind == Kind::Map
                && outputs_live
                && let Some(winner) = task.winner()
            {
                self.workers
                    .hold(&winner.worker, |holdings| holdings.outputs.insert(key));
            }
        }
        self.set_barrier(job_key);
        Ok(())
    }
}

/// Opaque JSON from its text, which must be on one line, since a reply is.
fn json(text: &str) -> Result<Box<RawValue>, Corrupt> {
    ensure(!text.contains(['\n', '\r']), "a text is not on one line")?;
    RawValue::from_string(text.to_owned()).map_err(|_| Corrupt("a text is not JSON"))
}

/// A JSON string from its text.
fn text(text: &str) -> Result<Box<RawValue>, Corrupt> {
    let value = json(text)?;
    ensure(value.get().starts_with('"'), "an error is not a string")?;
    Ok(value)
}
