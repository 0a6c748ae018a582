//! What workers report: `complete_task` and `fail_task` (section 6).

use super::history::count;
use super::json::{Fields, Value, one_line, quoted};
use super::messages::{Handled, MALFORMED, PRECONDITION, UNKNOWN_KEY};
use super::{Accepted, End, Event, Model, OutputLost, TaskState};

impl Model {
    /// `complete_task` `{worker_id, task_id, attempt, timestamp, output}` → `task_completed` `{task_id, accepted}`
    pub(super) fn complete_task(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        let task_id = body.text("task_id")?;
        let attempt = body.integer("attempt")?;
        let timestamp = body.integer("timestamp")?;
        let output = body.get("output").ok_or(MALFORMED)?;
        // "20: unknown task."
        let t = self.position_of(&task_id).ok_or(UNKNOWN_KEY)?;
        // "The output of a map task in a job with R > 0 is an array of exactly R elements, one per partition (12
        // otherwise)." The check comes after 20 and before 22: "shapes that depend on the job (12)".
        let partitions = self.partitions(&self.tasks[t].job_id);
        if self.tasks[t].is_map() && partitions > 0 {
            match &output.value {
                Value::List(elements) if count(elements.iter()) == partitions => {}
                _ => {
                    self.hit("map output not one per partition");
                    return Err(MALFORMED);
                }
            }
        }
        // "22: an attempt number that this worker was never given."
        // CHOICE: zero and negative numbers as well.
        if !self.tasks[t].was_given(&worker_id, attempt) {
            return Err(PRECONDITION);
        }
        // "`complete_task` is also a heartbeat."
        self.heard(&worker_id, timestamp);
        let accepted = match self.tasks[t].state() {
            // "The first result of a task is accepted, whichever of its attempts it is from, one lost with its worker
            // included" "After an output was lost, the next result is the first again."
            TaskState::Idle | TaskState::Running => {
                self.accept(
                    t,
                    Accepted {
                        attempt,
                        timestamp,
                        output: one_line(output.raw),
                        lost: None,
                    },
                );
                true
            }
            // "any other is dropped (`accepted: false`). The winner's own repeat gets `true` again."
            TaskState::Completed => {
                let repeat = self.tasks[t].winner().expect("completed").attempt == attempt;
                self.hit(if repeat {
                    "winner's own repeat"
                } else {
                    "dropped: completed already"
                });
                repeat
            }
            // "Skipped, failed and withdrawn tasks are final: later results are dropped."
            TaskState::Skipped | TaskState::Failed | TaskState::Withdrawn => {
                self.hit("dropped: final");
                false
            }
        };
        if !accepted {
            self.events.push(Event::DuplicateDropped);
        }
        Ok((
            "task_completed",
            vec![
                ("task_id", quoted(&task_id)),
                ("accepted", accepted.to_string()),
            ],
        ))
    }

    pub(super) fn accept(&mut self, t: usize, result: Accepted) {
        let index = usize::try_from(result.attempt).unwrap() - 1;
        let from = &self.tasks[t].attempts[index];
        let rule = match from.ended {
            None if from.fetched => "accepted from a live attempt",
            None => "accepted from an attempt not fetched",
            Some(End::Lost) => "accepted from a lost attempt",
            Some(End::Failed | End::FailedByInputs) => "accepted from a failed attempt",
            Some(End::Completed) => "accepted again after its output was lost",
            Some(End::Superseded) => "accepted from a superseded attempt",
            Some(End::Withdrawn) => unreachable!("withdrawn tasks are final"),
        };
        self.hit(rule);
        if !self.tasks[t].results.is_empty() {
            self.hit("accepted after an output was lost");
        }
        if self.queued_again.contains(&self.tasks[t].id) {
            self.hit("accepted while queued again");
        }
        if self.backups_waiting.contains(&self.tasks[t].id) {
            self.hit("waiting backup dropped: the task ended");
        }
        self.events.push(Event::Completed);
        self.leave_the_lines(t);
        // CHOICE: the other attempts are no longer live once the task is completed, and stay so if its output is lost.
        let mut superseded = false;
        for (a, attempt) in self.tasks[t].attempts.iter_mut().enumerate() {
            if attempt.ended.is_none() {
                attempt.ended = Some(if a == index {
                    End::Completed
                } else {
                    End::Superseded
                });
                superseded |= a != index;
            }
        }
        if superseded {
            self.hit("attempt superseded");
        }
        self.tasks[t].results.push(result);
        let job_id = self.tasks[t].job_id.clone();
        self.end_job_if_completed(&job_id);
    }

    /// `fail_task` `{worker_id, task_id, attempt, timestamp, error, lost_inputs?: [{task_id, attempt}…]}` →
    /// `task_failed` `{task_id, retry}`
    pub(super) fn fail_task(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        let task_id = body.text("task_id")?;
        let attempt = body.integer("attempt")?;
        let timestamp = body.integer("timestamp")?;
        let error = body.text("error")?;
        let mut lost_inputs: Vec<(String, i64)> = vec![];
        if let Some(given) = body.optional("lost_inputs") {
            for entry in given.as_list()? {
                let entry = entry.as_fields()?;
                lost_inputs.push((entry.text("task_id")?, entry.integer("attempt")?));
            }
        }
        // "20 and 22 as above"
        let t = self.position_of(&task_id).ok_or(UNKNOWN_KEY)?;
        // "(only from a reduce task, only maps of its job, 12 otherwise; empty means none)"
        if !lost_inputs.is_empty() {
            if self.tasks[t].is_map() {
                self.hit("lost_inputs from a map");
                return Err(MALFORMED);
            }
            for (id, _) in &lost_inputs {
                let job_id = &self.tasks[t].job_id;
                if !self
                    .tasks_of(job_id)
                    .iter()
                    .any(|task| task.id == *id && task.is_map())
                {
                    self.hit("lost_inputs: no map of its job");
                    return Err(MALFORMED);
                }
            }
        }
        if !self.tasks[t].was_given(&worker_id, attempt) {
            return Err(PRECONDITION);
        }
        // "`fail_task` is also a heartbeat"
        self.heard(&worker_id, timestamp);

        // "It ends a live attempt; from one no longer live it changes nothing."
        let index = usize::try_from(attempt).unwrap() - 1;
        if self.tasks[t].attempts[index].ended.is_some() {
            self.hit("fail_task of an attempt no longer live");
        } else {
            self.tasks[t].errors.push(error);
            if lost_inputs.is_empty() {
                self.hit("fail_task ends an attempt");
                self.tasks[t].attempts[index].ended = Some(End::Failed);
                self.events.push(Event::Failed);
            } else {
                // "its attempt does not count as failed"
                self.hit("fail_task with lost_inputs");
                self.tasks[t].attempts[index].ended = Some(End::FailedByInputs);
            }
            // "Those whose winner is still that attempt are lost and queued again, in the order listed, then the reduce"
            // CHOICE: once the job has failed by one of these losses, the outputs listed after it are spared.
            for (id, attempt) in lost_inputs {
                if !self.tasks[t].is_unfinished() {
                    self.hit("lost input: the job has failed by an earlier one");
                    break;
                }
                let map = self.position_of(&id).expect("checked above");
                if self.tasks[map]
                    .winner()
                    .is_some_and(|winner| winner.attempt == attempt)
                {
                    self.hit("lost input: the winner");
                    self.tasks[map]
                        .results
                        .last_mut()
                        .expect("there is a winner")
                        .lost = Some(OutputLost::Reported);
                    self.settle(map);
                } else {
                    self.hit("lost input: not the winner");
                }
            }
            self.settle(t);
        }
        // "`retry` is true while the task is unfinished."
        let retry = self.tasks[t].is_unfinished();
        self.hit(if retry { "retry" } else { "no retry" });
        Ok((
            "task_failed",
            vec![("task_id", quoted(&task_id)), ("retry", retry.to_string())],
        ))
    }
}
