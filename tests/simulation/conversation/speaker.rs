//! Who talks in a random conversation: one that knows the names of everyone, and keeps to no plan.
//!
//! Every conversation draws its own options, extremes included, so that some have no clock that is wrong, some no
//! reassignments, some nothing but failures. Times are drawn around those that were used before, at the distances that
//! the rules are about: equal, one more, a timeout later.

use super::super::message::Body;
use super::super::random::Random;
use super::super::witness::Input;
use super::requests::Kind;

/// An attempt that was handed out, and what there is to report on it.
#[derive(Clone)]
pub struct Given {
    pub worker: String,
    pub task: String,
    pub attempt: i64,
    /// How many elements the output of this map has.
    pub partitions: Option<usize>,
    /// Of a reduce: the maps, with their winning attempts.
    pub inputs: Vec<(String, i64)>,
}

pub struct Speaker {
    pub random: Random,
    pub workers: Vec<String>,
    pub jobs: Vec<String>,
    /// How many maps a job has at most.
    pub maps: usize,
    pub reduces: usize,
    /// How often each kind of message comes.
    weights: Vec<(Kind, usize)>,
    pub messages: usize,
    pub now: i64,
    step_ms: i64,
    recent_times: Vec<i64>,
    /// Distances between times at which something changes.
    pub distances: Vec<i64>,
    /// Of a thousand times, how many are far from all others.
    wild_times: u32,
    /// Of a thousand times, how many are those used before, or at a distance from them.
    near_times: u32,
    pub incarnations: bool,
    pub says_running: u32,
    crashes: u32,
    /// How often a node goes on from a snapshot; only where none crashes, since it keeps no journal.
    restores: u32,
    pub given: Vec<Given>,
    /// Of a thousand reports, how many are on one of the latest attempts, and right.
    pub honesty: u32,
    /// What is said next, last first.
    planned: Vec<Body>,
    /// Jobs as they were submitted, to be submitted again.
    pub submissions: Vec<String>,
}

impl Speaker {
    pub fn draw(seed: u64, crashes: bool) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_7a1c);
        let r = &mut random;
        let workers = 1 + r.below(5);
        let jobs = 1 + r.below(3);
        let weights = Kind::ALL
            .iter()
            .map(|&(kind, weight)| (kind, weight * r.pick(&[0, 1, 1, 1, 3])))
            .collect();
        let mut distances = vec![0, 0, 1];
        for _ in 0..3 {
            distances.push(*r.pick(&[1, 2, 5, 10, 50, 100, 1000, 60_000]));
        }
        let mut speaker = Self {
            workers: (1..=workers).map(|number| format!("w{number}")).collect(),
            jobs: ["a", "b", "c"][..jobs]
                .iter()
                .map(|id| (*id).to_owned())
                .collect(),
            maps: 1 + r.below(4),
            reduces: r.below(3),
            weights,
            messages: *r.pick(&[20, 40, 60, 80, 160]),
            now: *r.pick(&[
                0,
                0,
                1000,
                1_700_000_000_000,
                -500,
                i64::MAX - 1_000_000,
                i64::MIN + 1000,
            ]),
            step_ms: *r.pick(&[1, 1, 5, 60, 1000]),
            recent_times: vec![],
            distances,
            wild_times: *r.pick(&[0, 0, 10, 100]),
            near_times: *r.pick(&[0, 300, 700]),
            incarnations: r.per_mille(300),
            says_running: *r.pick(&[0, 300, 800]),
            restores: 0,
            crashes: if crashes {
                *r.pick(&[0, 0, 30, 100])
            } else {
                0
            },
            given: vec![],
            honesty: *r.pick(&[0, 500, 900, 950]),
            planned: vec![],
            submissions: vec![],
            random,
        };
        if crashes && speaker.crashes == 0 {
            speaker.restores = *speaker.random.pick(&[0, 50, 200]);
        }
        if speaker.random.per_mille(30) {
            speaker.planned = speaker.pass_over_many();
            speaker.planned.reverse();
        }
        speaker
    }

    /// The next thing that happens.
    pub fn speak(&mut self) -> Input {
        if self.random.per_mille(self.crashes) {
            return match self.random.below(3) {
                0 => Input::Crash { compacts: false },
                1 => Input::Crash { compacts: true },
                _ => {
                    let (line, _) = self.request();
                    Input::CrashAt(line)
                }
            };
        }
        if self.random.per_mille(self.restores) {
            return Input::Restore;
        }
        let (line, is_noise) = self.request();
        if is_noise {
            Input::Noise(line)
        } else {
            Input::Message(line)
        }
    }

    fn request(&mut self) -> (String, bool) {
        let total: usize = self.weights.iter().map(|(_, weight)| weight).sum();
        if let Some(body) = self.planned.pop() {
            return (body.line(None, None), false);
        }
        let kind = if self.submissions.is_empty() && self.random.per_mille(700) || total == 0 {
            Kind::Submit
        } else {
            let mut at = self.random.below(total);
            let chosen = self.weights.iter().find(|(_, weight)| {
                let is_here = at < *weight;
                at = at.saturating_sub(*weight);
                is_here
            });
            chosen.map_or(Kind::Submit, |(kind, _)| *kind)
        };
        let is_noise = kind == Kind::Noise;
        let body = self.body(kind);
        let line = match self.random.below(20) {
            0 => body.line(Some(self.random.between(-1, 99)), None),
            1 => body.line(None, Some("c1")),
            2 => body.line(Some(i64::MAX), Some("c\"2")),
            _ => body.line(None, None),
        };
        (line, is_noise)
    }

    /// What is known from a reply is what can be reported on next.
    pub fn hear(&mut self, reply: &str, live: Vec<(String, String, i64)>) {
        // Half a surrogate pair is not for a `Value`.
        let reply = reply.replace("\\ud83d", "");
        let reply: serde_json::Value = serde_json::from_str(&reply).unwrap_or_default();
        let reply = if reply.get("body").is_some() {
            &reply["body"]
        } else {
            &reply
        };
        let task = &reply["task"];
        for (worker, id, attempt) in live {
            let is_this = task["id"] == *id && task["attempt"] == attempt;
            let is_new = !self.given.iter().any(|given| {
                (&given.worker, &given.task, given.attempt) == (&worker, &id, attempt)
            });
            if is_new || is_this {
                let inputs = task["inputs"].as_array().into_iter().flatten();
                let inputs = inputs.filter_map(|input| {
                    let id = input["task_id"].as_str()?.to_owned();
                    Some((id, input["attempt"].as_i64()?))
                });
                let partitions = task["partitions"].as_u64().filter(|_| is_this);
                self.given.push(Given {
                    worker,
                    task: id,
                    attempt,
                    partitions: partitions.and_then(|count| usize::try_from(count).ok()),
                    inputs: inputs.filter(|_| is_this).collect(),
                });
            }
        }
        // Old attempts are reported on, too, but not often.
        if self.given.len() > 12 {
            let forgotten = self.random.below(6);
            self.given.remove(forgotten);
        }
    }

    pub fn time(&mut self) -> i64 {
        self.now = self
            .now
            .saturating_add(self.random.between(0, self.step_ms));
        let time = if self.random.per_mille(self.wild_times) {
            *self.random.pick(&[
                i64::MIN,
                i64::MIN + 1,
                -1,
                0,
                1,
                i64::MAX - 1,
                i64::MAX,
                1 << 60,
            ])
        } else if self.random.per_mille(self.near_times) && !self.recent_times.is_empty() {
            let from = *self.random.pick(&self.recent_times);
            let distance = self.distance();
            if self.random.per_mille(600) {
                from.saturating_add(distance)
            } else {
                from.saturating_sub(distance)
            }
        } else {
            self.now
        };
        self.recent_times.push(time);
        if self.recent_times.len() > 6 {
            self.recent_times.remove(0);
        }
        time
    }

    /// One that some rule is about, or one more.
    pub fn distance(&mut self) -> i64 {
        let distance = *self.random.pick(&self.distances);
        distance + i64::from(self.random.per_mille(300))
    }
}
