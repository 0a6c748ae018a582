//! The master's state as a stream of small records, and back (protocol, section 8).
//!
//! A snapshot has no derived data: the loader recomputes counts, sums, queues and what each worker holds. Opaque JSON
//! is written as a string of its text, so that any JSON tool can handle a snapshot. The loader trusts nothing: a record
//! that no master can have written is [`Corrupt`].

mod loader;

pub use loader::{Corrupt, Loader};

use super::jobs::{Conduct, Job, JobState};
use super::keys::{Rank, WorkerId, fresh_rank};
use super::tasks::{Attempt, Counters, History, Task, TaskState, Work};
use super::workers::Worker;
use super::{CheckTimes, Master, Totals};
use crate::wire::JobOptions;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A part of the state. The totals come first, then the workers, then each job, followed by its maps and reduces.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record<'a> {
    Totals(Box<TotalsRecord>),
    Worker {
        #[serde(borrow)]
        id: Cow<'a, str>,
        worker: Worker,
    },
    Job(Box<JobRecord<'a>>),
    Task(Box<TaskRecord<'a>>),
    /// A run of `count` reduce tasks that were never handed out. The first one's place in task order is `order`.
    Reduces {
        count: u32,
        order: u64,
        #[serde(default, skip_serializing_if = "is_default")]
        numbers_above: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotalsRecord {
    totals: Totals,
    workers_joined: u64,
    jobs_submitted: u64,
    failure_checks: CheckTimes,
    straggler_checks: CheckTimes,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    submitted: u64,
    options: JobOptions,
    state: JobStateRecord<'a>,
    #[serde(default, skip_serializing_if = "is_default")]
    conduct: Cow<'a, BTreeMap<WorkerId, Conduct>>,
    #[serde(default, skip_serializing_if = "is_default")]
    amnesty_at: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JobStateRecord<'a> {
    Running,
    Completed,
    Failed {
        /// The place of the task in the job.
        task: u32,
        /// The text of a JSON string.
        #[serde(borrow)]
        error: Cow<'a, str>,
    },
}

/// A task of the job whose record most recently precedes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecord<'a> {
    /// For a map.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    id: Option<Cow<'a, str>>,
    /// For a map: its chunk as text.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    chunk: Option<Cow<'a, str>>,
    order: u64,
    state: TaskState,
    #[serde(default, skip_serializing_if = "is_default")]
    numbers_above: u64,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    attempts: Cow<'a, [Attempt]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    live: Vec<u64>,
    /// Where it is in the queue, if it was handed out before. An idle task that never was is at its fresh rank.
    #[serde(default, skip_serializing_if = "is_default")]
    queued: Option<Rank>,
    #[serde(default, skip_serializing_if = "is_default")]
    backup: Option<Rank>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    result: Option<ResultRecord<'a>>,
    #[serde(default, skip_serializing_if = "is_default")]
    failures: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    losses: u64,
    /// The text of a JSON string.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    history: Cow<'a, [History]>,
    #[serde(default, skip_serializing_if = "is_default")]
    lost_counters: Cow<'a, Counters>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultRecord<'a> {
    attempt: u64,
    completed_at: i64,
    /// The output as text.
    #[serde(borrow)]
    output: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    counters: Cow<'a, Counters>,
}

/// Whether a field has its default value and is left out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Master {
    /// Passes the state to `write`, record by record. Errors: those of `write`.
    pub fn save<E>(&self, mut write: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        write(&Record::Totals(Box::new(TotalsRecord {
            totals: self.totals.clone(),
            workers_joined: self.workers.joined,
            jobs_submitted: self.jobs.submitted,
            failure_checks: self.failure_checks,
            straggler_checks: self.straggler_checks,
        })))?;
        for (id, worker) in self.workers.in_order() {
            write(&Record::Worker {
                id: (&**id).into(),
                worker: worker.clone(),
            })?;
        }
        for (_, job) in self.jobs.in_order() {
            write(&Record::Job(Box::new(job_record(job))))?;
            let mut tasks = job.tasks.iter().peekable();
            while let Some(task) = tasks.next() {
                if !is_untouched_reduce(task) {
                    write(&Record::Task(Box::new(task_record(task))))?;
                    continue;
                }
                let mut count = 1;
                while let Some(next) = tasks.peek()
                    && is_untouched_reduce(next)
                    && next.order == task.order + u64::from(count)
                    && next.numbers_above == task.numbers_above
                {
                    count += 1;
                    tasks.next();
                }
                write(&Record::Reduces {
                    count,
                    order: task.order,
                    numbers_above: task.numbers_above,
                })?;
            }
        }
        Ok(())
    }
}

fn is_untouched_reduce(task: &Task) -> bool {
    matches!(task.work, Work::Reduce)
        && task.attempts.is_empty()
        && task.faults.is_none()
        && task.queued == Some(fresh_rank(task.order))
}

fn job_record(job: &Job) -> JobRecord<'_> {
    JobRecord {
        id: (&*job.id).into(),
        submitted: job.submitted,
        options: job.options,
        state: match &job.state {
            JobState::Running => JobStateRecord::Running,
            JobState::Completed => JobStateRecord::Completed,
            JobState::Failed { task, error } => JobStateRecord::Failed {
                task: task.task,
                error: error.get().into(),
            },
        },
        conduct: Cow::Borrowed(&job.conduct),
        amnesty_at: job.amnesty_at,
    }
}

fn task_record(task: &Task) -> TaskRecord<'_> {
    let (id, chunk) = match &task.work {
        Work::Map { id, chunk } => (Some((&**id).into()), Some(chunk.get().into())),
        Work::Reduce => (None, None),
    };
    let faults = task.faults.as_deref();
    TaskRecord {
        id,
        chunk,
        order: task.order,
        state: task.state,
        numbers_above: task.numbers_above,
        attempts: Cow::Borrowed(&task.attempts),
        live: task.live.iter().collect(),
        queued: task.queued.filter(|rank| *rank != fresh_rank(task.order)),
        backup: task.backup,
        result: task.result.as_deref().map(|result| ResultRecord {
            attempt: result.attempt,
            completed_at: result.completed_at,
            output: result.output.get().into(),
            counters: Cow::Borrowed(&result.counters),
        }),
        failures: task.failures(),
        losses: task.losses(),
        error: faults.and_then(|faults| Some(faults.error.as_ref()?.get().into())),
        history: Cow::Borrowed(task.history()),
        lost_counters: faults
            .map_or_else(Cow::default, |faults| Cow::Borrowed(&faults.lost_counters)),
    }
}
