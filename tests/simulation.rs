//! Whole clusters in virtual time, with every fault, by seed.
//!
//! A run draws a cluster from its seed: workers, jobs, clocks, a network, monitors, and what goes wrong with each of
//! them. Everyone talks to a real node, bytes in and bytes out, through a witness who checks each answer against a list of
//! laws and against a reference model of the contract. First anything goes wrong (safety: no law is ever broken). Then
//! the faults end, a few workers are left, and every job has to end, within a bound, with the output of a
//! sequential run (liveness).
//!
//! ```text
//! workers, monitors, submitters ──▶ network ──▶ witness ──▶ master
//!                                                  └──▶ laws, model
//! ```
//!
//! * `cargo test --test simulation` runs 300 seeds,
//! * `SEED=7 cargo test --test simulation` runs that one,
//! * `SEEDS=100000 cargo test --release --test simulation` searches,
//! * `ORACLE=off` leaves the model out, so that the laws stand alone.
//!
//! A failure prints the seed, what the run was like, and the shortest conversation that still breaks the same law.

mod simulation {
    pub mod cluster;
    pub mod ledger;
    pub mod master;
    pub mod message;
    pub mod model;
    pub mod monitor;
    pub mod network;
    pub mod options;
    pub mod properties;
    pub mod random;
    pub mod shrink;
    pub mod snapshot;
    pub mod submitter;
    pub mod witness;
    pub mod work;
    pub mod worker;
}

use simulation::cluster::Cluster;
use simulation::options::Options;
use simulation::shrink::shrink;
use simulation::witness::{Input, Violation};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const SEEDS: u64 = 300;

/// One run, from the first message to the end of the last job.
fn run(seed: u64, with_oracle: bool) -> Result<Cluster, Box<Failure>> {
    let mut cluster = Cluster::new(seed, with_oracle);
    let options = cluster.options.clone();
    let mut run = || {
        cluster.run_with_faults()?;
        cluster.heal();
        cluster.run_until_done()
    };
    match run() {
        Ok(()) => Ok(cluster),
        Err(violation) => {
            let conversation = cluster.witness.transcript;
            Err(Box::new(Failure {
                seed,
                options,
                violation,
                conversation,
            }))
        }
    }
}

struct Failure {
    seed: u64,
    options: Options,
    violation: Violation,
    conversation: Vec<(Input, String)>,
}

impl Failure {
    fn report(&self, with_oracle: bool) -> String {
        let Self {
            seed,
            options,
            violation,
            conversation,
        } = self;
        let inputs: Vec<Input> = conversation
            .iter()
            .map(|(input, _)| input.clone())
            .collect();
        let shrunk = shrink(&inputs, violation.law, with_oracle);
        let mut report = format!(
            "seed {seed} breaks `{}` at message {}:\n{}\n\n{options:?}\n",
            violation.law,
            conversation.len(),
            violation.what
        );
        let (said, what) = match &shrunk {
            Some((witness, violation)) => (&witness.transcript, &violation.what),
            None => (conversation, &violation.what),
        };
        let _ = writeln!(report, "\n{} of its messages are enough:\n", said.len());
        for (Input::Message(line) | Input::Noise(line), reply) in said {
            let _ = writeln!(report, "  {line}\n    {reply}");
        }
        let _ = write!(
            report,
            "\n{what}\n\nSEED={seed} cargo test --test simulation\n"
        );
        report
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} should be a number, not {value:?}")),
    )
}

#[test]
fn safety_under_faults_and_liveness_after_them() {
    let with_oracle = std::env::var("ORACLE").as_deref() != Ok("off");
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let mut coverage: BTreeMap<String, u64> = BTreeMap::new();
    let mut messages = 0;
    for seed in seeds {
        match run(seed, with_oracle) {
            Ok(cluster) => {
                messages += cluster.witness.transcript.len();
                for (rule, hits) in cluster.witness.coverage() {
                    *coverage.entry(rule).or_default() += hits;
                }
            }
            Err(failure) => panic!("{}", failure.report(with_oracle)),
        }
    }
    println!("{messages} messages");
    for (rule, hits) in coverage {
        println!("{hits:8} {rule}");
    }
}
