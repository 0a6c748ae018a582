//! A node under load is killed with SIGKILL a hundred times on one journal, at random moments.
//!
//! Workers count words. Every client resends a request, unchanged, until it is answered. What was acknowledged must be
//! remembered, what was sent twice must have happened once, and every count must be right.

use crate::clients::{Client, Submitter, Worker};
use crate::node::{BINARY, Folder};
use crate::random::Random;
use crate::restartable::without_msg_id;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const KILLS: u64 = 100;
const WORKERS: usize = 6;

/// A node that answers nothing for this long has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node. Its replies arrive as they are written, those from before a kill possibly after it.
struct Life {
    child: Child,
    stdin: ChildStdin,
    replies: Receiver<String>,
}

impl Life {
    fn start(journal: &Path, sync: &str) -> Self {
        let mut child = Command::new(BINARY)
            .args(["--quiet", "--journal-sync", sync, "--journal"])
            .arg(journal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, replies) = mpsc::channel();
        thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            lines.for_each(|line| _ = sender.send(line));
        });
        Self {
            child,
            stdin,
            replies,
        }
    }

    fn send(&mut self, message: &Value) {
        // The node may have been killed already.
        let _ = writeln!(self.stdin, "{message}");
    }
}

/// The clients, by name.
struct Cluster {
    clients: HashMap<String, Box<dyn Client>>,
    latest_msg_id: Option<u64>,
}

impl Cluster {
    /// Takes a reply, a line. Returns what to send next.
    fn hear(&mut self, line: &str) -> Value {
        let msg_id = without_msg_id(line).1;
        assert!(
            msg_id.is_some() && msg_id > self.latest_msg_id,
            "a msg_id is used twice: {line}"
        );
        self.latest_msg_id = msg_id;
        let reply: Value = serde_json::from_str(line).expect("a reply is a whole line of JSON");
        let name = reply["dest"].as_str().expect("a reply is addressed");
        let client = self.clients.get_mut(name).expect("to one who has asked");
        assert_eq!(
            reply["body"]["in_reply_to"],
            client.asked()["body"]["msg_id"]
        );
        client.hear(&reply["body"]);
        client.asked().clone()
    }

    /// Lets the clients ask until the time is over, or until all work is done if there is no time.
    fn talk(&mut self, life: &mut Life, time: Option<Duration>) {
        let asked: Vec<Value> = self
            .clients
            .values()
            .map(|client| client.asked().clone())
            .collect();
        for message in &asked {
            life.send(message);
        }
        let mut end = None;
        while time.is_some() || !self.clients.values().all(|client| client.is_done()) {
            let left = match end {
                None => PATIENCE,
                Some(end) => match Instant::checked_duration_since(&end, Instant::now()) {
                    None => return,
                    Some(left) => left,
                },
            };
            match life.replies.recv_timeout(left) {
                Ok(reply) => {
                    end = end.or(time.map(|time| Instant::now() + time));
                    life.send(&self.hear(&reply));
                }
                Err(RecvTimeoutError::Timeout) => {
                    assert!(end.is_some(), "the node does not answer");
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the node has ended by itself"),
            }
        }
    }

    /// Kills the node. What it had acknowledged counts, even if it is read only now.
    fn kill(&mut self, mut life: Life) {
        life.child.kill().expect("it is our own child");
        life.child.wait().expect("it is our own child");
        while let Ok(line) = life.replies.recv() {
            self.hear(&line);
        }
    }
}

#[test]
fn hundred_kills_lose_nothing_and_do_nothing_twice() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
    let mut random = Random::new(seed);
    let folder = Folder::new("kills");
    let journal = folder.file("journal");
    let work = crate::clients::Work::shared();
    let mut cluster = Cluster {
        clients: HashMap::new(),
        latest_msg_id: None,
    };
    let submitter = Submitter::new(seed, &work);
    cluster
        .clients
        .insert("submitter".into(), Box::new(submitter));
    for number in 0..WORKERS {
        let name = format!("w{number}");
        let worker = Worker::new(&name, &work);
        cluster.clients.insert(name, Box::new(worker));
    }
    for _ in 0..KILLS {
        let sync = if random.percent(50) { "batch" } else { "never" };
        let mut life = Life::start(&journal, sync);
        if random.percent(10) {
            // Possibly during a recovery.
            thread::sleep(Duration::from_micros(random.below(20_000)));
        } else {
            let time = Duration::from_micros(random.below(10_000));
            cluster.talk(&mut life, Some(time));
        }
        cluster.kill(life);
    }
    work.borrow_mut().ends = true;
    let mut life = Life::start(&journal, "batch");
    cluster.talk(&mut life, None);
    let work = work.borrow();
    let status = json!({"src": "auditor", "body": {"type": "status"}});
    life.send(&status);
    let mut replies = life.replies.iter();
    let is_status = |reply: &String| reply.contains("\"auditor\"");
    let reply = replies.find(is_status).expect("the node answers");
    let status: Value = serde_json::from_str(&reply).expect("a reply is a line of JSON");
    assert_eq!(
        status["body"]["attempts"],
        json!({
            "started": work.attempts.len(),
            "completed": work.tasks,
            "failed": work.failures.len(),
            "lost": 0,
            "speculative": 0,
        })
    );
    assert_eq!(status["body"]["duplicates_dropped"], 0);
    assert_eq!(status["body"]["jobs"]["completed"], work.jobs_kept);
    assert!(
        work.jobs_verified > 10,
        "little was done: {}",
        work.jobs_verified
    );
    life.child.kill().expect("it is our own child");
    life.child.wait().expect("it is our own child");
}
