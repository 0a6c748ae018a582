//! Who gets which task: `request_task` (section 6).

use super::json::{Fields, element, list, object, quoted};
use super::messages::Handled;
use super::placement::{MOST_PASSED_OVER, Placement};
use super::{End, Event, JobState, Kind, Model, TaskState};

/// The rules of `request_task` that start an attempt.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Queued,
    Backup,
}

impl Model {
    /// `request_task` `{worker_id, timestamp, incarnation?, running?: [task_id…]}` → `task_assigned` `{task, cancel?:
    /// [task_id…]}` or `no_task` `{done, cancel?: [task_id…]}`
    pub(super) fn request_task(&mut self, body: &Fields) -> Handled {
        let worker_id = body.text("worker_id")?;
        let timestamp = body.integer("timestamp")?;
        let incarnation = body.optional_integer("incarnation")?;
        let running = body.optional_texts("running")?.unwrap_or_default();

        // "`request_task` is also a heartbeat."
        self.heard_as(&worker_id, timestamp, incarnation)?;
        self.worker_mut(&worker_id)
            .expect("it was heard from")
            .has_asked = true;
        self.end_exclusions(&worker_id);

        let (reply_type, mut fields) = if let Some((t, a)) = self.choose(&worker_id, &running) {
            let attempt = &mut self.tasks[t].attempts[a];
            if !attempt.fetched {
                attempt.fetched = true;
                attempt.fetched_at = Some(timestamp);
                // "An attempt runs from the `timestamp` of the request that first fetched it."
                attempt.runs_from = Some(timestamp);
                attempt.fetched_since_recovery = true;
            }
            ("task_assigned", vec![("task", self.task_to_hand_out(t, a))])
        } else {
            // "Its `done` is true once a job was submitted or taken in and none is unfinished."
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
        let cancel = self.cancel(&worker_id, &running);
        if !cancel.is_empty() {
            fields.push(("cancel", list(cancel)));
        }
        Ok((reply_type, fields))
    }

    /// "It hands out the first that applies": the task, and the index of its attempt.
    fn choose(&mut self, worker_id: &str, running: &[String]) -> Option<(usize, usize)> {
        if let Some(assigned) = self.choose_assigned(worker_id, running) {
            return Some(assigned);
        }
        // "2. the next queued task that is not in `running`, as a new attempt"
        // "3. a backup attempt of a straggler that this worker is not running, first detected first out"
        let queued = self.queue().into_iter().map(|t| (t, Rule::Queued));
        let backups = self.backups_waiting.iter().map(|id| {
            let t = self.position_of(id).expect("stragglers are known");
            (t, Rule::Backup)
        });
        let candidates: Vec<(usize, Rule)> = queued.chain(backups).collect();

        let mut passed_over: Vec<(usize, Rule)> = vec![];
        for (t, rule) in candidates {
            let task = &self.tasks[t];
            if running.contains(&task.id) || task.live_on(worker_id).is_some() {
                self.hit(match rule {
                    Rule::Queued => "request 2: passes over a running task",
                    Rule::Backup => "request 3: passes over its own straggler",
                });
                continue;
            }
            if self.is_behind_the_barrier(t) {
                self.hit(match rule {
                    Rule::Queued => "request 2: passes over a reduce behind the barrier",
                    Rule::Backup => "request 3: passes over a reduce behind the barrier",
                });
                continue;
            }
            // "A task passed over keeps its place."
            match (self.placement(t, worker_id), rule) {
                (Placement::Fits, _) => return Some(self.hand_out(t, rule, worker_id)),
                (Placement::Excluded, _) => self.hit("excluded from the job"),
                (Placement::OneAtATime, _) => self.hit("one task of the job at a time"),
                (Placement::History, _) => {
                    self.hit(match rule {
                        Rule::Queued => "request 2: passes over a task for its history",
                        Rule::Backup => "request 3: passes over a task for its history",
                    });
                    passed_over.push((t, rule));
                    // "when 100 tasks have been passed over in one request for their history, the first of them is handed out"
                    if passed_over.len() == MOST_PASSED_OVER {
                        self.hit("100 tasks passed over");
                        let (t, rule) = passed_over[0];
                        return Some(self.hand_out(t, rule, worker_id));
                    }
                }
            }
        }
        None
    }

    /// "1. an attempt that is already assigned to this worker and whose task is not in its `running` list, oldest first: a
    /// reassigned task, or one whose reply was lost. Same attempt number, inputs as they are now"
    fn choose_assigned(&mut self, worker_id: &str, running: &[String]) -> Option<(usize, usize)> {
        // CHOICE: the oldest is the one that was started first.
        let mut assigned: Vec<(usize, usize, usize)> = vec![];
        let mut held_back = false;
        for (t, task) in self.tasks.iter().enumerate() {
            if let Some(a) = task.live_on(worker_id)
                && !running.contains(&task.id)
            {
                if self.is_behind_the_barrier(t) {
                    held_back = true;
                } else {
                    assigned.push((task.attempts[a].born, t, a));
                }
            }
        }
        if held_back {
            self.hit("re-send behind the barrier");
        }
        let &(_, t, a) = assigned.iter().min()?;
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
        Some((t, a))
    }

    fn hand_out(&mut self, t: usize, rule: Rule, worker_id: &str) -> (usize, usize) {
        let id = self.tasks[t].id.clone();
        self.hit(match rule {
            Rule::Queued if self.queued_again.contains(&id) => "request 2: queued again",
            Rule::Queued => "request 2: never handed out",
            Rule::Backup if self.tasks[t].is_map() => "request 3: backup of a map",
            Rule::Backup => "request 3: backup of a reduce",
        });
        if rule == Rule::Backup {
            if self.backups_waiting[0] != id {
                self.hit("request 3: not the first in line");
            }
            // "`speculative` backups handed out"
            self.events.push(Event::Speculative);
        }
        if self.tasks[t]
            .attempts
            .iter()
            .any(|attempt| attempt.worker == worker_id && !attempt.marks.is_empty())
        {
            self.hit("handed out in spite of a mark");
        }
        self.leave_the_lines(t);
        self.start_attempt(t, worker_id);
        (t, self.tasks[t].attempts.len() - 1)
    }

    /// "`cancel`, left out when empty, lists the entries of `running`, each once, that the worker should stop"
    pub(super) fn cancel(&mut self, worker_id: &str, running: &[String]) -> Vec<String> {
        let mut cancel: Vec<String> = vec![];
        for id in running {
            if self.must_stop(worker_id, id) && !cancel.contains(&quoted(id)) {
                cancel.push(quoted(id));
            }
        }
        cancel
    }

    /// "those for which a result of this worker could not be accepted (unknown, given up, withdrawn, never given to it,
    /// completed by another worker; not its own completed task), and those whose latest attempt here has timed out. A task
    /// that is unfinished and was merely lost here is not cancelled"
    fn must_stop(&mut self, worker_id: &str, task_id: &str) -> bool {
        let Some(t) = self.position_of(task_id) else {
            self.hit("cancel: unknown");
            return true;
        };
        let task = &self.tasks[t];
        let given = task.given_to(worker_id);
        let latest_end = given.last().and_then(|attempt| attempt.ended);
        let (rule, must_stop) = match task.state() {
            TaskState::Skipped | TaskState::Failed => ("cancel: given up", true),
            TaskState::Withdrawn => ("cancel: withdrawn", true),
            _ if given.is_empty() => ("cancel: never given to it", true),
            TaskState::Completed => {
                let winner = task.winner().expect("completed");
                if task.worker_of(winner.attempt) == worker_id {
                    ("no cancel: its own completed task", false)
                } else {
                    ("cancel: completed by another", true)
                }
            }
            TaskState::Idle | TaskState::Running => match latest_end {
                Some(End::TimedOut { .. }) => ("cancel: timed out", true),
                None => ("no cancel: live", false),
                Some(_) => ("no cancel: a lost attempt of an unfinished one", false),
            },
        };
        self.hit(rule);
        must_stop
    }

    /// "`task` is `{id, job_id, kind: "map", attempt, chunk, partitions}` or `{id, job_id, kind: "reduce", attempt,
    /// partition, inputs: [{task_id, attempt, worker_id, output}…]}`"
    fn task_to_hand_out(&mut self, t: usize, a: usize) -> String {
        let task = self.tasks[t].clone();
        let mut fields = vec![("id", quoted(&task.id)), ("job_id", quoted(&task.job_id))];
        let attempt = task.attempts[a].number.to_string();
        match &task.kind {
            Kind::Map { chunk } => {
                // "`partitions` is R."
                let partitions = self.job(&task.job_id).settings.reduce_tasks;
                fields.push(("kind", quoted("map")));
                fields.push(("attempt", attempt));
                fields.push(("chunk", chunk.clone()));
                fields.push(("partitions", partitions.to_string()));
            }
            Kind::Reduce { partition } => {
                // "The inputs are in the order of the map tasks, each with that map's output for this partition, its winning
                // attempt, and the worker on which it lives." "Skipped maps are left out of `inputs`."
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
