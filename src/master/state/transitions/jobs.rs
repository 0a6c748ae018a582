//! Jobs are added, end and are removed.

use crate::master::events::Event;
use crate::master::state::Master;
use crate::master::state::jobs::{Job, JobState, TAKEN_IN};
use crate::master::state::keys::{JobKey, Kind, Lane, Rank, TaskKey, fresh_rank};
use crate::master::state::tasks::{Task, TaskState, Work};
use crate::wire::{Effect, JobOptions};
use serde_json::value::RawValue;
use std::rc::Rc;

impl Master {
    /// Adds a job without tasks. The id must not be taken.
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

    pub(super) fn add_lane(&mut self, lane: Lane, works: impl Iterator<Item = Work>) {
        let mut waiting = Vec::new();
        for work in works {
            waiting.push(self.add_task(lane.job, work));
        }
        self.queue.extend(lane, waiting.into_iter());
    }

    /// Adds a task. The caller inserts it into the queue, at the rank that is returned.
    pub(super) fn add_task(&mut self, job: JobKey, work: Work) -> (Rank, TaskKey) {
        let order = self.totals.tasks;
        self.totals.tasks += 1;
        let rank = fresh_rank(order);
        let mut task = Task::new(work, order, self.totals.numbers_used);
        task.queued = Some(rank);
        (rank, self.jobs.add_task(job, task))
    }

    /// Adds a map task to the job [`TAKEN_IN`], which is created if necessary and is running from now on.
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
            self.detach(key);
            let task = self.jobs.task(key);
            let used = task.last_number();
            self.totals.numbers_used = self.totals.numbers_used.max(used);
        }
        self.jobs.remove(job);
    }

    /// Removes a task from everything that refers to it, before it is forgotten.
    pub(super) fn detach(&mut self, key: TaskKey) {
        self.leave_ended_here(key);
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
    pub(super) fn complete_job_if_done(&mut self, key: JobKey) {
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
            task: jobs.task_id(task).into(),
            error: error.get().into(),
        });
        let state = JobState::Failed { task, error };
        self.jobs.set_job_state(task.job, state);
        self.finish(task, TaskState::Failed);
        self.withdraw_rest(task.job);
    }

    pub(super) fn end_job(&mut self, key: JobKey, state: JobState) {
        self.jobs.set_job_state(key, state);
        self.withdraw_rest(key);
    }

    /// Withdraws what is unfinished of a job that has ended, and lets go what only a running job needs.
    pub(super) fn withdraw_rest(&mut self, job: JobKey) {
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
