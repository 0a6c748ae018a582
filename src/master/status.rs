//! Read-only queries: the status of workers, jobs and tasks (protocol, sections 5 and 6; paper, §4.8).

use super::Master;
use super::state::jobs::{Job, JobState};
use super::state::keys::Kind;
use super::state::tasks::{Task, TaskState};
use crate::wire::{
    Error, JobStatus, JobSummary, Reply, RunningAttempt, Status, TaskStatus, Winner, WorkerCounts,
    WorkerSummary,
};

impl Master {
    /// The numbers of workers and jobs, for people.
    pub fn summary(&self) -> String {
        let (healthy, failed) = self.workers().counts();
        let jobs = self.jobs().counts();
        format!(
            "workers: {}, jobs: {}",
            healthy + failed,
            jobs.running + jobs.completed + jobs.failed
        )
    }

    /// Whether a task is a map or a reduce, which no reply says; `None` for an unknown task.
    pub fn kind_of_task(&self, id: &str) -> Option<Kind> {
        let key = self.jobs().find_task(id)?;
        Some(self.jobs().kind(key))
    }

    pub(super) fn status(&self) -> Reply<'_> {
        let (healthy, failed) = self.workers().counts();
        Reply::StatusOk(Status {
            workers: WorkerCounts { healthy, failed },
            jobs: self.jobs().counts(),
            attempts: self.attempt_counts(),
            duplicates_dropped: self.duplicates_dropped(),
        })
    }

    pub(super) fn list_workers(&self) -> Reply<'_> {
        let workers = (self.workers().in_order().into_iter())
            .map(|(id, worker)| {
                let live = self.workers().holdings(id).map(|holdings| &holdings.live);
                let live = live.into_iter().flat_map(|live| live.values().copied());
                WorkerSummary {
                    worker_id: id,
                    state: if worker.has_failed {
                        "failed"
                    } else {
                        "healthy"
                    },
                    last_heartbeat: worker.last_heartbeat,
                    running: (self.in_task_order(live).into_iter())
                        .filter_map(|key| {
                            Some(RunningAttempt {
                                task_id: self.task_id(key),
                                attempt: self.task(key).live_on(id)?,
                            })
                        })
                        .collect(),
                }
            })
            .collect();
        Reply::WorkerList { workers }
    }

    pub(super) fn list_jobs(&self) -> Reply<'_> {
        let jobs = (self.jobs().in_order().into_iter())
            .map(|(_, job)| JobSummary {
                job_id: &job.id,
                state: job.state.name(),
                map: job.task_counts(Kind::Map),
                reduce: job.task_counts(Kind::Reduce),
            })
            .collect();
        Reply::JobList { jobs }
    }

    /// Answers `job_status`. Errors: 20 for an unknown job.
    pub(super) fn job_status(&self, id: &str) -> Result<Reply<'_>, Error> {
        let key = self.jobs().find(id).ok_or_else(|| super::unknown_job(id))?;
        let job = self.jobs().get(key);
        let (failed_task, error) = match &job.state {
            JobState::Failed { task, error } => (Some(job.task_id(task.task)), Some(&**error)),
            JobState::Running | JobState::Completed => (None, None),
        };
        Ok(Reply::JobStatusOk(JobStatus {
            job_id: &job.id,
            state: job.state.name(),
            map: job.task_counts(Kind::Map),
            reduce: job.task_counts(Kind::Reduce),
            skipped: skipped(job),
            failed_task,
            error,
            counters: (job.counters.iter())
                .map(|(name, (sum, _))| (&**name, *sum))
                .collect(),
            outputs: matches!(job.state, JobState::Completed).then(|| {
                job.tasks_of(job.last_kind())
                    .iter()
                    .map(Task::output)
                    .collect()
            }),
        }))
    }

    /// Answers `task_status`. Errors: 20 for an unknown task.
    pub(super) fn task_status(&self, id: &str) -> Result<Reply<'_>, Error> {
        let key = self
            .jobs()
            .find_task(id)
            .ok_or_else(|| super::unknown_task(id))?;
        let task = self.task(key);
        Ok(Reply::TaskStatusOk(TaskStatus {
            task_id: self.task_id(key),
            job_id: &self.job(key).id,
            state: task.state.name(),
            attempts: task.last_number() - task.numbers_above,
            failures: task.failures(),
            losses: task.losses(),
            workers: task
                .live_attempts()
                .map(|attempt| &*attempt.worker)
                .collect(),
            winner: task.winner().map(|winner| Winner {
                worker_id: &winner.worker,
                attempt: winner.number,
            }),
            output: task.output(),
        }))
    }
}

/// The skipped tasks of a job, in task order.
fn skipped(job: &Job) -> Vec<std::borrow::Cow<'_, str>> {
    (0..)
        .zip(&job.tasks)
        .filter(|(_, task)| task.state == TaskState::Skipped)
        .map(|(place, _)| job.task_id(place))
        .collect()
}
