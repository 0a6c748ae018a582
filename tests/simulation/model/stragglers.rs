//! Stragglers and their backups: `check_stragglers` (section 6).

use super::json::{Fields, list, quoted};
use super::messages::{Handled, MALFORMED};
use super::{Model, Task, TaskState};

impl Model {
    /// `check_stragglers` `{now, slow_after_ms?}` → `stragglers_detected` `{tasks: [id…]}`
    pub(super) fn check_stragglers(&mut self, body: &Fields) -> Handled {
        let now = body.integer("now")?;
        let slow_after_ms = body.optional_integer("slow_after_ms")?;
        // "Durations […] are not negative (12)."
        if slow_after_ms.is_some_and(|slow_after_ms| slow_after_ms < 0) {
            return Err(MALFORMED);
        }
        // "reports, in task order, the tasks with exactly one live attempt, fetched, that have been running for more than
        // `slow_after_ms` (`now` − the `timestamp` of the request that first fetched it)"
        let mut stragglers: Vec<String> = vec![];
        for t in 0..self.tasks.len() {
            let live = self.tasks[t].live();
            let [only] = live[..] else {
                if live.len() == 2 {
                    self.hit("no straggler: two attempts live");
                }
                continue;
            };
            let Some(fetched_at) = only.fetched_at else {
                self.hit("no straggler: not fetched");
                continue;
            };
            let running_for = i128::from(now) - i128::from(fetched_at);
            let is_slow = match slow_after_ms {
                Some(slow_after_ms) => running_for > i128::from(slow_after_ms),
                None => self.is_slow_for_its_kind(t, running_for),
            };
            if is_slow {
                let id = self.tasks[t].id.clone();
                self.hit(if slow_after_ms.is_some() {
                    "straggler by slow_after_ms"
                } else {
                    "straggler by the median"
                });
                if self.is_behind_the_barrier(t) {
                    self.hit("straggler behind the barrier");
                }
                stragglers.push(quoted(&id));
                // "Each straggler has one backup attempt waiting from then on"
                if self.backups_waiting.contains(&id) {
                    self.hit("straggler detected again");
                } else {
                    self.backups_waiting.push(id);
                }
            } else {
                self.hit("no straggler: not slow");
            }
        }
        Ok(("stragglers_detected", vec![("tasks", list(stragglers))]))
    }

    /// "for more than 1.5 × the median run time of the completed tasks of the same kind in their job, once 75% of that
    /// kind (skipped ones counted in the whole only) are completed"
    pub(super) fn is_slow_for_its_kind(&mut self, t: usize, running_for: i128) -> bool {
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
        // "the median of an even number is the mean of the two in the middle, exactly"
        if run_times.len() % 2 == 1 {
            self.hit("median of an odd number");
            2 * running_for > 3 * run_times[middle]
        } else {
            self.hit("median of an even number");
            4 * running_for > 3 * (run_times[middle - 1] + run_times[middle])
        }
    }
}
