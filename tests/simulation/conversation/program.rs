//! Any program in the place of the master: `MASTER='python3 my_master.py'`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The command that `MASTER` names, if it is set.
pub fn command() -> Option<String> {
    std::env::var("MASTER")
        .ok()
        .filter(|command| !command.is_empty())
}

pub struct Program {
    child: Child,
    input: ChildStdin,
    /// Its output, line by line, read by a thread of its own: a program that prints without being asked is not blocked.
    replies: Receiver<String>,
    /// Whether its replies are compared as JSON, however they are formatted.
    pub compares_json: bool,
}

impl Program {
    pub fn start(command: &str) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let input = child.stdin.take().expect("its stdin is a pipe");
        let output = child.stdout.take().expect("its stdout is a pipe");
        let (sender, replies) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            input,
            replies,
            compares_json: std::env::var("COMPARE").as_deref() == Ok("json"),
        }
    }

    /// Says some lines, and returns so many replies, or as many as come.
    pub fn answer(&mut self, lines: &[&str], count: usize) -> Vec<String> {
        let said = lines.join("\n") + "\n";
        // A program that has ended gives no replies; that is enough to see.
        let _ = self
            .input
            .write_all(said.as_bytes())
            .and_then(|()| self.input.flush());
        let mut replies = vec![];
        while replies.len() < count {
            match self.replies.recv_timeout(PATIENCE) {
                Ok(reply) => replies.push(reply),
                Err(_) => break,
            }
        }
        replies
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
