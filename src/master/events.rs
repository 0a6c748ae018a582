//! What happened, for the log: the master tells it, the shell prints it.

use crate::wire::Quoted;
use std::fmt;

/// The most events of one request, and the most names in one of them, that are told one by one.
const MAX_LISTED: usize = 20;

/// Something that people who watch the cluster want to read about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    WorkerJoined {
        worker: Box<str>,
    },
    WorkerBack {
        worker: Box<str>,
    },
    WorkerFailed {
        worker: Box<str>,
        silent_ms: i128,
        requeued: Names,
    },
    WorkerLeft {
        worker: Box<str>,
        requeued: Names,
    },
    Reassigned {
        from: Box<str>,
        to: Box<str>,
        tasks: Names,
    },
    TaskFailed {
        task: Box<str>,
        worker: Box<str>,
        error: Box<str>,
        requeued: Names,
    },
    TaskSkipped {
        task: Box<str>,
    },
    JobCompleted {
        job: Box<str>,
    },
    JobFailed {
        job: Box<str>,
        error: Box<str>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerJoined { worker } => write!(f, "worker {} joined", Quoted(worker)),
            Self::WorkerBack { worker } => write!(f, "worker {} is back", Quoted(worker)),
            Self::WorkerFailed {
                worker,
                silent_ms,
                requeued,
            } => {
                write!(
                    f,
                    "worker {} failed: silent for {silent_ms} ms",
                    Quoted(worker)
                )?;
                write!(f, "; queued again: {requeued}")
            }
            Self::WorkerLeft { worker, requeued } => {
                write!(
                    f,
                    "worker {} left for good; queued again: {requeued}",
                    Quoted(worker)
                )
            }
            Self::Reassigned { from, to, tasks } => {
                let (from, to) = (Quoted(from), Quoted(to));
                write!(f, "tasks reassigned from worker {from} to {to}: {tasks}")
            }
            Self::TaskFailed {
                task,
                worker,
                error,
                requeued,
            } => {
                write!(
                    f,
                    "task {} failed on worker {}",
                    Quoted(task),
                    Quoted(worker)
                )?;
                write!(f, ": {}; queued again: {requeued}", Quoted(error))
            }
            Self::TaskSkipped { task } => write!(f, "task {} given up and skipped", Quoted(task)),
            Self::JobCompleted { job } => write!(f, "job {} completed", Quoted(job)),
            Self::JobFailed { job, error } => {
                write!(f, "job {} failed: {}", Quoted(job), Quoted(error))
            }
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
        if self.listed.len() < MAX_LISTED {
            self.listed.push(name.into());
        } else {
            self.unlisted += 1;
        }
    }
}

impl<'a> FromIterator<&'a str> for Names {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut list = Self::default();
        names.into_iter().for_each(|name| list.push(name));
        list
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

/// The events of one request. A request may fail a million workers at once: the first few events tell what
/// happened, and a count the rest.
#[derive(Debug, Default)]
pub struct Events {
    listed: Vec<Event>,
    unlisted: usize,
}

impl Events {
    /// Adds an event; it is made only if it will be listed.
    pub fn push(&mut self, event: impl FnOnce() -> Event) {
        self.insert(self.listed.len(), event);
    }

    /// Adds an event before those that it caused, the last of which may have to make room.
    pub fn insert(&mut self, at: usize, event: impl FnOnce() -> Event) {
        if at < MAX_LISTED {
            self.listed.insert(at, event());
        }
        if at >= MAX_LISTED || self.listed.len() > MAX_LISTED {
            self.listed.truncate(MAX_LISTED);
            self.unlisted += 1;
        }
    }

    pub fn len(&self) -> usize {
        self.listed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    pub fn clear(&mut self) {
        self.listed.clear();
        self.unlisted = 0;
    }

    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.listed.iter()
    }

    /// How many more events there were than are listed.
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }
}
