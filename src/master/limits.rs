//! Limits: how often a task may fail or be lost before the master gives it up, and whether its job then fails
//! (protocol, section 6, "Reports").

use super::Master;
use super::events::Event;
use super::state::keys::{Kind, TaskKey};
use super::state::tasks::TaskState;
use super::state::transitions::End;
use crate::wire::{Quoted, json_string};
use serde_json::value::RawValue;
use std::rc::Rc;

impl Master {
    /// Fails a live attempt with an error, a JSON string; loses the inputs that it could not fetch; and decides what
    /// happens to all of these tasks.
    pub(super) fn fail_attempt(
        &mut self,
        key: TaskKey,
        number: u64,
        end: End,
        error: Box<RawValue>,
        lost_maps: &[(TaskKey, i64)],
    ) {
        let Some(attempt) = self.task(key).attempt(number) else {
            return;
        };
        let worker = Rc::clone(&attempt.worker);
        let first_event = self.events().len();
        let text: Box<str> = error.get().into();
        self.end_and_count(key, number, end, error);
        let mut requeued = Vec::new();
        for (map, attempt) in lost_maps {
            // Giving up an earlier input may have failed the job, which then no longer needs the others.
            if self.job(*map).state.is_running() && self.is_winner(*map, *attempt) {
                self.count_lost_output(*map);
                self.lose_output(*map, false);
                requeued.extend(self.settle(*map).then_some(*map));
            }
        }
        requeued.extend(self.settle(key).then_some(key));
        let task = self.task_id(key).into();
        self.log_with_requeued(first_event, &requeued, |requeued| Event::TaskFailed {
            task,
            attempt: number,
            worker: worker.as_ref().into(),
            error: text,
            requeued,
        });
    }

    /// Ends a live attempt, and counts its failure towards `max_failures`.
    ///
    /// A failure does not count if the task has already failed on this worker and another worker, on which it has not
    /// failed, could take it. A repeated failure on one bad worker says nothing about the task.
    fn end_and_count(&mut self, key: TaskKey, number: u64, end: End, error: Box<RawValue>) {
        let Some(attempt) = self.task(key).attempt(number) else {
            return;
        };
        let worker = Rc::clone(&attempt.worker);
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

    /// Whether the accepted result of a task is that of this attempt.
    pub(super) fn is_winner(&self, key: TaskKey, attempt: i64) -> bool {
        let result = self.task(key).result.as_ref();
        result.is_some_and(|result| u64::try_from(attempt) == Ok(result.attempt))
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
            .faults
            .as_ref()
            .and_then(|faults| faults.error.as_ref());
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
