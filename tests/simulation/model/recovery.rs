//! A master that was killed and started again (the journal). It is in no section of the protocol: what it changes is
//! said here, and everything else stays as it was.

use super::Model;

impl Model {
    /// "A worker not heard from since the recovery is timed from the first check that sees it."
    pub fn recover(&mut self) {
        for worker in &mut self.workers {
            worker.heard_before = worker.heard_before.max(worker.last_heartbeat.take());
        }
    }

    /// "`msg_id`s are never used twice": some are left out.
    pub fn skip_msg_ids(&mut self, next: u64) {
        self.enveloped_replies = next;
    }
}
