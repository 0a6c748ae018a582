//! What follows from the recorded history: states, barriers, queues and limits are functions of it.

use super::{
    Accepted, Attempt, End, Job, JobState, Kind, Model, OutputLost, Task, TaskState, Verdict,
};

impl Task {
    pub(super) fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map { .. })
    }

    /// The accepted result, unless it was lost.
    pub(super) fn winner(&self) -> Option<&Accepted> {
        self.results.last().filter(|result| result.lost.is_none())
    }

    pub(super) fn worker_of(&self, attempt: i64) -> &str {
        &self.attempts[usize::try_from(attempt).unwrap() - 1].worker
    }

    pub(super) fn live(&self) -> Vec<&Attempt> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.ended.is_none())
            .collect()
    }

    pub(super) fn is_live_on(&self, worker: &str) -> bool {
        self.live().iter().any(|attempt| attempt.worker == worker)
    }

    /// Was this attempt number given to this worker?
    /// CHOICE: an attempt given by `reassign` and not yet fetched is given.
    pub(super) fn was_given(&self, worker: &str, attempt: i64) -> bool {
        let numbered = (1i64..).zip(&self.attempts);
        numbered
            .into_iter()
            .any(|(number, given)| number == attempt && given.worker == worker)
    }

    pub(super) fn state(&self) -> TaskState {
        match self.verdict {
            Some(Verdict::Skipped) => TaskState::Skipped,
            Some(Verdict::Failed) => TaskState::Failed,
            Some(Verdict::Withdrawn) => TaskState::Withdrawn,
            None if self.winner().is_some() => TaskState::Completed,
            None if self.live().is_empty() => TaskState::Idle,
            None => TaskState::Running,
        }
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.state().is_unfinished()
    }

    pub(super) fn is_completed_or_skipped(&self) -> bool {
        matches!(self.state(), TaskState::Completed | TaskState::Skipped)
    }

    /// "A task is *failed* once per `fail_task`", those with `lost_inputs` left out.
    pub(super) fn failures(&self) -> i64 {
        count(
            self.attempts
                .iter()
                .filter(|attempt| attempt.ended == Some(End::Failed)),
        )
    }

    /// "*lost* once per attempt that its worker had fetched and lost […]; a reported lost output is a loss too."
    /// CHOICE: an output that was lost with its worker, not reported, is no loss.
    pub(super) fn losses(&self) -> i64 {
        count(
            self.attempts
                .iter()
                .filter(|attempt| attempt.ended == Some(End::Lost) && attempt.fetched),
        ) + count(
            self.results
                .iter()
                .filter(|result| result.lost == Some(OutputLost::Reported)),
        )
    }

    /// "A run time is from the first fetch of the winning attempt to the `timestamp` of its result."
    /// CHOICE: a result of an attempt that was never fetched (`reassign`), or of one fetched before the task was
    /// taken in, has none, and is left out of the median.
    pub(super) fn run_time(&self) -> Option<i128> {
        let winner = self.winner()?;
        let attempt = &self.attempts[usize::try_from(winner.attempt).unwrap() - 1];
        Some(i128::from(winner.timestamp) - i128::from(attempt.fetched_at?))
    }
}

pub(super) fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap()
}

impl Model {
    pub(super) fn position_of(&self, task_id: &str) -> Option<usize> {
        self.tasks.iter().position(|task| task.id == task_id)
    }

    pub(super) fn job(&self, job_id: &str) -> &Job {
        self.jobs
            .iter()
            .find(|job| job.id == job_id)
            .expect("a task's job is known")
    }

    pub(super) fn tasks_of(&self, job_id: &str) -> Vec<&Task> {
        self.tasks
            .iter()
            .filter(|task| task.job_id == job_id)
            .collect()
    }

    pub(super) fn partitions(&self, job_id: &str) -> i64 {
        self.job(job_id)
            .submission
            .as_ref()
            .map_or(0, |submission| submission.reduce_tasks)
    }

    pub(super) fn is_shared(&self, job_id: &str) -> bool {
        self.job(job_id)
            .submission
            .as_ref()
            .is_some_and(|submission| submission.shared_map_output)
    }

    /// "A job is completed when all its reduce tasks (without any, all its map tasks) are completed or skipped."
    /// "A job of no tasks completes at once." The job of tasks taken in is "running whenever one of its tasks is
    /// unfinished", which is the same.
    pub(super) fn job_state(&self, job: &Job) -> JobState {
        let decide = |task: &&Task| !task.is_map() || self.partitions(&job.id) == 0;
        if job.error.is_some() {
            JobState::Failed
        } else if self
            .tasks_of(&job.id)
            .into_iter()
            .filter(decide)
            .all(Task::is_completed_or_skipped)
        {
            JobState::Completed
        } else {
            JobState::Running
        }
    }

    /// "Reduce tasks, re-sends and backups included, are handed out only while every map task of the job is completed
    /// or skipped."
    pub(super) fn is_behind_the_barrier(&self, t: usize) -> bool {
        let task = &self.tasks[t];
        let maps_done = self
            .tasks_of(&task.job_id)
            .iter()
            .filter(|task| task.is_map())
            .all(|map| map.is_completed_or_skipped());
        !task.is_map() && !maps_done
    }

    /// "Tasks queued again wait in one line, first come first out, ahead of every task never handed out; those follow in
    /// task order."
    pub(super) fn queue(&self) -> Vec<usize> {
        let again = self
            .queued_again
            .iter()
            .map(|id| self.position_of(id).expect("queued tasks are known"));
        let never = (0..self.tasks.len())
            .filter(|&t| self.tasks[t].attempts.is_empty() && self.tasks[t].is_unfinished());
        again.chain(never).collect()
    }

    /// "it has failed `max_failures` times (default 4) or been lost `max_losses` times (default 16 […])"
    pub(super) fn is_at_its_limits(&self, t: usize) -> bool {
        self.tasks[t].failures() >= self.max_failures(t)
            || self.tasks[t].losses() >= self.max_losses(t)
    }

    pub(super) fn max_failures(&self, t: usize) -> i64 {
        self.job(&self.tasks[t].job_id)
            .submission
            .as_ref()
            .map_or(4, |submission| submission.max_failures)
    }

    pub(super) fn max_losses(&self, t: usize) -> i64 {
        self.job(&self.tasks[t].job_id)
            .submission
            .as_ref()
            .map_or(16, |submission| submission.max_losses)
    }
}
