//! The program that is put to the conversations, run once for each.

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes that are taken of what a program writes.
const MAX_OUTPUT_BYTES: u64 = 16 << 20;

/// How often a program that has closed its output is looked at until it ends.
const POLL: Duration = Duration::from_millis(2);

/// How long the output of a program that was killed is waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A command, run by the shell, or this project's own binary.
#[derive(Debug, Clone)]
pub struct Program {
    /// A line for `sh`; `None` for the binary.
    pub command: Option<OsString>,
    /// How long it may take for a conversation.
    pub timeout: Duration,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ended {
    /// `None` if it did not end in time, and was killed.
    pub status: Option<ExitStatus>,
    pub output: Vec<u8>,
    pub log: String,
}

impl Program {
    /// Has the program read all of `input`, and takes what it writes until it ends.
    pub fn run(&self, options: &[String], input: Vec<u8>) -> std::io::Result<Ended> {
        let mut command = match &self.command {
            None => Command::new(env!("CARGO_BIN_EXE_mapreduce-master")),
            Some(line) => {
                let mut script = line.clone();
                script.push(" \"$@\"");
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(script).arg("sh");
                shell
            }
        };
        let mut child = command
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let deadline = Instant::now() + self.timeout;
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A program that does not read to the end makes this fail: its replies say what is wrong.
        thread::spawn(move || stdin.write_all(&input));
        let output = collect(child.stdout.take().expect("stdout is a pipe"));
        let log = collect(child.stderr.take().expect("stderr is a pipe"));
        let status = wait(&mut child, deadline)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let output = everything(&output, left.max(LAST_WORDS));
        let log = everything(&log, LAST_WORDS);
        if status.is_none() {
            child.wait()?;
        }
        Ok(Ended {
            status,
            output,
            log: String::from_utf8_lossy(&log).into_owned(),
        })
    }
}

/// Waits until the child ends. `None` if it has not at the deadline; then it is killed, with all that it started.
fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            let group = format!("kill -s KILL -- -{}", child.id());
            Command::new("sh").arg("-c").arg(group).status()?;
            child.kill()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Reads a stream on a thread of its own, since the program may write to either at any time.
fn collect(stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = stream.take(MAX_OUTPUT_BYTES);
        let mut piece = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            if sender.send(piece[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    pieces
}

/// What came on a stream until it was closed, or nothing more came for `patience`.
fn everything(pieces: &Receiver<Vec<u8>>, patience: Duration) -> Vec<u8> {
    let mut all = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(patience) {
        all.extend(piece);
    }
    all
}
