//! What the checks of a monitor say about times.

use super::{LastCheck, Ledger, Snapshot, Worker, difference, seen};
use crate::simulation::snapshot::texts;
use serde_json::Value;

impl Ledger {
    /// The master was killed, and started again from its journal.
    pub fn recover(&mut self) {
        for worker in &mut self.workers {
            worker.untimed |= worker.heard_since_recovery && !worker.failed;
            worker.heard_since_recovery = false;
        }
        for attempt in self.tasks.iter_mut().flat_map(|task| &mut task.attempts) {
            if std::mem::take(&mut attempt.fetched_since_recovery) {
                attempt.runs_from = None;
            }
        }
        self.last_check_failures = LastCheck::BeforeRecovery;
        self.last_check_stragglers = LastCheck::BeforeRecovery;
    }

    pub(super) fn learn_check(&mut self, request: &Value, reply: &Value) {
        let number = |name: &str| request[name].as_i64();
        let now = number("now").unwrap_or_default();
        let timeout_ms = number("timeout_ms").unwrap_or_default();
        let is_old = self.last_check_failures.makes_old(now);
        self.last_check_failures = LastCheck::At(now);
        let failed = texts(&reply["failed_workers"]).unwrap_or_default();
        for worker in &mut self.workers {
            if failed.contains(&worker.id) {
                if !worker.failed {
                    worker.incarnation = None;
                    worker.has_asked = false;
                }
                worker.failed = true;
            } else if is_old {
            } else if worker
                .last_heartbeat
                .is_some_and(|last| difference(last, now) > i128::from(timeout_ms))
            {
                worker.last_heartbeat = None;
                worker.untimed = true;
            } else if worker.untimed {
                worker.last_heartbeat = worker.last_heartbeat.max(Some(now));
                worker.untimed = false;
            }
        }
    }

    /// Forgets the workers that a check reports, and that have been silent for longer than it says.
    pub(super) fn forget_silent(&mut self, request: &Value, reply: &Value) {
        let number = |name: &str| request[name].as_i64();
        let (Some(now), Some(remove_after_ms)) = (number("now"), number("remove_after_ms")) else {
            return;
        };
        let failed = texts(&reply["failed_workers"]).unwrap_or_default();
        let is_forgotten = |worker: &Worker| {
            let silence = worker.last_heartbeat.map(|last| difference(now, last));
            failed.contains(&worker.id) && silence > Some(i128::from(remove_after_ms))
        };
        self.workers.retain(|worker| !is_forgotten(worker));
    }

    /// From when on live attempts run, if a check that is not old sees them.
    pub(super) fn time_attempts(&mut self, request: &Value, before: &Snapshot) {
        let now = request["now"].as_i64().unwrap_or_default();
        let is_old = self.last_check_stragglers.makes_old(now);
        self.last_check_stragglers = LastCheck::At(now);
        if is_old {
            return;
        }
        for task in &mut self.tasks {
            let live: Vec<usize> = seen(before, &task.id)
                .into_iter()
                .flat_map(|seen| &seen.workers)
                .filter_map(|worker| task.attempts.iter().rposition(|it| it.worker == *worker))
                .collect();
            for at in live {
                let attempt = &mut task.attempts[at];
                attempt.runs_from = Some(attempt.runs_from.map_or(now, |from| from.min(now)));
            }
        }
    }

    pub(super) fn learn_time_outs(&mut self, reply: &Value, before: &Snapshot, after: &Snapshot) {
        for id in texts(&reply["timed_out"]).unwrap_or_default() {
            let (Some(was), Some(is)) = (seen(before, &id), seen(after, &id)) else {
                continue;
            };
            let gone = was.workers.iter().filter(|id| !is.workers.contains(id));
            let gone: Vec<String> = gone.cloned().collect();
            let Some(task) = self.task_mut(&id) else {
                continue;
            };
            for worker in &gone {
                let attempts = &mut task.attempts;
                if let Some(at) = attempts.iter().rposition(|it| it.worker == *worker) {
                    attempts[at].timed_out = true;
                }
            }
            task.failed_on.extend(gone.iter().cloned());
            let job_id = task.job_id.clone();
            if let Some(job) = self.jobs.iter_mut().find(|job| job.id == job_id) {
                job.failed_by.extend(gone);
            }
        }
    }
}
