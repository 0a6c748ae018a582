//! The built binary as a process, spoken to as Maelstrom does: `init` first, then envelopes. Whatever a test
//! is about, it also checks that replies come in order, to whom they are due, and with `msg_id`s from 0.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};

pub const NODE_ID: &str = "n1";

/// A request in its envelope, ready to be written, and as often as it takes.
#[derive(Clone, Debug)]
pub struct Letter {
    pub src: String,
    pub msg_id: u64,
    line: String,
}

impl Letter {
    pub fn new(src: &str, msg_id: u64, mut body: Value) -> Self {
        body["msg_id"] = json!(msg_id);
        let address = json!(src);
        Self {
            src: src.to_owned(),
            msg_id,
            // Not by `json!`, which would copy a long body once more.
            line: format!("{{\"src\": {address}, \"dest\": \"{NODE_ID}\", \"body\": {body}}}\n"),
        }
    }
}

/// A running node. Its two halves can be used from two threads.
pub struct Node {
    child: Child,
    pub requests: Requests,
    pub replies: Replies,
}

pub struct Requests {
    stdin: ChildStdin,
    expected: Sender<(String, u64)>,
}

pub struct Replies {
    stdout: BufReader<ChildStdout>,
    expected: Receiver<(String, u64)>,
    next_msg_id: u64,
    latest: Latest,
}

impl Node {
    /// Starts the node and names it.
    pub fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mapreduce-master"))
            .arg("--quiet")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        let mut node = Self {
            child,
            requests: Requests {
                stdin,
                expected: sender,
            },
            replies: Replies {
                stdout: BufReader::new(stdout),
                expected: receiver,
                next_msg_id: 0,
                latest: Latest::default(),
            },
        };
        let init = json!({"type": "init", "node_id": NODE_ID, "node_ids": [NODE_ID]});
        let reply = node.ask(&Letter::new("c0", 1, init));
        assert_eq!(
            reply,
            json!({"type": "init_ok", "in_reply_to": 1, "msg_id": 0})
        );
        node
    }

    /// Sends a request, and returns the body of its reply.
    pub fn ask(&mut self, letter: &Letter) -> Value {
        self.replies.latest.push(&letter.line);
        self.requests.send(letter);
        self.replies.next().expect("the node answers").1
    }

    /// Ends the node's input, and sees that it says nothing more and ends well.
    pub fn stop(self) {
        let Self {
            mut child,
            requests,
            mut replies,
        } = self;
        drop(requests);
        assert_eq!(replies.next(), None, "every request was answered before");
        let status = child.wait().expect("the node can be waited for");
        assert!(status.success(), "the node ended with {status}");
    }
}

impl Requests {
    pub fn send(&mut self, letter: &Letter) {
        // A node whose replies nobody waits for any more still has to be told.
        let _ = self.expected.send((letter.src.clone(), letter.msg_id));
        let written = self.stdin.write_all(letter.line.as_bytes());
        written.expect("the node reads its input");
    }
}

impl Replies {
    /// The next reply: to whom, and its body. `None` after the last one.
    pub fn next(&mut self) -> Option<(String, Value)> {
        let Ok((src, msg_id)) = self.expected.recv() else {
            let mut rest = String::new();
            let read = self.stdout.read_to_string(&mut rest);
            assert_eq!(read.ok(), Some(0), "a reply to no request: {rest}");
            return None;
        };
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line);
        read.expect("the node's output can be read");
        self.latest.push(&line);
        let mut reply: Value = serde_json::from_str(&line).expect("a reply is a line of JSON");
        assert_eq!(reply["src"], NODE_ID);
        assert_eq!(reply["dest"], *src);
        let body = reply["body"].take();
        assert_eq!(body["in_reply_to"], msg_id);
        assert_eq!(body["msg_id"], self.next_msg_id);
        self.next_msg_id += 1;
        Some((src, body))
    }
}

/// The latest lines of the conversation. A test that fails in the middle of it shows them.
#[derive(Default)]
struct Latest(VecDeque<String>);

impl Latest {
    const LINES: usize = 20;
    const MOST_CHARS: usize = 200;

    fn push(&mut self, line: &str) {
        if self.0.len() == Self::LINES {
            self.0.pop_front();
        }
        let start = line.trim_end().chars().take(Self::MOST_CHARS);
        self.0.push_back(start.collect());
    }
}

impl Drop for Latest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.0 {
                eprintln!("{line}");
            }
        }
    }
}
