//! What happens to tasks: attempts start and end, tasks are queued again or given up, jobs end (section 6).

use super::history::count;
use super::{Attempt, End, Event, FREE_TEXT, JobState, Kind, Model, Task, TaskState, Verdict};

impl Model {
    pub(super) fn add_task(&mut self, id: String, job_id: String, kind: Kind) {
        self.tasks.push(Task {
            id,
            job_id,
            kind,
            // "Attempts of a task count up from 1. After a `remove_job`, tasks that the master comes to know later start one
            // above the highest attempt number of any removed task"
            first_attempt: self.highest_removed_attempt + 1,
            attempts: vec![],
            results: vec![],
            errors: vec![],
            verdict: None,
        });
    }

    /// A new live attempt, not fetched yet.
    pub(super) fn start_attempt(&mut self, t: usize, worker_id: &str) {
        let born = count(self.events.iter().filter(|&&event| event == Event::Started));
        self.events.push(Event::Started);
        let number = self.tasks[t].first_attempt + count(self.tasks[t].attempts.iter());
        self.tasks[t].attempts.push(Attempt {
            number,
            worker: worker_id.to_string(),
            born: usize::try_from(born).unwrap(),
            fetched: false,
            reported: false,
            fetched_at: None,
            fetched_since_recovery: false,
            runs_from: None,
            ended: None,
            marks: vec![],
        });
    }

    /// Takes the task out of the queue and drops its waiting backup.
    pub(super) fn leave_the_lines(&mut self, t: usize) {
        let id = self.tasks[t].id.clone();
        self.queued_again.retain(|queued| *queued != id);
        self.backups_waiting.retain(|straggler| *straggler != id);
    }

    /// Ends a live attempt by `fail_task`, a wrong output or a time-out.
    pub(super) fn fail_attempt(&mut self, t: usize, a: usize, timed_out: bool, error: String) {
        let worker_id = self.tasks[t].attempts[a].worker.clone();
        // "but for those on a worker on which the task had failed before, however long ago, while another worker, on which it
        // has not failed, could take it"
        let task = &self.tasks[t];
        let had_failed_on = |worker: &str| {
            let given = task.given_to(worker);
            given.iter().any(|attempt| attempt.has_failed())
        };
        let had_failed_there = had_failed_on(&worker_id);
        let is_new_to_another = self
            .others_that_could_take(t, &worker_id)
            .iter()
            .any(|other| !had_failed_on(&other.id));
        let counted = !(had_failed_there && is_new_to_another);
        self.hit(match (timed_out, counted) {
            (true, true) => "time-out",
            (true, false) => "time-out not counted",
            (false, true) => "failure",
            (false, false) => "failure not counted",
        });
        if counted && had_failed_there {
            self.hit("failure repeated, and nobody else could take the task");
        }
        self.tasks[t].attempts[a].ended = Some(if timed_out {
            End::TimedOut { counted }
        } else {
            End::Failed { counted }
        });
        self.tasks[t].errors.push(error);
        // "`failed` those that `fail_task` or a time-out ended"
        self.events.push(Event::Failed);
        self.mark(t, a);
        self.remember_failed_report(t, &worker_id);
        self.settle(t);
    }

    /// "When no attempt is live, the task is queued again, unless it has failed `max_failures` times […] or was lost
    /// `max_losses` times […]. Then it is given up"
    pub(super) fn settle(&mut self, t: usize) {
        if !self.tasks[t].is_unfinished() {
            return;
        }
        if !self.tasks[t].live().is_empty() {
            self.hit("not queued again: another attempt is live");
        } else if self.is_at_its_limits(t) {
            self.give_up(t);
        } else {
            // A waiting backup "is dropped when the task ends, is queued again or is reassigned".
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

    /// "skipped, if fewer than `max_skipped` tasks of the job (default 0) were; else the job fails, and keeps the id of
    /// that task and the error"
    pub(super) fn give_up(&mut self, t: usize) {
        let job_id = self.tasks[t].job_id.clone();
        let settings = self.job(&job_id).settings.clone();
        let skipped = count(
            self.tasks_of(&job_id)
                .into_iter()
                .filter(|task| task.verdict == Some(Verdict::Skipped)),
        );
        let failed_too_often = self.tasks[t].failures() >= settings.max_failures;
        if failed_too_often && self.tasks[t].losses() >= settings.max_losses {
            self.hit("given up: both limits reached");
        }
        self.hit(if failed_too_often {
            "given up: failed too often"
        } else {
            "given up: lost too often"
        });
        let is_map = self.tasks[t].is_map();
        if skipped < settings.max_skipped {
            self.hit(if is_map {
                "map skipped"
            } else {
                "reduce skipped"
            });
            self.end_without_result(t, Verdict::Skipped);
            self.end_job_if_completed(&job_id);
            return;
        }
        self.hit(if is_map {
            "job fails by a map"
        } else {
            "job fails by a reduce"
        });
        self.end_without_result(t, Verdict::Failed);
        // "(that of its last failure, counted or not, if it failed `max_failures` times, else that it was lost so many
        // times)"
        let error = match self.tasks[t].errors.last() {
            Some(error) if failed_too_often => error.clone(),
            _ => FREE_TEXT.to_string(),
        };
        let failed_task = self.tasks[t].id.clone();
        self.job_mut(&job_id).failure = Some((failed_task, error));
        // "The job's unfinished tasks are withdrawn, and their attempts end without being counted as lost."
        self.withdraw_unfinished(&job_id);
    }

    fn end_without_result(&mut self, t: usize, verdict: Verdict) {
        for attempt in &mut self.tasks[t].attempts {
            if attempt.ended.is_none() {
                attempt.ended = Some(End::Withdrawn);
            }
        }
        self.leave_the_lines(t);
        self.tasks[t].verdict = Some(verdict);
    }

    fn withdraw_unfinished(&mut self, job_id: &str) {
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

    /// "A job is completed when all its reduce tasks (without any, all its map tasks) are completed or skipped. A lost map
    /// that still waits or runs then is withdrawn."
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
