//! Runs the kit's programs in a folder of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const KIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cluster");
pub const MASTER: &str = env!("CARGO_BIN_EXE_mapreduce-master");

/// A user's word count without anything that makes it fast.
pub const PLAIN: &str = "
def map(lines):
    for line in lines:
        for word in line.split():
            yield word, 1

def reduce(word, counts):
    yield word, sum(counts)
";

/// A folder that is removed with what is in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kit-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(path.join("tmp")).expect("a folder can be made");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path(name), content).expect("a file can be written");
        self
    }

    /// What is in the folder, and in its folder for temporary files.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in [self.path(""), self.path("tmp")] {
            for entry in fs::read_dir(folder).expect("the folder is there") {
                let name = entry.expect("the folder can be read").file_name();
                names.push(name.to_string_lossy().into_owned());
            }
        }
        names.retain(|name| name != "tmp");
        names.sort_unstable();
        names
    }

    /// `local.py` with these arguments; `word_count.py` is the kit's own.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = self.python("local.py");
        command.args(["--master", MASTER, "--workers", "2"]);
        command.args(arguments.split_whitespace().map(|argument| match argument {
            "word_count.py" => format!("{KIT}/word_count.py"),
            other => other.to_owned(),
        }));
        command
    }

    pub fn python(&self, program: &str) -> Command {
        let mut command = Command::new("python3");
        command
            .arg(format!("{KIT}/{program}"))
            .current_dir(&self.0)
            .env("TMPDIR", self.path("tmp"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &str) -> Child {
        self.command(arguments).spawn().expect("python3 is there")
    }

    /// Runs a job to its end.
    pub fn run(&self, arguments: &str) -> Run {
        Run::from(self.start(arguments).wait_with_output())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub struct Run {
    pub status: Option<i32>,
    pub results: Vec<u8>,
    pub log: String,
}

impl From<std::io::Result<Output>> for Run {
    fn from(output: std::io::Result<Output>) -> Self {
        let output = output.expect("the program can be waited for");
        Self {
            status: output.status.code(),
            results: output.stdout,
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Run {
    /// The results of a job that completed.
    pub fn results(&self) -> String {
        assert_eq!(self.status, Some(0), "{}", self.log);
        String::from_utf8(self.results.clone()).expect("the results are UTF-8")
    }

    /// Fails with that exit status, nothing on stdout, and a line on stderr that contains `text`.
    pub fn assert_fails(&self, status: i32, text: &str) {
        assert_eq!(self.status, Some(status), "{}", self.log);
        assert!(self.log.contains(text), "{text:?} is not in:\n{}", self.log);
        assert!(self.results.is_empty());
    }

    pub fn assert_log_has(&self, text: &str) {
        assert!(self.log.contains(text), "{text:?} is not in:\n{}", self.log);
    }
}

/// The direct count, as the kit prints it.
pub fn count(text: &str) -> String {
    let mut counts = BTreeMap::<&str, u64>::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    let lines = counts
        .iter()
        .map(|(word, count)| format!("{word}\t{count}\n"));
    lines.collect()
}

/// A text of about that many bytes: lines of any length, words of one to four bytes a character, some frequent, some not.
pub fn text(bytes: usize) -> String {
    const SYLLABLES: [&str; 12] = [
        "a", "the", "né", "日本", "o", "ß", "ing", "🦀", "con", "\"", "\\", "x",
    ];
    let mut state = 2004_u64;
    let mut random = move |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("it fits") % bound
    };
    let mut text = String::new();
    while text.len() < bytes {
        for _ in 0..random(25) {
            let rare = random(4);
            for _ in 0..=rare {
                text.push_str(SYLLABLES[random(SYLLABLES.len())]);
            }
            text.push(' ');
        }
        text.push('\n');
    }
    text
}
