//! What follows from recorded history: states, barriers, queues and limits are computed from it.

use super::{
    Accepted, Attempt, End, Job, JobState, Kind, Model, OutputLost, Task, TaskState, Verdict,
};

impl Attempt {
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.ended, Some(End::Failed { .. } | End::TimedOut { .. }))
    }
}

impl Task {
    pub(super) fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map { .. })
    }

    /// The accepted result, unless it was lost.
    pub(super) fn winner(&self) -> Option<&Accepted> {
        self.results.last().filter(|result| result.lost.is_none())
    }

    /// Where the attempt with this number is in the list.
    pub(super) fn index_of(&self, number: i64) -> usize {
        self.attempts
            .iter()
            .position(|attempt| attempt.number == number)
            .expect("there is such an attempt")
    }

    pub(super) fn worker_of(&self, number: i64) -> &str {
        &self.attempts[self.index_of(number)].worker
    }

    pub(super) fn live(&self) -> Vec<&Attempt> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.ended.is_none())
            .collect()
    }

    /// The index of the live attempt on this worker.
    pub(super) fn live_on(&self, worker: &str) -> Option<usize> {
        self.attempts
            .iter()
            .position(|attempt| attempt.ended.is_none() && attempt.worker == worker)
    }

    /// "An attempt that ended before its worker fetched it was never heard of by anyone: it is forgotten, but for its
    /// number, as soon as the task has a newer one (reports of it are 22), and so is the history that it left. One that its
    /// worker has reported on was heard of, and is remembered."
    pub(super) fn remembered(&self) -> Vec<&Attempt> {
        let newest = self.attempts.last().map(|attempt| attempt.number);
        self.attempts
            .iter()
            .filter(|attempt| {
                let was_heard_of = attempt.fetched || attempt.reported;
                attempt.ended.is_none() || was_heard_of || Some(attempt.number) == newest
            })
            .collect()
    }

    /// The attempts that this worker was given, oldest first.
    /// CHOICE: one that was given by `reassign` and is not fetched yet is among them.
    pub(super) fn given_to(&self, worker: &str) -> Vec<&Attempt> {
        let remembered = self.remembered().into_iter();
        remembered
            .filter(|attempt| attempt.worker == worker)
            .collect()
    }

    pub(super) fn was_given(&self, worker: &str, number: i64) -> bool {
        self.given_to(worker)
            .iter()
            .any(|attempt| attempt.number == number)
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

    /// "A task is *failed* once per `fail_task` and once per time-out (but for those on a worker on which the task had
    /// failed before, […] while another worker, on which it has not failed, could take it […])". "Its attempt does not count towards `max_failures`" where
    /// inputs were lost.
    pub(super) fn failures(&self) -> i64 {
        count(self.attempts.iter().filter(|attempt| {
            matches!(
                attempt.ended,
                Some(End::Failed { counted: true } | End::TimedOut { counted: true })
            )
        }))
    }

    /// "*lost* once per attempt that its worker had fetched and that was lost (by `check_failures`, `reassign` or a new
    /// `incarnation`). A reported lost output is a loss, too."
    /// CHOICE: an output that was lost with its worker is none.
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

    /// "A run time is from the first fetch of the winning attempt to its result, both by the worker's clock; where it is
    /// not known, it is left out of the median."
    pub(super) fn run_time(&self) -> Option<i128> {
        let winner = self.winner()?;
        let attempt = &self.attempts[self.index_of(winner.attempt)];
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

    pub(super) fn job_mut(&mut self, job_id: &str) -> &mut Job {
        self.jobs
            .iter_mut()
            .find(|job| job.id == job_id)
            .expect("a task's job is known")
    }

    pub(super) fn tasks_of(&self, job_id: &str) -> Vec<&Task> {
        self.tasks
            .iter()
            .filter(|task| task.job_id == job_id)
            .collect()
    }

    /// "A job is completed when all its reduce tasks (without any, all its map tasks) are completed or skipped." The job
    /// of tasks taken in "is running whenever one of its tasks is unfinished", which is the same.
    pub(super) fn job_state(&self, job: &Job) -> JobState {
        let decides = |task: &&Task| !task.is_map() || job.settings.reduce_tasks == 0;
        if job.failure.is_some() {
            JobState::Failed
        } else if self
            .tasks_of(&job.id)
            .into_iter()
            .filter(decides)
            .all(Task::is_completed_or_skipped)
        {
            JobState::Completed
        } else {
            JobState::Running
        }
    }

    /// "Reduce tasks, re-sends and backups included, are handed out only while every map task of the job is completed or
    /// skipped."
    pub(super) fn is_behind_the_barrier(&self, t: usize) -> bool {
        let task = &self.tasks[t];
        let maps_done = self
            .tasks_of(&task.job_id)
            .iter()
            .filter(|task| task.is_map())
            .all(|map| map.is_completed_or_skipped());
        !task.is_map() && !maps_done
    }

    /// "Tasks that are queued again wait in one line, first come first out, ahead of every task that was never handed out.
    /// Those follow in task order."
    pub(super) fn queue(&self) -> Vec<usize> {
        let again = self
            .queued_again
            .iter()
            .map(|id| self.position_of(id).expect("queued tasks are known"));
        let never = (0..self.tasks.len())
            .filter(|&t| self.tasks[t].attempts.is_empty() && self.tasks[t].is_unfinished());
        again.chain(never).collect()
    }

    /// "it has failed `max_failures` times […] or was lost `max_losses` times"
    pub(super) fn is_at_its_limits(&self, t: usize) -> bool {
        let task = &self.tasks[t];
        let settings = &self.job(&task.job_id).settings;
        task.failures() >= settings.max_failures || task.losses() >= settings.max_losses
    }

    /// The output of task `t` is lost. With a mark, its worker has a history of the task by that.
    pub(super) fn lose_output(&mut self, t: usize, how: OutputLost, marks: bool) {
        let result = self.tasks[t].results.last_mut().expect("there is a winner");
        result.lost = Some(how);
        let attempt = result.attempt;
        if marks {
            let a = self.tasks[t].index_of(attempt);
            self.mark(t, a);
        }
    }
}
