//! Jobs come and go: `submit_job`, tasks taken in by `reassign`, `remove_job` (protocol, sections 5 and 6).

use super::Master;
use super::jobs::{Job, JobState, lane_of, unknown_job};
use super::tasks::{Kind, Task, TaskKey};
use crate::wire::{Error, ErrorCode, Limits, MapOutput, NewJob, Quoted, Reply, TaskSpec};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;

/// The id of the job that holds the tasks taken in by `reassign`.
const TAKEN_IN: &str = "";

/// Ranks from here on are those of tasks never handed out, in task order; those below, of tasks queued
/// again, first come first out.
const NEVER_HANDED_OUT: u64 = 1 << 63;

impl Master {
    pub(super) fn submit_job<'a>(&mut self, new: NewJob<'a>) -> Result<Reply<'a>, Error> {
        let exists = |what| Err(Error::new(ErrorCode::KeyAlreadyExists, what));
        if new.job_id == TAKEN_IN {
            return exists("job \"\" is the one of the tasks taken in by reassign".into());
        }
        if let Some(number) = self.jobs.find(&new.job_id) {
            if !self.jobs.at(number).is_as_submitted(&new) {
                return exists(format!(
                    "job {} exists, and is another one",
                    Quoted(&new.job_id)
                ));
            }
            let (map_tasks, reduce_tasks) = (new.tasks.len(), new.reduce_tasks as usize);
            return Ok(Reply::JobSubmitted {
                job_id: new.job_id,
                map_tasks,
                reduce_tasks,
            });
        }
        let reduce_ids: Vec<Box<str>> = (0..new.reduce_tasks)
            .map(|number| format!("{}-reduce-{number}", new.job_id).into())
            .collect();
        let mut ids = HashSet::with_capacity(new.tasks.len());
        for id in new
            .tasks
            .iter()
            .map(|task| &*task.id)
            .chain(reduce_ids.iter().map(|id| &**id))
        {
            if self.find_task(id).is_some() || !ids.insert(id) {
                return exists(format!("task {} exists", Quoted(id)));
            }
        }
        drop(ids);

        self.submitted = true;
        let number = self
            .jobs
            .add(Job::new(&new.job_id, new.map_output, new.limits));
        let count = new.tasks.len() + reduce_ids.len();
        self.jobs.reserve_tasks(number, count);
        self.tasks.reserve(count);
        let reply = Reply::JobSubmitted {
            job_id: new.job_id,
            map_tasks: new.tasks.len(),
            reduce_tasks: reduce_ids.len(),
        };
        for TaskSpec { id, chunk } in new.tasks {
            self.add_task(number, Kind::Map, &id, Some(chunk.into_owned()));
        }
        for id in reduce_ids {
            self.add_task(number, Kind::Reduce, &id, None);
        }
        self.set_barrier(number);
        self.complete_job_if_done(number);
        Ok(reply)
    }

    /// Takes in a task that was never submitted, as one that has not been handed out yet.
    pub(super) fn take_in(&mut self, spec: &TaskSpec<'_>) -> TaskKey {
        self.submitted = true;
        let number = self.jobs.find(TAKEN_IN).unwrap_or_else(|| {
            let limits = Limits {
                max_skipped: u64::MAX,
                ..Limits::DEFAULT
            };
            self.jobs.add(Job::new(TAKEN_IN, MapOutput::Worker, limits))
        });
        self.jobs.set_job_state(number, JobState::Running);
        self.add_task(
            number,
            Kind::Map,
            &spec.id,
            Some(spec.chunk.clone().into_owned()),
        )
    }

    fn add_task(
        &mut self,
        job: u32,
        kind: Kind,
        id: &str,
        chunk: Option<Box<RawValue>>,
    ) -> TaskKey {
        let order = self.next_order;
        self.next_order += 1;
        let key = self.jobs.add_task(job, kind, Task::new(id, chunk, order));
        self.tasks.insert(id, key);
        self.enter_queue(key, NEVER_HANDED_OUT | order);
        key
    }

    pub(super) fn remove_job<'a>(&mut self, id: Cow<'a, str>) -> Result<Reply<'a>, Error> {
        let number = self.jobs.find(&id).ok_or_else(|| unknown_job(&id))?;
        for kind in [Kind::Map, Kind::Reduce] {
            self.queue.clear(lane_of(number, kind));
            self.backups.clear(lane_of(number, kind));
        }
        for task in &self.jobs.at(number).tasks {
            self.tasks.remove(&task.id, |key| &self.jobs.task(key).id);
        }
        for task in self.jobs.remove(number).tasks {
            for attempt in &task.attempts {
                self.workers
                    .holdings_mut(attempt.worker)
                    .live
                    .remove(&attempt.assigned);
                self.workers.forget_attempt(attempt.worker);
            }
        }
        Ok(Reply::JobRemoved { job_id: id })
    }
}
