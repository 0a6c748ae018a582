//! Simulated submitters: they send a job until it is answered, look how it goes, and now and then remove it, or
//! submit it again, or another one under its name.

use super::message::Body;
use super::options::Options;
use super::random::Random;
use super::work::Job;
use serde_json::Value;

pub struct Submitter {
    pub jobs: Vec<Job>,
    /// Which of them the master has confirmed.
    confirmed: Vec<bool>,
    /// How often they were sent since.
    tries: usize,
}

impl Submitter {
    pub fn draw(options: &Options, random: &mut Random) -> Self {
        let jobs: Vec<Job> = (0..options.jobs)
            .map(|number| {
                Job::draw(
                    format!("job{number}"),
                    random,
                    options.max_maps,
                    options.max_reduces,
                )
            })
            .collect();
        let confirmed = vec![false; jobs.len()];
        Self {
            jobs,
            confirmed,
            tries: 0,
        }
    }

    pub fn receive(&mut self, reply: &Value) {
        if reply["type"] == "job_submitted" {
            for (job, confirmed) in self.jobs.iter().zip(&mut self.confirmed) {
                *confirmed |= reply["job_id"] == *job.id;
            }
        }
    }

    pub fn wake(&mut self, options: &Options, random: &mut Random) -> Vec<Body> {
        let mut said = vec![];
        for (job, confirmed) in self.jobs.iter().zip(&mut self.confirmed) {
            if !*confirmed || random.per_mille(50) {
                said.push(job.submission());
                self.tries += 1;
            }
            // Something else may have its name, or those of its tasks: another job, or what a `reassign` that came first
            // has taken in. An operator clears that away.
            if !*confirmed && self.tries.is_multiple_of(8) {
                said.push(Body::new("remove_job").text("job_id", ""));
                said.push(Body::new("remove_job").text("job_id", &job.id));
            }
            if random.per_mille(options.remove_job) {
                said.push(Body::new("remove_job").text("job_id", &job.id));
                *confirmed = random.per_mille(300);
            }
            match random.below(40) {
                0 => said.push(Body::new("job_status").text("job_id", &job.id)),
                1 => said.push(job.submission().json("max_skipped", 9)),
                2 if options.remove_job > 0 => {
                    said.push(Body::new("remove_job").text("job_id", ""));
                }
                _ => {}
            }
        }
        if random.per_mille(100) {
            said.push(Body::new("status"));
        }
        said
    }

    pub fn confirmed(&self) -> usize {
        self.confirmed
            .iter()
            .filter(|confirmed| **confirmed)
            .count()
    }
}
