//! What workers report of their attempts: `complete_task` and `fail_task` (protocol, section 6).

use super::Master;
use super::events::{Event, Names};
use super::jobs::JobState;
use super::tasks::{Attempt, End, Kind, TaskKey, TaskResult, TaskState};
use super::workers::{Assignment, WorkerKey};
use crate::wire::{Error, ErrorCode, Json, LostInput, Quoted, Reply, read_array};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// So many of a worker's attempts are looked at before all tasks are.
const LOOK_AT_FIRST: usize = 4;

/// Which attempt a worker reports on.
#[derive(Debug)]
pub struct Reported<'a> {
    pub worker_id: Cow<'a, str>,
    pub task_id: Cow<'a, str>,
    pub attempt: i64,
    /// In ms.
    pub timestamp: i64,
}

impl Master {
    /// Accepts the first result of a task and drops any other. Errors: 20, 12 for an output that does not
    /// fit the job, 22.
    pub(super) fn complete_task(
        &mut self,
        report: &Reported<'_>,
        output: Json<'_>,
    ) -> Result<Reply<'_>, Error> {
        let worker = self.workers.find(&report.worker_id);
        let key = self.find_reported(worker, report)?;
        let job = self.jobs.job(key);
        let partitions = match job.kind(key.task) {
            Kind::Map if job.reduce_tasks() > 0 => split(&output, job.reduce_tasks())?,
            _ => Box::default(),
        };
        let (worker, number) = self.check_given(key, worker, report)?;

        self.hear(worker, report.timestamp);
        let task = self.jobs.task(key);
        let accepted = match &task.result {
            Some(winner) => winner.attempt == number,
            None => task.state.is_unfinished(),
        };
        if !accepted {
            self.duplicates_dropped += 1;
        } else if task.result.is_none() {
            let completed_at = report.timestamp;
            let output = output.into_owned();
            self.accept(
                key,
                TaskResult {
                    attempt: number,
                    completed_at,
                    output,
                    partitions,
                },
            );
        }
        Ok(Reply::TaskCompleted {
            task_id: &self.jobs.task(key).id,
            accepted,
        })
    }

    fn accept(&mut self, key: TaskKey, result: TaskResult) {
        self.counters.completed += 1;
        self.finish(key, TaskState::Completed);
        let task = self.jobs.task_mut(key);
        let &Attempt {
            worker, assigned, ..
        } = task.attempt(result.attempt);
        task.result = Some(Box::new(result));
        let assignment = Assignment {
            assigned,
            task: key,
        };
        if self.jobs.is_output(assignment) {
            self.hold_latest(worker, assignment);
        }
        self.complete_job_if_done(key.job);
    }

    /// Ends an attempt that reports an error, and what it could not fetch is lost. Errors: 20, 12 for inputs
    /// that are not the job's maps, 22.
    pub(super) fn fail_task(
        &mut self,
        report: &Reported<'_>,
        error: &str,
        lost_inputs: &[LostInput<'_>],
    ) -> Result<Reply<'_>, Error> {
        let worker = self.workers.find(&report.worker_id);
        let key = self.find_reported(worker, report)?;
        let lost_maps = self.find_lost_maps(key, lost_inputs)?;
        let (worker, number) = self.check_given(key, worker, report)?;

        self.hear(worker, report.timestamp);
        let task = self.jobs.task_mut(key);
        if task.live.iter().any(|live| live == number) {
            task.error = Some(error.into());
            let end = if lost_maps.is_empty() {
                End::Failed
            } else {
                End::WithoutInputs
            };
            let first_event = self.events.len();
            let mut requeued = Names::default();
            self.end_attempt(key, number, end);
            for (map, attempt) in lost_maps {
                // An input given up before may have ended the job, which then needs the others no more.
                let is_running = self.jobs.job(map).state == JobState::Running;
                let task = self.jobs.task_mut(map);
                let is_winner = |winner: &TaskResult| i64::from(winner.attempt) == attempt;
                if is_running && task.result.as_deref().is_some_and(is_winner) {
                    task.losses += 1;
                    if self.lose_output(map) {
                        requeued.push(&self.jobs.task(map).id);
                    }
                }
            }
            if self.settle(key) {
                requeued.push(&self.jobs.task(key).id);
            }
            self.events.insert(first_event, || Event::TaskFailed {
                task: report.task_id.as_ref().into(),
                worker: report.worker_id.as_ref().into(),
                error: error.into(),
                requeued,
            });
        }
        let task = self.jobs.task(key);
        Ok(Reply::TaskFailed {
            task_id: &task.id,
            retry: task.state.is_unfinished(),
        })
    }

    fn find_reported(
        &self,
        worker: Option<WorkerKey>,
        report: &Reported<'_>,
    ) -> Result<TaskKey, Error> {
        // A worker mostly reports on what it runs, which is found faster than one task among all.
        let runs = worker
            .and_then(|worker| self.workers.holdings(worker))
            .map(|holdings| holdings.live.values());
        runs.into_iter()
            .flatten()
            .take(LOOK_AT_FIRST)
            .find(|key| *self.jobs.task(**key).id == *report.task_id)
            .copied()
            .or_else(|| self.find_task(&report.task_id))
            .ok_or_else(|| super::unknown_task(&report.task_id))
    }

    /// The attempt on which the worker reports, with the worker, if it was given to it.
    fn check_given(
        &self,
        key: TaskKey,
        worker: Option<WorkerKey>,
        report: &Reported<'_>,
    ) -> Result<(WorkerKey, u32), Error> {
        let given = |worker| Some((worker, self.jobs.task(key).given(report.attempt, worker)?));
        worker.and_then(given).ok_or_else(|| {
            let text = format!(
                "worker {} was never given attempt {} of task {}",
                Quoted(&report.worker_id),
                report.attempt,
                Quoted(&report.task_id)
            );
            Error::new(ErrorCode::PreconditionFailed, text)
        })
    }

    /// The maps of the same job that a reduce says it could not fetch, each with the attempt it tried.
    fn find_lost_maps(
        &self,
        reduce: TaskKey,
        lost_inputs: &[LostInput<'_>],
    ) -> Result<Vec<(TaskKey, i64)>, Error> {
        let malformed = |why| Err(Error::new(ErrorCode::MalformedRequest, why));
        if !lost_inputs.is_empty() && self.jobs.kind(reduce) == Kind::Map {
            return malformed(
                "field \"lost_inputs\" must be empty for a map, which has no inputs".into(),
            );
        }
        let mut maps = Vec::with_capacity(lost_inputs.len());
        for LostInput { task_id, attempt } in lost_inputs {
            match self.find_task(task_id) {
                Some(map) if map.job == reduce.job && self.jobs.kind(map) == Kind::Map => {
                    maps.push((map, *attempt));
                }
                _ => {
                    return malformed(format!(
                        "field \"lost_inputs\" must name maps of the reduce's job, and {} is none",
                        Quoted(task_id)
                    ));
                }
            }
        }
        Ok(maps)
    }
}

/// Where each partition starts and ends in the text of a map's output: an array of exactly one element per
/// partition.
fn split(output: &RawValue, partitions: usize) -> Result<Box<[(u32, u32)]>, Error> {
    let wrong = || {
        let text =
            format!("field \"output\" must be a list of {partitions} elements, one per partition");
        Error::new(ErrorCode::MalformedRequest, text)
    };
    let elements = read_array(output, partitions).ok_or_else(wrong)?;
    let text = output.get();
    let place = |element: &RawValue| {
        let start = element.get().as_ptr() as usize - text.as_ptr() as usize;
        let end = start + element.get().len();
        // A message is shorter than 2^32 bytes.
        Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?))
    };
    elements
        .into_iter()
        .map(place)
        .collect::<Option<_>>()
        .ok_or_else(wrong)
}
