//! The worker over stdin and stdout, with the test in the place of a master that answers as no good master would.

use super::kit::{Folder, PLAIN};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout};

struct Worker {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// A job of one reduce in the folder `jobs/j`, as `local.py` makes it.
fn folder_with_job(module: &str) -> Folder {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("jobs/j")).expect("a folder can be made");
    let job =
        json!({"source": module, "path": "/nowhere/module.py", "partitions": 1, "memory": 1 << 20});
    folder.write("jobs/j/job.json", job.to_string());
    folder
}

impl Worker {
    fn start(folder: &Folder) -> Self {
        let mut command = folder.python("worker.py");
        command.args(["w1", "--data", "jobs", "--scratch", "tmp"]);
        let mut process = command
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("python3 is there");
        Self {
            stdin: process.stdin.take(),
            stdout: BufReader::new(process.stdout.take().expect("stdout is piped")),
            process,
        }
    }

    /// The next message of the worker that is of that type.
    fn next(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.stdout
                    .read_line(&mut line)
                    .expect("the worker writes UTF-8"),
                0,
                "the worker ended"
            );
            let message: Value = serde_json::from_str(&line).expect("the worker writes JSON");
            assert_eq!(message["src"], "w1");
            let body = message["body"].clone();
            assert_eq!(body["worker_id"], "w1");
            if body["type"] == kind {
                return body;
            }
        }
    }

    fn say(&mut self, mut body: Value, request: &Value) {
        body["in_reply_to"] = request["msg_id"].clone();
        let line = json!({"src": "master", "dest": "w1", "body": body});
        writeln!(self.stdin.as_mut().expect("it is open"), "{line}").expect("the worker reads");
    }

    /// Hands out a task, which the worker asks for.
    fn assign(&mut self, task: &Value) {
        let request = self.next("request_task");
        self.say(json!({"type": "task_assigned", "task": task}), &request);
    }

    fn refuse(&mut self, request: &Value, code: i64) {
        self.say(
            json!({"type": "error", "code": code, "text": "I do not like it"}),
            request,
        );
    }

    fn end(mut self) {
        drop(self.stdin.take());
        assert!(self.process.wait().expect("it was started here").success());
    }
}

fn map(id: &str, attempt: i64) -> Value {
    json!({"id": id, "job_id": "j", "kind": "map", "attempt": attempt, "chunk": [["../text", 0, 5]], "partitions": 1})
}

fn completed() -> Value {
    json!({"type": "task_completed", "task_id": "m", "accepted": true})
}

#[test]
fn task_is_run_reported_and_counted() {
    let folder = folder_with_job(PLAIN);
    folder.write("text", "a b a");
    let mut worker = Worker::start(&folder);
    worker.assign(&map("m", 1));
    let report = worker.next("complete_task");
    worker.say(completed(), &report);
    assert_eq!(report["attempt"], 1);
    let counters = json!({"map_bytes_read": 5, "map_records_read": 1, "map_records_written": 3, "map_bytes_written": 24});
    assert_eq!(report["counters"], counters);
    let [name, start, end] = [0, 1, 2].map(|at| report["output"][0][at].clone());
    assert_eq!((&start, &end), (&json!(0), &json!(24)));
    let file = fs::read_to_string(folder.path("jobs").join(name.as_str().expect("a name")));
    assert_eq!(
        file.expect("the output is there"),
        "[\"a\",1]\n[\"a\",1]\n[\"b\",1]\n"
    );

    let input =
        json!({"task_id": "m", "attempt": 1, "worker_id": "w1", "output": report["output"][0]});
    let reduce = json!({"id": "r", "job_id": "j", "kind": "reduce", "attempt": 1, "partition": 0, "inputs": [input]});
    worker.assign(&reduce);
    let report = worker.next("complete_task");
    worker.say(completed(), &report);
    let file = fs::read_to_string(
        folder
            .path("jobs")
            .join(report["output"][0].as_str().expect("a name")),
    );
    assert_eq!(file.expect("the output is there"), "[\"a\",2]\n[\"b\",1]\n");
    worker.end();
}

#[test]
fn requests_are_sent_again_until_answered_with_the_time_as_it_is_then() {
    let folder = folder_with_job(PLAIN);
    let mut worker = Worker::start(&folder);
    let [first, again] = [(); 2].map(|()| worker.next("request_task"));
    assert_eq!(first["msg_id"], again["msg_id"]);
    assert!(first["timestamp"].as_i64() < again["timestamp"].as_i64());
    worker.end();
}

#[test]
fn refused_result_becomes_a_failure_and_is_not_run_again() {
    for code in [12, 22] {
        let folder = folder_with_job(&format!("{PLAIN}\nopen('runs', 'a').write('x')"));
        folder.write("text", "a b a");
        let mut worker = Worker::start(&folder);
        worker.assign(&map("m", 1));
        let report = worker.next("complete_task");
        worker.refuse(&report, code);
        let failure = worker.next("fail_task");
        assert_eq!(
            failure["error"],
            "the master refused the result: I do not like it"
        );
        // This master does not take the failure either, and hands the attempt out again, and again.
        worker.refuse(&failure, code);
        for _ in 0..2 {
            worker.assign(&map("m", 1));
            let failure = worker.next("fail_task");
            assert_eq!(
                failure["error"],
                "the master refused the result: I do not like it"
            );
            worker.refuse(&failure, code);
        }
        worker.assign(&map("m", 2));
        worker.next("complete_task");
        worker.end();
        assert_eq!(
            fs::read_to_string(folder.path("runs")).expect("it ran"),
            "x"
        );
    }
}

#[test]
fn cancelled_task_is_stopped_and_not_reported() {
    let folder = folder_with_job(
        "import time\ndef map(lines):\n    time.sleep(1000)\ndef reduce(k, v): pass\n",
    );
    let mut worker = Worker::start(&folder);
    worker.assign(&map("m", 1));
    let heartbeat = worker.next("heartbeat");
    assert_eq!(heartbeat["running"], json!(["m"]));
    assert!(heartbeat["incarnation"].is_i64());
    worker.say(
        json!({"type": "heartbeat_ok", "cancel": ["other"]}),
        &heartbeat,
    );
    let heartbeat = worker.next("heartbeat");
    assert_eq!(heartbeat["running"], json!(["m"]));
    worker.say(json!({"type": "heartbeat_ok", "cancel": ["m"]}), &heartbeat);
    let request = worker.next("request_task");
    assert_eq!(request["running"], json!([]));
    // The next task has a process of its own again.
    worker.say(
        json!({"type": "task_assigned", "task": map("no/name", 1)}),
        &request,
    );
    let failure = worker.next("fail_task");
    assert_eq!(failure["task_id"], "no/name");
    worker.end();
}

#[test]
fn inputs_that_are_not_there_are_reported_as_lost_all_at_once() {
    let folder = folder_with_job(PLAIN);
    folder
        .write("jobs/j/good", "[\"a\",1]\n")
        .write("jobs/j/torn", "[\"a\",1]\n[\"b\"");
    folder.write("jobs/j/short", "[\"a\"");
    let mut worker = Worker::start(&folder);
    let input = |number: i64, name: &str| {
        let output = json!([format!("j/{name}"), 0, 8]);
        json!({"task_id": format!("m{number}"), "attempt": number, "worker_id": "w9", "output": output})
    };
    let inputs = json!([input(1, "good"), input(2, "missing"), input(3, "short")]);
    let mut reduce = json!({"id": "r", "job_id": "j", "kind": "reduce", "attempt": 1, "partition": 0, "inputs": inputs});
    worker.assign(&reduce);
    let failure = worker.next("fail_task");
    worker.say(
        json!({"type": "task_failed", "task_id": "r", "retry": true}),
        &failure,
    );
    let lost = json!([{"task_id": "m2", "attempt": 2}, {"task_id": "m3", "attempt": 3}]);
    assert_eq!(failure["lost_inputs"], lost, "{failure}");

    // What is there, but is not what was written, is found when it is read.
    let torn =
        json!({"task_id": "m4", "attempt": 4, "worker_id": "w9", "output": ["j/torn", 0, 12]});
    reduce["inputs"] = json!([input(1, "good"), torn]);
    reduce["attempt"] = json!(2);
    worker.assign(&reduce);
    let failure = worker.next("fail_task");
    assert_eq!(
        failure["lost_inputs"],
        json!([{"task_id": "m4", "attempt": 4}]),
        "{failure}"
    );
    worker.end();
}

#[test]
fn names_in_a_task_that_leave_their_folder_are_refused() {
    let folder = folder_with_job(PLAIN);
    let mut worker = Worker::start(&folder);
    for (field, name) in [
        ("id", "../m"),
        ("job_id", ".."),
        ("job_id", "/etc"),
        ("id", ""),
        ("id", "a\u{0}b"),
    ] {
        let mut task = map("m", 1);
        task[field] = json!(name);
        worker.assign(&task);
        let failure = worker.next("fail_task");
        let error = failure["error"].as_str().expect("it is a text");
        assert!(error.contains("is not a name"), "{error}");
        worker.say(
            json!({"type": "task_failed", "task_id": "m", "retry": true}),
            &failure,
        );
    }
    worker.end();
}

#[test]
fn worker_whose_name_another_process_took_ends() {
    let folder = folder_with_job(PLAIN);
    let mut worker = Worker::start(&folder);
    let request = worker.next("request_task");
    worker.refuse(&request, 22);
    assert!(
        !worker
            .process
            .wait()
            .expect("it was started here")
            .success()
    );
}
