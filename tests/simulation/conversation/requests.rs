//! What is said in a random conversation.

use super::super::message::{Body, list, quoted};
use super::speaker::Speaker;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Submit,
    Request,
    Complete,
    Fail,
    Heartbeat,
    CheckFailures,
    CheckStragglers,
    Reassign,
    RemoveWorker,
    RemoveJob,
    Question,
    Init,
    Malformed,
    Noise,
}

impl Kind {
    /// With how often each comes, typically.
    pub const ALL: &[(Kind, usize)] = &[
        (Kind::Submit, 5),
        (Kind::Request, 40),
        (Kind::Complete, 32),
        (Kind::Fail, 14),
        (Kind::Heartbeat, 8),
        (Kind::CheckFailures, 6),
        (Kind::CheckStragglers, 10),
        (Kind::Reassign, 6),
        (Kind::RemoveWorker, 1),
        (Kind::RemoveJob, 1),
        (Kind::Question, 1),
        (Kind::Init, 1),
        (Kind::Malformed, 2),
        (Kind::Noise, 1),
    ];
}

/// About how many tasks may be passed over in one request.
const MANY_TASKS: i64 = 100;

impl Speaker {
    pub fn body(&mut self, kind: Kind) -> Body {
        match kind {
            Kind::Submit => self.submit(),
            Kind::Request => {
                let body = self.heard("request_task");
                self.running(body)
            }
            Kind::Complete => self.complete(),
            Kind::Fail => self.fail(),
            Kind::Heartbeat => {
                let body = self.heard("heartbeat");
                self.running(body)
            }
            Kind::CheckFailures => self.check_failures(),
            Kind::CheckStragglers => self.check_stragglers(),
            Kind::Reassign => self.reassign(),
            Kind::RemoveWorker => Body::new("remove_worker").text("worker_id", &self.worker()),
            Kind::RemoveJob => Body::new("remove_job").text("job_id", &self.job()),
            Kind::Question => self.question(),
            Kind::Init => {
                let node = *self.random.pick(&["n1", "n1", "n1", "n2"]);
                Body::new("init").text("node_id", node)
            }
            Kind::Malformed => self.malformed(),
            Kind::Noise => match self.random.below(3) {
                0 => Body::new("error").json("code", 11),
                1 => Body::new("status").json("in_reply_to", 3),
                _ => Body::new("heartbeat_ok").json("in_reply_to", "\"x\""),
            },
        }
    }

    pub(super) fn worker(&mut self) -> String {
        self.random.pick(&self.workers).clone()
    }

    fn job(&mut self) -> String {
        match self.random.below(12) {
            0 => String::new(),
            _ => self.random.pick(&self.jobs).clone(),
        }
    }

    /// The id of a task that there is, was, or never was.
    pub(super) fn task(&mut self) -> String {
        let job = self.random.pick(&self.jobs).clone();
        match self.random.below(8) {
            0 => format!("{job}-reduce-{}", self.random.below(2)),
            1 => format!("t{}", self.random.below(2)),
            _ => format!("{job}{}", self.random.below(self.maps)),
        }
    }

    pub(super) fn timed(&mut self, kind: &str, worker: &str) -> Body {
        let timestamp = self.time();
        Body::new(kind)
            .text("worker_id", worker)
            .json("timestamp", timestamp)
    }

    fn heard(&mut self, kind: &str) -> Body {
        let worker = self.worker();
        let body = self.timed(kind, &worker);
        if self.incarnations && self.random.per_mille(600) {
            body.json("incarnation", self.random.below(4))
        } else {
            body
        }
    }

    fn running(&mut self, body: Body) -> Body {
        if !self.random.per_mille(self.says_running) {
            return body;
        }
        let mut running: Vec<String> = vec![];
        for given in self.given.clone() {
            if self.random.per_mille(400) {
                running.push(given.task);
            }
        }
        if self.random.per_mille(100) {
            running.push(self.task());
        }
        body.texts("running", &running)
    }

    fn submit(&mut self) -> Body {
        if !self.submissions.is_empty() && self.random.per_mille(150) {
            let body = self.random.pick(&self.submissions).clone();
            return Body::from_fields(body);
        }
        let job = self.job();
        let count = self.random.below(self.maps + 1);
        let mut maps = vec![];
        for number in 0..count {
            let id = if self.random.per_mille(10) {
                self.task()
            } else {
                format!("{job}{number}")
            };
            let chunk = *self.random.pick(&[
                "1",
                "1.0",
                "\"x\\u00e9\"",
                "{\"b\": 1, \"a\": [2,3]}",
                "null",
            ]);
            maps.push(format!("{{\"id\": {}, \"chunk\": {chunk}}}", quoted(&id)));
        }
        let mut body = Body::new("submit_job")
            .text("job_id", &job)
            .json("tasks", list(maps));
        let reduces = if self.random.per_mille(700) {
            self.reduces
        } else {
            0
        };
        if reduces > 0 {
            body = body.json("reduce_tasks", reduces);
        }
        if self.random.per_mille(150) {
            let place = *self.random.pick(&["shared", "worker"]);
            body = body.text("map_output", place);
        }
        for (field, values) in [
            ("max_failures", &[1, 1, 2, 2, 3, 4, i64::MAX][..]),
            ("max_losses", &[1, 1, 2, 3, 16, i64::MAX]),
            ("max_skipped", &[0, 1, 1, 2, i64::MAX]),
            ("max_worker_failures", &[1, 1, 2, 3, i64::MAX]),
        ] {
            if self.random.per_mille(400) {
                body = body.json(field, *self.random.pick(values));
            }
        }
        for field in ["avoid_ms", "task_timeout_ms"] {
            if self.random.per_mille(500) {
                let ms = self.duration();
                body = body.json(field, ms);
            }
        }
        self.submissions.push(body.fields().to_owned());
        body
    }

    fn duration(&mut self) -> i64 {
        if self.random.per_mille(30) {
            i64::MAX
        } else {
            self.distance()
        }
    }

    fn check_failures(&mut self) -> Body {
        // A long one more often than not, so that some workers live for a while.
        let longest = self.distances.iter().copied().max().unwrap_or_default();
        let timeout_ms = self.duration().max(if self.random.per_mille(500) {
            longest
        } else {
            0
        });
        let now = self.time();
        let mut body = Body::new("check_failures")
            .json("timeout_ms", timeout_ms)
            .json("now", now);
        if self.random.per_mille(150) {
            body = body.json("max_failed", self.random.below(3));
        }
        if self.random.per_mille(150) {
            let ms = self.duration();
            body = body.json("remove_after_ms", ms);
        }
        body
    }

    fn check_stragglers(&mut self) -> Body {
        let mut body = Body::new("check_stragglers").json("now", self.time());
        if self.random.per_mille(500) {
            let ms = self.duration();
            body = body.json("slow_after_ms", ms);
        }
        if self.random.per_mille(400) {
            let ms = self.duration();
            body = body.json("min_run_ms", ms);
        }
        body
    }

    fn reassign(&mut self) -> Body {
        let body = Body::new("reassign")
            .text("failed_worker", &self.worker())
            .text("healthy_worker", &self.worker());
        if self.random.per_mille(500) {
            return body;
        }
        let tasks: Vec<String> = (0..self.random.below(4)).map(|_| self.task()).collect();
        body.json("tasks", listed(&tasks, "\"r\""))
    }

    /// What leads to a request by a worker that has a history of about as many tasks as may be passed over.
    pub fn pass_over_many(&mut self) -> Vec<Body> {
        let count = MANY_TASKS + self.random.between(-2, 2);
        let tasks: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
        let submission = Body::new("submit_job")
            .text("job_id", "many")
            .json("tasks", listed(&tasks, "0"));
        let given = Body::new("reassign")
            .text("failed_worker", "w9")
            .text("healthy_worker", "w1")
            .json("tasks", listed(&tasks, "0"));
        let starts = |incarnation: i64| {
            Body::new("heartbeat")
                .text("worker_id", "w1")
                .json("timestamp", 5)
                .json("incarnation", incarnation)
        };
        let asks = |worker: &str| {
            Body::new("request_task")
                .text("worker_id", worker)
                .json("timestamp", 6)
        };
        let mut said = vec![submission, asks("w8"), starts(1), given, starts(2)];
        if self.random.per_mille(500) {
            said.push(asks("w8").texts("running", &["many-0".to_owned()]));
        }
        said.extend([asks("w1"), asks("w1").texts("running", &tasks[50..51])]);
        said
    }

    fn question(&mut self) -> Body {
        match self.random.below(5) {
            0 => Body::new("job_status").text("job_id", &self.job()),
            1 => Body::new("task_status").text("task_id", &self.task()),
            2 => Body::new("list_jobs"),
            3 => Body::new("list_workers"),
            _ => Body::new("status"),
        }
    }

    /// A request with a field that is wrong.
    fn malformed(&mut self) -> Body {
        let kind = *self.random.pick(&[
            Kind::Submit,
            Kind::Request,
            Kind::Complete,
            Kind::Fail,
            Kind::Heartbeat,
            Kind::CheckFailures,
            Kind::CheckStragglers,
            Kind::Reassign,
        ]);
        let body = self.body(kind);
        let fields = [
            "worker_id",
            "timestamp",
            "incarnation",
            "running",
            "timeout_ms",
            "now",
            "max_failed",
            "remove_after_ms",
            "tasks",
            "reduce_tasks",
            "map_output",
            "max_failures",
            "max_losses",
            "max_skipped",
            "max_worker_failures",
            "avoid_ms",
            "task_timeout_ms",
            "attempt",
            "output",
            "counters",
            "error",
            "lost_inputs",
            "slow_after_ms",
            "min_run_ms",
            "job_id",
            "type",
        ];
        let values = [
            "null",
            "-1",
            "0",
            "1.0",
            "\"x\"",
            "[]",
            "{}",
            "[\"\\ud800\"]",
            "{\"n\": 1.5}",
            "9223372036854775808",
        ];
        let (field, value) = (*self.random.pick(&fields), *self.random.pick(&values));
        body.json(field, value)
    }
}

/// As `tasks`, all with the same chunk.
fn listed(ids: &[String], chunk: &str) -> String {
    let tasks = ids
        .iter()
        .map(|id| format!("{{\"id\": {}, \"chunk\": {chunk}}}", quoted(id)));
    list(tasks)
}
