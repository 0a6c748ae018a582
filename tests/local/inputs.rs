//! Input of every kind.

use super::kit::{Folder, PLAIN, count};
use std::os::unix::fs::PermissionsExt;

#[test]
fn empty_files_have_no_words() {
    let folder = Folder::new();
    folder.write("empty", "").write("blank", "\n\n \n");
    assert_eq!(folder.run("word_count.py empty").results(), "");
    assert_eq!(folder.run("word_count.py empty blank").results(), "");
}

#[test]
fn files_need_no_last_newline() {
    let folder = Folder::new();
    folder.write("one", "a b\nc").write("two", "c d");
    assert_eq!(
        folder.run("word_count.py one two").results(),
        "a\t1\nb\t1\nc\t2\nd\t1\n"
    );
}

#[test]
fn lines_end_with_carriage_returns_too() {
    let folder = Folder::new();
    let module = "def map(lines):\n    return [(line, 1) for line in lines]\ndef reduce(key, values):\n    yield key, sum(values)\n";
    folder
        .write("lines.py", module)
        .write("text", "a\r\nb\nlone\rreturn\r\n");
    assert_eq!(
        folder.run("lines.py text").results(),
        "a\t1\nb\t1\nlone\\rreturn\t1\n"
    );
}

/// Every chunk border falls within the line, and within its characters.
#[test]
fn line_longer_than_many_chunks_is_one_line() {
    let folder = Folder::new();
    let text = format!("short line\n{}\nlast line", "日本🦀 é ".repeat(100_000));
    folder.write("text", &text).write("plain.py", PLAIN);
    let results = folder.run("--chunk-mb 0.01 plain.py text").results();
    assert_eq!(results, count(&text));
}

#[test]
fn bytes_that_are_not_utf_8_come_out_as_they_went_in() {
    let folder = Folder::new();
    folder.write("text", b"\xff\xfe caf\xe9 caf\xe9\n\xc3");
    let run = folder.run("--reduces 3 word_count.py text");
    assert_eq!(run.status, Some(0), "{}", run.log);
    assert_eq!(run.results, b"caf\xe9\t2\n\xc3\t1\n\xff\xfe\t1\n");
}

#[test]
fn folders_stand_for_the_files_in_them() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("texts/deeper")).expect("a folder can be made");
    for (name, text) in [("one", "a"), ("two", "b"), (".hidden", "c"), ("_note", "d")] {
        folder.write(&format!("texts/{name}"), text);
    }
    assert_eq!(folder.run("word_count.py texts").results(), "a\t1\nb\t1\n");
}

#[test]
fn thousands_of_small_files_share_their_tasks() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("texts")).expect("a folder can be made");
    for number in 0..2_000 {
        folder.write(&format!("texts/{number}"), "a\n");
    }
    let run = folder.run("word_count.py texts");
    assert_eq!(run.results(), "a\t2000\n");
    run.assert_log_has(": 1 map,");
}

#[test]
fn input_that_cannot_be_read_is_named_before_anything_runs() {
    let folder = Folder::new();
    folder
        .write("text", "a")
        .run("word_count.py text missing")
        .assert_fails(1, "missing: No such file or directory");
    folder
        .run("word_count.py /dev/null")
        .assert_fails(1, "/dev/null is not a regular file");
    folder.write("secret", "a");
    let closed = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(folder.path("secret"), closed).expect("the mode can be set");
    if std::fs::File::open(folder.path("secret")).is_err() {
        folder
            .run("word_count.py secret")
            .assert_fails(1, "secret: Permission denied"); // Not as root.
    }
}
