//! What the master answers: one variant a reply, its fields in the order in which they are written.

use super::Error;
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io;

/// A reply without its addressing. The sections of the protocol are 5 (workers) and 6 (jobs and tasks).
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Reply<'a> {
    InitOk,
    HeartbeatOk,
    FailuresDetected {
        failed_workers: Vec<&'a str>,
    },
    Reassigned {
        reassigned_tasks: Vec<&'a str>,
    },
    WorkerRemoved,
    JobSubmitted {
        job_id: Cow<'a, str>,
        map_tasks: usize,
        reduce_tasks: usize,
    },
    TaskAssigned {
        task: TaskReply<'a>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        cancel: Vec<Cow<'a, str>>,
    },
    NoTask {
        done: bool,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        cancel: Vec<Cow<'a, str>>,
    },
    TaskCompleted {
        task_id: &'a str,
        accepted: bool,
    },
    TaskFailed {
        task_id: &'a str,
        retry: bool,
    },
    StragglersDetected {
        tasks: Vec<&'a str>,
    },
    JobStatusOk(JobStatus<'a>),
    TaskStatusOk(TaskStatus<'a>),
    StatusOk(Status),
    JobRemoved {
        job_id: Cow<'a, str>,
    },
    Error {
        code: u8,
        text: Cow<'a, str>,
    },
}

impl Reply<'_> {
    /// The `type` of the reply on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InitOk => "init_ok",
            Self::HeartbeatOk => "heartbeat_ok",
            Self::FailuresDetected { .. } => "failures_detected",
            Self::Reassigned { .. } => "reassigned",
            Self::WorkerRemoved => "worker_removed",
            Self::JobSubmitted { .. } => "job_submitted",
            Self::TaskAssigned { .. } => "task_assigned",
            Self::NoTask { .. } => "no_task",
            Self::TaskCompleted { .. } => "task_completed",
            Self::TaskFailed { .. } => "task_failed",
            Self::StragglersDetected { .. } => "stragglers_detected",
            Self::JobStatusOk(_) => "job_status_ok",
            Self::TaskStatusOk(_) => "task_status_ok",
            Self::StatusOk(_) => "status_ok",
            Self::JobRemoved { .. } => "job_removed",
            Self::Error { .. } => "error",
        }
    }
}

impl From<Error> for Reply<'_> {
    fn from(error: Error) -> Self {
        Self::Error {
            code: error.code as u8,
            text: error.text,
        }
    }
}

/// An attempt that is handed to a worker, with all that it needs to run it.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work<'a> {
    Map {
        attempt: u32,
        chunk: &'a RawValue,
        partitions: usize,
    },
    Reduce {
        attempt: u32,
        partition: usize,
        inputs: Vec<Input<'a>>,
    },
}

/// The `task` of `task_assigned`.
#[derive(Debug, Serialize)]
pub struct TaskReply<'a> {
    pub id: &'a str,
    pub job_id: &'a str,
    #[serde(flatten)]
    pub work: Work<'a>,
}

/// A map's output for one partition, its winning attempt, and the worker on which the output lives.
#[derive(Debug, Serialize)]
pub struct Input<'a> {
    pub task_id: &'a str,
    pub attempt: u32,
    pub worker_id: &'a str,
    pub output: &'a RawValue,
}

/// Counts of a job's tasks of one kind, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskCounts {
    pub idle: usize,
    pub running: usize,
    pub completed: usize,
    pub skipped: usize,
}

/// `job_status_ok`.
#[derive(Debug, Serialize)]
pub struct JobStatus<'a> {
    pub job_id: &'a str,
    pub state: &'static str,
    pub map: TaskCounts,
    pub reduce: TaskCounts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<Option<&'a RawValue>>>,
}

/// `task_status_ok`.
#[derive(Debug, Serialize)]
pub struct TaskStatus<'a> {
    pub task_id: &'a str,
    pub job_id: &'a str,
    pub state: &'static str,
    pub attempts: usize,
    pub failures: u64,
    pub losses: u64,
    pub workers: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winner: Option<Winner<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<&'a RawValue>,
}

/// The attempt whose result was accepted.
#[derive(Debug, Serialize)]
pub struct Winner<'a> {
    pub worker_id: &'a str,
    pub attempt: u32,
}

/// `status_ok`.
#[derive(Debug, Serialize)]
pub struct Status {
    pub workers: WorkerCounts,
    pub jobs: JobCounts,
    pub attempts: AttemptCounts,
    pub duplicates_dropped: u64,
}

/// Known workers, by health.
#[derive(Debug, Serialize)]
pub struct WorkerCounts {
    pub healthy: usize,
    pub failed: usize,
}

/// Jobs that are there, by state.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct JobCounts {
    pub running: usize,
    pub completed: usize,
    pub failed: usize,
}

/// Attempts since the start. `completed` counts accepted results; `speculative` the backups handed out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct AttemptCounts {
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    pub lost: u64,
    pub speculative: u64,
}

/// A reply with its addressing inside the body (protocol, section 2).
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg_id: Option<u64>,
    #[serde(flatten)]
    pub reply: &'a Reply<'a>,
}

/// A reply on its way to whoever sent the request in an envelope.
#[derive(Debug, Serialize)]
pub struct Envelope<'a> {
    pub src: &'a str,
    pub dest: &'a RawValue,
    pub body: Body<'a>,
}

/// Appends a reply and its line end to `out`.
pub fn write(reply: &impl Serialize, out: &mut Vec<u8>) -> io::Result<()> {
    reply.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *out, Spaced,
    ))?;
    out.push(b'\n');
    Ok(())
}

/// JSON on one line with `", "` and `": "` as separators, as the course's expected output has it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
