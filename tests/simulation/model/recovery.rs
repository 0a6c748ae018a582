//! A master that was killed and goes on from its journal (section 8).

use super::{LastCheck, Model};

impl Model {
    /// "With a journal, a master that was killed goes on where it was"
    pub fn recover(&mut self) {
        for w in 0..self.workers.len() {
            let worker = &mut self.workers[w];
            // "the healthy workers that were heard from since the recovery before become untimed (section 5); their last
            // heartbeats are remembered. Workers not heard from since then get no new grace […]; failed workers stay failed."
            if worker.heard_since_recovery && !worker.failed {
                worker.untimed = true;
                self.hit("recovery: untimed");
            } else if !worker.failed {
                self.hit("recovery: no new grace");
            }
            self.workers[w].heard_since_recovery = false;
        }
        for task in &mut self.tasks {
            for attempt in &mut task.attempts {
                // "Live attempts fetched since the recovery before are timed anew, too, from the first `check_stragglers`
                // that is not old."
                if attempt.ended.is_none() && attempt.fetched_since_recovery {
                    attempt.runs_from = None;
                }
                attempt.fetched_since_recovery = false;
            }
        }
        // "The first `check_failures` and the first `check_stragglers` after a recovery count as old"
        self.last_check_failures = LastCheck::BeforeRecovery;
        self.last_check_stragglers = LastCheck::BeforeRecovery;
    }

    /// "its `msg_id`s go on at one not used before": some may be left out.
    pub fn skip_msg_ids(&mut self, next: u64) {
        self.enveloped_replies = next;
    }
}

impl LastCheck {
    /// "A check whose `now` is not later than that of the check before it is old"
    pub(super) fn makes_old(self, now: i64) -> bool {
        match self {
            LastCheck::None => false,
            LastCheck::At(before) => now <= before,
            LastCheck::BeforeRecovery => true,
        }
    }
}
