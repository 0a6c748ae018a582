//! The built binary with a journal on a disk, and folders to keep one in.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

pub const BINARY: &str = env!("CARGO_BIN_EXE_mapreduce-master");

/// An empty folder, removed after the test unless it fails.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let name = format!("journal-{}-{name}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the folder can be read");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            let name = entry.expect("the folder can be read").file_name();
            name.into_string().expect("the test chose the names")
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A running node.
pub struct Node {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Node {
    pub fn start(journal: &Path) -> Self {
        Self::spawn(Command::new(BINARY).arg("--journal").arg(journal))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            child,
            stdin,
            stdout,
        }
    }

    /// Sends a message.
    pub fn send(&mut self, message: &str) {
        // This fails if the node has ended, which the missing reply then shows.
        let _ = writeln!(self.stdin, "{message}");
    }

    /// Sends a message and waits for its reply, a line; empty if the node has ended instead.
    pub fn ask(&mut self, message: &str) -> String {
        self.send(message);
        let mut reply = String::new();
        let _ = self.stdout.read_line(&mut reply);
        reply
    }

    /// Sends a message whose reply must be of this type.
    pub fn expect(&mut self, message: &str, kind: &str) {
        let reply = self.ask(message);
        if !reply.contains(&format!("\"type\": \"{kind}\"")) {
            let mut log = String::new();
            if reply.is_empty()
                && let Some(stderr) = &mut self.child.stderr
            {
                let _ = stderr.read_to_string(&mut log);
            }
            let message = &message[..message.len().min(100)];
            panic!("no {kind} to {message}: {reply}{log}");
        }
    }

    pub fn ask_all(&mut self, messages: &[&str]) -> Vec<String> {
        messages.iter().map(|message| self.ask(message)).collect()
    }

    /// Kills the processes that the node has started. Returns whether there were any.
    pub fn kill_children(&self) -> bool {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.expect("the node runs, on Linux");
        for child in children.split_whitespace() {
            let kill = Command::new("kill").args(["-9", child]).status();
            kill.expect("there is such a command");
        }
        !children.is_empty()
    }

    /// Kills the node with SIGKILL. Returns what it had logged.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("it is our own child");
        self.wait().1
    }

    /// Ends the node's input and waits for its end. Returns what it has logged.
    pub fn end(self) -> String {
        let (status, log) = self.wait();
        assert!(status.success(), "the node ended with {status}: {log}");
        log
    }

    /// Waits until the node ends by itself. Returns how it ended, and what it has logged.
    pub fn wait(self) -> (std::process::ExitStatus, String) {
        let Self {
            mut child, stdin, ..
        } = self;
        drop(stdin);
        let mut log = String::new();
        let mut stderr = child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut log).expect("the log is text");
        (child.wait().expect("it is our own child"), log)
    }
}

/// Runs a node on a journal that it must refuse: it answers nothing, says why in one line, and ends with status 1. Returns
/// that line.
pub fn refusal(journal: &Path) -> String {
    let mut node = Node::start(journal);
    let reply = node.ask(r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#);
    assert_eq!(reply, "", "a refused journal acknowledges nothing");
    let (status, log) = node.wait();
    assert_failed(status, &log);
    log
}

/// Expects a node to refuse a journal that another node uses.
pub fn assert_in_use(journal: &Path) {
    let log = refusal(journal);
    assert!(log.contains("in use"), "{log}");
}

/// Expects status 1, and one line that says why.
pub fn assert_failed(status: std::process::ExitStatus, log: &str) {
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.starts_with("mapreduce-master: "), "{log}");
    assert_eq!(log.matches('\n').count(), 1, "{log}");
}

/// Runs a shell command with the binary as `$NODE` and the journal as `$FILE`.
pub fn shell(command: &str, journal: &Path) -> Output {
    shell_command(command, journal)
        .output()
        .expect("there is a shell")
}

pub fn shell_command(command: &str, journal: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell.env("NODE", BINARY).env("FILE", journal);
    shell
}
