//! What an observer remembers of a conversation with the master: who said what, who was given what, and in which
//! order. It takes the master's word for what became of a task; whether that was right is for the laws to say.

use super::snapshot::{Snapshot, TaskState, TaskView, texts};
use serde_json::Value;

#[derive(Default)]
pub struct Ledger {
    /// In the order in which they became known.
    pub workers: Vec<Worker>,
    pub jobs: Vec<Job>,
    /// In task order.
    pub tasks: Vec<Task>,
    /// The tasks queued again, first come first.
    pub line: Vec<String>,
    /// The stragglers whose backup waits, first detected first.
    pub backups: Vec<String>,
    /// Attempts of tasks that were removed with their jobs.
    pub attempts_removed: i64,
    pub ever_a_job: bool,
    assignments: usize,
}

pub struct Worker {
    pub id: String,
    /// Nothing if it was not heard since the master was started.
    pub last_heartbeat: Option<i64>,
    /// The latest that was heard of it before that.
    pub heard_before: Option<i64>,
    pub failed: bool,
}

pub struct Job {
    pub id: String,
    pub partitions: usize,
    pub shared_output: bool,
    pub max_failures: i64,
    pub max_losses: i64,
    pub max_skipped: i64,
    /// The tasks as submitted.
    tasks: Value,
}

pub struct Task {
    pub id: String,
    pub job_id: String,
    /// Nothing for a reduce.
    pub chunk: Option<Value>,
    pub partition: usize,
    /// Attempt `n` is at `n - 1`.
    pub attempts: Vec<Attempt>,
    /// The `timestamp` of the last result that was accepted.
    pub completed_at: i64,
}

pub struct Attempt {
    pub worker: String,
    pub fetched: bool,
    pub fetched_at: Option<i64>,
    /// Its place among all assignments.
    pub assigned: usize,
}

/// A request, the answer to it, and what was seen of the master before and after.
pub struct Step<'a> {
    pub request: &'a Value,
    pub reply: &'a Value,
    pub before: &'a Snapshot,
    pub after: &'a Snapshot,
    /// What was known before.
    pub ledger: &'a Ledger,
}

impl Task {
    pub fn is_map(&self) -> bool {
        self.chunk.is_some()
    }

    /// The live attempt on that worker: the last one it was given, since it has one at most.
    pub fn last_given_to(&self, worker: &str) -> Option<(i64, &Attempt)> {
        (1..)
            .zip(&self.attempts)
            .filter(|(_, attempt)| attempt.worker == worker)
            .last()
    }

    /// Whether it waits behind the barrier for its job's maps.
    pub fn is_behind_barrier(&self, seen: &Snapshot) -> bool {
        let is_closed = || {
            seen.jobs
                .get(&*self.job_id)
                .is_some_and(|job| !job.is_open())
        };
        !self.is_map() && is_closed()
    }

    pub fn was_given(&self, number: i64, worker: &str) -> bool {
        (1..)
            .zip(&self.attempts)
            .any(|(given, attempt)| given == number && attempt.worker == worker)
    }
}

impl Job {
    fn read(request: &Value) -> Self {
        let number = |name: &str, default| request[name].as_i64().unwrap_or(default);
        Self {
            id: text(request, "job_id"),
            partitions: usize::try_from(number("reduce_tasks", 0)).unwrap_or(0),
            shared_output: request["map_output"] == "shared",
            max_failures: number("max_failures", 4),
            max_losses: number("max_losses", 16),
            max_skipped: number("max_skipped", 0),
            tasks: request["tasks"].clone(),
        }
    }

    fn of_tasks_taken_in() -> Self {
        Self {
            max_skipped: i64::MAX,
            ..Self::read(&Value::Null)
        }
    }

    /// Whether that request submits this job.
    pub fn is_as_submitted(&self, request: &Value) -> bool {
        let other = Self::read(request);
        let facts = |job: &Self| {
            (
                job.partitions,
                job.shared_output,
                job.max_failures,
                job.max_losses,
                job.max_skipped,
            )
        };
        let tasks = |job: &Self| {
            let tasks = job.tasks.as_array().into_iter().flatten();
            tasks
                .map(|task| (task["id"].clone(), task["chunk"].clone()))
                .collect::<Vec<_>>()
        };
        facts(self) == facts(&other) && tasks(self) == tasks(&other)
    }
}

impl Ledger {
    pub fn worker(&self, id: &str) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.id == id)
    }

    pub fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    pub fn tasks_of(&self, job_id: &str) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(move |task| task.job_id == job_id)
    }

    /// The master was killed, and started again from its journal.
    pub fn recover(&mut self) {
        for worker in &mut self.workers {
            worker.heard_before = worker.heard_before.max(worker.last_heartbeat.take());
        }
    }

    /// Learns which jobs and tasks there are from now on: what it takes to look at them.
    pub fn learn_names(&mut self, request: &Value, reply: &Value) {
        match request["type"].as_str() {
            Some("submit_job") if reply["type"] == "job_submitted" => self.learn_job(request),
            Some("remove_job") if reply["type"] == "job_removed" => {
                let id = text(request, "job_id");
                let removed = self.tasks_of(&id).map(|task| task.attempts.len());
                self.attempts_removed += i64::try_from(removed.sum::<usize>()).unwrap_or(i64::MAX);
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

    fn learn_job(&mut self, request: &Value) {
        let job = Job::read(request);
        if self.job(&job.id).is_some() {
            return;
        }
        let maps = job.tasks.as_array().into_iter().flatten();
        let maps = maps.map(|task| (text(task, "id"), Some(task["chunk"].clone()), 0));
        let reduces = (0..job.partitions).map(|n| (format!("{}-reduce-{n}", job.id), None, n));
        for (id, chunk, partition) in maps.chain(reduces) {
            let job_id = job.id.clone();
            self.tasks.push(Task {
                id,
                job_id,
                chunk,
                partition,
                attempts: vec![],
                completed_at: 0,
            });
        }
        self.jobs.push(job);
        self.ever_a_job = true;
    }

    fn take_in(&mut self, task: &Value, failed_worker: &str) {
        if self.job("").is_none() {
            self.jobs.push(Job::of_tasks_taken_in());
        }
        self.ever_a_job = true;
        self.tasks.push(Task {
            id: text(task, "id"),
            job_id: String::new(),
            chunk: Some(task["chunk"].clone()),
            partition: 0,
            attempts: vec![],
            completed_at: 0,
        });
        let id = text(task, "id");
        self.assign(&id, failed_worker, None);
        if let Some(first) = self
            .tasks
            .last_mut()
            .and_then(|task| task.attempts.first_mut())
        {
            first.fetched = true;
        }
    }

    fn assign(&mut self, id: &str, worker: &str, fetched_at: Option<i64>) {
        self.assignments += 1;
        let attempt = Attempt {
            worker: worker.to_owned(),
            fetched: fetched_at.is_some(),
            fetched_at,
            assigned: self.assignments,
        };
        if let Some(task) = self.tasks.iter_mut().find(|task| task.id == id) {
            task.attempts.push(attempt);
        }
    }

    /// Learns what a message has changed.
    pub fn learn(&mut self, request: &Value, reply: &Value, before: &Snapshot, after: &Snapshot) {
        if reply["type"] == "error" {
            return;
        }
        match request["type"].as_str().unwrap_or_default() {
            "heartbeat" | "fail_task" => self.hear(request),
            "request_task" => {
                self.hear(request);
                self.learn_assignment(
                    &text(request, "worker_id"),
                    &request["timestamp"],
                    &reply["task"],
                );
            }
            "complete_task" => {
                self.hear(request);
                let was_unfinished = seen(before, &text(request, "task_id"))
                    .is_some_and(|task| task.state.is_unfinished());
                if was_unfinished && let Some(task) = self.task_mut(&text(request, "task_id")) {
                    task.completed_at = request["timestamp"].as_i64().unwrap_or_default();
                }
            }
            "check_failures" => {
                let failed = texts(&reply["failed_workers"]).unwrap_or_default();
                for worker in &mut self.workers {
                    worker.last_heartbeat = worker
                        .last_heartbeat
                        .or(worker.heard_before.max(request["now"].as_i64()));
                    worker.failed |= failed.contains(&worker.id);
                }
            }
            "remove_worker" => self
                .workers
                .retain(|worker| worker.id != request["worker_id"]),
            "reassign" => self.learn_reassignment(request, reply, after),
            "check_stragglers" => {
                for straggler in texts(&reply["tasks"]).unwrap_or_default() {
                    if !self.backups.contains(&straggler) {
                        self.backups.push(straggler);
                    }
                }
            }
            _ => {}
        }
        self.learn_lines(request, before, after);
    }

    fn hear(&mut self, request: &Value) {
        let id = text(request, "worker_id");
        let timestamp = request["timestamp"].as_i64();
        match self.workers.iter_mut().find(|worker| worker.id == id) {
            Some(worker) => {
                worker.last_heartbeat = worker
                    .last_heartbeat
                    .max(worker.heard_before)
                    .max(timestamp);
                worker.failed = false;
            }
            None => self.workers.push(Worker {
                id,
                last_heartbeat: timestamp,
                heard_before: None,
                failed: false,
            }),
        }
    }

    fn learn_assignment(&mut self, worker: &str, timestamp: &Value, handed: &Value) {
        let (Some(id), timestamp) = (handed["id"].as_str(), timestamp.as_i64()) else {
            return;
        };
        let number = handed["attempt"].as_i64();
        let Some(task) = self.task_mut(id) else {
            return;
        };
        let known = (1..)
            .zip(&mut task.attempts)
            .find(|(known, _)| Some(*known) == number);
        match known {
            Some((_, attempt)) if attempt.fetched => {}
            Some((_, attempt)) => (attempt.fetched, attempt.fetched_at) = (true, timestamp),
            None => self.assign(id, worker, timestamp),
        }
    }

    fn learn_reassignment(&mut self, request: &Value, reply: &Value, after: &Snapshot) {
        let healthy = text(request, "healthy_worker");
        for id in texts(&reply["reassigned_tasks"]).unwrap_or_default() {
            let known = self.task(&id).map_or(0, |task| task.attempts.len());
            if seen(after, &id).is_some_and(|task| task.attempts > known) {
                self.assign(&id, &healthy, None);
                if self.worker(&healthy).is_none() {
                    self.workers.push(Worker {
                        id: healthy.clone(),
                        last_heartbeat: None,
                        heard_before: None,
                        failed: false,
                    });
                }
            }
        }
    }

    /// Learns who waits now. Who came together, came in the order in which it was lost: worker by worker, attempts
    /// before outputs, in task order; or, where inputs were lost, as they were listed, and the reduce last.
    fn learn_lines(&mut self, request: &Value, before: &Snapshot, after: &Snapshot) {
        let waits = |id: &str| {
            seen(after, id).is_some_and(|task| task.state == TaskState::Idle && task.attempts > 0)
        };
        self.line.retain(|id| waits(id));
        let mut came: Vec<(usize, bool, &str)> = vec![];
        for task in self
            .tasks
            .iter()
            .filter(|task| waits(&task.id) && !self.line.contains(&task.id))
        {
            let place_of =
                |worker: &String| self.workers.iter().position(|known| known.id == *worker);
            let listed = request["lost_inputs"].as_array();
            let listed = listed
                .and_then(|listed| listed.iter().position(|input| input["task_id"] == *task.id));
            came.push(match seen(before, &task.id) {
                _ if request["type"] == "fail_task" => {
                    (listed.unwrap_or(usize::MAX), false, &task.id)
                }
                Some(TaskView {
                    winner: Some((worker, _)),
                    ..
                }) => (place_of(worker).unwrap_or_default(), true, &task.id),
                Some(was) => (
                    was.workers
                        .iter()
                        .filter_map(place_of)
                        .max()
                        .unwrap_or_default(),
                    false,
                    &task.id,
                ),
                None => (0, false, &task.id),
            });
        }
        // A stable sort: what ties is in task order already.
        came.sort_by_key(|&(place, is_output, _)| (place, is_output));
        let came: Vec<String> = came.into_iter().map(|(.., id)| id.to_owned()).collect();
        self.line.extend(came);

        self.backups.retain(|id| {
            let attempts = |seen: Option<&TaskView>| seen.map(|task| task.attempts);
            let (was, is) = (seen(before, id), seen(after, id));
            is.is_some_and(|task| task.state == TaskState::Running) && attempts(was) == attempts(is)
        });
    }

    fn task_mut(&mut self, id: &str) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.id == id)
    }
}

/// What was seen of a task.
pub fn seen<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s TaskView> {
    snapshot.tasks.get(id).map(|task| &**task)
}

/// A field that is a string.
pub fn text(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap_or_default().to_owned()
}
