//! Which jobs, tasks and attempts there are.

use super::{Attempt, Job, Ledger, Task, text};
use serde_json::Value;
use std::collections::BTreeSet;

impl Ledger {
    /// Learns which jobs and tasks there are from now on: what it takes to look at them.
    pub fn learn_names(&mut self, request: &Value, reply: &Value) {
        match request["type"].as_str() {
            Some("submit_job") if reply["type"] == "job_submitted" => self.learn_job(request),
            Some("remove_job") if reply["type"] == "job_removed" => {
                let id = text(request, "job_id");
                let removed = self.tasks_of(&id).map(|task| task.attempts.len());
                self.attempts_removed += i64::try_from(removed.sum::<usize>()).unwrap_or(i64::MAX);
                let last = self.tasks_of(&id).filter(|task| !task.attempts.is_empty());
                let last = last.map(|task| task.next_number() - 1).max().unwrap_or(0);
                self.highest_removed_attempt = self.highest_removed_attempt.max(last);
                self.jobs.retain(|job| job.id != id);
                self.tasks.retain(|task| task.job_id != id);
            }
            Some("reassign") if reply["type"] == "reassigned" => {
                for task in request["tasks"].as_array().into_iter().flatten() {
                    if self.task(&text(task, "id")).is_none() {
                        self.take_in(task, &text(request, "failed_worker"));
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn add_task(
        &mut self,
        id: String,
        job_id: String,
        chunk: Option<Value>,
        partition: usize,
    ) {
        self.serials += 1;
        self.tasks.push(Task {
            id,
            job_id,
            serial: self.serials,
            chunk,
            partition,
            first_number: self.highest_removed_attempt + 1,
            attempts: vec![],
            history: BTreeSet::new(),
            failed_on: BTreeSet::new(),
            completed_at: 0,
        });
    }

    pub(super) fn learn_job(&mut self, request: &Value) {
        let job = Job::read(request);
        if self.job(&job.id).is_some() {
            return;
        }
        let maps = job.tasks.as_array().into_iter().flatten();
        let maps = maps.map(|task| (text(task, "id"), Some(task["chunk"].clone()), 0));
        let reduces = (0..job.partitions).map(|n| (format!("{}-reduce-{n}", job.id), None, n));
        for (id, chunk, partition) in maps.chain(reduces) {
            let job_id = job.id.clone();
            self.add_task(id, job_id, chunk, partition);
        }
        self.jobs.push(job);
        self.ever_a_job = true;
    }

    pub(super) fn take_in(&mut self, task: &Value, failed_worker: &str) {
        if self.job("").is_none() {
            self.jobs.push(Job::of_tasks_taken_in());
        }
        self.ever_a_job = true;
        let chunk = Some(task["chunk"].clone());
        self.add_task(text(task, "id"), String::new(), chunk, 0);
        let id = text(task, "id");
        self.assign(&id, failed_worker, None);
        if let Some(first) = self
            .tasks
            .last_mut()
            .and_then(|task| task.attempts.first_mut())
        {
            first.fetched = true;
        }
        if let Some(task) = self.task_mut(&id) {
            task.history.insert(failed_worker.to_owned());
        }
    }

    pub(super) fn assign(&mut self, id: &str, worker: &str, fetched_at: Option<i64>) {
        self.assignments += 1;
        let attempt = Attempt {
            worker: worker.to_owned(),
            fetched: fetched_at.is_some(),
            fetched_at,
            runs_from: fetched_at,
            fetched_since_recovery: fetched_at.is_some(),
            reported: false,
            timed_out: false,
            assigned: self.assignments,
        };
        if let Some(task) = self.tasks.iter_mut().find(|task| task.id == id) {
            task.attempts.push(attempt);
        }
    }
}
