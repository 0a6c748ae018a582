//! `submit_job` and `remove_job` (section 6).

use super::json::{Fields, Json, ids_and_chunks, quoted};
use super::messages::{Handled, KEY_EXISTS, MALFORMED, Refused, UNKNOWN_KEY};
use super::{Job, JobState, Kind, Model, Settings};

impl Default for Settings {
    fn default() -> Self {
        Settings {
            reduce_tasks: 0,
            shared_map_output: false,
            max_failures: 4,
            max_losses: 16,
            max_skipped: 0,
            max_worker_failures: 3,
            avoid_ms: 60_000,
            task_timeout_ms: None,
        }
    }
}

impl Settings {
    fn read(body: &Fields) -> Result<Self, Refused> {
        let default = Settings::default();
        // "counts are not negative (12)"
        let count = |name: &str, default: i64, at_least: i64| match body.optional_integer(name)? {
            None => Ok(default),
            Some(count) if count >= at_least => Ok(count),
            Some(_) => Err(MALFORMED),
        };
        // "(default 0, at most 1,000,000)"
        let reduce_tasks = count("reduce_tasks", default.reduce_tasks, 0)?;
        if reduce_tasks > 1_000_000 {
            return Err(MALFORMED);
        }
        // "`"worker"` (the default […]) […], `"shared"`"
        let shared_map_output = match body.optional("map_output").map(Json::as_text) {
            None => false,
            Some(Some(text)) if text == "worker" => false,
            Some(Some(text)) if text == "shared" => true,
            Some(_) => return Err(MALFORMED),
        };
        Ok(Settings {
            reduce_tasks,
            shared_map_output,
            // "(default 4, at least 1)", "(default 16, at least 1 […])", "(default 0)", "(default 3, at least 1)"
            max_failures: count("max_failures", default.max_failures, 1)?,
            max_losses: count("max_losses", default.max_losses, 1)?,
            max_skipped: count("max_skipped", default.max_skipped, 0)?,
            max_worker_failures: count("max_worker_failures", default.max_worker_failures, 1)?,
            // "(of the job, default 60,000)"
            avoid_ms: count("avoid_ms", default.avoid_ms, 0)?,
            task_timeout_ms: body.optional_duration("task_timeout_ms")?,
        })
    }
}

impl Job {
    pub(super) fn new(id: String, tasks: Vec<(String, String)>, settings: Settings) -> Self {
        Job {
            id,
            tasks,
            settings,
            failure: None,
            failed_reports: vec![],
            exclusions_ended_at: None,
        }
    }
}

impl Model {
    /// `submit_job` `{job_id, tasks: [{id, chunk}…], reduce_tasks?, map_output?, max_failures?, max_losses?, max_skipped?,
    /// max_worker_failures?, avoid_ms?, task_timeout_ms?}` → `job_submitted` `{job_id, map_tasks, reduce_tasks}`
    pub(super) fn submit_job(&mut self, body: &Fields) -> Handled {
        let job_id = body.text("job_id")?;
        let tasks = ids_and_chunks(body.get("tasks").ok_or(MALFORMED)?)?;
        let settings = Settings::read(body)?;
        let reduce_tasks = settings.reduce_tasks;
        // "The reply gives the two counts."
        let answer = (
            "job_submitted",
            vec![
                ("job_id", quoted(&job_id)),
                ("map_tasks", tasks.len().to_string()),
                ("reduce_tasks", reduce_tasks.to_string()),
            ],
        );
        // "a job of their own with the id `""` (`submit_job` with that id is 21)"
        if job_id.is_empty() {
            self.hit("submit_job: the empty id");
            return Err(KEY_EXISTS);
        }
        // "The same `submit_job` sent again (same fields after defaults, chunks compared as text) answers the same; a
        // different one under the same `job_id` is 21."
        if let Some(job) = self.jobs.iter().find(|job| job.id == job_id) {
            return if job.tasks == tasks && job.settings == settings {
                self.hit("submit_job: the same again");
                Ok(answer)
            } else {
                self.hit("submit_job: another under the same id");
                Err(KEY_EXISTS)
            };
        }
        // "the master adds `R` reduce tasks named `JOB-reduce-0` and so on"
        let maps = tasks.iter().map(|(id, chunk)| {
            let chunk = chunk.clone();
            (id.clone(), Kind::Map { chunk })
        });
        let reduces = (0..reduce_tasks).map(|partition| {
            let id = format!("{job_id}-reduce-{partition}");
            (id, Kind::Reduce { partition })
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
        if self.highest_removed_attempt > 0 {
            self.hit("attempts start above those removed");
        }
        self.ever_a_job = true;
        self.jobs.push(Job::new(job_id.clone(), tasks, settings));
        // "by submission, and within a job maps before reduces"
        for (id, kind) in new {
            self.add_task(id, job_id.clone(), kind);
        }
        // "A job without tasks completes at once."
        self.end_job_if_completed(&job_id);
        Ok(answer)
    }

    /// `remove_job` `{job_id}` → `job_removed` `{job_id}`: "forgets the job, its tasks and outputs, whatever their state. Its
    /// ids are free again. 20 if unknown."
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
                // "one above the highest attempt number of any removed task"
                if let Some(last) = self.tasks[t].attempts.last() {
                    self.highest_removed_attempt = self.highest_removed_attempt.max(last.number);
                }
            }
        }
        self.tasks.retain(|task| task.job_id != job_id);
        self.jobs.retain(|job| job.id != job_id);
        Ok(("job_removed", vec![("job_id", quoted(&job_id))]))
    }
}
