//! Workers that are late: hung ones that come back, and slow ones.

use super::harness::Scenario;
use super::monitor::Checks;
use super::outcome::Attempts;
use super::worker::{Behaviour, Then, When};
use crate::{ONCE_EACH, TASKS, run, with_healthy};
use serde_json::json;

/// The first worker hangs in its first map; the other one takes `task_ms` for each.
fn zombie(hangs_for_ms: i64, task_ms: u64) -> Scenario {
    let other = Behaviour {
        task_ms,
        ..Behaviour::HEALTHY
    };
    Scenario {
        workers: vec![
            Behaviour::with(When::Maps(1), Then::Hang { ms: hangs_for_ms }),
            other,
        ],
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    }
}

#[test]
fn a_zombies_result_is_accepted_while_its_task_waits_to_be_run_again() {
    run(&zombie(6_000, 10_000), 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            lost: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        let first = outcome.fetched_by("w1")[0];
        assert_eq!(outcome.tasks[first]["losses"], 1);
        assert_eq!(outcome.results_of("w1", true)[0], first);
    });
}

#[test]
fn a_zombies_result_is_accepted_when_it_is_first_and_the_other_one_is_dropped() {
    run(&zombie(6_000, 4_000), 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 1,
            lost: 1,
            dropped: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        let first = outcome.fetched_by("w1")[0];
        assert_eq!(outcome.results_of("w1", true)[0], first);
        assert_eq!(outcome.results_of("w2", false), [first]);
        let winner = json!({"worker_id": "w1", "attempt": 1});
        assert_eq!(outcome.tasks[first]["winner"], winner);
    });
}

#[test]
fn a_zombies_result_is_dropped_when_another_one_was_accepted() {
    run(&zombie(60_000, 400), 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 1,
            lost: 1,
            dropped: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        let first = outcome.fetched_by("w1")[0];
        assert_eq!(outcome.results_of("w1", false), [first]);
        let winner = json!({"worker_id": "w2", "attempt": 2});
        assert_eq!(outcome.tasks[first]["winner"], winner);
    });
}

#[test]
fn a_zombies_reduce_is_dropped_when_another_one_was_accepted() {
    let scenario = Scenario {
        options: json!({"map_output": "shared"}),
        workers: with_healthy(Behaviour::with(When::Reduces(1), Then::Hang { ms: 60_000 })),
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 1,
            lost: 1,
            dropped: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        assert_eq!(outcome.results_of("w1", false), outcome.run_twice());
    });
}

#[test]
fn a_worker_ten_times_slower_is_overtaken_by_a_backup_and_its_result_dropped() {
    let slow = Behaviour {
        task_ms: 10 * Behaviour::HEALTHY.task_ms,
        ..Behaviour::HEALTHY
    };
    let scenario = Scenario {
        workers: with_healthy(slow),
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 1,
            speculative: 1,
            dropped: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        assert_eq!(outcome.results_of("w1", true), [""; 0]);
        assert_eq!(outcome.results_of("w1", false), outcome.run_twice());
    });
}

#[test]
fn a_worker_a_quarter_slower_gets_no_backup() {
    let slower = Behaviour {
        task_ms: Behaviour::HEALTHY.task_ms * 5 / 4,
        ..Behaviour::HEALTHY
    };
    // The monitor is eager, and others have nothing to do while the slower worker runs its last map.
    let scenario = Scenario {
        workers: with_healthy(slower),
        checks: Checks {
            every_ms: 10,
            ..Checks::DEFAULT
        },
        ..Scenario::default()
    };
    run(&scenario, 3, |outcome| {
        outcome.assert_counts_are_right();
        assert_eq!(outcome.attempts(), ONCE_EACH);
    });
}

#[test]
fn a_worker_that_asks_again_is_told_to_cancel_what_a_backup_has_completed() {
    let slow = Behaviour {
        slots: 2,
        task_ms: 60_000,
        ..Behaviour::HEALTHY
    };
    // Too few maps for the slow worker to get two.
    let scenario = Scenario {
        maps: 4,
        workers: vec![
            Behaviour::HEALTHY,
            Behaviour::HEALTHY,
            Behaviour::HEALTHY,
            slow,
        ],
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        assert_eq!(outcome.fetched_by("w4")[0], "map-3");
        assert_eq!(outcome.cancelled_on("w4")[0], "map-3");
        assert_eq!(outcome.attempts_of("map-3"), 2);
        for is_accepted in [true, false] {
            assert!(!outcome.results_of("w4", is_accepted).contains(&"map-3"));
        }
    });
}
