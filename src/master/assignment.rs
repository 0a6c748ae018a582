//! Who gets which task: `request_task` and `reassign` (protocol, sections 5 and 6).

use super::Master;
use super::events::Event;
use super::jobs::Jobs;
use super::tasks::{End, Fetched, Kind, TaskKey, TaskState};
use super::workers::{Assignment, WorkerKey};
use crate::wire::{
    Error, ErrorCode, Input, Quoted, Reply, TOLD_AT_A_TIME, TaskReply, TaskSpec, Told,
};
use std::borrow::Cow;
use std::collections::HashSet;

impl Master {
    /// Hands a worker something to do, the first that applies: what it was assigned but does not run, the
    /// next task in the queue, a backup of a straggler.
    pub(super) fn request_task<'a>(
        &'a mut self,
        worker_id: &str,
        timestamp: i64,
        running: Vec<Cow<'a, str>>,
    ) -> Reply<'a> {
        let worker = self.workers.find_or_add(worker_id);
        self.hear(worker, timestamp);
        let runs: HashSet<TaskKey> = running.iter().filter_map(|id| self.find_task(id)).collect();
        let handed = self
            .assigned_but_not_running(worker, &runs, timestamp)
            .or_else(|| self.next_queued(worker, &runs, timestamp))
            .or_else(|| self.next_backup(worker, &runs, timestamp));
        let cancel = self.cannot_be_accepted(worker, running);
        match handed {
            Some((key, number)) => Reply::TaskAssigned {
                task: self.task_reply(key, number),
                cancel,
            },
            None => Reply::NoTask {
                done: self.submitted && self.jobs.counts().running == 0,
                cancel,
            },
        }
    }

    /// A reassigned task, or one whose reply was lost.
    fn assigned_but_not_running(
        &mut self,
        worker: WorkerKey,
        runs: &HashSet<TaskKey>,
        timestamp: i64,
    ) -> Option<(TaskKey, u32)> {
        let mut live = self.workers.holdings(worker)?.live.values();
        let key = *live.find(|key| !runs.contains(key) && self.jobs.is_open(**key))?;
        let task = self.jobs.task_mut(key);
        let number = task.live_on(worker)?;
        let fetched = &mut task.attempts[number as usize - 1].fetched;
        if *fetched == Fetched::No {
            *fetched = Fetched::At(timestamp);
        }
        Some((key, number))
    }

    fn next_queued(
        &mut self,
        worker: WorkerKey,
        runs: &HashSet<TaskKey>,
        timestamp: i64,
    ) -> Option<(TaskKey, u32)> {
        let key = self.queue.iter().find(|key| !runs.contains(key))?;
        Some((key, self.start_attempt(key, worker, Fetched::At(timestamp))))
    }

    fn next_backup(
        &mut self,
        worker: WorkerKey,
        runs: &HashSet<TaskKey>,
        timestamp: i64,
    ) -> Option<(TaskKey, u32)> {
        let key = self
            .backups
            .iter()
            .find(|key| !runs.contains(key) && self.jobs.task(*key).live_on(worker).is_none())?;
        self.counters.speculative += 1;
        Some((key, self.start_attempt(key, worker, Fetched::At(timestamp))))
    }

    /// Those of the tasks that a worker runs, each once, for which no result of it could be accepted.
    fn cannot_be_accepted<'a>(
        &self,
        worker: WorkerKey,
        running: Vec<Cow<'a, str>>,
    ) -> Vec<Cow<'a, str>> {
        let mut checked = HashSet::new();
        let is_in_vain = |id: &str| {
            let Some(key) = self.find_task(id) else {
                return true;
            };
            let task = self.jobs.task(key);
            let was_given = task.attempts.iter().any(|attempt| attempt.worker == worker);
            !was_given
                || match (task.state, &task.result) {
                    (TaskState::Idle | TaskState::Running, _) => false,
                    (TaskState::Completed, Some(result)) => {
                        task.attempt(result.attempt).worker != worker
                    }
                    _ => true,
                }
        };
        running
            .into_iter()
            .filter(|id| checked.insert(id.clone()) && is_in_vain(id))
            .collect()
    }

    fn task_reply(&self, key: TaskKey, number: u32) -> TaskReply<'_> {
        let job = self.jobs.job(key);
        let task = self.jobs.task(key);
        let (id, job_id, attempt) = (&*task.id, &*job.id, number);
        if let Some(chunk) = &task.chunk {
            let partitions = job.reduce_tasks();
            return TaskReply::Map {
                id,
                job_id,
                kind: "map",
                attempt,
                chunk,
                partitions,
            };
        }
        let partition = key.task as usize - job.map_tasks;
        let inputs = self.inputs(key, partition);
        TaskReply::Reduce {
            id,
            job_id,
            kind: "reduce",
            attempt,
            partition,
            inputs,
        }
    }

    /// What a reduce works on: the outputs for its partition of all maps that were not skipped.
    fn inputs(&self, reduce: TaskKey, partition: usize) -> Told<'_, Input<'_>> {
        let maps = self.jobs.job(reduce).tasks_of(Kind::Map);
        Told(Box::new(move |tell| {
            let mut outputs = Vec::with_capacity(TOLD_AT_A_TIME);
            let mut inputs = Vec::with_capacity(TOLD_AT_A_TIME);
            for some in maps.chunks(TOLD_AT_A_TIME) {
                // Found first and read after that, for the reason given at `TOLD_AT_A_TIME`.
                outputs.extend(some.iter().filter_map(|map| {
                    let result = map.result.as_deref()?;
                    Some((map, result.attempt, result.partition(partition)?))
                }));
                inputs.extend(outputs.drain(..).filter_map(|(map, attempt, output)| {
                    Some(Input {
                        task_id: &map.id,
                        attempt,
                        worker_id: self.workers.id(map.attempt(attempt).worker),
                        output: serde_json::from_str(output).ok()?,
                    })
                }));
                tell(&inputs);
                inputs.clear();
            }
        }))
    }

    /// Moves tasks of a failed worker to a healthy one: those named, or all that were its own. Errors: 22.
    pub(super) fn reassign<'a>(
        &'a mut self,
        failed_id: &str,
        healthy_id: &str,
        named: Option<Vec<TaskSpec<'a>>>,
    ) -> Result<Reply<'a>, Error> {
        let refuse = |why| Err(Error::new(ErrorCode::PreconditionFailed, why));
        if failed_id == healthy_id {
            return refuse(format!(
                "worker {} cannot take over from itself",
                Quoted(failed_id)
            ));
        }
        if self
            .workers
            .find(healthy_id)
            .is_some_and(|worker| self.workers.has_failed(worker))
        {
            return refuse(format!(
                "worker {} has failed, and was not heard from since",
                Quoted(healthy_id)
            ));
        }
        let mut moved = Vec::new();
        match named {
            Some(specs) => {
                let mut seen = HashSet::new();
                for spec in &specs {
                    if seen.insert(&spec.id) {
                        let key = self
                            .find_task(&spec.id)
                            .unwrap_or_else(|| self.take_in_lost(spec, failed_id));
                        moved.extend(self.move_task(key, failed_id, healthy_id).then_some(key));
                    }
                }
            }
            None => {
                let failed = self.workers.find(failed_id);
                for Assignment { task, .. } in failed
                    .map(|failed| self.latest(failed, Jobs::is_latest))
                    .unwrap_or_default()
                {
                    moved.extend(self.move_task(task, failed_id, healthy_id).then_some(task));
                }
            }
        }
        let ids: Vec<&str> = moved.iter().map(|key| &*self.jobs.task(*key).id).collect();
        if !ids.is_empty() {
            self.events.push(|| Event::Reassigned {
                from: failed_id.into(),
                to: healthy_id.into(),
                tasks: ids.iter().copied().collect(),
            });
        }
        Ok(Reply::Reassigned {
            reassigned_tasks: ids,
        })
    }

    /// Takes in a task that only the failed worker knew. That worker's run counts as attempt 1, fetched and
    /// lost.
    fn take_in_lost(&mut self, spec: &TaskSpec<'_>, failed_id: &str) -> TaskKey {
        let key = self.take_in(spec);
        let failed = self.workers.find_or_add(failed_id);
        let number = self.start_attempt(key, failed, Fetched::Sometime);
        self.end_attempt(key, number, End::Lost);
        key
    }

    /// Moves one task, unless it is finished or someone else is at it. Returns whether the healthy worker has
    /// it now.
    fn move_task(&mut self, key: TaskKey, failed_id: &str, healthy_id: &str) -> bool {
        let failed = self.workers.find(failed_id);
        let healthy = self.workers.find(healthy_id);
        let task = self.jobs.task(key);
        let is_on_third = task.live.iter().any(|number| {
            let worker = Some(task.attempt(number).worker);
            worker != failed && worker != healthy
        });
        if !task.state.is_unfinished() || is_on_third {
            return false;
        }
        if let Some(number) = failed.and_then(|failed| task.live_on(failed)) {
            self.end_attempt(key, number, End::Lost);
        }
        if self.give_up_if_exhausted(key) {
            return false;
        }
        if self.jobs.task(key).live.is_empty() {
            let healthy = self.workers.find_or_add(healthy_id);
            if self.workers.make_known(healthy) {
                self.events.push(|| Event::WorkerJoined {
                    worker: healthy_id.into(),
                });
            }
            self.start_attempt(key, healthy, Fetched::No);
        }
        true
    }
}

impl super::tasks::TaskResult {
    /// The output for one partition, as JSON.
    pub fn partition(&self, partition: usize) -> Option<&str> {
        let &(start, end) = self.partitions.get(partition)?;
        Some(&self.output.get()[start as usize..end as usize])
    }
}
