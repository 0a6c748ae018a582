//! Placement: which tasks a worker does not get for now, so that a bad worker does not spoil a job (protocol,
//! section 6, "Handing out tasks").
//!
//! A worker with a *history* of a task is passed over for that task while another worker could take it. A worker
//! that is *excluded* from a job gets no task of it.

use super::Master;
use super::events::Event;
use super::state::jobs::Job;
use super::state::keys::{JobKey, Kind, Lane, TaskKey};
use std::collections::HashMap;

/// After this many tasks have been passed over because of their history, the first of them is handed out anyway. This
/// bounds the cost of a request.
const MAX_PASSED_OVER: usize = 100;

/// Whether two heartbeats of a worker are at most `avoid_ms` apart by its own clock, in either direction. If one of them
/// is unknown, they are not.
fn is_within(avoid_ms: i64, a: Option<i64>, b: Option<i64>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    (i128::from(a) - i128::from(b)).abs() <= i128::from(avoid_ms)
}

/// Whether a suspect of a job is excluded from it.
fn is_suspect_excluded(worker: &str, last_heartbeat: Option<i64>, job: &Job) -> bool {
    let conduct = job.conduct.get(worker);
    let failed_at = conduct.and_then(|conduct| conduct.failed_at);
    is_within(job.options.avoid_ms, failed_at, last_heartbeat)
}

impl Master {
    /// Whether a worker has a history of a task.
    fn has_history(&self, worker: &str, key: TaskKey) -> bool {
        let history = self.task(key).history();
        if history.is_empty() {
            return false;
        }
        let avoid_ms = self.job(key).options.avoid_ms;
        let now = self.last_heartbeat(worker);
        (history.iter())
            .any(|entry| *entry.worker == *worker && is_within(avoid_ms, Some(entry.at), now))
    }

    fn last_heartbeat(&self, worker: &str) -> Option<i64> {
        self.workers().get(worker)?.last_heartbeat
    }

    /// Whether a worker is excluded from a job: its last attempts all failed, and the last of them not long ago.
    fn is_excluded(&self, worker: &str, job: &Job) -> bool {
        job.suspects.contains(worker)
            && is_suspect_excluded(worker, self.last_heartbeat(worker), job)
    }

    /// Whether a worker may be handed tasks of a job at all. A suspect that is no longer excluded may have one at a time.
    fn may_have_tasks_of(&self, worker: &str, last_heartbeat: Option<i64>, key: JobKey) -> bool {
        let job = self.jobs().get(key);
        !job.suspects.contains(worker)
            || !is_suspect_excluded(worker, last_heartbeat, job)
                && !self.has_live_attempt_of(worker, key)
    }

    fn has_live_attempt_of(&self, worker: &str, job: JobKey) -> bool {
        let [maps, reduces] = [Kind::Map, Kind::Reduce].map(|kind| Lane { job, kind });
        let holdings = self.workers().holdings(worker);
        holdings.is_some_and(|holdings| {
            let mut live = holdings.live.range((maps, 0)..=(reduces, u64::MAX));
            live.next().is_some()
        })
    }

    /// Whether a worker could take tasks of a job, ignoring its history of individual tasks: it is healthy, has asked for a
    /// task since a check last failed it, and is not excluded.
    fn is_candidate(&self, worker: &str, job: &Job) -> bool {
        self.is_asking(worker) && !self.is_excluded(worker, job)
    }

    fn is_asking(&self, worker: &str) -> bool {
        (self.workers().get(worker)).is_some_and(|worker| worker.has_asked)
    }

    /// The number of workers that could take tasks of a job, ignoring their histories. Only suspects can be excluded.
    fn candidates(&self, job: &Job) -> usize {
        let excluded = (job.suspects.iter())
            .filter(|worker| self.is_asking(worker) && self.is_excluded(worker, job));
        self.workers().asking() - excluded.count()
    }

    /// Whether a worker on which a task has not failed yet could take it.
    pub(super) fn another_untried_could_take(&self, key: TaskKey) -> bool {
        let tried: Vec<&str> = (self.task(key).attempts.iter())
            .filter(|attempt| attempt.has_failed)
            .map(|attempt| &*attempt.worker)
            .collect();
        self.could_another_take(self.candidates(self.job(key)), key, &tried)
    }

    /// Whether any of the job's `candidates` could take this task: one without a live attempt or a history of it, and not
    /// listed in `except`.
    fn could_another_take(&self, candidates: usize, key: TaskKey, except: &[&str]) -> bool {
        let (job, task) = (self.job(key), self.task(key));
        let with_history = (task.history().iter())
            .filter(|entry| {
                let now = self.last_heartbeat(&entry.worker);
                is_within(job.options.avoid_ms, Some(entry.at), now)
            })
            .map(|entry| &*entry.worker);
        let mut ruled_out: Vec<&str> = with_history
            .chain(task.live_attempts().map(|attempt| &*attempt.worker))
            .chain(except.iter().copied())
            .filter(|worker| self.is_candidate(worker, job))
            .collect();
        ruled_out.sort_unstable();
        ruled_out.dedup();
        candidates > ruled_out.len()
    }

    /// Ends all exclusions from each job that excludes this worker and more than two thirds of the workers that ask for
    /// tasks. With that many excluded, the workers are not the cause. Happens at most once per `avoid_ms` and job.
    pub(super) fn end_mass_exclusions(&mut self, worker: &str) {
        let Some(holdings) = self.workers().holdings(worker) else {
            return;
        };
        if holdings.failed_in.is_empty() {
            return;
        }
        let now = self.last_heartbeat(worker);
        let blameless: Vec<JobKey> = (holdings.failed_in.iter().copied())
            .filter(|key| {
                let job = self.jobs().get(*key);
                let asking = self.workers().asking();
                // Counting the excluded suspects takes time, so it happens only if there are enough suspects.
                let fewest_candidates = asking.saturating_sub(job.suspects.len());
                3 * fewest_candidates < asking
                    && !is_within(job.options.avoid_ms, job.amnesty_at, now)
                    && self.is_excluded(worker, job)
                    && 3 * self.candidates(job) < asking
            })
            .collect();
        for job in self.in_submission_order(blameless) {
            self.grant_amnesty(job, now);
            let id = self.jobs().get(job).id.as_ref().into();
            self.log(|| Event::ExclusionsEnded { job: id });
        }
    }

    fn in_submission_order(&self, mut jobs: Vec<JobKey>) -> Vec<JobKey> {
        jobs.sort_unstable_by_key(|key| self.jobs().get(*key).submitted);
        jobs
    }

    /// The first of `tasks` that the worker may get now. After [`MAX_PASSED_OVER`] tasks were passed over because of
    /// their history, the first of those.
    pub(super) fn first_to_hand_out(
        &self,
        worker: &str,
        tasks: impl Iterator<Item = (TaskKey, Source)>,
    ) -> Option<(TaskKey, Source)> {
        let mut candidates = HashMap::new();
        let mut passed_over = 0;
        let mut first_passed_over = None;
        for (key, source) in tasks {
            if !self.has_history(worker, key) {
                return Some((key, source));
            }
            let candidates = *(candidates.entry(key.job))
                .or_insert_with(|| self.candidates(self.jobs().get(key.job)));
            if !self.could_another_take(candidates, key, &[]) {
                return Some((key, source));
            }
            first_passed_over.get_or_insert((key, source));
            passed_over += 1;
            if passed_over == MAX_PASSED_OVER {
                return first_passed_over;
            }
        }
        None
    }

    /// The queued tasks, then the waiting backups, of the jobs whose tasks the worker may have.
    pub(super) fn waiting_for<'a>(
        &'a self,
        worker: &'a str,
    ) -> impl Iterator<Item = (TaskKey, Source)> + 'a {
        let last_heartbeat = self.last_heartbeat(worker);
        let may_have = move |lane: Lane| self.may_have_tasks_of(worker, last_heartbeat, lane.job);
        let queued = self.queued(may_have).map(|key| (key, Source::Queue));
        let backups = (self.waiting_backups(may_have))
            .filter(move |key| self.task(*key).live_on(worker).is_none())
            .map(|key| (key, Source::Backups));
        queued.chain(backups)
    }
}

/// Where a task waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Queue,
    /// As the backup of a straggler.
    Backups,
}
