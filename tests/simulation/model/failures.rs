//! Workers that fail or leave: `check_failures` and `remove_worker` (section 5).

use super::json::{Fields, list, quoted};
use super::messages::{Handled, PRECONDITION, UNKNOWN_KEY};
use super::{End, Event, LastCheck, Model, OutputLost, Worker};

impl Model {
    /// `check_failures` `{timeout_ms, now, max_failed?, remove_after_ms?}` → `failures_detected` `{failed_workers: [id…]}`
    pub(super) fn check_failures(&mut self, body: &Fields) -> Handled {
        let timeout_ms = body.duration("timeout_ms")?;
        let now = body.integer("now")?;
        let max_failed = body.optional_duration("max_failed")?;
        let remove_after_ms = body.optional_duration("remove_after_ms")?;

        let is_old = self.last_check_failures.makes_old(now);
        // Of an untimed worker: "Until then no check reports it."
        let silence = |worker: &Worker| {
            let last = worker.last_heartbeat.filter(|_| !worker.untimed)?;
            Some(i128::from(now) - i128::from(last))
        };
        // "`check_failures` reports every known worker with `now - last_heartbeat > timeout_ms`; equal is still healthy."
        let silent: Vec<Worker> = self
            .workers
            .iter()
            .filter(|worker| silence(worker).is_some_and(|ms| ms > i128::from(timeout_ms)))
            .cloned()
            .collect();
        // "a check that would fail more than so many workers that are healthy now is refused with 22, […] and changes
        // nothing"
        let failing: Vec<&Worker> = silent.iter().filter(|worker| !worker.failed).collect();
        if max_failed.is_some_and(|max| i128::from(max) < failing.len() as i128) {
            self.hit("check refused: too many would fail");
            return Err(PRECONDITION);
        }
        // "it reports whom it must, but it times nobody, and makes nobody untimed"
        if is_old {
            self.hit("old check of failures");
        } else {
            self.time_workers(now, timeout_ms);
        }
        self.last_check_failures = LastCheck::At(now);
        // "A worker that was healthy until then fails"
        for worker in failing {
            let failed = self.worker_mut(&worker.id).expect("it is known");
            failed.failed = true;
            failed.has_asked = false;
            // "When a worker fails by a check or is removed, its incarnation is forgotten"
            failed.incarnation = None;
            self.hit("worker fails by a check");
            self.lose_everything_on(&worker.id, End::Lost);
        }
        // "workers that this check reports and that have been silent for longer than this are then forgotten"
        for worker in &silent {
            if let (Some(remove_after_ms), Some(ms)) = (remove_after_ms, silence(worker))
                && ms > i128::from(remove_after_ms)
            {
                self.hit("worker forgotten by a check");
                self.forget_worker(&worker.id);
            }
        }
        let failed_workers = silent.iter().map(|worker| quoted(&worker.id)).collect();
        Ok((
            "failures_detected",
            vec![("failed_workers", list(failed_workers))],
        ))
    }

    fn time_workers(&mut self, now: i64, timeout_ms: i64) {
        for w in 0..self.workers.len() {
            let worker = &mut self.workers[w];
            let last = worker.last_heartbeat;
            if last.is_some_and(|last| i128::from(last) - i128::from(now) > i128::from(timeout_ms))
            {
                // "A last heartbeat that is later than a check's `now` by more than its `timeout_ms` cannot be true. The check
                // does not report the worker, makes it untimed (also when it is untimed already: the next check times it),
                // and forgets that heartbeat."
                worker.last_heartbeat = None;
                worker.untimed = true;
                self.hit("heartbeat from the future");
            } else if worker.untimed {
                // "is untimed: the `now` of the next check becomes its last heartbeat, unless a later one is remembered"
                worker.last_heartbeat = last.max(Some(now));
                worker.untimed = false;
                self.hit("worker timed from its first check");
            }
        }
    }

    /// "its attempts are lost, and so are its completed map outputs […] first those of its attempts, then those of its
    /// outputs, each in task order."
    /// CHOICE: one after the other, so a job that fails by one loss is spared those after it.
    pub(super) fn lose_everything_on(&mut self, worker_id: &str, how: End) {
        self.lose_attempts_of(worker_id, how);
        for t in 0..self.tasks.len() {
            let lives_there = self.tasks[t]
                .winner()
                .is_some_and(|winner| self.tasks[t].worker_of(winner.attempt) == worker_id);
            if !lives_there || !self.tasks[t].is_map() {
                continue;
            }
            // "if they live on the worker (`map_output: "worker"`) and their job still has an unfinished reduce task"
            let job_id = self.tasks[t].job_id.clone();
            let has_unfinished_reduce = self
                .tasks_of(&job_id)
                .iter()
                .any(|task| !task.is_map() && task.is_unfinished());
            if self.job(&job_id).settings.shared_map_output {
                self.hit("shared output survives its worker");
            } else if !has_unfinished_reduce {
                self.hit("output survives: no unfinished reduce");
            } else {
                self.hit("output lost with its worker");
                // "or lost its output (by anything but `remove_worker`)"
                self.lose_output(t, OutputLost::WithItsWorker, how == End::Lost);
                self.settle(t);
            }
        }
    }

    /// "The tasks are queued again unless another attempt is live or their limits are reached"
    pub(super) fn lose_attempts_of(&mut self, worker_id: &str, how: End) {
        for t in 0..self.tasks.len() {
            if self.lose_attempt(t, worker_id, how) {
                self.settle(t);
            }
        }
    }

    /// Ends the live attempt of task `t` on this worker as lost. False if there is none.
    pub(super) fn lose_attempt(&mut self, t: usize, worker_id: &str, how: End) -> bool {
        let Some(a) = self.tasks[t].live_on(worker_id) else {
            return false;
        };
        self.tasks[t].attempts[a].ended = Some(how);
        // "`lost` attempts lost (by `remove_worker`, too […])"
        self.events.push(Event::Lost);
        // "was lost there […] (by anything but `remove_worker`)"
        if how == End::Lost {
            self.mark(t, a);
        }
        self.hit(match (how, self.tasks[t].attempts[a].fetched) {
            (End::Removed, _) => "attempt removed with its worker",
            (_, true) => "fetched attempt lost",
            (_, false) => "attempt lost before it was fetched",
        });
        true
    }

    /// `remove_worker` `{worker_id}` → `worker_removed`: "It is a failure and then it is forgotten, but a planned one: what
    /// it was running is not counted as a loss of the task. 20 if unknown."
    /// CHOICE: its attempts are not forgotten: a late result is still accepted.
    pub(super) fn remove_worker(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        if self.worker(&worker_id).is_none() {
            return Err(UNKNOWN_KEY);
        }
        self.lose_everything_on(&worker_id, End::Removed);
        self.forget_worker(&worker_id);
        Ok(("worker_removed", vec![]))
    }

    /// "History goes by worker id", and stays.
    fn forget_worker(&mut self, worker_id: &str) {
        self.workers.retain(|worker| worker.id != worker_id);
        // "ends the exclusion and starts the count anew, and so do […] being forgotten"
        self.forget_failed_reports_of(worker_id);
    }
}
