//! Tasks are queued, completed, lose their outputs and end; the barrier opens and closes.

use crate::master::events::{AttemptEnd, Event};
use crate::master::state::Master;
use crate::master::state::keys::{JobKey, Kind, Lane, Rank, TaskKey};
use crate::master::state::tasks::{TaskResult, TaskState};
use crate::wire::Effect;
use serde_json::value::RawValue;
use std::rc::Rc;

impl Master {
    /// Counts a failure of a task towards its limit.
    pub(in crate::master) fn count_failure(&mut self, key: TaskKey) {
        self.jobs.task_mut(key).faults_mut().failures += 1;
    }

    /// Counts the loss of an output that a reduce could not fetch.
    pub(in crate::master) fn count_lost_output(&mut self, key: TaskKey) {
        self.jobs.task_mut(key).faults_mut().losses += 1;
    }

    /// Keeps the error of a task's last failure, a JSON string.
    pub(in crate::master) fn set_error(&mut self, key: TaskKey, error: Box<RawValue>) {
        self.jobs.task_mut(key).faults_mut().error = Some(error);
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
            task: jobs.task_id(key).into(),
        });
    }

    /// Queues a backup of a running task, unless one waits already.
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
            task: jobs.task_id(key).into(),
        });
    }

    /// Records a `check_stragglers`. Returns whether it is old.
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
                task: jobs.task_id(key).into(),
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

    /// Discards the result of a map whose output is lost. The caller then decides what happens to the task.
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
            task.faults_mut().lost_counters = result.counters;
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
                self.add_history(key, result.attempt, winner);
            }
        }
        self.set_state(key, TaskState::Idle);
        if let Some(last) = &last {
            self.workers
                .hold(last, |holdings| holdings.ended_here.insert(key));
        }
        let jobs = &self.jobs;
        self.events.detail(|| Event::OutputLost {
            task: jobs.task_id(key).into(),
            attempt: result.attempt,
            worker: winner.as_deref().unwrap_or_default().into(),
        });
    }

    /// Removes the map outputs that live on a worker, and returns them in task order.
    pub(in crate::master) fn take_outputs(&mut self, worker: &str) -> Vec<TaskKey> {
        let outputs = self.workers.take_outputs(worker);
        self.in_task_order(outputs)
    }

    /// Ends a task for good, together with its live attempts.
    pub(in crate::master) fn finish(&mut self, key: TaskKey, state: TaskState) {
        self.effect = Effect::Changed;
        self.leave_queue(key);
        self.drop_backup(key);
        self.leave_ended_here(key);
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
                task: jobs.task_id(key).into(),
            });
        }
        self.complete_job_if_done(key.job);
    }

    pub(super) fn next_rank(&mut self) -> Rank {
        self.totals.queued += 1;
        Rank::MIN.saturating_add(self.totals.queued - 1)
    }

    pub(super) fn leave_queue(&mut self, key: TaskKey) {
        if let Some(rank) = self.jobs.task_mut(key).queued.take() {
            self.queue.remove(self.jobs.lane(key), rank);
        }
    }

    pub(super) fn drop_backup(&mut self, key: TaskKey) {
        if let Some(rank) = self.jobs.task_mut(key).backup.take() {
            self.backups.remove(self.jobs.lane(key), rank);
        }
    }

    pub(super) fn set_state(&mut self, key: TaskKey, state: TaskState) {
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

    /// Opens or closes the lanes of a job's reduces in both queues, according to the barrier.
    pub(in crate::master::state) fn set_barrier(&mut self, job: JobKey) {
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
