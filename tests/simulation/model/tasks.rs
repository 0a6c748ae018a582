//! What happens to tasks: attempts start and end, tasks are queued again or given up, jobs end.

use super::history::count;
use super::json::quoted;
use super::{Attempt, End, Event, FREE_TEXT, JobState, Model, TaskState, Verdict};

impl Model {
    /// A new live attempt, not fetched yet. "Attempts count from 1 per task."
    pub(super) fn start_attempt(&mut self, t: usize, worker_id: &str) {
        let born = self
            .events
            .iter()
            .filter(|&&event| event == Event::Started)
            .count();
        self.events.push(Event::Started);
        self.tasks[t].attempts.push(Attempt {
            worker: worker_id.to_string(),
            born,
            fetched: false,
            fetched_at: None,
            ended: None,
        });
    }

    /// Out of the queue; and its waiting backup is dropped.
    pub(super) fn leave_the_lines(&mut self, t: usize) {
        let id = self.tasks[t].id.clone();
        self.queued_again.retain(|queued| *queued != id);
        self.backups_waiting.retain(|straggler| *straggler != id);
    }

    /// "When no attempt is live, it is queued again, unless it has failed `max_failures` times or been lost
    /// `max_losses` times: then it is given up."
    pub(super) fn settle(&mut self, t: usize) {
        if !self.tasks[t].is_unfinished() {
            return;
        }
        if !self.tasks[t].live().is_empty() {
            self.hit("not queued again: another attempt is live");
        } else if self.is_at_its_limits(t) {
            self.give_up(t);
        } else {
            // A waiting backup "is dropped when the task ends, is queued again […]".
            if self.backups_waiting.contains(&self.tasks[t].id) {
                self.hit("waiting backup dropped: queued again");
            }
            self.hit(if self.tasks[t].is_map() {
                "map queued again"
            } else {
                "reduce queued again"
            });
            self.leave_the_lines(t);
            self.queued_again.push(self.tasks[t].id.clone());
        }
    }

    /// "It is skipped if fewer than `max_skipped` tasks of the job (default 0) were, else the job fails, keeps the error
    /// (that of the last `fail_task`, or that it was lost so many times), and its unfinished tasks are withdrawn, their
    /// attempts ended but not counted as lost."
    pub(super) fn give_up(&mut self, t: usize) {
        let job_id = self.tasks[t].job_id.clone();
        let skipped = count(
            self.tasks_of(&job_id)
                .into_iter()
                .filter(|task| task.verdict == Some(Verdict::Skipped)),
        );
        // "no limit on skipped tasks" in the job of tasks taken in.
        let may_skip = match &self.job(&job_id).submission {
            Some(submission) => skipped < submission.max_skipped,
            None => true,
        };
        let failed_too_often = self.tasks[t].failures() >= self.max_failures(t);
        if failed_too_often && self.tasks[t].losses() >= self.max_losses(t) {
            self.hit("given up: both limits reached");
        }
        self.hit(if failed_too_often {
            "given up: failed too often"
        } else {
            "given up: lost too often"
        });
        if may_skip {
            self.hit(if self.tasks[t].is_map() {
                "map skipped"
            } else {
                "reduce skipped"
            });
            self.end_without_result(t, Verdict::Skipped);
            self.end_job_if_completed(&job_id);
            return;
        }
        self.hit(if self.tasks[t].is_map() {
            "job fails by a map"
        } else {
            "job fails by a reduce"
        });
        self.end_without_result(t, Verdict::Failed);
        // CHOICE: with both limits reached, the error is that of the last `fail_task`.
        let error = match self.tasks[t].errors.last() {
            Some(error) if failed_too_often => quoted(error),
            _ => FREE_TEXT.to_string(),
        };
        for job in &mut self.jobs {
            if job.id == job_id {
                job.error = Some(error.clone());
            }
        }
        self.withdraw_unfinished(&job_id);
    }

    pub(super) fn end_without_result(&mut self, t: usize, verdict: Verdict) {
        for attempt in &mut self.tasks[t].attempts {
            if attempt.ended.is_none() {
                attempt.ended = Some(End::Withdrawn);
            }
        }
        self.leave_the_lines(t);
        self.tasks[t].verdict = Some(verdict);
    }

    pub(super) fn withdraw_unfinished(&mut self, job_id: &str) {
        for t in 0..self.tasks.len() {
            if self.tasks[t].job_id == job_id && self.tasks[t].is_unfinished() {
                self.hit(match self.tasks[t].state() {
                    TaskState::Running => "running task withdrawn",
                    _ => "idle task withdrawn",
                });
                self.end_without_result(t, Verdict::Withdrawn);
            }
        }
    }

    /// "a lost map still waiting or running then is withdrawn"
    pub(super) fn end_job_if_completed(&mut self, job_id: &str) {
        if self.job_state(self.job(job_id)) == JobState::Completed {
            self.hit("job completed");
            if self
                .tasks_of(job_id)
                .iter()
                .any(|task| task.is_unfinished())
            {
                self.hit("lost map withdrawn at the end of its job");
            }
            self.withdraw_unfinished(job_id);
        }
    }
}
