//! The master: a pure function from its state and a request to a reply.
//!
//! It reads no clock, draws no random number, does no I/O, and takes no order from a hash table: the same
//! requests give the same replies, byte for byte.

mod assignment;
mod events;
mod failures;
mod ids;
mod index;
mod jobs;
mod queue;
mod results;
mod snapshot;
mod stragglers;
mod submission;
mod tasks;
mod workers;

pub use events::{Event, Events, Names};

use crate::wire::{
    AttemptCounts, Error, ErrorCode, JobCounts, Quoted, Reply, Request, Status, TaskStatus, Winner,
    WorkerCounts,
};
use index::Index;
use jobs::Jobs;
use queue::Queue;
use results::Reported;
use serde::{Deserialize, Serialize};
use tasks::TaskKey;
use workers::{Heard, WorkerKey, Workers};

/// The state of a cluster: its workers with their last heartbeats and what they hold, the jobs with their tasks
/// and attempts, and who waits for what.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Master {
    workers: Workers,
    jobs: Jobs,
    #[serde(skip)]
    tasks: Index<TaskKey>,
    /// Tasks without a live attempt.
    #[serde(skip)]
    queue: Queue,
    /// Stragglers whose backup waits for a worker.
    #[serde(skip)]
    backups: Queue,
    /// The next place in task order.
    next_order: u64,
    /// The next place in the order of assignments.
    next_assigned: u64,
    /// The next place behind all that wait, in either queue.
    next_rank: u64,
    counters: AttemptCounts,
    duplicates_dropped: u64,
    /// Whether a job was ever submitted or taken in.
    submitted: bool,
    #[serde(skip)]
    events: Events,
}

impl Master {
    /// Does what a request asks. An error has changed nothing.
    ///
    /// `init` concerns the node's address, and is answered by [`Service`](crate::service::Service).
    pub fn handle<'a>(&'a mut self, request: Request<'a>) -> Result<Reply<'a>, Error> {
        match request {
            Request::Init { .. } => Ok(Reply::InitOk {}),
            Request::Heartbeat {
                worker_id,
                timestamp,
            } => {
                let worker = self.workers.find_or_add(&worker_id);
                self.hear(worker, timestamp);
                Ok(Reply::HeartbeatOk {})
            }
            Request::CheckFailures { timeout_ms, now } => Ok(self.check_failures(timeout_ms, now)),
            Request::Reassign {
                failed_worker,
                healthy_worker,
                tasks,
            } => self.reassign(&failed_worker, &healthy_worker, tasks),
            Request::RemoveWorker { worker_id } => self.remove_worker(&worker_id),
            Request::SubmitJob(job) => self.submit_job(job),
            Request::RequestTask {
                worker_id,
                timestamp,
                running,
            } => Ok(self.request_task(&worker_id, timestamp, running)),
            Request::CompleteTask {
                worker_id,
                task_id,
                attempt,
                timestamp,
                output,
            } => self.complete_task(
                &Reported {
                    worker_id,
                    task_id,
                    attempt,
                    timestamp,
                },
                output,
            ),
            Request::FailTask {
                worker_id,
                task_id,
                attempt,
                timestamp,
                error,
                lost_inputs,
            } => self.fail_task(
                &Reported {
                    worker_id,
                    task_id,
                    attempt,
                    timestamp,
                },
                &error,
                &lost_inputs,
            ),
            Request::CheckStragglers { now, slow_after_ms } => {
                Ok(self.check_stragglers(now, slow_after_ms))
            }
            Request::JobStatus { job_id } => self.job_status(&job_id),
            Request::TaskStatus { task_id } => self.task_status(&task_id),
            Request::Status => Ok(self.status()),
            Request::RemoveJob { job_id } => self.remove_job(job_id),
        }
    }

    /// Forgets what happened before.
    pub fn clear_events(&mut self) {
        self.events.clear();
    }

    /// What happened since [`clear_events`](Self::clear_events).
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// How much there is, for people.
    pub fn summary(&self) -> String {
        let (healthy, failed) = self.workers.counts();
        let JobCounts {
            running,
            completed,
            failed: failed_jobs,
        } = self.jobs.counts();
        format!(
            "workers: {}, jobs: {}",
            healthy + failed,
            running + completed + failed_jobs
        )
    }

    /// Hears from a worker: whatever it says, it is there.
    fn hear(&mut self, worker: WorkerKey, timestamp: i64) {
        let heard = self.workers.hear(worker, timestamp);
        let id = || self.workers.id(worker).into();
        match heard {
            Heard::Known => {}
            Heard::Joined => self.events.push(|| Event::WorkerJoined { worker: id() }),
            Heard::Back => self.events.push(|| Event::WorkerBack { worker: id() }),
        }
    }

    fn find_task(&self, id: &str) -> Option<TaskKey> {
        self.tasks.find(id, |key| &self.jobs.task(key).id)
    }

    fn task_status(&self, id: &str) -> Result<Reply<'_>, Error> {
        let key = self.find_task(id).ok_or_else(|| unknown_task(id))?;
        let task = self.jobs.task(key);
        let worker_of = |number| self.workers.id(task.attempt(number).worker);
        let result = task.result.as_deref();
        Ok(Reply::TaskStatusOk(TaskStatus {
            task_id: &task.id,
            job_id: &self.jobs.job(key).id,
            state: task.state.name(),
            attempts: task.attempts.len(),
            failures: task.failures,
            losses: task.losses,
            workers: task.live.iter().map(worker_of).collect(),
            winner: result.map(|result| Winner {
                worker_id: worker_of(result.attempt),
                attempt: result.attempt,
            }),
            output: task.output(),
        }))
    }

    fn status(&self) -> Reply<'_> {
        let (healthy, failed) = self.workers.counts();
        Reply::StatusOk(Status {
            workers: WorkerCounts { healthy, failed },
            jobs: self.jobs.counts(),
            attempts: self.counters,
            duplicates_dropped: self.duplicates_dropped,
        })
    }
}

fn unknown_task(id: &str) -> Error {
    Error::new(
        ErrorCode::KeyDoesNotExist,
        format!("no task {}", Quoted(id)),
    )
}
