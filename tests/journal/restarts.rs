//! After a restart the node is where it was: every reply goes on as if it had never been killed.

use crate::conversation::Conversation;
use crate::random::Random;
use crate::restartable::Restartable;
use crate::traces::{QUESTIONS, TRACES};
use crate::unkilled::Unkilled;

const CONVERSATIONS: u64 = 200;
const MESSAGES: usize = 150;

/// Has the same said to a node that is killed and compacted at random, and to one that never is.
fn converse(seed: u64) {
    let mut random = Random::new(!seed);
    let mut percent = || [0, 1, 5, 40][usize::from(random.next().to_le_bytes()[0] % 4)];
    let (kills, compactions) = (percent(), percent());
    let mut conversation = Conversation::new(seed);
    let mut killed = Restartable::new();
    let mut unkilled = Unkilled::new();
    let compare = |killed: &mut Restartable, unkilled: &mut Unkilled, message: &str| {
        let expected = unkilled.say(message);
        assert_eq!(killed.say(message), expected, "seed {seed}, to {message}");
        expected
    };
    for at in 0..=MESSAGES {
        if random.percent(kills) || at == MESSAGES {
            killed = killed.restarted();
            unkilled.recovered();
        }
        if random.percent(compactions) {
            killed.compact();
        }
        if at < MESSAGES {
            let message = conversation.next();
            let reply = compare(&mut killed, &mut unkilled, &message);
            conversation.hear(&reply);
        }
    }
    for message in conversation.ask_everything() {
        compare(&mut killed, &mut unkilled, &message);
    }
}

#[test]
fn replies_go_on_as_if_the_node_had_never_been_killed() {
    match std::env::var("SEED") {
        Ok(seed) => converse(seed.parse().expect("SEED is a number")),
        Err(_) => (0..CONVERSATIONS).for_each(converse),
    }
}

/// The law of the grace, in a case that can be read.
#[test]
fn a_worker_not_heard_since_a_recovery_is_timed_from_the_first_check_that_sees_it() {
    let heartbeat = |worker: &str, timestamp: i64| {
        format!(r#"{{"type": "heartbeat", "worker_id": "{worker}", "timestamp": {timestamp}}}"#)
    };
    let check =
        |now: i64| format!(r#"{{"type": "check_failures", "timeout_ms": 100, "now": {now}}}"#);
    let failed = |workers: &str| {
        format!("{{\"type\": \"failures_detected\", \"failed_workers\": [{workers}]}}\n")
    };
    let mut node = Restartable::new();
    for worker in ["silent", "heard", "late", "ahead", "failed"] {
        node.say(&heartbeat(worker, 0));
    }
    node.say(&heartbeat("ahead", 1_500));
    for worker in ["silent", "heard", "late", "ahead"] {
        node.say(&heartbeat(worker, 150));
    }
    assert_eq!(node.say(&check(200)), failed(r#""failed""#));
    // It was down for a long time. A second kill changes nothing.
    node = node.restarted().restarted();
    node.say(&heartbeat("heard", 950));
    node.say(&heartbeat("late", 50));
    // One that was heard is timed as ever, by the latest time heard; the others from here on.
    assert_eq!(node.say(&check(1_000)), failed(r#""late""#));
    assert_eq!(node.say(&check(1_050)), failed(r#""late""#));
    assert_eq!(node.say(&check(1_051)), failed(r#""heard", "late""#));
    assert_eq!(node.say(&check(1_100)), failed(r#""heard", "late""#));
    let all_but_one = failed(r#""silent", "heard", "late", "failed""#);
    assert_eq!(node.say(&check(1_101)), all_but_one);
    // A time from before the kill that is later than the check counts on.
    assert_eq!(node.say(&check(1_600)), all_but_one);
    let all = failed(r#""silent", "heard", "late", "ahead", "failed""#);
    assert_eq!(node.say(&check(1_601)), all);
    // The next recovery gives the grace again, and a snapshot keeps what is left of it.
    node = node.restarted();
    node.compact();
    assert_eq!(node.say(&check(9_000)), failed(""));
    assert_eq!(node.say(&check(9_101)), all);
}

/// States that chance seldom leads to: a conversation each, at whose end they make a difference.
const RARE: [&[&str]; 2] = [
    // A reduce's backup waits behind a barrier that is closed again.
    &[
        r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "m", "chunk": 1}], "reduce_tasks": 1}"#,
        r#"{"type": "request_task", "worker_id": "w1", "timestamp": 0}"#,
        r#"{"type": "complete_task", "worker_id": "w1", "task_id": "m", "attempt": 1, "timestamp": 1, "output": [2]}"#,
        r#"{"type": "request_task", "worker_id": "w2", "timestamp": 1000}"#,
        r#"{"type": "check_stragglers", "now": 2000, "slow_after_ms": 10}"#,
        r#"{"type": "check_failures", "timeout_ms": 1500, "now": 2000}"#,
        r#"{"type": "request_task", "worker_id": "w3", "timestamp": 2001}"#,
        r#"{"type": "request_task", "worker_id": "w4", "timestamp": 2002}"#,
        r#"{"type": "complete_task", "worker_id": "w3", "task_id": "m", "attempt": 2, "timestamp": 2003, "output": [3]}"#,
        r#"{"type": "request_task", "worker_id": "w4", "timestamp": 2004}"#,
    ],
    // A task has failed for the last time while its backup runs, and is given up when that is lost.
    &[
        r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "m", "chunk": 1}], "max_failures": 1}"#,
        r#"{"type": "request_task", "worker_id": "w1", "timestamp": 0}"#,
        r#"{"type": "check_stragglers", "now": 1000, "slow_after_ms": 10}"#,
        r#"{"type": "request_task", "worker_id": "w2", "timestamp": 1000}"#,
        r#"{"type": "fail_task", "worker_id": "w1", "task_id": "m", "attempt": 1, "timestamp": 1001, "error": "kept"}"#,
        r#"{"type": "remove_worker", "worker_id": "w2"}"#,
        r#"{"type": "job_status", "job_id": "j"}"#,
        r#"{"type": "task_status", "task_id": "m"}"#,
    ],
];

#[test]
fn a_snapshot_at_any_point_changes_no_reply() {
    let everything = [&TRACES[..], &QUESTIONS[..]].concat();
    for conversation in RARE.into_iter().chain([&*everything]) {
        for cut in 0..conversation.len() {
            // The node that made it goes on with its state; one that is started on it has nothing else.
            for is_killed in [false, true] {
                let mut node = Restartable::new();
                let mut unkilled = Unkilled::new();
                for (at, said) in conversation.iter().enumerate() {
                    if at == cut {
                        node.compact();
                    }
                    if at == cut && is_killed {
                        node = node.restarted();
                        unkilled.recovered();
                    }
                    let expected = unkilled.say(said);
                    assert_eq!(node.say(said), expected, "to {said}, compacted at {cut}");
                }
            }
        }
    }
}
