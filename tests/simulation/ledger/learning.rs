//! What a message has changed.

use super::{Ledger, Snapshot, TaskView, Worker, seen, text};
use crate::simulation::snapshot::{TaskState, texts};
use serde_json::Value;

impl Ledger {
    /// Learns what a message has changed.
    pub fn learn(&mut self, request: &Value, reply: &Value, before: &Snapshot, after: &Snapshot) {
        if reply["type"] == "error" {
            return;
        }
        match request["type"].as_str().unwrap_or_default() {
            "heartbeat" => self.hear(request),
            "fail_task" => {
                self.hear(request);
                self.learn_report(request, reply, before);
            }
            "request_task" => {
                self.hear(request);
                let id = text(request, "worker_id");
                if let Some(worker) = self.workers.iter_mut().find(|it| it.id == id) {
                    worker.has_asked = true;
                }
                self.learn_assignment(
                    &text(request, "worker_id"),
                    &request["timestamp"],
                    &reply["task"],
                );
            }
            "complete_task" => {
                self.hear(request);
                self.learn_report(request, reply, before);
                let was_unfinished = seen(before, &text(request, "task_id"))
                    .is_some_and(|task| task.state.is_unfinished());
                if was_unfinished && let Some(task) = self.task_mut(&text(request, "task_id")) {
                    task.completed_at = request["timestamp"].as_i64().unwrap_or_default();
                }
            }
            "check_failures" => self.learn_check(request, reply),
            "remove_worker" => self
                .workers
                .retain(|worker| worker.id != request["worker_id"]),
            "reassign" => self.learn_reassignment(request, reply, after),
            "check_stragglers" => {
                self.time_attempts(request, before);
                self.learn_time_outs(reply, before, after);
                for straggler in texts(&reply["tasks"]).unwrap_or_default() {
                    if !self.backups.contains(&straggler) {
                        self.backups.push(straggler);
                    }
                }
            }
            _ => {}
        }
        self.learn_history(before, after);
        self.learn_lines(request, before, after);
        self.forget_silent(request, reply);
    }

    /// Whoever held an attempt and holds it no more without a result has a history of the task; so has whoever held
    /// its output.
    pub(super) fn learn_history(&mut self, before: &Snapshot, after: &Snapshot) {
        for task in &mut self.tasks {
            let (Some(was), Some(is)) = (seen(before, &task.id), seen(after, &task.id)) else {
                continue;
            };
            let gone = was.workers.iter().filter(|id| !is.workers.contains(id));
            task.history.extend(gone.cloned());
            let winner = was.winner.iter().map(|(id, _)| id);
            task.history
                .extend(winner.filter(|_| is.winner.is_none()).cloned());
        }
    }

    pub(super) fn learn_report(&mut self, request: &Value, reply: &Value, before: &Snapshot) {
        let (id, worker) = (text(request, "task_id"), text(request, "worker_id"));
        let number = request["attempt"].as_i64().unwrap_or_default();
        let was_held = seen(before, &id).is_some_and(|task| task.workers.contains(&worker));
        let Some(task) = self.task_mut(&id) else {
            return;
        };
        let at = usize::try_from(number - task.first_number).unwrap_or(usize::MAX);
        if let Some(attempt) = task.attempts.get_mut(at) {
            attempt.reported = true;
        }
        // Only the last attempt that it was given can be the live one.
        let last = task.last_given_to(&worker).map(|(last, _)| last);
        let was_live = was_held && last == Some(number);
        let has_failed = reply["type"] == "task_failed";
        let names_inputs = request["lost_inputs"]
            .as_array()
            .is_some_and(|inputs| !inputs.is_empty());
        if has_failed && was_live && !names_inputs {
            task.failed_on.insert(worker.clone());
        }
        let job_id = task.job_id.clone();
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == job_id) {
            if has_failed {
                job.failed_by.insert(worker);
            } else {
                job.failed_by.remove(&worker);
            }
        }
    }

    pub(super) fn hear(&mut self, request: &Value) {
        if self.is_restart(request) {
            let worker = text(request, "worker_id");
            for job in &mut self.jobs {
                job.failed_by.remove(&worker);
            }
        }
        let id = text(request, "worker_id");
        let timestamp = request["timestamp"].as_i64();
        self.make_known(&id);
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) {
            worker.last_heartbeat = worker.last_heartbeat.max(timestamp);
            worker.untimed = false;
            worker.failed = false;
            worker.heard_since_recovery = true;
            worker.incarnation = worker.incarnation.max(request["incarnation"].as_i64());
        }
    }

    pub(super) fn make_known(&mut self, id: &str) {
        if self.worker(id).is_none() {
            self.workers.push(Worker {
                id: id.to_owned(),
                last_heartbeat: None,
                untimed: true,
                failed: false,
                heard_since_recovery: false,
                has_asked: false,
                incarnation: None,
            });
        }
    }

    pub(super) fn learn_assignment(&mut self, worker: &str, timestamp: &Value, handed: &Value) {
        let (Some(id), timestamp) = (handed["id"].as_str(), timestamp.as_i64()) else {
            return;
        };
        let number = handed["attempt"].as_i64();
        if let (Some(number), Some(serial)) = (number, self.task(id).map(|task| task.serial)) {
            self.handed_out
                .insert((id.to_owned(), number), (worker.to_owned(), serial));
        }
        let Some(task) = self.task_mut(id) else {
            return;
        };
        let known = (task.first_number..)
            .zip(&mut task.attempts)
            .find(|(known, _)| Some(*known) == number);
        match known {
            Some((_, attempt)) if attempt.fetched => {}
            Some((_, attempt)) => {
                (attempt.fetched, attempt.fetched_at) = (true, timestamp);
                (attempt.runs_from, attempt.fetched_since_recovery) = (timestamp, true);
            }
            None => self.assign(id, worker, timestamp),
        }
    }

    pub(super) fn learn_reassignment(&mut self, request: &Value, reply: &Value, after: &Snapshot) {
        let healthy = text(request, "healthy_worker");
        // What was moved and then withdrawn, since its job failed, is not listed.
        let mut moved = texts(&reply["reassigned_tasks"]).unwrap_or_default();
        let withdrawn = self.tasks.iter().map(|task| task.id.clone());
        moved.extend(
            withdrawn.filter(|id| {
                seen(after, id).is_some_and(|task| task.state == TaskState::Withdrawn)
            }),
        );
        for id in moved {
            let known = self.task(&id).map_or(0, |task| task.attempts.len());
            if seen(after, &id).is_some_and(|task| task.attempts > known) {
                self.assign(&id, &healthy, None);
                self.make_known(&healthy);
            }
        }
    }

    /// Learns who waits now. Who came together, came in the order in which it was lost: worker by worker, attempts
    /// before outputs, in task order; or, where inputs were lost, as they were listed, and the reduce last.
    pub(super) fn learn_lines(&mut self, request: &Value, before: &Snapshot, after: &Snapshot) {
        let waits = |id: &str| {
            seen(after, id).is_some_and(|task| task.state == TaskState::Idle && task.attempts > 0)
        };
        self.line.retain(|id| waits(id));
        let mut came: Vec<(usize, bool, &str)> = vec![];
        for task in self
            .tasks
            .iter()
            .filter(|task| waits(&task.id) && !self.line.contains(&task.id))
        {
            let place_of =
                |worker: &String| self.workers.iter().position(|known| known.id == *worker);
            let listed = request["lost_inputs"].as_array();
            let listed = listed
                .and_then(|listed| listed.iter().position(|input| input["task_id"] == *task.id));
            came.push(match seen(before, &task.id) {
                _ if request["type"] == "check_stragglers" => (0, false, &task.id),
                _ if request["type"] == "fail_task" => {
                    (listed.unwrap_or(usize::MAX), false, &task.id)
                }
                Some(TaskView {
                    winner: Some((worker, _)),
                    ..
                }) => (place_of(worker).unwrap_or_default(), true, &task.id),
                Some(was) => (
                    was.workers
                        .iter()
                        .filter_map(place_of)
                        .max()
                        .unwrap_or_default(),
                    false,
                    &task.id,
                ),
                None => (0, false, &task.id),
            });
        }
        // A stable sort: what ties is in task order already.
        came.sort_by_key(|&(place, is_output, _)| (place, is_output));
        let came: Vec<String> = came.into_iter().map(|(.., id)| id.to_owned()).collect();
        self.line.extend(came);

        self.backups.retain(|id| {
            let attempts = |seen: Option<&TaskView>| seen.map(|task| task.attempts);
            let (was, is) = (seen(before, id), seen(after, id));
            is.is_some_and(|task| task.state == TaskState::Running) && attempts(was) == attempts(is)
        });
    }
}
