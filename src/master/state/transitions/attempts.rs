//! Attempts are started, fetched and ended.

use super::End;
use crate::master::events::{AttemptEnd, Event, LossCause};
use crate::master::state::Master;
use crate::master::state::keys::{TaskKey, WorkerId};
use crate::master::state::tasks::{Attempt, Fetched, History, TaskState};
use crate::wire::Effect;
use std::rc::Rc;

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
        self.leave_ended_here(key);
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
            is_reported: false,
        });
        if number > 1 {
            task.forget_unfetched();
        }
        if task.live.is_empty() {
            task.running_at =
                u32::try_from(self.running.len()).expect("fewer than 2^32 tasks are running");
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

    /// Records that a worker fetched a live attempt, with a request whose `timestamp` is in ms. Only the first fetch
    /// counts.
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
            task: jobs.task_id(key).into(),
            attempt: number,
            worker: worker.as_ref().into(),
            at: timestamp,
        });
    }

    /// Records that a worker has reported on an attempt.
    pub(in crate::master) fn note_report(&mut self, key: TaskKey, number: u64) {
        if let Some(attempt) = self.jobs.task_mut(key).attempt_mut(number) {
            attempt.is_reported = true;
        }
    }

    /// Starts the clock of a live attempt at `now`, in ms by the monitor's clock.
    pub(in crate::master) fn time_attempt(&mut self, key: TaskKey, number: u64, now: i64) {
        if let Some(attempt) = self.jobs.task_mut(key).attempt_mut(number) {
            attempt.runs_from = Some(now);
        }
    }

    /// Ends a live attempt while its task goes on. The caller then decides what happens to the task.
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
                    task.faults_mut().losses += 1;
                }
                self.totals.attempts.lost += 1;
            }
        }
        if end != End::Lost(LossCause::Removal) {
            self.add_history(key, number, &worker);
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
                .hold(&worker, |holdings| holdings.ended_here.insert(key));
        } else if !was_fetched {
            task.forget_unfetched();
        }
    }

    /// Takes a live attempt from its worker.
    pub(super) fn release_attempt(&mut self, key: TaskKey, number: u64, end: AttemptEnd) {
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
            task: jobs.task_id(key).into(),
            attempt: number,
            worker: worker.as_ref().into(),
            end,
        });
    }

    /// Adds a worker to the history of a task, unless its last heartbeat is unknown.
    pub(super) fn add_history(&mut self, key: TaskKey, attempt: u64, worker: &WorkerId) {
        let last = self
            .workers
            .get(worker)
            .and_then(|worker| worker.last_heartbeat);
        if let Some(last) = last {
            let history = &mut self.jobs.task_mut(key).faults_mut().history;
            let entry = History {
                attempt,
                worker: Rc::clone(worker),
                at: last,
            };
            if !history.contains(&entry) {
                history.push(entry);
            }
        }
    }

    pub(super) fn leave_running(&mut self, key: TaskKey) {
        let at = self.jobs.task(key).running_at;
        self.running.swap_remove(at as usize);
        if let Some(&moved) = self.running.get(at as usize) {
            self.jobs.task_mut(moved).running_at = at;
        }
    }

    /// Removes an unfinished task from the `ended_here` list of the worker that had its most recent attempt.
    pub(super) fn leave_ended_here(&mut self, key: TaskKey) {
        let task = self.jobs.task(key);
        if let Some(last) = task.attempts.last()
            && task.state.is_unfinished()
            && !task.live.contains(last.number)
        {
            self.workers
                .hold(&last.worker, |holdings| holdings.ended_here.remove(&key));
        }
    }
}
