//! Time-outs, and backup tasks for stragglers: `check_stragglers` (protocol, section 6; paper, §3.6).

use super::Master;
use super::state::keys::TaskKey;
use super::state::tasks::{Fetched, TaskState};
use super::state::transitions::End;
use crate::wire::{CheckStragglers, Reply, json_string};

impl Master {
    /// Fails the attempts that have timed out, then reports the stragglers: tasks whose only live attempt has been
    /// running for too long. A backup of each straggler waits for a worker from now on.
    pub(super) fn check_stragglers(&mut self, check: &CheckStragglers) -> Reply<'_> {
        let is_old = self.note_straggler_check(check.now);
        let running = self.running();
        if !is_old {
            self.set_attempt_clocks(&running, check.now);
        }
        let timed_out = self.time_out(&running, check.now);
        let stragglers: Vec<TaskKey> = (running.into_iter())
            .filter(|key| self.is_straggler(*key, check))
            .collect();
        for key in &stragglers {
            self.queue_backup(*key);
        }
        let id = |key: &TaskKey| self.task_id(*key);
        Reply::StragglersDetected {
            tasks: stragglers.iter().map(id).collect(),
            timed_out: timed_out.iter().map(id).collect(),
        }
    }

    /// Starts the clock of each live attempt at `now`, unless it was started before and not in the future.
    fn set_attempt_clocks(&mut self, running: &[TaskKey], now: i64) {
        for key in running {
            for number in self.task(*key).live.iter() {
                let attempt = self.task(*key).attempt(number);
                let runs_from = attempt.and_then(|attempt| attempt.runs_from);
                if runs_from.is_none_or(|runs_from| runs_from > now) {
                    self.time_attempt(*key, number, now);
                }
            }
        }
    }

    /// Fails every live, fetched attempt that has run for longer than `task_timeout_ms`. Returns their tasks, each once.
    fn time_out(&mut self, running: &[TaskKey], now: i64) -> Vec<TaskKey> {
        let mut timed_out = Vec::new();
        for key in running {
            let Some(task_timeout_ms) = self.job(*key).options.task_timeout_ms else {
                continue;
            };
            for number in self.task(*key).live.iter() {
                let Some(attempt) = self.task(*key).attempt(number) else {
                    continue;
                };
                let ran = ran_for(attempt.runs_from, now);
                let is_over = attempt.fetched != Fetched::No
                    && ran.is_some_and(|ran| ran > i128::from(task_timeout_ms));
                if !is_over || !self.task(*key).live.contains(number) {
                    continue;
                }
                let error = json_string(&format!(
                    "the attempt ran for longer than task_timeout_ms ({task_timeout_ms})"
                ));
                self.fail_attempt(*key, number, End::TimedOut, error, &[]);
                if timed_out.last() != Some(key) {
                    timed_out.push(*key);
                }
            }
        }
        timed_out
    }

    /// Whether a task has exactly one live attempt, which has been running for too long.
    fn is_straggler(&self, key: TaskKey, check: &CheckStragglers) -> bool {
        let task = self.task(key);
        let only = task.live.only().and_then(|number| task.attempt(number));
        let Some(ran) = only.and_then(|only| ran_for(only.runs_from, check.now)) else {
            return false;
        };
        if let Some(slow_after_ms) = check.slow_after_ms {
            return ran > i128::from(slow_after_ms);
        }
        let (job, kind) = (self.job(key), self.jobs().kind(key));
        let completed = job.count(kind, TaskState::Completed);
        if completed * 4 < job.tasks_of(kind).len() * 3 {
            return false;
        }
        // Longer than 1.5 × the median, in whole numbers.
        (job.run_times(kind).twice_median()).is_some_and(|twice_median| 4 * ran > 3 * twice_median)
            && ran > i128::from(check.min_run_ms)
    }
}

fn ran_for(runs_from: Option<i64>, now: i64) -> Option<i128> {
    Some(i128::from(now) - i128::from(runs_from?))
}
