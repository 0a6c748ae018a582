//! Every way in which the master's state changes. Policies decide when; nothing else changes anything.
//!
//! Whatever ends an attempt, it ends in [`Master::end_attempt`]; whatever ends a task, it ends in
//! [`Master::finish`].

mod attempts;
mod conduct;
mod jobs;
mod tasks;
mod workers;

use super::Master;
use super::keys::TaskKey;
use crate::master::events::{Event, LossCause};
use crate::wire::Effect;

/// Ranks from here on are those of tasks that were never handed out, in task order; those below, of tasks that were
/// queued again, first come first.
pub(super) const NEVER_HANDED_OUT: u64 = 1 << 63;

/// How an attempt ends while its task goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By `fail_task`, or a wrong output.
    Failed,
    /// By a time-out.
    TimedOut,
    /// By `fail_task` with `lost_inputs`.
    InputsMissing,
    /// Its worker failed, left, or had the task taken from it.
    Lost(LossCause),
}

impl Master {
    /// Begins a request whose own time is `at`, in ms; it changes nothing yet.
    pub(in crate::master) fn begin_request(&mut self, at: Option<i64>) {
        self.events.begin(at);
        self.effect = Effect::None;
    }

    /// Notes that the request has changed something.
    pub(in crate::master) fn note_effect(&mut self, effect: Effect) {
        self.effect = self.effect.max(effect);
    }

    /// Counts a result that was dropped.
    pub(in crate::master) fn drop_result(&mut self, key: TaskKey, number: u64, worker: &str) {
        self.totals.duplicates_dropped += 1;
        let jobs = &self.jobs;
        self.events.detail(|| Event::ResultDropped {
            task: jobs.get(key.job).task_id(key.task).into(),
            attempt: number,
            worker: worker.into(),
        });
    }
}
