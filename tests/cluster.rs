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

use client::Checks;
use harness::Scenario;
use network::Faults;
use outcome::{Attempts, Outcome};
use serde_json::{Value, json};
use std::cell::Cell;
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

struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed by SEED={}", self.0);
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
        assert_eq!(outcome.attempts().lost, 1);
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
fn workers_that_crash_at_random_and_restart_lose_no_word() {
    let in_both_phases = Cell::new((0, 0));
    for how in [Restart::SameId, Restart::SameIdAfterRemoval, Restart::NewId] {
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
    assert!(
        maps > 0 && reduces > 0,
        "{maps} died in maps, {reduces} in reduces"
    );
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

/// All workers report an error for one of the maps, whoever runs it.
fn failing_map(options: Value) -> Scenario {
    let behaviour = Behaviour::with(When::Task("map-3"), Then::Fail("cannot parse the record"));
    Scenario {
        options,
        workers: vec![behaviour; 4],
        ..Scenario::default()
    }
}

#[test]
fn a_map_that_always_fails_fails_its_job_with_its_error() {
    run(&failing_map(json!({})), 2, |outcome| {
        assert_eq!(outcome.job["state"], "failed");
        assert_eq!(outcome.job["error"], "cannot parse the record");
        assert_eq!(outcome.tasks["map-3"]["state"], "failed");
        assert_eq!(outcome.tasks["map-3"]["failures"], 4);
        assert_eq!(outcome.tasks["map-3"]["attempts"], 4);
        assert_eq!(outcome.attempts().failed, 4);
        assert_eq!(outcome.tasks["words-reduce-0"]["state"], "withdrawn");
        assert_eq!(outcome.tasks["words-reduce-0"]["attempts"], 0);
    });
}

#[test]
fn a_map_that_always_fails_is_skipped_where_the_job_allows_it() {
    let options = json!({"max_skipped": 1, "max_failures": 2});
    run(&failing_map(options), 2, |outcome| {
        outcome.assert_counts_are_right();
        assert_eq!(outcome.skipped(), ["map-3"]);
        let expected = Attempts {
            started: TASKS + 1,
            completed: TASKS - 1,
            failed: 2,
            ..ONCE_EACH
        };
        assert_eq!(outcome.attempts(), expected);
    });
}

/// One of the maps kills every worker that fetches it; the workers come back.
fn poisonous_map(how: Restart, options: Value) -> Scenario {
    let then = Then::DieAndRestart {
        after_ms: 1_000,
        how,
    };
    Scenario {
        options,
        workers: vec![Behaviour::with(When::Task("map-3"), then); 4],
        checks: Checks::WITHOUT_BACKUPS,
        ..Scenario::default()
    }
}

#[test]
fn a_map_that_kills_its_workers_fails_its_job() {
    let scenario = poisonous_map(Restart::NewId, json!({"max_losses": 3}));
    run(&scenario, 2, |outcome| {
        assert_eq!(outcome.job["state"], "failed");
        let error = outcome.job["error"]
            .as_str()
            .expect("a failed job has an error");
        assert!(
            error.contains("map-3") && error.contains("lost 3 times"),
            "{error}"
        );
        assert_eq!(outcome.tasks["map-3"]["losses"], 3);
        assert_eq!(outcome.tasks["map-3"]["failures"], 0);
        assert_eq!(outcome.died_with(), ["map-3"; 3]);
    });
}

#[test]
fn a_map_that_kills_its_workers_is_skipped_where_the_job_allows_it() {
    for how in [Restart::NewId, Restart::SameIdAfterRemoval] {
        let options = json!({"max_losses": 3, "max_skipped": 1});
        run(&poisonous_map(how, options), 2, |outcome| {
            outcome.assert_counts_are_right();
            assert_eq!(outcome.skipped(), ["map-3"]);
            assert_eq!(outcome.died_with(), ["map-3"; 3]);
        });
    }
}

#[test]
fn a_map_output_that_cannot_be_read_is_made_again() {
    let scenario = Scenario {
        workers: with_healthy(Behaviour::with(When::AcceptedMaps(2), Then::LoseOutput)),
        ..Scenario::default()
    };
    run(&scenario, 2, |outcome| {
        outcome.assert_counts_are_right();
        let lost = outcome.fetched_by("w1")[1];
        assert_eq!(outcome.tasks[lost]["attempts"], 2);
        assert_eq!(outcome.tasks[lost]["losses"], 1);
        for (id, task) in &outcome.tasks {
            if id.starts_with("map") && id != lost {
                assert_eq!(task["attempts"], 1, "{id}");
            }
            // What a reduce cannot read is not held against it.
            assert_eq!(task["failures"], 0, "{id}");
        }
        assert_eq!(outcome.attempts().failed, 0);
        assert!(outcome.could_not_read(lost));
    });
}

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

#[test]
fn a_tenth_of_all_messages_lost_and_repeated_changes_no_count() {
    for map_output in ["worker", "shared"] {
        run(
            &lossy(10, map_output, 1),
            3,
            Outcome::assert_counts_are_right,
        );
    }
}

#[test]
fn nine_tenths_of_all_messages_lost_and_repeated_change_no_count() {
    for map_output in ["worker", "shared"] {
        run(
            &lossy(90, map_output, 1),
            1,
            Outcome::assert_counts_are_right,
        );
    }
}

#[test]
fn several_tasks_at_once_and_half_of_all_messages_lost_and_repeated_change_no_count() {
    run(&lossy(50, "worker", 3), 2, Outcome::assert_counts_are_right);
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
    run(&scenario, 4, Outcome::assert_counts_are_right);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = lossy(30, "worker", 2);
    run(&scenario, 1, |outcome| {
        let again = scenario.run(1);
        assert_eq!(outcome.seen, again.seen);
        assert_eq!(outcome.ended_at, again.ended_at);
        assert_eq!(outcome.status, again.status);
    });
}
