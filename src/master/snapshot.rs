//! The master's state as data: what is not derived from the rest is written out, and the rest is made again.

use super::Master;
use super::tasks::TaskKey;
use super::workers::Assignment;
use super::{Index, Queue};

impl Master {
    /// After a recovery: the workers could not reach the master for a while, so that each one not heard from
    /// since is timed from the first check that sees it.
    pub fn recover(&mut self) {
        self.workers.stop_timing();
    }

    /// Numbers workers and jobs afresh, without those that were removed.
    pub fn forget_unused(&mut self) {
        let numbers = self.workers.forget_unused();
        self.jobs.forget_unused();
        for attempt in self
            .jobs
            .all_mut()
            .flat_map(|job| &mut job.tasks)
            .flat_map(|task| &mut task.attempts)
        {
            attempt.worker = numbers[attempt.worker as usize];
        }
        self.rebuild();
    }

    /// Makes all that is derived again: what a snapshot leaves out.
    pub fn rebuild(&mut self) {
        self.workers.rebuild();
        self.jobs.rebuild();
        self.tasks = Index::default();
        self.queue = Queue::default();
        self.backups = Queue::default();
        for (number, job) in (0..).zip(self.jobs.all()) {
            for (at, task) in (0..).zip(&job.tasks) {
                let key = TaskKey {
                    job: number,
                    task: at,
                };
                let lane = self.jobs.lane(key);
                self.tasks.insert(&task.id, key);
                if let Some(rank) = task.queued {
                    self.queue.insert(lane, rank, key);
                }
                if let Some(rank) = task.backup {
                    self.backups.insert(lane, rank, key);
                }
                for (number, attempt) in (1..).zip(&task.attempts) {
                    let holdings = self.workers.holdings_mut(attempt.worker);
                    holdings.attempts += 1;
                    let assignment = Assignment {
                        assigned: attempt.assigned,
                        task: key,
                    };
                    if task.live.iter().any(|live| live == number) {
                        holdings.live.insert(attempt.assigned, key);
                    }
                    if self.jobs.is_latest_or_output(assignment) {
                        holdings.latest.push(assignment, |_| true);
                    }
                }
            }
        }
        for job in self.jobs.numbers() {
            self.set_barrier(job);
        }
    }
}
