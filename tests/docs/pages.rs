//! The files of this project: its pages, and what other files say about them.

use std::fs;
use std::path::{Path, PathBuf};

/// The top folder of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files in a folder of the project and in the folders inside it, in order of their names.
pub fn files_in(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The names of the folders in a folder of the project.
pub fn folders_in(folder: &str) -> Vec<String> {
    let mut found: Vec<_> = fs::read_dir(root().join(folder))
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.is_dir())
        .map(|path| {
            relative(&path)
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    found.sort();
    found
}

/// The path from the top folder, as pages write it.
pub fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}

/// Every page, README first.
pub fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let files = files_in("src").into_iter().chain(files_in("tests"));
    pages.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    pages
}

/// A fenced block of a page.
#[derive(Debug)]
pub struct Block {
    /// The word behind the fence; empty if there is none.
    pub language: String,
    pub text: String,
    /// The line of its fence, counted from 1.
    pub line: usize,
    /// Whether only blank lines separate it from the block before it.
    pub follows_directly: bool,
}

/// The fenced blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    let mut follows_directly = false;
    for (number, line) in page.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            if !is_open {
                blocks.push(Block {
                    language: language.to_owned(),
                    text: String::new(),
                    line: number + 1,
                    follows_directly,
                });
            }
            is_open = !is_open;
            follows_directly = true;
        } else if is_open {
            let block = blocks.last_mut().expect("a block is open");
            block.text += line;
            block.text.push('\n');
        } else if !line.trim().is_empty() {
            follows_directly = false;
        }
    }
    assert!(!is_open, "every fence is closed");
    blocks
}

/// The code spans of a text, without their backticks.
pub fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
