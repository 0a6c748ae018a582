//! What names a job, a task or a worker inside the master, and where tasks wait.

use std::num::NonZeroU64;
use std::rc::Rc;

/// A worker's id. Everything that names a worker shares one text.
pub type WorkerId = Rc<str>;

/// Where a job is found among all jobs.
pub type JobKey = u32;

/// Where a task is found: its job, and its place there, maps before reduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    pub job: JobKey,
    pub task: u32,
}

impl TaskKey {
    pub fn new(job: JobKey, task: usize) -> Self {
        let task = u32::try_from(task).expect("memory ends before the places do");
        Self { job, task }
    }
}

/// The two kinds of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Map,
    Reduce,
}

impl Kind {
    /// The kind on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Reduce => "reduce",
        }
    }
}

/// The tasks of one job and kind, which wait in one lane of each queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    pub job: JobKey,
    pub kind: Kind,
}

/// A place in a queue: the lowest goes out first. The two queues share one sequence of them.
pub type Rank = NonZeroU64;
