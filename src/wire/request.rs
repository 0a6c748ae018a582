//! Requests: one variant per message type, and one arm of [`Request::read`] for its fields.

use super::ErrorCode;
use super::fields::{Field, Fields, Value, read_fields, read_string};
use super::{Error, Quoted};
use crate::nearest::nearest_first;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

/// Opaque JSON, a chunk or an output: its original text, on one line.
pub type Json<'a> = Cow<'a, RawValue>;

/// The most reduce tasks that a job may have.
pub const MAX_REDUCE_TASKS: u32 = 1_000_000;

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
        incarnation: Option<i64>,
        running: Vec<Cow<'a, str>>,
    },
    CheckFailures(CheckFailures),
    Reassign {
        failed_worker: Cow<'a, str>,
        healthy_worker: Cow<'a, str>,
        tasks: Option<Vec<TaskSpec<'a>>>,
    },
    RemoveWorker {
        worker_id: Cow<'a, str>,
    },
    Snapshot,
    ListWorkers,
    SubmitJob(NewJob<'a>),
    RequestTask(RequestTask<'a>),
    CompleteTask(CompleteTask<'a>),
    FailTask(FailTask<'a>),
    CheckStragglers(CheckStragglers),
    JobStatus {
        job_id: Cow<'a, str>,
    },
    TaskStatus {
        task_id: Cow<'a, str>,
    },
    Status,
    ListJobs,
    RemoveJob {
        job_id: Cow<'a, str>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct CheckFailures {
    pub timeout_ms: i64,
    pub now: i64,
    /// Count of healthy workers.
    pub max_failed: Option<u64>,
    pub remove_after_ms: Option<i64>,
}

#[derive(Debug)]
pub struct RequestTask<'a> {
    pub worker_id: Cow<'a, str>,
    pub timestamp: i64,
    pub incarnation: Option<i64>,
    /// Ids of tasks.
    pub running: Vec<Cow<'a, str>>,
}

/// The attempt on which a worker reports, and when.
#[derive(Debug)]
pub struct Report<'a> {
    pub worker_id: Cow<'a, str>,
    pub task_id: Cow<'a, str>,
    pub attempt: i64,
    pub timestamp: i64,
}

#[derive(Debug)]
pub struct CompleteTask<'a> {
    pub report: Report<'a>,
    pub output: Json<'a>,
    pub counters: BTreeMap<Box<str>, i64>,
}

#[derive(Debug)]
pub struct FailTask<'a> {
    pub report: Report<'a>,
    /// A JSON string.
    pub error: Box<RawValue>,
    pub lost_inputs: Vec<LostInput<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct CheckStragglers {
    pub now: i64,
    pub slow_after_ms: Option<i64>,
    pub min_run_ms: i64,
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
    pub options: JobOptions,
}

/// How a job is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobOptions {
    pub map_output: MapOutput,
    /// Counts; all but `max_skipped` are at least 1.
    pub max_failures: u64,
    pub max_losses: u64,
    pub max_skipped: u64,
    pub max_worker_failures: u64,
    pub avoid_ms: i64,
    pub task_timeout_ms: Option<i64>,
}

impl JobOptions {
    pub const DEFAULT: Self = Self {
        map_output: MapOutput::Worker,
        max_failures: 4,
        max_losses: 16,
        max_skipped: 0,
        max_worker_failures: 3,
        avoid_ms: 60_000,
        task_timeout_ms: None,
    };

    /// Of the job of the tasks taken in by `reassign`.
    pub const TAKEN_IN: Self = Self {
        max_skipped: u64::MAX,
        ..Self::DEFAULT
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
pub const TYPES: [&str; 17] = [
    "init",
    "heartbeat",
    "check_failures",
    "reassign",
    "remove_worker",
    "snapshot",
    "list_workers",
    "submit_job",
    "request_task",
    "complete_task",
    "fail_task",
    "check_stragglers",
    "job_status",
    "task_status",
    "status",
    "list_jobs",
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
                incarnation: fields.if_given(F::Incarnation, Fields::integer)?,
                running: read_running(fields)?,
            },
            "check_failures" => Self::CheckFailures(CheckFailures {
                timeout_ms: fields.duration(F::TimeoutMs)?,
                now: fields.integer(F::Now)?,
                max_failed: fields.optional(F::MaxFailed, "a count", |value| {
                    value.integer().and_then(to_count)
                })?,
                remove_after_ms: fields.if_given(F::RemoveAfterMs, Fields::duration)?,
            }),
            "reassign" => Self::Reassign {
                failed_worker: fields.string(F::FailedWorker)?,
                healthy_worker: fields.string(F::HealthyWorker)?,
                tasks: fields.if_given(F::Tasks, read_tasks)?,
            },
            "remove_worker" => Self::RemoveWorker {
                worker_id: fields.string(F::WorkerId)?,
            },
            "snapshot" => Self::Snapshot,
            "list_workers" => Self::ListWorkers,
            "submit_job" => Self::SubmitJob(NewJob::read(fields)?),
            "request_task" => Self::RequestTask(RequestTask {
                worker_id: fields.string(F::WorkerId)?,
                timestamp: fields.integer(F::Timestamp)?,
                incarnation: fields.if_given(F::Incarnation, Fields::integer)?,
                running: read_running(fields)?,
            }),
            "complete_task" => Self::CompleteTask(CompleteTask {
                report: Report::read(fields)?,
                output: read_json(fields, F::Output)?,
                counters: fields
                    .optional(F::Counters, "an object of 64-bit integers", |value| {
                        read_counters(value.json()?)
                    })?
                    .unwrap_or_default(),
            }),
            "fail_task" => Self::FailTask(FailTask {
                report: Report::read(fields)?,
                error: fields.required(F::Error, "a string", |value| read_text(value.json()?))?,
                lost_inputs: fields
                    .if_given(F::LostInputs, read_lost_inputs)?
                    .unwrap_or_default(),
            }),
            "check_stragglers" => Self::CheckStragglers(CheckStragglers {
                now: fields.integer(F::Now)?,
                slow_after_ms: fields.if_given(F::SlowAfterMs, Fields::duration)?,
                min_run_ms: fields
                    .if_given(F::MinRunMs, Fields::duration)?
                    .unwrap_or(100),
            }),
            "job_status" => Self::JobStatus {
                job_id: fields.string(F::JobId)?,
            },
            "task_status" => Self::TaskStatus {
                task_id: fields.string(F::TaskId)?,
            },
            "status" => Self::Status,
            "list_jobs" => Self::ListJobs,
            "remove_job" => Self::RemoveJob {
                job_id: fields.string(F::JobId)?,
            },
            unknown => {
                let text = format!(
                    "unknown type {}; known are {}",
                    Quoted(unknown),
                    nearest_first(unknown, &TYPES).join(", ")
                );
                return Err(Error::new(ErrorCode::NotSupported, text));
            }
        })
    }

    /// The time in the request, in ms: its `timestamp` or its `now`.
    pub fn time(&self) -> Option<i64> {
        match self {
            Self::Heartbeat { timestamp, .. } => Some(*timestamp),
            Self::RequestTask(request) => Some(request.timestamp),
            Self::CompleteTask(result) => Some(result.report.timestamp),
            Self::FailTask(failure) => Some(failure.report.timestamp),
            Self::CheckFailures(check) => Some(check.now),
            Self::CheckStragglers(check) => Some(check.now),
            _ => None,
        }
    }

    /// The worker that claims to send the request: its `worker_id`.
    pub fn sending_worker(&self) -> Option<&str> {
        match self {
            Self::Heartbeat { worker_id, .. } => Some(worker_id),
            Self::RequestTask(request) => Some(&request.worker_id),
            Self::CompleteTask(result) => Some(&result.report.worker_id),
            Self::FailTask(failure) => Some(&failure.report.worker_id),
            _ => None,
        }
    }

    /// Whether the request, if it succeeds, is always journaled. For the others, the master records what they changed
    /// ([`Effect`]).
    pub fn changes_something(&self) -> bool {
        match self {
            Self::Init { .. }
            | Self::Reassign { .. }
            | Self::RemoveWorker { .. }
            | Self::SubmitJob(_)
            | Self::CompleteTask(_)
            | Self::FailTask(_)
            | Self::RemoveJob { .. } => true,
            Self::Heartbeat { .. }
            | Self::RequestTask(_)
            | Self::CheckFailures(_)
            | Self::CheckStragglers(_)
            | Self::Snapshot
            | Self::ListWorkers
            | Self::JobStatus { .. }
            | Self::TaskStatus { .. }
            | Self::Status
            | Self::ListJobs => false,
        }
    }
}

/// What a request has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    #[default]
    None,
    /// Only clocks: when a worker was last heard from, or when a check was made.
    Heard,
    /// Anything else.
    Changed,
}

impl<'a> Report<'a> {
    fn read(fields: &Fields<'a>) -> Result<Self, Error> {
        Ok(Self {
            worker_id: fields.string(Field::WorkerId)?,
            task_id: fields.string(Field::TaskId)?,
            attempt: fields.integer(Field::Attempt)?,
            timestamp: fields.integer(Field::Timestamp)?,
        })
    }
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
        Ok(Self {
            job_id: fields.string(Field::JobId)?,
            tasks: read_tasks(fields, Field::Tasks)?,
            reduce_tasks: fields
                .optional(
                    Field::ReduceTasks,
                    "a count of at most 1,000,000",
                    |value| {
                        let count = u32::try_from(value.integer()?).ok()?;
                        (count <= MAX_REDUCE_TASKS).then_some(count)
                    },
                )?
                .unwrap_or(0),
            options: JobOptions {
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
                    .unwrap_or(JobOptions::DEFAULT.map_output),
                max_failures: limit(Field::MaxFailures, JobOptions::DEFAULT.max_failures, 1)?,
                max_losses: limit(Field::MaxLosses, JobOptions::DEFAULT.max_losses, 1)?,
                max_skipped: limit(Field::MaxSkipped, JobOptions::DEFAULT.max_skipped, 0)?,
                max_worker_failures: limit(
                    Field::MaxWorkerFailures,
                    JobOptions::DEFAULT.max_worker_failures,
                    1,
                )?,
                avoid_ms: fields
                    .if_given(Field::AvoidMs, Fields::duration)?
                    .unwrap_or(JobOptions::DEFAULT.avoid_ms),
                task_timeout_ms: fields.if_given(Field::TaskTimeoutMs, Fields::duration)?,
            },
        })
    }
}

fn to_count(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

fn read_running<'a>(fields: &Fields<'a>) -> Result<Vec<Cow<'a, str>>, Error> {
    let running = fields.optional(Field::Running, "a list of strings", read_strings)?;
    Ok(running.unwrap_or_default())
}

/// A JSON string in canonical form, or unchanged if it contains half of a surrogate pair.
fn read_text(value: &RawValue) -> Option<Box<RawValue>> {
    if !value.get().starts_with('"') {
        return None;
    }
    Some(read_string(value).map_or_else(|| value.to_owned(), |text| json_string(&text)))
}

/// A text as a JSON string.
#[expect(
    clippy::missing_panics_doc,
    reason = "it never panics: any text is a JSON string"
)]
pub fn json_string(text: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(text).expect("any text is a JSON string")
}

fn read_counters(value: &RawValue) -> Option<BTreeMap<Box<str>, i64>> {
    struct CounterVisitor;

    impl<'a> Visitor<'a> for CounterVisitor {
        type Value = BTreeMap<Box<str>, i64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut last: BTreeMap<Box<str>, &'a RawValue> = BTreeMap::new();
            while let Some((name, value)) = map.next_entry()? {
                last.insert(name, value);
            }
            (last.into_iter())
                .map(|(name, value)| match value.get().parse() {
                    Ok(number) => Ok((name, number)),
                    Err(_) => Err(A::Error::custom("a value that is not a 64-bit integer")),
                })
                .collect()
        }
    }

    let mut json = serde_json::Deserializer::from_slice(value.get().as_bytes());
    serde::Deserializer::deserialize_map(&mut json, CounterVisitor).ok()
}

/// Opaque JSON: any value, `null` included, on one line.
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

/// Joins the lines of a JSON text. The blanks around each line break become one space after `,` and `:`, as in the
/// replies, and nothing elsewhere. This is safe because no JSON token contains a line break.
pub fn on_one_line(json: &[u8]) -> Cow<'_, [u8]> {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    // A loop without branches, which the compiler vectorizes.
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

/// The elements of a JSON array, each read by `read`. `None` if the value is not an array or an element is invalid.
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

/// The byte range in the text of each element of a JSON array of exactly `count` elements. `None` for anything else;
/// reading stops at the first element too many.
pub fn split_array(value: &RawValue, count: usize) -> Option<Box<[(u32, u32)]>> {
    let left = Cell::new(count);
    let text = value.get();
    let places = read_list(value, |element| {
        left.set(left.get().checked_sub(1)?);
        let start = element.get().as_ptr() as usize - text.as_ptr() as usize;
        let end = start + element.get().len();
        // A message is shorter than 2^32 bytes.
        Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?))
    })?;
    (left.get() == 0).then(|| places.into())
}
