//! The beginning and the end of a story, from what the master says about its state.

use super::Collector;
use crate::master::{Kind, Master};
use crate::timeline::story::{JobEnd, Numbers, Story};
use crate::wire::{Reply, Request};

impl Collector {
    /// Starts the story from the state of a compacted journal. Returns whether that state is not empty.
    pub fn resume(&mut self, master: &mut Master) -> bool {
        let mut running = Vec::new();
        if let Ok(Reply::WorkerList { workers }) = master.handle(Request::ListWorkers) {
            let now = workers
                .iter()
                .filter_map(|worker| worker.last_heartbeat)
                .max();
            self.now = now;
            self.story.origin = now.unwrap_or_default();
            for worker in workers {
                let at = worker.last_heartbeat.or(now).unwrap_or(0);
                let index = self.worker(worker.worker_id, at);
                self.story.workers[index]
                    .heard
                    .extend(worker.last_heartbeat);
                for attempt in worker.running {
                    running.push((attempt.task_id.into_owned(), attempt.attempt, index));
                }
            }
        }
        let now = self.now.unwrap_or(0);
        if let Ok(Reply::JobList { jobs }) = master.handle(Request::ListJobs) {
            for job in jobs {
                let index = self.job(job.job_id, now);
                self.story.jobs[index].ended = match job.state {
                    "completed" => Some((now, JobEnd::Completed)),
                    "failed" => Some((now, JobEnd::Failed)),
                    _ => None,
                };
                self.unstarted[index] = [job.map.idle, job.reduce.idle];
            }
        }
        for (id, number, worker) in running {
            let kind = master.kind_of_task(&id).unwrap_or(Kind::Map);
            let request = Request::TaskStatus {
                task_id: id.as_str().into(),
            };
            if let Ok(Reply::TaskStatusOk(status)) = master.handle(request) {
                let job = status.job_id.to_owned();
                let task = self.start_task(&id, &job, kind, now);
                self.start(task, number, worker, false, Some(now), now);
            }
        }
        !self.story.workers.is_empty() || !self.story.jobs.is_empty()
    }

    /// The story, up to where `master` is now.
    pub fn finish(mut self, master: &mut Master) -> Story {
        if self.now.is_none() {
            self.now = Some(0);
            let before_first_time = std::mem::take(&mut self.before_first_time);
            self.apply_all(&before_first_time, 0);
        }
        for job in 0..self.story.jobs.len() {
            self.stop_waiting(job, None);
        }
        if let Ok(Reply::JobList { jobs }) = master.handle(Request::ListJobs) {
            for job in jobs {
                if let Some(index) = self.jobs.get(job.job_id) {
                    let story = &mut self.story.jobs[*index];
                    (story.maps, story.reduces) = (job.map, job.reduce);
                    (story.map_tasks, story.reduce_tasks) = (job.map.total(), job.reduce.total());
                }
            }
        }
        if let Ok(Reply::StatusOk(status)) = master.handle(Request::Status) {
            let attempts = status.attempts;
            self.story.numbers = Numbers {
                healthy_workers: status.workers.healthy,
                failed_workers: status.workers.failed,
                started: attempts.started,
                completed: attempts.completed,
                failed: attempts.failed,
                lost: attempts.lost,
                speculative: attempts.speculative,
                duplicates_dropped: status.duplicates_dropped,
                ..Numbers::default()
            };
        }
        for worker in &mut self.story.workers {
            worker.heard.sort_unstable();
            worker.heard.dedup();
            worker.joined = worker
                .heard
                .first()
                .map_or(worker.joined, |first| worker.joined.min(*first));
        }
        let (_, now) = self.story.span();
        self.story.assign_lanes(now);
        self.story.count_costs(now);
        self.story
    }
}
