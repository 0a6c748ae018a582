//! Workers that are killed, user code that fails, and jobs that cannot be done.

use super::kit::{Folder, PLAIN, count, text};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

#[test]
fn killed_worker_and_failed_map_change_no_count() {
    let (folder, text) = (Folder::new(), text(3_000_000));
    folder.write("text", &text);
    let run = folder.run("--kill-worker --fail-map --chunk-mb 0.2 word_count.py text");
    assert!(run.results() == count(&text));
    run.assert_log_has(" is killed with word_count-");
    run.assert_log_has(" ended, killed by SIGKILL; it is started again");
    run.assert_log_has("RuntimeError: this attempt fails for a demonstration");
    run.assert_log_has("1 attempt failed");
}

#[test]
fn modules_that_cannot_be_used_are_refused_with_the_line_that_is_wrong() {
    let folder = Folder::new();
    folder.write("text", "a b");
    for (module, expected) in [
        ("def map(lines):\n    yield from lines yes\n", "line 2"),
        ("def map(lines): pass\n", "has no function reduce"),
        (
            "def map(lines): pass\nreduce = 7\n",
            "has no function reduce",
        ),
        (
            "import no_such_module\n",
            "No module named 'no_such_module'",
        ),
        ("1 / 0\n", "ZeroDivisionError"),
        ("exit(0)\n", "module.py cannot be used"),
        ("\0", "null bytes"),
    ] {
        folder.write("module.py", module);
        folder.run("module.py text").assert_fails(1, expected);
    }
    folder
        .run("missing.py text")
        .assert_fails(1, "missing.py: No such file or directory");
    assert_eq!(
        folder.names(),
        ["module.py", "text"],
        "nothing is left behind"
    );
}

/// A job whose maps all fail ends, with exit status 1, the task and the last lines of the traceback.
#[test]
fn code_that_fails_on_every_worker_fails_its_job_with_its_error() {
    let folder = Folder::new();
    folder.write("text", "a b");
    for (map, expected) in [
        (
            "raise ValueError('no such thing')",
            "ValueError: no such thing",
        ),
        ("raise ValueError('caf\\udce9')", "ValueError: caf\\udce9"),
        ("exit(3)", "SystemExit: 3"),
        (
            "import os; os._exit(3)",
            "the process that ran this task ended with exit status 3",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "the process that ran this task was killed by signal 9",
        ),
        (
            "return [('a', 1), (2, 1)]",
            "the keys of a job are all of one type",
        ),
        (
            "return [(1.5, 1)]",
            "a key is a string, an integer, or a tuple of these, and not 1.5",
        ),
        (
            "return [(['a'], 1)]",
            "a key is a string, an integer, or a tuple of these, and not ['a']",
        ),
        ("return [('a', b'1')]", "bytes is not JSON serializable"),
        (
            "return ['abc']",
            "The user's functions have to yield (key, value) pairs.",
        ),
        ("return None", "'NoneType' object is not iterable"),
    ] {
        folder.write(
            "module.py",
            format!("def map(lines):\n    {map}\ndef reduce(k, v):\n    yield k, 1\n"),
        );
        let run = folder.run("module.py text");
        run.assert_fails(1, expected);
        run.assert_log_has("the job failed");
    }
    assert_eq!(
        folder.names(),
        ["module.py", "text"],
        "nothing is left behind"
    );
}

#[test]
fn reduces_and_partitions_that_fail_fail_their_job() {
    let folder = Folder::new();
    folder.write("text", "a b");
    let reduce = "def map(lines):\n    yield 'a', 1\ndef reduce(k, v):\n    return k\n";
    folder.write("module.py", reduce);
    folder
        .run("module.py text")
        .assert_fails(1, "ValueError: not enough values to unpack");
    folder.write(
        "module.py",
        format!("{PLAIN}\ndef partition(key, partitions):\n    return partitions\n"),
    );
    folder
        .run("module.py text")
        .assert_fails(1, "partition('a', 2) returned 2");
}

#[test]
fn tasks_that_fail_are_skipped_where_the_user_says_so() {
    let folder = Folder::new();
    let module = format!(
        "{PLAIN}\nplain = map\ndef map(lines):\n    for line in lines:\n        yield from plain([line] * (1 // ('bad' not in line)))\n"
    );
    folder.write("module.py", module);
    folder
        .write("one", "a ".repeat(1_000_000))
        .write("two", "bad")
        .write("three", "b\n".repeat(1_000_000));
    let run = folder.run("--chunk-mb 1 --skip 1 module.py one two three");
    assert_eq!(run.results(), "a\t1000000\nb\t1000000\n");
    run.assert_log_has("1 task skipped");
}

#[test]
fn output_folder_is_made_whole_or_not_at_all() {
    let folder = Folder::new();
    folder.write("text", "a b").write("there", "mine");
    folder
        .run("--output there word_count.py text")
        .assert_fails(1, "there already exists");
    folder
        .run("--output no/such word_count.py text")
        .assert_fails(1, "no/such cannot be made: No such file or directory");
    folder.write(
        "module.py",
        "def map(lines):\n    raise ValueError\ndef reduce(k, v):\n    yield k, 1\n",
    );
    folder
        .run("--output out module.py text")
        .assert_fails(1, "the job failed");
    std::fs::create_dir(folder.path("closed")).expect("a folder can be made");
    let closed = std::fs::Permissions::from_mode(0o500);
    std::fs::set_permissions(folder.path("closed"), closed).expect("the mode can be set");
    if std::fs::write(folder.path("closed/probe"), "").is_err() {
        let run = folder.run("--output closed/out word_count.py text"); // Not as root.
        run.assert_fails(1, "closed/out cannot be made: Permission denied");
    } else {
        std::fs::remove_file(folder.path("closed/probe")).expect("it was just made");
    }
    assert_eq!(folder.names(), ["closed", "module.py", "text", "there"]);
}

#[test]
fn master_that_ends_ends_the_run() {
    let folder = Folder::new();
    folder.write("text", "a b");
    let masters = [
        ("/bin/false", "the master ended, with exit status 1"),
        ("no-such", "No such file or directory"),
    ];
    for (master, expected) in masters {
        let mut command = folder.python("local.py");
        folder.write("plain.py", PLAIN);
        command.args(["--master", master, "plain.py", "text"]);
        let run = super::kit::Run::from(command.stdout(Stdio::piped()).output());
        run.assert_fails(1, expected);
        assert_eq!(folder.names(), ["plain.py", "text"]);
    }
}
