//! Failed workers, and what is lost with them (protocol, section 5; paper, §3.3).

use super::Master;
use super::events::{Event, LossCause};
use super::state::keys::{TaskKey, WorkerId};
use super::state::transitions::End;
use crate::wire::{CheckFailures, Error, ErrorCode, Quoted, Reply};
use std::rc::Rc;

/// A worker that has been silent for too long.
struct Overdue {
    id: WorkerId,
    silent_ms: i128,
    was_healthy: bool,
}

impl Master {
    /// Reports every worker that has been silent for longer than the timeout, and fails those that were healthy until
    /// now. Errors: 22 when more than `max_failed` healthy workers would fail.
    pub(super) fn check_failures(&mut self, check: &CheckFailures) -> Result<Reply<'_>, Error> {
        let CheckFailures {
            timeout_ms,
            now,
            max_failed,
            remove_after_ms,
        } = *check;
        let overdue = self.overdue(timeout_ms, now);
        let failing = overdue.iter().filter(|worker| worker.was_healthy).count();
        if let Some(max_failed) = max_failed
            && failing as u64 > max_failed
        {
            let text = format!(
                "{failing} healthy workers would fail, more than max_failed ({max_failed})"
            );
            return Err(Error::new(ErrorCode::PreconditionFailed, text));
        }
        // Untimed workers get `now` as their last heartbeat, unless the check is old.
        if !self.note_failure_check(now) {
            self.time_untimed_workers(now, i128::from(now) + i128::from(timeout_ms));
        }
        for worker in &overdue {
            if worker.was_healthy {
                self.fail_worker(worker, timeout_ms);
            }
        }
        if let Some(remove_after_ms) = remove_after_ms {
            for worker in &overdue {
                if worker.silent_ms > i128::from(remove_after_ms) {
                    self.forget_worker(&worker.id);
                    self.log(|| Event::WorkerForgotten {
                        worker: worker.id.as_ref().into(),
                    });
                }
            }
        }
        let failed_workers = overdue.into_iter().map(|worker| worker.id).collect();
        Ok(Reply::FailuresDetected { failed_workers })
    }

    /// The known workers with `now - last_heartbeat > timeout_ms`, in the order in which they became known.
    fn overdue(&self, timeout_ms: i64, now: i64) -> Vec<Overdue> {
        let mut overdue: Vec<(u64, Overdue)> = (self.workers().iter())
            .filter_map(|(id, worker)| {
                let silent_ms = worker.silence(now)?;
                (silent_ms > i128::from(timeout_ms)).then(|| {
                    let overdue = Overdue {
                        id: Rc::clone(id),
                        silent_ms,
                        was_healthy: !worker.has_failed,
                    };
                    (worker.joined, overdue)
                })
            })
            .collect();
        overdue.sort_unstable_by_key(|(joined, _)| *joined);
        overdue.into_iter().map(|(_, worker)| worker).collect()
    }

    fn fail_worker(&mut self, worker: &Overdue, timeout_ms: i64) {
        let first_event = self.events().len();
        self.mark_failed(&worker.id);
        let requeued = self.lose_everything(&worker.id, LossCause::Failure);
        self.log_with_requeued(first_event, &requeued, |requeued| Event::WorkerFailed {
            worker: worker.id.as_ref().into(),
            silent_ms: worker.silent_ms,
            timeout_ms,
            requeued,
        });
    }

    /// Forgets a worker that leaves for good. This is a planned failure: it does not count as a loss of the worker's
    /// tasks. Errors: 20 for an unknown worker.
    pub(super) fn remove_worker(&mut self, id: &str) -> Result<Reply<'_>, Error> {
        if self.workers().get(id).is_none() {
            let text = format!("no worker {}", Quoted(id));
            return Err(Error::new(ErrorCode::KeyDoesNotExist, text));
        }
        let worker = self.workers().shared_id(id);
        let first_event = self.events().len();
        self.mark_failed(id);
        let requeued = self.lose_everything(&worker, LossCause::Removal);
        self.log_with_requeued(first_event, &requeued, |requeued| Event::WorkerRemoved {
            worker: id.into(),
            requeued,
        });
        self.forget_worker(&worker);
        Ok(Reply::WorkerRemoved {})
    }

    /// Loses everything that a worker holds: first its live attempts, then the map outputs that live on it. Returns the
    /// tasks that were queued again.
    fn lose_everything(&mut self, worker: &WorkerId, cause: LossCause) -> Vec<TaskKey> {
        if self.workers().holdings(worker).is_none() {
            return Vec::new();
        }
        let mut requeued = self.lose_attempts(worker, cause);
        for key in self.take_outputs(worker) {
            // An earlier loss in this loop may have failed the job, which then no longer needs its outputs.
            if self.job(key).state.is_running() {
                self.lose_output(key, cause == LossCause::Removal);
                if self.settle(key) {
                    requeued.push(key);
                }
            }
        }
        requeued
    }

    /// Loses a worker's live attempts, in task order. Returns the tasks that were queued again.
    pub(super) fn lose_attempts(&mut self, worker: &WorkerId, cause: LossCause) -> Vec<TaskKey> {
        let Some(holdings) = self.workers().holdings(worker) else {
            return Vec::new();
        };
        let live = self.in_task_order(holdings.live.values().copied());
        let mut requeued = Vec::new();
        for key in live {
            // An earlier loss in this loop may have failed the job, and ended this attempt with it.
            if let Some(number) = self.task(key).live_on(worker) {
                self.end_attempt(key, number, End::Lost(cause));
                if self.settle(key) {
                    requeued.push(key);
                }
            }
        }
        requeued
    }
}
