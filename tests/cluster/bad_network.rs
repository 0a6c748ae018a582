//! Messages lost, repeated, delayed and reordered; and all of it together with workers that die, hang and
//! are slow.

use super::harness::Scenario;
use super::network::{Faults, Messages};
use super::outcome::Outcome;
use super::worker::{Behaviour, Restart, Then, When};
use crate::run;
use serde_json::json;

/// Heartbeats are frequent, since so many are lost.
fn lossy(percent: u64, map_output: &str, slots: usize) -> Scenario {
    let behaviour = Behaviour {
        slots,
        heartbeat_every_ms: 100,
        ..Behaviour::HEALTHY
    };
    Scenario {
        options: json!({"map_output": map_output}),
        workers: vec![behaviour; 4],
        network: Faults {
            lost_percent: percent,
            repeated_percent: percent,
            delay_ms: 1..80,
        },
        ..Scenario::default()
    }
}

/// The counts are right; and the network was at least half as bad as it was meant to be.
fn assert_right_though_lossy(outcome: &Outcome, percent: u64) {
    outcome.assert_counts_are_right();
    let Messages {
        sent,
        lost,
        repeated,
    } = outcome.messages;
    assert!(200 * lost > percent * sent);
    assert!(200 * repeated > percent * (sent - lost));
}

#[test]
fn a_tenth_of_all_messages_lost_and_repeated_changes_no_count() {
    for map_output in ["worker", "shared"] {
        run(&lossy(10, map_output, 1), 3, |outcome| {
            assert_right_though_lossy(outcome, 10);
        });
    }
}

#[test]
fn nine_tenths_of_all_messages_lost_and_repeated_change_no_count() {
    for map_output in ["worker", "shared"] {
        run(&lossy(90, map_output, 1), 1, |outcome| {
            assert_right_though_lossy(outcome, 90);
        });
    }
}

#[test]
fn several_tasks_at_once_and_half_of_all_messages_lost_and_repeated_change_no_count() {
    run(&lossy(50, "worker", 3), 2, |outcome| {
        assert_right_though_lossy(outcome, 50);
    });
}

#[test]
fn everything_at_once_changes_no_count() {
    let crash = Then::DieAndRestart {
        after_ms: 2_000,
        how: Restart::SameId,
    };
    let mut scenario = lossy(30, "worker", 2);
    scenario.workers[0] = scenario.workers[0].clone().and(When::Percent(30), crash);
    scenario.workers[1] = scenario.workers[1]
        .clone()
        .and(When::Percent(20), Then::Hang { ms: 10_000 });
    scenario.workers[2].task_ms *= 10;
    run(&scenario, 4, |outcome| {
        assert_right_though_lossy(outcome, 30);
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = lossy(30, "worker", 2);
    let [one, again] = [scenario.run(1), scenario.run(1)];
    assert_eq!(one.seen, again.seen);
    assert_eq!(one.ended_at, again.ended_at);
    assert_eq!(one.status, again.status);
    assert_ne!(one.seen, scenario.run(2).seen);
}
