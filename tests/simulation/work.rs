//! What the simulated cluster computes: it counts words. Whatever happens on the way, the output of a job has to
//! be that of a sequential run.

use super::message::{Body, list, quoted};
use super::random::Random;
use serde_json::{Value, json};
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
    pub max_worker_failures: i64,
    pub avoid_ms: i64,
    pub task_timeout_ms: Option<i64>,
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
    /// Every other run fails.
    Flaky,
    /// It takes down each worker that runs it.
    Poison,
}

const WORDS: [&str; 8] = ["the", "map", "of", "a", "reduce", "to", "be", "é\"\\"];

impl Job {
    pub fn draw(id: String, random: &mut Random, max_maps: usize, max_reduces: usize) -> Self {
        let maps = (0..random.below(max_maps) + usize::from(!random.per_mille(50)))
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
            max_worker_failures: *random.pick(&[1, 2, 3, 3, 1000]),
            avoid_ms: *random.pick(&[0, 50, 500, 3000]),
            task_timeout_ms: *random.pick(&[None, None, Some(100), Some(2000)]),
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
        if self.max_worker_failures != 3 {
            body = body.json("max_worker_failures", self.max_worker_failures);
        }
        if self.avoid_ms != 60_000 {
            body = body.json("avoid_ms", self.avoid_ms);
        }
        if let Some(ms) = self.task_timeout_ms {
            body = body.json("task_timeout_ms", ms);
        }
        body
    }

    /// Whether these are the outputs of a sequential run, `null` where a task was given up.
    ///
    /// A map that is given up is left out of the reduces that are still to come. One that ran before, when the map
    /// was completed and its output not yet lost, has it in; so each may have it or not.
    pub fn is_right(&self, outputs: &[Value], skipped: &[String]) -> bool {
        let is_skipped = |id: &str| skipped.iter().any(|skipped| skipped == id);
        if self.reduces == 0 {
            let due = self.maps.iter().map(|map| {
                if is_skipped(&map.id) {
                    Value::Null
                } else {
                    json!(count_words(&map.chunk))
                }
            });
            return outputs.iter().cloned().eq(due);
        }
        outputs.len() == self.reduces
            && (0..self.reduces).zip(outputs).all(|(partition, output)| {
                if is_skipped(&format!("{}-reduce-{partition}", self.id)) {
                    return output.is_null();
                }
                let part = |map: &&Map| map_output(&map.chunk, self.reduces)[partition].clone();
                let (uncertain, certain): (Vec<&Map>, Vec<&Map>) =
                    self.maps.iter().partition(|map| is_skipped(&map.id));
                (0..1u32 << uncertain.len()).any(|with| {
                    let chosen = (0..)
                        .zip(&uncertain)
                        .filter(|(number, _)| with & (1 << number) != 0);
                    let maps = certain.iter().chain(chosen.map(|(_, map)| map));
                    json!(merge(maps.map(part))) == *output
                })
            })
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
pub fn run(task: &Value) -> String {
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
