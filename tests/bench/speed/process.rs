//! Processes under measurement, and what they cost.
//!
//! Time is the processor time of the process, user and system together, in nanoseconds from Linux's
//! `/proc/PID/schedstat`. Other programs on the machine affect it only through the caches, and it is finer than the
//! 10 ms ticks in `/proc/PID/stat`. It covers the first thread, which does all the work of the node and the
//! baselines. Where the file does not exist, wall time is used.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The node under test.
pub fn node() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mapreduce-master"))
}

/// A baseline, by name.
pub fn baseline(name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["baseline", name]);
    Ok(command)
}

/// Runs a program until it ends, with one file as its input and another as its output.
pub fn file_to_file(program: &mut Command, input: &Path, output: &Path) -> io::Result<Duration> {
    let started = Instant::now();
    let mut child = program
        .stdin(File::open(input)?)
        .stdout(File::create(output)?)
        .stderr(Stdio::null())
        .spawn()?;
    // The times of a process that has ended can be read until it is waited for.
    while state(child.id()).is_some_and(|state| state != 'Z') {
        thread::sleep(Duration::from_millis(1));
    }
    let cpu_time = cpu_time(child.id());
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("{program:?} ended with {status}")));
    }
    Ok(cpu_time.unwrap_or_else(|| started.elapsed()))
}

/// Whether this system reports processor time.
pub fn has_cpu_time() -> bool {
    cpu_time(std::process::id()).is_some()
}

fn cpu_time(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// The state of a process: `Z` once it has ended. The letter follows the name, which is in parentheses and may itself
/// contain any characters.
fn state(pid: u32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// A program on two pipes, so that its set-up can be kept out of the measurement.
pub struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Session {
    pub fn start(program: &mut Command) -> io::Result<Self> {
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        Ok(Self {
            child,
            stdin,
            stdout,
        })
    }

    /// Writes lines and reads a reply to each. Returns the program's time until it waits for more.
    ///
    /// The last reply has to contain `expected`, since a program that answers with errors would be fast, too.
    pub fn exchange(&mut self, lines: &[u8], expected: &str) -> io::Result<Duration> {
        let (started, cpu_before) = (Instant::now(), self.cpu_time_at_rest());
        let last = self.write_and_read(lines)?;
        let (wall_time, cpu_after) = (started.elapsed(), self.cpu_time_at_rest());
        let last = String::from_utf8_lossy(&last);
        if !last.contains(expected) {
            return Err(io::Error::other(format!("no {expected} in {last}")));
        }
        let cpu_time = cpu_after
            .zip(cpu_before)
            .map(|(after, before)| after.saturating_sub(before));
        Ok(cpu_time.unwrap_or(wall_time))
    }

    /// Writes one line, and returns the whole reply.
    pub fn ask(&mut self, line: &[u8]) -> io::Result<Vec<u8>> {
        self.stdin.write_all(line)?;
        let mut reply = Vec::new();
        let mut buffer = vec![0; 256 << 10];
        while reply.last() != Some(&b'\n') {
            let count = self.stdout.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            reply.extend(&buffer[..count]);
        }
        Ok(reply)
    }

    /// Returns the start of the last reply.
    fn write_and_read(&mut self, lines: &[u8]) -> io::Result<Vec<u8>> {
        let Self { stdin, stdout, .. } = self;
        thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(lines));
            let mut awaited = newlines(lines);
            let mut last_line = LastLine::default();
            let mut buffer = vec![0; 256 << 10];
            while awaited > 0 {
                let count = stdout.read(&mut buffer)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                last_line.take(&buffer[..count]);
                awaited -= newlines(&buffer[..count]);
            }
            Ok(last_line.complete)
        })
    }

    /// The kernel brings a process's times up to date when it goes to sleep.
    fn cpu_time_at_rest(&self) -> Option<Duration> {
        let pid = self.child.id();
        while !['S', 'Z'].contains(&state(pid)?) {
            thread::sleep(Duration::from_micros(50));
        }
        cpu_time(pid)
    }

    /// The program's peak memory, in bytes.
    pub fn peak_memory(&self) -> Option<usize> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes << 10)
    }

    /// Ends the input, and waits for the program to end.
    pub fn finish(self) -> io::Result<()> {
        let Self {
            mut child,
            stdin,
            stdout,
        } = self;
        drop((stdin, stdout));
        let status = child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("ended with {status}")));
        }
        Ok(())
    }
}

#[expect(
    clippy::naive_bytecount,
    reason = "this needs no package, and is fast enough for a reader"
)]
pub fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The last line of a stream that is read in pieces. Only its start is kept, since replies may be long.
#[derive(Default)]
struct LastLine {
    complete: Vec<u8>,
    unfinished: Vec<u8>,
}

impl LastLine {
    const MOST_BYTES: usize = 400;

    fn take(&mut self, piece: &[u8]) {
        let mut lines = piece.rsplitn(3, |byte| *byte == b'\n');
        let rest = lines.next().unwrap_or_default();
        if let Some(line) = lines.next() {
            // This line began in the piece only if the piece contains the end of another line.
            if lines.next().is_some() {
                self.unfinished.clear();
            }
            self.append(line);
            self.complete = std::mem::take(&mut self.unfinished);
        }
        self.append(rest);
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = Self::MOST_BYTES - self.unfinished.len();
        self.unfinished.extend(&bytes[..bytes.len().min(room)]);
    }
}

/// A folder for input and output files, removed when this value is dropped. It is in the target folder, since the files
/// are large and a temporary folder is in memory on some systems.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> io::Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("speed");
        // An interrupted run leaves its files behind.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file with this content.
    pub fn file(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
