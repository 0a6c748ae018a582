//! Where the order of events is nobody's choice: workers on threads of their own.

use super::harness::{JOB, Scenario, map_id};
use super::node::{Letter, Node, Replies, Requests};
use super::word_count::{self, TEXT};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// When the workers that died were last heard, and when the others are heard all the time.
const BEFORE_MS: i64 = 1_000;
const NOW_MS: i64 = 10_000;

#[test]
fn workers_on_threads_run_each_task_once_and_those_of_dead_workers_again() {
    let scenario = Scenario::default();
    let chunks = word_count::chunks(&TEXT, scenario.maps);
    let mut node = Node::start();
    node.ask(&Letter::new("submitter", 1, scenario.submission(&chunks)));
    for (number, dead) in ["dead1", "dead2"].into_iter().enumerate() {
        let request = json!({"type": "request_task", "worker_id": dead, "timestamp": BEFORE_MS});
        let reply = node.ask(&Letter::new(dead, 1, request));
        assert_eq!(reply["task"]["id"], map_id(number));
    }

    let Node {
        requests, replies, ..
    } = &mut node;
    let requests = Mutex::new(requests);
    let job = thread::scope(|scope| {
        let mut clients = HashMap::new();
        let mut connect = |id: &'static str| {
            let (sender, replies) = mpsc::channel();
            clients.insert(id.to_owned(), sender);
            Connection {
                id,
                last_msg_id: 0,
                requests: &requests,
                replies,
            }
        };
        let mut monitor = connect("monitor");
        let workers: Vec<_> = ["w1", "w2", "w3", "w4"]
            .map(|id| {
                let connection = connect(id);
                scope.spawn(|| work(connection))
            })
            .into();
        // The thread owns the senders: if it panics, nobody waits for a reply any more.
        scope.spawn(move || route(replies, &clients));
        let check = json!({"type": "check_failures", "timeout_ms": 5_000, "now": NOW_MS});
        let failed = monitor.ask(check);
        assert_eq!(failed["failed_workers"], json!(["dead1", "dead2"]));
        for worker in workers {
            worker.join().expect("a worker ends when the job is done");
        }
        monitor.ask(json!({"type": "job_status", "job_id": JOB}))
    });

    assert_eq!(job["state"], "completed", "{job}");
    let outputs = job["outputs"]
        .as_array()
        .expect("a completed job has outputs");
    let direct = word_count::count(chunks.iter().map(String::as_str));
    assert!(word_count::merge(outputs) == direct);
    let status = node.ask(&Letter::new("reader", 1, json!({"type": "status"})));
    let tasks = scenario.maps + scenario.reduces;
    let attempts = json!({
        "started": tasks + 2, "completed": tasks, "failed": 0, "lost": 2, "speculative": 0,
    });
    assert_eq!(status["attempts"], attempts);
    assert_eq!(status["duplicates_dropped"], 0);
    node.stop();
}

/// One client's line to the node.
struct Connection<'a> {
    id: &'static str,
    last_msg_id: u64,
    requests: &'a Mutex<&'a mut Requests>,
    replies: Receiver<Value>,
}

impl Connection<'_> {
    fn ask(&mut self, body: Value) -> Value {
        self.last_msg_id += 1;
        let letter = Letter::new(self.id, self.last_msg_id, body);
        let mut requests = self.requests.lock().expect("no thread has panicked");
        requests.send(&letter);
        drop(requests);
        self.replies.recv().expect("the reply is carried here")
    }
}

/// Carries the replies to whom they are for, the last one of which is the monitor's `job_status_ok`.
fn route(replies: &mut Replies, clients: &HashMap<String, Sender<Value>>) {
    while let Some((dest, body)) = replies.next() {
        let is_last = body["type"] == "job_status_ok";
        // Whoever asked waits for the reply, or has panicked.
        let _ = clients[&dest].send(body);
        if is_last {
            break;
        }
    }
}

fn work(mut connection: Connection) {
    let id = connection.id;
    loop {
        let request = json!({"type": "request_task", "worker_id": id, "timestamp": NOW_MS});
        let reply = connection.ask(request);
        let task = &reply["task"];
        if reply["done"] == true {
            return;
        } else if reply["type"] == "no_task" {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let output = match (task["chunk"].as_str(), task["inputs"].as_array()) {
            (Some(chunk), _) => word_count::map(chunk, Scenario::default().reduces),
            (_, Some(inputs)) => word_count::reduce(inputs.iter().map(|input| &input["output"])),
            _ => panic!("a task is a map or a reduce: {task}"),
        };
        let report = json!({
            "type": "complete_task",
            "worker_id": id,
            "task_id": task["id"],
            "attempt": task["attempt"],
            "timestamp": NOW_MS,
            "output": output,
        });
        assert_eq!(connection.ask(report)["accepted"], true);
    }
}
