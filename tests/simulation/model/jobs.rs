//! Jobs: `submit_job`, the status requests, `remove_job` (section 6).

use super::history::count;
use super::json::{Fields, Json, ids_and_chunks, list, object, quoted};
use super::messages::{Answer, Handled, KEY_EXISTS, MALFORMED, UNKNOWN_KEY};
use super::{Event, FREE_TEXT, Job, JobState, Kind, Model, Submission, Task, TaskState};

impl Model {
    /// `submit_job` `{job_id, tasks: [{id, chunk}…], reduce_tasks?, map_output?, max_failures?, max_losses?,
    /// max_skipped?}` → `job_submitted` `{job_id, map_tasks, reduce_tasks}`
    pub(super) fn submit_job(&mut self, body: &Fields) -> Handled {
        let job_id = body.text("job_id")?;
        let tasks = ids_and_chunks(body.get("tasks").ok_or(MALFORMED)?)?;
        // "default 0, at most 1,000,000"
        let reduce_tasks = body.optional_integer("reduce_tasks")?.unwrap_or(0);
        if !(0..=1_000_000).contains(&reduce_tasks) {
            return Err(MALFORMED);
        }
        // "`map_output`: `"worker"` (default, […]) or `"shared"`"
        let shared_map_output = match body.optional("map_output").map(Json::as_text) {
            None => false,
            Some(Some(text)) if text == "worker" => false,
            Some(Some(text)) if text == "shared" => true,
            Some(_) => return Err(MALFORMED),
        };
        // "(`max_failures` and `max_losses` are at least 1.)" "counts are not negative (12)"
        let max_failures = body.optional_integer("max_failures")?.unwrap_or(4);
        let max_losses = body.optional_integer("max_losses")?.unwrap_or(16);
        let max_skipped = body.optional_integer("max_skipped")?.unwrap_or(0);
        if max_failures < 1 || max_losses < 1 || max_skipped < 0 {
            return Err(MALFORMED);
        }
        let submission = Submission {
            tasks,
            reduce_tasks,
            shared_map_output,
            max_failures,
            max_losses,
            max_skipped,
        };
        let answer = (
            "job_submitted",
            vec![
                ("job_id", quoted(&job_id)),
                ("map_tasks", submission.tasks.len().to_string()),
                ("reduce_tasks", reduce_tasks.to_string()),
            ],
        );
        // "a job of their own with the id `""` (`submit_job` of that id: 21)"
        if job_id.is_empty() {
            self.hit("submit_job: the empty id");
            return Err(KEY_EXISTS);
        }
        // "The same `submit_job` sent again (same fields after defaults, chunks compared as text) answers the same;
        // another one under the same `job_id` gets 21."
        if let Some(job) = self.jobs.iter().find(|job| job.id == job_id) {
            return if job.submission.as_ref() == Some(&submission) {
                self.hit("submit_job: the same again");
                Ok(answer)
            } else {
                self.hit("submit_job: another under the same id");
                Err(KEY_EXISTS)
            };
        }
        // "the master adds `R` reduce tasks named `JOB-reduce-0` …"
        let maps = submission.tasks.iter().map(|(id, chunk)| {
            (
                id.clone(),
                Kind::Map {
                    chunk: chunk.clone(),
                },
            )
        });
        let reduces = (0..reduce_tasks).map(|partition| {
            (
                format!("{job_id}-reduce-{partition}"),
                Kind::Reduce { partition },
            )
        });
        let new: Vec<(String, Kind)> = maps.chain(reduces).collect();
        // "Task ids are unique across the master (21 otherwise)."
        for (n, (id, _)) in new.iter().enumerate() {
            if new[..n].iter().any(|(earlier, _)| earlier == id) {
                self.hit("submit_job: a task id twice");
                return Err(KEY_EXISTS);
            }
            if self.position_of(id).is_some() {
                self.hit("submit_job: a task id of another job");
                return Err(KEY_EXISTS);
            }
        }
        self.hit(if reduce_tasks > 0 {
            "job with reduces"
        } else {
            "job without reduces"
        });
        self.ever_a_job = true;
        self.jobs.push(Job {
            id: job_id.clone(),
            submission: Some(submission),
            error: None,
        });
        // "by submission, within a job maps before reduces"
        for (id, kind) in new {
            let job_id = job_id.clone();
            self.tasks.push(Task {
                id,
                job_id,
                kind,
                attempts: vec![],
                results: vec![],
                errors: vec![],
                verdict: None,
            });
        }
        // "A job of no tasks completes at once."
        self.end_job_if_completed(&job_id);
        Ok(answer)
    }
    /// `job_status_ok`: "`{job_id, state: "running"|"completed"|"failed", map: {idle, running, completed, skipped}, reduce:
    /// {…}, skipped?: [id…], error?, outputs?}`"
    pub(super) fn job_status(&mut self, body: &Fields) -> Handled {
        let job_id = body.text("job_id")?;
        let job = self
            .jobs
            .iter()
            .find(|job| job.id == job_id)
            .ok_or(UNKNOWN_KEY)?
            .clone();
        let tasks: Vec<Task> = self.tasks_of(&job_id).into_iter().cloned().collect();
        let counts = |maps: bool| {
            let of = |state: TaskState| {
                count(
                    tasks
                        .iter()
                        .filter(|task| task.is_map() == maps && task.state() == state),
                )
                .to_string()
            };
            object(&[
                ("idle", of(TaskState::Idle)),
                ("running", of(TaskState::Running)),
                ("completed", of(TaskState::Completed)),
                ("skipped", of(TaskState::Skipped)),
            ])
        };
        let state = self.job_state(&job);
        let mut fields = vec![
            ("job_id", quoted(&job_id)),
            ("state", quoted(state.name())),
            ("map", counts(true)),
            ("reduce", counts(false)),
        ];
        let skipped: Vec<String> = tasks
            .iter()
            .filter(|task| task.state() == TaskState::Skipped)
            .map(|task| quoted(&task.id))
            .collect();
        if !skipped.is_empty() {
            self.hit("job_status with skipped");
            fields.push(("skipped", list(skipped)));
        }
        // "`error` when failed"
        if let Some(error) = job.error {
            self.hit(if error == FREE_TEXT {
                "job_status with an error: lost"
            } else {
                "job_status with an error: failed"
            });
            fields.push(("error", error));
        }
        // "`outputs` when completed, in task order (of the reduces, or of the maps where there are none), `null` in the
        // place of a skipped one"
        if state == JobState::Completed {
            let has_reduces = tasks.iter().any(|task| !task.is_map());
            self.hit(if has_reduces {
                "job_status with outputs of reduces"
            } else {
                "job_status with outputs of maps"
            });
            let mut outputs = vec![];
            for task in tasks.iter().filter(|task| task.is_map() != has_reduces) {
                outputs.push(if let Some(winner) = task.winner() {
                    winner.output.clone()
                } else {
                    self.hit("job_status with an output skipped");
                    "null".to_string()
                });
            }
            fields.push(("outputs", list(outputs)));
        }
        Ok(("job_status_ok", fields))
    }

    /// `task_status_ok`: "`{task_id, job_id, state, attempts, failures, losses, workers: [id…], winner?: {worker_id,
    /// attempt}, output?}`: `workers` have its live attempts."
    pub(super) fn task_status(&mut self, body: &Fields) -> Handled {
        let task_id = body.text("task_id")?;
        let t = self.position_of(&task_id).ok_or(UNKNOWN_KEY)?;
        let task = &self.tasks[t];
        let mut fields = vec![
            ("task_id", quoted(&task_id)),
            ("job_id", quoted(&task.job_id)),
            ("state", quoted(task.state().name())),
            ("attempts", task.attempts.len().to_string()),
            ("failures", task.failures().to_string()),
            ("losses", task.losses().to_string()),
            (
                "workers",
                list(
                    task.live()
                        .iter()
                        .map(|attempt| quoted(&attempt.worker))
                        .collect(),
                ),
            ),
        ];
        if let Some(winner) = task.winner() {
            let worker_id = quoted(task.worker_of(winner.attempt));
            fields.push((
                "winner",
                object(&[
                    ("worker_id", worker_id),
                    ("attempt", winner.attempt.to_string()),
                ]),
            ));
            fields.push(("output", winner.output.clone()));
        }
        let state = task.state().name();
        if task.live().len() == 2 {
            self.hit("task_status of a task with two live attempts");
        }
        self.hit(&format!("task_status of a task {state}"));
        Ok(("task_status_ok", fields))
    }

    /// `status_ok`: "`{workers: {healthy, failed}, jobs: {running, completed, failed}, attempts: {started, completed,
    /// failed, lost, speculative}, duplicates_dropped}`: counters since the start"
    pub(super) fn status(&mut self) -> Answer {
        let workers = |failed: bool| {
            count(self.workers.iter().filter(|worker| worker.failed == failed)).to_string()
        };
        let jobs = |state: JobState| {
            count(self.jobs.iter().filter(|job| self.job_state(job) == state)).to_string()
        };
        let events = |event: Event| {
            count(self.events.iter().filter(|&&happened| happened == event)).to_string()
        };
        let fields = vec![
            (
                "workers",
                object(&[("healthy", workers(false)), ("failed", workers(true))]),
            ),
            (
                "jobs",
                object(&[
                    ("running", jobs(JobState::Running)),
                    ("completed", jobs(JobState::Completed)),
                    ("failed", jobs(JobState::Failed)),
                ]),
            ),
            (
                "attempts",
                object(&[
                    ("started", events(Event::Started)),
                    // "`completed` counts accepted results"
                    ("completed", events(Event::Completed)),
                    ("failed", events(Event::Failed)),
                    // "`lost` attempts lost (those of tasks taken in too)"
                    ("lost", events(Event::Lost)),
                    // "`speculative` backups handed out"
                    ("speculative", events(Event::Speculative)),
                ]),
            ),
            // "`duplicates_dropped` the `accepted: false` replies"
            ("duplicates_dropped", events(Event::DuplicateDropped)),
        ];
        ("status_ok", fields)
    }

    /// `remove_job` `{job_id}` → `job_removed` `{job_id}`: "forgets the job, its tasks and outputs, whatever their state;
    /// its ids are free again. 20 if unknown."
    pub(super) fn remove_job(&mut self, body: &Fields) -> Handled {
        let job_id = body.text("job_id")?;
        let job = self
            .jobs
            .iter()
            .find(|job| job.id == job_id)
            .ok_or(UNKNOWN_KEY)?;
        let rule = match self.job_state(job) {
            JobState::Running => "running job removed",
            JobState::Completed => "completed job removed",
            JobState::Failed => "failed job removed",
        };
        self.hit(rule);
        if job_id.is_empty() {
            self.hit("job of tasks taken in removed");
        }
        for t in 0..self.tasks.len() {
            if self.tasks[t].job_id == job_id {
                self.leave_the_lines(t);
            }
        }
        self.tasks.retain(|task| task.job_id != job_id);
        self.jobs.retain(|job| job.id != job_id);
        Ok(("job_removed", vec![("job_id", quoted(&job_id))]))
    }
}
