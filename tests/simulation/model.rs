//! A naive reference model of the wire protocol (`protocol.md`, sections 2 to 6).
//!
//! It is written to be checked against the contract by eye, and to share nothing with a fast program: plain
//! lists in the order in which things became known, linear scans, and as much as possible *derived* from a
//! recorded history: a task has the list of its attempts, each with how it ended, and the list of its accepted
//! results, each with how it was lost; states, limits, counters and barriers are functions of these.
//!
//! Sentences of the contract are cited in `// "…"` comments where they are implemented. `CHOICE:` marks
//! a place where the contract leaves the answer open.
//!
//! Where the contract leaves a text free, the model prints `"…"`, see [`FREE_TEXT`] and [`matches`].

mod assignment;
mod history;
mod jobs;
mod json;
mod messages;
mod recovery;
mod results;
mod stragglers;
mod tasks;
mod workers;

use std::collections::BTreeMap;

/// Stands where the contract leaves the text of a string open: the `text` of an error reply, and the `error` of
/// a job that failed because a task was lost too often.
pub const FREE_TEXT: &str = "\"…\"";

/// Is `actual` the reply `expected` by the model, any string being welcome in the place of each `"…"`?
#[must_use]
pub fn matches(expected: &str, actual: &str) -> bool {
    let Some(at) = expected.find(FREE_TEXT) else {
        return expected == actual;
    };
    let (head, tail) = (&expected[..at], &expected[at + FREE_TEXT.len()..]);
    let Some(rest) = actual.strip_prefix(head) else {
        return false;
    };
    let mut parser = json::Parser { text: rest, at: 0 };
    match parser.string() {
        Some(_) => matches(tail, &rest[parser.at..]),
        None => false,
    }
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    node_id: Option<String>,
    /// How many enveloped replies were sent.
    enveloped_replies: u64,
    /// In the order in which they became known.
    workers: Vec<Worker>,
    jobs: Vec<Job>,
    /// "Task order is the order in which the master came to know the tasks."
    tasks: Vec<Task>,
    /// "Tasks queued again wait in one line, first come first out." By id.
    queued_again: Vec<String>,
    /// Stragglers whose backup was not handed out yet, first detected first. By id.
    backups_waiting: Vec<String>,
    /// All that `status` counts, since the start.
    events: Vec<Event>,
    /// Was ever a job submitted or taken in?
    ever_a_job: bool,
    /// How often each rule of the model was used.
    pub coverage: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
struct Worker {
    id: String,
    /// None: not heard since it is known, or since the master was started again, and not yet seen by a check.
    last_heartbeat: Option<i64>,
    /// The latest that was heard of it before the master was started again.
    heard_before: Option<i64>,
    failed: bool,
}

#[derive(Clone, Debug)]
struct Job {
    id: String,
    /// None for the job of the tasks taken in by `reassign`.
    submission: Option<Submission>,
    /// The printed JSON string of the error that made it fail.
    error: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Submission {
    tasks: Vec<(String, String)>,
    reduce_tasks: i64,
    shared_map_output: bool,
    max_failures: i64,
    max_losses: i64,
    max_skipped: i64,
}

#[derive(Clone, Debug)]
struct Task {
    id: String,
    job_id: String,
    kind: Kind,
    /// Attempt `n` is at `n - 1`.
    attempts: Vec<Attempt>,
    /// The accepted results, oldest first. Only the last can be the current one.
    results: Vec<Accepted>,
    /// The errors of the `fail_task`s that ended an attempt, in the order of their arrival.
    errors: Vec<String>,
    verdict: Option<Verdict>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Map { chunk: String },
    Reduce { partition: i64 },
}

#[derive(Clone, Debug)]
struct Attempt {
    worker: String,
    /// How many attempts there were before this one, in all tasks.
    born: usize,
    fetched: bool,
    /// The `timestamp` of the request that first fetched it. Unknown for the first attempt of a task taken in.
    fetched_at: Option<i64>,
    /// None: it is live.
    ended: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Completed,
    /// Another attempt's result was accepted.
    Superseded,
    /// By `fail_task`.
    Failed,
    /// By `fail_task` with `lost_inputs`: "its attempt does not count as failed".
    FailedByInputs,
    /// With its worker, by `check_failures`, `reassign` or `remove_worker`.
    Lost,
    /// With its job.
    Withdrawn,
}

#[derive(Clone, Debug)]
struct Accepted {
    attempt: i64,
    timestamp: i64,
    output: String,
    lost: Option<OutputLost>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum OutputLost {
    WithItsWorker,
    Reported,
}

/// How a task ended without a result. "Skipped, failed and withdrawn tasks are final."
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Skipped,
    Failed,
    Withdrawn,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Started,
    Completed,
    Failed,
    Lost,
    Speculative,
    DuplicateDropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    Idle,
    Running,
    Completed,
    Skipped,
    Failed,
    Withdrawn,
}

impl TaskState {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Idle => "idle",
            TaskState::Running => "running",
            TaskState::Completed => "completed",
            TaskState::Skipped => "skipped",
            TaskState::Failed => "failed",
            TaskState::Withdrawn => "withdrawn",
        }
    }

    #[must_use]
    pub fn is_unfinished(self) -> bool {
        self == TaskState::Idle || self == TaskState::Running
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Running,
    Completed,
    Failed,
}

impl JobState {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Completed => "completed",
            JobState::Failed => "failed",
        }
    }
}
