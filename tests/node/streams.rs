//! Pipes that are slow, closed or broken (protocol, section 1).

use crate::process::{Session, command, heartbeat, heartbeat_ok, replies, run};
use std::io::{BufRead as _, BufReader, Write as _};

#[test]
fn reply_comes_before_the_node_waits_for_more_input() {
    let mut session = Session::start(&["--quiet"]);
    for msg_id in 0..5 {
        session.send(heartbeat(msg_id));
        assert_eq!(session.reply(), heartbeat_ok(msg_id));
    }
    assert!(session.end().replies().is_empty());
}

#[test]
fn message_in_two_halves_is_answered_with_its_second() {
    let mut session = Session::start(&["--quiet"]);
    let message = heartbeat(1);
    for at in [1, 10, message.len() - 2, message.len() - 1] {
        let (first, second) = message.split_at(at);
        session.send(first);
        // By this pause the halves are nearly always read apart; where they are not, the answer is the same.
        std::thread::sleep(std::time::Duration::from_millis(20));
        session.send(second);
        assert_eq!(session.reply(), heartbeat_ok(1));
    }
    assert!(session.end().replies().is_empty());
}

#[test]
fn pretty_printed_message_is_answered_with_its_last_line() {
    let mut session = Session::start(&["--quiet"]);
    for line in [
        "{",
        "  \"type\": \"heartbeat\",",
        "",
        "  \"msg_id\": 1,",
        "  \"worker_id\": \"w1\", \"timestamp\": 0",
        "}",
    ] {
        session.send(format!("{line}\r\n"));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(session.reply(), heartbeat_ok(1));
    assert!(session.end().replies().is_empty());
}

#[test]
fn all_messages_at_hand_are_answered_before_the_node_waits() {
    let mut session = Session::start(&["--quiet"]);
    // Far more than any buffer on the way holds, and half a message at the end.
    let count = 20_000;
    let mut input: String = (0..count).map(heartbeat).collect();
    input.push_str("{\"type\": ");
    session.send(input);
    for msg_id in 0..count {
        assert_eq!(session.reply(), heartbeat_ok(msg_id));
    }
    assert!(session.end().replies().is_empty());
}

#[test]
fn no_input_is_no_error() {
    let ended = run(&[], "");
    assert!(ended.replies().is_empty());
    assert_eq!(ended.log, "");
}

#[test]
fn end_of_input_within_a_message_loses_that_one() {
    for cut in ["{", "{\"type\": \"heart", "{\n  \"type\": \"heartbeat\",\n"] {
        let ended = run(&[], heartbeat(1) + cut);
        assert_eq!(ended.replies(), [heartbeat_ok(1)]);
        let log = ended.log();
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(log[1].contains("line 2"), "{log:?}");
    }
}

#[test]
fn last_message_needs_no_line_end() {
    let message = heartbeat(1);
    assert_eq!(replies(message.trim_end()), [heartbeat_ok(1)]);
}

/// As by `mapreduce-master | head -1`.
#[test]
fn reader_that_goes_away_ends_the_node_quietly() {
    let mut child = command(&["--quiet"]).spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let mut reply = String::new();
    stdin
        .write_all(heartbeat(1).as_bytes())
        .expect("the node reads");
    stdout.read_line(&mut reply).expect("the node answers");
    assert_eq!(reply.trim_end(), heartbeat_ok(1));
    drop(stdout);
    stdin
        .write_all(heartbeat(2).as_bytes())
        .expect("the node reads");

    // The input stays open: it is the reply which finds nobody that ends the node.
    child.stdin = Some(stdin);
    let ended = Session::of(child).wait();
    assert_eq!(ended.status, Some(0));
    assert_eq!(ended.log, "");
}

#[test]
fn log_that_nobody_reads_does_not_end_the_node() {
    let mut child = command(&[]).spawn().expect("the binary runs");
    drop(child.stderr.take());
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let input = "no object\n".to_owned() + &heartbeat(1);
    stdin.write_all(input.as_bytes()).expect("the node reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the node ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim_end(),
        heartbeat_ok(1)
    );
}

/// Requests that leave two log lines each: a worker fails and comes back.
fn flapping(count: u64) -> String {
    let check = r#"{"type": "check_failures", "timeout_ms": 0, "now": 1}"#.to_owned() + "\n";
    (0..count).fold(String::new(), |input, msg_id| {
        input + &heartbeat(msg_id) + &check
    })
}

/// The pipe holds a part of this log, and the node's queue another part.
#[test]
fn log_that_nobody_reads_delays_neither_a_reply_nor_the_end() {
    let mut child = command(&[]).spawn().expect("the binary runs");
    let stderr = child.stderr.take().expect("stderr is a pipe");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let count = 50_000;
    let writer = std::thread::spawn(move || stdin.write_all(flapping(count).as_bytes()));
    // It returns when the node has ended.
    let output = child.wait_with_output().expect("the node ends");
    assert_eq!(output.status.code(), Some(0));
    let replies = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        replies.lines().count(),
        2 * usize::try_from(count).expect("it is small")
    );
    writer.join().expect("it ends").expect("the node reads");
    // What is in the pipe is the beginning of the log.
    let line = BufReader::new(stderr)
        .lines()
        .next()
        .expect("there is a log");
    assert_eq!(line.expect("in UTF-8"), "line 1: worker \"w1\" joined");
}

#[test]
fn log_that_is_read_late_says_how_many_lines_were_dropped() {
    let mut child = command(&[]).spawn().expect("the binary runs");
    let stderr = child.stderr.take().expect("stderr is a pipe");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
    let count = 50_000;
    let writer = std::thread::spawn(move || {
        stdin.write_all(flapping(count).as_bytes())?;
        Ok::<_, std::io::Error>(stdin)
    });
    let last = heartbeat_ok(count - 1);
    assert!(stdout.any(|reply| reply.expect("in UTF-8") == last));
    // All of the log is made by now, or is about to be. Its reader starts to read.
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(stderr).lines();
        lines
            .collect::<Result<Vec<_>, _>>()
            .expect("the log is in UTF-8")
    });
    drop(writer.join().expect("it ends").expect("the node reads"));
    let log = reader.join().expect("it ends");
    let dropped: u64 = (log.iter())
        .filter_map(|line| {
            line.strip_prefix("log: ")?
                .strip_suffix(" lines dropped; nobody read them in time")
        })
        .map(|count| count.parse::<u64>().expect("a count"))
        .sum();
    let notices = log.iter().filter(|line| line.starts_with("log: ")).count();
    assert!(dropped > 0, "{}", log.len());
    assert_eq!(
        log.len() - notices + usize::try_from(dropped).expect("it is small"),
        100_000
    );
    let number = |line: &String| {
        line.split([' ', ':'])
            .nth(1)
            .and_then(|number| number.parse::<u64>().ok())
    };
    assert!(log.iter().filter_map(number).is_sorted());
    child.wait().expect("the node ends");
}

#[test]
fn log_that_is_read_is_complete() {
    let session = Session::start(&[]);
    session.send(flapping(1000));
    let ended = session.end();
    assert_eq!(ended.log().len(), 2000, "{:?}", ended.log().last());
}

/// Streams that a parent has left in non-blocking mode, as Node.js and others do. Setting it takes more than std has.
#[cfg(target_os = "linux")]
#[test]
fn streams_in_non_blocking_mode_are_waited_for() {
    let script = "import os, sys\n\
                  for fd in (0, 1, 2): os.set_blocking(fd, False)\n\
                  os.execv(sys.argv[1], sys.argv[1:])";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script, env!("CARGO_BIN_EXE_mapreduce-master")]);
    for stream in [
        std::process::Command::stdin,
        std::process::Command::stdout,
        std::process::Command::stderr,
    ] {
        stream(&mut python, std::process::Stdio::piped());
    }
    let mut session = Session::of(python.spawn().expect("python3 runs"));
    for msg_id in 0..3 {
        session.send(heartbeat(msg_id));
        assert_eq!(session.reply(), heartbeat_ok(msg_id));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // More than the pipes hold, both of replies and of log.
    session.send(flapping(10_000));
    let ended = session.end();
    assert_eq!(ended.replies().len(), 20_000);
    assert_eq!(ended.log().len(), 20_000);
}

/// On a terminal without input, a person learns what the program waits for.
#[cfg(target_os = "linux")]
#[test]
fn terminal_is_told_what_the_node_reads() {
    let script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    for (options, hint) in [(&[][..], 1), (&["--quiet"], 0)] {
        let mut python = std::process::Command::new("python3");
        python
            .args(["-c", script, env!("CARGO_BIN_EXE_mapreduce-master")])
            .args(options);
        for stream in [
            std::process::Command::stdin,
            std::process::Command::stdout,
            std::process::Command::stderr,
        ] {
            stream(&mut python, std::process::Stdio::piped());
        }
        let session = Session::of(python.spawn().expect("python3 runs"));
        session.send(heartbeat(1) + "\x04");
        let ended = session.end();
        let shown = ended.replies();
        let hints = shown.iter().filter(|line| {
            line.contains("reading JSON messages from stdin, one per line; see --help")
        });
        assert_eq!(hints.count(), hint, "{shown:?}");
        assert!(
            shown.iter().any(|line| line.contains(&heartbeat_ok(1))),
            "{shown:?}"
        );
    }
}

#[cfg(target_os = "linux")]
mod failures {
    use super::{Session, command, heartbeat};
    use std::fs::File;
    use std::process::{Child, Stdio};

    fn disk_full() -> Stdio {
        let full = File::options().write(true).open("/dev/full");
        full.expect("Linux has a disk that is always full").into()
    }

    /// An I/O failure: one line for people, and status 1.
    fn assert_fails_in_one_line(child: Child) {
        let session = Session::of(child);
        session.send(heartbeat(1));
        let ended = session.end();
        assert_eq!(ended.status, Some(1), "{}", ended.log);
        assert_eq!(ended.log().len(), 1, "{}", ended.log);
        assert!(
            ended.log.ends_with('\n') && !ended.log.contains("panicked"),
            "{}",
            ended.log
        );
        assert!(ended.replies.is_empty());
    }

    #[test]
    fn output_that_cannot_be_written_is_reported() {
        let child = command(&["--quiet"]).stdout(disk_full()).spawn();
        assert_fails_in_one_line(child.expect("the binary runs"));
    }

    #[test]
    fn help_and_version_that_cannot_be_written_are_reported() {
        for argument in ["--help", "--version"] {
            let child = command(&[argument]).stdout(disk_full()).spawn();
            assert_fails_in_one_line(child.expect("the binary runs"));
        }
    }

    #[test]
    fn input_that_cannot_be_read_is_reported() {
        let folder = File::open("/").expect("a folder can be opened, but not read as a file");
        let output = command(&["--quiet"]).stdin(folder).output();
        let output = output.expect("the binary runs");
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(output.stdout.is_empty());
    }
}
