//! Whole processes, and what they cost.
//!
//! Time is the processor time of the process, user and system together, in nanoseconds from Linux's
//! `/proc/PID/schedstat`: other programs on the machine add nothing to it but noise in the caches, and it is
//! finer than the ticks of 10 ms in `/proc/PID/stat`. It is that of the first thread, and neither the node nor
//! any baseline has a second one. Where there is no such file, wall time stands in for it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

/// Runs a program from its start to its end with a file as its input and a file as its output.
pub fn file_to_file(program: &mut Command, input: &Path, output: &Path) -> io::Result<Duration> {
    let started = Instant::now();
    let mut child = program
        .stdin(File::open(input)?)
        .stdout(File::create(output)?)
        .stderr(Stdio::null())
        .spawn()?;
    // A process that has ended keeps its times until it is waited for.
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

/// Whether processor time can be had here.
pub fn has_cpu_time() -> bool {
    cpu_time(std::process::id()).is_some()
}

fn cpu_time(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// What the process is doing: `Z` once it has ended. The letter follows the name, which is in parentheses and
/// may hold any others.
fn state(pid: u32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// A folder for input and output files, gone with this value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> io::Result<Self> {
        let name = format!("mapreduce-master-bench-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file of that content.
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
