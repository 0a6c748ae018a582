//! Tasks that wait for a worker, in order.

use super::tasks::TaskKey;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::btree_map::{BTreeMap, Iter};
use std::iter::Peekable;
use std::ops::Bound;

/// A place in a queue: the lower, the earlier out.
pub type Rank = u64;

/// Tasks that wait, by rank. Each waits in a lane; a closed lane is passed over without looking at what
/// waits in it, so that opening and closing it (the barrier before a job's reduces) costs the same however
/// many wait there.
#[derive(Debug, Default)]
pub struct Queue {
    lanes: Vec<Lane>,
    /// The first rank of each lane that is open and not empty.
    heads: BTreeMap<Rank, usize>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeMap<Rank, TaskKey>,
    closed: bool,
}

impl Queue {
    /// Adds a task to a lane, at a rank that no other task in this queue has.
    pub fn insert(&mut self, lane: usize, rank: Rank, task: TaskKey) {
        self.change(lane, |lane| _ = lane.waiting.insert(rank, task));
    }

    /// Takes out the task at that rank.
    pub fn remove(&mut self, lane: usize, rank: Rank) {
        self.change(lane, |lane| _ = lane.waiting.remove(&rank));
    }

    /// Opens or closes a lane.
    pub fn set_open(&mut self, lane: usize, open: bool) {
        self.change(lane, |lane| lane.closed = !open);
    }

    /// Forgets what waits in a lane, and opens it.
    pub fn clear(&mut self, lane: usize) {
        self.change(lane, |lane| *lane = Lane::default());
    }

    /// The tasks in open lanes, by rank. To take the first of them costs the same however many there are.
    pub fn iter(&self) -> Waiting<'_> {
        Waiting {
            queue: self,
            heads: self.heads.iter().peekable(),
            passed: BinaryHeap::new(),
            last: None,
        }
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Lane)) {
        if self.lanes.len() <= number {
            self.lanes.resize_with(number + 1, Lane::default);
        }
        let lane = &mut self.lanes[number];
        let before = lane.head();
        change(lane);
        let after = lane.head();
        if before != after {
            if let Some(rank) = before {
                self.heads.remove(&rank);
            }
            if let Some(rank) = after {
                self.heads.insert(rank, number);
            }
        }
    }
}

impl Lane {
    fn head(&self) -> Option<Rank> {
        if self.closed {
            None
        } else {
            self.waiting.first_key_value().map(|(rank, _)| *rank)
        }
    }
}

/// An iterator over what waits: a merge of the open lanes that looks into a lane only once it has given its
/// head.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    /// The lanes that have not given anything yet.
    heads: Peekable<Iter<'a, Rank, usize>>,
    /// The next ranks of the lanes that have.
    passed: BinaryHeap<Reverse<(Rank, usize)>>,
    last: Option<(Rank, usize)>,
}

impl Iterator for Waiting<'_> {
    type Item = TaskKey;

    fn next(&mut self) -> Option<TaskKey> {
        if let Some((rank, lane)) = self.last.take() {
            let behind = (Bound::Excluded(rank), Bound::Unbounded);
            if let Some((&rank, _)) = self.queue.lanes[lane].waiting.range(behind).next() {
                self.passed.push(Reverse((rank, lane)));
            }
        }
        let head = self.heads.peek().map(|&(&rank, &lane)| (rank, lane));
        let passed = self.passed.peek().map(|&Reverse(next)| next);
        let next = match (head, passed) {
            (Some(head), Some(passed)) => head.min(passed),
            (head, passed) => head.or(passed)?,
        };
        if passed == Some(next) {
            self.passed.pop();
        } else {
            self.heads.next();
        }
        self.last = Some(next);
        self.queue.lanes[next.1].waiting.get(&next.0).copied()
    }
}
