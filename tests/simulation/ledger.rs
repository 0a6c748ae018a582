//! What an observer remembers of a conversation with the master: who said what, who was given what, and in which
//! order. It takes the master's word for what became of a task; whether that was right is for the laws to say.

use super::snapshot::{Snapshot, TaskState, TaskView, texts};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Every attempt that was ever handed out, by the id of the task and its number: to whom, and for which job.
    pub handed_out: BTreeMap<(String, i64), (String, usize)>,
    /// Attempts of tasks that were removed with their jobs.
    pub attempts_removed: i64,
    pub ever_a_job: bool,
    highest_removed_attempt: i64,
    last_check_failures: LastCheck,
    last_check_stragglers: LastCheck,
    assignments: usize,
    serials: usize,
}

/// What decides whether a check is old.
#[derive(Clone, Copy, Default)]
enum LastCheck {
    #[default]
    None,
    At(i64),
    BeforeRecovery,
}

impl LastCheck {
    fn makes_old(self, now: i64) -> bool {
        match self {
            Self::None => false,
            Self::At(last) => now <= last,
            Self::BeforeRecovery => true,
        }
    }
}

pub struct Worker {
    pub id: String,
    /// Nothing if it was never heard from, or that was forgotten, and no check has timed it since.
    pub last_heartbeat: Option<i64>,
    /// No check reports it before a check has timed it.
    pub untimed: bool,
    pub failed: bool,
    heard_since_recovery: bool,
    /// Whether it has asked for a task since it last failed by a check.
    pub has_asked: bool,
    incarnation: Option<i64>,
}

pub struct Job {
    pub id: String,
    pub partitions: usize,
    pub shared_output: bool,
    pub max_failures: i64,
    pub max_losses: i64,
    pub max_skipped: i64,
    /// Who failed an attempt of it, and has not completed one since.
    pub failed_by: BTreeSet<String>,
    /// The optional fields about placement and time-outs, as submitted.
    others: [Value; 3],
    /// The tasks as submitted.
    tasks: Value,
}

pub struct Task {
    pub id: String,
    pub job_id: String,
    /// How many tasks there were before it, those removed included.
    pub serial: usize,
    /// Nothing for a reduce.
    pub chunk: Option<Value>,
    pub partition: usize,
    /// The number of its first attempt.
    pub first_number: i64,
    /// In the order of their numbers.
    pub attempts: Vec<Attempt>,
    /// On whom an attempt of it came to a bad end, or its output was lost.
    pub history: BTreeSet<String>,
    /// On whom it has failed or timed out.
    pub failed_on: BTreeSet<String>,
    /// The `timestamp` of the last result that was accepted.
    pub completed_at: i64,
}

pub struct Attempt {
    pub worker: String,
    pub fetched: bool,
    pub fetched_at: Option<i64>,
    /// From when on `check_stragglers` takes it to run.
    pub runs_from: Option<i64>,
    fetched_since_recovery: bool,
    reported: bool,
    pub timed_out: bool,
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
        self.numbered()
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

    pub fn numbered(&self) -> impl Iterator<Item = (i64, &Attempt)> {
        (self.first_number..).zip(&self.attempts)
    }

    /// The number that its next attempt has.
    pub fn next_number(&self) -> i64 {
        self.first_number + i64::try_from(self.attempts.len()).unwrap_or(i64::MAX)
    }

    /// The attempts that this worker was given, without those that nobody ever heard of: they have ended before they
    /// were fetched, and there is a newer one.
    pub fn given_to(&self, worker: &str, seen: &TaskView) -> impl Iterator<Item = (i64, &Attempt)> {
        let last = self.last_given_to(worker).map(|(number, _)| number);
        let is_live = seen.workers.iter().any(|holder| holder == worker);
        let newest = self.next_number() - 1;
        self.numbered().filter(move |(number, attempt)| {
            let is_this_live = is_live && last == Some(*number);
            let was_heard_of = attempt.fetched || attempt.reported;
            attempt.worker == worker && (was_heard_of || is_this_live || *number == newest)
        })
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
            failed_by: BTreeSet::new(),
            others: ["max_worker_failures", "avoid_ms", "task_timeout_ms"]
                .map(|name| request[name].clone()),
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
                job.others.clone(),
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
            worker.untimed |= worker.heard_since_recovery && !worker.failed;
            worker.heard_since_recovery = false;
        }
        for attempt in self.tasks.iter_mut().flat_map(|task| &mut task.attempts) {
            if std::mem::take(&mut attempt.fetched_since_recovery) {
                attempt.runs_from = None;
            }
        }
        self.last_check_failures = LastCheck::BeforeRecovery;
        self.last_check_stragglers = LastCheck::BeforeRecovery;
    }

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

    fn add_task(&mut self, id: String, job_id: String, chunk: Option<Value>, partition: usize) {
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
            self.add_task(id, job_id, chunk, partition);
        }
        self.jobs.push(job);
        self.ever_a_job = true;
    }

    fn take_in(&mut self, task: &Value, failed_worker: &str) {
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

    fn assign(&mut self, id: &str, worker: &str, fetched_at: Option<i64>) {
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

    /// Learns what a message has changed.
    pub fn learn(&mut self, request: &Value, reply: &Value, before: &Snapshot, after: &Snapshot) {
        if reply["type"] == "error" {
            return;
        }
        match request["type"].as_str().unwrap_or_default() {
            "heartbeat" => self.hear(request),
            "fail_task" => {
                self.hear(request);
                self.learn_report(request, reply, before);
            }
            "request_task" => {
                self.hear(request);
                let id = text(request, "worker_id");
                if let Some(worker) = self.workers.iter_mut().find(|it| it.id == id) {
                    worker.has_asked = true;
                }
                self.learn_assignment(
                    &text(request, "worker_id"),
                    &request["timestamp"],
                    &reply["task"],
                );
            }
            "complete_task" => {
                self.hear(request);
                self.learn_report(request, reply, before);
                let was_unfinished = seen(before, &text(request, "task_id"))
                    .is_some_and(|task| task.state.is_unfinished());
                if was_unfinished && let Some(task) = self.task_mut(&text(request, "task_id")) {
                    task.completed_at = request["timestamp"].as_i64().unwrap_or_default();
                }
            }
            "check_failures" => self.learn_check(request, reply),
            "remove_worker" => self
                .workers
                .retain(|worker| worker.id != request["worker_id"]),
            "reassign" => self.learn_reassignment(request, reply, after),
            "check_stragglers" => {
                self.time_attempts(request, before);
                self.learn_time_outs(reply, before, after);
                for straggler in texts(&reply["tasks"]).unwrap_or_default() {
                    if !self.backups.contains(&straggler) {
                        self.backups.push(straggler);
                    }
                }
            }
            _ => {}
        }
        self.learn_history(before, after);
        self.learn_lines(request, before, after);
        self.forget_silent(request, reply);
    }

    /// Whoever held an attempt and holds it no more without a result has a history of the task; so has whoever held
    /// its output.
    fn learn_history(&mut self, before: &Snapshot, after: &Snapshot) {
        for task in &mut self.tasks {
            let (Some(was), Some(is)) = (seen(before, &task.id), seen(after, &task.id)) else {
                continue;
            };
            let gone = was.workers.iter().filter(|id| !is.workers.contains(id));
            task.history.extend(gone.cloned());
            let winner = was.winner.iter().map(|(id, _)| id);
            task.history
                .extend(winner.filter(|_| is.winner.is_none()).cloned());
        }
    }

    fn learn_report(&mut self, request: &Value, reply: &Value, before: &Snapshot) {
        let (id, worker) = (text(request, "task_id"), text(request, "worker_id"));
        let number = request["attempt"].as_i64().unwrap_or_default();
        let was_held = seen(before, &id).is_some_and(|task| task.workers.contains(&worker));
        let Some(task) = self.task_mut(&id) else {
            return;
        };
        let at = usize::try_from(number - task.first_number).unwrap_or(usize::MAX);
        if let Some(attempt) = task.attempts.get_mut(at) {
            attempt.reported = true;
        }
        let has_failed = reply["type"] == "task_failed";
        let names_inputs = request["lost_inputs"]
            .as_array()
            .is_some_and(|inputs| !inputs.is_empty());
        if has_failed && was_held && !names_inputs {
            task.failed_on.insert(worker.clone());
        }
        let job_id = task.job_id.clone();
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == job_id) {
            if has_failed {
                job.failed_by.insert(worker);
            } else {
                job.failed_by.remove(&worker);
            }
        }
    }

    fn learn_check(&mut self, request: &Value, reply: &Value) {
        let number = |name: &str| request[name].as_i64();
        let now = number("now").unwrap_or_default();
        let timeout_ms = number("timeout_ms").unwrap_or_default();
        let is_old = self.last_check_failures.makes_old(now);
        self.last_check_failures = LastCheck::At(now);
        let failed = texts(&reply["failed_workers"]).unwrap_or_default();
        for worker in &mut self.workers {
            if failed.contains(&worker.id) {
                if !worker.failed {
                    worker.incarnation = None;
                    worker.has_asked = false;
                }
                worker.failed = true;
            } else if is_old {
            } else if worker
                .last_heartbeat
                .is_some_and(|last| difference(last, now) > i128::from(timeout_ms))
            {
                worker.last_heartbeat = None;
                worker.untimed = true;
            } else if worker.untimed {
                worker.last_heartbeat = worker.last_heartbeat.max(Some(now));
                worker.untimed = false;
            }
        }
    }

    /// Forgets the workers that a check reports, and that have been silent for longer than it says.
    fn forget_silent(&mut self, request: &Value, reply: &Value) {
        let number = |name: &str| request[name].as_i64();
        let (Some(now), Some(remove_after_ms)) = (number("now"), number("remove_after_ms")) else {
            return;
        };
        let failed = texts(&reply["failed_workers"]).unwrap_or_default();
        let is_forgotten = |worker: &Worker| {
            let silence = worker.last_heartbeat.map(|last| difference(now, last));
            failed.contains(&worker.id) && silence > Some(i128::from(remove_after_ms))
        };
        self.workers.retain(|worker| !is_forgotten(worker));
    }

    /// From when on live attempts run, if a check that is not old sees them.
    fn time_attempts(&mut self, request: &Value, before: &Snapshot) {
        let now = request["now"].as_i64().unwrap_or_default();
        let is_old = self.last_check_stragglers.makes_old(now);
        self.last_check_stragglers = LastCheck::At(now);
        if is_old {
            return;
        }
        for task in &mut self.tasks {
            let live: Vec<usize> = seen(before, &task.id)
                .into_iter()
                .flat_map(|seen| &seen.workers)
                .filter_map(|worker| task.attempts.iter().rposition(|it| it.worker == *worker))
                .collect();
            for at in live {
                let attempt = &mut task.attempts[at];
                attempt.runs_from = Some(attempt.runs_from.map_or(now, |from| from.min(now)));
            }
        }
    }

    fn learn_time_outs(&mut self, reply: &Value, before: &Snapshot, after: &Snapshot) {
        for id in texts(&reply["timed_out"]).unwrap_or_default() {
            let (Some(was), Some(is)) = (seen(before, &id), seen(after, &id)) else {
                continue;
            };
            let gone = was.workers.iter().filter(|id| !is.workers.contains(id));
            let gone: Vec<String> = gone.cloned().collect();
            let Some(task) = self.task_mut(&id) else {
                continue;
            };
            for worker in &gone {
                let attempts = &mut task.attempts;
                if let Some(at) = attempts.iter().rposition(|it| it.worker == *worker) {
                    attempts[at].timed_out = true;
                }
            }
            task.failed_on.extend(gone.iter().cloned());
            let job_id = task.job_id.clone();
            if let Some(job) = self.jobs.iter_mut().find(|job| job.id == job_id) {
                job.failed_by.extend(gone);
            }
        }
    }

    /// Since when an attempt runs that this check of stragglers sees. Nothing: it starts now, or is not known.
    pub fn runs_from(&self, attempt: &Attempt, now: i64) -> Option<i64> {
        let is_old = self.last_check_stragglers.makes_old(now);
        let from = attempt.runs_from?;
        Some(if is_old { from } else { from.min(now) })
    }

    /// Whether somebody else is there to whom a task could go.
    pub fn has_another_healthy(&self, id: &str) -> bool {
        let mut others = self.workers.iter().filter(|worker| worker.id != id);
        others.any(|worker| !worker.failed)
    }

    /// Whether this message says that its worker was started again.
    pub fn is_restart(&self, request: &Value) -> bool {
        let known = self.worker(&text(request, "worker_id"));
        let known = known.and_then(|worker| worker.incarnation);
        known.is_some() && request["incarnation"].as_i64() > known
    }

    fn hear(&mut self, request: &Value) {
        if self.is_restart(request) {
            let worker = text(request, "worker_id");
            for job in &mut self.jobs {
                job.failed_by.remove(&worker);
            }
        }
        let id = text(request, "worker_id");
        let timestamp = request["timestamp"].as_i64();
        self.make_known(&id);
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) {
            worker.last_heartbeat = worker.last_heartbeat.max(timestamp);
            worker.untimed = false;
            worker.failed = false;
            worker.heard_since_recovery = true;
            worker.incarnation = worker.incarnation.max(request["incarnation"].as_i64());
        }
    }

    fn make_known(&mut self, id: &str) {
        if self.worker(id).is_none() {
            self.workers.push(Worker {
                id: id.to_owned(),
                last_heartbeat: None,
                untimed: true,
                failed: false,
                heard_since_recovery: false,
                has_asked: false,
                incarnation: None,
            });
        }
    }

    fn learn_assignment(&mut self, worker: &str, timestamp: &Value, handed: &Value) {
        let (Some(id), timestamp) = (handed["id"].as_str(), timestamp.as_i64()) else {
            return;
        };
        let number = handed["attempt"].as_i64();
        if let (Some(number), Some(serial)) = (number, self.task(id).map(|task| task.serial)) {
            self.handed_out
                .insert((id.to_owned(), number), (worker.to_owned(), serial));
        }
        let Some(task) = self.task_mut(id) else {
            return;
        };
        let known = (task.first_number..)
            .zip(&mut task.attempts)
            .find(|(known, _)| Some(*known) == number);
        match known {
            Some((_, attempt)) if attempt.fetched => {}
            Some((_, attempt)) => {
                (attempt.fetched, attempt.fetched_at) = (true, timestamp);
                (attempt.runs_from, attempt.fetched_since_recovery) = (timestamp, true);
            }
            None => self.assign(id, worker, timestamp),
        }
    }

    fn learn_reassignment(&mut self, request: &Value, reply: &Value, after: &Snapshot) {
        let healthy = text(request, "healthy_worker");
        for id in texts(&reply["reassigned_tasks"]).unwrap_or_default() {
            let known = self.task(&id).map_or(0, |task| task.attempts.len());
            if seen(after, &id).is_some_and(|task| task.attempts > known) {
                self.assign(&id, &healthy, None);
                self.make_known(&healthy);
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
                _ if request["type"] == "check_stragglers" => (0, false, &task.id),
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

/// Without an overflow.
pub fn difference(later: i64, earlier: i64) -> i128 {
    i128::from(later) - i128::from(earlier)
}

/// What was seen of a task.
pub fn seen<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s TaskView> {
    snapshot.tasks.get(id).map(|task| &**task)
}

/// A field that is a string.
pub fn text(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap_or_default().to_owned()
}
