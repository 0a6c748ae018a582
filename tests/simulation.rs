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
//! Beside the clusters there are random conversations, without any purpose or honesty, which master and model have to
//! answer with the same bytes. Snapshots of them are restored, as they are and forged.
//!
//! * `cargo test --test simulation` runs 1,000 seeds and 1,500 conversations,
//! * `SEED=7 cargo test --test simulation` runs that seed, `CONVERSATION=7` that conversation,
//! * `SEEDS=100000 CONVERSATIONS=100000 cargo test --release --test simulation` searches,
//! * `ALL=1` goes on after a failure, and says how many seeds break which law,
//! * `ORACLE=off` leaves the model out, so that the laws stand alone,
//! * `COVERAGE=1` prints how often the conversations use each rule of the model (with `--nocapture`),
//! * `MASTER='python3 my_master.py' cargo test --test simulation random` puts any program to the conversations;
//!   with `COMPARE=json`, blanks between the tokens of its replies do not matter.
//!
//! A failure prints the seed, what the run was like, and the shortest conversation that still breaks the same law.

mod simulation {
    pub mod cluster;
    pub mod conversation;
    pub mod ledger;
    pub mod master;
    pub mod message;
    pub mod model;
    pub mod monitor;
    pub mod network;
    pub mod options;
    pub mod properties;
    pub mod random;
    mod restoration;
    pub mod shrink;
    pub mod snapshot;
    pub mod submitter;
    pub mod witness;
    pub mod work;
    pub mod worker;
}

use simulation::cluster::Cluster;
use simulation::conversation::{Conversation, Speaker, command};
use simulation::options::Options;
use simulation::shrink::shrink;
use simulation::witness::{Input, Violation, Witness};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

const SEEDS: u64 = 1_000;

/// How many random conversations are had by default.
const CONVERSATIONS: u64 = 1_500;

/// How often a failing conversation is had again to make it shorter, at most.
const MOST_TRIES: usize = 10_000;

/// The same where each time a program has to be started.
const MOST_TRIES_OF_A_PROGRAM: usize = 300;

/// How many messages of a failing conversation are printed.
const MOST_PRINTED: usize = 100;

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
        let mut have = |inputs: &[Input]| {
            let (witness, violation) = Witness::have(inputs, with_oracle);
            Some((witness.transcript.len(), violation?.law))
        };
        let shrunk = shrink(&inputs, violation.law, MOST_TRIES, &mut have).and_then(|inputs| {
            let (witness, violation) = Witness::have(&inputs, with_oracle);
            Some((witness, violation?))
        });
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
        let _ = writeln!(
            report,
            "\n{} of its messages are enough; the last of them:\n",
            said.len()
        );
        let last = &said[said.len().saturating_sub(MOST_PRINTED)..];
        for (input, reply) in last {
            let _ = writeln!(report, "  {input}\n    {reply}");
        }
        let _ = write!(
            report,
            "\n{what}\n\nSEED={seed} cargo test --test simulation\n"
        );
        report
    }
}

/// What many runs have shown.
#[derive(Default)]
struct Summary {
    first_failure: Option<Box<Failure>>,
    /// How many seeds have broken which law.
    broken: BTreeMap<&'static str, u64>,
    /// How often what happened: kinds of input, and rules of the model.
    happened: BTreeMap<String, u64>,
}

/// Runs seed after seed, up to the first failure unless it `goes_on`.
fn run_all(seeds: Range<u64>, with_oracle: bool, goes_on: bool) -> Summary {
    let mut summary = Summary::default();
    for seed in seeds {
        match run(seed, with_oracle) {
            Ok(cluster) => {
                let inputs = &cluster.witness.transcript;
                let kinds = inputs.iter().map(|(input, _)| (input.kind().to_owned(), 1));
                for (what, count) in cluster.witness.coverage().into_iter().chain(kinds) {
                    *summary.happened.entry(what).or_default() += count;
                }
            }
            Err(failure) => {
                *summary.broken.entry(failure.violation.law).or_default() += 1;
                if goes_on {
                    println!("seed {seed}: {}", failure.violation.law);
                }
                summary.first_failure.get_or_insert(failure);
                if !goes_on {
                    break;
                }
            }
        }
    }
    summary
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} should be a number, not {value:?}")))
}

#[test]
fn safety_under_faults_and_liveness_after_them() {
    if command().is_some() {
        // Another program is put to the random conversations only.
        return;
    }
    let with_oracle = std::env::var("ORACLE").as_deref() != Ok("off");
    let goes_on = std::env::var_os("ALL").is_some();
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let summary = run_all(seeds.clone(), with_oracle, goes_on);
    if let Some(failure) = summary.first_failure {
        let (count, broken) = (summary.broken.values().sum::<u64>(), summary.broken);
        panic!(
            "{}\nIn all, {count} seeds break laws: {broken:?}",
            failure.report(with_oracle)
        );
    }
    if seeds == (0..SEEDS) && with_oracle {
        let missing: Vec<_> = WORKLOAD
            .iter()
            .filter(|what| !summary.happened.contains_key(**what))
            .collect();
        assert!(
            missing.is_empty(),
            "the simulated clusters never get there: {missing:?}"
        );
    }
}

/// What has to happen somewhere in the random conversations: rules of the model that the clusters get to too rarely.
const CONVERSATION_WORKLOAD: &[&str] = &[
    "100 tasks passed over",
    "accepted again after its output was lost",
    "accepted from an attempt whose worker was removed",
    "exclusion stays: all ended a short time ago",
    "lost_inputs from a map",
    "no time-out: not fetched",
    "request 1: the oldest is not the first in task order",
    "submit_job: a task id of another job",
    "submit_job: a task id twice",
    "wrong output of an attempt no longer live",
];

/// What has to happen somewhere in the runs: kinds of input, and rules of the model by their names. A simulation in
/// which it does not is too tame.
const WORKLOAD: &[&str] = &[
    "noise",
    "crash of the master",
    "crash of the master, compacted",
    "crash of the master in an answer",
    "accepted after an output was lost",
    "accepted from a failed attempt",
    "accepted from a lost attempt",
    "accepted while queued again",
    "attempt lost before it was fetched",
    "attempt superseded",
    "cancel: completed by another",
    "cancel: given up",
    "cancel: never given to it",
    "cancel: unknown",
    "cancel: withdrawn",
    "complete_task refused with 20",
    "complete_task refused with 22",
    "dropped: completed already",
    "dropped: final",
    "fail_task of an attempt no longer live",
    "failed worker healthy again",
    "given up: failed too often",
    "given up: lost too often",
    "heartbeat delivered late",
    "job completed",
    "job fails by a map",
    "job fails by a reduce",
    "lost input: not the winner",
    "lost input: the winner",
    "lost map withdrawn at the end of its job",
    "map skipped",
    "median of an even number",
    "median of an odd number",
    "attempt from the future",
    "attempt timed anew after a recovery",
    "attempt timed before it is fetched",
    "all exclusions end",
    "attempts start above those removed",
    "cancel: timed out",
    "check refused: too many would fail",
    "excluded from the job",
    "exclusion stays: enough others",
    "failure not counted",
    "heartbeat from the future",
    "heartbeat with cancel",
    "incarnation: larger",
    "incarnation: smaller",
    "lost inputs: none, the reduce is lost",
    "old check of failures",
    "old check of stragglers",
    "one task of the job at a time",
    "recovery: no new grace",
    "recovery: untimed",
    "request 2: passes over a task for its history",
    "request 3: passes over a task for its history",
    "straggler: not fetched",
    "time-out",
    "worker forgotten by a check",
    "wrong output",
    "not queued again: another attempt is live",
    "output lost with its worker",
    "output survives: no unfinished reduce",
    "re-send behind the barrier",
    "reassign: a reduce task",
    "reassign: finished task left out",
    "reassign: live there already",
    "reassign: task on a third worker left out",
    "reassign: task taken out of the queue",
    "reduce input skipped",
    "reduce queued again",
    "reduce skipped",
    "remove_worker answered",
    "request 1: reassigned",
    "request 2: passes over a reduce behind the barrier",
    "request 2: passes over a running task",
    "request 3: backup of a map",
    "request 3: backup of a reduce",
    "request 3: passes over its own straggler",
    "running job removed",
    "running task withdrawn",
    "shared output survives its worker",
    "straggler by slow_after_ms",
    "straggler by the median",
    "submit_job: another under the same id",
    "submit_job: the same again",
    "task taken in",
    "waiting backup dropped: queued again",
    "waiting backup dropped: the task ended",
    "winner's own repeat",
    "worker timed from its first check",
];

/// Two implementations of one text answer the same, byte for byte but for the texts of errors.
#[test]
fn random_conversations_are_answered_as_by_the_model() {
    let goes_on = std::env::var_os("ALL").is_some();
    let seeds = match number("CONVERSATION") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CONVERSATIONS").unwrap_or(CONVERSATIONS),
    };
    let mut happened: BTreeMap<String, u64> = BTreeMap::new();
    // By the kind of message that shows them.
    let mut differences: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for seed in seeds.clone() {
        let (conversation, violation) = converse(seed);
        for (rule, count) in &conversation.model.coverage {
            *happened.entry(rule.clone()).or_default() += count;
        }
        let Some(violation) = violation else {
            continue;
        };
        let kind = conversation.kind_of_last_message();
        differences
            .entry(format!("{kind}: {}", violation.law))
            .or_insert_with(|| (0, report_difference(seed, &conversation, &violation)))
            .0 += 1;
        if !goes_on {
            break;
        }
    }
    if seeds == (0..CONVERSATIONS) && differences.is_empty() {
        let missing: Vec<_> = CONVERSATION_WORKLOAD
            .iter()
            .filter(|what| !happened.contains_key(**what))
            .collect();
        assert!(missing.is_empty(), "no conversation gets to {missing:?}");
    }
    if std::env::var_os("COVERAGE").is_some() {
        for (rule, count) in &happened {
            println!("{count:8} {rule}");
        }
    }
    let mut report = String::new();
    for (count, shortest) in differences.values() {
        let _ = writeln!(report, "{shortest}\n({count} conversations differ so)\n");
    }
    assert!(differences.is_empty(), "{report}");
}

/// Has the conversation of that seed, up to the first difference.
fn converse(seed: u64) -> (Conversation, Option<Violation>) {
    let mut speaker = Speaker::draw(seed, command().is_none());
    let mut conversation = Conversation::start();
    for _ in 0..speaker.messages {
        let input = speaker.speak();
        match conversation.say(&input) {
            Ok(reply) => speaker.hear(&reply, conversation.model.live_attempts()),
            Err(violation) => return (conversation, Some(violation)),
        }
    }
    (conversation, None)
}

fn report_difference(seed: u64, conversation: &Conversation, violation: &Violation) -> String {
    let said = conversation.transcript.iter();
    let inputs: Vec<Input> = said.map(|(input, _)| input.clone()).collect();
    let most_tries = match command() {
        Some(_) => MOST_TRIES_OF_A_PROGRAM,
        None => MOST_TRIES,
    };
    let mut have = |inputs: &[Input]| {
        let (conversation, violation) = Conversation::have(inputs);
        Some((conversation.transcript.len(), violation?.law))
    };
    let shrunk = shrink(&inputs, violation.law, most_tries, &mut have);
    let (conversation, violation) = Conversation::have(&shrunk.unwrap_or(inputs));
    let mut report = format!("conversation {seed}:\n");
    for (input, reply) in &conversation.transcript {
        let _ = writeln!(report, "  {input}\n    {reply}");
    }
    if let Some(violation) = violation {
        let _ = writeln!(report, "breaks `{}`:\n{}", violation.law, violation.what);
    }
    let _ = writeln!(report, "\nCONVERSATION={seed} cargo test --test simulation");
    report
}

/// What is said, by everyone, and what the master answers: the same, byte for byte, whenever the seed is the same.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..SEEDS / 20 {
        let said = || match run(seed, false) {
            Ok(cluster) => cluster.witness.transcript,
            Err(failure) => failure.conversation,
        };
        assert!(
            said() == said(),
            "seed {seed} does not give the same bytes twice"
        );
    }
}
