//! `request_task`: which task a worker gets when it asks for one (protocol, section 6, "Handing out tasks").

use super::Master;
use super::placement::Source;
use super::state::keys::{Kind, TaskKey, WorkerId};
use super::state::tasks::{Fetched, Work};
use crate::wire::{BATCH_SIZE, Batched, Error, Input, Reply, RequestTask, TaskReply};
use std::collections::HashSet;

impl Master {
    /// Hands out the first of these that exists: an attempt that the worker was assigned but does not run, the next
    /// queued task, a backup of a straggler. Errors: 22 for an incarnation smaller than one heard before.
    pub(super) fn request_task<'a>(
        &'a mut self,
        request: RequestTask<'a>,
    ) -> Result<Reply<'a>, Error> {
        let RequestTask {
            worker_id,
            timestamp,
            incarnation,
            running,
        } = request;
        self.hear_incarnation(&worker_id, timestamp, incarnation)?;
        self.note_asking(&worker_id);
        self.end_mass_exclusions(&worker_id);
        let runs: HashSet<TaskKey> = (running.iter())
            .filter_map(|id| self.jobs().find_task(id))
            .collect();
        let worker = self.workers().shared_id(&worker_id);
        let handed_out = self
            .resend(&worker, &runs, timestamp)
            .or_else(|| self.hand_out(&worker, &runs, timestamp));
        let cancel = self.to_cancel(&worker, running);
        Ok(match handed_out {
            Some((key, number)) => Reply::TaskAssigned {
                task: self.task_reply(key, number),
                cancel,
            },
            None => Reply::NoTask {
                done: self.had_job() && self.jobs().counts().running == 0,
                cancel,
            },
        })
    }

    /// Rule 1: sends the oldest live attempt that the worker was assigned but does not run. Its task was reassigned, or
    /// the reply that handed it out was lost.
    fn resend(
        &mut self,
        worker: &WorkerId,
        runs: &HashSet<TaskKey>,
        timestamp: i64,
    ) -> Option<(TaskKey, u64)> {
        let key = self.oldest_unknown_to(worker, runs)?;
        let number = self.task(key).live_on(worker)?;
        self.fetch(key, number, timestamp);
        Some((key, number))
    }

    /// The task of the oldest live attempt that is not in `runs`. Looks into each lane once, and into none behind a
    /// closed barrier.
    fn oldest_unknown_to(&self, worker: &str, runs: &HashSet<TaskKey>) -> Option<TaskKey> {
        let live = &self.workers().holdings(worker)?.live;
        let mut oldest: Option<(u64, TaskKey)> = None;
        let mut next = live.first_key_value();
        while let Some((&(lane, _), _)) = next {
            if self.jobs().get(lane.job).is_open(lane.kind) {
                let first = (live.range((lane, 0)..=(lane, u64::MAX)))
                    .find(|(_, key)| !runs.contains(key))
                    .map(|(&(_, assigned), &key)| (assigned, key));
                oldest = match (oldest, first) {
                    (Some(oldest), Some(first)) => Some(oldest.min(first)),
                    (oldest, first) => oldest.or(first),
                };
            }
            next = live
                .range((
                    std::ops::Bound::Excluded((lane, u64::MAX)),
                    std::ops::Bound::Unbounded,
                ))
                .next();
        }
        oldest.map(|(_, key)| key)
    }

    /// Rules 2 and 3: starts a new attempt of the next queued task, or else a backup of a straggler.
    fn hand_out(
        &mut self,
        worker: &WorkerId,
        runs: &HashSet<TaskKey>,
        timestamp: i64,
    ) -> Option<(TaskKey, u64)> {
        let waiting = (self.waiting_for(worker)).filter(|(key, _)| !runs.contains(key));
        let (key, source) = self.first_to_hand_out(worker, waiting)?;
        let is_backup = source == Source::Backups;
        let number = self.start_attempt(key, worker, Fetched::At(timestamp), is_backup);
        Some((key, number))
    }

    fn task_reply(&self, key: TaskKey, attempt: u64) -> TaskReply<'_> {
        let job = self.job(key);
        let (id, job_id) = (self.task_id(key), &*job.id);
        match &self.task(key).work {
            Work::Map { chunk, .. } => TaskReply::Map {
                id,
                job_id,
                kind: Kind::Map.name(),
                attempt,
                chunk,
                partitions: job.reduce_tasks(),
            },
            Work::Reduce => {
                let partition = key.task as usize - job.map_tasks;
                TaskReply::Reduce {
                    id,
                    job_id,
                    kind: Kind::Reduce.name(),
                    attempt,
                    partition,
                    inputs: self.inputs(key, partition),
                }
            }
        }
    }

    /// The inputs of a reduce: for each map that was not skipped, its output for this partition.
    fn inputs(&self, reduce: TaskKey, partition: usize) -> Batched<'_, Input<'_>> {
        let maps = self.job(reduce).tasks_of(Kind::Map);
        Batched::new(move |write| {
            let mut outputs = Vec::with_capacity(BATCH_SIZE);
            let mut inputs = Vec::with_capacity(BATCH_SIZE);
            for batch in maps.chunks(BATCH_SIZE) {
                // One loop finds the outputs and a second one reads them: see `BATCH_SIZE`.
                outputs.extend(batch.iter().filter_map(|map| {
                    let result = map.result.as_deref()?;
                    Some((map, result.attempt, result.partition(partition)))
                }));
                inputs.extend(outputs.drain(..).map(|(map, attempt, output)| {
                    let winner = map.winner().expect("a winner is never forgotten");
                    Input {
                        task_id: map.map_id(),
                        attempt,
                        worker_id: &winner.worker,
                        output: serde_json::from_str(output).expect("a part of JSON is JSON"),
                    }
                }));
                write(&inputs);
                inputs.clear();
            }
        })
    }
}
