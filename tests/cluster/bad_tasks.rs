//! Tasks that nobody can run, that kill their workers, or whose outputs are gone.

use super::harness::Scenario;
use super::monitor::Checks;
use super::outcome::Attempts;
use super::worker::{Behaviour, Restart, Then, When};
use crate::{ONCE_EACH, TASKS, run, with_healthy};
use serde_json::{Value, json};

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

/// One of the maps kills every worker that fetches it; the workers come back. (Not after a `remove_worker`: what a
/// removed worker ran is not counted as a loss.)
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
    for how in [Restart::NewId, Restart::SameIdNextIncarnation] {
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
