//! How a job went; and the laws that hold whatever went wrong.

use super::client::Seen;
use super::harness::map_id;
use super::network::Messages;
use super::word_count;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// How a job went.
pub struct Outcome {
    pub chunks: Vec<String>,
    /// `job_status_ok`
    pub job: Value,
    /// `status_ok`
    pub status: Value,
    /// `task_status_ok`, by task.
    pub tasks: BTreeMap<String, Value>,
    /// What happened to the workers, in that order.
    pub seen: Vec<Seen>,
    pub messages: Messages,
    /// In ms since the epoch.
    pub ended_at: i64,
}

/// The attempts started, completed, failed, lost, and handed out as backups; and the results dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    pub lost: u64,
    pub speculative: u64,
    pub dropped: u64,
}

impl Outcome {
    /// The job has completed, and its outputs are the counts of the text: of all but the chunks skipped.
    pub fn assert_counts_are_right(&self) {
        assert_eq!(self.job["state"], "completed", "{}", self.job);
        let skipped = self.skipped();
        let counted = (0..).zip(&self.chunks).filter_map(|(number, chunk)| {
            let is_skipped = skipped.contains(&map_id(number));
            (!is_skipped).then_some(&**chunk)
        });
        let outputs = self.job["outputs"]
            .as_array()
            .expect("a completed job has outputs");
        assert!(
            word_count::merge(outputs) == word_count::count(counted),
            "the cluster's counts and the direct count differ"
        );
    }

    pub fn skipped(&self) -> Vec<String> {
        let ids = self.job["skipped"].as_array();
        let ids = ids.into_iter().flatten();
        ids.map(|id| id.as_str().expect("ids are strings").to_owned())
            .collect()
    }

    pub fn attempts(&self) -> Attempts {
        let counter = |name: &str| self.status["attempts"][name].as_u64().expect("a count");
        Attempts {
            started: counter("started"),
            completed: counter("completed"),
            failed: counter("failed"),
            lost: counter("lost"),
            speculative: counter("speculative"),
            dropped: self.status["duplicates_dropped"].as_u64().expect("a count"),
        }
    }

    /// How many attempts of a task there were.
    pub fn attempts_of(&self, task_id: &str) -> u64 {
        self.tasks[task_id]["attempts"].as_u64().expect("a count")
    }

    /// The tasks that had two attempts, sorted by id; none had more.
    pub fn run_twice(&self) -> Vec<&str> {
        let mut twice = Vec::new();
        for id in self.tasks.keys() {
            match self.attempts_of(id) {
                0 | 1 => {}
                2 => twice.push(&**id),
                more => panic!("{id} was run {more} times"),
            }
        }
        twice
    }

    /// The tasks that a worker fetched, in that order.
    pub fn fetched_by(&self, id: &str) -> Vec<&str> {
        let fetched = self.seen.iter().filter_map(|seen| match seen {
            Seen::Fetched { worker, task_id } if worker == id => Some(&**task_id),
            _ => None,
        });
        fetched.collect()
    }

    /// The tasks that workers had on their hands when they died.
    pub fn died_with(&self) -> Vec<&str> {
        let deaths = self.seen.iter().filter_map(|seen| match seen {
            Seen::Died { with, .. } => Some(with),
            _ => None,
        });
        deaths.flatten().map(|id| &**id).collect()
    }

    /// The tasks that a worker was told to stop.
    pub fn cancelled_on(&self, id: &str) -> Vec<&str> {
        let cancelled = self.seen.iter().filter_map(|seen| match seen {
            Seen::Cancelled { worker, task_id } if worker == id => Some(&**task_id),
            _ => None,
        });
        cancelled.collect()
    }

    /// Whether a reduce found that a map's output was gone.
    pub fn could_not_read(&self, id: &str) -> bool {
        self.seen
            .iter()
            .any(|seen| matches!(seen, Seen::CouldNotRead { map, .. } if map == id))
    }

    /// The tasks for which a worker had results accepted, or dropped, in that order.
    pub fn results_of(&self, id: &str, accepted_or_not: bool) -> Vec<&str> {
        let results = self.seen.iter().filter_map(|seen| match seen {
            Seen::Completed {
                worker,
                task_id,
                accepted,
            } if worker == id && *accepted == accepted_or_not => Some(&**task_id),
            _ => None,
        });
        results.collect()
    }
}

/// What the node said, reply by reply, lost ones included.
#[derive(Default)]
pub struct Ledger {
    /// The worker to which each attempt was given.
    given: HashMap<(String, u64), String>,
    /// The number of each task's latest attempt.
    latest: HashMap<String, u64>,
    dropped: u64,
    fewest_inputs: Option<usize>,
}

impl Ledger {
    /// Takes in a reply to a client.
    pub fn enter(&mut self, client: &str, reply: &Value) {
        if reply["accepted"] == false {
            self.dropped += 1;
        }
        let task = &reply["task"];
        let Some(task_id) = task["id"].as_str() else {
            return;
        };
        let attempt = task["attempt"].as_u64().expect("attempts are counted");
        let given = self.given.entry((task_id.to_owned(), attempt));
        let worker = given.or_insert_with(|| {
            let latest = self.latest.entry(task_id.to_owned()).or_default();
            *latest += 1;
            assert_eq!(attempt, *latest, "attempts of {task_id} count from 1");
            client.to_owned()
        });
        assert_eq!(
            worker, client,
            "attempt {attempt} of {task_id} is one worker's"
        );
        if let Some(inputs) = task["inputs"].as_array() {
            let number = |input: &Value| {
                let id = input["task_id"].as_str().expect("ids are strings");
                let number = id.trim_start_matches("map-").parse::<u64>();
                number.expect("inputs are outputs of maps")
            };
            assert!(
                inputs.is_sorted_by(|one, next| number(one) < number(next)),
                "the inputs of {task_id} are in the order of the maps"
            );
            let fewest = self.fewest_inputs.get_or_insert(inputs.len());
            *fewest = inputs.len().min(*fewest);
        }
    }

    /// What the node counted is what it said.
    pub fn check(&self, outcome: &Outcome) {
        let attempts = outcome.attempts();
        assert_eq!(
            attempts.started,
            self.given.len() as u64,
            "attempts started"
        );
        assert_eq!(attempts.dropped, self.dropped, "results dropped");
        for task_id in outcome.tasks.keys() {
            let latest = self.latest.get(task_id).copied().unwrap_or(0);
            assert_eq!(
                outcome.attempts_of(task_id),
                latest,
                "attempts of {task_id}"
            );
        }
        if let Some(fewest) = self.fewest_inputs {
            let maps = outcome.chunks.len() - outcome.skipped().len();
            assert!(fewest >= maps, "a reduce was run before all maps were");
        }
    }
}
