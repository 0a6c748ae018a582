//! Questions, which change nothing: `job_status`, `task_status`, `status`, `list_jobs`, `list_workers` (sections 5 and 6).

use super::history::count;
use super::json::{Fields, list, object, quoted};
use super::messages::{Answer, Handled, UNKNOWN_KEY};
use super::{Event, FREE_TEXT, Job, JobState, Model, Task, TaskState};
use std::collections::BTreeMap;

impl Model {
    /// `{job_id, state: "running"|"completed"|"failed", map: {idle, running, completed, skipped, failed, withdrawn}, reduce:
    /// {…}, skipped?: [id…], failed_task?, error?, counters?: {…}, outputs?}`
    pub(super) fn job_status(&mut self, body: &Fields) -> Handled {
        let job_id = body.text("job_id")?;
        let job = self
            .jobs
            .iter()
            .find(|job| job.id == job_id)
            .ok_or(UNKNOWN_KEY)?
            .clone();
        let tasks: Vec<Task> = self.tasks_of(&job_id).into_iter().cloned().collect();
        let mut fields = self.job_summary(&job);
        let skipped: Vec<String> = tasks
            .iter()
            .filter(|task| task.state() == TaskState::Skipped)
            .map(|task| quoted(&task.id))
            .collect();
        if !skipped.is_empty() {
            self.hit("job_status with skipped");
            fields.push(("skipped", list(skipped)));
        }
        // "`failed_task` and `error` are there when the job failed"
        if let Some((failed_task, error)) = job.failure.clone() {
            self.hit(if error == FREE_TEXT {
                "job_status with an error: the master's"
            } else {
                "job_status with an error: a worker's"
            });
            fields.push(("failed_task", quoted(&failed_task)));
            fields.push(("error", error));
        }
        // "`counters` when there are any, by name in ascending order of bytes"
        let counters = sums(&tasks);
        if !counters.is_empty() {
            self.hit("job_status with counters");
            let printed: Vec<String> = counters
                .iter()
                .map(|(name, sum)| format!("{}: {sum}", quoted(name)))
                .collect();
            fields.push(("counters", format!("{{{}}}", printed.join(", "))));
        }
        // "`outputs` when it completed, in task order (of the reduces, or of the maps where there are none), `null` in the
        // place of a skipped one"
        if self.job_state(&job) == JobState::Completed {
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

    /// `{job_id, state, map: {…}, reduce: {…}}`
    fn job_summary(&self, job: &Job) -> Vec<(&'static str, String)> {
        let tasks = self.tasks_of(&job.id);
        let counts = |maps: bool| {
            let counts = TaskState::ALL.map(|state| {
                let of = tasks
                    .iter()
                    .filter(|task| task.is_map() == maps && task.state() == state);
                (state.name(), count(of).to_string())
            });
            object(&counts)
        };
        vec![
            ("job_id", quoted(&job.id)),
            ("state", quoted(self.job_state(job).name())),
            ("map", counts(true)),
            ("reduce", counts(false)),
        ]
    }

    /// `job_list` `{jobs: [{job_id, state, map: {…}, reduce: {…}}…]}`: "in the order in which they were submitted"
    pub(super) fn list_jobs(&mut self) -> Answer {
        let jobs: Vec<String> = self
            .jobs
            .iter()
            .map(|job| object(&self.job_summary(job)))
            .collect();
        ("job_list", vec![("jobs", list(jobs))])
    }

    /// `worker_list` `{workers: [{worker_id, state: "healthy"|"failed", last_heartbeat?, running: [{task_id, attempt}…]}…]}`:
    /// "in the order in which they became known"
    pub(super) fn list_workers(&mut self) -> Answer {
        let mut workers = vec![];
        for worker in &self.workers {
            let state = if worker.failed { "failed" } else { "healthy" };
            let mut fields = vec![("worker_id", quoted(&worker.id)), ("state", quoted(state))];
            if let Some(last_heartbeat) = worker.last_heartbeat {
                fields.push(("last_heartbeat", last_heartbeat.to_string()));
            }
            // CHOICE: its live attempts, fetched or not, in task order.
            let mut running = vec![];
            for task in &self.tasks {
                if let Some(a) = task.live_on(&worker.id) {
                    let attempt = task.attempts[a].number.to_string();
                    running.push(object(&[
                        ("task_id", quoted(&task.id)),
                        ("attempt", attempt),
                    ]));
                }
            }
            fields.push(("running", list(running)));
            workers.push(object(&fields));
        }
        ("worker_list", vec![("workers", list(workers))])
    }

    /// `{task_id, job_id, state: …, attempts, failures, losses, workers: [id…], winner?: {worker_id, attempt}, output?}`:
    /// "`attempts` is how many there were, `workers` are those with a live one, in the order of their attempts."
    pub(super) fn task_status(&mut self, body: &Fields) -> Handled {
        let task_id = body.text("task_id")?;
        let t = self.position_of(&task_id).ok_or(UNKNOWN_KEY)?;
        let task = &self.tasks[t];
        let live = task.live();
        let workers = live.iter().map(|attempt| quoted(&attempt.worker)).collect();
        let mut fields = vec![
            ("task_id", quoted(&task_id)),
            ("job_id", quoted(&task.job_id)),
            ("state", quoted(task.state().name())),
            ("attempts", task.attempts.len().to_string()),
            ("failures", task.failures().to_string()),
            ("losses", task.losses().to_string()),
            ("workers", list(workers)),
        ];
        if let Some(winner) = task.winner() {
            let winning = object(&[
                ("worker_id", quoted(task.worker_of(winner.attempt))),
                ("attempt", winner.attempt.to_string()),
            ]);
            fields.push(("winner", winning));
            fields.push(("output", winner.output.clone()));
        }
        let state = task.state().name();
        if live.len() == 2 {
            self.hit("task_status of a task with two live attempts");
        }
        self.hit(&format!("task_status of a task {state}"));
        Ok(("task_status_ok", fields))
    }

    /// `{workers: {healthy, failed}, jobs: {running, completed, failed}, attempts: {started, completed, failed, lost,
    /// speculative}, duplicates_dropped}`: "Workers and jobs are counted as they are now; the rest since the start."
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
                    ("completed", events(Event::Completed)),
                    ("failed", events(Event::Failed)),
                    ("lost", events(Event::Lost)),
                    ("speculative", events(Event::Speculative)),
                ]),
            ),
            ("duplicates_dropped", events(Event::DuplicateDropped)),
        ];
        ("status_ok", fields)
    }
}

/// "their sums over the accepted results, each task once: […] when an output was lost, the next accepted result's counters
/// replace those of the lost one (which stay if the task is given up or withdrawn). Sums are exact, beyond 64 bits, too."
fn sums(tasks: &[Task]) -> BTreeMap<String, i128> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for task in tasks {
        if let Some(latest) = task.results.last() {
            for (name, value) in &latest.counters {
                *sums.entry(name.clone()).or_default() += i128::from(*value);
            }
        }
    }
    sums
}

/// For whoever compares the model with a master.
impl Model {
    /// The ids of the jobs and tasks that there are.
    #[must_use]
    pub fn known_ids(&self) -> (Vec<&str>, Vec<&str>) {
        (
            self.jobs.iter().map(|job| &*job.id).collect(),
            self.tasks.iter().map(|task| &*task.id).collect(),
        )
    }

    /// The `msg_id` of the next reply in an envelope.
    #[must_use]
    pub fn next_msg_id(&self) -> u64 {
        self.enveloped_replies
    }

    /// The live attempts: worker, task, attempt number.
    #[must_use]
    pub fn live_attempts(&self) -> Vec<(String, String, i64)> {
        let mut live = vec![];
        for task in &self.tasks {
            for attempt in task.live() {
                live.push((attempt.worker.clone(), task.id.clone(), attempt.number));
            }
        }
        live
    }
}
