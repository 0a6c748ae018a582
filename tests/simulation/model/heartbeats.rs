//! Who is known, and when it was heard from: `init`, `heartbeat`, `incarnation` (section 5).

use super::json::{Fields, list};
use super::messages::{Handled, PRECONDITION, Refused};
use super::{End, Model, Worker};

impl Model {
    /// `init` `{node_id, node_ids?}` → `init_ok`
    pub(super) fn init(&mut self, body: &Fields) -> Handled {
        let node_id = body.text("node_id")?;
        let _node_ids: Option<Vec<String>> = body.optional_texts("node_ids")?;
        // "`init` again with the same `node_id` answers the same; with another one it is error 22"
        match &self.node_id {
            Some(named) if *named != node_id => return Err(PRECONDITION),
            Some(_) => self.hit("init again"),
            None => self.node_id = Some(node_id),
        }
        Ok(("init_ok", vec![]))
    }

    /// `heartbeat` `{worker_id, timestamp, incarnation?, running?: [task_id…]}` → `heartbeat_ok` `{cancel?: [task_id…]}`
    pub(super) fn heartbeat(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        let timestamp = body.integer("timestamp")?;
        let incarnation = body.optional_integer("incarnation")?;
        let running = body.optional_texts("running")?.unwrap_or_default();
        self.heard_as(&worker_id, timestamp, incarnation)?;
        // "With `running` the reply has `cancel` as in `request_task` (section 6), left out when empty."
        let cancel = self.cancel(&worker_id, &running);
        let mut fields = vec![];
        if !cancel.is_empty() {
            self.hit("heartbeat with cancel");
            fields.push(("cancel", list(cancel)));
        }
        Ok(("heartbeat_ok", fields))
    }

    /// What `heartbeat` and `request_task` do for the worker that sent them.
    pub(super) fn heard_as(
        &mut self,
        worker_id: &str,
        timestamp: i64,
        incarnation: Option<i64>,
    ) -> Result<(), Refused> {
        let known = self.worker(worker_id).and_then(|worker| worker.incarnation);
        // "A `heartbeat` or `request_task` with a smaller one is a message from a process that is gone: 22."
        if let (Some(known), Some(incarnation)) = (known, incarnation)
            && incarnation < known
        {
            self.hit("incarnation: smaller");
            return Err(PRECONDITION);
        }
        // CHOICE: the message is a heartbeat first; what the worker loses by it, it loses at this heartbeat.
        self.heard(worker_id, timestamp);
        // "When it is larger than the largest one heard from that worker before, the worker's attempts are lost, as by
        // `check_failures`; its map outputs are not." "The first one heard loses nothing."
        if known.is_some() && incarnation > known {
            self.hit("incarnation: larger");
            self.lose_attempts_of(worker_id, End::Lost);
            // "A `complete_task` […] ends the exclusion and starts the count anew, and so do a larger `incarnation`"
            self.forget_failed_reports_of(worker_id);
        }
        if let (Some(_), Some(worker)) = (incarnation, self.worker_mut(worker_id)) {
            worker.incarnation = incarnation;
        }
        Ok(())
    }

    /// What `heartbeat`, `request_task`, `complete_task` and `fail_task` do for the worker that sent them.
    pub(super) fn heard(&mut self, worker_id: &str, timestamp: i64) {
        // "A worker is known from its first `heartbeat`, `request_task`, `complete_task` or `fail_task`"
        self.make_known(worker_id);
        let worker = self.worker_mut(worker_id).expect("it is known now");
        // "The latest `timestamp` heard counts: one delivered late never moves it back."
        worker.last_heartbeat = worker.last_heartbeat.max(Some(timestamp));
        worker.untimed = false;
        worker.heard_since_recovery = true;
        let is_late = worker.last_heartbeat > Some(timestamp);
        // "Any message from a failed worker makes it healthy again"
        let is_back = std::mem::take(&mut worker.failed);
        if is_late {
            self.hit("heartbeat delivered late");
        }
        if is_back {
            self.hit("failed worker healthy again");
        }
    }

    pub(super) fn make_known(&mut self, worker_id: &str) {
        if self.worker(worker_id).is_none() {
            self.workers.push(Worker {
                id: worker_id.to_string(),
                last_heartbeat: None,
                // "A worker that is known but was never heard from […] is untimed"
                untimed: true,
                failed: false,
                heard_since_recovery: false,
                has_asked: false,
                incarnation: None,
            });
            self.hit("worker becomes known");
        }
    }

    pub(super) fn worker(&self, id: &str) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.id == id)
    }

    pub(super) fn worker_mut(&mut self, id: &str) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }

    /// None: it is not known.
    pub(super) fn last_heartbeat(&self, worker_id: &str) -> Option<i64> {
        self.worker(worker_id)
            .and_then(|worker| worker.last_heartbeat)
    }
}
