//! `reassign`: tasks of a failed worker go to a healthy one (protocol, section 5).

use super::Master;
use super::events::{Event, LossCause};
use super::state::keys::TaskKey;
use super::state::tasks::Fetched;
use super::state::transitions::End;
use crate::wire::{Error, ErrorCode, Quoted, Reply, TaskSpec};
use std::collections::HashSet;

impl Master {
    /// Moves tasks from the failed worker to the healthy one: those in `tasks`, or without `tasks` all unfinished ones
    /// that the failed worker had last. Lists the tasks that the healthy worker now has to run. Errors: 22 if the two
    /// workers are the same, or if the healthy one has failed.
    pub(super) fn reassign<'a>(
        &'a mut self,
        failed_id: &str,
        healthy_id: &str,
        tasks: Option<Vec<TaskSpec<'a>>>,
    ) -> Result<Reply<'a>, Error> {
        let refuse = |text| Err(Error::new(ErrorCode::PreconditionFailed, text));
        if failed_id == healthy_id {
            return refuse(format!(
                "failed_worker and healthy_worker are the same: {}",
                Quoted(failed_id)
            ));
        }
        if self
            .workers()
            .get(healthy_id)
            .is_some_and(|worker| worker.has_failed)
        {
            return refuse(format!(
                "worker {} has failed and was not heard from since",
                Quoted(healthy_id)
            ));
        }
        let first_event = self.events().len();
        let mut moved = Vec::new();
        match tasks {
            Some(tasks) => {
                let mut seen = HashSet::new();
                for task in &tasks {
                    if seen.insert(&task.id) {
                        let key = (self.jobs().find_task(&task.id))
                            .unwrap_or_else(|| self.take_in_lost(task, failed_id));
                        moved.extend(self.move_task(key, failed_id, healthy_id).then_some(key));
                    }
                }
            }
            None => {
                for key in self.last_tasks_of(failed_id) {
                    moved.extend(self.move_task(key, failed_id, healthy_id).then_some(key));
                }
            }
        }
        // A later task of this request may have failed the job, which withdraws the tasks that were moved earlier.
        moved.retain(|key| self.task(*key).live_on(healthy_id).is_some());
        if !moved.is_empty() {
            self.log_with_requeued(first_event, &moved, |tasks| Event::Reassigned {
                from: failed_id.into(),
                to: healthy_id.into(),
                tasks,
            });
        }
        Ok(Reply::Reassigned {
            reassigned_tasks: moved.iter().map(|key| self.task_id(*key)).collect(),
        })
    }

    /// The unfinished tasks whose most recent attempt is or was on that worker, in task order.
    fn last_tasks_of(&self, worker: &str) -> Vec<TaskKey> {
        let Some(holdings) = self.workers().holdings(worker) else {
            return Vec::new();
        };
        let live = (holdings.live.values().copied()).filter(|key| {
            let last = self.task(*key).attempts.last();
            last.is_some_and(|last| *last.worker == *worker)
        });
        self.in_task_order(live.chain(holdings.ended_here.iter().copied()))
    }

    /// Adds a task that the master does not know. The failed worker's run counts as its first attempt, which was
    /// fetched and lost.
    fn take_in_lost(&mut self, task: &TaskSpec<'_>, failed_id: &str) -> TaskKey {
        let key = self.take_in(task.id.as_ref().into(), task.chunk.clone().into_owned());
        let failed = self.workers().shared_id(failed_id);
        let number = self.start_attempt(key, &failed, Fetched::Unknown, false);
        self.end_attempt(key, number, End::Lost(LossCause::Reassignment));
        key
    }

    /// Moves one task, unless it is finished or a third worker runs it. Losing the failed worker's attempt may make the
    /// master give up the task. Returns whether the healthy worker has the task now.
    fn move_task(&mut self, key: TaskKey, failed_id: &str, healthy_id: &str) -> bool {
        let task = self.task(key);
        let is_elsewhere = (task.live_attempts())
            .any(|attempt| *attempt.worker != *failed_id && *attempt.worker != *healthy_id);
        if !task.state.is_unfinished() || is_elsewhere {
            return false;
        }
        if let Some(number) = task.live_on(failed_id) {
            self.end_attempt(key, number, End::Lost(LossCause::Reassignment));
        }
        if self.give_up_if_exhausted(key) {
            return false;
        }
        if self.task(key).live.is_empty() {
            self.add_if_unknown(healthy_id);
            let healthy = self.workers().shared_id(healthy_id);
            self.start_attempt(key, &healthy, Fetched::No, false);
        }
        true
    }
}
