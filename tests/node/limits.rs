//! Messages that are long, deep, or of many lines (protocol, section 1).

use crate::process::{HANGS_AFTER, Session, heartbeat, heartbeat_ok, replies, run};
use mapreduce_master::node;
use std::io::{BufReader, Read as _};
use std::sync::mpsc::channel;
use std::thread;

const MIB: usize = 1 << 20;
const MAX_MESSAGE_BYTES: usize = 64 * MIB;

/// A heartbeat that is `length` bytes long by a field that nobody knows, without a line end.
fn heartbeat_of_length(msg_id: u64, length: usize) -> String {
    let heartbeat = heartbeat(msg_id);
    let fields = heartbeat.trim_end().strip_suffix('}').expect("an object");
    let mut message = format!("{fields}, \"ignored\": \"");
    message.extend(std::iter::repeat_n('x', length - message.len() - 2));
    message + "\"}"
}

#[test]
fn line_of_1_mib_is_answered() {
    let id = "w".repeat(MIB);
    let input = format!(
        "{{\"type\": \"heartbeat\", \"msg_id\": 1, \"worker_id\": \"{id}\", \"timestamp\": 0}}\n\
         {{\"type\": \"check_failures\", \"msg_id\": 2, \"timeout_ms\": 0, \"now\": 1}}\n"
    );
    let failed = format!(
        "{{\"type\": \"failures_detected\", \"in_reply_to\": 2, \"failed_workers\": [\"{id}\"]}}"
    );
    // Not `assert_eq`, whose report would be of that length too.
    assert!(replies(input) == [heartbeat_ok(1), failed]);
}

#[test]
fn message_of_64_mib_is_answered_and_of_a_byte_more_is_not() {
    for line_end in ["\n", "\r\n"] {
        let mut input = heartbeat_of_length(1, MAX_MESSAGE_BYTES) + line_end;
        input += &heartbeat_of_length(2, MAX_MESSAGE_BYTES + 1);
        input += line_end;
        input += &heartbeat(3);
        let ended = run(&["--quiet"], input);
        assert_eq!(ended.replies(), [heartbeat_ok(1), heartbeat_ok(3)]);
        assert_eq!(ended.log().len(), 1, "{}", ended.log);
        assert!(ended.log.contains("line 2"), "{}", ended.log);
    }
}

/// The carriage return of its line end is no part of a message, even before the line feed is there to tell.
#[test]
fn message_of_64_mib_is_answered_when_it_is_read_up_to_its_carriage_return() {
    let message = heartbeat_of_length(1, MAX_MESSAGE_BYTES) + "\r";
    let input = message.as_bytes().chain("\n".as_bytes());
    let mut replies = Vec::new();
    node::run(input, &mut replies, std::io::sink(), true).expect("nothing fails");
    assert_eq!(String::from_utf8_lossy(&replies), heartbeat_ok(1) + "\n");
}

#[test]
fn message_of_64_mib_over_many_lines_is_answered_and_of_a_byte_more_is_not() {
    let filler = "  \"ignored\": \"0123456789abcdefghijklmnopqrstuvwxyz\",\n";
    let opening = "{\n";
    let closing =
        "  \"type\": \"heartbeat\", \"msg_id\": 1,\n  \"worker_id\": \"w1\", \"timestamp\": 0\n}";
    let room = MAX_MESSAGE_BYTES - opening.len() - closing.len();
    let fillers = filler.repeat(room / filler.len());
    let blanks = " ".repeat(room % filler.len());
    let fits = [opening, &fillers, &blanks, closing, "\n"].concat();
    let exceeds = [opening, &fillers, &blanks, " ", closing, "\n"].concat();
    let ended = run(&["--quiet"], fits + &exceeds + &heartbeat(2));
    assert_eq!(ended.replies(), [heartbeat_ok(1), heartbeat_ok(2)]);
    assert_eq!(ended.log().len(), 1, "{}", ended.log);
}

#[test]
fn rest_of_a_message_too_long_is_skipped_to_the_next_brace_in_column_1() {
    // By a byte, which the end of its line tells, and by so much that it is dropped before.
    for excess in [1, MIB] {
        let too_long = heartbeat_of_length(1, MAX_MESSAGE_BYTES + excess);
        let [indented, tabbed, last] = [2, 3, 4].map(heartbeat);
        let input = format!("{too_long}\n  {indented}hello\n\n}}\n\t{tabbed}{last}");
        let ended = run(&["--quiet"], input);
        assert_eq!(ended.replies(), [heartbeat_ok(4)]);
        assert_eq!(ended.log().len(), 1, "{}", ended.log);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_bounded_however_long_a_message_is() {
    let blank_line = " ".repeat(63) + "\n";
    let starts_and_pieces = [
        ("one line", "{\"type\": \"heartbeat\", \"x\": \"", "x"),
        ("many lines", "{\n", "  \"type\": \"heartbeat\",\n"),
        ("blank lines", "{\n", &blank_line),
        ("brackets", "{\"x\": ", "["),
        ("no message", "", "x"),
        ("blanks", "", " "),
    ];
    for (kind, start, piece) in starts_and_pieces {
        let mut session = Session::start(&["--quiet"]);
        session.send(start);
        session.send_repeatedly(piece.repeat(MIB / piece.len()), 256);
        session.send("\n".to_owned() + &heartbeat(1));
        assert_eq!(session.reply(), heartbeat_ok(1));
        let peak_kib = session.peak_memory_kib();
        assert!(peak_kib < 200 << 10, "{kind}: {peak_kib} KiB");
        session.end().replies();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_bounded_with_the_longest_message_that_is_answered() {
    let mut session = Session::start(&["--quiet"]);
    for msg_id in 0..3 {
        session.send(heartbeat_of_length(msg_id, MAX_MESSAGE_BYTES) + "\n");
        assert_eq!(session.reply(), heartbeat_ok(msg_id));
    }
    let peak_kib = session.peak_memory_kib();
    assert!(peak_kib < 200 << 10, "{peak_kib} KiB");
    session.end().replies();
}

#[test]
fn message_of_100_000_lines_is_answered() {
    let filler = "  \"ignored\": {\n  },\n".repeat(50_000);
    let mut input = format!("{{\n{filler}  \"type\": \"heartbeat\", \"msg_id\": 1,\n");
    input += "  \"worker_id\": \"w1\", \"timestamp\": 0\n}\n";
    assert_eq!(
        replies(input + &heartbeat(2)),
        [heartbeat_ok(1), heartbeat_ok(2)]
    );
}

/// Work that is not constant per byte would take hours here: looking through the message again at each of its lines
/// alone means 10^14 bytes to look at.
#[test]
fn work_per_byte_stays_constant_however_many_lines_a_message_spans() {
    let blank_lines = " \n".repeat(10_000_000);
    let mut input = format!("{{\n{blank_lines}");
    input +=
        " \"type\": \"heartbeat\", \"msg_id\": 1,\n \"worker_id\": \"w1\", \"timestamp\": 0\n}\n";
    assert_eq!(
        replies(input + &heartbeat(2)),
        [heartbeat_ok(1), heartbeat_ok(2)]
    );
}

/// The same for input that comes in single bytes, as one message of a line, one of many, and one that is skipped.
#[test]
fn work_per_byte_stays_constant_however_the_input_is_cut() {
    let mut input = heartbeat_of_length(1, 2 * MIB) + "\n{\n" + &" \n".repeat(MIB);
    input +=
        " \"type\": \"heartbeat\", \"msg_id\": 2,\n \"worker_id\": \"w1\", \"timestamp\": 0\n}\n";
    input += "{\"open string\n";
    input += &" skipped\n".repeat(MIB / 4);
    input += &heartbeat(3);
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let bytes = BufReader::with_capacity(1, input.as_bytes());
        let mut replies = Vec::new();
        let result = node::run(bytes, &mut replies, std::io::sink(), true);
        let _ = sender.send(result.map(|()| replies));
    });
    let replies = receiver.recv_timeout(HANGS_AFTER);
    let replies = replies
        .expect("the node does not hang")
        .expect("nothing fails");
    let expected: String = (1..=3).map(|msg_id| heartbeat_ok(msg_id) + "\n").collect();
    assert_eq!(String::from_utf8_lossy(&replies), expected);
}

#[test]
fn nesting_of_100_000_levels_harms_nobody() {
    let depth = 100_000;
    let lists = "[".repeat(depth) + &"]".repeat(depth);
    let objects = "{\"x\": ".repeat(depth) + "0" + &"}".repeat(depth);
    let deep = [
        "[".repeat(depth),
        "{".repeat(depth),
        "{\"x\": ".to_owned() + &"[".repeat(depth),
        "{\"x\": ".repeat(depth),
        lists.clone(),
        objects.clone(),
        "{".repeat(depth) + &"}".repeat(depth),
    ];
    for text in deep {
        let replies = replies(text + "\n" + &heartbeat(2));
        let last = replies.last().expect("there is a reply");
        assert_eq!(*last, heartbeat_ok(2));
    }
    // Where the contract lets a message be refused, either is fine; but what is taken in is also given back.
    for value in [lists, objects] {
        let input = format!(
            "{{\"type\": \"heartbeat\", \"msg_id\": 1, \"worker_id\": \"w1\", \"timestamp\": 0, \"x\": {value}}}\n\
             {{\"src\": \"c\", \"x\": {value}, \"body\": {{\"type\": \"status\"}}}}\n\
             {{\"src\": {value}, \"body\": {value}}}\n\
             {{\"type\": {value}, \"msg_id\": {value}}}\n\
             {{\"type\": \"submit_job\", \"job_id\": \"j\", \"tasks\": [{{\"id\": \"t\", \"chunk\": {value}}}], \"reduce_tasks\": 1}}\n\
             {{\"type\": \"reassign\", \"failed_worker\": \"w1\", \"healthy_worker\": \"w2\", \"tasks\": {value}}}\n\
             {{\"type\": \"request_task\", \"worker_id\": \"w1\", \"timestamp\": 0}}\n\
             {{\"type\": \"complete_task\", \"worker_id\": \"w1\", \"task_id\": \"t\", \"attempt\": 1, \"timestamp\": 0, \"output\": [{value}]}}\n\
             {{\"type\": \"request_task\", \"worker_id\": \"w1\", \"timestamp\": 0}}\n\
             {{\"type\": \"task_status\", \"task_id\": \"t\"}}\n"
        );
        let replies = replies(input + &heartbeat(3));
        assert_eq!(replies.last(), Some(&heartbeat_ok(3)));
        let was_taken_in = replies.iter().any(|reply| reply.contains("job_submitted"));
        let was_handed_out = replies.iter().any(|reply| reply.contains(&*value));
        assert_eq!(was_taken_in, was_handed_out);
    }
}

/// The log shows the beginnings of ids, and that is all that is copied of them.
#[cfg(target_os = "linux")]
#[test]
fn log_of_long_ids_takes_little_memory() {
    let mut session = Session::start(&[]);
    let ids = ["a", "b", "c", "d"].map(|letter| letter.repeat(16 * MIB));
    for id in &ids {
        session.send(format!(
            "{{\"type\": \"heartbeat\", \"worker_id\": \"{id}\", \"timestamp\": 0}}\n"
        ));
        session.reply();
    }
    let peak_kib = session.peak_memory_kib();
    for _ in 0..2 {
        session.send("{\"type\": \"check_failures\", \"timeout_ms\": 0, \"now\": 1}\n");
        session.reply();
    }
    let reply_kib = (4 * 16) << 10;
    let grown_kib = session.peak_memory_kib() - peak_kib;
    // The reply, as its buffer grows; a copy of each id would take as much again.
    assert!(grown_kib < 2 * reply_kib + (16 << 10), "{grown_kib} KiB");
    let ended = session.end();
    assert!(ended.log.len() < 2000, "{}", ended.log);
}
