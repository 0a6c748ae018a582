//! A simulated monitor: it looks for failed workers and for stragglers, and moves tasks as the course's
//! monitor does. It checks too often or too rarely, twice, and by a clock of its own.

use super::message::{Body, list, quoted};
use super::options::Options;
use super::random::Random;
use super::work::Job;
use super::worker::Clock;
use serde_json::Value;

pub struct Monitor {
    clock: Clock,
    timeout_ms: i64,
    pub every_ms: i64,
    /// Whom it has heard of as failed, and will take tasks from.
    failed: Vec<String>,
}

impl Monitor {
    pub fn draw(options: &Options, random: &mut Random) -> Self {
        Self {
            clock: Clock {
                drift: 0,
                stuck_at: None,
                ..Clock::draw(options, random)
            },
            timeout_ms: options.timeout_ms * random.between(1, 2),
            every_ms: options.check_ms * random.between(1, 2),
            failed: vec![],
        }
    }

    pub fn receive(&mut self, reply: &Value, options: &Options, random: &mut Random) {
        for failed in reply["failed_workers"].as_array().into_iter().flatten() {
            if random.per_mille(options.reassign) {
                self.failed.extend(failed.as_str().map(str::to_owned));
            }
        }
    }

    pub fn wake(
        &mut self,
        now_ms: i64,
        names: &[String],
        jobs: &[Job],
        options: &Options,
        random: &mut Random,
    ) -> Vec<Body> {
        let mut now = self.clock.show(now_ms, options.epoch_ms);
        if random.per_mille(options.long_clock_jump) {
            now = random.years_from(now);
        }
        let check = Body::new("check_failures")
            .json("timeout_ms", self.timeout_ms)
            .json("now", now);
        let mut check = check;
        if random.per_mille(options.max_failed) {
            check = check.json("max_failed", random.between(0, 2));
        }
        if random.per_mille(options.remove_after) {
            check = check.json("remove_after_ms", 2 * self.timeout_ms);
        }
        let mut said = vec![check.clone()];
        if random.per_mille(100) {
            said.push(check);
        }
        if random.per_mille(options.check_stragglers) {
            let body = Body::new("check_stragglers").json("now", now);
            said.push(match random.below(4) {
                0 | 1 => body,
                2 => body.json("slow_after_ms", options.task_ms),
                _ => body.json("slow_after_ms", options.task_ms * 4),
            });
        }
        // It may take a worker for failed that is not, or wants to have its tasks done elsewhere.
        if random.per_mille(options.reassign / 4) && !names.is_empty() {
            self.failed.push(random.pick(names).clone());
        }
        for failed in std::mem::take(&mut self.failed) {
            let others: Vec<&String> = names.iter().filter(|name| **name != failed).collect();
            if !others.is_empty() {
                let healthy = *random.pick(&others);
                said.push(reassign(&failed, healthy, jobs, options, random));
            }
        }
        said
    }
}

/// As the course's monitor: the tasks of a failed worker, all or by name, to one that is hopefully healthy.
fn reassign(
    failed: &str,
    healthy: &str,
    jobs: &[Job],
    options: &Options,
    random: &mut Random,
) -> Body {
    let body = Body::new("reassign")
        .text("failed_worker", failed)
        .text("healthy_worker", healthy);
    if !random.per_mille(options.reassign_named) {
        return body;
    }
    let maps = jobs.iter().flat_map(|job| &job.maps);
    let mut tasks: Vec<String> = maps
        .filter(|_| random.per_mille(300))
        .map(super::work::Map::listed)
        .collect();
    if random.per_mille(options.foreign_tasks) {
        let id = format!("foreign-{}", random.below(3));
        tasks.push(format!("{{\"id\": {}, \"chunk\": \"a b a\"}}", quoted(&id)));
    }
    body.json("tasks", list(tasks))
}
