//! Workers report on their attempts: `complete_task` and `fail_task` (protocol, section 6, "Reports").

use super::Master;
use super::events::LossCause;
use super::state::keys::{Kind, TaskKey};
use super::state::tasks::TaskResult;
use super::state::transitions::End;
use crate::wire::{
    CompleteTask, Error, ErrorCode, FailTask, LostInput, Quoted, Reply, Report, json_string,
    split_array,
};
use serde_json::value::RawValue;

/// How many of the worker's live attempts are searched for a reported task before it is looked up by id. A worker
/// mostly reports on what it runs, so this saves 31% of the time of a report when there are 1,000,000 tasks.
const LOOK_AT_FIRST: usize = 4;

/// Maps whose outputs a reduce could not fetch, each with the attempt that produced the output.
type LostMaps = Vec<(TaskKey, i64)>;

impl Master {
    /// Accepts the first result of a task and drops any other. A map output that is not an array with one element per
    /// partition fails the attempt. Errors: 20 for an unknown task, 22 for an attempt that the worker never had.
    pub(super) fn complete_task(&mut self, result: CompleteTask<'_>) -> Result<Reply<'_>, Error> {
        let CompleteTask {
            report,
            output,
            counters,
        } = result;
        let (key, number) = self.find_reported(&report)?;
        let job = self.job(key);
        let partitions = match self.jobs().kind(key) {
            Kind::Map if job.reduce_tasks() > 0 => split_array(&output, job.reduce_tasks()),
            _ => Some(Box::default()),
        };
        let Some(partitions) = partitions else {
            let error = format!(
                "the output is not an array of {} elements, one for each partition",
                job.reduce_tasks()
            );
            return Ok(self.fail(key, number, &report, json_string(&error), &[]));
        };
        self.hear(&report.worker_id, report.timestamp);
        self.note_report(key, number);
        self.note_completed_attempt(key.job, &report.worker_id);
        let task = self.task(key);
        let is_first = task.result.is_none() && task.state.is_unfinished();
        let accepted =
            is_first || (task.result.as_ref()).is_some_and(|winner| winner.attempt == number);
        if is_first {
            let result = TaskResult {
                attempt: number,
                completed_at: report.timestamp,
                output: output.into_owned(),
                partitions,
                counters,
            };
            self.accept(key, result);
        } else if !accepted {
            self.drop_result(key, number, &report.worker_id);
        }
        Ok(Reply::TaskCompleted {
            task_id: report.task_id.into_owned().into(),
            accepted,
        })
    }

    /// Fails an attempt. The map outputs that it could not fetch are lost. Errors: 20 for an unknown task, 12 for inputs
    /// that are not maps of the reduce's job, 22 for an attempt that the worker never had.
    pub(super) fn fail_task(&mut self, failure: FailTask<'_>) -> Result<Reply<'_>, Error> {
        let (key, number, lost_maps) = self.find_failed(&failure)?;
        let FailTask { report, error, .. } = failure;
        Ok(self.fail(key, number, &report, error, &lost_maps))
    }

    /// The attempt that a worker reports as failed, and the inputs that it could not fetch. Errors: as for
    /// [`fail_task`](Self::fail_task).
    pub(super) fn find_failed(
        &self,
        failure: &FailTask<'_>,
    ) -> Result<(TaskKey, u64, LostMaps), Error> {
        let key = self.find_task_of(&failure.report)?;
        let lost_maps = self.find_lost_maps(key, &failure.lost_inputs)?;
        let number = self.check_assigned(key, &failure.report)?;
        Ok((key, number, lost_maps))
    }

    /// Processes a report of a failure. If the attempt is no longer live, the report is only a heartbeat.
    fn fail<'a>(
        &mut self,
        key: TaskKey,
        number: u64,
        report: &Report<'_>,
        error: Box<RawValue>,
        lost_maps: &[(TaskKey, i64)],
    ) -> Reply<'a> {
        self.hear(&report.worker_id, report.timestamp);
        self.note_report(key, number);
        if self.task(key).live.contains(number) {
            let end = if lost_maps.is_empty() {
                End::Failed
            } else if lost_maps
                .iter()
                .any(|(map, attempt)| self.is_winner(*map, *attempt))
            {
                End::InputsMissing
            } else {
                End::Lost(LossCause::StaleInputs)
            };
            self.fail_attempt(key, number, end, error, lost_maps);
        }
        Reply::TaskFailed {
            task_id: report.task_id.clone().into_owned().into(),
            retry: self.task(key).state.is_unfinished(),
        }
    }

    /// The task and the attempt number that a report is about. Errors: 20 for an unknown task, 22 for an attempt that
    /// the worker never had.
    pub(super) fn find_reported(&self, report: &Report<'_>) -> Result<(TaskKey, u64), Error> {
        let key = self.find_task_of(report)?;
        Ok((key, self.check_assigned(key, report)?))
    }

    fn find_task_of(&self, report: &Report<'_>) -> Result<TaskKey, Error> {
        let live = (self.workers().holdings(&report.worker_id)).map(|held| held.live.values());
        (live.into_iter().flatten().take(LOOK_AT_FIRST))
            .find(|key| self.task_id(**key) == report.task_id)
            .copied()
            .or_else(|| self.jobs().find_task(&report.task_id))
            .ok_or_else(|| super::unknown_task(&report.task_id))
    }

    /// The number of the attempt that a report is about. Errors: 22 if the worker was never assigned it.
    fn check_assigned(&self, key: TaskKey, report: &Report<'_>) -> Result<u64, Error> {
        let number = u64::try_from(report.attempt).unwrap_or(0);
        let attempt = self.task(key).attempt(number);
        if attempt.is_some_and(|attempt| *attempt.worker == *report.worker_id) {
            return Ok(number);
        }
        let text = format!(
            "worker {} was never given attempt {} of task {}",
            Quoted(&report.worker_id),
            report.attempt,
            Quoted(&report.task_id)
        );
        Err(Error::new(ErrorCode::PreconditionFailed, text))
    }

    /// The keys of the maps in `lost_inputs`, each with the attempt whose output the reduce tried to fetch. Errors: 12
    /// for a task that is not a map of the reduce's job.
    fn find_lost_maps(
        &self,
        reduce: TaskKey,
        lost_inputs: &[LostInput<'_>],
    ) -> Result<LostMaps, Error> {
        let malformed = |text| Err(Error::new(ErrorCode::MalformedRequest, text));
        if !lost_inputs.is_empty() && self.jobs().kind(reduce) == Kind::Map {
            return malformed(
                "field \"lost_inputs\" must be empty for a map, which has no inputs".into(),
            );
        }
        let mut maps = Vec::with_capacity(lost_inputs.len());
        for LostInput { task_id, attempt } in lost_inputs {
            match self.jobs().find_task(task_id) {
                Some(map) if map.job == reduce.job && self.jobs().kind(map) == Kind::Map => {
                    maps.push((map, *attempt));
                }
                _ => {
                    return malformed(format!(
                        "field \"lost_inputs\" must name maps of the reduce's job: {} is not one",
                        Quoted(task_id)
                    ));
                }
            }
        }
        Ok(maps)
    }
}
