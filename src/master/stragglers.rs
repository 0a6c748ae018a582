//! Backup tasks for stragglers (protocol, section 6; paper, §3.6).

use super::Master;
use super::tasks::{Fetched, Task, TaskKey};
use crate::wire::Reply;
use std::collections::HashMap;

impl Master {
    /// Reports the tasks whose only live attempt has been running for too long, in task order. Each has one
    /// backup waiting from now on.
    pub(super) fn check_stragglers(&mut self, now: i64, slow_after_ms: Option<i64>) -> Reply<'_> {
        let mut running: Vec<(u64, TaskKey, i128)> = Vec::new();
        for worker in self.workers.known() {
            let live = self
                .workers
                .holdings(worker)
                .map(|holdings| holdings.live.values());
            for &key in live.into_iter().flatten() {
                let task = self.jobs.task(key);
                if let Some(only) = task.live.only()
                    && let Fetched::At(fetched_at) = task.attempt(only).fetched
                {
                    running.push((task.order, key, i128::from(now) - i128::from(fetched_at)));
                }
            }
        }
        running.sort_unstable_by_key(|(order, ..)| *order);

        let mut allowed = HashMap::new();
        running.retain(|&(_, key, ran)| match slow_after_ms {
            Some(slow_after_ms) => ran > i128::from(slow_after_ms),
            None => {
                let kind = self.jobs.kind(key);
                let twice_median = allowed
                    .entry((key.job, kind))
                    .or_insert_with(|| twice_median_run_time(self.jobs.job(key).tasks_of(kind)));
                // Longer than 1.5 × the median, in whole numbers.
                twice_median.is_some_and(|twice_median| 4 * ran > 3 * twice_median)
            }
        });
        for &(_, key, _) in &running {
            if self.jobs.task(key).backup.is_none() {
                let rank = self.next_rank;
                self.next_rank += 1;
                self.jobs.task_mut(key).backup = Some(rank);
                self.backups.insert(self.jobs.lane(key), rank, key);
            }
        }
        Reply::StragglersDetected {
            tasks: running
                .iter()
                .map(|(_, key, _)| &*self.jobs.task(*key).id)
                .collect(),
        }
    }
}

/// Twice the median run time of the completed ones of these tasks, in ms (twice, because the median of an
/// even number is the mean of two). `None` before 75% of them are completed.
fn twice_median_run_time(tasks: &[Task]) -> Option<i128> {
    let completed = tasks.iter().filter(|task| task.result.is_some()).count();
    if completed * 4 < tasks.len() * 3 {
        return None;
    }
    let mut run_times: Vec<i128> = tasks.iter().filter_map(Task::run_time).collect();
    let middle = run_times.len() / 2;
    let is_even = run_times.len().is_multiple_of(2);
    let (below, upper, _) =
        (!run_times.is_empty()).then(|| run_times.select_nth_unstable(middle))?;
    let upper = *upper;
    let lower = if is_even { *below.iter().max()? } else { upper };
    Some(lower + upper)
}
