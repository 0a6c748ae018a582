//! What the node is compared with. Each baseline is a process of its own: this benchmark's program, started
//! again with `baseline NAME`.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};

const BUFFER_BYTES: usize = 64 << 10;

/// Runs one baseline on stdin and stdout.
pub fn run(name: &str) -> io::Result<()> {
    match name {
        "ceiling" => ceiling(),
        "value" => value(),
        _ => Err(io::Error::other(format!("no baseline {name}"))),
    }
}

/// The least that any node has to do: split lines, parse each into one flat borrowed struct, and write a
/// reply, always the same one.
fn ceiling() -> io::Result<()> {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "parsing them is the work")]
    struct Envelope<'a> {
        src: &'a str,
        #[serde(borrow)]
        body: Body<'a>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "parsing them is the work")]
    struct Body<'a> {
        r#type: &'a str,
        msg_id: i64,
        // An `init` has neither of these.
        #[serde(default)]
        worker_id: &'a str,
        #[serde(default)]
        timestamp: i64,
    }

    let mut output = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    for_each_line(|line| {
        let envelope: Envelope<'_> = serde_json::from_slice(line)?;
        std::hint::black_box(&envelope);
        output.write_all(b"{\"type\": \"heartbeat_ok\", \"in_reply_to\": 1}\n")
    })?;
    output.flush()
}

fn for_each_line(mut work: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        work(&line)?;
        line.clear();
    }
    Ok(())
}

/// What one writes first: every message a `Value`, every reply a `println!`.
fn value() -> io::Result<()> {
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
                println!(
                    "{}",
                    json!({"src": node_id, "dest": message["src"], "body": reply})
                );
            }
            None => println!("{reply}"),
        }
    }
    Ok(())
}
