//! What can be asked of the master: one variant a message type, one row of [`Request::read`] for its fields.

use super::ErrorCode;
use super::fields::{Field, Fields, Value, read_fields, read_string};
use super::{Error, Quoted};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

/// Opaque JSON, a chunk or an output: its text as it came, on one line.
pub type Json<'a> = Cow<'a, RawValue>;

/// The most reduce tasks that a job may have.
pub const MAX_REDUCE_TASKS: u32 = 1_000_000;

/// The most memory that the names of a job's reduce tasks may take, in bytes: each holds the job's id, and a
/// long one would fill any memory.
const MAX_REDUCE_NAME_BYTES: usize = 1 << 30;

/// A request, with every field checked that can be checked without looking at the master's state. Times and
/// durations are in ms; the sections of the protocol are 5 (workers) and 6 (jobs and tasks).
#[derive(Debug)]
pub enum Request<'a> {
    Init {
        node_id: Cow<'a, str>,
    },
    Heartbeat {
        worker_id: Cow<'a, str>,
        timestamp: i64,
    },
    CheckFailures {
        timeout_ms: i64,
        now: i64,
    },
    Reassign {
        failed_worker: Cow<'a, str>,
        healthy_worker: Cow<'a, str>,
        tasks: Option<Vec<TaskSpec<'a>>>,
    },
    RemoveWorker {
        worker_id: Cow<'a, str>,
    },
    SubmitJob(NewJob<'a>),
    RequestTask {
        worker_id: Cow<'a, str>,
        timestamp: i64,
        running: Vec<Cow<'a, str>>,
    },
    CompleteTask {
        worker_id: Cow<'a, str>,
        task_id: Cow<'a, str>,
        attempt: i64,
        timestamp: i64,
        output: Json<'a>,
    },
    FailTask {
        worker_id: Cow<'a, str>,
        task_id: Cow<'a, str>,
        attempt: i64,
        timestamp: i64,
        error: Cow<'a, str>,
        lost_inputs: Vec<LostInput<'a>>,
    },
    CheckStragglers {
        now: i64,
        slow_after_ms: Option<i64>,
    },
    JobStatus {
        job_id: Cow<'a, str>,
    },
    TaskStatus {
        task_id: Cow<'a, str>,
    },
    Status,
    RemoveJob {
        job_id: Cow<'a, str>,
    },
}

/// A map task as it is submitted, or taken in by `reassign`.
#[derive(Debug)]
pub struct TaskSpec<'a> {
    pub id: Cow<'a, str>,
    pub chunk: Json<'a>,
}

/// What `submit_job` asks for, after defaults.
#[derive(Debug)]
pub struct NewJob<'a> {
    pub job_id: Cow<'a, str>,
    pub tasks: Vec<TaskSpec<'a>>,
    /// Count of reduce tasks, 0 to [`MAX_REDUCE_TASKS`].
    pub reduce_tasks: u32,
    pub map_output: MapOutput,
    /// Counts; the first two are at least 1.
    pub limits: Limits,
}

/// When a task is given up, and how many of a job may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub max_failures: u64,
    pub max_losses: u64,
    pub max_skipped: u64,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        max_failures: 4,
        max_losses: 16,
        max_skipped: 0,
    };
}

/// Where a job's map outputs live until its reduces have fetched them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapOutput {
    /// On the disk of the worker that made them, and lost with it (paper, §3.3).
    Worker,
    /// Where they survive their worker.
    Shared,
}

/// A map's output that a reduce could not fetch.
#[derive(Debug)]
pub struct LostInput<'a> {
    pub task_id: Cow<'a, str>,
    pub attempt: i64,
}

/// The types of requests, in the order of the protocol's tables.
pub const TYPES: [&str; 14] = [
    "init",
    "heartbeat",
    "check_failures",
    "reassign",
    "remove_worker",
    "submit_job",
    "request_task",
    "complete_task",
    "fail_task",
    "check_stragglers",
    "job_status",
    "task_status",
    "status",
    "remove_job",
];

impl<'a> Request<'a> {
    /// Interprets the fields of a body. Errors: 12 names the field that is missing or wrong, 10 the types
    /// that are known.
    pub fn read(fields: &Fields<'a>) -> Result<Self, Error> {
        use Field as F;
        Ok(match &*fields.string(F::Type)? {
            "init" => {
                fields.optional(F::NodeIds, "a list of strings", read_strings)?;
                Self::Init {
                    node_id: fields.string(F::NodeId)?,
                }
            }
            "heartbeat" => Self::Heartbeat {
                worker_id: fields.string(F::WorkerId)?,
                timestamp: fields.integer(F::Timestamp)?,
            },
            "check_failures" => Self::CheckFailures {
                timeout_ms: fields.duration(F::TimeoutMs)?,
                now: fields.integer(F::Now)?,
            },
            "reassign" => Self::Reassign {
                failed_worker: fields.string(F::FailedWorker)?,
                healthy_worker: fields.string(F::HealthyWorker)?,
                tasks: fields.if_given(F::Tasks, read_tasks)?,
            },
            "remove_worker" => Self::RemoveWorker {
                worker_id: fields.string(F::WorkerId)?,
            },
            "submit_job" => Self::SubmitJob(NewJob::read(fields)?),
            "request_task" => Self::RequestTask {
                worker_id: fields.string(F::WorkerId)?,
                timestamp: fields.integer(F::Timestamp)?,
                running: fields
                    .optional(F::Running, "a list of strings", read_strings)?
                    .unwrap_or_default(),
            },
            "complete_task" => Self::CompleteTask {
                worker_id: fields.string(F::WorkerId)?,
                task_id: fields.string(F::TaskId)?,
                attempt: fields.integer(F::Attempt)?,
                timestamp: fields.integer(F::Timestamp)?,
                output: read_json(fields, F::Output)?,
            },
            "fail_task" => Self::FailTask {
                worker_id: fields.string(F::WorkerId)?,
                task_id: fields.string(F::TaskId)?,
                attempt: fields.integer(F::Attempt)?,
                timestamp: fields.integer(F::Timestamp)?,
                error: fields.string(F::Error)?,
                lost_inputs: fields
                    .if_given(F::LostInputs, read_lost_inputs)?
                    .unwrap_or_default(),
            },
            "check_stragglers" => Self::CheckStragglers {
                now: fields.integer(F::Now)?,
                slow_after_ms: fields.if_given(F::SlowAfterMs, Fields::duration)?,
            },
            "job_status" => Self::JobStatus {
                job_id: fields.string(F::JobId)?,
            },
            "task_status" => Self::TaskStatus {
                task_id: fields.string(F::TaskId)?,
            },
            "status" => Self::Status,
            "remove_job" => Self::RemoveJob {
                job_id: fields.string(F::JobId)?,
            },
            unknown => {
                let text = format!(
                    "unknown type {}; known are {}",
                    Quoted(unknown),
                    TYPES.join(", ")
                );
                return Err(Error::new(ErrorCode::NotSupported, text));
            }
        })
    }

    /// What the request changes, when it is not answered with an error.
    pub fn effect(&self) -> Effect {
        match self {
            Self::JobStatus { .. } | Self::TaskStatus { .. } | Self::Status => Effect::None,
            Self::Heartbeat { .. } => Effect::Heard,
            _ => Effect::Changed,
        }
    }
}

/// What a request changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing.
    None,
    /// When a worker was heard, which it will be again.
    Heard,
    /// Anything else.
    Changed,
}

impl<'a> NewJob<'a> {
    fn read(fields: &Fields<'a>) -> Result<Self, Error> {
        let limit = |field, default, least: i64| {
            let what = if least == 0 {
                "a count"
            } else {
                "a count of at least 1"
            };
            let read = |value: Value<'_>| value.integer().filter(|count| *count >= least);
            let given = fields.optional(field, what, read)?;
            Ok(given.map_or(default, i64::unsigned_abs))
        };
        let job_id = fields.string(Field::JobId)?;
        Ok(Self {
            tasks: read_tasks(fields, Field::Tasks)?,
            reduce_tasks: fields
                .optional(
                    Field::ReduceTasks,
                    "a count of at most 1,000,000, with names of at most 1 GiB in all",
                    |value| {
                        let count = usize::try_from(value.integer()?).ok()?;
                        let name_bytes = job_id.len() + "-reduce-".len();
                        let is_small = count.checked_mul(name_bytes)? <= MAX_REDUCE_NAME_BYTES;
                        u32::try_from(count)
                            .ok()
                            .filter(|count| *count <= MAX_REDUCE_TASKS && is_small)
                    },
                )?
                .unwrap_or(0),
            map_output: fields
                .optional(
                    Field::MapOutput,
                    "\"worker\" or \"shared\"",
                    |value| match &*value.text()? {
                        "worker" => Some(MapOutput::Worker),
                        "shared" => Some(MapOutput::Shared),
                        _ => None,
                    },
                )?
                .unwrap_or(MapOutput::Worker),
            limits: Limits {
                max_failures: limit(Field::MaxFailures, Limits::DEFAULT.max_failures, 1)?,
                max_losses: limit(Field::MaxLosses, Limits::DEFAULT.max_losses, 1)?,
                max_skipped: limit(Field::MaxSkipped, Limits::DEFAULT.max_skipped, 0)?,
            },
            job_id,
        })
    }
}

/// Opaque JSON as it came, any value, `null` included; on one line.
fn read_json<'a>(fields: &Fields<'a>, field: Field) -> Result<Json<'a>, Error> {
    let value = fields.required(field, "given", Value::json)?;
    Ok(match on_one_line(value.get().as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(value),
        Cow::Owned(line) => {
            let line = String::from_utf8(line)
                .ok()
                .and_then(|line| RawValue::from_string(line).ok());
            line.map_or(Cow::Borrowed(value), Cow::Owned)
        }
    })
}

/// JSON with its blanks around line breaks taken out: one space is left of them after `,` and `:`, as in our
/// replies, and none elsewhere. Neither in strings nor in other tokens can there be a line break.
pub fn on_one_line(json: &[u8]) -> Cow<'_, [u8]> {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    // Without a branch a byte, so that it is done many bytes at a time.
    if json
        .iter()
        .fold(0, |found, byte| found | u8::from(is_break(byte)))
        == 0
    {
        return Cow::Borrowed(json);
    }
    let mut line = Vec::with_capacity(json.len());
    for piece in json.split(is_break) {
        line.truncate(line.trim_ascii_end().len());
        let piece = piece.trim_ascii_start();
        if line.ends_with(b",") || line.ends_with(b":") {
            line.push(b' ');
        }
        line.extend_from_slice(piece);
    }
    Cow::Owned(line)
}

/// The elements of a JSON array, each read by `read`; `None` where it is no array or an element is wrong.
fn read_list<'a, T>(
    value: &'a RawValue,
    read: impl Fn(&'a RawValue) -> Option<T>,
) -> Option<Vec<T>> {
    struct ListVisitor<F>(F);

    impl<'a, T, F: Fn(&'a RawValue) -> Option<T>> Visitor<'a> for ListVisitor<F> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = elements.next_element()? {
                list.push((self.0)(element).ok_or_else(|| A::Error::custom("a wrong element"))?);
            }
            Ok(list)
        }
    }

    let mut json = serde_json::Deserializer::from_str(value.get());
    serde::Deserializer::deserialize_seq(&mut json, ListVisitor(read)).ok()
}

fn read_strings(value: Value<'_>) -> Option<Vec<Cow<'_, str>>> {
    read_list(value.json()?, read_string)
}

fn read_tasks<'a>(fields: &Fields<'a>, field: Field) -> Result<Vec<TaskSpec<'a>>, Error> {
    fields.required(
        field,
        "a list of objects, each with a string id and a chunk",
        |value| {
            read_list(value.json()?, |element| {
                let fields = read_fields(element.get())?;
                Some(TaskSpec {
                    id: fields.string(Field::Id).ok()?,
                    chunk: read_json(&fields, Field::Chunk).ok()?,
                })
            })
        },
    )
}

fn read_lost_inputs<'a>(fields: &Fields<'a>, field: Field) -> Result<Vec<LostInput<'a>>, Error> {
    fields.required(
        field,
        "a list of objects, each with a string task_id and an integer attempt",
        |value| {
            read_list(value.json()?, |element| {
                let fields = read_fields(element.get())?;
                Some(LostInput {
                    task_id: fields.string(Field::TaskId).ok()?,
                    attempt: fields.integer(Field::Attempt).ok()?,
                })
            })
        },
    )
}

/// The elements of an array of exactly `count` as they came; `None` for anything else, found out as soon as
/// there are more.
pub fn read_array(value: &RawValue, count: usize) -> Option<Vec<&RawValue>> {
    let left = Cell::new(count);
    let elements = read_list(value, |element| {
        left.set(left.get().checked_sub(1)?);
        Some(element)
    })?;
    (left.get() == 0).then_some(elements)
}
