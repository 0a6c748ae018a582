//! Transitions: every way in which the master's state changes. Policies decide which transition happens when.
//!
//! Every attempt that ends while its task goes on ends in [`Master::end_attempt`], and every task in
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
    /// Begins a request: clears the events and the effect of the previous one. `at` is the request's `timestamp` or
    /// `now`, in ms.
    pub(in crate::master) fn begin_request(&mut self, at: Option<i64>) {
        self.events.begin(at);
        self.effect = Effect::None;
    }

    /// Records what the request has changed, beyond what is recorded already.
    pub(in crate::master) fn note_effect(&mut self, effect: Effect) {
        self.effect = self.effect.max(effect);
    }

    /// Counts a result that was not accepted.
    pub(in crate::master) fn drop_result(&mut self, key: TaskKey, number: u64, worker: &str) {
        self.totals.duplicates_dropped += 1;
        let jobs = &self.jobs;
        self.events.detail(|| Event::ResultDropped {
            task: jobs.task_id(key).into(),
            attempt: number,
            worker: worker.into(),
        });
    }
}
