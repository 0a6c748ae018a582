//! Jobs are submitted and removed: `submit_job` and `remove_job` (protocol, section 6).

use super::Master;
use super::events::Event;
use super::state::jobs::{Job, TAKEN_IN, reduce_id};
use super::state::tasks::Work;
use crate::wire::{Error, ErrorCode, NewJob, Quoted, Reply};
use std::borrow::Cow;
use std::collections::HashSet;

impl Master {
    /// Adds a job and its tasks. The same request again changes nothing and gets the same reply. Errors: 21 if the job
    /// exists with different parameters, or if the id of one of its tasks is taken.
    pub(super) fn submit_job<'a>(&mut self, new: NewJob<'a>) -> Result<Reply<'a>, Error> {
        let exists = |text| Err(Error::new(ErrorCode::KeyAlreadyExists, text));
        if new.job_id == TAKEN_IN {
            return exists("job \"\" is reserved for the tasks taken in by reassign".into());
        }
        let (map_tasks, reduce_tasks) = (new.tasks.len(), new.reduce_tasks as usize);
        if let Some(key) = self.jobs().find(&new.job_id) {
            if !is_as_submitted(self.jobs().get(key), &new) {
                return exists(format!(
                    "job {} already exists with different parameters",
                    Quoted(&new.job_id)
                ));
            }
        } else {
            if let Some(id) = self.find_taken_id(&new) {
                return exists(format!("task {} already exists", Quoted(&id)));
            }
            let maps = (new.tasks.into_iter())
                .map(|task| (task.id.as_ref().into(), task.chunk.into_owned()));
            let job = self.add_job(&new.job_id, new.options);
            self.detail(|| Event::JobSubmitted {
                job: new.job_id.as_ref().into(),
                map_tasks,
                reduce_tasks,
            });
            self.add_tasks(job, maps, new.reduce_tasks);
        }
        Ok(Reply::JobSubmitted {
            job_id: new.job_id,
            map_tasks,
            reduce_tasks,
        })
    }

    /// The first task id of a new job that is already taken, or that the job uses twice.
    fn find_taken_id<'n>(&self, new: &'n NewJob<'_>) -> Option<Cow<'n, str>> {
        let own_reduces = format!("{}-reduce-", new.job_id);
        let is_own_reduce = |id: &str| {
            let partition = id
                .strip_prefix(&own_reduces)
                .and_then(|rest| rest.parse().ok());
            partition.is_some_and(|partition: u32| {
                partition < new.reduce_tasks && *id == reduce_id(&new.job_id, partition as usize)
            })
        };
        let mut ids = HashSet::with_capacity(new.tasks.len());
        for task in &new.tasks {
            let id = &*task.id;
            if self.jobs().find_task(id).is_some() || is_own_reduce(id) || !ids.insert(id) {
                return Some(id.into());
            }
        }
        // Two jobs never have the same reduce ids, but an existing map may have the id of a new reduce.
        if !self.jobs().has_maps() {
            return None;
        }
        (0..new.reduce_tasks as usize)
            .map(|partition| reduce_id(&new.job_id, partition))
            .find(|id| self.jobs().find_map(id).is_some())
            .map(Cow::Owned)
    }

    /// Forgets a job, its tasks and their outputs. Errors: 20 for an unknown job.
    pub(super) fn remove_job<'a>(&mut self, id: Cow<'a, str>) -> Result<Reply<'a>, Error> {
        let job = self
            .jobs()
            .find(&id)
            .ok_or_else(|| super::unknown_job(&id))?;
        self.forget_job(job);
        self.detail(|| Event::JobRemoved {
            job: id.as_ref().into(),
        });
        Ok(Reply::JobRemoved { job_id: id })
    }
}

/// Whether a job was submitted with the same parameters as `new`.
fn is_as_submitted(job: &Job, new: &NewJob<'_>) -> bool {
    job.options == new.options
        && job.reduce_tasks() == new.reduce_tasks as usize
        && job.map_tasks == new.tasks.len()
        && (job.tasks.iter().zip(&new.tasks)).all(|(task, new)| {
            matches!(&task.work, Work::Map { id, chunk } if **id == *new.id && chunk.get() == new.chunk.get())
        })
}
