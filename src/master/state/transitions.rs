//! Every way in which the master's state changes. Policies decide when; nothing else changes anything.
//!
//! Whatever ends an attempt, it ends in [`Master::end_attempt`]; whatever ends a task, it ends in
//! [`Master::finish`].

use super::jobs::{Conduct, Job, JobState, Kind, Lane, TAKEN_IN};
use super::queue::Rank;
use super::tasks::{Attempt, Fetched, Task, TaskResult, TaskState, Work};
use super::workers::{Heard, WorkerId};
use super::{JobKey, Master, TaskKey};
use crate::master::events::{AttemptEnd, Event, LossCause};
use crate::wire::{Effect, JobOptions};
use serde_json::value::RawValue;
use std::rc::Rc;

/// Ranks from here on are those of tasks that were never handed out, in task order; those below, of tasks that were
/// queued again, first come first.
pub(super) const NEVER_HANDED_OUT: u64 = 1 << 63;

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

/// Requests.
impl Master {
    /// Begins a request whose own time is `at`, in ms; it changes nothing yet.
    pub(in crate::master) fn begin_request(&mut self, at: Option<i64>) {
        self.events.begin(at);
        self.effect = Effect::None;
    }

    /// Notes that the request has changed something.
    pub(in crate::master) fn note_effect(&mut self, effect: Effect) {
        self.effect = self.effect.max(effect);
    }

    /// Counts a result that was dropped.
    pub(in crate::master) fn drop_result(&mut self, key: TaskKey, number: u64, worker: &str) {
        self.totals.duplicates_dropped += 1;
        let jobs = &self.jobs;
        self.events.detail(|| Event::ResultDropped {
            task: jobs.get(key.job).task_id(key.task).into(),
            attempt: number,
            worker: worker.into(),
        });
    }
}

/// Workers.
impl Master {
    /// Hears from a worker: whatever it says, it is there.
    pub(in crate::master) fn hear(&mut self, id: &str, timestamp: i64) {
        self.effect = self.effect.max(Effect::Heard);
        let heard = self.workers.hear(id, timestamp);
        self.events.detail(|| Event::WorkerHeard {
            worker: id.into(),
            at: timestamp,
        });
        match heard {
            Heard::AsBefore => {}
            Heard::Joined => self
                .events
                .push(|| Event::WorkerJoined { worker: id.into() }),
            Heard::Back => self.events.push(|| Event::WorkerBack { worker: id.into() }),
        }
    }

    /// Makes a worker known that is given a task but was never heard from.
    pub(in crate::master) fn make_known(&mut self, id: &str) {
        if self.workers.make_known(id) {
            self.events
                .push(|| Event::WorkerJoined { worker: id.into() });
        }
    }

    /// Notes that a worker asks for a task.
    pub(in crate::master) fn note_asking(&mut self, id: &str) {
        self.workers.set_asked(id);
    }

    /// Sets a worker's incarnation. Returns whether it has restarted: the one before was smaller.
    pub(in crate::master) fn set_incarnation(&mut self, id: &str, incarnation: i64) -> bool {
        self.workers.set_incarnation(id, incarnation)
    }

    /// Notes a `check_failures`. Returns whether it is old.
    pub(in crate::master) fn note_failure_check(&mut self, now: i64) -> bool {
        self.effect = self.effect.max(Effect::Heard);
        self.failure_checks.note(now)
    }

    /// Times untimed workers from `now` on, and makes those untimed that were last heard later than
    /// `latest_credible`.
    pub(in crate::master) fn set_worker_clocks(&mut self, now: i64, latest_credible: i128) {
        self.workers.set_clocks(now, latest_credible);
    }

    /// Marks a worker as failed.
    pub(in crate::master) fn mark_failed(&mut self, id: &str) {
        self.effect = Effect::Changed;
        self.workers.fail(id);
    }

    /// Forgets a worker that holds nothing that could still be lost.
    pub(in crate::master) fn forget_worker(&mut self, id: &WorkerId) {
        self.effect = Effect::Changed;
        self.forget_conduct(id);
        self.workers.forget(id);
        self.workers.drop_empty_holdings(id);
    }
}

/// Conduct (placement).
impl Master {
    /// Notes that an attempt of a job failed on a worker.
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

    /// Notes that a worker completed an attempt of a job.
    pub(in crate::master) fn note_completed_attempt(&mut self, key: JobKey, worker: &WorkerId) {
        let job = self.jobs.get_mut(key);
        if job.conduct.is_empty() {
            return;
        }
        if job.conduct.remove(worker).is_some() {
            job.suspects.remove(worker);
            self.workers
                .hold(worker, |holdings| holdings.failed_in.remove(&key));
        }
    }

    /// Starts the counts of a worker anew, in all jobs.
    pub(in crate::master) fn forget_conduct(&mut self, worker: &WorkerId) {
        let Some(holdings) = self.workers.holdings(worker) else {
            return;
        };
        for key in holdings.failed_in.clone() {
            self.note_completed_attempt(key, worker);
        }
    }

    /// Ends all exclusions from a job and starts all counts anew, `at` the last heartbeat of the worker that asks.
    pub(in crate::master) fn grant_amnesty(&mut self, key: JobKey, at: Option<i64>) {
        self.effect = Effect::Changed;
        self.drop_conduct(key);
        self.jobs.get_mut(key).amnesty_at = at;
    }

    fn drop_conduct(&mut self, key: JobKey) {
        let job = self.jobs.get_mut(key);
        job.suspects.clear();
        for (worker, Conduct { .. }) in std::mem::take(&mut job.conduct) {
            self.workers
                .hold(&worker, |holdings| holdings.failed_in.remove(&key));
        }
    }
}

/// Jobs.
impl Master {
    /// Adds a job whose ids are not taken.
    pub(in crate::master) fn add_job(&mut self, id: &str, options: JobOptions) -> JobKey {
        self.effect = Effect::Changed;
        self.totals.had_job = true;
        let submitted = self.jobs.submitted;
        self.jobs.submitted += 1;
        self.jobs.add(Job::new(id, submitted, options))
    }

    /// Adds the tasks of a new job: its maps, then its reduces.
    pub(in crate::master) fn add_tasks(
        &mut self,
        job: JobKey,
        maps: impl ExactSizeIterator<Item = (Rc<str>, Box<RawValue>)>,
        reduces: u32,
    ) {
        self.jobs.reserve(job, maps.len(), reduces as usize);
        let maps = maps.map(|(id, chunk)| Work::Map { id, chunk });
        self.add_lane(
            Lane {
                job,
                kind: Kind::Map,
            },
            maps,
        );
        let reduces = (0..reduces).map(|_| Work::Reduce);
        self.add_lane(
            Lane {
                job,
                kind: Kind::Reduce,
            },
            reduces,
        );
        self.set_barrier(job);
        self.complete_job_if_done(job);
    }

    fn add_lane(&mut self, lane: Lane, works: impl Iterator<Item = Work>) {
        let mut waiting = Vec::new();
        for work in works {
            waiting.push(self.add_task(lane.job, work));
        }
        self.queue.extend(lane, waiting.into_iter());
    }

    /// Adds a task that is queued, but for the queue. Returns where it waits there.
    fn add_task(&mut self, job: JobKey, work: Work) -> (Rank, TaskKey) {
        let order = self.totals.tasks;
        self.totals.tasks += 1;
        let rank = Rank::MIN.saturating_add((NEVER_HANDED_OUT | order) - 1);
        let mut task = Task::new(work, order, self.totals.numbers_used);
        task.queued = Some(rank);
        (rank, self.jobs.add_task(job, task))
    }

    /// Takes in a map task of the job of such tasks, which is running from now on.
    pub(in crate::master) fn take_in(&mut self, id: Rc<str>, chunk: Box<RawValue>) -> TaskKey {
        let job = (self.jobs.find(TAKEN_IN))
            .unwrap_or_else(|| self.add_job(TAKEN_IN, JobOptions::TAKEN_IN));
        self.jobs.set_job_state(job, JobState::Running);
        let (rank, key) = self.add_task(job, Work::Map { id, chunk });
        self.queue.insert(self.jobs.lane(key), rank, key);
        key
    }

    /// Forgets a job.
    pub(in crate::master) fn forget_job(&mut self, job: JobKey) {
        self.effect = Effect::Changed;
        for kind in [Kind::Map, Kind::Reduce] {
            self.queue.clear(Lane { job, kind });
            self.backups.clear(Lane { job, kind });
        }
        self.drop_conduct(job);
        for task in 0..self.jobs.get(job).tasks.len() {
            let key = TaskKey::new(job, task);
            self.let_go(key);
            let task = self.jobs.task(key);
            let used = task.last_number();
            self.totals.numbers_used = self.totals.numbers_used.max(used);
        }
        self.jobs.remove(job);
    }

    /// Takes a task away from all who hold it, since it is about to be forgotten.
    fn let_go(&mut self, key: TaskKey) {
        self.leave_departed(key);
        let lane = self.jobs.lane(key);
        let task = self.jobs.task(key);
        for attempt in task.live_attempts() {
            let place = (lane, attempt.assigned);
            self.workers
                .hold(&attempt.worker, |holdings| holdings.live.remove(&place));
        }
        if let Some(winner) = task.winner() {
            self.workers
                .hold(&winner.worker, |holdings| holdings.outputs.remove(&key));
        }
        if !task.live.is_empty() {
            self.leave_running(key);
        }
    }

    /// Completes a job when its last kind of task is done (section 6, "End").
    fn complete_job_if_done(&mut self, key: JobKey) {
        let job = self.jobs.get(key);
        if job.state.is_running() && job.unfinished(job.last_kind()) == 0 {
            self.events.push(|| Event::JobCompleted {
                job: job.id.as_ref().into(),
            });
            self.end_job(key, JobState::Completed);
        }
    }

    /// Fails a job by one of its tasks; `error` is a JSON string.
    pub(in crate::master) fn fail_job(&mut self, task: TaskKey, error: Box<RawValue>) {
        let jobs = &self.jobs;
        self.events.push(|| Event::JobFailed {
            job: jobs.get(task.job).id.as_ref().into(),
            task: jobs.get(task.job).task_id(task.task).into(),
            error: error.get().into(),
        });
        let state = JobState::Failed { task, error };
        self.jobs.set_job_state(task.job, state);
        self.finish(task, TaskState::Failed);
        self.withdraw_rest(task.job);
    }

    fn end_job(&mut self, key: JobKey, state: JobState) {
        self.jobs.set_job_state(key, state);
        self.withdraw_rest(key);
    }

    /// Withdraws what is unfinished of a job that has ended, and lets go what only a running job needs.
    fn withdraw_rest(&mut self, job: JobKey) {
        let this = self.jobs.get(job);
        let has_rest = this.unfinished(Kind::Map) + this.unfinished(Kind::Reduce) > 0;
        let has_outputs = this.reduce_tasks() > 0;
        if &*this.id != TAKEN_IN {
            self.drop_conduct(job);
        }
        if !has_rest && !has_outputs {
            return;
        }
        for task in 0..self.jobs.get(job).tasks.len() {
            let key = TaskKey::new(job, task);
            let task = self.jobs.task(key);
            if task.state.is_unfinished() {
                self.finish(key, TaskState::Withdrawn);
            } else if has_outputs && let Some(winner) = task.winner() {
                self.workers
                    .hold(&winner.worker, |holdings| holdings.outputs.remove(&key));
            }
        }
    }
}

/// Attempts.
impl Master {
    /// Gives a task to a worker as a new attempt. Returns its number.
    pub(in crate::master) fn start_attempt(
        &mut self,
        key: TaskKey,
        worker: &WorkerId,
        fetched: Fetched,
        is_backup: bool,
    ) -> u64 {
        self.effect = Effect::Changed;
        self.leave_queue(key);
        self.drop_backup(key);
        self.leave_departed(key);
        let assigned = self.totals.attempts.started;
        self.totals.attempts.started += 1;
        self.totals.attempts.speculative += u64::from(is_backup);
        let lane = self.jobs.lane(key);
        let task = self.jobs.task_mut(key);
        let number = task.last_number() + 1;
        if task.attempts.is_empty() {
            task.attempts.reserve_exact(1);
        }
        task.attempts.push(Attempt {
            number,
            worker: Rc::clone(worker),
            assigned,
            fetched,
            runs_from: match fetched {
                Fetched::At(timestamp) => Some(timestamp),
                Fetched::No | Fetched::Unknown => None,
            },
            fetched_since_recovery: fetched != Fetched::No,
            has_failed: false,
            has_timed_out: false,
        });
        if number > 1 {
            task.forget_unfetched();
        }
        if task.live.is_empty() {
            task.running_at =
                u32::try_from(self.running.len()).expect("memory ends before the places do");
            self.running.push(key);
        }
        let had_room = self.jobs.task_mut(key).live.add(number);
        debug_assert!(had_room, "at most two attempts of a task are live");
        self.workers.hold(worker, |holdings| {
            holdings.live.insert((lane, assigned), key)
        });
        self.set_state(key, TaskState::Running);
        let jobs = &self.jobs;
        self.events.detail(|| {
            let job = jobs.get(key.job);
            Event::AttemptStarted {
                task: job.task_id(key.task).into(),
                job: job.id.as_ref().into(),
                kind: lane.kind,
                attempt: number,
                worker: worker.as_ref().into(),
                is_backup,
                fetched_at: match fetched {
                    Fetched::At(at) => Some(at),
                    Fetched::No | Fetched::Unknown => None,
                },
            }
        });
        number
    }

    /// Notes that a live attempt is fetched by the request with that `timestamp`, in ms, unless it was before.
    pub(in crate::master) fn fetch(&mut self, key: TaskKey, number: u64, timestamp: i64) {
        self.effect = Effect::Changed;
        let Some(attempt) = self.jobs.task_mut(key).attempt_mut(number) else {
            return;
        };
        if attempt.fetched != Fetched::No {
            return;
        }
        attempt.fetched = Fetched::At(timestamp);
        attempt.runs_from = Some(timestamp);
        attempt.fetched_since_recovery = true;
        let worker = Rc::clone(&attempt.worker);
        let jobs = &self.jobs;
        self.events.detail(|| Event::AttemptFetched {
            task: jobs.get(key.job).task_id(key.task).into(),
            attempt: number,
            worker: worker.as_ref().into(),
            at: timestamp,
        });
    }

    /// Has a live attempt run from `now` on, for the monitor.
    pub(in crate::master) fn time_attempt(&mut self, key: TaskKey, number: u64, now: i64) {
        if let Some(attempt) = self.jobs.task_mut(key).attempt_mut(number) {
            attempt.runs_from = Some(now);
        }
    }

    /// Ends a live attempt while its task goes on. What becomes of the task must be decided then.
    pub(in crate::master) fn end_attempt(&mut self, key: TaskKey, number: u64, end: End) {
        let task = self.jobs.task_mut(key);
        let Some(attempt) = task.attempt_mut(number) else {
            return;
        };
        let (worker, was_fetched) = (Rc::clone(&attempt.worker), attempt.fetched != Fetched::No);
        match end {
            End::Failed | End::TimedOut => {
                attempt.has_failed = true;
                attempt.has_timed_out = end == End::TimedOut;
                self.totals.attempts.failed += 1;
            }
            End::InputsMissing => {}
            End::Lost(cause) => {
                if was_fetched && cause != LossCause::Removal {
                    task.troubles_mut().losses += 1;
                }
                self.totals.attempts.lost += 1;
            }
        }
        if end != End::Lost(LossCause::Removal) {
            self.add_history(key, &worker);
        }
        let end = match end {
            End::Failed => AttemptEnd::Failed,
            End::TimedOut => AttemptEnd::TimedOut,
            End::InputsMissing => AttemptEnd::InputsMissing,
            End::Lost(cause) => AttemptEnd::Lost(cause),
        };
        self.release_attempt(key, number, end);
        let task = self.jobs.task_mut(key);
        if task.last_number() == number {
            self.workers
                .hold(&worker, |holdings| holdings.departed.insert(key));
        } else if !was_fetched {
            task.forget_unfetched();
        }
    }

    /// Takes a live attempt from its worker.
    fn release_attempt(&mut self, key: TaskKey, number: u64, end: AttemptEnd) {
        self.effect = Effect::Changed;
        let lane = self.jobs.lane(key);
        let task = self.jobs.task_mut(key);
        task.live.remove(number);
        let is_last_live = task.live.is_empty();
        let Some(attempt) = task.attempt(number) else {
            return;
        };
        let place = (lane, attempt.assigned);
        let worker = Rc::clone(&attempt.worker);
        self.workers
            .hold(&worker, |holdings| holdings.live.remove(&place));
        if is_last_live {
            self.leave_running(key);
        }
        let jobs = &self.jobs;
        self.events.detail(|| Event::AttemptEnded {
            task: jobs.get(key.job).task_id(key.task).into(),
            attempt: number,
            worker: worker.as_ref().into(),
            end,
        });
    }

    /// Adds a worker to the history of a task, if it is known when it was last heard from.
    fn add_history(&mut self, key: TaskKey, worker: &WorkerId) {
        let last = self
            .workers
            .get(worker)
            .and_then(|worker| worker.last_heartbeat);
        if let Some(last) = last {
            let history = &mut self.jobs.task_mut(key).troubles_mut().history;
            let entry = (Rc::clone(worker), last);
            if !history.contains(&entry) {
                history.push(entry);
            }
        }
    }

    fn leave_running(&mut self, key: TaskKey) {
        let at = self.jobs.task(key).running_at;
        self.running.swap_remove(at as usize);
        if let Some(&moved) = self.running.get(at as usize) {
            self.jobs.task_mut(moved).running_at = at;
        }
    }

    /// Takes an unfinished task out of the list of the worker that had its most recent attempt.
    fn leave_departed(&mut self, key: TaskKey) {
        let task = self.jobs.task(key);
        if let Some(last) = task.attempts.last()
            && task.state.is_unfinished()
            && !task.live.contains(last.number)
        {
            self.workers
                .hold(&last.worker, |holdings| holdings.departed.remove(&key));
        }
    }
}

/// Tasks.
impl Master {
    /// Counts a failure of a task towards its limit.
    pub(in crate::master) fn count_failure(&mut self, key: TaskKey) {
        self.jobs.task_mut(key).troubles_mut().failures += 1;
    }

    /// Counts the loss of an output that a reduce could not fetch.
    pub(in crate::master) fn count_lost_output(&mut self, key: TaskKey) {
        self.jobs.task_mut(key).troubles_mut().losses += 1;
    }

    /// Keeps the error of a task's last failure, a JSON string.
    pub(in crate::master) fn set_error(&mut self, key: TaskKey, error: Box<RawValue>) {
        self.jobs.task_mut(key).troubles_mut().error = Some(error);
    }

    /// Queues an unfinished task without a live attempt behind those that were queued before.
    pub(in crate::master) fn queue_again(&mut self, key: TaskKey) {
        self.effect = Effect::Changed;
        self.drop_backup(key);
        self.set_state(key, TaskState::Idle);
        let rank = self.next_rank();
        let lane = self.jobs.lane(key);
        self.jobs.task_mut(key).queued = Some(rank);
        self.queue.insert(lane, rank, key);
        let jobs = &self.jobs;
        self.events.detail(|| Event::TaskRequeued {
            task: jobs.get(key.job).task_id(key.task).into(),
        });
    }

    /// Has a backup of a running task wait for a worker, unless one does.
    pub(in crate::master) fn queue_backup(&mut self, key: TaskKey) {
        if self.jobs.task(key).backup.is_some() {
            return;
        }
        self.effect = Effect::Changed;
        let rank = self.next_rank();
        let lane = self.jobs.lane(key);
        self.jobs.task_mut(key).backup = Some(rank);
        self.backups.insert(lane, rank, key);
        let jobs = &self.jobs;
        self.events.push(|| Event::StragglerDetected {
            task: jobs.get(key.job).task_id(key.task).into(),
        });
    }

    /// Notes a `check_stragglers`. Returns whether it is old.
    pub(in crate::master) fn note_straggler_check(&mut self, now: i64) -> bool {
        self.effect = self.effect.max(Effect::Heard);
        self.straggler_checks.note(now)
    }

    /// Completes an unfinished task with its first result.
    pub(in crate::master) fn accept(&mut self, key: TaskKey, result: TaskResult) {
        self.totals.attempts.completed += 1;
        let kind = self.jobs.kind(key);
        let job = self.jobs.get_mut(key.job);
        let task = &mut job.tasks[key.task as usize];
        let number = result.attempt;
        task.result = Some(Box::new(result));
        let run_time = task.run_time();
        if let Some(run_time) = run_time {
            job.run_times_mut(kind).add(run_time);
        }
        job.replace_lost_counters(key.task);
        let is_live = job.tasks[key.task as usize].live.contains(number);
        if !is_live {
            let jobs = &self.jobs;
            self.events.detail(|| Event::LateResultAccepted {
                task: jobs.get(key.job).task_id(key.task).into(),
                attempt: number,
            });
        }
        self.finish(key, TaskState::Completed);
        if kind == Kind::Map
            && self.jobs.get(key.job).outputs_live_on_workers()
            && let Some(winner) = self.jobs.task(key).winner()
        {
            self.workers
                .hold(&winner.worker, |holdings| holdings.outputs.insert(key));
        }
    }

    /// Takes back the result of a map whose output is lost. What becomes of the task must be decided then.
    pub(in crate::master) fn lose_output(&mut self, key: TaskKey, by_removal: bool) {
        self.effect = Effect::Changed;
        let kind = self.jobs.kind(key);
        let task = self.jobs.task_mut(key);
        let run_time = task.run_time();
        let winner = task.winner().map(|winner| Rc::clone(&winner.worker));
        let Some(result) = task.result.take() else {
            return;
        };
        if !result.counters.is_empty() {
            task.troubles_mut().lost_counters = result.counters;
        }
        task.forget_unfetched();
        let last = task.attempts.last().map(|last| Rc::clone(&last.worker));
        if let Some(run_time) = run_time {
            self.jobs
                .get_mut(key.job)
                .run_times_mut(kind)
                .remove(run_time);
        }
        if let Some(winner) = &winner {
            self.workers
                .hold(winner, |holdings| holdings.outputs.remove(&key));
            if !by_removal {
                self.add_history(key, winner);
            }
        }
        self.set_state(key, TaskState::Idle);
        if let Some(last) = &last {
            self.workers
                .hold(last, |holdings| holdings.departed.insert(key));
        }
        let jobs = &self.jobs;
        self.events.detail(|| Event::OutputLost {
            task: jobs.get(key.job).task_id(key.task).into(),
            attempt: result.attempt,
            worker: winner.as_deref().unwrap_or_default().into(),
        });
    }

    /// The map outputs that live on a worker, in task order; they are no longer its own.
    pub(in crate::master) fn take_outputs(&mut self, worker: &str) -> Vec<TaskKey> {
        let outputs = self.workers.take_outputs(worker);
        self.in_task_order(outputs)
    }

    /// Ends a task for good, and its attempts with it.
    pub(in crate::master) fn finish(&mut self, key: TaskKey, state: TaskState) {
        self.effect = Effect::Changed;
        self.leave_queue(key);
        self.drop_backup(key);
        self.leave_departed(key);
        let task = self.jobs.task(key);
        let winner = task.result.as_ref().map(|result| result.attempt);
        for number in task.live.iter() {
            let end = if winner == Some(number) {
                AttemptEnd::Accepted
            } else if state == TaskState::Completed {
                AttemptEnd::Superseded
            } else {
                AttemptEnd::Withdrawn
            };
            self.release_attempt(key, number, end);
        }
        self.jobs.task_mut(key).forget_unfetched();
        self.set_state(key, state);
        if state == TaskState::Skipped {
            let jobs = &self.jobs;
            self.events.push(|| Event::TaskSkipped {
                task: jobs.get(key.job).task_id(key.task).into(),
            });
        }
        self.complete_job_if_done(key.job);
    }

    fn next_rank(&mut self) -> Rank {
        self.totals.queued += 1;
        Rank::MIN.saturating_add(self.totals.queued - 1)
    }

    fn leave_queue(&mut self, key: TaskKey) {
        if let Some(rank) = self.jobs.task_mut(key).queued.take() {
            self.queue.remove(self.jobs.lane(key), rank);
        }
    }

    fn drop_backup(&mut self, key: TaskKey) {
        if let Some(rank) = self.jobs.task_mut(key).backup.take() {
            self.backups.remove(self.jobs.lane(key), rank);
        }
    }

    fn set_state(&mut self, key: TaskKey, state: TaskState) {
        if self.jobs.set_task_state(key, state) {
            self.set_barrier(key.job);
            let job = self.jobs.get(key.job);
            if job.reduce_tasks() > 0 {
                let id = || job.id.as_ref().into();
                if job.is_open(Kind::Reduce) {
                    self.events.detail(|| Event::BarrierOpened { job: id() });
                } else {
                    self.events.detail(|| Event::BarrierClosed { job: id() });
                }
            }
        }
    }

    /// Holds a job's reduces back in both queues, or lets them go.
    pub(super) fn set_barrier(&mut self, job: JobKey) {
        let this = self.jobs.get(job);
        if this.reduce_tasks() == 0 {
            return;
        }
        let is_open = this.is_open(Kind::Reduce);
        let lane = Lane {
            job,
            kind: Kind::Reduce,
        };
        self.queue.set_open(lane, is_open);
        self.backups.set_open(lane, is_open);
    }
}

/// Recovery (section 8).
impl Master {
    /// Goes on after a recovery: for a while nobody could reach the master.
    pub fn recover(&mut self) {
        self.workers.recover();
        for key in &self.running {
            let task = self.jobs.task_mut(*key);
            for number in task.live.iter() {
                if let Some(attempt) = task.attempt_mut(number)
                    && std::mem::take(&mut attempt.fetched_since_recovery)
                {
                    attempt.runs_from = None;
                }
            }
        }
        self.failure_checks.is_first_since_recovery = true;
        self.straggler_checks.is_first_since_recovery = true;
    }
}
