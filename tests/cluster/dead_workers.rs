//! Workers that die: what was lost with them is run again, and nothing else.

use super::harness::Scenario;
use super::monitor::Checks;
use super::outcome::Attempts;
use super::worker::{Behaviour, Restart, Then, When};
use crate::{ONCE_EACH, TASKS, run, sorted, with_healthy};
use serde_json::json;
use std::cell::Cell;

#[test]
fn a_worker_killed_in_its_first_map_costs_that_attempt_and_nothing_else() {
    let scenario = Scenario {
        workers: with_healthy(Behaviour::with(When::Maps(1), Then::Die)),
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 1,
            lost: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        assert_eq!(outcome.run_twice(), outcome.fetched_by("w1"));
    });
}

#[test]
fn a_worker_killed_in_a_later_map_costs_its_outputs_too() {
    let scenario = Scenario {
        workers: with_healthy(Behaviour::with(When::Maps(3), Then::Die)),
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 3,
            completed: TASKS + 2,
            lost: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        assert_eq!(outcome.run_twice(), sorted(outcome.fetched_by("w1")));
    });
}

#[test]
fn a_worker_killed_with_several_maps_loses_them_all() {
    let wide = Behaviour {
        slots: 3,
        ..Behaviour::with(When::Maps(3), Then::Die)
    };
    let scenario = Scenario {
        workers: with_healthy(wide),
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 3,
            lost: 3,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        assert_eq!(outcome.run_twice(), sorted(outcome.fetched_by("w1")));
    });
}

/// The first worker dies when all maps are completed but one, which the last worker takes a minute for: long
/// enough for the failure to be detected before the reduces.
fn killed_between_the_phases(map_output: &str) -> Scenario {
    let slow = Behaviour {
        task_ms: 60_000,
        ..Behaviour::HEALTHY
    };
    Scenario {
        options: json!({"map_output": map_output}),
        workers: vec![
            Behaviour::with(When::Idle, Then::Die),
            Behaviour::HEALTHY,
            slow,
        ],
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    }
}

#[test]
fn maps_completed_on_a_killed_worker_are_run_again_and_no_others() {
    run(&killed_between_the_phases("worker"), 2, |outcome| {
        outcome.assert_counts_are_right();
        let of_the_dead = outcome.results_of("w1", true);
        assert!(of_the_dead.len() > 3, "w1 completed some maps");
        assert_eq!(outcome.run_twice(), sorted(of_the_dead));
        let again = outcome.run_twice().len() as u64;
        let expected = Attempts {
            started: TASKS + again,
            completed: TASKS + again,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
    });
}

#[test]
fn shared_outputs_survive_their_worker() {
    run(&killed_between_the_phases("shared"), 2, |outcome| {
        outcome.assert_counts_are_right();
        assert!(outcome.results_of("w1", true).len() > 3);
        assert_eq!(outcome.attempts(), ONCE_EACH);
    });
}

#[test]
fn a_worker_killed_in_its_reduce_costs_the_reduce_and_its_maps() {
    let scenario = Scenario {
        workers: with_healthy(Behaviour::with(When::Reduces(1), Then::Die)),
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let fetched = outcome.fetched_by("w1");
        for (id, task) in &outcome.tasks {
            // Other reduces may come in vain too, when they find that a map's output is gone.
            if id.starts_with("map") || fetched.contains(&&**id) {
                let runs = 1 + u64::from(fetched.contains(&&**id));
                assert_eq!(task["attempts"], runs, "{id}");
            }
        }
        // A reduce that misses only what was run again since is lost, too (protocol, section 6).
        let [.., reduce] = &*fetched else {
            panic!("the worker fetched a reduce")
        };
        assert_eq!(outcome.tasks[*reduce]["losses"], 1);
        assert!(outcome.attempts().lost >= 1);
    });
}

#[test]
fn a_worker_killed_in_its_reduce_costs_only_that_where_outputs_are_shared() {
    let scenario = Scenario {
        options: json!({"map_output": "shared"}),
        workers: with_healthy(Behaviour::with(When::Reduces(1), Then::Die)),
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 1,
            lost: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        assert_eq!(outcome.run_twice(), outcome.fetched_by("w1")[4..]);
    });
}

#[test]
fn a_backup_makes_up_for_a_dead_worker_before_its_failure_is_detected() {
    let scenario = Scenario {
        workers: with_healthy(Behaviour::with(When::Maps(1), Then::Die)),
        checks: Checks {
            timeout_ms: 60_000,
            ..Checks::DEFAULT
        },
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let expected = Attempts {
            started: TASKS + 1,
            speculative: 1,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
        assert_eq!(outcome.run_twice(), outcome.fetched_by("w1"));
    });
}

#[test]
fn workers_that_crash_at_random_and_restart_lose_no_word() {
    let in_both_phases = Cell::new((0, 0));
    for how in [
        Restart::SameId,
        Restart::SameIdNextIncarnation,
        Restart::SameIdAfterRemoval,
        Restart::NewId,
    ] {
        let then = Then::DieAndRestart {
            after_ms: 1_500,
            how,
        };
        let scenario = Scenario {
            // That a map's output is lost again and again is nothing against the map here.
            options: json!({"max_losses": 1_000}),
            workers: vec![Behaviour::with(When::Percent(15), then); 4],
            ..Scenario::default()
        };
        run(&scenario, 2, |outcome| {
            outcome.assert_counts_are_right();
            let (mut maps, mut reduces) = in_both_phases.get();
            for task in outcome.died_with() {
                let is_map = task.starts_with("map");
                maps += u32::from(is_map);
                reduces += u32::from(!is_map);
            }
            in_both_phases.set((maps, reduces));
        });
    }
    let (maps, reduces) = in_both_phases.get();
    let is_by_one_seed = std::env::var_os("SEED").is_some();
    assert!(
        is_by_one_seed || maps > 0 && reduces > 0,
        "{maps} died in maps, {reduces} in reduces"
    );
}
