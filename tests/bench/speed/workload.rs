//! The messages that are sent: one per line, in Maelstrom's envelopes.

use std::fmt::Display;
use std::io::Write as _;
use std::ops::Range;

/// The time at which everything begins, in ms.
const START_MS: usize = 1_700_000_000_000;

/// Names the node, so that it answers envelopes with envelopes from then on.
pub const INIT: &[u8] = b"{\"src\": \"c0\", \"dest\": \"n1\", \"body\": {\"type\": \"init\", \
    \"msg_id\": 1, \"node_id\": \"n1\", \"node_ids\": [\"n1\"]}}\n";

/// The order of the fields in an envelope and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The order in which Maelstrom and the course write them.
    Normal,
    TypeLast,
    SrcAfterBody,
    UnknownBetween,
    /// The previous three at once.
    All,
}

impl Order {
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal order",
            Self::TypeLast => "`type` last",
            Self::SrcAfterBody => "`src` after `body`",
            Self::UnknownBetween => "unknown fields in between",
            Self::All => "all three at once",
        }
    }
}

/// The id of a worker: 8 bytes.
pub fn worker(number: usize) -> String {
    format!("w{number:07}")
}

/// The id of a task, in any job.
pub fn task(number: usize) -> String {
    format!("t{number:07}")
}

/// A typical chunk, the name of a file, as JSON.
pub fn chunk(number: usize) -> String {
    format!("{{\"file\": \"{number:07}\"}}")
}

/// The numbers below `count`, each once in `count` steps, with neighbors far apart: the workers of a cluster do not act
/// in the order in which they registered. After `count` steps the numbers repeat in another order, in which no number
/// has the same successor as before.
pub fn scattered(step: usize, count: usize) -> usize {
    // It has no common factor with the counts in use, which are powers of ten and halves of them.
    const STRIDES: [usize; 5] = [611_953, 105_943, 924_269, 431_567, 267_401];
    step * STRIDES[step / count % STRIDES.len()] % count
}

/// `count` heartbeats of `workers` workers, in another order in each round.
pub fn heartbeats(count: usize, workers: usize, order: Order) -> Vec<u8> {
    heartbeats_of(0..count, order, |number| scattered(number, workers))
}

/// The heartbeats with these numbers, each from the worker that `from` returns for it.
pub fn heartbeats_of(
    numbers: Range<usize>,
    order: Order,
    from: impl Fn(usize) -> usize,
) -> Vec<u8> {
    let mut input = Vec::with_capacity(numbers.len() * 150);
    for number in numbers {
        let worker = worker(from(number));
        let timestamp = START_MS + number;
        let has_unknown = matches!(order, Order::UnknownBetween | Order::All);
        let (id, load, host) = if has_unknown {
            (
                format!("\"id\": {number}, "),
                "\"load\": [0.5, 0.25], ",
                "\"host\": {\"rack\": \"r7\"}, ",
            )
        } else {
            (String::new(), "", "")
        };
        let rest = format!(
            "\"msg_id\": {number}, {load}\"worker_id\": \"{worker}\", {host}\"timestamp\": {timestamp}"
        );
        let body = match order {
            Order::TypeLast | Order::All => format!("{{{rest}, \"type\": \"heartbeat\"}}"),
            _ => format!("{{\"type\": \"heartbeat\", {rest}}}"),
        };
        let src = format!("\"src\": \"{worker}\"");
        let _ = match order {
            Order::SrcAfterBody | Order::All => {
                writeln!(input, "{{{id}\"dest\": \"n1\", \"body\": {body}, {src}}}")
            }
            _ => writeln!(input, "{{{src}, {id}\"dest\": \"n1\", \"body\": {body}}}"),
        };
    }
    input
}

/// One message of a type, with its other fields as JSON.
fn message(input: &mut Vec<u8>, src: &str, kind: &str, fields: impl Display) {
    let _ = writeln!(
        input,
        "{{\"src\": \"{src}\", \"dest\": \"n1\", \"body\": {{\"type\": \"{kind}\", \"msg_id\": 7, {fields}}}}}"
    );
}

/// A check that fails the workers not heard from since the last of `heartbeats` heartbeats began; with a long timeout
/// it fails none.
pub fn check_failures(input: &mut Vec<u8>, heartbeats: usize, timeout_ms: usize) {
    let now = START_MS + heartbeats + 1_000;
    message(
        input,
        "monitor",
        "check_failures",
        format_args!("\"timeout_ms\": {timeout_ms}, \"now\": {now}"),
    );
}

/// A job in which a worker may get a task again as soon as its clock has moved since it failed at it.
pub fn submit_job(input: &mut Vec<u8>, chunks: impl Iterator<Item = String>, reduces: usize) {
    let tasks: Vec<String> = (0..)
        .zip(chunks)
        .map(|(number, chunk)| format!("{{\"id\": \"{}\", \"chunk\": {chunk}}}", task(number)))
        .collect();
    let tasks = tasks.join(", ");
    message(
        input,
        "c0",
        "submit_job",
        format_args!(
            "\"job_id\": \"job\", \"tasks\": [{tasks}], \"reduce_tasks\": {reduces}, \"avoid_ms\": 0"
        ),
    );
}

pub fn job_status(input: &mut Vec<u8>) {
    message(input, "c0", "job_status", "\"job_id\": \"job\"");
}

pub fn remove_job(input: &mut Vec<u8>) {
    message(input, "c0", "remove_job", "\"job_id\": \"job\"");
}

pub fn request_task(input: &mut Vec<u8>, worker: &str) {
    request_task_after(input, worker, 0);
}

/// A request that is sent some ms after the others.
pub fn request_task_after(input: &mut Vec<u8>, worker: &str, ms: usize) {
    let timestamp = START_MS + ms;
    message(
        input,
        worker,
        "request_task",
        format_args!("\"worker_id\": \"{worker}\", \"timestamp\": {timestamp}"),
    );
}

/// Completes an attempt of a task.
pub fn complete_task(input: &mut Vec<u8>, worker: &str, task: &str, attempt: usize, output: &str) {
    message(
        input,
        worker,
        "complete_task",
        format_args!(
            "\"worker_id\": \"{worker}\", \"task_id\": \"{task}\", \"attempt\": {attempt}, \
             \"timestamp\": {START_MS}, \"output\": {output}"
        ),
    );
}

/// Fails an attempt of a task.
pub fn fail_task(input: &mut Vec<u8>, worker: &str, task: &str, attempt: usize) {
    message(
        input,
        worker,
        "fail_task",
        format_args!(
            "\"worker_id\": \"{worker}\", \"task_id\": \"{task}\", \"attempt\": {attempt}, \
             \"timestamp\": {START_MS}, \"error\": \"out of disk\""
        ),
    );
}

pub fn reassign(input: &mut Vec<u8>, failed: &str, healthy: &str, number: usize) {
    let (task, chunk) = (task(number), chunk(number));
    message(
        input,
        "monitor",
        "reassign",
        format_args!(
            "\"failed_worker\": \"{failed}\", \"healthy_worker\": \"{healthy}\", \
             \"tasks\": [{{\"id\": \"{task}\", \"chunk\": {chunk}}}]"
        ),
    );
}

/// Any other message, with its fields as JSON.
pub fn other(input: &mut Vec<u8>, kind: &str, fields: impl Display) {
    message(input, "c0", kind, fields);
}
