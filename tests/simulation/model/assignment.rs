//! Who gets which task: `request_task` (section 6).

use super::json::{Fields, element, list, object, quoted};
use super::messages::Handled;
use super::{Event, JobState, Kind, Model, TaskState};

impl Model {
    /// `request_task` `{worker_id, timestamp, running?: [task_id…]}` → `task_assigned` `{task, cancel?: [task_id…]}` or
    /// `no_task` `{done, cancel?: [task_id…]}`
    pub(super) fn request_task(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        let timestamp = body.integer("timestamp")?;
        let running = body.optional_texts("running")?.unwrap_or_default();

        // "`request_task` is also a heartbeat."
        self.heard(&worker_id, timestamp);

        let answer = if let Some((t, attempt)) = self.choose(&worker_id, &running) {
            let given = &mut self.tasks[t].attempts[attempt];
            if !given.fetched {
                given.fetched = true;
                given.fetched_at = Some(timestamp);
            }
            (
                "task_assigned",
                vec![("task", self.task_to_hand_out(t, attempt))],
            )
        } else {
            // "`done` is true once a job was submitted or taken in and none is unfinished"
            let none_unfinished = self
                .jobs
                .iter()
                .all(|job| self.job_state(job) != JobState::Running);
            let done = self.ever_a_job && none_unfinished;
            self.hit(if done {
                "no_task: done"
            } else {
                "no_task: not done"
            });
            ("no_task", vec![("done", done.to_string())])
        };
        // "`cancel`, left out when empty, lists the entries of `running`, each once, for which a result of this worker
        // could not be accepted"
        let mut cancel: Vec<String> = vec![];
        for id in &running {
            if self.must_cancel(&worker_id, id) && !cancel.contains(&quoted(id)) {
                cancel.push(quoted(id));
            }
        }
        let (reply_type, mut fields) = answer;
        if !cancel.is_empty() {
            fields.push(("cancel", list(cancel)));
        }
        Ok((reply_type, fields))
    }

    /// What `request_task` hands out, "the first that applies": the task, and the index of its attempt.
    pub(super) fn choose(&mut self, worker_id: &str, running: &[String]) -> Option<(usize, usize)> {
        // "1. an attempt already assigned to this worker whose task is not in its `running` list, oldest first: a
        // reassigned task, or one whose reply was lost."
        // CHOICE: the oldest is the one that was started first.
        let mut assigned: Vec<(usize, usize, usize)> = vec![];
        let mut held_back = false;
        for (t, task) in self.tasks.iter().enumerate() {
            for (a, attempt) in task.attempts.iter().enumerate() {
                if attempt.worker == worker_id
                    && attempt.ended.is_none()
                    && !running.contains(&task.id)
                {
                    if self.is_behind_the_barrier(t) {
                        held_back = true;
                    } else {
                        assigned.push((attempt.born, t, a));
                    }
                }
            }
        }
        if held_back {
            self.hit("re-send behind the barrier");
        }
        if let Some(&(_, t, a)) = assigned.iter().min() {
            if assigned.len() > 1 {
                self.hit("request 1: several to choose from");
            }
            if assigned.iter().any(|&(_, other, _)| other < t) {
                self.hit("request 1: the oldest is not the first in task order");
            }
            let fetched = self.tasks[t].attempts[a].fetched;
            self.hit(if fetched {
                "request 1: sent again"
            } else {
                "request 1: reassigned"
            });
            if fetched && !self.tasks[t].is_map() {
                self.hit("request 1: reduce sent again");
            }
            return Some((t, a));
        }
        // "2. the next queued task not in `running`, as a new attempt"
        for t in self.queue() {
            let id = self.tasks[t].id.clone();
            if running.contains(&id) {
                self.hit("request 2: passes over a running task");
            } else if self.is_behind_the_barrier(t) {
                self.hit("request 2: passes over a reduce behind the barrier");
            } else {
                self.hit(if self.queued_again.contains(&id) {
                    "request 2: queued again"
                } else {
                    "request 2: never handed out"
                });
                self.leave_the_lines(t);
                self.start_attempt(t, worker_id);
                return Some((t, self.tasks[t].attempts.len() - 1));
            }
        }
        // "3. a backup attempt of a straggler that this worker is not running, first detected first out"
        for id in self.backups_waiting.clone() {
            let t = self.position_of(&id).expect("stragglers are known");
            if running.contains(&id) || self.tasks[t].is_live_on(worker_id) {
                self.hit("request 3: passes over its own straggler");
            } else if self.is_behind_the_barrier(t) {
                self.hit("request 3: passes over a reduce behind the barrier");
            } else {
                self.hit(if self.tasks[t].is_map() {
                    "request 3: backup of a map"
                } else {
                    "request 3: backup of a reduce"
                });
                if self.backups_waiting[0] != id {
                    self.hit("request 3: not the first in line");
                }
                self.leave_the_lines(t);
                self.start_attempt(t, worker_id);
                self.events.push(Event::Speculative);
                return Some((t, self.tasks[t].attempts.len() - 1));
            }
        }
        None
    }

    /// "unknown, given up, withdrawn, never given to it, or completed by another (not its own completed task, nor a lost
    /// attempt of an unfinished one)"
    pub(super) fn must_cancel(&mut self, worker_id: &str, task_id: &str) -> bool {
        let Some(t) = self.position_of(task_id) else {
            self.hit("cancel: unknown");
            return true;
        };
        let task = &self.tasks[t];
        let given = task
            .attempts
            .iter()
            .any(|attempt| attempt.worker == worker_id);
        let (rule, cancel) = match task.state() {
            TaskState::Skipped | TaskState::Failed => ("cancel: given up", true),
            TaskState::Withdrawn => ("cancel: withdrawn", true),
            _ if !given => ("cancel: never given to it", true),
            TaskState::Completed => {
                let winner = task.winner().expect("completed");
                if task.worker_of(winner.attempt) == worker_id {
                    ("no cancel: its own completed task", false)
                } else {
                    ("cancel: completed by another", true)
                }
            }
            TaskState::Idle | TaskState::Running if task.is_live_on(worker_id) => {
                ("no cancel: live", false)
            }
            TaskState::Idle | TaskState::Running => {
                ("no cancel: a lost attempt of an unfinished one", false)
            }
        };
        self.hit(rule);
        cancel
    }

    /// "`task` is `{id, job_id, kind: "map", attempt, chunk, partitions}` or `{id, job_id, kind: "reduce", attempt,
    /// partition, inputs: [{task_id, attempt, worker_id, output}…]}`"
    pub(super) fn task_to_hand_out(&mut self, t: usize, attempt: usize) -> String {
        let task = self.tasks[t].clone();
        let mut fields = vec![("id", quoted(&task.id)), ("job_id", quoted(&task.job_id))];
        let attempt = (attempt + 1).to_string();
        match &task.kind {
            Kind::Map { chunk } => {
                fields.push(("kind", quoted("map")));
                fields.push(("attempt", attempt));
                fields.push(("chunk", chunk.clone()));
                // "`partitions` is R."
                fields.push(("partitions", self.partitions(&task.job_id).to_string()));
            }
            Kind::Reduce { partition } => {
                // "the inputs in the order of the map tasks, each with that map's output for this partition, its winning
                // attempt, and the worker on which it lives"; "skipped ones are left out of `inputs`"
                let mut inputs = vec![];
                for map in self.tasks.clone() {
                    if map.job_id != task.job_id || !map.is_map() {
                        continue;
                    }
                    let Some(winner) = map.winner() else {
                        assert_eq!(map.state(), TaskState::Skipped, "the barrier is open");
                        self.hit("reduce input skipped");
                        continue;
                    };
                    inputs.push(object(&[
                        ("task_id", quoted(&map.id)),
                        ("attempt", winner.attempt.to_string()),
                        ("worker_id", quoted(map.worker_of(winner.attempt))),
                        ("output", element(&winner.output, *partition)),
                    ]));
                }
                fields.push(("kind", quoted("reduce")));
                fields.push(("attempt", attempt));
                fields.push(("partition", partition.to_string()));
                fields.push(("inputs", list(inputs)));
            }
        }
        object(&fields)
    }
}
