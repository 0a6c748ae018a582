//! Restarts: the replies are the same as those of a node that was never killed.

use crate::conversation::Conversation;
use crate::random::Random;
use crate::restartable::Restartable;
use crate::traces::{QUESTIONS, TRACES};
use crate::unkilled::Unkilled;

const CONVERSATIONS: u64 = 200;
const MESSAGES: usize = 150;

/// Sends the same messages to a node that is killed and compacted at random, and to one that never is.
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
fn replies_are_those_of_a_node_that_was_never_killed() {
    match std::env::var("SEED") {
        Ok(seed) => converse(seed.parse().expect("SEED is a number")),
        Err(_) => (0..CONVERSATIONS).for_each(converse),
    }
}

/// The grace after a recovery, in a readable case.
#[test]
fn worker_has_one_grace_after_a_recovery_and_a_check_may_be_old() {
    let heartbeat = |worker: &str, timestamp: i64| {
        format!(r#"{{"type": "heartbeat", "worker_id": "{worker}", "timestamp": {timestamp}}}"#)
    };
    let check =
        |now: i64| format!(r#"{{"type": "check_failures", "timeout_ms": 100, "now": {now}}}"#);
    let failed = |workers: &str| {
        format!("{{\"type\": \"failures_detected\", \"failed_workers\": [{workers}]}}\n")
    };
    let mut node = Restartable::new();
    for worker in ["silent", "heard", "late", "failed"] {
        node.say(&heartbeat(worker, 0));
    }
    for worker in ["silent", "heard", "late"] {
        node.say(&heartbeat(worker, 150));
    }
    assert_eq!(node.say(&check(200)), failed(r#""failed""#));
    // The node was down for a long time. A worker that is heard from is timed as always.
    node = node.restarted();
    node.say(&heartbeat("heard", 950));
    node.say(&heartbeat("late", 50));
    // The first check may have been sent before the kill, so it times nobody.
    assert_eq!(node.say(&check(1_000)), failed(r#""late", "failed""#));
    assert_eq!(node.say(&check(1_050)), failed(r#""late", "failed""#));
    assert_eq!(
        node.say(&check(1_150)),
        failed(r#""heard", "late", "failed""#)
    );
    let all = failed(r#""silent", "heard", "late", "failed""#);
    assert_eq!(node.say(&check(1_151)), all);
    // A compaction keeps the rest of the grace.
    node.say(&heartbeat("silent", 1_200));
    node = node.restarted();
    node.compact();
    let all_but_silent = failed(r#""heard", "late", "failed""#);
    assert_eq!(node.say(&check(5_000)), all_but_silent);
    node.compact();
    assert_eq!(node.say(&check(5_001)), all_but_silent);
    // A worker that was not heard from since the previous recovery has no further grace.
    node = node.restarted();
    assert_eq!(node.say(&check(9_000)), all);
}

/// States that random conversations rarely reach, one conversation each, in which they make a difference at the end.
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
    // A task has failed for the last time while its backup runs, and is given up when the backup is lost.
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
fn snapshot_at_any_point_changes_no_reply() {
    let everything = [&TRACES[..], &QUESTIONS[..]].concat();
    for conversation in RARE.into_iter().chain([&*everything]) {
        for cut in 0..conversation.len() {
            // The node that made the snapshot keeps its state; a node that is started on it has nothing else.
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
