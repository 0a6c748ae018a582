//! Files that a node refuses as its journal: damaged, not a journal, in use. They stay unchanged, byte for byte.

use crate::node::{BINARY, Folder, Node, assert_in_use, refusal};
use mapreduce_master::journal::HEADER;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

const HEARTBEATS: [&str; 4] = [
    r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#,
    r#"{"type": "heartbeat", "worker_id": "w2", "timestamp": 2}"#,
    r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "m", "chunk": "a"}]}"#,
    r#"{"type": "request_task", "worker_id": "w1", "timestamp": 3}"#,
];

fn write_journal(path: &Path) -> Vec<u8> {
    let mut node = Node::start(path);
    node.ask_all(&HEARTBEATS);
    node.end();
    fs::read(path).expect("the node wrote it")
}

/// Expects a node to refuse a file with these bytes, and returns the reason.
fn refusal_of(folder: &Folder, bytes: &[u8]) -> String {
    let path = folder.file("refused");
    fs::write(&path, bytes).expect("the folder can be written to");
    let names = folder.names();
    let log = refusal(&path);
    assert_eq!(fs::read(&path).expect("it is still there"), bytes);
    assert_eq!(folder.names(), names, "nothing else was written");
    log
}

#[test]
fn damaged_journal_is_refused_with_the_line_and_its_offset() {
    let folder = Folder::new("damaged");
    let journal = write_journal(&folder.file("journal"));
    let mut starts = vec![0];
    starts.extend((1..journal.len()).filter(|at| journal[at - 1] == b'\n'));
    for bit in (8 * HEADER.len()..8 * journal.len()).step_by(29) {
        let mut flipped = journal.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let line = starts.iter().filter(|start| **start <= bit / 8).count();
        let located = format!("line {line}, at byte {}, is damaged", starts[line - 1]);
        let log = refusal_of(&folder, &flipped);
        assert!(log.contains(&located), "{log}");
        assert!(log.contains("refused"), "the file is named: {log}");
    }
    let without_line_3 = [&journal[..starts[2]], &journal[starts[3]..]].concat();
    let log = refusal_of(&folder, &without_line_3);
    assert!(
        log.contains(&format!("line 3, at byte {},", starts[2])),
        "{log}"
    );
}

#[test]
fn file_that_is_not_a_journal_is_never_overwritten() {
    let folder = Folder::new("something-else");
    let binary = fs::read(BINARY).expect("the built binary can be read");
    let files: [&[u8]; 11] = [
        b"\n",
        b"x",
        b"a letter to my aunt\n",
        b"{\"type\": \"status\"}\n",
        b"mapreduce-master journal\n",
        b" mapreduce-master journal 2\n",
        b"\xef\xbb\xbfmapreduce-master journal 2\n",
        b"mapreduce-master journal 2\r\n",
        b"MAPREDUCE-MASTER JOURNAL 2\n",
        &[0; 4096],
        &binary,
    ];
    for file in files {
        refusal_of(&folder, file);
    }
}

#[test]
fn unknown_version_is_distinguished_from_other_files() {
    let folder = Folder::new("version");
    let journal = write_journal(&folder.file("journal"));
    for version in ["0", "1", "3", "20", "2.1", ""] {
        let header = format!("mapreduce-master journal {version}\n");
        let other = [header.as_bytes(), &journal[HEADER.len()..]].concat();
        let log = refusal_of(&folder, &other);
        assert!(log.contains("version"), "{log}");
        assert!(!log.contains("not a journal"), "{log}");
    }
}

#[test]
fn path_that_cannot_be_a_journal_is_refused() {
    let folder = Folder::new("no-file");
    refusal(&folder.file(""));
    refusal(&folder.file("missing/journal"));
    for device in ["/dev/full", "/dev/null", "/dev/zero"] {
        if Path::new(device).exists() {
            refusal(Path::new(device));
            let link = folder.file("link");
            symlink(device, &link).expect("a link can be made");
            refusal(&link);
            assert!(link.is_symlink());
            fs::remove_file(link).expect("it was just made");
        }
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn read_only_journal_is_refused() {
    let folder = Folder::new("read-only");
    let path = folder.file("journal");
    let journal = write_journal(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("it is ours");
    // Nothing is read-only to root.
    if fs::File::options().append(true).open(&path).is_err() {
        refusal(&path);
        assert_eq!(fs::read(&path).expect("it may be read"), journal);
    }
}

#[test]
fn journal_belongs_to_one_node_at_a_time() {
    let folder = Folder::new("in-use");
    let path = folder.file("journal");
    let mut node = Node::start(&path);
    node.ask_all(&HEARTBEATS);
    let (soft, hard) = (folder.file("soft"), folder.file("hard"));
    symlink("journal", &soft).expect("a link can be made");
    fs::hard_link(&path, &hard).expect("a link can be made");
    let journal = fs::read(&path).expect("it is there");
    for name in [&path, &soft, &hard] {
        assert_in_use(name);
        assert_eq!(fs::read(&path).expect("it is there"), journal);
    }
    node.kill();
    // A killed node no longer holds the lock.
    for name in [&soft, &hard, &path] {
        let mut node = Node::start(name);
        let status = node.ask(r#"{"type": "status"}"#);
        assert!(status.contains(r#""healthy": 2"#), "{status}");
        node.kill();
    }
}

#[test]
fn one_of_many_nodes_started_at_once_gets_the_journal() {
    let folder = Folder::new("race");
    let path = folder.file("journal");
    for _ in 0..5 {
        let start = |_| {
            let mut node = Command::new(BINARY);
            node.arg("--journal").arg(&path).stderr(Stdio::null());
            Node::spawn(&mut node)
        };
        let mut nodes: Vec<Node> = (0..8).map(start).collect();
        let replies = nodes
            .iter_mut()
            .map(|node| node.ask(r#"{"type": "status"}"#));
        assert_eq!(replies.filter(|reply| !reply.is_empty()).count(), 1);
        for node in nodes {
            node.kill();
        }
    }
}

#[test]
fn missing_or_empty_file_is_a_new_journal() {
    let folder = Folder::new("new");
    let path = folder.file("journal");
    fs::write(folder.file("empty"), "").expect("the folder can be written to");
    symlink("target", folder.file("link")).expect("a link can be made");
    for name in ["journal", "empty", "link"] {
        let mut node = Node::start(&folder.file(name));
        node.ask(HEARTBEATS[0]);
        let log = node.end();
        assert_eq!(log, "line 1: worker \"w1\" joined\n", "{name}");
    }
    assert_eq!(folder.names(), ["empty", "journal", "link", "target"]);
    // A name without a folder is in the current folder.
    let folder = path.parent().expect("it is in a folder");
    let mut node = Command::new(BINARY);
    let mut node = Node::spawn(node.args(["--journal", "here"]).current_dir(folder));
    node.ask(HEARTBEATS[0]);
    node.kill();
    assert!(folder.join("here").is_file());
}
