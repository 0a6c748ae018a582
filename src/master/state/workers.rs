//! Workers: who is known, when each was last heard from, and what each of them holds (protocol, section 5).

use super::keys::{JobKey, Lane, TaskKey, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// A known worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// The worker's position in the order in which workers became known.
    pub joined: u64,
    /// The latest `timestamp` heard, or the `now` of a check that replaces it, in ms; `None` if neither is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat: Option<i64>,
    /// Whether the worker waits for a check to set its last heartbeat. The next check that is not old does, unless the
    /// worker is heard from first. Until then no check reports it (protocol, section 5).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_untimed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_failed: bool,
    /// Whether it was heard from since the last recovery.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard_since_recovery: bool,
    /// Whether it has sent a `request_task` since it last failed by a check.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_asked: bool,
    /// The largest incarnation heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<i64>,
}

impl Worker {
    /// How long the worker has been silent at `now`, in ms; `None` while it is untimed.
    pub fn silence(&self, now: i64) -> Option<i128> {
        if self.is_untimed {
            return None;
        }
        Some(i128::from(now) - i128::from(self.last_heartbeat?))
    }
}

/// What a worker holds, whether or not the worker is known.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Its live attempts, by lane and then in the order in which they were assigned.
    pub live: BTreeMap<(Lane, u64), TaskKey>,
    /// The unfinished tasks whose latest attempt ran on this worker and has ended.
    pub ended_here: BTreeSet<TaskKey>,
    /// The accepted map outputs that live here and are still needed.
    pub outputs: BTreeSet<TaskKey>,
    /// The jobs in which this worker's latest reported attempt failed.
    pub failed_in: BTreeSet<JobKey>,
}

impl Holdings {
    fn is_empty(&self) -> bool {
        self.live.is_empty()
            && self.ended_here.is_empty()
            && self.outputs.is_empty()
            && self.failed_in.is_empty()
    }
}

/// How a message from a worker changed its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    None,
    /// It was not known before.
    Joined,
    /// It had failed.
    Recovered,
}

/// All workers.
#[derive(Debug, Default)]
pub struct Workers {
    /// The known workers: id → last heartbeat, and what else is known of each.
    known: HashMap<WorkerId, Worker>,
    /// What each worker holds, known or not.
    holdings: HashMap<WorkerId, Holdings>,
    /// How many workers ever became known.
    pub(super) joined: u64,
    /// How many of the known ones have failed.
    failed: usize,
    /// How many of the known ones have sent a `request_task` since they last failed by a check.
    asking: usize,
}

impl Workers {
    pub fn get(&self, id: &str) -> Option<&Worker> {
        self.known.get(id)
    }

    /// The known workers in no particular order, for what does not depend on one.
    pub fn iter(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.known.iter()
    }

    /// The known workers in the order in which they became known.
    pub fn in_order(&self) -> Vec<(&WorkerId, &Worker)> {
        let mut list: Vec<_> = self.known.iter().collect();
        list.sort_unstable_by_key(|(_, worker)| worker.joined);
        list
    }

    /// How many known workers are healthy, and how many have failed.
    pub fn counts(&self) -> (usize, usize) {
        (self.known.len() - self.failed, self.failed)
    }

    /// How many healthy workers have sent a `request_task` since they last failed by a check.
    pub fn asking(&self) -> usize {
        self.asking
    }

    /// The shared id of a worker, or a new one if nothing refers to the worker yet.
    pub fn shared_id(&self, id: &str) -> WorkerId {
        (self.known.get_key_value(id).map(|(id, _)| id))
            .or_else(|| self.holdings.get_key_value(id).map(|(id, _)| id))
            .map_or_else(|| id.into(), Rc::clone)
    }

    pub fn holdings(&self, id: &str) -> Option<&Holdings> {
        self.holdings.get(id)
    }

    /// Records a message from a worker. From now on the worker is known, timed and healthy. A `timestamp` earlier than
    /// the last heartbeat does not move it back.
    pub(super) fn hear(&mut self, id: &str, timestamp: i64) -> HealthChange {
        let Some(worker) = self.known.get_mut(id) else {
            self.add(
                id,
                Worker {
                    last_heartbeat: Some(timestamp),
                    heard_since_recovery: true,
                    ..Worker::default()
                },
            );
            return HealthChange::Joined;
        };
        worker.last_heartbeat = worker.last_heartbeat.max(Some(timestamp));
        worker.is_untimed = false;
        worker.heard_since_recovery = true;
        if !worker.has_failed {
            return HealthChange::None;
        }
        worker.has_failed = false;
        self.failed -= 1;
        HealthChange::Recovered
    }

    /// Adds a worker that was assigned a task but was never heard from, if it is unknown. Returns whether it is new.
    pub(super) fn add_if_unknown(&mut self, id: &str) -> bool {
        let is_new = !self.known.contains_key(id);
        if is_new {
            self.add(
                id,
                Worker {
                    is_untimed: true,
                    ..Worker::default()
                },
            );
        }
        is_new
    }

    fn add(&mut self, id: &str, mut worker: Worker) {
        worker.joined = self.joined;
        self.joined += 1;
        self.known.insert(self.shared_id(id), worker);
    }

    /// Records that a known worker has sent a `request_task`.
    pub(super) fn set_asked(&mut self, id: &str) {
        if let Some(worker) = self.known.get_mut(id) {
            self.asking += usize::from(!std::mem::replace(&mut worker.has_asked, true));
        }
    }

    /// Sets the largest incarnation heard from a known worker. Returns whether there was a smaller one before.
    pub(super) fn set_incarnation(&mut self, id: &str, incarnation: i64) -> bool {
        let Some(worker) = self.known.get_mut(id) else {
            return false;
        };
        let before = worker.incarnation.replace(incarnation);
        before.is_some_and(|before| before < incarnation)
    }

    /// Sets the last heartbeat of untimed workers to `now`. A worker whose last heartbeat is later than
    /// `latest_credible` becomes untimed, and that heartbeat is forgotten.
    pub(super) fn time_untimed(&mut self, now: i64, latest_credible: i128) {
        for worker in self.known.values_mut() {
            if (worker.last_heartbeat).is_some_and(|last| i128::from(last) > latest_credible) {
                worker.last_heartbeat = None;
                worker.is_untimed = true;
            } else if worker.is_untimed {
                worker.last_heartbeat = worker.last_heartbeat.max(Some(now));
                worker.is_untimed = false;
            }
        }
    }

    /// Marks a known worker as failed.
    pub(super) fn fail(&mut self, id: &str) {
        let Some(worker) = self.known.get_mut(id) else {
            return;
        };
        worker.incarnation = None;
        self.failed += usize::from(!std::mem::replace(&mut worker.has_failed, true));
        self.asking -= usize::from(std::mem::take(&mut worker.has_asked));
    }

    /// Forgets a known worker.
    pub(super) fn forget(&mut self, id: &str) {
        if let Some(worker) = self.known.remove(id) {
            self.failed -= usize::from(worker.has_failed);
            self.asking -= usize::from(worker.has_asked);
        }
    }

    /// After a recovery: the healthy workers heard from since the recovery before become untimed.
    pub(super) fn recover(&mut self) {
        for worker in self.known.values_mut() {
            worker.is_untimed |= worker.heard_since_recovery && !worker.has_failed;
            worker.heard_since_recovery = false;
        }
    }

    /// Changes what a worker holds.
    pub(super) fn hold<R>(&mut self, id: &WorkerId, change: impl FnOnce(&mut Holdings) -> R) -> R {
        if let Some(holdings) = self.holdings.get_mut(id) {
            let result = change(holdings);
            // A known worker's holdings change all the time, so its entry is kept until the worker is forgotten. The
            // lengths are compared first, because that often saves the look-up.
            if holdings.is_empty()
                && self.holdings.len() > self.known.len()
                && !self.known.contains_key(id)
            {
                self.holdings.remove(id);
            }
            return result;
        }
        let mut holdings = Holdings::default();
        let result = change(&mut holdings);
        if !holdings.is_empty() {
            self.holdings.insert(Rc::clone(id), holdings);
        }
        result
    }

    /// Removes and returns a worker's map outputs.
    pub(super) fn take_outputs(&mut self, id: &str) -> BTreeSet<TaskKey> {
        (self.holdings.get_mut(id))
            .map(|holdings| std::mem::take(&mut holdings.outputs))
            .unwrap_or_default()
    }

    /// Drops the entry of a worker that holds nothing.
    pub(super) fn drop_empty_holdings(&mut self, id: &str) {
        if self.holdings.get(id).is_some_and(Holdings::is_empty) {
            self.holdings.remove(id);
        }
    }

    /// Adds a worker from a snapshot. Errors: the worker appears twice, or violates an invariant.
    pub(super) fn load(&mut self, id: &WorkerId, worker: Worker) -> Result<(), &'static str> {
        if worker.has_asked && worker.has_failed {
            return Err("a failed worker is marked as having asked for a task");
        }
        if worker.last_heartbeat.is_none() && !worker.is_untimed {
            return Err("a worker has no last heartbeat and is not marked as untimed");
        }
        if worker.joined >= self.joined {
            return Err("a worker's place in the joining order is too large");
        }
        self.failed += usize::from(worker.has_failed);
        self.asking += usize::from(worker.has_asked);
        match self.known.insert(Rc::clone(id), worker) {
            None => Ok(()),
            Some(_) => Err("a worker appears twice"),
        }
    }
}
