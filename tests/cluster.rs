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

mod cluster {
    pub mod bad_network;
    pub mod bad_tasks;
    pub mod client;
    pub mod dead_workers;
    pub mod harness;
    pub mod late_workers;
    pub mod monitor;
    pub mod network;
    pub mod node;
    pub mod outcome;
    pub mod processes;
    pub mod random;
    pub mod word_count;
    pub mod worker;
}

use cluster::harness::Scenario;
use cluster::outcome::{Attempts, Outcome};
use cluster::worker::Behaviour;

/// Runs a scenario by some seeds, and has each outcome checked. A failure says which scenario and seed it was.
fn run(scenario: &Scenario, seeds: u64, check: impl Fn(&Outcome)) {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (1..=seeds).collect(),
    };
    for seed in seeds {
        let _told_if_it_fails = Told { scenario, seed };
        check(&scenario.run(seed));
    }
}

/// That worker as the first, and three healthy ones.
fn with_healthy(first: Behaviour) -> Vec<Behaviour> {
    let mut workers = vec![Behaviour::HEALTHY; 4];
    workers[0] = first;
    workers
}

fn sorted(mut ids: Vec<&str>) -> Vec<&str> {
    ids.sort_unstable();
    ids
}

struct Told<'a> {
    scenario: &'a Scenario,
    seed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SEED={} in {:?}", self.seed, self.scenario);
        }
    }
}

const TASKS: u64 = 16 + 4;

/// What the node counts when nothing goes wrong.
const ONCE_EACH: Attempts = Attempts {
    started: TASKS,
    completed: TASKS,
    failed: 0,
    lost: 0,
    speculative: 0,
    dropped: 0,
};

#[test]
fn healthy_workers_start_each_task_once() {
    run(&Scenario::default(), 2, |outcome| {
        outcome.assert_counts_are_right();
        assert_eq!(outcome.attempts(), ONCE_EACH);
        for worker in ["w1", "w2", "w3", "w4"] {
            assert_ne!(outcome.fetched_by(worker), [""; 0]);
        }
    });
}

#[test]
fn workers_that_run_several_tasks_at_once_start_each_task_once() {
    let wide = Behaviour {
        slots: 3,
        ..Behaviour::HEALTHY
    };
    let scenario = Scenario {
        workers: vec![wide; 3],
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        assert_eq!(outcome.attempts(), ONCE_EACH);
    });
}
