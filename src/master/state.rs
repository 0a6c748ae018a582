//! The state of the master, and every way in which it changes.
//!
//! The data are in [`workers`], [`jobs`], [`tasks`], [`queue`] and [`run_times`], and know no policy. The fields of
//! [`Master`] are private to this module: policies read them through the functions below, and change them through
//! [`transitions`] alone.

pub mod jobs;
pub mod keys;
pub mod queue;
pub mod run_times;
pub mod snapshot;
pub mod tasks;
pub mod transitions;
pub mod workers;

use super::events::Events;
use crate::wire::{AttemptCounts, Effect};
use jobs::{Job, Jobs};
use keys::{Lane, TaskKey};
use queue::Queue;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tasks::Task;
use workers::Workers;

/// The master of a cluster: a `HashMap` from worker id to last heartbeat (in `Workers`), the jobs with their tasks,
/// which worker each task is assigned to, and what waits for a worker.
#[derive(Debug, Default)]
pub struct Master {
    workers: Workers,
    jobs: Jobs,
    /// The idle tasks.
    queue: Queue,
    /// The stragglers whose backup waits for a worker.
    backups: Queue,
    /// The tasks with a live attempt, in no particular order.
    running: Vec<TaskKey>,
    totals: Totals,
    failure_checks: CheckTimes,
    straggler_checks: CheckTimes,
    events: Events,
    /// What the request at hand has changed.
    effect: Effect,
}

/// Counts since the start, and the next number of each sequence.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Totals {
    attempts: AttemptCounts,
    duplicates_dropped: u64,
    /// Whether a job was ever submitted or taken in.
    had_job: bool,
    /// The highest attempt number that a removed task used.
    numbers_used: u64,
    /// How many tasks the master ever added; the next task's place in task order.
    tasks: u64,
    /// How many times a task was queued again or got a backup; the next rank in a queue.
    queued: u64,
}

/// When checks of one kind were made, to recognize old ones (protocol, sections 5, 6 and 8).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckTimes {
    /// The `now` of the last check, in ms.
    last: Option<i64>,
    /// Whether the next check is the first one since the last recovery.
    is_first_since_recovery: bool,
}

impl CheckTimes {
    /// Records a check. Returns whether it is old: not later than the one before it, or the first one after a recovery.
    fn note(&mut self, now: i64) -> bool {
        let is_old = self.is_first_since_recovery || self.last.is_some_and(|last| now <= last);
        *self = Self {
            last: Some(now),
            is_first_since_recovery: false,
        };
        is_old
    }
}

impl Master {
    pub(super) fn workers(&self) -> &Workers {
        &self.workers
    }

    pub(super) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(super) fn job(&self, key: TaskKey) -> &Job {
        self.jobs.get(key.job)
    }

    pub(super) fn task(&self, key: TaskKey) -> &Task {
        self.jobs.task(key)
    }

    pub(super) fn task_id(&self, key: TaskKey) -> Cow<'_, str> {
        self.jobs.task_id(key)
    }

    /// The idle tasks in the lanes that `wants` accepts, in queue order. Reduces behind a closed barrier are left out.
    pub(super) fn queued<'a>(
        &'a self,
        wants: impl FnMut(Lane) -> bool + 'a,
    ) -> impl Iterator<Item = TaskKey> {
        self.queue.iter(wants)
    }

    /// The stragglers whose backup waits for a worker, likewise.
    pub(super) fn waiting_backups<'a>(
        &'a self,
        wants: impl FnMut(Lane) -> bool + 'a,
    ) -> impl Iterator<Item = TaskKey> {
        self.backups.iter(wants)
    }

    /// The tasks with a live attempt, in task order.
    pub(super) fn running(&self) -> Vec<TaskKey> {
        self.in_task_order(self.running.iter().copied())
    }

    pub(super) fn in_task_order(&self, tasks: impl IntoIterator<Item = TaskKey>) -> Vec<TaskKey> {
        let mut list: Vec<TaskKey> = tasks.into_iter().collect();
        list.sort_unstable_by_key(|key| self.task(*key).order);
        list
    }

    pub(super) fn attempt_counts(&self) -> AttemptCounts {
        self.totals.attempts
    }

    pub(super) fn duplicates_dropped(&self) -> u64 {
        self.totals.duplicates_dropped
    }

    /// Whether a job was ever submitted or taken in.
    pub(super) fn had_job(&self) -> bool {
        self.totals.had_job
    }

    /// The events of the last request.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What the last request has changed.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The events of the last request, to change which ones are kept.
    pub fn events_mut(&mut self) -> &mut Events {
        &mut self.events
    }
}
