//! The built binary and a cluster of workers that count the words of a text: whatever happens to them, the
//! counts are those of a direct count.
//!
//! The harness is Maelstrom's in small: the node is a process that is named by `init` and spoken to in
//! envelopes, and between it and its clients is a network that may lose and repeat them. Messages carry the
//! times, so the cluster runs on a clock of its own: a worker is silent for minutes in no time, and the same
//! seed gives the same run. What happens is bound to events ("dies when it has fetched its second map"), and
//! never to real time. The scenarios are those of the test suites of MIT 6.5840 and its kin.
//!
//! `SEED=7 cargo test --test cluster lossy` repeats the runs of that seed.

#[path = "cluster/client.rs"]
mod client;
#[path = "cluster/harness.rs"]
mod harness;
#[path = "cluster/network.rs"]
mod network;
#[path = "cluster/node.rs"]
mod node;
#[path = "cluster/outcome.rs"]
mod outcome;
#[path = "cluster/random.rs"]
mod random;
#[path = "cluster/word_count.rs"]
mod word_count;
#[path = "cluster/worker.rs"]
mod worker;

use client::{Seen, Stragglers};
use harness::Scenario;
use outcome::{Attempts, Outcome};
use worker::{Behaviour, Restart, Then, When};

/// Runs a scenario by some seeds, and has each outcome checked. A failure says which seed it was.
fn run(scenario: &Scenario, seeds: u64, check: impl Fn(&Outcome)) {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (1..=seeds).collect(),
    };
    for seed in seeds {
        let _told = TellSeed(seed);
        check(&scenario.run(seed));
    }
}

struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed by SEED={}", self.0);
        }
    }
}

#[test]
fn healthy_workers_start_each_task_once() {
    run(&Scenario::default(), 3, |outcome| {
        outcome.assert_counts_are_right();
        let once = Attempts {
            started: 20,
            completed: 20,
            ..Attempts::default()
        };
        assert_eq!(outcome.attempts(), once);
        for number in 1..=4 {
            assert!(!outcome.fetched_by(&format!("w{number}")).is_empty());
        }
    });
}
