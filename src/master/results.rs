//! What workers report of their attempts: `complete_task` and `fail_task` (protocol, section 6, "Reports").

use super::Master;
use super::events::{Event, LossCause};
use super::state::keys::{Kind, TaskKey};
use super::state::tasks::TaskResult;
use super::state::transitions::End;
use crate::wire::{
    CompleteTask, Error, ErrorCode, FailTask, LostInput, Quoted, Reply, Report, json_string,
    split_array,
};
use serde_json::value::RawValue;

/// This many of a worker's live attempts are looked at before all tasks are: a worker mostly reports on what it runs,
/// and it saves 31% of a report over 1,000,000 tasks.
const LOOK_AT_FIRST: usize = 4;

/// Maps whose outputs a reduce could not fetch, each with the attempt that made it.
type LostMaps = Vec<(TaskKey, i64)>;

impl Master {
    /// Accepts the first result of a task and drops any other. A map's output of the wrong shape fails its attempt.
    /// Errors: 20, 22.
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

    /// Ends an attempt that reports an error; the inputs that it could not fetch are lost. Errors: 20, 12 for inputs
    /// that are not the job's maps, 22.
    pub(super) fn fail_task(&mut self, failure: FailTask<'_>) -> Result<Reply<'_>, Error> {
        let (key, number, lost_maps) = self.find_failed(&failure)?;
        let FailTask { report, error, .. } = failure;
        Ok(self.fail(key, number, &report, error, &lost_maps))
    }

    /// The attempt that a worker reports as failed, and the inputs that it could not fetch. Errors: 20, 12, 22.
    pub(super) fn find_failed(
        &self,
        failure: &FailTask<'_>,
    ) -> Result<(TaskKey, u64, LostMaps), Error> {
        let key = self.find_task_of(&failure.report)?;
        let lost_maps = self.find_lost_maps(key, &failure.lost_inputs)?;
        let number = self.check_given(key, &failure.report)?;
        Ok((key, number, lost_maps))
    }

    /// Does what a worker's report of a failure asks for. From an attempt no longer live it is only a heartbeat.
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
            let first_event = self.events().len();
            let text: Box<str> = error.get().into();
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
            self.fail_attempt(key, number, end, error);
            let mut requeued = Vec::new();
            for (map, attempt) in lost_maps {
                // An input given up before may have failed the job, which then needs the others no more.
                if self.job(*map).state.is_running() && self.is_winner(*map, *attempt) {
                    self.count_lost_output(*map);
                    self.lose_output(*map, false);
                    requeued.extend(self.settle(*map).then_some(*map));
                }
            }
            requeued.extend(self.settle(key).then_some(key));
            self.log_with_requeued(first_event, &requeued, |requeued| Event::TaskFailed {
                task: report.task_id.as_ref().into(),
                attempt: number,
                worker: report.worker_id.as_ref().into(),
                error: text,
                requeued,
            });
        }
        Reply::TaskFailed {
            task_id: report.task_id.clone().into_owned().into(),
            retry: self.task(key).state.is_unfinished(),
        }
    }

    fn is_winner(&self, key: TaskKey, attempt: i64) -> bool {
        let result = self.task(key).result.as_ref();
        result.is_some_and(|result| u64::try_from(attempt) == Ok(result.attempt))
    }

    /// The task and the attempt on which a worker reports. Errors: 20, 22.
    pub(super) fn find_reported(&self, report: &Report<'_>) -> Result<(TaskKey, u64), Error> {
        let key = self.find_task_of(report)?;
        Ok((key, self.check_given(key, report)?))
    }

    fn find_task_of(&self, report: &Report<'_>) -> Result<TaskKey, Error> {
        let live = (self.workers().holdings(&report.worker_id)).map(|held| held.live.values());
        (live.into_iter().flatten().take(LOOK_AT_FIRST))
            .find(|key| self.task_id(**key) == report.task_id)
            .copied()
            .or_else(|| self.jobs().find_task(&report.task_id))
            .ok_or_else(|| super::unknown_task(&report.task_id))
    }

    /// The number of the attempt on which the worker reports, if it was given to it. Errors: 22.
    fn check_given(&self, key: TaskKey, report: &Report<'_>) -> Result<u64, Error> {
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

    /// The maps of the same job that a reduce says it could not fetch, each with the attempt it tried. Errors: 12.
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
