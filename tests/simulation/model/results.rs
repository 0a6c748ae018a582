//! What workers report: `complete_task` and `fail_task` (section 6).

use super::history::count;
use super::json::{Fields, Json, Value, one_line, quoted};
use super::messages::{Handled, MALFORMED, PRECONDITION, Refused, UNKNOWN_KEY};
use super::{Accepted, End, Event, FREE_TEXT, Model, OutputLost, TaskState};

impl Model {
    /// `complete_task` `{worker_id, task_id, attempt, timestamp, output, counters?: {name: integer…}}` → `task_completed`
    /// `{task_id, accepted}`, or `task_failed` `{task_id, retry}`
    pub(super) fn complete_task(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        let task_id = body.text("task_id")?;
        let number = body.integer("attempt")?;
        let timestamp = body.integer("timestamp")?;
        let output = body.get("output").ok_or(MALFORMED)?;
        let counters = read_counters(body)?;
        // "20: unknown task."
        let t = self.position_of(&task_id).ok_or(UNKNOWN_KEY)?;
        // "22: an attempt number that this worker was never given."
        // CHOICE: zero and negative numbers as well.
        if !self.tasks[t].was_given(&worker_id, number) {
            return Err(PRECONDITION);
        }
        // "`complete_task` is also a heartbeat."
        self.heard(&worker_id, timestamp);
        let a = self.tasks[t].index_of(number);
        self.tasks[t].attempts[a].reported = true;
        // "Anything else counts as `fail_task` of that attempt, with an error that says so, and is answered as such, also
        // when the task is finished"
        if !self.has_right_shape(t, output) {
            self.hit("wrong output");
            if self.tasks[t].attempts[a].ended.is_none() {
                self.fail_attempt(t, a, false, FREE_TEXT.to_string());
            } else {
                self.hit("wrong output of an attempt no longer live");
            }
            return Ok(self.task_failed(t));
        }
        // "A `complete_task` for the job, accepted or dropped, ends the exclusion and starts the count anew"
        let job_id = self.tasks[t].job_id.clone();
        self.job_mut(&job_id)
            .failed_reports
            .retain(|(worker, _)| *worker != worker_id);

        let accepted = match self.tasks[t].state() {
            // "The first result of a task is accepted, whichever of its attempts it is from, even one that was lost with its
            // worker, failed or timed out" "After an output was lost, the next result is the first again."
            TaskState::Idle | TaskState::Running => {
                let result = Accepted {
                    attempt: number,
                    timestamp,
                    output: one_line(output.raw),
                    counters,
                    lost: None,
                };
                self.accept(t, a, result);
                true
            }
            // "any other is dropped (`accepted: false`). The winner's own repeat gets `true` again."
            TaskState::Completed => {
                let is_repeat = self.tasks[t].winner().expect("completed").attempt == number;
                self.hit(if is_repeat {
                    "winner's own repeat"
                } else {
                    "dropped: completed already"
                });
                is_repeat
            }
            // "Skipped, failed and withdrawn tasks are final: later results are dropped."
            TaskState::Skipped | TaskState::Failed | TaskState::Withdrawn => {
                self.hit("dropped: final");
                false
            }
        };
        // "`duplicates_dropped` the `accepted: false` replies"
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

    /// "The output of a map in a job with R > 0 is an array of exactly R elements, one per partition."
    fn has_right_shape(&self, t: usize, output: &Json) -> bool {
        let partitions = self.job(&self.tasks[t].job_id).settings.reduce_tasks;
        if !self.tasks[t].is_map() || partitions == 0 {
            return true;
        }
        match &output.value {
            Value::List(elements) => count(elements.iter()) == partitions,
            _ => false,
        }
    }

    fn accept(&mut self, t: usize, a: usize, result: Accepted) {
        let from = &self.tasks[t].attempts[a];
        let rule = match from.ended {
            None if from.fetched => "accepted from a live attempt",
            None => "accepted from an attempt not fetched",
            Some(End::Lost) => "accepted from a lost attempt",
            Some(End::Removed) => "accepted from an attempt whose worker was removed",
            Some(End::Failed { .. } | End::MissedInputs) => "accepted from a failed attempt",
            Some(End::TimedOut { .. }) => "accepted from an attempt that had timed out",
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
        for (other, attempt) in self.tasks[t].attempts.iter_mut().enumerate() {
            if attempt.ended.is_none() {
                attempt.ended = Some(if other == a {
                    End::Completed
                } else {
                    End::Superseded
                });
                superseded |= other != a;
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
        let number = body.integer("attempt")?;
        let timestamp = body.integer("timestamp")?;
        let error = body.error_text("error")?;
        let mut lost_inputs: Vec<(String, i64)> = vec![];
        if let Some(given) = body.optional("lost_inputs") {
            for entry in given.as_list()? {
                let entry = entry.as_fields()?;
                lost_inputs.push((entry.text("task_id")?, entry.integer("attempt")?));
            }
        }
        // "20 and 22 as above"
        let t = self.position_of(&task_id).ok_or(UNKNOWN_KEY)?;
        // "(only from a reduce, only maps of its job, 12 otherwise; empty means none)"
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
        if !self.tasks[t].was_given(&worker_id, number) {
            return Err(PRECONDITION);
        }
        // "`fail_task` is also a heartbeat"
        self.heard(&worker_id, timestamp);
        let a = self.tasks[t].index_of(number);
        self.tasks[t].attempts[a].reported = true;

        // "It ends a live attempt; from one no longer live it changes nothing."
        if self.tasks[t].attempts[a].ended.is_some() {
            self.hit("fail_task of an attempt no longer live");
        } else if lost_inputs.is_empty() {
            self.fail_attempt(t, a, false, error);
        } else {
            self.miss_inputs(t, a, lost_inputs, error);
        }
        Ok(self.task_failed(t))
    }

    /// "`retry` is true while the task is unfinished."
    fn task_failed(&mut self, t: usize) -> super::messages::Answer {
        let retry = self.tasks[t].is_unfinished();
        self.hit(if retry { "retry" } else { "no retry" });
        let task_id = quoted(&self.tasks[t].id);
        (
            "task_failed",
            vec![("task_id", task_id), ("retry", retry.to_string())],
        )
    }

    /// "the reduce could not fetch these maps' outputs"
    fn miss_inputs(&mut self, t: usize, a: usize, lost: Vec<(String, i64)>, error: String) {
        self.hit("fail_task with lost_inputs");
        // "Its attempt does not count towards `max_failures`, but it does count for placement."
        self.tasks[t].attempts[a].ended = Some(End::MissedInputs);
        self.mark(t, a);
        let worker_id = self.tasks[t].attempts[a].worker.clone();
        self.remember_failed_report(t, &worker_id);
        // "Those whose winner is still that attempt are lost and queued again, in the order listed, then the reduce."
        // CHOICE: once the job has failed by one of these losses, the outputs listed after it are spared.
        let mut has_lost_one = false;
        for (id, number) in lost {
            if !self.tasks[t].is_unfinished() {
                self.hit("lost input: the job has failed by an earlier one");
                break;
            }
            let map = self.position_of(&id).expect("checked above");
            if self.tasks[map]
                .winner()
                .is_some_and(|winner| winner.attempt == number)
            {
                self.hit("lost input: the winner");
                has_lost_one = true;
                self.lose_output(map, OutputLost::Reported, true);
                self.settle(map);
            } else {
                self.hit("lost input: not the winner");
            }
        }
        if has_lost_one {
            // CHOICE: the report is the reduce's last failure, not counted.
            self.tasks[t].errors.push(error);
        } else {
            // "If this report lost none of them (all were run again since), the reduce's attempt counts as lost."
            self.hit("lost inputs: none, the reduce is lost");
            self.tasks[t].attempts[a].ended = Some(End::Lost);
            self.events.push(Event::Lost);
        }
        self.settle(t);
    }
}

/// "Counters (paper §4.7) are 64-bit integers by name (12 otherwise)." "Of a key given twice in an object the last counts"
fn read_counters(body: &Fields) -> Result<Vec<(String, i64)>, Refused> {
    let Some(given) = body.optional("counters") else {
        return Ok(vec![]);
    };
    let mut counters: Vec<(String, i64)> = vec![];
    for (name, value) in given.as_fields()?.0 {
        let name = name.clone().ok_or(MALFORMED)?;
        counters.retain(|(earlier, _)| *earlier != name);
        counters.push((name, value.as_integer().ok_or(MALFORMED)?));
    }
    Ok(counters)
}
