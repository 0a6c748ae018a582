//! Jobs as a whole, and what holds for every task at any time.

use super::super::ledger::{Job, Ledger, Step, Task};
use super::super::snapshot::{Snapshot, TaskState, TaskView};
use super::{Verdict, require};
use serde_json::{Value, json};

/// The same again answers the same; another one under the same name, or with the name of a task that is there, is refused.
pub fn a_job_is_submitted_once(step: &Step) -> Verdict {
    if !step.is("submit_job") || step.refusal() == Some(12) {
        return Ok(());
    }
    let id = step.says("job_id");
    let tasks = step.request["tasks"].as_array().map_or(0, Vec::len);
    let reduces = step.request["reduce_tasks"].as_i64().unwrap_or(0);
    let reply =
        json!({"type": "job_submitted", "job_id": id, "map_tasks": tasks, "reduce_tasks": reduces});
    let is_confirmed = reply
        .as_object()
        .into_iter()
        .flatten()
        .all(|(name, value)| step.reply[name] == *value);
    match step.before.jobs.contains_key(&*id) {
        true if step
            .ledger
            .job(&id)
            .is_some_and(|job| job.is_as_submitted(step.request)) =>
        {
            require(is_confirmed && step.before == step.after, || {
                "this is the same job again".to_owned()
            })
        }
        true => require(step.refusal() == Some(21), || {
            "this is another job of that name".to_owned()
        }),
        false if step.refusal() == Some(21) => Ok(()),
        false => {
            let mut new = step
                .ledger
                .tasks_of(&id)
                .filter_map(|task| step.after(&task.id));
            let is_fresh = new.all(|task| task.attempts == 0 && task.state == TaskState::Idle);
            require(is_confirmed && is_fresh, || "this is a new job".to_owned())
        }
    }
}

pub fn a_removed_job_is_forgotten(step: &Step) -> Verdict {
    if !step.is("remove_job") || step.refusal() == Some(12) {
        return Ok(());
    }
    let due = (!step.before.jobs.contains_key(&*step.says("job_id"))).then_some(20);
    require(step.refusal() == due, || {
        format!("the code should be {due:?}")
    })?;
    let others = step.tasks().all(|(_, before, after)| before == after);
    require(others, || "tasks of other jobs have changed".to_owned())
}

/// Questions, heartbeats, and whatever is refused.
pub fn what_only_asks_changes_nothing(step: &Step) -> Verdict {
    let asks = [
        "init",
        "heartbeat",
        "check_stragglers",
        "job_status",
        "task_status",
        "status",
    ];
    // A worker that was started again has lost what it ran, and what runs for too long times out.
    let ends_attempts = step.ledger.is_restart(step.request) || step.reply["timed_out"].is_array();
    let counters = |seen: &Snapshot| {
        (
            seen.status["attempts"].clone(),
            seen.status["duplicates_dropped"].clone(),
        )
    };
    if step.refusal().is_some() {
        return require(step.before == step.after, || {
            "it is refused, and has changed something".to_owned()
        });
    }
    let is_same = || {
        step.before.tasks == step.after.tasks
            && step.before.jobs == step.after.jobs
            && counters(step.before) == counters(step.after)
    };
    let only_asks = asks.iter().any(|kind| step.is(kind)) && !ends_attempts;
    require(!only_asks || is_same(), || {
        "it only asks, and has changed something".to_owned()
    })
}

pub fn attempts_only_grow(step: &Step) -> Verdict {
    for (task, before, after) in step.tasks() {
        let grows = before.attempts <= after.attempts
            && after.attempts <= before.attempts + 1
            && before.failures <= after.failures
            && before.losses <= after.losses;
        require(grows, || {
            format!("{:?} was {before:?}, and is {after:?}", task.id)
        })?;
    }
    Ok(())
}

/// Each counter grows by what this message was answered with.
pub fn counters_count_what_happened(step: &Step) -> Verdict {
    let failures: i64 = step
        .tasks()
        .map(|(_, before, after)| after.failures - before.failures)
        .sum();
    // A failure may be one that does not count for its task, and still ends an attempt.
    let failed_attempts = if step.did("check_stragglers") {
        step.growth(|status| &status["attempts"]["failed"])
            .max(failures)
    } else {
        i64::from(super::results::is_failure(step))
    };
    let was = |field: &str, value: bool| {
        i64::from(step.did("complete_task") && step.reply[field] == value)
    };
    let task = step.says("task_id");
    let was_unfinished = step
        .before(&task)
        .is_some_and(|seen| seen.state.is_unfinished());
    let handed = step.reply["task"]["id"].as_str().unwrap_or_default();
    let is_backup = step.did("request_task")
        && step
            .before(handed)
            .zip(step.after(handed))
            .is_some_and(|(before, after)| {
                // The other attempt is live still.
                after.workers.len() > 1 && after.attempts > before.attempts
            });
    let attempts = |name: &'static str| step.growth(move |status| &status["attempts"][name]);
    let expected = [
        ("failed", attempts("failed"), failed_attempts),
        (
            "completed",
            attempts("completed"),
            was("accepted", true) * i64::from(was_unfinished),
        ),
        ("speculative", attempts("speculative"), i64::from(is_backup)),
        (
            "duplicates_dropped",
            step.growth(|status| &status["duplicates_dropped"]),
            was("accepted", false),
        ),
    ];
    for (name, growth, expected) in expected {
        require(growth == expected, || {
            format!("{name} should grow by {expected}, not {growth}")
        })?;
    }
    Ok(())
}

pub fn a_task_has_one_state(ledger: &Ledger, seen: &Snapshot) -> Verdict {
    for task in &ledger.tasks {
        let Some(view) = seen.tasks.get(&*task.id) else {
            return Err(format!("{:?} is not known", task.id));
        };
        let live = match &view.workers[..] {
            [] => 0,
            [one, other] if one == other => {
                return Err(format!("{:?} is on one worker twice", task.id));
            }
            workers => workers.len(),
        };
        let is_one = match view.state {
            TaskState::Running => (1..=2).contains(&live) && view.winner.is_none(),
            TaskState::Completed => live == 0 && view.winner.is_some(),
            _ => live == 0 && view.winner.is_none(),
        };
        require(is_one, || {
            format!("{:?} is in several states: {view:?}", task.id)
        })?;
    }
    Ok(())
}

/// Neither earlier nor later: an idle task is below its limits, one given up is not.
pub fn a_task_is_given_up_at_its_limits(ledger: &Ledger, seen: &Snapshot) -> Verdict {
    for job in &ledger.jobs {
        for (task, view) in tasks_of(job, ledger, seen) {
            let is_at_limits = view.failures >= job.max_failures || view.losses >= job.max_losses;
            let is_right = match view.state {
                TaskState::Idle => !is_at_limits,
                TaskState::Skipped | TaskState::Failed => is_at_limits,
                _ => true,
            };
            require(is_right, || {
                format!(
                    "{:?} should be given up at its limits, and only there: {view:?}",
                    task.id
                )
            })?;
        }
    }
    Ok(())
}

/// Of the tasks given up, so many are skipped as may be; a job fails by the next one, and by no more than that.
pub fn a_job_skips_as_many_tasks_as_it_may(ledger: &Ledger, seen: &Snapshot) -> Verdict {
    for job in &ledger.jobs {
        let count = |state: TaskState| {
            let tasks = tasks_of(job, ledger, seen).filter(|(_, view)| view.state == state);
            i64::try_from(tasks.count()).unwrap_or(i64::MAX)
        };
        let (skipped, failed) = (count(TaskState::Skipped), count(TaskState::Failed));
        let is_right = skipped <= job.max_skipped
            && (failed == 0 || failed == 1 && skipped == job.max_skipped);
        require(is_right, || {
            format!(
                "{skipped} tasks of {:?} are skipped, and {failed} failed",
                job.id
            )
        })?;
    }
    Ok(())
}

fn tasks_of<'a>(
    job: &'a Job,
    ledger: &'a Ledger,
    seen: &'a Snapshot,
) -> impl Iterator<Item = (&'a Task, &'a TaskView)> {
    ledger
        .tasks_of(&job.id)
        .filter_map(|task| Some((task, &**seen.tasks.get(&*task.id)?)))
}

/// What a job says of itself is what its tasks say; it runs while one of them does, and its outputs are theirs.
pub fn a_job_ends_with_its_tasks(ledger: &Ledger, seen: &Snapshot) -> Verdict {
    for job in &ledger.jobs {
        let Some(view) = seen.jobs.get(&*job.id) else {
            return Err(format!("job {:?} is not known", job.id));
        };
        let tasks: Vec<_> = tasks_of(job, ledger, seen).collect();
        let counts = |maps: bool| {
            let states = [
                TaskState::Idle,
                TaskState::Running,
                TaskState::Completed,
                TaskState::Skipped,
                TaskState::Failed,
                TaskState::Withdrawn,
            ];
            states.map(|state| {
                let of = tasks
                    .iter()
                    .filter(|(task, view)| task.is_map() == maps && view.state == state);
                i64::try_from(of.count()).unwrap_or(i64::MAX)
            })
        };
        require(
            view.maps == counts(true) && view.reduces == counts(false),
            || format!("job {:?} miscounts its tasks: {view:?}", job.id),
        )?;

        let is_unfinished = tasks.iter().any(|(_, view)| view.state.is_unfinished());
        let failed = tasks
            .iter()
            .find(|(_, view)| view.state == TaskState::Failed)
            .map(|(task, _)| &task.id);
        let has_failed = failed.is_some();
        require(view.failed_task.as_ref() == failed, || {
            format!("job {:?} should name {failed:?}", job.id)
        })?;
        let state = if has_failed {
            "failed"
        } else if is_unfinished {
            "running"
        } else {
            "completed"
        };
        require(view.state == state && view.has_error == has_failed, || {
            format!("job {:?} should be {state}: {view:?}", job.id)
        })?;
        require(!(is_unfinished && has_failed), || {
            format!("job {:?} has failed, and has unfinished tasks", job.id)
        })?;

        let decide = |maps: bool| tasks.iter().filter(move |(task, _)| task.is_map() == maps);
        let outputs = decide(job.partitions == 0).map(|(_, view)| view.output.clone());
        let outputs: Option<Vec<Value>> = (state == "completed").then(|| outputs.collect());
        require(view.outputs == outputs, || {
            format!("the outputs of job {:?} are not those of its tasks", job.id)
        })?;
        let skipped = tasks
            .iter()
            .filter(|(_, view)| view.state == TaskState::Skipped)
            .map(|(task, _)| &task.id);
        require(view.skipped.iter().eq(skipped), || {
            format!("job {:?} lists other tasks as skipped", job.id)
        })?;
    }
    Ok(())
}

pub fn counters_add_up(ledger: &Ledger, seen: &Snapshot) -> Verdict {
    let attempts: usize = seen.tasks.values().map(|task| task.attempts).sum();
    let started = ledger.attempts_removed + i64::try_from(attempts).unwrap_or(i64::MAX);
    let failed = ledger.workers.iter().filter(|worker| worker.failed).count();
    let jobs = |state: &str| seen.jobs.values().filter(|job| job.state == state).count();
    let due = [
        (
            "attempts started",
            &seen.status["attempts"]["started"],
            json!(started),
        ),
        (
            "workers",
            &seen.status["workers"],
            json!({"healthy": ledger.workers.len() - failed, "failed": failed}),
        ),
        (
            "jobs",
            &seen.status["jobs"],
            json!({"running": jobs("running"), "completed": jobs("completed"), "failed": jobs("failed")}),
        ),
    ];
    for (what, is, due) in due {
        require(*is == due, || format!("{what} should be {due}, not {is}"))?;
    }
    Ok(())
}
