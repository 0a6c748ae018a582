//! Random conversations, by seed: workers, a monitor and submitters talk to a node, sometimes out of order, repeatedly or
//! wrongly, and with the strangest ids, times and JSON that the protocol allows.

use crate::random::Random;
use serde::Deserialize;
use serde_json::json;

const WORKERS: [&str; 5] = ["w1", "w2", "", "w\u{0}3", "é\"\\\n\u{1f980}"];

const JOBS: [&str; 4] = ["a", "b", "\u{0}", "jöb \"\u{2028}\u{10ffff}\""];

/// Opaque JSON, which must come back unchanged. No number or string type can hold some of it.
const OPAQUE: [&str; 14] = [
    "null",
    "1e400",
    "-0",
    "1.0",
    "123456789012345678901234567890",
    r#""\ud800""#,
    r#""\u0041\u0000\/""#,
    r#""""#,
    "[]",
    r#"{"b":1,  "a": [2, {}], "b": null}"#,
    "{\n  \"text\": \"a b\\n\",\r\n\t\"numbers\" : [ 1,\n2\n, 3 ]\n  }",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "false",
    r#""!recovered""#,
];

const EXTREME_TIMES: [i64; 5] = [i64::MIN, i64::MIN + 1, 0, i64::MAX - 1, i64::MAX];

pub struct Conversation {
    random: Random,
    now: i64,
    next_msg_id: u64,
    /// In percent: messages in envelopes, on several lines, said again, and times that are extreme.
    enveloped: u64,
    pretty: u64,
    repeated: u64,
    extreme: u64,
    said: Vec<String>,
    tasks: Vec<String>,
    given: Vec<Given>,
    /// The worker that asked for a task last.
    asking: &'static str,
}

/// An attempt that a worker was given.
struct Given {
    worker: &'static str,
    task: Assigned,
}

#[derive(Clone, Deserialize)]
struct Assigned {
    id: String,
    attempt: i64,
    /// Of a map.
    partitions: Option<usize>,
    /// Of a reduce.
    #[serde(default)]
    inputs: Vec<Input>,
}

#[derive(Clone, Deserialize)]
struct Input {
    task_id: String,
    attempt: i64,
}

#[derive(Deserialize)]
struct Answer {
    task: Option<Assigned>,
}

type Fields = Vec<(&'static str, String)>;

impl Conversation {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut draw = |choices: &[u64]| choices[index(random.below(choices.len() as u64))];
        Self {
            enveloped: draw(&[0, 50, 100]),
            pretty: draw(&[0, 0, 20]),
            repeated: draw(&[0, 5, 20]),
            extreme: draw(&[0, 0, 0, 10]),
            now: i64::try_from(draw(&[0, 1_700_000_000_000])).expect("it is small"),
            next_msg_id: 0,
            said: Vec::new(),
            tasks: vec![String::new(), "x\u{0}".into()],
            given: Vec::new(),
            asking: "",
            random,
        }
    }

    /// The next message.
    pub fn next(&mut self) -> String {
        if self.random.percent(self.repeated) && !self.said.is_empty() {
            let back = index(self.random.below(self.said.len().min(20) as u64));
            return self.said[self.said.len() - 1 - back].clone();
        }
        self.now += i64::try_from(self.random.below(40)).expect("it is small");
        let fields = match self.random.below(100) {
            0..2 => self.init(),
            2..14 => self.heartbeat(),
            14..22 => self.check_failures(),
            22..30 => self.reassign(),
            30..33 => self.remove_worker(),
            33..43 => self.submit_job(),
            43..65 => self.request_task(),
            65..82 => self.complete_task(),
            82..88 => self.fail_task(),
            88..92 => self.check_stragglers(),
            92..95 => self.query(),
            95..97 => vec![("type", json(self.job())), ("job_id", json("a"))],
            _ => vec![("type", json("remove_job")), ("job_id", json(self.job()))],
        };
        let message = self.write(fields);
        self.said.push(message.clone());
        message
    }

    /// Takes the reply to the last message.
    pub fn hear(&mut self, reply: &str) {
        if let Some(Answer { task: Some(task) }) = read_body(reply) {
            self.given.push(Given {
                worker: self.asking,
                task,
            });
        }
    }

    /// Questions about the whole state, then requests that show what the node would do next.
    pub fn ask_everything(&self) -> Vec<String> {
        let mut asked = vec![json!({"type": "status"})];
        asked.extend(JOBS.map(|id| json!({"type": "job_status", "job_id": id})));
        asked.push(json!({"type": "job_status", "job_id": ""}));
        for id in &self.tasks {
            asked.push(json!({"type": "task_status", "task_id": id}));
        }
        let states = asked.clone();
        let now = self.now;
        asked.push(json!({"type": "check_stragglers", "now": now}));
        asked.push(json!({"type": "check_stragglers", "now": now, "slow_after_ms": 0}));
        for worker in WORKERS.iter().chain(&WORKERS).chain(&WORKERS) {
            asked.push(json!({"type": "request_task", "worker_id": worker, "timestamp": now}));
        }
        asked.push(json!({"type": "check_failures", "timeout_ms": 50, "now": now + 50}));
        asked.push(json!({"type": "check_failures", "timeout_ms": 50, "now": now + 101}));
        for healthy in ["fresh", "w1"] {
            for failed in WORKERS {
                asked.push(
                    json!({"type": "reassign", "failed_worker": failed, "healthy_worker": healthy}),
                );
            }
        }
        asked.extend(states);
        asked.iter().map(ToString::to_string).collect()
    }

    fn init(&mut self) -> Fields {
        let name = self.pick(&["n1", "n1", "n2"]);
        vec![("type", json("init")), ("node_id", json(name))]
    }

    fn heartbeat(&mut self) -> Fields {
        vec![
            ("type", json("heartbeat")),
            ("worker_id", json(self.worker())),
            ("timestamp", self.time()),
        ]
    }

    fn check_failures(&mut self) -> Fields {
        let timeout_ms = self.pick(&["0", "50", "50", "400", "9223372036854775807", "-1"]);
        vec![
            ("type", json("check_failures")),
            ("timeout_ms", timeout_ms.into()),
            ("now", self.time()),
        ]
    }

    fn reassign(&mut self) -> Fields {
        let mut fields = vec![
            ("type", json("reassign")),
            ("failed_worker", json(self.worker())),
            ("healthy_worker", json(self.worker())),
        ];
        if self.random.percent(60) {
            let strange = self.pick(&["", "x\u{0}", "x2", "a-map-0"]).to_owned();
            let known = self.task();
            fields.push(("tasks", self.task_list(&[strange, known])));
        }
        fields
    }

    fn remove_worker(&mut self) -> Fields {
        vec![
            ("type", json("remove_worker")),
            ("worker_id", json(self.worker())),
        ]
    }

    fn submit_job(&mut self) -> Fields {
        let job = self.job();
        let maps: Vec<String> = (0..self.random.below(5))
            .map(|n| format!("{job}-map-{n}"))
            .collect();
        let reduces = self.random.below(3);
        let mut fields = vec![
            ("type", json("submit_job")),
            ("job_id", json(job)),
            ("tasks", self.task_list(&maps)),
            ("reduce_tasks", reduces.to_string()),
        ];
        if self.random.percent(20) {
            fields.push(("map_output", json("shared")));
        }
        for (name, values) in [
            ("max_failures", ["1", "2", "9223372036854775807"]),
            ("max_losses", ["1", "2", "9223372036854775807"]),
            ("max_skipped", ["0", "1", "9223372036854775807"]),
        ] {
            if self.random.percent(40) {
                fields.push((name, self.pick(&values).into()));
            }
        }
        let reduces = (0..reduces).map(|n| format!("{job}-reduce-{n}"));
        for id in maps.into_iter().chain(reduces) {
            if !self.tasks.contains(&id) {
                self.tasks.push(id);
            }
        }
        fields
    }

    fn request_task(&mut self) -> Fields {
        self.asking = self.worker();
        let mut fields = vec![
            ("type", json("request_task")),
            ("worker_id", json(self.asking)),
            ("timestamp", self.time()),
        ];
        if self.random.percent(40) {
            let running = [self.task(), self.task()];
            fields.push(("running", json!(running).to_string()));
        }
        fields
    }

    fn complete_task(&mut self) -> Fields {
        let (worker, task) = self.attempt();
        let elements: Vec<&str> = (0..task.partitions.unwrap_or(0))
            .map(|_| self.pick(&OPAQUE))
            .collect();
        let output = if elements.is_empty() {
            self.pick(&OPAQUE).to_owned()
        } else {
            format!("[{}]", elements.join(" ,\n "))
        };
        vec![
            ("type", json("complete_task")),
            ("worker_id", json(worker)),
            ("task_id", json(&task.id)),
            ("attempt", task.attempt.to_string()),
            ("timestamp", self.time()),
            ("output", output),
        ]
    }

    fn fail_task(&mut self) -> Fields {
        let (worker, task) = self.attempt();
        let mut fields = vec![
            ("type", json("fail_task")),
            ("worker_id", json(worker)),
            ("task_id", json(&task.id)),
            ("attempt", task.attempt.to_string()),
            ("timestamp", self.time()),
            ("error", json(self.pick(&["", "disk\nfull", "\u{0}"]))),
        ];
        if self.random.percent(60) {
            let lost: Vec<_> = task
                .inputs
                .iter()
                .map(|Input { task_id, attempt }| json!({"task_id": task_id, "attempt": attempt}))
                .collect();
            fields.push(("lost_inputs", json!(lost).to_string()));
        }
        fields
    }

    fn check_stragglers(&mut self) -> Fields {
        let slow_after_ms = self.pick(&["null", "0", "100"]);
        vec![
            ("type", json("check_stragglers")),
            ("now", self.time()),
            ("slow_after_ms", slow_after_ms.into()),
        ]
    }

    fn query(&mut self) -> Fields {
        match self.random.below(3) {
            0 => vec![("type", json("status"))],
            1 => vec![("type", json("job_status")), ("job_id", json(self.job()))],
            _ => vec![
                ("type", json("task_status")),
                ("task_id", json(self.task())),
            ],
        }
    }

    /// An attempt that was given, mostly a recent one, and mostly not given a second time.
    fn attempt(&mut self) -> (&'static str, Assigned) {
        if self.given.is_empty() {
            let strange = Assigned {
                id: self.task(),
                attempt: 1,
                partitions: None,
                inputs: Vec::new(),
            };
            return (self.worker(), strange);
        }
        let back = index(self.random.below(self.given.len().min(4) as u64));
        let at = self.given.len() - 1 - back;
        let Given { worker, task } = &self.given[at];
        let attempt = (*worker, task.clone());
        if self.random.percent(80) {
            self.given.remove(at);
        }
        attempt
    }

    fn task_list(&mut self, ids: &[String]) -> String {
        let tasks: Vec<String> = ids
            .iter()
            .map(|id| {
                format!(
                    "{{\"id\": {}, \"chunk\": {}}}",
                    json(id),
                    self.pick(&OPAQUE)
                )
            })
            .collect();
        format!("[{}]", tasks.join(", "))
    }

    fn write(&mut self, mut fields: Fields) -> String {
        if self.random.percent(80) {
            self.next_msg_id += 1;
            fields.push(("msg_id", self.next_msg_id.to_string()));
        }
        if self.random.percent(2) {
            let at = index(self.random.below(fields.len() as u64));
            fields.remove(at);
        }
        let body = self.object(&fields);
        if self.random.percent(self.enveloped) {
            let source = json(self.pick(&["c1", "", "é"]));
            self.object(&vec![("src", source), ("dest", json("n1")), ("body", body)])
        } else {
            body
        }
    }

    fn object(&mut self, fields: &Fields) -> String {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        if self.random.percent(self.pretty) {
            format!("{{\n  {}\n }}", fields.join(",\r\n  "))
        } else {
            format!("{{{}}}", fields.join(", "))
        }
    }

    fn worker(&mut self) -> &'static str {
        self.pick(&WORKERS)
    }

    fn job(&mut self) -> &'static str {
        self.pick(&JOBS)
    }

    fn task(&mut self) -> String {
        let at = index(self.random.below(self.tasks.len() as u64));
        self.tasks[at].clone()
    }

    fn time(&mut self) -> String {
        let late = i64::try_from(self.random.below(30)).expect("it is small");
        let time = if self.random.percent(self.extreme) {
            EXTREME_TIMES[index(self.random.below(5))]
        } else {
            self.now - late
        };
        time.to_string()
    }

    fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        choices[index(self.random.below(choices.len() as u64))]
    }
}

fn json(text: impl AsRef<str>) -> String {
    json!(text.as_ref()).to_string()
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("it was below a length")
}

#[derive(Deserialize)]
struct Envelope<T> {
    body: T,
}

/// The body of a line, in an envelope or bare. Opaque JSON is skipped: no library type holds `1e400`.
fn read_body<'a, T: Deserialize<'a>>(line: &'a str) -> Option<T> {
    match serde_json::from_str::<Envelope<T>>(line) {
        Ok(envelope) => Some(envelope.body),
        Err(_) => serde_json::from_str(line).ok(),
    }
}
