//! What the simulated cluster computes: it counts words. Whatever happens on the way, the output of a job has to
//! be that of a sequential run.

use super::message::{Body, list, quoted};
use super::random::Random;
use std::collections::BTreeMap;

type Counts = BTreeMap<String, i64>;

/// A job as its submitter knows it.
pub struct Job {
    pub id: String,
    pub maps: Vec<Map>,
    pub reduces: usize,
    pub shared_output: bool,
    pub max_failures: i64,
    pub max_losses: i64,
    pub max_skipped: i64,
}

pub struct Map {
    pub id: String,
    /// The words to count.
    pub chunk: String,
}

/// What is wrong with a task, whoever runs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Defect {
    None,
    /// Its first attempts fail, up to that number.
    FailsUntil(i64),
    /// It takes down each worker that runs it.
    Poison,
}

const WORDS: [&str; 8] = ["the", "map", "of", "a", "reduce", "to", "be", "é\"\\"];

impl Job {
    pub fn draw(id: String, random: &mut Random, max_maps: usize, max_reduces: usize) -> Self {
        let maps = (0..random.below(max_maps + 1))
            .map(|number| Map {
                id: format!("{id}-map-{number}"),
                chunk: (0..random.below(8))
                    .map(|_| *random.pick(&WORDS))
                    .collect::<Vec<_>>()
                    .join(" "),
            })
            .collect();
        Self {
            id,
            maps,
            reduces: random.below(max_reduces + 1),
            shared_output: random.per_mille(250),
            max_failures: *random.pick(&[1, 2, 3, 4, 4]),
            max_losses: *random.pick(&[1, 2, 3, 5, 16]),
            max_skipped: *random.pick(&[0, 0, 0, 1, 2]),
        }
    }

    pub fn submission(&self) -> Body {
        let tasks = self.maps.iter().map(Map::listed);
        let mut body = Body::new("submit_job")
            .text("job_id", &self.id)
            .json("tasks", list(tasks));
        // Defaults are left out, so that they are tried.
        if self.reduces > 0 {
            body = body.json("reduce_tasks", self.reduces);
        }
        if self.shared_output {
            body = body.text("map_output", "shared");
        }
        if self.max_failures != 4 {
            body = body.json("max_failures", self.max_failures);
        }
        if self.max_losses != 16 {
            body = body.json("max_losses", self.max_losses);
        }
        if self.max_skipped != 0 {
            body = body.json("max_skipped", self.max_skipped);
        }
        body
    }

    /// The job's outputs, as a sequential run would have them; the tasks given up are left out of it, as they
    /// are left out by the master.
    pub fn sequential_outputs(&self, skipped: &[String]) -> Vec<serde_json::Value> {
        let is_skipped = |id: &str| skipped.iter().any(|skipped| skipped == id);
        let partition_of_all = |partition: usize| {
            let maps = self.maps.iter().filter(|map| !is_skipped(&map.id));
            maps.map(move |map| map_output(&map.chunk, self.reduces)[partition].clone())
        };
        let or_null = |is_skipped: bool, counts: Counts| {
            if is_skipped {
                serde_json::Value::Null
            } else {
                serde_json::json!(counts)
            }
        };
        if self.reduces == 0 {
            let outputs = self.maps.iter();
            return outputs
                .map(|map| or_null(is_skipped(&map.id), count_words(&map.chunk)))
                .collect();
        }
        (0..self.reduces)
            .map(|partition| {
                let is_skipped = is_skipped(&format!("{}-reduce-{partition}", self.id));
                or_null(is_skipped, merge(partition_of_all(partition)))
            })
            .collect()
    }
}

impl Map {
    /// As an entry of `tasks`.
    pub fn listed(&self) -> String {
        format!(
            "{{\"id\": {}, \"chunk\": {}}}",
            quoted(&self.id),
            quoted(&self.chunk)
        )
    }
}

/// What a worker makes of a task that was handed to it: the output, as JSON.
pub fn run(task: &serde_json::Value) -> String {
    let output = match (task["chunk"].as_str(), task["partitions"].as_u64()) {
        (Some(chunk), Some(0)) => serde_json::to_string(&count_words(chunk)),
        (Some(chunk), Some(partitions)) => {
            let partitions = usize::try_from(partitions).expect("few partitions");
            serde_json::to_string(&map_output(chunk, partitions))
        }
        _ => {
            let inputs = task["inputs"].as_array().into_iter().flatten();
            let partitions = inputs
                .map(|input| serde_json::from_value(input["output"].clone()).unwrap_or_default());
            serde_json::to_string(&merge(partitions))
        }
    };
    output.expect("counts are always printable")
}

fn count_words(chunk: &str) -> Counts {
    let mut counts = Counts::new();
    for word in chunk.split_whitespace() {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

/// One part of the counts for each reduce task.
fn map_output(chunk: &str, reduces: usize) -> Vec<Counts> {
    let mut parts = vec![Counts::new(); reduces];
    for (word, count) in count_words(chunk) {
        let hash: usize = word.bytes().map(usize::from).sum();
        parts[hash % reduces].insert(word, count);
    }
    parts
}

fn merge(parts: impl Iterator<Item = Counts>) -> Counts {
    let mut total = Counts::new();
    for (word, count) in parts.flatten() {
        *total.entry(word).or_default() += count;
    }
    total
}
