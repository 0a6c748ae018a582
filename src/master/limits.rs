//! Limits: how often a task may fail or be lost before the master gives it up, and whether its job then fails
//! (protocol, section 6, "Reports").

use super::Master;
use super::state::keys::{Kind, TaskKey};
use super::state::tasks::TaskState;
use super::state::transitions::End;
use crate::wire::{Quoted, json_string};
use serde_json::value::RawValue;

impl Master {
    /// Fails a live attempt. `error` is a JSON string. The caller then decides what happens to the task, with
    /// [`settle`](Self::settle).
    ///
    /// A failure does not count towards `max_failures` where the task had failed on that worker before while another one,
    /// on which it has not failed, could take it: a bad worker that repeats itself says nothing new.
    pub(super) fn fail_attempt(
        &mut self,
        key: TaskKey,
        number: u64,
        end: End,
        error: Box<RawValue>,
    ) {
        let Some(attempt) = self.task(key).attempt(number) else {
            return;
        };
        let worker = std::rc::Rc::clone(&attempt.worker);
        let failed_before = (self.task(key).attempts.iter())
            .any(|other| other.has_failed && other.worker == worker);
        if !matches!(end, End::Lost(_)) {
            self.set_error(key, error);
        }
        self.end_attempt(key, number, end);
        self.note_failed_attempt(key.job, &worker);
        if matches!(end, End::Failed | End::TimedOut)
            && !(failed_before && self.another_untried_could_take(key))
        {
            self.count_failure(key);
        }
    }

    /// Decides what happens to a task after it lost an attempt or its output. If no attempt is live, an unfinished task
    /// is queued again, or given up if it has reached its limits. Returns whether it was queued.
    pub(super) fn settle(&mut self, key: TaskKey) -> bool {
        let task = self.task(key);
        if !task.state.is_unfinished() || !task.live.is_empty() || task.queued.is_some() {
            return false;
        }
        if self.give_up_if_exhausted(key) {
            return false;
        }
        self.queue_again(key);
        true
    }

    /// Gives up an unfinished task that has no live attempt and has reached its limits: skips it if the job may skip
    /// another task, or else fails the job. Returns whether the task was given up.
    pub(super) fn give_up_if_exhausted(&mut self, key: TaskKey) -> bool {
        let (job, task) = (self.job(key), self.task(key));
        let reached_max_failures = task.failures() >= job.options.max_failures;
        let reached_max_losses = task.losses() >= job.options.max_losses;
        if !(reached_max_failures || reached_max_losses) || !task.live.is_empty() {
            return false;
        }
        let skipped =
            job.count(Kind::Map, TaskState::Skipped) + job.count(Kind::Reduce, TaskState::Skipped);
        if (skipped as u64) < job.options.max_skipped {
            self.finish(key, TaskState::Skipped);
            return true;
        }
        let last_error = task
            .troubles
            .as_ref()
            .and_then(|troubles| troubles.error.as_ref());
        let error = match last_error {
            Some(error) if reached_max_failures => error.clone(),
            _ => {
                let times = match task.losses() {
                    1 => "once".to_owned(),
                    losses => format!("{losses} times"),
                };
                json_string(&format!(
                    "task {} was lost {times}",
                    Quoted(&self.task_id(key))
                ))
            }
        };
        self.fail_job(key, error);
        true
    }
}
