//! Events: what happened in a request, for people. The log prints them, and the timeline draws them.
//!
//! The master builds an event only if it is kept. Events never affect a reply.

use super::state::keys::Kind;
use crate::wire::{MAX_SHOWN_CHARS, Quoted};
use std::fmt;

/// The log shows at most this many events per request, and this many names per event. It counts the rest.
const MAX_LOGGED: usize = 20;

/// Something that happened in one request. Names are ids; times are in ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    WorkerJoined {
        worker: Box<str>,
    },
    /// Detail.
    WorkerHeard {
        worker: Box<str>,
        at: i64,
    },
    WorkerBack {
        worker: Box<str>,
    },
    WorkerFailed {
        worker: Box<str>,
        silent_ms: i128,
        timeout_ms: i64,
        requeued: Names,
    },
    WorkerRestarted {
        worker: Box<str>,
        requeued: Names,
    },
    WorkerRemoved {
        worker: Box<str>,
        requeued: Names,
    },
    /// Removed by a check, after `remove_after_ms`.
    WorkerForgotten {
        worker: Box<str>,
    },
    Reassigned {
        from: Box<str>,
        to: Box<str>,
        tasks: Names,
    },
    /// An attempt failed or timed out, or its inputs were missing.
    TaskFailed {
        task: Box<str>,
        attempt: u64,
        worker: Box<str>,
        /// A JSON string.
        error: Box<str>,
        requeued: Names,
    },
    TaskSkipped {
        task: Box<str>,
    },
    StragglerDetected {
        task: Box<str>,
    },
    ExclusionsEnded {
        job: Box<str>,
    },
    /// Detail.
    JobSubmitted {
        job: Box<str>,
        map_tasks: usize,
        reduce_tasks: usize,
    },
    JobCompleted {
        job: Box<str>,
    },
    JobFailed {
        job: Box<str>,
        task: Box<str>,
        /// A JSON string.
        error: Box<str>,
    },
    /// Detail.
    JobRemoved {
        job: Box<str>,
    },
    /// Detail. Reduces may be handed out from now on.
    BarrierOpened {
        job: Box<str>,
    },
    /// Detail.
    BarrierClosed {
        job: Box<str>,
    },
    /// Detail.
    AttemptStarted {
        task: Box<str>,
        job: Box<str>,
        kind: Kind,
        attempt: u64,
        worker: Box<str>,
        is_backup: bool,
        /// `None` while it only waits for its worker.
        fetched_at: Option<i64>,
    },
    /// Detail.
    AttemptFetched {
        task: Box<str>,
        attempt: u64,
        worker: Box<str>,
        at: i64,
    },
    /// Detail.
    AttemptEnded {
        task: Box<str>,
        attempt: u64,
        worker: Box<str>,
        end: AttemptEnd,
    },
    /// Detail. A result of an attempt that had ended before was accepted.
    LateResultAccepted {
        task: Box<str>,
        attempt: u64,
    },
    /// Detail. The slower duplicate.
    ResultDropped {
        task: Box<str>,
        attempt: u64,
        worker: Box<str>,
    },
    /// Detail.
    OutputLost {
        task: Box<str>,
        attempt: u64,
        worker: Box<str>,
    },
    /// Detail.
    TaskRequeued {
        task: Box<str>,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Its result is the task's.
    Accepted,
    /// Another attempt's result was accepted first.
    Superseded,
    /// Its job ended, or its task was given up.
    Withdrawn,
    Failed,
    TimedOut,
    /// It could not fetch its inputs.
    InputsMissing,
    Lost(LossCause),
}

/// Why an attempt was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// A check failed its worker.
    Failure,
    /// Its worker started again.
    Restart,
    /// Its worker was removed.
    Removal,
    /// Its task was given to another worker.
    Reassignment,
    /// Its inputs were missing, but had been run again since.
    StaleInputs,
}

impl Event {
    /// Truncates the texts of an event to what the log shows of them, since an id may be megabytes long.
    fn shorten(&mut self) {
        let texts: [Option<&mut Box<str>>; 3] = match self {
            Self::WorkerJoined { worker }
            | Self::WorkerBack { worker }
            | Self::WorkerFailed { worker, .. }
            | Self::WorkerRestarted { worker, .. }
            | Self::WorkerRemoved { worker, .. }
            | Self::WorkerForgotten { worker } => [Some(worker), None, None],
            Self::Reassigned { from, to, .. } => [Some(from), Some(to), None],
            Self::TaskFailed {
                task,
                worker,
                error,
                ..
            } => [Some(task), Some(worker), Some(error)],
            Self::TaskSkipped { task } | Self::StragglerDetected { task } => {
                [Some(task), None, None]
            }
            Self::ExclusionsEnded { job } | Self::JobCompleted { job } => [Some(job), None, None],
            Self::JobFailed { job, task, error } => [Some(job), Some(task), Some(error)],
            // Details, which the log does not show.
            _ => [None, None, None],
        };
        for text in texts.into_iter().flatten() {
            let shown = beginning(text);
            if shown.len() < text.len() {
                *text = shown.into();
            }
        }
    }
}

/// As much of a text as the log shows, plus one character, so that [`Quoted`] can tell that it was longer.
fn beginning(text: &str) -> &str {
    match text.char_indices().nth(MAX_SHOWN_CHARS + 1) {
        None => text,
        Some((end, _)) => &text[..end],
    }
}

impl fmt::Display for Event {
    #[expect(
        clippy::too_many_lines,
        reason = "a table: what the log says of each event"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerJoined { worker } => write!(f, "worker {} joined", Quoted(worker)),
            Self::WorkerHeard { worker, at } => {
                write!(f, "worker {} heard at {at}", Quoted(worker))
            }
            Self::WorkerBack { worker } => write!(f, "worker {} is back", Quoted(worker)),
            Self::WorkerFailed {
                worker,
                silent_ms,
                requeued,
                ..
            } => write!(
                f,
                "worker {} failed: silent for {silent_ms} ms; requeued: {requeued}",
                Quoted(worker)
            ),
            Self::WorkerRestarted { worker, requeued } => {
                write!(
                    f,
                    "worker {} restarted; requeued: {requeued}",
                    Quoted(worker)
                )
            }
            Self::WorkerRemoved { worker, requeued } => {
                write!(f, "worker {} removed; requeued: {requeued}", Quoted(worker))
            }
            Self::WorkerForgotten { worker } => {
                write!(f, "worker {} removed: silent for too long", Quoted(worker))
            }
            Self::Reassigned { from, to, tasks } => {
                let (from, to) = (Quoted(from), Quoted(to));
                write!(
                    f,
                    "tasks reassigned from worker {from} to worker {to}: {tasks}"
                )
            }
            Self::TaskFailed {
                task,
                attempt,
                worker,
                error,
                requeued,
            } => write!(
                f,
                "attempt {attempt} of task {} failed on worker {}: {}; requeued: {requeued}",
                Quoted(task),
                Quoted(worker),
                Shortened(error)
            ),
            Self::TaskSkipped { task } => write!(f, "task {} skipped", Quoted(task)),
            Self::StragglerDetected { task } => {
                write!(f, "task {} is a straggler; a backup waits", Quoted(task))
            }
            Self::ExclusionsEnded { job } => write!(
                f,
                "most workers were excluded from job {}; all exclusions ended",
                Quoted(job)
            ),
            Self::JobSubmitted {
                job,
                map_tasks,
                reduce_tasks,
            } => write!(
                f,
                "job {} submitted: {map_tasks} maps, {reduce_tasks} reduces",
                Quoted(job)
            ),
            Self::JobCompleted { job } => write!(f, "job {} completed", Quoted(job)),
            Self::JobFailed { job, task, error } => write!(
                f,
                "job {} failed by task {}: {}",
                Quoted(job),
                Quoted(task),
                Shortened(error)
            ),
            Self::JobRemoved { job } => write!(f, "job {} removed", Quoted(job)),
            Self::BarrierOpened { job } => write!(f, "job {}: all maps done", Quoted(job)),
            Self::BarrierClosed { job } => write!(f, "job {}: maps run again", Quoted(job)),
            Self::AttemptStarted {
                task,
                attempt,
                worker,
                ..
            } => write!(
                f,
                "attempt {attempt} of task {} given to worker {}",
                Quoted(task),
                Quoted(worker)
            ),
            Self::AttemptFetched {
                task,
                attempt,
                worker,
                at,
            } => write!(
                f,
                "attempt {attempt} of task {} fetched by worker {} at {at}",
                Quoted(task),
                Quoted(worker)
            ),
            Self::AttemptEnded {
                task,
                attempt,
                worker,
                end,
            } => write!(
                f,
                "attempt {attempt} of task {} on worker {} ended: {end:?}",
                Quoted(task),
                Quoted(worker)
            ),
            Self::LateResultAccepted { task, attempt } => {
                write!(
                    f,
                    "late result of attempt {attempt} of task {} accepted",
                    Quoted(task)
                )
            }
            Self::ResultDropped {
                task,
                attempt,
                worker,
            } => write!(
                f,
                "result of attempt {attempt} of task {} on worker {} dropped",
                Quoted(task),
                Quoted(worker)
            ),
            Self::OutputLost {
                task,
                attempt,
                worker,
            } => write!(
                f,
                "output of attempt {attempt} of task {} lost on worker {}",
                Quoted(task),
                Quoted(worker)
            ),
            Self::TaskRequeued { task } => write!(f, "task {} requeued", Quoted(task)),
        }
    }
}

/// The beginning of a JSON string, as it came.
struct Shortened<'a>(&'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_SHOWN_CHARS) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
        }
    }
}

/// A list of names, of which only the first few are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    listed: Vec<Box<str>>,
    unlisted: usize,
}

impl Names {
    pub fn push(&mut self, name: &str) {
        if self.listed.len() < MAX_LOGGED {
            self.listed.push(name.into());
        } else {
            self.unlisted += 1;
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.listed.len() + self.unlisted
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.listed.is_empty() {
            return f.write_str("nothing");
        }
        for (number, name) in self.listed.iter().enumerate() {
            write!(f, "{}{}", if number > 0 { ", " } else { "" }, Quoted(name))?;
        }
        if self.unlisted > 0 {
            write!(f, " and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

/// Which events are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// What the log shows of each request: the first few events, without details.
    #[default]
    Log,
    Everything,
}

/// The events of one request.
#[derive(Debug, Default)]
pub struct Events {
    keep: Keep,
    at: Option<i64>,
    kept: Vec<Event>,
    unlisted: usize,
}

impl Events {
    /// Sets which events are kept from now on.
    pub fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// Clears the events of the previous request. `at` is the time of the new one, in ms, if it has one.
    pub(super) fn begin(&mut self, at: Option<i64>) {
        self.at = at;
        self.kept.clear();
        self.unlisted = 0;
    }

    /// Adds an event. `event` is called only if the event is kept.
    pub(super) fn push(&mut self, event: impl FnOnce() -> Event) {
        self.insert(self.kept.len(), event);
    }

    /// Adds a detail, which the log does not show.
    pub(super) fn detail(&mut self, event: impl FnOnce() -> Event) {
        if self.keep == Keep::Everything {
            self.kept.push(event());
        }
    }

    /// Inserts an event at index `at`, ahead of those that it caused. If the log is full, the last event makes room.
    pub(super) fn insert(&mut self, at: usize, event: impl FnOnce() -> Event) {
        match self.keep {
            Keep::Nothing => {}
            Keep::Everything => self.kept.insert(at, event()),
            Keep::Log => {
                if at < MAX_LOGGED {
                    let mut event = event();
                    event.shorten();
                    self.kept.insert(at, event);
                }
                if at >= MAX_LOGGED || self.kept.len() > MAX_LOGGED {
                    self.kept.truncate(MAX_LOGGED);
                    self.unlisted += 1;
                }
            }
        }
    }

    /// Collects names for an event. Collects none if no events are kept.
    pub(super) fn names<'a>(
        &self,
        names: impl IntoIterator<Item = std::borrow::Cow<'a, str>>,
    ) -> Names {
        let mut list = Names::default();
        for name in names {
            match self.keep {
                Keep::Nothing => break,
                Keep::Log => list.push(beginning(&name)),
                Keep::Everything => list.push(&name),
            }
        }
        list
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The `timestamp` or `now` of the request, in ms, if it has one.
    pub fn at(&self) -> Option<i64> {
        self.at
    }

    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.kept.iter()
    }

    /// How many events of the request were not kept.
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }
}
