//! Damaged journals: truncated at every byte, with every bit flipped, and with lines missing, repeated or moved.
//!
//! A torn last record, which a kill can leave, is repaired. Anything else is refused.

use crate::restartable::Restartable;
use mapreduce_master::journal::{Damage, Dropped, recover};

/// A small conversation in which every reply depends on those before it. Its records are of all kinds.
const REQUESTS: [&str; 12] = [
    r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "m0", "chunk": "a b"}, {"id": "m1", "chunk": null}], "reduce_tasks": 1}"#,
    r#"{"type": "init", "node_id": "n1"}"#,
    r#"{"src": "c1", "body": {"type": "heartbeat", "worker_id": "é", "timestamp": 1}}"#,
    "{\n  \"type\": \"request_task\",\n  \"worker_id\": \"w1\",\n  \"timestamp\": 2\n}",
    r#"{"type": "request_task", "worker_id": "w1", "timestamp": 2, "running": ["m0"]}"#,
    r#"{"type": "complete_task", "worker_id": "w1", "task_id": "m0", "attempt": 1, "timestamp": 3, "output": [1e400]}"#,
    r#"{"type": "fail_task", "worker_id": "w1", "task_id": "m1", "attempt": 1, "timestamp": 4, "error": ""}"#,
    r#"{"type": "heartbeat", "worker_id": "é", "timestamp": 5}"#,
    r#"{"type": "heartbeat", "worker_id": "é", "timestamp": 5}"#,
    r#"{"type": "reassign", "failed_worker": "w0", "healthy_worker": "é", "tasks": [{"id": "x", "chunk": {}}]}"#,
    r#"{"type": "check_failures", "timeout_ms": 1, "now": 6}"#,
    r#"{"type": "request_task", "worker_id": "é", "timestamp": 7}"#,
];

/// Queries whose answers differ after each of these requests.
const QUERIES: [&str; 9] = [
    r#"{"type": "status"}"#,
    r#"{"type": "job_status", "job_id": "j"}"#,
    r#"{"type": "task_status", "task_id": "m0"}"#,
    r#"{"type": "task_status", "task_id": "m1"}"#,
    r#"{"type": "task_status", "task_id": "j-reduce-0"}"#,
    r#"{"type": "task_status", "task_id": "x"}"#,
    r#"{"src": "c1", "body": {"type": "status"}}"#,
    r#"{"type": "request_task", "worker_id": "w1", "timestamp": 8}"#,
    r#"{"type": "request_task", "worker_id": "é", "timestamp": 8, "running": ["x", "m0"]}"#,
];

/// A journal of the requests. Half of them are in a snapshot, if `compacted`.
fn write_journal(compacted: bool) -> Vec<u8> {
    let mut node = Restartable::new();
    for (number, request) in REQUESTS.iter().enumerate() {
        if compacted && number == REQUESTS.len() / 2 {
            node.compact();
        }
        node.say(request);
    }
    node.journal
}

/// A journal that is short enough to try every kind of damage.
fn write_short_journal() -> Vec<u8> {
    let mut node = Restartable::new();
    for request in &REQUESTS[..4] {
        node.say(request);
    }
    node.journal
}

fn states_equal(journal: &[u8], requests: &[&str]) -> bool {
    let mut recovered = Restartable::on(journal.to_vec());
    let mut told = Restartable::new();
    for request in requests {
        told.say(request);
    }
    let mut told = told.restarted();
    QUERIES
        .iter()
        .all(|query| recovered.say(query) == told.say(query))
}

/// The offsets of the lines of a journal, including the first one, and the end of the last one.
fn line_starts(journal: &[u8]) -> Vec<usize> {
    let line_ends = journal
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n');
    [0].into_iter()
        .chain(line_ends.map(|(at, _)| at + 1))
        .collect()
}

/// Expects a refusal, and checks the line that it names.
fn damage(journal: &[u8]) -> Option<(u64, u64)> {
    match recover(journal) {
        Ok(_) => None,
        Err(Damage::Line { number, offset, .. }) => Some((number, offset)),
        Err(Damage::NotAJournal | Damage::UnknownVersion) => Some((1, 0)),
        Err(Damage::Io(error)) => panic!("memory can be read: {error}"),
    }
}

/// The number of requests in the first `lines` lines of a journal, of which the header is the first.
fn requests_in(journal: &[u8], lines: usize) -> usize {
    let lines = journal.split(|byte| *byte == b'\n').take(lines);
    lines.filter(|line| is_request(line)).count()
}

fn is_request(line: &[u8]) -> bool {
    line.splitn(3, |byte| *byte == b' ')
        .nth(2)
        .is_some_and(|record| record.starts_with(b"{"))
}

/// The number of whole lines in the first bytes of a journal.
fn whole_lines(journal: &[u8], cut: usize) -> usize {
    journal[..cut].split(|byte| *byte == b'\n').count() - 1
}

#[test]
fn journal_truncated_at_any_byte_leads_to_the_state_after_some_of_its_requests() {
    let journal = write_journal(false);
    let starts = line_starts(&journal);
    for cut in 0..=journal.len() {
        let lines = whole_lines(&journal, cut);
        let recovery = recover(&journal[..cut]).unwrap_or_else(|damage| panic!("{cut}: {damage}"));
        let kept = starts[lines];
        assert_eq!(recovery.bytes, kept as u64, "{cut}");
        let dropped = (cut > kept).then_some(Dropped {
            offset: kept as u64,
            bytes: (cut - kept) as u64,
            has_hole: false,
        });
        assert_eq!(recovery.dropped, dropped, "{cut}");
        let count = requests_in(&journal, lines);
        assert_eq!(recovery.requests, count as u64, "{cut}");
        assert!(states_equal(&journal[..cut], &REQUESTS[..count]), "{cut}");
    }
}

#[test]
fn node_continues_a_truncated_journal_and_can_be_killed_again() {
    let journal = write_journal(false);
    for cut in 0..=journal.len() {
        let mut node = Restartable::on(journal[..cut].to_vec());
        let count = requests_in(&journal, whole_lines(&journal, cut));
        let mut told = Restartable::new();
        for request in &REQUESTS[..count] {
            told.say(request);
        }
        told = told.restarted();
        for request in &REQUESTS[count..] {
            assert_eq!(node.say(request), told.say(request), "{cut}");
        }
        (node, told) = (node.restarted(), told.restarted());
        for query in QUERIES {
            assert_eq!(node.say(query), told.say(query), "{cut}");
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_located() {
    for compacted in [false, true] {
        let journal = write_journal(compacted);
        let starts = line_starts(&journal);
        for bit in 0..8 * journal.len() {
            let mut flipped = journal.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let line = starts.iter().filter(|start| **start <= bit / 8).count();
            let offset = starts[line - 1];
            assert_eq!(
                damage(&flipped),
                Some((line as u64, offset as u64)),
                "bit {bit}"
            );
        }
    }
}

/// A flipped bit in a torn record may look like any other torn record. One before it must be found.
#[test]
fn every_bit_flipped_before_a_torn_record_is_found() {
    let mut journal = write_journal(false);
    // Its last request is torn.
    while !is_request(&journal[line_starts(&journal)[line_starts(&journal).len() - 2]..]) {
        let starts = line_starts(&journal);
        journal.truncate(starts[starts.len() - 2]);
    }
    let starts = line_starts(&journal);
    let last = starts[starts.len() - 2];
    for cut in [last + 1, last + 20, journal.len() - 1] {
        for bit in 0..8 * last {
            let mut flipped = journal[..cut].to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(damage(&flipped).is_some(), "bit {bit} of {cut} bytes");
        }
        for bit in 8 * last..8 * cut {
            let mut flipped = journal[..cut].to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                damage(&flipped).is_some()
                    || states_equal(&flipped, &REQUESTS[..REQUESTS.len() - 1]),
                "bit {bit} of {cut} bytes"
            );
        }
    }
}

/// A burst of flipped bits is the most likely damage, and a checksum of simple steps misses some bursts across two words.
#[test]
fn every_two_flipped_bits_that_are_close_to_each_other_or_words_apart_are_found() {
    let journal = write_short_journal();
    // Without the last line end: an incomplete line may have been torn.
    let bits = 8 * (journal.len() - 1);
    for apart in (1..=17).chain([31, 32, 33, 63, 64, 65, 128]) {
        for first in 0..bits - apart {
            let mut flipped = journal.clone();
            for bit in [first, first + apart] {
                flipped[bit / 8] ^= 1 << (bit % 8);
            }
            assert!(damage(&flipped).is_some(), "{first} and {apart} behind");
        }
    }
}

#[test]
fn every_inserted_or_missing_byte_is_found() {
    let journal = write_short_journal();
    for at in 0..journal.len() - 1 {
        for byte in *b"\0 0x\n" {
            let mut inserted = journal.clone();
            inserted.insert(at, byte);
            assert!(damage(&inserted).is_some(), "{byte} at {at}");
        }
        let mut removed = journal.clone();
        removed.remove(at);
        assert!(damage(&removed).is_some(), "{at}");
    }
}

#[test]
fn missing_repeated_or_moved_line_is_found_and_located() {
    for compacted in [false, true] {
        let journal = write_journal(compacted);
        let starts = line_starts(&journal);
        let lines: Vec<&[u8]> = starts
            .windows(2)
            .map(|line| &journal[line[0]..line[1]])
            .collect();
        let at = |line: usize| Some((line as u64 + 1, starts[line] as u64));
        for line in 1..lines.len() {
            let mut repeated = lines.clone();
            repeated.insert(line, lines[line]);
            assert_eq!(damage(&repeated.concat()), at(line + 1), "repeated {line}");
            for other in 1..line {
                let mut moved = lines.clone();
                moved.swap(line, other);
                assert_eq!(damage(&moved.concat()), at(other), "{line} and {other}");
            }
        }
        for line in 1..lines.len() - 1 {
            let mut missing = lines.clone();
            missing.remove(line);
            assert_eq!(damage(&missing.concat()), at(line), "missing {line}");
        }
    }
}

#[test]
fn changed_blanks_and_line_ends_are_found() {
    let journal = write_journal(false);
    let text = String::from_utf8(journal.clone()).expect("the requests are text");
    assert!(damage(text.replace('\n', "\r\n").as_bytes()).is_some());
    assert!(damage(text.replacen('\n', "\n\n", 2).as_bytes()).is_some());
    assert!(damage(format!("{text}\n").as_bytes()).is_some());
    assert!(damage(format!("\u{feff}{text}").as_bytes()).is_some());
    assert!(damage(format!("{text}{text}").as_bytes()).is_some());
    assert!(damage(text.to_uppercase().as_bytes()).is_some());
}

/// What a file system may leave of a write when it knows the length, but not the data.
#[test]
fn zeros_after_the_last_record_are_dropped() {
    let journal = write_journal(false);
    for zeros in [1, 17, 4096] {
        let mut extended = journal.clone();
        extended.resize(journal.len() + zeros, 0);
        let recovery = recover(&extended[..]).expect("they are no whole record");
        assert_eq!(recovery.bytes, journal.len() as u64);
        let dropped = recovery.dropped.expect("they are not read");
        assert_eq!(dropped.bytes, zeros as u64);
    }
}
