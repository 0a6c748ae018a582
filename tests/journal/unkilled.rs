//! What a node has to answer that goes on from a journal: the same as one that was never killed, but for the
//! grace after a recovery.
//!
//! The law: *a worker not heard from since the recovery is timed from the first check that sees it*. A node
//! without a journal knows no such thing, so the law is applied around it. A healthy worker that the first check sees gets
//! a heartbeat of that check's time just before it. A failed one must not be revived, so its absence from
//! the list of the failed is worked out here.

use crate::restartable::without_msg_id;
use mapreduce_master::node::Node;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;

pub struct Unkilled {
    node: Node,
    workers: HashMap<String, Worker>,
}

/// A known worker, as the law sees it.
#[derive(Default)]
struct Worker {
    /// In ms; `None` until the first check sees a worker that was never heard.
    last_heartbeat: Option<i64>,
    has_failed: bool,
    /// Not heard since the recovery, nor seen by a check.
    in_grace: bool,
}

impl Unkilled {
    pub fn new() -> Self {
        Self {
            node: Node::new(true),
            workers: HashMap::new(),
        }
    }

    /// From here on the replies are those of a node that was killed and recovered.
    pub fn recovered(&mut self) {
        for worker in self.workers.values_mut() {
            worker.in_grace = true;
        }
    }

    /// The reply to a message, as a line without a `msg_id`; empty for a message that gets none.
    pub fn say(&mut self, message: &str) -> String {
        let request = Request::read(message);
        let check = request.as_ref().and_then(Request::as_check);
        if let Some((_, now)) = check {
            self.end_grace(now);
        }
        let reply = without_msg_id(&self.tell(message)).0;
        if let (Some(request), Some(answer)) = (request, Answer::read(&reply)) {
            if let Some((timeout_ms, now)) = check {
                let failed = self.check(answer.failed_workers, timeout_ms, now);
                return with_failed_workers(&reply, &failed);
            }
            self.follow(request, &answer);
        }
        reply
    }

    fn tell(&mut self, message: &str) -> String {
        self.node.feed(message.as_bytes());
        self.node.feed(b"\n");
        while self.node.answer_some() {}
        String::from_utf8(std::mem::take(&mut self.node.replies)).expect("a reply is text")
    }

    fn heartbeat(&mut self, worker_id: &str, timestamp: i64) {
        let message = json!({"type": "heartbeat", "worker_id": worker_id, "timestamp": timestamp});
        self.tell(&message.to_string());
    }

    /// A check sees all workers.
    fn end_grace(&mut self, now: i64) {
        let mut seen = Vec::new();
        for (id, worker) in &mut self.workers {
            if worker.in_grace && !worker.has_failed {
                seen.push(id.clone());
            }
            if worker.in_grace || worker.last_heartbeat.is_none() {
                worker.in_grace = false;
                worker.last_heartbeat = worker.last_heartbeat.max(Some(now));
            }
        }
        for id in seen {
            self.heartbeat(&id, now);
        }
    }

    /// Which of the failed are reported: one that had failed before may be in time by the grace.
    fn check(&mut self, failed: Vec<String>, timeout_ms: i64, now: i64) -> Vec<String> {
        let is_overdue = |id: &String| {
            let worker = self.workers.get_mut(id).expect("only known workers fail");
            let last_heartbeat = worker.last_heartbeat.expect("the check has seen it");
            let was_failed = std::mem::replace(&mut worker.has_failed, true);
            !was_failed || i128::from(now) - i128::from(last_heartbeat) > i128::from(timeout_ms)
        };
        failed.into_iter().filter(is_overdue).collect()
    }

    /// Keeps the workers as an answered request leaves them.
    fn follow(&mut self, request: Request, answer: &Answer) {
        match (&*request.kind, request.worker_id) {
            ("heartbeat" | "request_task" | "complete_task" | "fail_task", Some(id)) => {
                self.hear(&id, request.timestamp);
            }
            ("remove_worker", Some(id)) => _ = self.workers.remove(&id),
            ("reassign", _) if !answer.reassigned_tasks.is_empty() => {
                let id = request.healthy_worker.expect("a reassign names it");
                self.workers.entry(id).or_default();
            }
            _ => {}
        }
    }

    fn hear(&mut self, id: &str, timestamp: Option<i64>) {
        let worker = self.workers.entry(id.to_owned()).or_default();
        worker.last_heartbeat = worker.last_heartbeat.max(timestamp);
        worker.in_grace = false;
        // The node without a journal does not know the later time that the grace gave to a failed one.
        if std::mem::take(&mut worker.has_failed) {
            let last_heartbeat = worker.last_heartbeat.expect("it was just heard");
            self.heartbeat(id, last_heartbeat);
        }
    }
}

/// What of a request concerns the workers.
#[derive(Deserialize)]
struct Request {
    #[serde(rename = "type")]
    kind: String,
    /// A request in which this is something else is not carried out.
    #[serde(rename = "msg_id")]
    _msg_id: Option<i64>,
    worker_id: Option<String>,
    timestamp: Option<i64>,
    timeout_ms: Option<i64>,
    now: Option<i64>,
    healthy_worker: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    body: T,
}

impl Request {
    fn read(message: &str) -> Option<Self> {
        read_body(message)
    }

    /// The timeout and the time of a check that is carried out.
    fn as_check(&self) -> Option<(i64, i64)> {
        let timeout_ms = self.timeout_ms.filter(|timeout_ms| *timeout_ms >= 0)?;
        (self.kind == "check_failures").then_some((timeout_ms, self.now?))
    }
}

/// What of a reply concerns the workers.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    failed_workers: Vec<String>,
    #[serde(default)]
    reassigned_tasks: Vec<String>,
}

impl Answer {
    /// `None` for an error, which has changed nothing.
    fn read(reply: &str) -> Option<Self> {
        read_body(reply).filter(|answer: &Self| answer.kind != "error")
    }
}

/// The body of a line, in an envelope or bare. Opaque JSON is skipped: no library type holds `1e400`.
pub fn read_body<'a, T: Deserialize<'a>>(line: &'a str) -> Option<T> {
    match serde_json::from_str::<Envelope<T>>(line) {
        Ok(envelope) => Some(envelope.body),
        Err(_) => serde_json::from_str(line).ok(),
    }
}

fn with_failed_workers(reply: &str, failed: &[String]) -> String {
    const NAME: &str = "\"failed_workers\": [";
    let (before, rest) = reply.split_once(NAME).expect("a check lists the failed");
    let (_, after) = rest.rsplit_once(']').expect("a list has an end");
    let ids: Vec<String> = failed.iter().map(|id| json!(id).to_string()).collect();
    format!("{before}{NAME}{}]{after}", ids.join(", "))
}
