//! What an observer remembers of a conversation with the master: who said what, who was given what, and in which
//! order. It takes the master's word for what became of a task; whether that was right is for the laws to say.

mod checks;
mod learning;
mod names;

use super::snapshot::{Snapshot, TaskView};
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
