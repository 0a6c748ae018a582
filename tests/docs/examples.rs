//! The shell examples of the pages, run as a reader would paste them.
//!
//! A page's `sh` blocks run one after the other in a folder that looks like a clone. Where a `text` block directly
//! follows one, it is what the example writes to stdout, byte for byte. A block in any other language is not run: use
//! `console` for what needs more than a clone, Rust and Python.

use crate::BINARY;
use crate::pages::{blocks, pages, read, relative, root};
use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Commands with one of these are not run: they would build, install, run this test inside itself, or need a cluster.
const NOT_RUN: [&str; 6] = [
    "cargo test",
    "cargo bench",
    "cargo install",
    "pip install",
    "nats-server",
    "--nats",
];

/// No example takes a tenth as long.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The file that stands for the reader's own text.
const READERS_TEXT: &str = "big.txt";

/// A folder of its own with what the examples use of a clone, removed when the test is done.
struct Clone(PathBuf);

impl Clone {
    fn new(name: &str) -> Self {
        let name = format!("docs-{}-{}", name.replace('/', "-"), std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        for part in [
            "README.md",
            "Cargo.toml",
            "Cargo.lock",
            "src",
            "tests/golden",
        ] {
            copy(&root().join(part), &folder.join(part));
        }
        copy(&root().join("README.md"), &folder.join(READERS_TEXT));
        // The built binary, newer than its source, so that nobody builds it again.
        copy(
            Path::new(BINARY),
            &folder.join("target/release/mapreduce-master"),
        );
        Self(folder)
    }

    /// Runs a script in this folder, with the built binary in front of all others. Returns what it wrote to stdout.
    fn run(&self, script: &str) -> Result<String, String> {
        let output = |name| File::create(self.0.join(name)).map_err(|error| error.to_string());
        let path = env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.0.join("target/release").display());
        let mut shell = Command::new("sh")
            .args(["-euc", script])
            .current_dir(&self.0)
            .env("PATH", path)
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null())
            .stdout(output("stdout")?)
            .stderr(output("stderr")?)
            .process_group(0)
            .spawn()
            .map_err(|error| error.to_string())?;
        let deadline = Instant::now() + TIME_LIMIT;
        let status = loop {
            match shell.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                _ => {
                    let group = format!("-{}", shell.id());
                    let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
                    let _ = shell.wait();
                    break None;
                }
            }
        };
        let errors = || read(&self.0.join("stderr"));
        match status {
            Some(status) if status.success() => Ok(read(&self.0.join("stdout"))),
            Some(status) => Err(format!("{status}: {}", errors())),
            None => Err(format!("stopped after {TIME_LIMIT:?}: {}", errors())),
        }
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).expect("the folder can be read") {
            let entry = entry.expect("the folder can be read");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().expect("a file is in a folder"))
            .expect("a folder can be made");
        fs::copy(from, to).expect("a file can be copied");
    }
}

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output();
    let is_found = found.is_ok_and(|output| output.status.success());
    assert!(
        is_found || env::var_os("CI").is_none(),
        "some examples need python3"
    );
    if !is_found {
        eprintln!("SKIPPED: examples that need python3, which is missing");
    }
    is_found
}

/// The commands of a script that can be run here. A command may go on over several lines.
fn runnable(script: &str) -> String {
    let whole = script.replace("\\\n", " ");
    let commands = whole
        .lines()
        .filter(|line| !NOT_RUN.iter().any(|command| line.contains(command)));
    commands.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_shell_example_does_what_its_page_shows() {
    let has_python = has_python();
    let mut failures = Vec::new();
    let (mut run, mut compared) = (0, 0);
    for page in pages() {
        let name = relative(&page);
        let blocks = blocks(&read(&page));
        if !blocks.iter().any(|block| block.language == "sh") {
            continue;
        }
        let clone = Clone::new(&name);
        for (at, block) in blocks.iter().enumerate() {
            let script = runnable(&block.text);
            let is_runnable =
                !script.trim().is_empty() && (has_python || !script.contains("python3"));
            if block.language != "sh" || !is_runnable {
                continue;
            }
            run += 1;
            let place = format!("{name}:{}", block.line);
            let expected = blocks
                .get(at + 1)
                .filter(|next| next.language == "text" && next.follows_directly);
            match (clone.run(&script), expected) {
                (Err(error), _) => failures.push(format!("{place}\n{script}\nfails: {error}")),
                (Ok(_), None) => {}
                (Ok(output), Some(expected)) => {
                    compared += 1;
                    if output != expected.text {
                        failures.push(format!(
                            "{place}\n{script}\nwrites\n{output}\nand not\n{}",
                            expected.text
                        ));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
    assert!(
        run >= 5 && compared >= 4,
        "examples are found: {run}, {compared} with their output"
    );
}

#[test]
fn session_in_the_help_works_when_pasted() {
    let clone = Clone::new("help");
    let help = clone.run("mapreduce-master --help").expect("there is help");
    let start = help
        .find("mapreduce-master <<'END'")
        .expect("there is a session");
    let session = help[start..]
        .split_inclusive("\nEND\n")
        .next()
        .expect("it has an end");
    let output = clone.run(session).expect("it works");
    assert!(output.contains(r#""failed_workers": ["w1"]"#), "{output}");
}
