//! The master: a pure function from its state and a request to a reply.
//!
//! It reads no clock, draws no random number, does no I/O, and takes no order from a hash table: the same requests
//! give the same replies, byte for byte.
//!
//! `state` is the lower layer: the data, and every way in which it changes. The policies build on it, one per file:
//!
//! * `heartbeats`: a worker reports that it is alive, and learns what it should stop running
//! * `failures`: which workers fail or are removed, and what is lost with them
//! * `reassignment`: tasks of a failed worker go to a healthy one
//! * `submission`: jobs are submitted and removed
//! * `requests`: which task a worker gets when it asks for one
//! * `placement`: which tasks a worker does not get for now
//! * `results`: workers report that an attempt completed or failed
//! * `limits`: when a task is given up
//! * `stragglers`: time-outs and backup tasks
//! * `status`: read-only queries

mod events;
mod failures;
mod heartbeats;
mod limits;
mod placement;
mod reassignment;
mod requests;
mod results;
mod state;
mod status;
mod stragglers;
mod submission;

pub use events::{AttemptEnd, Event, Events, Keep, LossCause, Names};
pub use state::Master;
pub use state::keys::Kind;
pub use state::snapshot::{Corrupt, Loader, Record};
pub use state::tasks::TaskState;

use crate::wire::{Effect, Error, ErrorCode, Quoted, Reply, Request};
use state::keys::TaskKey;

impl Master {
    /// Executes a request and returns its reply. A request that gets an error has no effect (protocol, section 3).
    ///
    /// `init` and `snapshot` also concern the node's address, so [`Service`](crate::service::Service) answers them.
    pub fn handle<'a>(&'a mut self, request: Request<'a>) -> Result<Reply<'a>, Error> {
        self.begin_request(request.time());
        if request.changes_something() {
            self.note_effect(Effect::Changed);
        }
        match request {
            Request::Init { .. } | Request::Snapshot => Ok(Reply::InitOk {}),
            Request::Heartbeat {
                worker_id,
                timestamp,
                incarnation,
                running,
            } => self.heartbeat(&worker_id, timestamp, incarnation, running),
            Request::CheckFailures(check) => self.check_failures(&check),
            Request::Reassign {
                failed_worker,
                healthy_worker,
                tasks,
            } => self.reassign(&failed_worker, &healthy_worker, tasks),
            Request::RemoveWorker { worker_id } => self.remove_worker(&worker_id),
            Request::ListWorkers => Ok(self.list_workers()),
            Request::SubmitJob(job) => self.submit_job(job),
            Request::RequestTask(request) => self.request_task(request),
            Request::CompleteTask(result) => self.complete_task(result),
            Request::FailTask(failure) => self.fail_task(failure),
            Request::CheckStragglers(check) => Ok(self.check_stragglers(&check)),
            Request::JobStatus { job_id } => self.job_status(&job_id),
            Request::TaskStatus { task_id } => self.task_status(&task_id),
            Request::Status => Ok(self.status()),
            Request::ListJobs => Ok(self.list_jobs()),
            Request::RemoveJob { job_id } => self.remove_job(job_id),
        }
    }

    /// Checks a request that a worker sends, without executing it. Errors: those that [`handle`](Self::handle) would
    /// return.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Error> {
        match request {
            Request::Heartbeat {
                worker_id,
                incarnation,
                ..
            } => self.check_incarnation(worker_id, *incarnation),
            Request::RequestTask(request) => {
                self.check_incarnation(&request.worker_id, request.incarnation)
            }
            Request::CompleteTask(result) => self.find_reported(&result.report).map(drop),
            Request::FailTask(failure) => self.find_failed(failure).map(drop),
            _ => Ok(()),
        }
    }

    /// Clears the events of the previous request. For a message that never reaches [`handle`](Self::handle).
    pub fn clear_events(&mut self) {
        self.begin_request(None);
    }

    /// Records an event for the log.
    fn log(&mut self, event: impl FnOnce() -> Event) {
        self.events_mut().push(event);
    }

    /// Records a detail, which only the timeline shows.
    fn detail(&mut self, event: impl FnOnce() -> Event) {
        self.events_mut().detail(event);
    }

    /// Records an event ahead of the events that it caused, which begin at index `first_event`. `event` gets the names
    /// of the requeued tasks.
    fn log_with_requeued(
        &mut self,
        first_event: usize,
        tasks: &[TaskKey],
        event: impl FnOnce(Names) -> Event,
    ) {
        let names = self
            .events()
            .names(tasks.iter().map(|key| self.task_id(*key)));
        self.events_mut().insert(first_event, || event(names));
    }
}

fn unknown_task(id: &str) -> Error {
    let text = format!("no task {}", Quoted(id));
    Error::new(ErrorCode::KeyDoesNotExist, text)
}

fn unknown_job(id: &str) -> Error {
    let text = format!("no job {}", Quoted(id));
    Error::new(ErrorCode::KeyDoesNotExist, text)
}
