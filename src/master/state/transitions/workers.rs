//! Workers become known, are heard from, fail and are forgotten. The master recovers after a restart.

use crate::master::events::Event;
use crate::master::state::Master;
use crate::master::state::keys::WorkerId;
use crate::master::state::workers::HealthChange;
use crate::wire::Effect;

impl Master {
    /// Records a message from a worker, which shows that it is alive.
    pub(in crate::master) fn hear(&mut self, id: &str, timestamp: i64) {
        self.effect = self.effect.max(Effect::Heard);
        let change = self.workers.hear(id, timestamp);
        self.events.detail(|| Event::WorkerHeard {
            worker: id.into(),
            at: timestamp,
        });
        match change {
            HealthChange::None => {}
            HealthChange::Joined => self
                .events
                .push(|| Event::WorkerJoined { worker: id.into() }),
            HealthChange::Recovered => self.events.push(|| Event::WorkerBack { worker: id.into() }),
        }
    }

    /// Makes a worker known that is assigned a task but was never heard from.
    pub(in crate::master) fn add_if_unknown(&mut self, id: &str) {
        if self.workers.add_if_unknown(id) {
            self.events
                .push(|| Event::WorkerJoined { worker: id.into() });
        }
    }

    /// Records that a worker asks for a task.
    pub(in crate::master) fn note_asking(&mut self, id: &str) {
        self.workers.set_asked(id);
    }

    /// Sets a worker's incarnation. Returns whether it has restarted: the one before was smaller.
    pub(in crate::master) fn set_incarnation(&mut self, id: &str, incarnation: i64) -> bool {
        self.workers.set_incarnation(id, incarnation)
    }

    /// Records a `check_failures`. Returns whether it is old.
    pub(in crate::master) fn note_failure_check(&mut self, now: i64) -> bool {
        self.effect = self.effect.max(Effect::Heard);
        self.failure_checks.note(now)
    }

    /// Sets the last heartbeat of untimed workers to `now`, and makes those untimed whose last heartbeat is later than
    /// `latest_credible`. Times are in ms.
    pub(in crate::master) fn time_untimed_workers(&mut self, now: i64, latest_credible: i128) {
        self.workers.time_untimed(now, latest_credible);
    }

    /// Marks a worker as failed.
    pub(in crate::master) fn mark_failed(&mut self, id: &str) {
        self.effect = Effect::Changed;
        self.workers.fail(id);
    }

    /// Forgets a worker that holds nothing that could still be lost.
    pub(in crate::master) fn forget_worker(&mut self, id: &WorkerId) {
        self.effect = Effect::Changed;
        self.forget_conduct(id);
        self.workers.forget(id);
        self.workers.drop_empty_holdings(id);
    }

    /// Gives workers and attempts new clocks after a recovery, since nobody could reach the master for a while (protocol,
    /// section 8).
    pub fn recover(&mut self) {
        self.workers.recover();
        for key in &self.running {
            let task = self.jobs.task_mut(*key);
            for number in task.live.iter() {
                if let Some(attempt) = task.attempt_mut(number)
                    && std::mem::take(&mut attempt.fetched_since_recovery)
                {
                    attempt.runs_from = None;
                }
            }
        }
        self.failure_checks.is_first_since_recovery = true;
        self.straggler_checks.is_first_since_recovery = true;
    }
}
