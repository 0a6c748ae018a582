//! Failed workers, and what is lost with them (protocol, section 5; paper, §3.3).

use super::Master;
use super::events::{Event, Names};
use super::jobs::Jobs;
use super::tasks::{End, TaskKey};
use super::workers::{Assignment, Holdings, WorkerKey};
use crate::wire::{Error, ErrorCode, Quoted, Reply};

impl Master {
    /// Fails the healthy workers that were silent for too long, and reports all that were.
    pub(super) fn check_failures(&mut self, timeout_ms: i64, now: i64) -> Reply<'_> {
        let overdue = self.workers.overdue(timeout_ms, now);
        for &worker in &overdue {
            if !self.workers.has_failed(worker) {
                let silent_ms = self.workers.silence(worker, now);
                self.fail_worker(worker, |worker, requeued| Event::WorkerFailed {
                    worker,
                    silent_ms,
                    requeued,
                });
            }
        }
        Reply::FailuresDetected {
            failed_workers: overdue
                .into_iter()
                .map(|worker| self.workers.id(worker))
                .collect(),
        }
    }

    /// Forgets a worker that leaves for good. Errors: 20.
    pub(super) fn remove_worker(&mut self, id: &str) -> Result<Reply<'_>, Error> {
        let worker = self.workers.find_known(id).ok_or_else(|| {
            Error::new(
                ErrorCode::KeyDoesNotExist,
                format!("no worker {}", Quoted(id)),
            )
        })?;
        self.fail_worker(worker, |worker, requeued| Event::WorkerLeft {
            worker,
            requeued,
        });
        self.workers.forget(worker);
        Ok(Reply::WorkerRemoved {})
    }

    /// Takes from a worker what is lost with it: first its attempts, then the map outputs that live on it,
    /// each in task order. A worker that has failed before has nothing left to lose.
    fn fail_worker(&mut self, worker: WorkerKey, event: impl FnOnce(Box<str>, Names) -> Event) {
        let first_event = self.events.len();
        let mut requeued = Names::default();
        self.workers.fail(worker);
        for key in self.held(worker, |jobs, assignment| {
            jobs.live_number(assignment).is_some()
        }) {
            // What was lost before may have ended the job, and this attempt with it.
            if let Some(number) = self.jobs.task(key).live_on(worker) {
                self.end_attempt(key, number, End::Lost);
                if self.settle(key) {
                    requeued.push(&self.jobs.task(key).id);
                }
            }
        }
        for key in self.held(worker, Jobs::is_output) {
            if self.is_output_lost_with(worker, key) && self.lose_output(key) {
                requeued.push(&self.jobs.task(key).id);
            }
        }
        let id = self.workers.id(worker);
        self.events
            .insert(first_event, || event(id.into(), requeued));
    }

    /// The tasks of those attempts of a worker that concern it in some way, in task order.
    pub(super) fn held(
        &self,
        worker: WorkerKey,
        concerns: impl Fn(&Jobs, Assignment) -> bool,
    ) -> Vec<TaskKey> {
        let Some(Holdings { live, latest, .. }) = self.workers.holdings(worker) else {
            return Vec::new();
        };
        let mut tasks: Vec<TaskKey> = live
            .iter()
            .chain(latest.iter())
            .filter(|assignment| concerns(&self.jobs, *assignment))
            .map(|assignment| assignment.task)
            .collect();
        tasks.sort_unstable_by_key(|key| self.jobs.task(*key).order);
        tasks.dedup();
        tasks
    }

    fn is_output_lost_with(&self, worker: WorkerKey, key: TaskKey) -> bool {
        let lives_there = self
            .jobs
            .task(key)
            .winner()
            .is_some_and(|winner| winner.worker == worker);
        lives_there && self.jobs.job(key).outputs_live_on_workers()
    }
}
