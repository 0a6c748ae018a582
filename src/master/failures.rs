//! Failed workers, and what is lost with them (protocol, section 5; paper, §3.3).

use super::Master;
use super::events::{Event, Names};
use super::jobs::Jobs;
use super::tasks::{End, TaskKey};
use super::workers::{Assignment, WorkerKey, Workers};
use crate::wire::{Error, ErrorCode, Quoted, Reply, TOLD_AT_A_TIME, Told};

impl Master {
    /// Fails the healthy workers that were silent for too long, and reports all that were.
    pub(super) fn check_failures(&mut self, timeout_ms: i64, now: i64) -> Reply<'_> {
        // `timeout_ms` is not negative. Where the difference is less than any time, no time is below it.
        let oldest_healthy = now.saturating_sub(timeout_ms);
        let mut overdue = Vec::new();
        let mut next_place = 0;
        while let Some((place, worker)) = self.workers.next_overdue(next_place, oldest_healthy, now)
        {
            next_place = place + 1;
            overdue.push(worker);
            if !self.workers.has_failed(worker) {
                self.fail_worker(worker, |workers, requeued| Event::WorkerFailed {
                    worker: workers.id(worker).into(),
                    silent_ms: workers.silence(worker, now),
                    requeued,
                });
            }
        }
        let workers = &self.workers;
        Reply::FailuresDetected {
            failed_workers: Told(Box::new(move |tell| {
                let mut ids = [""; TOLD_AT_A_TIME];
                for some in overdue.chunks(ids.len()) {
                    for (id, worker) in ids.iter_mut().zip(some) {
                        *id = workers.id(*worker);
                    }
                    tell(&ids[..some.len()]);
                }
            })),
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
        self.fail_worker(worker, |_, requeued| Event::WorkerLeft {
            worker: id.into(),
            requeued,
        });
        self.workers.forget(worker);
        Ok(Reply::WorkerRemoved {})
    }

    /// Fails a worker, and tells so before all that comes of it.
    fn fail_worker(&mut self, worker: WorkerKey, event: impl FnOnce(&Workers, Names) -> Event) {
        let first_event = self.events.len();
        self.workers.fail(worker);
        // Asked here, too: where a million workers fail that hold nothing, the calls would be a fifth of the work.
        let requeued = if self.workers.holdings(worker).is_some() {
            self.lose_holdings(worker)
        } else {
            Names::default()
        };
        let workers = &self.workers;
        self.events.insert(first_event, || event(workers, requeued));
    }

    /// Takes from a worker what is lost with it: first its attempts, then the map outputs that live on it,
    /// each in task order. A worker that has failed before has nothing left to lose. Returns what was queued
    /// again.
    fn lose_holdings(&mut self, worker: WorkerKey) -> Names {
        let mut requeued = Names::default();
        let Some(holdings) = self.workers.holdings(worker) else {
            return requeued;
        };
        let mut live: Vec<TaskKey> = holdings.live.values().copied().collect();
        live.sort_unstable_by_key(|key| self.jobs.task(*key).order);
        for key in live {
            // What was lost before may have ended the job, and this attempt with it.
            if let Some(number) = self.jobs.task(key).live_on(worker) {
                self.end_attempt(key, number, End::Lost);
                if self.settle(key) {
                    requeued.push(&self.jobs.task(key).id);
                }
            }
        }
        for output in self.latest(worker, Jobs::is_output) {
            // Likewise, the job may not need the outputs any more.
            if self.jobs.is_output(output) && self.lose_output(output.task) {
                requeued.push(&self.jobs.task(output.task).id);
            }
        }
        // So that to fail it again costs nothing.
        let jobs = &self.jobs;
        let latest = &mut self.workers.holdings_mut(worker).latest;
        latest.sweep(|assignment| jobs.is_latest_or_output(assignment));
        requeued
    }

    /// Those of a worker's latest attempts that concern it in some way, in task order.
    pub(super) fn latest(
        &self,
        worker: WorkerKey,
        concerns: impl Fn(&Jobs, Assignment) -> bool,
    ) -> Vec<Assignment> {
        let latest = self
            .workers
            .holdings(worker)
            .map(|holdings| holdings.latest.iter());
        let mut list: Vec<Assignment> = latest
            .into_iter()
            .flatten()
            .filter(|assignment| concerns(&self.jobs, *assignment))
            .collect();
        list.sort_unstable_by_key(|assignment| self.jobs.task(assignment.task).order);
        list.dedup();
        list
    }
}
