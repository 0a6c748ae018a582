//! Workers: `init`, heartbeats, failures and reassignment (section 5).

use super::json::{Fields, ids_and_chunks, list, quoted};
use super::messages::{Handled, MALFORMED, PRECONDITION, UNKNOWN_KEY};
use super::{End, Event, Job, Kind, Model, OutputLost, Task, Worker};

impl Model {
    /// `init` `{node_id, node_ids?}` → `init_ok`
    pub(super) fn init(&mut self, body: &Fields) -> Handled {
        let node_id = body.text("node_id")?;
        let _node_ids: Option<Vec<String>> = body.optional_texts("node_ids")?;
        // "`init` again with the same `node_id` answers the same; with another, 22."
        match &self.node_id {
            Some(named) if *named != node_id => return Err(PRECONDITION),
            Some(_) => self.hit("init again"),
            None => self.node_id = Some(node_id),
        }
        Ok(("init_ok", vec![]))
    }

    /// `heartbeat` `{worker_id, timestamp}` → `heartbeat_ok`
    pub(super) fn heartbeat(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        let timestamp = body.integer("timestamp")?;
        self.heard(&worker_id, timestamp);
        Ok(("heartbeat_ok", vec![]))
    }

    /// What `heartbeat`, `request_task`, `complete_task` and `fail_task` do for the worker who sent them.
    pub(super) fn heard(&mut self, worker_id: &str, timestamp: i64) {
        // "A worker is known, in this order, from its first `heartbeat`, […]"
        self.make_known(worker_id);
        let (mut late, mut back) = (false, false);
        for worker in &mut self.workers {
            if worker.id == worker_id {
                // "`heartbeat` keeps the latest `timestamp` heard: one delivered late never moves it back."
                worker.last_heartbeat = match worker.last_heartbeat {
                    Some(last) => Some(last.max(timestamp)),
                    None => worker.heard_before.max(Some(timestamp)),
                };
                late = worker.last_heartbeat > Some(timestamp);
                // "Any message from a failed worker, however old, makes it healthy again"
                back = worker.failed;
                worker.failed = false;
            }
        }
        if late {
            self.hit("heartbeat delivered late");
        }
        if back {
            self.hit("failed worker healthy again");
        }
    }

    pub(super) fn make_known(&mut self, worker_id: &str) {
        if !self.workers.iter().any(|worker| worker.id == worker_id) {
            self.workers.push(Worker {
                id: worker_id.to_string(),
                last_heartbeat: None,
                heard_before: None,
                failed: false,
            });
            self.hit("worker becomes known");
        }
    }

    /// `check_failures` `{timeout_ms, now}` → `failures_detected` `{failed_workers: [id…]}`
    pub(super) fn check_failures(&mut self, body: &Fields) -> Handled {
        let timeout_ms = body.integer("timeout_ms")?;
        let now = body.integer("now")?;
        // "Durations […] are not negative (12)."
        if timeout_ms < 0 {
            return Err(MALFORMED);
        }
        // "A worker never heard from (known by `reassign` alone) is timed from the first check that sees it: that
        // check's `now` becomes its last heartbeat."
        for index in 0..self.workers.len() {
            if self.workers[index].last_heartbeat.is_none() {
                let heard_before = self.workers[index].heard_before;
                self.workers[index].last_heartbeat = heard_before.max(Some(now));
                self.hit("worker timed from its first check");
            }
        }
        // "reports every known worker with `now - last_heartbeat > timeout_ms` (equal is still healthy), in the order
        // in which they became known"
        let silent: Vec<Worker> = self
            .workers
            .iter()
            .filter(|worker| {
                let last = worker.last_heartbeat.expect("every worker has one by now");
                i128::from(now) - i128::from(last) > i128::from(timeout_ms)
            })
            .cloned()
            .collect();
        // "A worker that was healthy before fails by it"
        for worker in &silent {
            if worker.failed {
                self.hit("check repeated on a failed worker");
            } else {
                for known in &mut self.workers {
                    if known.id == worker.id {
                        known.failed = true;
                    }
                }
                self.hit("worker fails by a check");
                self.lose_all_of(&worker.id);
            }
        }
        let failed_workers = silent.iter().map(|worker| quoted(&worker.id)).collect();
        Ok((
            "failures_detected",
            vec![("failed_workers", list(failed_workers))],
        ))
    }

    /// "its attempts are lost, and so are its completed map outputs that live on the worker […]: first those of its
    /// attempts, then those of its outputs, each in task order."
    /// CHOICE: one after the other, so a job that ends by one loss spares what would come after it.
    pub(super) fn lose_all_of(&mut self, worker_id: &str) {
        for t in 0..self.tasks.len() {
            if self.lose_attempt(t, worker_id) {
                self.settle(t);
            }
        }
        for t in 0..self.tasks.len() {
            let lives_there = match self.tasks[t].winner() {
                Some(winner) => self.tasks[t].worker_of(winner.attempt) == worker_id,
                None => false,
            };
            // "its completed map outputs that live on the worker (`map_output: "worker"`) while their job still has an
            // unfinished reduce task" "Reduce outputs, and the outputs of a job without reduce, survive always."
            if lives_there && self.tasks[t].is_map() {
                let job_id = self.tasks[t].job_id.clone();
                let some_reduce_unfinished = self
                    .tasks
                    .iter()
                    .any(|task| task.job_id == job_id && !task.is_map() && task.is_unfinished());
                if self.is_shared(&job_id) {
                    self.hit("shared output survives its worker");
                } else if !some_reduce_unfinished {
                    self.hit("output survives: no unfinished reduce");
                } else {
                    self.tasks[t]
                        .results
                        .last_mut()
                        .expect("there is a winner")
                        .lost = Some(OutputLost::WithItsWorker);
                    self.hit("output lost with its worker");
                    self.settle(t);
                }
            }
        }
    }

    /// Ends the live attempt that task `t` has on this worker, as lost. False if there is none.
    pub(super) fn lose_attempt(&mut self, t: usize, worker_id: &str) -> bool {
        let mut lost = false;
        let mut fetched = false;
        for attempt in &mut self.tasks[t].attempts {
            if attempt.worker == worker_id && attempt.ended.is_none() {
                attempt.ended = Some(End::Lost);
                self.events.push(Event::Lost);
                lost = true;
                fetched = attempt.fetched;
            }
        }
        if lost {
            self.hit(if fetched {
                "fetched attempt lost"
            } else {
                "attempt lost before it was fetched"
            });
        }
        lost
    }

    /// `reassign` `{failed_worker, healthy_worker, tasks?: [{id, chunk}…]}` → `reassigned` `{reassigned_tasks: [id…]}`
    pub(super) fn reassign(&mut self, body: &Fields) -> Handled {
        let failed_worker = body.text("failed_worker")?;
        let healthy_worker = body.text("healthy_worker")?;
        let given: Option<Vec<(String, String)>> = match body.optional("tasks") {
            Some(tasks) => Some(ids_and_chunks(tasks)?),
            None => None,
        };
        // "22 when the two workers are the same, or the healthy one has failed by a check and was not heard from since."
        if failed_worker == healthy_worker {
            self.hit("reassign: the same worker");
            return Err(PRECONDITION);
        }
        if self
            .workers
            .iter()
            .any(|worker| worker.id == healthy_worker && worker.failed)
        {
            self.hit("reassign: to a failed worker");
            return Err(PRECONDITION);
        }
        let mut candidates: Vec<(String, Option<String>)> = vec![];
        match given {
            // "With `tasks`, those, in that order, each once"
            Some(given) => {
                self.hit("reassign with tasks");
                for (id, chunk) in given {
                    if candidates.iter().any(|(earlier, _)| *earlier == id) {
                        self.hit("reassign: a task listed twice");
                    } else {
                        candidates.push((id, Some(chunk)));
                    }
                }
            }
            // "without, every unfinished task whose most recent attempt is or was on the failed worker, in task order"
            None => {
                self.hit("reassign without tasks");
                for task in &self.tasks {
                    if let Some(most_recent) = task.attempts.last()
                        && task.is_unfinished()
                        && most_recent.worker == failed_worker
                    {
                        candidates.push((task.id.clone(), None));
                    }
                }
            }
        }
        let mut reassigned: Vec<String> = vec![];
        for (id, chunk) in candidates {
            if self.position_of(&id).is_none() {
                self.take_in(
                    &id,
                    chunk.expect("only listed tasks can be unknown"),
                    &failed_worker,
                );
            }
            let t = self.position_of(&id).expect("it is known now");
            // "Left out of the reply, and untouched: finished tasks, and tasks with a live attempt on a third worker."
            if !self.tasks[t].is_unfinished() {
                self.hit("reassign: finished task left out");
                continue;
            }
            let live = self.tasks[t].live();
            if live
                .iter()
                .any(|attempt| attempt.worker != failed_worker && attempt.worker != healthy_worker)
            {
                self.hit("reassign: task on a third worker left out");
                continue;
            }
            // "their live attempts on the failed worker are lost"
            self.lose_attempt(t, &failed_worker);
            // "as a new attempt each (unless one is live there)" "Repeated, it starts nothing twice"
            if self.tasks[t].is_live_on(&healthy_worker) {
                self.hit("reassign: live there already");
                reassigned.push(quoted(&id));
                continue;
            }
            // "lost `max_losses` times […]: then it is given up"
            // CHOICE: by this loss as by any other; it is then not reassigned, and left out of the reply.
            if self.is_at_its_limits(t) {
                self.hit("reassign: task given up instead");
                self.give_up(t);
                continue;
            }
            // "A task that is waiting in the queue is taken out of it." A waiting backup "is dropped when the task […] is
            // reassigned".
            if self.queued_again.contains(&id) {
                self.hit("reassign: task taken out of the queue");
            }
            if self.backups_waiting.contains(&id) {
                self.hit("reassign: waiting backup dropped");
            }
            if !self.tasks[t].is_map() {
                self.hit("reassign: a reduce task");
            }
            if self.tasks[t].attempts.is_empty() {
                self.hit("reassign: a task never handed out");
            }
            self.leave_the_lines(t);
            // "or from a `reassign` that gives it a task"
            self.make_known(&healthy_worker);
            self.start_attempt(t, &healthy_worker);
            reassigned.push(quoted(&id));
        }
        Ok(("reassigned", vec![("reassigned_tasks", list(reassigned))]))
    }

    /// "An unknown task is taken in with its chunk, the failed worker's run counting as attempt 1, fetched and lost."
    /// CHOICE: it counts as an attempt started, too. The failed worker does not become known by it.
    pub(super) fn take_in(&mut self, id: &str, chunk: String, failed_worker: &str) {
        // "Tasks taken in by `reassign` form a job of their own with the id `""`: […] there from its first such task on
        // (and again after `remove_job`)"
        if !self.jobs.iter().any(|job| job.id.is_empty()) {
            self.jobs.push(Job {
                id: String::new(),
                submission: None,
                error: None,
            });
            self.hit("the job of tasks taken in appears");
        }
        self.ever_a_job = true;
        self.hit("task taken in");
        self.tasks.push(Task {
            id: id.to_string(),
            job_id: String::new(),
            kind: Kind::Map { chunk },
            attempts: vec![],
            results: vec![],
            errors: vec![],
            verdict: None,
        });
        let t = self.tasks.len() - 1;
        self.start_attempt(t, failed_worker);
        let attempt = self.tasks[t].attempts.last_mut().expect("just started");
        attempt.fetched = true;
        attempt.ended = Some(End::Lost);
        self.events.push(Event::Lost);
    }

    /// `remove_worker` `{worker_id}` → `worker_removed`: "as a failure, and then it is forgotten. 20 if unknown."
    /// CHOICE: what it was given is not forgotten: a late result of it is still accepted.
    pub(super) fn remove_worker(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        if !self.workers.iter().any(|worker| worker.id == worker_id) {
            return Err(UNKNOWN_KEY);
        }
        self.lose_all_of(&worker_id);
        self.workers.retain(|worker| worker.id != worker_id);
        Ok(("worker_removed", vec![]))
    }
}
