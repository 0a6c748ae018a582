//! Heartbeats: a worker reports that it is alive and which incarnation it is, and learns which tasks it should stop
//! running (protocol, sections 5 and 6).

use super::Master;
use super::events::{Event, LossCause};
use super::state::tasks::TaskState;
use crate::wire::{Error, ErrorCode, Quoted, Reply};
use std::borrow::Cow;
use std::collections::HashSet;

impl Master {
    /// Answers `heartbeat`. Errors: 22 for an incarnation smaller than one heard before.
    pub(super) fn heartbeat<'a>(
        &mut self,
        worker_id: &str,
        timestamp: i64,
        incarnation: Option<i64>,
        running: Vec<Cow<'a, str>>,
    ) -> Result<Reply<'a>, Error> {
        self.hear_incarnation(worker_id, timestamp, incarnation)?;
        let cancel = self.to_cancel(worker_id, running);
        Ok(Reply::HeartbeatOk { cancel })
    }

    /// Records that a worker was heard from. If its incarnation has grown, the worker has restarted and its attempts
    /// are lost. Errors: 22 for an incarnation smaller than one heard before; then nothing changes.
    pub(super) fn hear_incarnation(
        &mut self,
        worker_id: &str,
        timestamp: i64,
        incarnation: Option<i64>,
    ) -> Result<(), Error> {
        self.check_incarnation(worker_id, incarnation)?;
        self.hear(worker_id, timestamp);
        if let Some(incarnation) = incarnation
            && self.set_incarnation(worker_id, incarnation)
        {
            self.restart_worker(worker_id);
        }
        Ok(())
    }

    /// Checks that a message is not from a process that has since been restarted. Errors: 22 for an incarnation smaller
    /// than one heard before.
    pub(super) fn check_incarnation(
        &self,
        worker_id: &str,
        incarnation: Option<i64>,
    ) -> Result<(), Error> {
        let Some(incarnation) = incarnation else {
            return Ok(());
        };
        let known = (self.workers().get(worker_id)).and_then(|worker| worker.incarnation);
        if let Some(known) = known
            && incarnation < known
        {
            let text = format!(
                "worker {} has started again since: incarnation {incarnation} is smaller than {known}",
                Quoted(worker_id)
            );
            return Err(Error::new(ErrorCode::PreconditionFailed, text));
        }
        Ok(())
    }

    fn restart_worker(&mut self, worker_id: &str) {
        let worker = self.workers().shared_id(worker_id);
        let first_event = self.events().len();
        self.forget_conduct(&worker);
        let requeued = self.lose_attempts(&worker, LossCause::Restart);
        self.log_with_requeued(first_event, &requeued, |requeued| Event::WorkerRestarted {
            worker: worker.as_ref().into(),
            requeued,
        });
    }

    /// The tasks in `running`, deduplicated, that the worker should stop: those whose result from this worker would be
    /// rejected, and those whose latest attempt on this worker has timed out (protocol, section 6, `cancel`).
    pub(super) fn to_cancel<'a>(
        &self,
        worker: &str,
        running: Vec<Cow<'a, str>>,
    ) -> Vec<Cow<'a, str>> {
        if running.is_empty() {
            return running;
        }
        let mut seen = HashSet::new();
        running
            .into_iter()
            .filter(|id| seen.insert(id.clone()) && !self.is_worth_running(id, worker))
            .collect()
    }

    fn is_worth_running(&self, id: &str, worker: &str) -> bool {
        let Some(key) = self.jobs().find_task(id) else {
            return false;
        };
        let task = self.task(key);
        let Some(last) = task.last_on(worker) else {
            return false;
        };
        match task.state {
            TaskState::Idle | TaskState::Running => !last.has_timed_out,
            TaskState::Completed => task
                .winner()
                .is_some_and(|winner| *winner.worker == *worker),
            TaskState::Skipped | TaskState::Failed | TaskState::Withdrawn => false,
        }
    }
}
