//! The programs that the node is compared with. Each one is a process of its own: this benchmark's program, started
//! again with `baseline NAME`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hint::black_box;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};

/// The same size as the node's.
const BUFFER_BYTES: usize = mapreduce_master::node::MAX_FEED_BYTES;

/// Runs one baseline on stdin and stdout.
pub fn run(name: &str, file: Option<&String>) -> io::Result<()> {
    match (name, file) {
        ("ceiling", None) => ceiling(|line| {
            black_box(serde_json::from_slice::<Envelope<'_, Heartbeat<'_>>>(line)?);
            Ok(())
        }),
        ("task-ceiling", None) => ceiling(|line| {
            black_box(serde_json::from_slice::<Envelope<'_, TaskMessage<'_>>>(
                line,
            )?);
            Ok(())
        }),
        ("straightforward", None) => straightforward(),
        ("cat", None) => cat(),
        ("answer", Some(file)) => answer(&std::fs::read(file)?),
        ("serialize", Some(file)) => serialize(&std::fs::read(file)?),
        _ => Err(io::Error::other(format!("no baseline {name}"))),
    }
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "to parse them is the work")]
struct Envelope<'a, B> {
    src: &'a str,
    body: B,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "to parse them is the work")]
struct Heartbeat<'a> {
    r#type: &'a str,
    msg_id: i64,
    // An `init` has neither of these.
    #[serde(default)]
    worker_id: &'a str,
    #[serde(default)]
    timestamp: i64,
}

/// A `request_task` or a `complete_task`.
#[derive(Deserialize)]
#[expect(dead_code, reason = "to parse them is the work")]
struct TaskMessage<'a> {
    r#type: &'a str,
    msg_id: i64,
    worker_id: &'a str,
    timestamp: i64,
    #[serde(default)]
    task_id: &'a str,
    #[serde(default)]
    attempt: i64,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

/// The least that any node has to do: split lines, parse each one into a flat struct that borrows from it, and write a
/// reply. The reply is constant, and as short as one before `init`.
fn ceiling(parse: impl Fn(&[u8]) -> serde_json::Result<()>) -> io::Result<()> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        parse(&line)?;
        output.write_all(b"{\"type\": \"heartbeat_ok\", \"in_reply_to\": 1}\n")?;
        if input.buffer().is_empty() {
            output.flush()?;
        }
        line.clear();
    }
    Ok(())
}

/// What one would write first: every message is a `Value`, every reply a `println!`.
fn straightforward() -> io::Result<()> {
    let mut last_heartbeat: HashMap<String, i64> = HashMap::new();
    let mut node_id = None;
    let mut next_msg_id = 0;
    for line in io::stdin().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        let body = &message["body"];
        let mut reply = json!({"in_reply_to": body["msg_id"]});
        match body["type"].as_str() {
            Some("init") => {
                node_id = body["node_id"].as_str().map(str::to_owned);
                reply["type"] = json!("init_ok");
            }
            Some("heartbeat") => {
                let worker = body["worker_id"].as_str().unwrap_or_default().to_owned();
                let timestamp = body["timestamp"].as_i64().unwrap_or_default();
                let last = last_heartbeat.entry(worker).or_insert(timestamp);
                *last = timestamp.max(*last);
                reply["type"] = json!("heartbeat_ok");
            }
            _ => reply["type"] = json!("error"),
        }
        match &node_id {
            Some(node_id) => {
                reply["msg_id"] = json!(next_msg_id);
                next_msg_id += 1;
                let dest = &message["src"];
                println!("{}", json!({"src": node_id, "dest": dest, "body": reply}));
            }
            None => println!("{reply}"),
        }
    }
    Ok(())
}

/// Writes what it reads, as soon as it reads it.
fn cat() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        output.write_all(&buffer[..count])?;
        output.flush()?;
    }
}

/// Answers every line by serializing a list of ids that it has in memory.
fn serialize(reply: &[u8]) -> io::Result<()> {
    #[derive(Deserialize, Serialize)]
    struct FailuresDetected {
        r#type: String,
        failed_workers: Vec<String>,
    }

    let reply: FailuresDetected = serde_json::from_slice(reply)?;
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    for line in io::stdin().lock().lines() {
        black_box(line?);
        serde_json::to_writer(&mut output, &reply)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

/// Answers every line with a reply that it has in memory.
fn answer(reply: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        black_box(line?);
        output.write_all(reply)?;
        output.flush()?;
    }
    Ok(())
}
