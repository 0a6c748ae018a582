//! The simplest clients that survive the kill of a master: each has one request at a time, and resends it until it is
//! answered.

use crate::random::Random;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

const MAPS: u64 = 8;
const REDUCES: u64 = 3;
const WORDS: [&str; 12] = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "naïve",
    "\"",
    "",
    "\u{1f98a}",
];

pub trait Client {
    /// The request that is waiting for its reply.
    fn asked(&self) -> &Value;

    /// Takes the reply to it, and makes the next request.
    fn hear(&mut self, reply: &Value);

    fn is_done(&self) -> bool;
}

/// What all clients have seen.
#[derive(Default)]
pub struct Work {
    /// No more jobs are submitted.
    pub ends: bool,
    /// Every job that was submitted is completed.
    is_done: bool,
    /// Of all jobs that were submitted.
    pub tasks: u64,
    /// Attempts that were handed out, and those that were reported as failed.
    pub attempts: HashSet<(String, u64)>,
    pub failures: HashSet<(String, u64)>,
    /// Reports that were acknowledged.
    reported: HashSet<(String, u64)>,
    pub jobs_verified: u64,
    pub jobs_kept: u64,
}

impl Work {
    pub fn shared() -> Rc<RefCell<Self>> {
        Rc::default()
    }
}

/// Puts a body into an envelope, with the next `msg_id`.
struct Mouth {
    name: String,
    msg_id: u64,
}

impl Mouth {
    fn ask(&mut self, mut body: Value) -> Value {
        self.msg_id += 1;
        body["msg_id"] = json!(self.msg_id);
        json!({"src": self.name, "dest": "n1", "body": body})
    }
}

/// Counts words, and fails the first attempt at some of the tasks.
pub struct Worker {
    mouth: Mouth,
    asked: Value,
    /// The task that it has, and the number of its attempt.
    attempt: Option<(String, u64)>,
    work: Rc<RefCell<Work>>,
}

impl Worker {
    pub fn new(name: &str, work: &Rc<RefCell<Work>>) -> Self {
        let mut mouth = Mouth {
            name: name.into(),
            msg_id: 0,
        };
        let asked = mouth.ask(json!({"type": "init", "node_id": "n1"}));
        Self {
            mouth,
            asked,
            attempt: None,
            work: Rc::clone(work),
        }
    }

    fn start(&mut self, task: &Value) -> Value {
        let id = task["id"].as_str().expect("a task has an id").to_owned();
        let number = task["attempt"].as_u64().expect("an attempt is numbered");
        let attempt = (id.clone(), number);
        let mut work = self.work.borrow_mut();
        assert!(
            !work.reported.contains(&attempt),
            "an acknowledged report was lost: {task}"
        );
        work.attempts.insert(attempt.clone());
        self.attempt = Some(attempt.clone());
        let mut report = json!({
            "worker_id": self.mouth.name,
            "task_id": id,
            "attempt": number,
            "timestamp": self.mouth.msg_id,
        });
        if number == 1 && id.ends_with(['2', '7']) {
            work.failures.insert(attempt);
            report["type"] = json!("fail_task");
            report["error"] = json!("at first");
        } else {
            report["type"] = json!("complete_task");
            report["output"] = count_words(task);
        }
        report
    }
}

impl Client for Worker {
    fn asked(&self) -> &Value {
        &self.asked
    }

    fn hear(&mut self, reply: &Value) {
        let name = self.mouth.name.clone();
        let timestamp = self.mouth.msg_id;
        let heartbeat = json!({"type": "heartbeat", "worker_id": name, "timestamp": timestamp});
        let request = json!({"type": "request_task", "worker_id": name, "timestamp": timestamp});
        let next = match reply["type"].as_str() {
            Some("init_ok" | "heartbeat_ok") => request,
            Some("no_task") => heartbeat,
            Some("task_assigned") => self.start(&reply["task"]),
            Some("task_completed" | "task_failed") => {
                assert_ne!(
                    reply["accepted"], false,
                    "there is no other attempt: {reply}"
                );
                let attempt = self.attempt.take().expect("it was reported");
                self.work.borrow_mut().reported.insert(attempt);
                request
            }
            // The report was processed, its reply was lost in a kill, and the job has ended and was removed since.
            Some("error") if reply["code"] == 20 && self.attempt.is_some() => request,
            _ => panic!("to {}: {reply}", self.asked),
        };
        self.asked = self.mouth.ask(next);
    }

    fn is_done(&self) -> bool {
        self.work.borrow().is_done && self.attempt.is_none()
    }
}

/// The words of a map's chunk by partition, or the sum of a reduce's inputs.
fn count_words(task: &Value) -> Value {
    if task["kind"] == "map" {
        let mut counts = vec![BTreeMap::<&str, u64>::new(); usize::try_from(REDUCES).expect("few")];
        for word in task["chunk"].as_str().expect("a chunk is text").split(' ') {
            let partition = word.len() % counts.len();
            *counts[partition].entry(word).or_default() += 1;
        }
        return json!(counts);
    }
    let mut sums = BTreeMap::<&String, u64>::new();
    let inputs = task["inputs"].as_array().expect("a reduce has inputs");
    assert_eq!(inputs.len() as u64, MAPS);
    for input in inputs {
        for (word, count) in input["output"].as_object().expect("counts by word") {
            *sums.entry(word).or_default() += count.as_u64().expect("a count");
        }
    }
    json!(sums)
}

/// Every second job is removed after its result was checked.
fn is_kept(job: u64) -> bool {
    job % 2 == 1
}

/// Submits one job after the other, checks each result, and removes every second job. It keeps asking for the jobs that
/// are left.
pub struct Submitter {
    mouth: Mouth,
    asked: Value,
    random: Random,
    /// How many jobs were submitted; the last of them is the one that runs.
    jobs: u64,
    expected: Value,
    work: Rc<RefCell<Work>>,
}

impl Submitter {
    pub fn new(seed: u64, work: &Rc<RefCell<Work>>) -> Self {
        let mut mouth = Mouth {
            name: "submitter".into(),
            msg_id: 0,
        };
        let asked = mouth.ask(json!({"type": "init", "node_id": "n1"}));
        Self {
            mouth,
            asked,
            random: Random::new(seed),
            jobs: 0,
            expected: Value::Null,
            work: Rc::clone(work),
        }
    }

    fn submit(&mut self) -> Value {
        self.jobs += 1;
        self.work.borrow_mut().tasks += MAPS + REDUCES;
        let mut counts = vec![BTreeMap::<&str, u64>::new(); usize::try_from(REDUCES).expect("few")];
        let mut tasks = Vec::new();
        for map in 0..MAPS {
            let words: Vec<&str> = (0..20)
                .map(|_| WORDS[usize::try_from(self.random.below(12)).expect("few")])
                .collect();
            for word in &words {
                let partition = word.len() % counts.len();
                *counts[partition].entry(word).or_default() += 1;
            }
            tasks.push(json!({"id": format!("{}-{map}", self.jobs), "chunk": words.join(" ")}));
        }
        self.expected = json!(counts);
        json!({
            "type": "submit_job",
            "job_id": self.jobs.to_string(),
            "tasks": tasks,
            "reduce_tasks": REDUCES,
        })
    }

    fn ask_for(job: u64) -> Value {
        json!({"type": "job_status", "job_id": job.to_string()})
    }

    /// An earlier job: every second one is there, and the others are not.
    fn check_earlier(job: u64, reply: &Value) {
        if is_kept(job) {
            assert_eq!(reply["state"], "completed", "job {job}: {reply}");
        } else {
            assert_eq!(reply["code"], 20, "job {job}: {reply}");
        }
    }

    fn next(&mut self, reply: &Value) -> Value {
        let last = self.jobs;
        match reply["type"].as_str() {
            Some("init_ok") => self.submit(),
            Some("job_submitted" | "job_removed") => Self::ask_for(last),
            Some("error" | "job_status_ok") => {
                let job = self.asked["body"]["job_id"]
                    .as_str()
                    .expect("it has asked for one");
                let job: u64 = job.parse().expect("it has chosen a number");
                if job != last || self.asked["body"]["type"] == "remove_job" {
                    Self::check_earlier(job, reply);
                    return Self::ask_for(last);
                }
                if reply["code"] == 20 && !is_kept(last) {
                    // It is removed.
                    return self.go_on();
                }
                match reply["state"].as_str() {
                    Some("running") => {
                        let earlier = 1 + self.random.below(last);
                        Self::ask_for(earlier)
                    }
                    Some("completed") => {
                        assert_eq!(reply["outputs"], self.expected, "job {last}");
                        self.work.borrow_mut().jobs_verified += 1;
                        if is_kept(last) {
                            self.work.borrow_mut().jobs_kept += 1;
                            self.go_on()
                        } else {
                            json!({"type": "remove_job", "job_id": last.to_string()})
                        }
                    }
                    _ => panic!("to {}: {reply}", self.asked),
                }
            }
            _ => panic!("to {}: {reply}", self.asked),
        }
    }

    fn go_on(&mut self) -> Value {
        if self.work.borrow().ends {
            self.work.borrow_mut().is_done = true;
            json!({"type": "status"})
        } else {
            self.submit()
        }
    }
}

impl Client for Submitter {
    fn asked(&self) -> &Value {
        &self.asked
    }

    fn hear(&mut self, reply: &Value) {
        if !self.is_done() {
            let next = self.next(reply);
            self.asked = self.mouth.ask(next);
        }
    }

    fn is_done(&self) -> bool {
        self.work.borrow().is_done
    }
}
