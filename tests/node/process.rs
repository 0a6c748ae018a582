//! A running node, and what is left of it when it has ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Nothing here takes as long by orders of magnitude, on however busy a machine: a node that does hangs.
pub const HANGS_AFTER: Duration = Duration::from_secs(150);

/// The binary, with all its streams in our hands.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mapreduce-master"));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a node left behind.
#[derive(Debug)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub status: Option<i32>,
    /// The replies that were not taken before, without their line ends.
    pub replies: Vec<String>,
    pub log: String,
}

impl Ended {
    /// The lines of the log.
    pub fn log(&self) -> Vec<&str> {
        self.log.lines().collect()
    }

    /// Checks that the node ended well, and returns its replies.
    pub fn replies(&self) -> Vec<&str> {
        assert_eq!(self.status, Some(0), "{}", self.log);
        assert!(!self.log.contains("panicked"), "{}", self.log);
        self.replies.iter().map(String::as_str).collect()
    }
}

/// Gives all of `input` to a node, and waits for its end.
pub fn run(arguments: &[&str], input: impl Into<Vec<u8>>) -> Ended {
    let session = Session::start(arguments);
    session.send(input);
    session.end()
}

/// What the node answers to all of `input`.
pub fn replies(input: impl Into<Vec<u8>>) -> Vec<String> {
    let ended = run(&["--quiet"], input);
    ended.replies();
    ended.replies
}

/// A node that runs. Threads of their own write to it and read from it, so that neither side ever waits for a pipe
/// that is full.
pub struct Session {
    child: Child,
    input: Option<Sender<(Vec<u8>, usize)>>,
    replies: Receiver<String>,
    log: JoinHandle<String>,
}

impl Session {
    pub fn start(arguments: &[&str]) -> Self {
        Self::of(command(arguments).spawn().expect("the binary runs"))
    }

    /// Takes over a child whose stdin and stderr are pipes. If stdout is none, there are no replies.
    pub fn of(mut child: Child) -> Self {
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = child.stdout.take();
        let mut stderr = child.stderr.take().expect("stderr is a pipe");
        let (input, pieces) = channel::<(Vec<u8>, usize)>();
        thread::spawn(move || {
            for (piece, count) in pieces {
                for _ in 0..count {
                    // A node that has ended reads no more.
                    if stdin.write_all(&piece).is_err() {
                        return;
                    }
                }
            }
        });
        let (sender, replies) = channel();
        thread::spawn(move || {
            for line in stdout
                .into_iter()
                .flat_map(|pipe| BufReader::new(pipe).lines())
            {
                let _ = sender.send(line.expect("replies are in UTF-8"));
            }
        });
        let log = thread::spawn(move || {
            let mut log = String::new();
            let read = stderr.read_to_string(&mut log);
            read.expect("the log is in UTF-8");
            log
        });
        Self {
            child,
            input: Some(input),
            replies,
            log,
        }
    }

    /// Writes to the node's stdin, which stays open.
    pub fn send(&self, input: impl Into<Vec<u8>>) {
        self.send_repeatedly(input, 1);
    }

    /// Writes the same piece several times.
    pub fn send_repeatedly(&self, piece: impl Into<Vec<u8>>, count: usize) {
        let pieces = self.input.as_ref().expect("stdin is still open");
        let _ = pieces.send((piece.into(), count));
    }

    /// The next reply, while stdin is open and nothing more is written to it.
    pub fn reply(&mut self) -> String {
        match self.replies.recv_timeout(HANGS_AFTER) {
            Ok(reply) => reply,
            Err(error) => {
                let _ = self.child.kill();
                panic!("no reply: {error}");
            }
        }
    }

    /// The most memory that the node had so far, in KiB.
    #[cfg(target_os = "linux")]
    pub fn peak_memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the node still runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        peak.expect("the peak is given in kB")
            .parse()
            .expect("as a number")
    }

    /// Ends the input, and waits for the node's end.
    pub fn end(mut self) -> Ended {
        drop(self.input.take());
        self.wait()
    }

    /// Waits for the node's end, with its input still open.
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + HANGS_AFTER;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("the node hangs");
            }
            thread::sleep(Duration::from_millis(1));
        };
        Ended {
            status: status.code(),
            replies: self.replies.iter().collect(),
            log: self.log.join().expect("the log was read"),
        }
    }
}

/// A path for a file of that name, where there is none.
pub fn unused_path(name: &str) -> String {
    let path = format!("{}/node-{name}", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_file(&path);
    path
}

/// A heartbeat of worker w1, a line.
pub fn heartbeat(msg_id: u64) -> String {
    format!(
        "{{\"type\": \"heartbeat\", \"msg_id\": {msg_id}, \"worker_id\": \"w1\", \"timestamp\": 0}}\n"
    )
}

/// The reply to it.
pub fn heartbeat_ok(msg_id: u64) -> String {
    format!("{{\"type\": \"heartbeat_ok\", \"in_reply_to\": {msg_id}}}")
}
