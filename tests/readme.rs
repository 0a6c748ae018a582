//! The README's examples, run: what a reader pastes does what the page says.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const README: &str = include_str!("../README.md");
const BINARY: &str = env!("CARGO_BIN_EXE_mapreduce-master");

/// A fenced block: its language, and its text.
type Block = (&'static str, &'static str);

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = README;
    while let Some((_, fenced)) = rest.split_once("\n```") {
        let (language, text) = fenced.split_once('\n').expect("a fence ends its line");
        let (text, behind) = text.split_once("```").expect("a fence is closed");
        blocks.push((language, text));
        rest = behind;
    }
    assert!(blocks.len() > 5, "the README has examples");
    blocks
}

/// A folder of its own that looks like a checkout to the examples.
fn checkout(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("readme-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    copy_folder(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster"),
        &folder.join("tests/cluster"),
    );
    copy_folder(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        &folder.join("tests/golden"),
    );
    folder
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        let to = to.join(path.file_name().expect("a file has a name"));
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, to).expect("a file can be copied");
        }
    }
}

/// Runs a script as a reader would, but with the binary that was built for this test instead of a build of its own.
fn run(script: &str, folder: &Path) -> String {
    let script = script
        .replace("cargo run --release --quiet --", BINARY)
        .replace("cargo run --release --quiet", BINARY)
        .replace("word_count.py", &format!("word_count.py {BINARY}"));
    let built = Path::new(BINARY)
        .parent()
        .expect("the binary is in a folder");
    let path = format!(
        "{}:{}",
        built.display(),
        env::var("PATH").unwrap_or_default()
    );
    let output = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(folder)
        .env("PATH", path)
        .output()
        .expect("there is a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\nfails: {errors}");
    String::from_utf8(output.stdout).expect("the output is text")
}

fn has_python() -> bool {
    let found = Command::new("python3")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(
        found || env::var_os("CI").is_none(),
        "the README's worker needs python3"
    );
    found
}

#[test]
fn every_shell_example_does_what_the_page_says() {
    let folder = checkout("examples");
    let blocks = blocks();
    let mut count = 0;
    for (at, (language, script)) in blocks.iter().enumerate() {
        if *language != "sh" {
            continue;
        }
        let script: String = script
            .lines()
            .filter(|line| !line.starts_with("cargo test") && !line.starts_with("cargo bench"))
            .fold(String::new(), |script, line| script + line + "\n");
        if script.trim().is_empty() || (script.contains("python3") && !has_python()) {
            continue;
        }
        let output = run(&script, &folder);
        if let Some(("text", expected)) = blocks.get(at + 1) {
            assert_eq!(&output, expected, "{script}");
            count += 1;
        }
    }
    assert!(count > 1, "some examples show their output");
    fs::remove_dir_all(folder).expect("the folder can be removed");
}

#[test]
fn first_command_ends_as_the_page_says() {
    let folder = checkout("first");
    let (_, commands) = *blocks()
        .iter()
        .find(|(language, _)| *language == "sh")
        .expect("there is a command");
    let output = run(commands.lines().next().expect("a command"), &folder);
    let (_, end) = *blocks()
        .iter()
        .find(|(language, _)| *language == "json")
        .expect("its end is shown");
    assert!(output.ends_with(end), "{output}\ndoes not end with\n{end}");
    fs::remove_dir_all(folder).expect("the folder can be removed");
}

#[test]
fn worker_on_the_page_is_the_worker_that_is_tested() {
    let (_, shown) = *blocks()
        .iter()
        .find(|(language, _)| *language == "python")
        .expect("a worker is shown");
    assert_eq!(shown, include_str!("cluster/word_count_worker.py"));
}

#[test]
fn page_and_help_name_every_message_type() {
    for name in mapreduce_master::wire::TYPES {
        assert!(
            README.contains(&format!("| `{name}`")),
            "the README's tables lack {name}"
        );
    }
}

#[test]
fn session_in_the_help_works_when_pasted() {
    let folder = checkout("help");
    let help = run("mapreduce-master --help", &folder);
    let start = help
        .find("mapreduce-master <<'END'")
        .expect("there is a session");
    let session = help[start..]
        .split_inclusive("\nEND\n")
        .next()
        .expect("it has an end");
    let output = run(session, &folder);
    assert!(output.contains(r#""failed_workers": ["w1"]"#), "{output}");
    fs::remove_dir_all(folder).expect("the folder can be removed");
}
