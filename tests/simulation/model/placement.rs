//! "A bad worker must not spoil a job": placement (section 6).

use super::history::count;
use super::{Job, Model, Worker};

/// "when 100 tasks have been passed over in one request for their history, the first of them is handed out"
pub(super) const MOST_PASSED_OVER: usize = 100;

/// Whether a worker may be handed a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Placement {
    Fits,
    /// The worker has a history of the task, and another worker could take it.
    History,
    /// The worker is excluded from the job.
    Excluded,
    /// The worker may have only one task of the job at a time, and has one.
    OneAtATime,
}

impl Model {
    /// "Rules 2 and 3 pass over […]"
    pub(super) fn placement(&self, t: usize, worker_id: &str) -> Placement {
        let job = self.job(&self.tasks[t].job_id);
        if self.is_excluded(job, worker_id) {
            Placement::Excluded
        } else if has_failed_too_often(job, worker_id) && self.has_task_of(job, worker_id) {
            // "After that time it is not excluded, but may have only one task of the job at a time, until it completes one."
            Placement::OneAtATime
        } else if self.has_history(t, worker_id) && self.another_could_take(t, worker_id) {
            Placement::History
        } else {
            Placement::Fits
        }
    }

    fn has_task_of(&self, job: &Job, worker_id: &str) -> bool {
        self.tasks_of(&job.id)
            .iter()
            .any(|task| task.live_on(worker_id).is_some())
    }

    /// "A worker has a history of a task for `avoid_ms` (of the job, default 60,000) after an attempt of the task failed,
    /// timed out, missed its inputs or was lost there, or lost its output (by anything but `remove_worker`)."
    fn has_history(&self, t: usize, worker_id: &str) -> bool {
        let avoid_ms = self.job(&self.tasks[t].job_id).settings.avoid_ms;
        self.tasks[t].given_to(worker_id).iter().any(|attempt| {
            attempt
                .marks
                .iter()
                .any(|then| self.is_within(avoid_ms, worker_id, *then))
        })
    }

    /// "Another worker could take the task if it is healthy, has sent a `request_task` since it last failed by a check, is
    /// not excluded from the job, and has neither a live attempt nor a history of the task"
    pub(super) fn another_could_take(&self, t: usize, worker_id: &str) -> bool {
        !self.others_that_could_take(t, worker_id).is_empty()
    }

    pub(super) fn others_that_could_take(&self, t: usize, worker_id: &str) -> Vec<&Worker> {
        let job = self.job(&self.tasks[t].job_id);
        let others = self.workers.iter().filter(|other| {
            other.id != worker_id
                && !other.failed
                && other.has_asked
                && !self.is_excluded(job, &other.id)
                && self.tasks[t].live_on(&other.id).is_none()
                && !self.has_history(t, &other.id)
        });
        others.collect()
    }

    /// "the last `max_worker_failures` (default 3, at least 1) attempts of the job that it reported on all failed […], the
    /// last of them within `avoid_ms`"
    pub(super) fn is_excluded(&self, job: &Job, worker_id: &str) -> bool {
        let last = failed_reports(job, worker_id).last().copied().flatten();
        has_failed_too_often(job, worker_id)
            && self.is_within(job.settings.avoid_ms, worker_id, last)
    }

    /// "Both times are by the worker's own clock: from its last heartbeat then to its last heartbeat now, in either
    /// direction; equal is still within, and where one of them is not known the time is over."
    fn is_within(&self, avoid_ms: i64, worker_id: &str, then: Option<i64>) -> bool {
        match (then, self.last_heartbeat(worker_id)) {
            (Some(then), Some(now)) => {
                (i128::from(now) - i128::from(then)).abs() <= i128::from(avoid_ms)
            }
            _ => false,
        }
    }

    /// Attempt `a` of task `t` gives its worker a history of the task from now on.
    pub(super) fn mark(&mut self, t: usize, a: usize) {
        let then = self.last_heartbeat(&self.tasks[t].attempts[a].worker);
        self.tasks[t].attempts[a].marks.push(then);
    }

    /// The worker failed an attempt of task `t`.
    pub(super) fn remember_failed_report(&mut self, t: usize, worker_id: &str) {
        let then = self.last_heartbeat(worker_id);
        let job_id = self.tasks[t].job_id.clone();
        let job = self.job_mut(&job_id);
        job.failed_reports.push((worker_id.to_string(), then));
    }

    /// "ends the exclusion and starts the count anew"
    pub(super) fn forget_failed_reports_of(&mut self, worker_id: &str) {
        for job in &mut self.jobs {
            job.failed_reports.retain(|(worker, _)| worker != worker_id);
        }
    }

    /// "When an excluded worker asks, and fewer than a third of the workers that are healthy and have sent a `request_task`
    /// since they last failed by a check are not excluded, the workers are not to blame: all exclusions from the job end,
    /// and all counts start anew (at most once per `avoid_ms`, by the clock of the worker that asks)."
    pub(super) fn end_exclusions(&mut self, worker_id: &str) {
        for j in 0..self.jobs.len() {
            let job = &self.jobs[j];
            if !self.is_excluded(job, worker_id) {
                continue;
            }
            let candidates: Vec<&Worker> = self
                .workers
                .iter()
                .filter(|worker| !worker.failed && worker.has_asked)
                .collect();
            let not_excluded = candidates
                .iter()
                .filter(|worker| !self.is_excluded(job, &worker.id));
            if 3 * count(not_excluded) >= count(candidates.iter()) {
                self.hit("exclusion stays: enough others");
                continue;
            }
            if self.is_within(job.settings.avoid_ms, worker_id, job.exclusions_ended_at) {
                self.hit("exclusion stays: all ended a short time ago");
                continue;
            }
            self.hit("all exclusions end");
            let now = self.last_heartbeat(worker_id);
            self.jobs[j].failed_reports.clear();
            self.jobs[j].exclusions_ended_at = now;
        }
    }
}

/// The last heartbeats of the worker when it failed its last attempts of the job, oldest first.
fn failed_reports(job: &Job, worker_id: &str) -> Vec<Option<i64>> {
    job.failed_reports
        .iter()
        .filter(|(worker, _)| worker == worker_id)
        .map(|(_, then)| *then)
        .collect()
}

fn has_failed_too_often(job: &Job, worker_id: &str) -> bool {
    count(failed_reports(job, worker_id).iter()) >= job.settings.max_worker_failures
}
