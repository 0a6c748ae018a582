//! `reassign` (section 5).

use super::json::{Fields, ids_and_chunks, list, quoted};
use super::messages::{Handled, PRECONDITION};
use super::{End, Event, Job, Kind, Model, Settings};

impl Model {
    /// `reassign` `{failed_worker, healthy_worker, tasks?: [{id, chunk}…]}` → `reassigned` `{reassigned_tasks: [id…]}`
    pub(super) fn reassign(&mut self, body: &Fields) -> Handled {
        let failed_worker = body.text("failed_worker")?;
        let healthy_worker = body.text("healthy_worker")?;
        let given: Option<Vec<(String, String)>> = match body.optional("tasks") {
            Some(tasks) => Some(ids_and_chunks(tasks)?),
            None => None,
        };
        // "22 if the two workers are the same, or if the healthy one has failed by a check and was not heard from since."
        if failed_worker == healthy_worker {
            self.hit("reassign: the same worker");
            return Err(PRECONDITION);
        }
        if self
            .worker(&healthy_worker)
            .is_some_and(|worker| worker.failed)
        {
            self.hit("reassign: to a failed worker");
            return Err(PRECONDITION);
        }
        let mut listed: Vec<String> = vec![];
        for (id, chunk) in self.tasks_to_reassign(given, &failed_worker) {
            if self.position_of(&id).is_none() {
                let chunk = chunk.expect("only a listed task can be unknown");
                self.take_in(&id, chunk, &failed_worker);
            }
            if self.reassign_task(&id, &failed_worker, &healthy_worker) {
                listed.push(id);
            }
        }
        // "Left out, too: tasks that are given up, or withdrawn because the job failed, by this very request. The reply
        // lists what the healthy worker has to do when the request is done."
        let mut reassigned = vec![];
        for id in listed {
            let t = self.position_of(&id).expect("it is known");
            if self.tasks[t].live_on(&healthy_worker).is_some() {
                reassigned.push(quoted(&id));
            } else {
                self.hit("reassign: task withdrawn by the same request");
            }
        }
        Ok(("reassigned", vec![("reassigned_tasks", list(reassigned))]))
    }

    /// Each once, with its chunk if that was sent.
    fn tasks_to_reassign(
        &mut self,
        given: Option<Vec<(String, String)>>,
        failed_worker: &str,
    ) -> Vec<(String, Option<String>)> {
        let mut candidates: Vec<(String, Option<String>)> = vec![];
        if let Some(given) = given {
            // "With `tasks`: those, in that order, each once."
            self.hit("reassign with tasks");
            for (id, chunk) in given {
                if candidates.iter().any(|(earlier, _)| *earlier == id) {
                    self.hit("reassign: a task listed twice");
                } else {
                    candidates.push((id, Some(chunk)));
                }
            }
        } else {
            // "Without `tasks`: every unfinished task whose most recent attempt is or was on the failed worker, in task
            // order."
            self.hit("reassign without tasks");
            for task in &self.tasks {
                if let Some(most_recent) = task.attempts.last()
                    && task.is_unfinished()
                    && most_recent.worker == failed_worker
                {
                    candidates.push((task.id.clone(), None));
                }
            }
        }
        candidates
    }

    /// Whether the task is the healthy worker's now.
    fn reassign_task(&mut self, id: &str, failed_worker: &str, healthy_worker: &str) -> bool {
        let t = self.position_of(id).expect("it is known");
        // "Left out of the reply and untouched: finished tasks, and tasks with a live attempt on a third worker."
        if !self.tasks[t].is_unfinished() {
            self.hit("reassign: finished task left out");
            return false;
        }
        if self.tasks[t]
            .live()
            .iter()
            .any(|attempt| attempt.worker != failed_worker && attempt.worker != healthy_worker)
        {
            self.hit("reassign: task on a third worker left out");
            return false;
        }
        // "Their live attempts on the failed worker are lost."
        self.lose_attempt(t, failed_worker, End::Lost);
        // "each as a new attempt (unless it already has a live one there)" "Repeated, it starts nothing twice"
        if self.tasks[t].live_on(healthy_worker).is_some() {
            self.hit("reassign: live there already");
            return true;
        }
        // "Left out, too: tasks that are given up […] by this very request."
        if self.is_at_its_limits(t) {
            self.hit("reassign: task given up instead");
            self.give_up(t);
            return false;
        }
        // "A task that waits in the queue is taken out of it." A waiting backup "is dropped when the task […] is reassigned".
        if self.queued_again.iter().any(|queued| queued == id) {
            self.hit("reassign: task taken out of the queue");
        }
        if self.backups_waiting.iter().any(|waiting| waiting == id) {
            self.hit("reassign: waiting backup dropped");
        }
        if !self.tasks[t].is_map() {
            self.hit("reassign: a reduce task");
        }
        if self.tasks[t].attempts.is_empty() {
            self.hit("reassign: a task never handed out");
        }
        self.leave_the_lines(t);
        // "or from a `reassign` that gives it a task"
        self.make_known(healthy_worker);
        self.start_attempt(t, healthy_worker);
        true
    }

    /// "An unknown task is taken in with its chunk; the failed worker's run counts as its first attempt, fetched and lost."
    /// CHOICE: it counts as an attempt started, too. The failed worker does not become known by it.
    fn take_in(&mut self, id: &str, chunk: String, failed_worker: &str) {
        // "Tasks taken in by `reassign` form a job of their own with the id `""` […] It exists from the first such task on
        // (and again after `remove_job`)"
        if !self.jobs.iter().any(|job| job.id.is_empty()) {
            // "no reduce tasks, no limit on skipped tasks, other limits at their defaults"
            let settings = Settings {
                max_skipped: i64::MAX,
                ..Settings::default()
            };
            self.jobs.push(Job::new(String::new(), vec![], settings));
            self.hit("the job of tasks taken in appears");
        }
        self.ever_a_job = true;
        self.hit("task taken in");
        self.add_task(id.to_string(), String::new(), Kind::Map { chunk });
        let t = self.tasks.len() - 1;
        self.start_attempt(t, failed_worker);
        self.tasks[t].attempts[0].fetched = true;
        self.lose_attempt(t, failed_worker, End::Lost);
        debug_assert!(matches!(self.events.last(), Some(Event::Lost)));
    }
}
