//! Garbage in, sense out: whatever bytes come, the node answers in JSON, goes on, and ends well. Every run is drawn from a
//! seed, and a failure names it.

// Of the conversations, only their inputs matter here.
#[allow(dead_code)]
#[path = "../golden/case.rs"]
mod case;

use crate::process::{heartbeat, heartbeat_ok, run};
use case::Case;
use mapreduce_master::node;
use serde_json::value::RawValue;
use std::io::{BufRead, BufReader};

const LAST_MSG_ID: u64 = 4_242_424_242;

/// `SplitMix64`: all the randomness that a test needs, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than bound")
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// The inputs of the golden conversations, every one of them: nothing is nearer to what the node is made for.
fn conversations() -> Vec<Vec<u8>> {
    let inputs = Case::all().into_iter().map(|case| case.input());
    inputs.filter(|input| !input.is_empty()).collect()
}

/// Bytes of which some kinds are more likely to lead somewhere than others.
fn random_bytes(random: &mut Random) -> Vec<u8> {
    const PIECES: [&str; 22] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\\",
        "\n",
        "\r\n",
        " ",
        "\n{",
        "\u{feff}",
        "\0",
        "1",
        "-",
        "null",
        "\"type\":",
        "\"body\":",
        "\"heartbeat\"",
        "\\u",
        "é",
    ];
    let is_any = random.below(2) == 0;
    let count = random.below(20_000);
    let mut bytes = Vec::new();
    for _ in 0..count {
        match random.below(20) {
            0 => bytes.extend(random.next().to_le_bytes()),
            _ if is_any => bytes.push(random.next().to_le_bytes()[0]),
            _ => bytes.extend(random.pick(&PIECES).as_bytes()),
        }
    }
    bytes
}

/// Some conversations on end, then damaged here and there.
fn damaged_conversation(random: &mut Random, conversations: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(8) {
        bytes.extend(random.pick(conversations));
    }
    for _ in 0..random.below(40) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let length = random.below((bytes.len() - at).min(200)) + 1;
        let some = bytes[at..at + length].to_vec();
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = *random.pick(b"{}[]\":,\\\n\r\0 0x\xff"),
            2 => drop(bytes.drain(at..at + length)),
            3 => drop(bytes.splice(at..at, some)),
            4 => drop(bytes.splice(at..at + length, some.into_iter().rev())),
            _ => {
                let to = random.below(bytes.len() - length + 1);
                bytes.drain(at..at + length);
                bytes.splice(to..to, some);
            }
        }
    }
    bytes
}

fn input(seed: u64, conversations: &[Vec<u8>]) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = match random.below(4) {
        0 => random_bytes(&mut random),
        _ => damaged_conversation(&mut random, conversations),
    };
    bytes.push(b'\n');
    bytes.extend(heartbeat(LAST_MSG_ID).into_bytes());
    bytes
}

/// Checks that each line is a JSON object with a type, and the last one answers the message after the garbage.
fn assert_sensible(seed: u64, replies: &[&str]) {
    #[derive(serde::Deserialize)]
    struct Reply<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        body: Option<&'a RawValue>,
    }
    for reply in replies {
        match serde_json::from_str::<Reply>(reply) {
            Ok(Reply { kind, body }) => {
                assert!(kind.is_some() != body.is_some(), "seed {seed}: {reply}");
            }
            Err(error) => panic!("seed {seed}: {error}: {reply}"),
        }
    }
    assert_eq!(
        replies.last(),
        Some(&&*heartbeat_ok(LAST_MSG_ID)),
        "seed {seed}"
    );
}

#[test]
fn damaged_input_never_ends_the_process() {
    let conversations = conversations();
    for seed in 0..300 {
        let ended = run(&[], input(seed, &conversations));
        assert_eq!(ended.status, Some(0), "seed {seed}: {}", ended.log);
        assert_sensible(seed, &ended.replies());
    }
}

/// More seeds, through a door that is faster to open; and each time the input is also read in odd pieces.
#[test]
fn damaged_input_is_answered_alike_however_it_is_cut() {
    let conversations = conversations();
    for seed in 1000..1300 {
        let input = input(seed, &conversations);
        let (whole, log) = answer(&input[..]);
        let replies = String::from_utf8(whole.clone()).expect("replies are in UTF-8");
        assert_sensible(seed, &replies.lines().collect::<Vec<_>>());
        let piece_bytes = Random(seed).below(50) + 1;
        let pieces = answer(BufReader::with_capacity(piece_bytes, &input[..]));
        assert!(
            (whole, log) == pieces,
            "seed {seed}, in pieces of {piece_bytes} bytes"
        );
    }
}

fn answer(input: impl BufRead) -> (Vec<u8>, Vec<u8>) {
    let (mut replies, mut log) = (Vec::new(), Vec::new());
    node::run(input, &mut replies, &mut log, false).expect("neither memory nor a buffer can fail");
    (replies, log)
}
