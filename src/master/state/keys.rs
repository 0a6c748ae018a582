//! Keys: how the master refers to jobs, tasks and workers, and to places in its queues.

use std::num::NonZeroU64;
use std::rc::Rc;

/// A worker's id. All references to a worker share one allocation.
pub type WorkerId = Rc<str>;

/// A job's index among all jobs. The index of a removed job is reused.
pub type JobKey = u32;

/// A task's job, and its index among the tasks of that job, maps before reduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    pub job: JobKey,
    pub task: u32,
}

impl TaskKey {
    pub fn new(job: JobKey, task: usize) -> Self {
        let task = u32::try_from(task).expect("a job has fewer than 2^32 tasks");
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

/// The lane of a queue in which the tasks of one job and kind wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    pub job: JobKey,
    pub kind: Kind,
}

/// A place in a queue: the lowest goes out first. Both queues draw ranks from one sequence.
///
/// Tasks that were queued again count up from 1, in the order in which they were queued. Tasks that were never handed
/// out come after all of them, in task order: see [`fresh_rank`].
pub type Rank = NonZeroU64;

/// The rank of a task that was never handed out. `order` is its place in task order.
pub fn fresh_rank(order: u64) -> Rank {
    const NEVER_HANDED_OUT: u64 = 1 << 63;
    Rank::MIN.saturating_add((NEVER_HANDED_OUT | order) - 1)
}
