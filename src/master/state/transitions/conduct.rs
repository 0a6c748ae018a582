//! Records which workers fail the attempts of a job, for placement.

use crate::master::state::Master;
use crate::master::state::jobs::Conduct;
use crate::master::state::keys::{JobKey, WorkerId};
use crate::wire::Effect;
use std::rc::Rc;

impl Master {
    /// Counts a failed attempt of a job on a worker.
    pub(in crate::master) fn note_failed_attempt(&mut self, key: JobKey, worker: &WorkerId) {
        let failed_at = (self.workers.get(worker)).and_then(|worker| worker.last_heartbeat);
        let job = self.jobs.get_mut(key);
        let conduct = job.conduct.entry(Rc::clone(worker)).or_default();
        conduct.failures += 1;
        conduct.failed_at = failed_at;
        if conduct.failures >= job.options.max_worker_failures {
            job.suspects.insert(Rc::clone(worker));
        }
        self.workers
            .hold(worker, |holdings| holdings.failed_in.insert(key));
    }

    /// Resets the count of a worker that completed an attempt of a job.
    pub(in crate::master) fn note_completed_attempt(&mut self, key: JobKey, worker: &str) {
        let job = self.jobs.get_mut(key);
        if job.conduct.is_empty() {
            return;
        }
        if job.conduct.remove(worker).is_some() {
            job.suspects.remove(worker);
            let worker = &self.workers.shared_id(worker);
            self.workers
                .hold(worker, |holdings| holdings.failed_in.remove(&key));
        }
    }

    /// Resets the counts of a worker in all jobs.
    pub(in crate::master) fn forget_conduct(&mut self, worker: &WorkerId) {
        let Some(holdings) = self.workers.holdings(worker) else {
            return;
        };
        for key in holdings.failed_in.clone() {
            self.note_completed_attempt(key, worker);
        }
    }

    /// Ends all exclusions from a job and resets all counts. `at` is the last heartbeat of the worker that asks, in ms.
    pub(in crate::master) fn grant_amnesty(&mut self, key: JobKey, at: Option<i64>) {
        self.effect = Effect::Changed;
        self.drop_conduct(key);
        self.jobs.get_mut(key).amnesty_at = at;
    }

    pub(super) fn drop_conduct(&mut self, key: JobKey) {
        let job = self.jobs.get_mut(key);
        job.suspects.clear();
        for (worker, Conduct { .. }) in std::mem::take(&mut job.conduct) {
            self.workers
                .hold(&worker, |holdings| holdings.failed_in.remove(&key));
        }
    }
}
