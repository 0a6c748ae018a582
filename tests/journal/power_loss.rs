//! Power losses: everything that was synced is there; of the rest, any blocks may be, with zeros in place of the others.

use crate::random::Random;
use crate::restartable::Restartable;
use mapreduce_master::journal::{Damage, HEADER, recover};
use std::io::{self, Read};

/// The smallest block of a disk, in bytes.
const BLOCK: usize = 512;

/// A journal at some point, and how much of it was synced.
struct Image {
    journal: Vec<u8>,
    synced: usize,
}

/// The journals of a conversation with requests of many lengths, after each one.
fn images(random: &mut Random) -> Vec<Image> {
    let mut node = Restartable::new();
    let mut images = Vec::new();
    for number in 0..40 {
        let padding = "x".repeat(usize::try_from(random.below(1_500)).expect("it is small"));
        // Heartbeats are not synced.
        let request = if random.percent(30) {
            format!(
                r#"{{"type": "submit_job", "job_id": "{number}", "tasks": [], "p": "{padding}"}}"#
            )
        } else {
            format!(
                r#"{{"type": "heartbeat", "worker_id": "w", "timestamp": {number}, "p": "{padding}"}}"#
            )
        };
        assert_ne!(node.say(&request), "");
        images.push(Image {
            journal: node.journal.clone(),
            synced: node.synced_bytes,
        });
    }
    images
}

fn requests(journal: &[u8]) -> u64 {
    recover(journal).expect("it is whole").requests
}

#[test]
fn synced_records_are_recovered_whatever_is_left_of_the_others() {
    let mut random = Random::new(1);
    let mut holes = 0;
    for _ in 0..20 {
        for Image { journal, synced } in images(&mut random) {
            let mut left = journal.clone();
            let cut = random.below((journal.len() - synced) as u64 + 1);
            left.truncate(journal.len() - usize::try_from(cut).expect("it is a length"));
            let loss = [0, 20, 50, 100][usize::try_from(random.below(4)).expect("it is small")];
            for start in (0..left.len()).step_by(BLOCK) {
                let end = left.len().min(start + BLOCK);
                if end > synced && random.percent(loss) {
                    left[start.max(synced)..end].fill(0);
                }
            }
            let recovery = recover(&left[..]).unwrap_or_else(|damage| panic!("{damage}"));
            assert!(recovery.bytes >= synced as u64);
            let kept = &left[..usize::try_from(recovery.bytes).expect("it is a length")];
            assert!(
                journal.starts_with(kept),
                "nothing is read but what was written"
            );
            assert!(recovery.requests >= requests(&journal[..synced]));
            holes += u64::from(recovery.dropped.is_some_and(|dropped| dropped.has_hole));
        }
    }
    assert!(holes > 100, "{holes}");
}

/// A hole in synced data is a loss, and must not go unnoticed.
#[test]
fn hole_before_a_sync_is_damage() {
    let mut random = Random::new(2);
    for _ in 0..20 {
        let images = images(&mut random);
        let Image { journal, synced } = &images[images.len() - 1];
        for end in (BLOCK..=*synced).step_by(BLOCK) {
            let start = end - BLOCK;
            let mut left = journal.clone();
            left[start..end].fill(0);
            match recover(&left[..]) {
                Err(Damage::Line { problem, .. }) => {
                    assert!(problem.contains("a hole"), "{start}: {problem}");
                }
                Err(Damage::NotAJournal) => assert_eq!(start, 0),
                other => panic!("{start}: {other:?}"),
            }
        }
    }
}

/// A power loss does not leave zeros in the middle of a block.
#[test]
fn zeros_that_are_not_a_hole_are_damage() {
    let mut random = Random::new(3);
    let images = images(&mut random);
    let Image { journal, .. } = &images[images.len() - 1];
    for start in (HEADER.len()..journal.len() - 1).step_by(11) {
        let mut left = journal.clone();
        let end = (start + 3).min(left.len() - 1);
        left[start..end].fill(0);
        if start % BLOCK == 0 || end % BLOCK == 0 {
            continue;
        }
        assert!(
            matches!(recover(&left[..]), Err(Damage::Line { .. })),
            "{start}"
        );
    }
}

/// Gigabytes of zeros.
struct Sparse {
    journal: Vec<u8>,
    bytes: u64,
}

impl Read for Sparse {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let at = bytes.len().min(self.journal.len());
        if at > 0 {
            bytes[..at].copy_from_slice(&self.journal[..at]);
            self.journal.drain(..at);
            return Ok(at);
        }
        let count = bytes
            .len()
            .min(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        bytes[..count].fill(0);
        self.bytes -= count as u64;
        Ok(count)
    }
}

#[test]
fn hole_of_gigabytes_is_skipped() {
    const BYTES: u64 = 3 << 30;
    let journal = images(&mut Random::new(4))
        .pop()
        .expect("there are some")
        .journal;
    for cut in [0, 1, 100] {
        let whole = journal[..journal.len() - cut].to_vec();
        let sparse = Sparse {
            journal: whole.clone(),
            bytes: BYTES,
        };
        // A record cut within a block is only a hole if that block is all zeros from there on; a torn one is not.
        let outcome = recover(io::BufReader::with_capacity(1 << 20, sparse));
        if cut == 0 {
            let recovery = outcome.expect("nothing behind was synced");
            assert_eq!(recovery.bytes, journal.len() as u64);
            assert_eq!(recovery.dropped.map(|dropped| dropped.bytes), Some(BYTES));
        } else {
            assert!(outcome.is_err());
        }
    }
}
