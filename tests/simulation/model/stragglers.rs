//! Attempts that take too long: `check_stragglers` (section 6).

use super::json::{Fields, list, quoted};
use super::messages::Handled;
use super::{FREE_TEXT, LastCheck, Model, Task, TaskState};

impl Model {
    /// `check_stragglers` `{now, slow_after_ms?, min_run_ms?}` → `stragglers_detected` `{tasks: [id…], timed_out?: [id…]}`
    pub(super) fn check_stragglers(&mut self, body: &Fields) -> Handled {
        let now = body.integer("now")?;
        let slow_after_ms = body.optional_duration("slow_after_ms")?;
        // "`min_run_ms` (default 100; only without `slow_after_ms`)"
        let min_run_ms = body.optional_duration("min_run_ms")?.unwrap_or(100);

        // "Old checks (those of `check_stragglers` compared with each other) set no clock."
        if self.last_check_stragglers.makes_old(now) {
            self.hit("old check of stragglers");
        } else {
            self.time_attempts(now);
        }
        self.last_check_stragglers = LastCheck::At(now);

        let timed_out = self.end_what_takes_too_long(now);
        let tasks = self.detect_stragglers(now, slow_after_ms, min_run_ms);
        let mut fields = vec![("tasks", list(tasks))];
        // "`timed_out` lists their tasks, each once, and is left out when empty."
        if !timed_out.is_empty() {
            fields.push(("timed_out", list(timed_out)));
        }
        Ok(("stragglers_detected", fields))
    }

    /// "One that was assigned but not fetched yet is timed from the first check that sees it, until it is fetched […]. If
    /// either time is later than a check's `now`, the attempt runs from that `now`." After a recovery, attempts "are timed
    /// anew, too, from the first `check_stragglers` that is not old".
    fn time_attempts(&mut self, now: i64) {
        let mut rules = vec![];
        for task in &mut self.tasks {
            for attempt in &mut task.attempts {
                if attempt.ended.is_some() {
                    continue;
                }
                match attempt.runs_from {
                    None => {
                        rules.push(if attempt.fetched {
                            "attempt timed anew after a recovery"
                        } else {
                            "attempt timed before it is fetched"
                        });
                        attempt.runs_from = Some(now);
                    }
                    Some(from) if from > now => {
                        rules.push("attempt from the future");
                        attempt.runs_from = Some(now);
                    }
                    Some(_) => {}
                }
            }
        }
        for rule in rules {
            self.hit(rule);
        }
    }

    /// For how long attempt `a` of task `t` has run at `now`. None: it is not known.
    fn ran_for(&self, t: usize, a: usize, now: i64) -> Option<i128> {
        let from = self.tasks[t].attempts[a].runs_from?;
        Some(i128::from(now) - i128::from(from))
    }

    /// "in a job with `task_timeout_ms`, every live, fetched attempt that has run for longer than that at `now` fails, in
    /// task order, as by `fail_task` with an error that says so"
    fn end_what_takes_too_long(&mut self, now: i64) -> Vec<String> {
        let mut timed_out: Vec<String> = vec![];
        for t in 0..self.tasks.len() {
            let job = self.job(&self.tasks[t].job_id);
            let Some(timeout_ms) = job.settings.task_timeout_ms else {
                continue;
            };
            for a in 0..self.tasks[t].attempts.len() {
                let attempt = &self.tasks[t].attempts[a];
                let is_too_long = self
                    .ran_for(t, a, now)
                    .is_some_and(|ms| ms > i128::from(timeout_ms));
                if attempt.ended.is_some() || !is_too_long {
                    continue;
                }
                if !attempt.fetched {
                    self.hit("no time-out: not fetched");
                    continue;
                }
                self.fail_attempt(t, a, true, FREE_TEXT.to_string());
                let id = quoted(&self.tasks[t].id);
                if timed_out.contains(&id) {
                    self.hit("both attempts time out");
                } else {
                    timed_out.push(id);
                }
            }
        }
        timed_out
    }

    /// "Then it reports, in task order, the tasks with exactly one live attempt that has been running for longer than
    /// `slow_after_ms`"
    fn detect_stragglers(
        &mut self,
        now: i64,
        slow_after_ms: Option<i64>,
        min_run_ms: i64,
    ) -> Vec<String> {
        let mut stragglers: Vec<String> = vec![];
        for t in 0..self.tasks.len() {
            let attempts = &self.tasks[t].attempts;
            let live: Vec<usize> = (0..attempts.len())
                .filter(|&a| attempts[a].ended.is_none())
                .collect();
            let [only] = live[..] else {
                if live.len() == 2 {
                    self.hit("no straggler: two attempts live");
                }
                continue;
            };
            let fetched = attempts[only].fetched;
            let Some(ran_for) = self.ran_for(t, only, now) else {
                self.hit("no straggler: not timed");
                continue;
            };
            let is_slow = match slow_after_ms {
                Some(slow_after_ms) => ran_for > i128::from(slow_after_ms),
                None => self.is_slow_for_its_kind(t, ran_for, min_run_ms),
            };
            if !is_slow {
                self.hit("no straggler: not slow");
                continue;
            }
            let id = self.tasks[t].id.clone();
            self.hit(match (slow_after_ms, fetched) {
                (_, false) => "straggler: not fetched",
                (Some(_), true) => "straggler by slow_after_ms",
                (None, true) => "straggler by the median",
            });
            if self.is_behind_the_barrier(t) {
                self.hit("straggler behind the barrier");
            }
            stragglers.push(quoted(&id));
            // "Each straggler has one backup attempt waiting from then on."
            if self.backups_waiting.contains(&id) {
                self.hit("straggler detected again");
            } else {
                self.backups_waiting.push(id);
            }
        }
        stragglers
    }

    /// "without `slow_after_ms`, for longer than 1.5 × the median run time of the completed tasks of the same kind in their
    /// job, once 75% of that kind (skipped ones counted in the whole only) are completed, and then also for longer than
    /// `min_run_ms`"
    fn is_slow_for_its_kind(&mut self, t: usize, ran_for: i128, min_run_ms: i64) -> bool {
        let task = &self.tasks[t];
        let kin: Vec<&Task> = self
            .tasks_of(&task.job_id)
            .into_iter()
            .filter(|other| other.is_map() == task.is_map())
            .collect();
        let completed: Vec<&Task> = kin
            .iter()
            .copied()
            .filter(|task| task.state() == TaskState::Completed)
            .collect();
        if completed.len() * 4 < kin.len() * 3 {
            self.hit("median: fewer than 75% completed");
            return false;
        }
        let mut run_times: Vec<i128> = completed
            .iter()
            .filter_map(|task| task.run_time())
            .collect();
        run_times.sort_unstable();
        let middle = run_times.len() / 2;
        if run_times.is_empty() {
            self.hit("median: no run time known");
            return false;
        }
        if run_times.len() < completed.len() {
            self.hit("median: some run times unknown");
        }
        // "The median of an even number is the mean of the two in the middle, exactly."
        let is_slow = if run_times.len() % 2 == 1 {
            self.hit("median of an odd number");
            2 * ran_for > 3 * run_times[middle]
        } else {
            self.hit("median of an even number");
            4 * ran_for > 3 * (run_times[middle - 1] + run_times[middle])
        };
        if is_slow && ran_for <= i128::from(min_run_ms) {
            self.hit("no straggler: min_run_ms");
            return false;
        }
        is_slow
    }
}
