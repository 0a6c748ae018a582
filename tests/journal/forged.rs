//! Journals with right checksums and wrong content: refused, and never a panic.

use crate::random::Random;
use crate::restartable::{Restartable, compacted};
use crate::traces::TRACES;
use mapreduce_master::journal::{Damage, HEADER, recover};

/// The checksum of a record, by the format's definition.
fn checksum(before: u64, record: &[u8]) -> u64 {
    let step = |sum: u64, word: u64| {
        let product = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ product >> 32
    };
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let (words, rest) = record.as_chunks::<8>();
    let sum = words
        .iter()
        .fold(before, |sum, bytes| step(sum, word(bytes)));
    step(step(sum, word(rest)), record.len() as u64)
}

/// A journal of these records, with right checksums.
fn forge<'r>(records: impl IntoIterator<Item = &'r [u8]>) -> Vec<u8> {
    let mut journal = HEADER.as_bytes().to_vec();
    let mut sum = 0;
    for record in records {
        sum = checksum(sum, record);
        journal.extend(format!("{sum:016x} {} ", record.len()).bytes());
        journal.extend(record);
        journal.push(b'\n');
        if let Some(end) = record.strip_prefix(b"!state end ") {
            let digits = std::str::from_utf8(end).ok();
            sum = digits
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .unwrap_or(0);
        }
    }
    journal
}

/// The records of a journal with a state, followed by requests.
fn records() -> Vec<Vec<u8>> {
    let mut node = Restartable::new();
    for request in TRACES {
        node.say(request);
    }
    let journal = compacted(&node.journal);
    let lines = journal.split(|byte| *byte == b'\n').skip(1);
    let record = |line: &[u8]| {
        line.splitn(3, |byte| *byte == b' ')
            .nth(2)
            .map(<[u8]>::to_vec)
    };
    lines.filter_map(record).collect()
}

fn problem(journal: &[u8]) -> Option<String> {
    match recover(journal) {
        Ok(_) => None,
        Err(Damage::Line { problem, .. }) => Some(problem),
        Err(other) => panic!("{other}"),
    }
}

fn join(records: &[Vec<u8>]) -> Vec<u8> {
    forge(records.iter().map(Vec::as_slice))
}

#[test]
fn format_is_as_the_tests_assume() {
    let records = records();
    assert!(records.len() > 10);
    let mut node = Restartable::new();
    for request in TRACES {
        node.say(request);
    }
    assert_eq!(join(&records), compacted(&node.journal));
}

#[test]
fn state_with_a_missing_or_repeated_record_is_refused() {
    let records = records();
    let is_state = |record: &Vec<u8>| record.starts_with(b"!state ");
    for at in (0..records.len()).filter(|at| is_state(&records[*at])) {
        let name = String::from_utf8_lossy(&records[at]);
        let mut missing = records.clone();
        missing.remove(at);
        // A worker that holds nothing, or a job without tasks, may be missing.
        if !name.contains("worker") && !name.contains("\"job\"") && !name.contains("\"reduces\"") {
            assert!(problem(&join(&missing)).is_some(), "without {name}");
        }
        let _ = problem(&join(&missing));
        let mut twice = records.clone();
        twice.insert(at, records[at].clone());
        assert!(problem(&join(&twice)).is_some(), "twice {name}");
    }
}

#[test]
fn records_in_the_wrong_place_are_refused() {
    let records = records();
    let end = records
        .iter()
        .position(|record| record.starts_with(b"!state end "))
        .expect("it has an end");
    let wrong: [&[u8]; 12] = [
        b"!state begin",
        b"!state {}",
        b"!state end 0000000000000000",
        b"!state end",
        b"!state end 00",
        b"!state",
        b"!snapshot {}",
        b"!msg_ids",
        b"!msg_ids -1",
        b"!msg_ids 99999999999999999999",
        b"!recovered now",
        b"!unknown",
    ];
    for record in wrong {
        let mut forged = records.clone();
        forged.insert(end + 1, record.to_vec());
        assert!(
            problem(&join(&forged)).is_some(),
            "{}",
            String::from_utf8_lossy(record)
        );
        assert!(
            problem(&forge([record])).is_some(),
            "{}",
            String::from_utf8_lossy(record)
        );
    }
    let within: [&[u8]; 4] = [
        b"!recovered",
        b"!synced",
        br#"{"type": "heartbeat", "worker_id": "w", "timestamp": 1}"#,
        b"!state begin",
    ];
    for record in within {
        let mut forged = records.clone();
        forged.insert(end, record.to_vec());
        assert!(
            problem(&join(&forged)).is_some(),
            "{}",
            String::from_utf8_lossy(record)
        );
    }
    for requests in [
        r#"{"type": "status"}"#,
        r#"{"type": "remove_job", "job_id": "none"}"#,
        "{",
        "{}",
        "[]",
    ] {
        assert!(
            problem(&forge([requests.as_bytes()])).is_some(),
            "{requests}"
        );
    }
}

/// A node that accepts a state never panics, whatever the state says.
#[test]
fn state_with_any_number_or_text_changed_is_refused_or_works() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
    let records = records();
    let mut random = Random::new(seed);
    let mut refused = 0;
    for _ in 0..3_000 {
        let mut forged = records.clone();
        for _ in 0..=random.below(2) {
            let at =
                1 + usize::try_from(random.below(records.len() as u64 - 2)).expect("it is small");
            let record = &mut forged[at];
            let numbers: Vec<usize> = (1..record.len())
                .filter(|at| record[*at].is_ascii_digit() || record[*at].is_ascii_lowercase())
                .collect();
            let Some(place) = numbers.get(
                usize::try_from(random.below(numbers.len().max(1) as u64)).expect("it is small"),
            ) else {
                continue;
            };
            if record[*place].is_ascii_digit() {
                let number: &[u8] = match random.below(5) {
                    0 => b"0",
                    1 => b"1",
                    2 => b"7",
                    3 => b"9223372036854775807",
                    _ => b"18446744073709551615",
                };
                record.splice(*place..=*place, number.iter().copied());
            } else {
                record[*place] ^= 1;
            }
        }
        let journal = join(&forged);
        if problem(&journal).is_some() {
            refused += 1;
            continue;
        }
        let mut node = Restartable::on(journal);
        for question in crate::traces::QUESTIONS {
            node.say(question);
        }
    }
    assert!(refused > 500, "{refused}");
}
