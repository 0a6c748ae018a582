//! A second, naive implementation of the protocol (`src/protocol.md`, sections 2, 3, 5, 6 and 8).
//!
//! It is written to be checked against the protocol by eye and shares nothing with the master: plain lists in the order
//! in which things became known, linear scans, and as much as possible derived from recorded history. A task has the
//! list of its attempts, each with how it ended, and the list of its accepted results, each with how it was lost;
//! states, limits, counters and barriers are computed from these whenever they are needed.
//!
//! Sentences of the protocol are quoted in `// "…"` comments where they are implemented. `CHOICE:` marks a place where
//! the protocol leaves the answer open.
//!
//! Left out: `snapshot`, whose `state` is the master's own, and `--strict`.
//!
//! Where the protocol leaves a text open, the model prints `"…"`; see [`FREE_TEXT`] and [`matches`].

mod assignment;
mod attempts;
mod failures;
mod heartbeats;
mod history;
mod jobs;
mod json;
mod messages;
mod placement;
mod reassignment;
mod recovery;
mod results;
mod status;
mod stragglers;

use std::collections::BTreeMap;

/// Stands where the protocol leaves the text of a string open: the `text` of an error reply, and the `error` of a job
/// that failed because a task was lost too often, timed out, or had an output of the wrong shape.
pub const FREE_TEXT: &str = "\"…\"";

/// Whether `actual` is the reply that the model expects, with any string in the place of each `"…"`.
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
    /// How many replies were sent in envelopes.
    enveloped_replies: u64,
    /// In the order in which they became known.
    workers: Vec<Worker>,
    /// In the order in which they were submitted.
    jobs: Vec<Job>,
    /// In task order: "the order in which the master came to know the tasks".
    tasks: Vec<Task>,
    /// "Tasks that are queued again wait in one line, first come first out." By id.
    queued_again: Vec<String>,
    /// Stragglers whose backup was not handed out yet, first detected first. By id.
    backups_waiting: Vec<String>,
    /// Everything that `status` counts, since the start.
    events: Vec<Event>,
    /// Whether a job was ever submitted or taken in.
    ever_a_job: bool,
    /// "one above the highest attempt number of any removed task", less one.
    highest_removed_attempt: i64,
    last_check_failures: LastCheck,
    last_check_stragglers: LastCheck,
    /// How often each rule of the model was used.
    pub coverage: BTreeMap<String, u64>,
}

/// The `now` of the check before, which decides whether the next one is old.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum LastCheck {
    #[default]
    None,
    At(i64),
    /// The master was recovered since.
    BeforeRecovery,
}

#[derive(Clone, Debug)]
struct Worker {
    id: String,
    /// None: it was never heard from, or that was forgotten; and no check has timed it yet.
    last_heartbeat: Option<i64>,
    untimed: bool,
    failed: bool,
    heard_since_recovery: bool,
    /// Whether it "has sent a `request_task` since it last failed by a check".
    has_asked: bool,
    /// The largest one heard.
    incarnation: Option<i64>,
}

#[derive(Clone, Debug)]
struct Job {
    id: String,
    /// The tasks as submitted; none for the job of the tasks taken in by `reassign`.
    tasks: Vec<(String, String)>,
    settings: Settings,
    /// Once the job failed: "the id of that task and the error", the latter as a printed JSON string.
    failure: Option<(String, String)>,
    /// The attempts that each worker failed since its count started, oldest first: the worker, and its last heartbeat
    /// then.
    failed_reports: Vec<(String, Option<i64>)>,
    /// When all exclusions from the job ended last, by the clock of the worker that asked.
    exclusions_ended_at: Option<i64>,
}

/// The optional fields of `submit_job`, after defaults.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    reduce_tasks: i64,
    shared_map_output: bool,
    max_failures: i64,
    max_losses: i64,
    max_skipped: i64,
    max_worker_failures: i64,
    avoid_ms: i64,
    task_timeout_ms: Option<i64>,
}

#[derive(Clone, Debug)]
struct Task {
    id: String,
    job_id: String,
    kind: Kind,
    /// The number of its first attempt.
    first_attempt: i64,
    attempts: Vec<Attempt>,
    /// The accepted results, oldest first. Only the last can be the current one.
    results: Vec<Accepted>,
    /// The errors of its failures, as printed JSON strings, in the order in which they came.
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
    number: i64,
    worker: String,
    /// How many attempts there were before this one, in all tasks.
    born: usize,
    fetched: bool,
    /// Whether its worker has reported on it.
    reported: bool,
    /// The `timestamp` of the request that first fetched it. Unknown for the first attempt of a task taken in.
    fetched_at: Option<i64>,
    fetched_since_recovery: bool,
    /// From when on `check_stragglers` takes it to run.
    runs_from: Option<i64>,
    /// None: it is live.
    ended: Option<End>,
    /// What gives its worker a history of the task: its last heartbeat at each such moment.
    marks: Vec<Option<i64>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Completed,
    /// Another attempt's result was accepted.
    Superseded,
    /// By `fail_task` or an output of the wrong shape.
    Failed {
        counted: bool,
    },
    TimedOut {
        counted: bool,
    },
    /// By `fail_task` with `lost_inputs`.
    MissedInputs,
    /// By `check_failures`, `reassign` or a new `incarnation`; and by `lost_inputs` that lost nothing.
    Lost,
    /// By `remove_worker`.
    Removed,
    /// With its task or its job.
    Withdrawn,
}

#[derive(Clone, Debug)]
struct Accepted {
    attempt: i64,
    timestamp: i64,
    output: String,
    counters: Vec<(String, i64)>,
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
    /// In the order in which `job_status_ok` lists them.
    pub const ALL: [TaskState; 6] = [
        TaskState::Idle,
        TaskState::Running,
        TaskState::Completed,
        TaskState::Skipped,
        TaskState::Failed,
        TaskState::Withdrawn,
    ];

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
