//! The workers: who is known, when each was last heard, and which tasks concern it (protocol, section 5).

use super::ids::Ids;
use super::index::{Index, mark_used, retain_used};
use super::tasks::TaskKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A worker's number: dense, and used again once nothing refers to it.
pub type WorkerKey = u32;

/// Before any time that can be heard.
const NEVER: i64 = i64::MIN;

/// All workers. The times stand in a row of their own, so that a failure check walks over plain integers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Workers {
    #[serde(skip)]
    index: Index<WorkerKey>,
    #[serde(rename = "workers")]
    ids: Ids,
    /// The latest time heard, by worker, in ms.
    last_heartbeat: Vec<i64>,
    /// By worker.
    vitals: Vec<Vital>,
    /// By worker.
    #[serde(skip)]
    holdings: Vec<Option<Box<Holdings>>>,
    /// By worker that is known: its place in `known`.
    #[serde(skip)]
    place: Vec<u32>,
    /// The known workers in the order in which they became known; those that left since are `None`.
    known: Vec<Option<WorkerKey>>,
    #[serde(skip)]
    left: usize,
    #[serde(skip)]
    failed: usize,
    /// Numbers that nothing refers to.
    #[serde(skip)]
    free: Vec<WorkerKey>,
    /// Who was heard last.
    #[serde(skip)]
    last_heard: WorkerKey,
    /// Whether its number is the next after that of the worker heard before it.
    #[serde(skip)]
    in_turn: bool,
}

/// What a failure check asks of a worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Vital {
    health: Health,
    /// Whether `last_heartbeat` counts. If not, the next check sets it.
    timed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Health {
    /// Only a name, in attempts that it was given.
    Unknown,
    Healthy,
    Failed,
}

/// The tasks that concern a worker.
#[derive(Debug, Default)]
pub struct Holdings {
    /// How many attempts were ever given to the worker, and are still remembered.
    pub attempts: usize,
    /// The live ones of them, by their place in the order of all assignments.
    pub live: BTreeMap<u64, TaskKey>,
    /// Those that may be the most recent ones of unfinished tasks, or may have made outputs that live here.
    pub latest: Assignments,
}

/// An attempt by its place in the order of all assignments, which no other attempt has, and its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub assigned: u64,
    pub task: TaskKey,
}

/// Attempts that concern a worker for some reason, or did once. None is taken out when the reason goes:
/// whoever reads the list asks the tasks. It is swept when it has doubled since, so that an attempt costs
/// the same however many there are.
#[derive(Debug, Default)]
pub struct Assignments {
    list: Vec<Assignment>,
    sweep_at: usize,
}

impl Assignments {
    /// Adds an attempt, which may be there already. `concerns` tells which others still do.
    pub fn push(&mut self, assignment: Assignment, concerns: impl Fn(Assignment) -> bool) {
        if self.list.len() >= self.sweep_at {
            self.sweep(concerns);
        }
        self.list.push(assignment);
    }

    /// Takes out repeats, and what does not concern the worker any more.
    pub fn sweep(&mut self, concerns: impl Fn(Assignment) -> bool) {
        self.list
            .sort_unstable_by_key(|assignment| assignment.assigned);
        self.list.dedup();
        self.list.retain(|assignment| concerns(*assignment));
        self.sweep_at = 2 * self.list.len() + 4;
    }

    pub fn iter(&self) -> impl Iterator<Item = Assignment> {
        self.list.iter().copied()
    }
}

/// What hearing a worker changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Known,
    Joined,
    Back,
}

impl Workers {
    /// The worker of that id, known or only a name.
    pub fn find(&self, id: &str) -> Option<WorkerKey> {
        // A busy worker is heard again and again, and workers that send at regular intervals are heard in the same
        // order over and over. To look at the one heard last costs little, and so does, as long as that order
        // holds, to look at the next.
        let again = Some(self.last_heard);
        let next = self.in_turn.then(|| self.last_heard.wrapping_add(1));
        // A number that is free has the empty name.
        let is_it = |worker: &WorkerKey| {
            (*worker as usize) < self.ids.len() && self.id(*worker) == id && !id.is_empty()
        };
        (again.into_iter().chain(next))
            .find(is_it)
            .or_else(|| self.index.find(id, |worker| self.id(worker)))
    }

    /// The known worker of that id.
    pub fn find_known(&self, id: &str) -> Option<WorkerKey> {
        self.find(id)
            .filter(|worker| self.vitals[*worker as usize].health != Health::Unknown)
    }

    /// The worker of that id, as a name at least.
    pub fn find_or_add(&mut self, id: &str) -> WorkerKey {
        if let Some(worker) = self.find(id) {
            return worker;
        }
        let key = self.free.pop().unwrap_or_else(|| {
            WorkerKey::try_from(self.ids.len()).expect("memory ends before the numbers do")
        });
        let at = key as usize;
        if at < self.ids.len() {
            self.ids.set(at, id);
        } else {
            self.ids.push(id);
            self.holdings.push(None);
            self.place.push(0);
            self.last_heartbeat.push(NEVER);
            self.vitals.push(Vital {
                health: Health::Unknown,
                timed: false,
            });
        }
        self.index.insert(id, key);
        key
    }

    pub fn id(&self, worker: WorkerKey) -> &str {
        self.ids.get(worker as usize)
    }

    /// How many known workers are healthy, and how many have failed.
    pub fn counts(&self) -> (usize, usize) {
        (self.known.len() - self.left - self.failed, self.failed)
    }

    pub fn has_failed(&self, worker: WorkerKey) -> bool {
        self.vitals[worker as usize].health == Health::Failed
    }

    /// The known workers, in the order in which they became known.
    pub fn known(&self) -> impl Iterator<Item = WorkerKey> {
        self.known.iter().copied().flatten()
    }

    /// Hears from a worker at its `timestamp`: it is known and healthy from now on. A time that is not later
    /// than the last one does not move it back.
    pub fn hear(&mut self, worker: WorkerKey, timestamp: i64) -> Heard {
        if worker != self.last_heard {
            self.in_turn = worker == self.last_heard.wrapping_add(1);
            self.last_heard = worker;
        }
        let at = worker as usize;
        self.last_heartbeat[at] = self.last_heartbeat[at].max(timestamp);
        let heard = match self.vitals[at].health {
            Health::Healthy => Heard::Known,
            Health::Failed => {
                self.failed -= 1;
                Heard::Back
            }
            Health::Unknown => {
                self.append_to_known(worker);
                Heard::Joined
            }
        };
        self.vitals[at] = Vital {
            health: Health::Healthy,
            timed: true,
        };
        heard
    }

    /// Makes a worker known that was given a task without ever having been heard. It is timed from the next
    /// check on. Returns whether it was not known before.
    pub fn make_known(&mut self, worker: WorkerKey) -> bool {
        let is_new = self.vitals[worker as usize].health == Health::Unknown;
        if is_new {
            self.append_to_known(worker);
            self.vitals[worker as usize] = Vital {
                health: Health::Healthy,
                timed: false,
            };
        }
        is_new
    }

    /// The first known worker from a place on that was last heard before `oldest_healthy`, and its place, in the
    /// order in which workers became known. Those before it that are not timed yet are from `now` on.
    pub fn next_overdue(
        &mut self,
        place: usize,
        oldest_healthy: i64,
        now: i64,
    ) -> Option<(usize, WorkerKey)> {
        for (place, worker) in self.known.iter().enumerate().skip(place) {
            let Some(worker) = *worker else { continue };
            let at = worker as usize;
            if !self.vitals[at].timed {
                self.vitals[at].timed = true;
                self.last_heartbeat[at] = self.last_heartbeat[at].max(now);
            } else if self.last_heartbeat[at] < oldest_healthy {
                return Some((place, worker));
            }
        }
        None
    }

    /// How long a worker has been silent at `now`, in ms.
    pub fn silence(&self, worker: WorkerKey, now: i64) -> i128 {
        i128::from(now) - i128::from(self.last_heartbeat[worker as usize])
    }

    /// Marks a worker as failed.
    pub fn fail(&mut self, worker: WorkerKey) {
        let health = &mut self.vitals[worker as usize].health;
        if *health == Health::Healthy {
            *health = Health::Failed;
            self.failed += 1;
        }
    }

    /// Forgets a failed worker, but for its name in attempts that are remembered.
    pub fn forget(&mut self, worker: WorkerKey) {
        let at = worker as usize;
        self.failed -= 1;
        self.vitals[at].health = Health::Unknown;
        self.last_heartbeat[at] = NEVER;
        self.known[self.place[at] as usize] = None;
        self.left += 1;
        if self.left > self.known.len() / 2 {
            self.known.retain(Option::is_some);
            self.left = 0;
            for (place, worker) in (0..).zip(self.known.iter().flatten()) {
                self.place[*worker as usize] = place;
            }
        }
        self.free_if_unused(worker);
    }

    /// Has every worker timed from the next check on, unless it is heard before.
    pub fn stop_timing(&mut self) {
        for vital in &mut self.vitals {
            vital.timed = false;
        }
    }

    /// Numbers the workers afresh, without those that nothing refers to. Returns the new numbers by the old
    /// ones. The rest of what refers to workers has to be told, and [`rebuild`](Self::rebuild) called.
    pub fn forget_unused(&mut self) -> Vec<WorkerKey> {
        let is_used = mark_used(self.ids.len(), std::mem::take(&mut self.free));
        let mut used = 0;
        let numbers: Vec<WorkerKey> = is_used
            .iter()
            .map(|is_used| {
                let number = used;
                used += WorkerKey::from(*is_used);
                number
            })
            .collect();
        self.ids = (self.ids.iter().zip(&is_used))
            .filter_map(|(id, is_used)| is_used.then_some(id))
            .collect();
        retain_used(&mut self.last_heartbeat, &is_used);
        retain_used(&mut self.vitals, &is_used);
        self.known.retain(Option::is_some);
        for worker in self.known.iter_mut().flatten() {
            *worker = numbers[*worker as usize];
        }
        numbers
    }

    /// Makes all that is derived again, but for what the workers hold.
    pub fn rebuild(&mut self) {
        self.index = Index::default();
        self.left = 0;
        self.failed = self
            .vitals
            .iter()
            .filter(|vital| vital.health == Health::Failed)
            .count();
        for (number, id) in (0..).zip(self.ids.iter()) {
            self.index.insert(id, number);
        }
        self.holdings.clear();
        self.holdings.resize_with(self.ids.len(), || None);
        self.place = vec![0; self.ids.len()];
        self.last_heard = 0;
        self.in_turn = false;
        for (place, worker) in (0..).zip(self.known.iter().flatten()) {
            self.place[*worker as usize] = place;
        }
    }

    /// The tasks that concern a worker.
    pub fn holdings(&self, worker: WorkerKey) -> Option<&Holdings> {
        self.holdings[worker as usize].as_deref()
    }

    /// The tasks that concern a worker, to be changed.
    pub fn holdings_mut(&mut self, worker: WorkerKey) -> &mut Holdings {
        self.holdings[worker as usize].get_or_insert_default()
    }

    /// Remembers one attempt of the worker less.
    pub fn forget_attempt(&mut self, worker: WorkerKey) {
        let holdings = self.holdings_mut(worker);
        holdings.attempts -= 1;
        if holdings.attempts == 0 {
            self.holdings[worker as usize] = None;
            self.free_if_unused(worker);
        }
    }

    fn append_to_known(&mut self, worker: WorkerKey) {
        self.place[worker as usize] =
            u32::try_from(self.known.len()).expect("memory ends before the numbers do");
        self.known.push(Some(worker));
    }

    fn free_if_unused(&mut self, worker: WorkerKey) {
        let at = worker as usize;
        let is_name_only = self.vitals[at].health == Health::Unknown;
        if is_name_only
            && self.holdings[at]
                .as_ref()
                .is_none_or(|holdings| holdings.attempts == 0)
        {
            let ids = &self.ids;
            self.index
                .remove(ids.get(at), |worker| ids.get(worker as usize));
            self.ids.set(at, "");
            self.free.push(worker);
        }
    }
}
