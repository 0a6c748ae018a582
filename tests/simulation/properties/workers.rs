//! Workers that fail, leave, or have their tasks taken from them.

use super::super::ledger::{Job, Ledger, Step, Task};
use super::super::snapshot::{Snapshot, TaskState, texts};
use super::{Verdict, is_idle_or_given_up, require};
use serde_json::Value;

/// Equal is still healthy; who was never heard from is timed from this check on.
pub fn failed_iff_silent_longer_than_timeout(step: &Step) -> Verdict {
    if !step.did("check_failures") {
        return Ok(());
    }
    let number = |name: &str| i128::from(step.request[name].as_i64().unwrap_or_default());
    let (now, timeout_ms) = (number("now"), number("timeout_ms"));
    let silent = step.ledger.workers.iter().filter(|worker| {
        !worker.untimed
            && worker
                .last_heartbeat
                .is_some_and(|last| now - i128::from(last) > timeout_ms)
    });
    let silent: Vec<&String> = silent.map(|worker| &worker.id).collect();
    let reported = texts(&step.reply["failed_workers"]).unwrap_or_default();
    require(reported.iter().eq(silent.iter().copied()), || {
        format!("{silent:?} were silent for too long")
    })
}

/// The workers that fail or leave by this message.
fn failing(step: &Step) -> Vec<String> {
    if step.did("remove_worker") {
        vec![step.says("worker_id")]
    } else if step.did("check_failures") {
        texts(&step.reply["failed_workers"]).unwrap_or_default()
    } else {
        vec![]
    }
}

/// Its live attempts end, and a task without any is queued again or given up; nobody else's are touched.
pub fn what_a_failed_worker_held_is_lost_and_nothing_else(step: &Step) -> Verdict {
    if !(step.did("check_failures") || step.did("remove_worker")) {
        return Ok(());
    }
    let failing = failing(step);
    for (task, before, after) in step.tasks() {
        let left: Vec<&String> = before
            .workers
            .iter()
            .filter(|worker| !failing.contains(worker))
            .collect();
        let is_right = if before.state != TaskState::Running || step.fails_its_job(&task.job_id) {
            true
        } else if left.is_empty() {
            is_idle_or_given_up(after)
        } else {
            after.state == TaskState::Running && after.workers.iter().eq(left)
        };
        require(is_right, || {
            format!("{:?} was {before:?}, and is {after:?}", task.id)
        })?;
    }
    Ok(())
}

/// Only map outputs on the worker's own disk, and only while a reduce may still have to read them.
pub fn an_output_is_lost_only_with_its_worker_and_only_if_needed(step: &Step) -> Verdict {
    if !(step.did("check_failures") || step.did("remove_worker")) {
        return Ok(());
    }
    let failing = failing(step);
    for (task, before, after) in step.tasks() {
        let Some((winner, _)) = &before.winner else {
            continue;
        };
        let is_lost =
            failing.contains(winner) && lives_on_its_worker(step.ledger, step.before, task);
        let is_right = if step.fails_its_job(&task.job_id) {
            true
        } else if is_lost {
            is_idle_or_given_up(after) && after.losses == before.losses
        } else {
            before == after
        };
        require(is_right, || {
            format!("{:?} was {before:?}, and is {after:?}", task.id)
        })?;
    }
    Ok(())
}

fn lives_on_its_worker(ledger: &Ledger, seen: &Snapshot, task: &Task) -> bool {
    let reduces = seen
        .jobs
        .get(&*task.job_id)
        .map_or([0; 6], |job| job.reduces);
    let is_on_disk = ledger
        .job(&task.job_id)
        .is_some_and(|job: &Job| !job.shared_output);
    task.is_map() && is_on_disk && reduces[0] + reduces[1] > 0
}

/// An attempt is lost with its worker or by `reassign`, and by nothing else. What its worker had fetched is a loss
/// of the task. (Of a job that fails by it, some attempts may be withdrawn instead.)
pub fn a_lost_attempt_counts_once(step: &Step) -> Verdict {
    let may_lose = ["check_failures", "remove_worker", "reassign"]
        .iter()
        .any(|kind| step.did(kind))
        || step.ledger.is_restart(step.request);
    let growth = step.growth(|status| &status["attempts"]["lost"]);
    if step.did("fail_task") {
        // A reduce that lost no inputs by its report is lost itself.
        return require((0..=1).contains(&growth), || {
            "one attempt can be lost by this".to_owned()
        });
    }
    if !may_lose {
        return require(growth == 0, || "no attempt can be lost by this".to_owned());
    }
    let taken_in = step.ledger.tasks.len() - step.tasks().count();
    let mut lost = i64::try_from(taken_in).unwrap_or(i64::MAX);
    let mut withdrawn = 0;
    // What it held is lost, whatever it is handed by the same message.
    let restarted = step
        .ledger
        .is_restart(step.request)
        .then(|| step.says("worker_id"));
    for (task, before, after) in step.tasks() {
        let gone: Vec<&String> = before
            .workers
            .iter()
            .filter(|worker| !after.workers.contains(worker) || restarted.as_ref() == Some(worker))
            .collect();
        let was_fetched = |worker: &&&String| {
            task.last_given_to(worker)
                .is_some_and(|(_, attempt)| attempt.fetched)
        };
        let fetched = i64::try_from(gone.iter().filter(was_fetched).count()).unwrap_or(i64::MAX);
        let count = i64::try_from(gone.len()).unwrap_or(i64::MAX);
        if after.state == TaskState::Withdrawn && before.state != TaskState::Withdrawn {
            withdrawn += count;
        } else {
            lost += count;
            let losses = after.losses - before.losses;
            // A worker that leaves takes nothing down.
            let fetched = if step.did("remove_worker") {
                0
            } else {
                fetched
            };
            require(losses == fetched, || {
                format!(
                    "{:?} was lost {fetched} times by this, not {losses}",
                    task.id
                )
            })?;
        }
    }
    require((lost..=lost + withdrawn).contains(&growth), || {
        format!("{lost} attempts were lost by this, not {growth}")
    })
}

pub fn reassign_refuses_a_failed_worker(step: &Step) -> Verdict {
    if !step.is("reassign") || step.refusal() == Some(12) {
        return Ok(());
    }
    let healthy = step.says("healthy_worker");
    let has_failed = step
        .ledger
        .worker(&healthy)
        .is_some_and(|worker| worker.failed);
    let due = (has_failed || step.says("failed_worker") == healthy).then_some(22);
    require(step.refusal() == due, || {
        format!("the code should be {due:?}")
    })
}

/// Those asked for, but for the finished ones and those in work on a third worker; as one new attempt each, unless
/// one is live there. A task given up by the loss is not moved. (Of a job that ends by it, tasks moved before are withdrawn.)
pub fn reassigned_tasks_are_on_the_healthy_worker(step: &Step) -> Verdict {
    if !step.did("reassign") {
        return Ok(());
    }
    let healthy = step.says("healthy_worker");
    let mut moved = to_be_moved(step);
    let mut reported = texts(&step.reply["reassigned_tasks"]).unwrap_or_default();
    for list in [&mut moved, &mut reported] {
        list.retain(|id| {
            step.after(id)
                .is_some_and(|after| after.state != TaskState::Withdrawn)
        });
    }
    require(moved == reported, || {
        format!("{moved:?} should be reassigned")
    })?;
    for id in moved {
        let (before, Some(after)) = (step.before(&id), step.after(&id)) else {
            return Err(format!("{id:?} should be known"));
        };
        let was_there = before.is_some_and(|seen| seen.workers.contains(&healthy));
        let attempts = before.map_or(1, |seen| seen.attempts) + usize::from(!was_there);
        let is_moved = after.workers == [healthy.as_str()] && after.attempts == attempts;
        require(is_moved, || {
            format!("{id:?} should be on {healthy:?} as attempt {attempts}, and is {after:?}")
        })?;
    }
    Ok(())
}

pub fn reassign_leaves_the_others_alone(step: &Step) -> Verdict {
    if !step.did("reassign") {
        return Ok(());
    }
    let asked_for = to_be_moved(step);
    let failed = step.says("failed_worker");
    for (task, before, after) in step.tasks() {
        let may_change = asked_for.contains(&task.id)
            || before.workers.contains(&failed)
            || after.state.is_given_up()
            || step.fails_its_job(&task.job_id);
        require(may_change || before == after, || {
            format!("{:?} should not change", task.id)
        })?;
    }
    Ok(())
}

/// What a `reassign` moves.
fn to_be_moved(step: &Step) -> Vec<String> {
    let (failed, healthy) = (step.says("failed_worker"), step.says("healthy_worker"));
    let is_third = |worker: &String| *worker != failed && *worker != healthy;
    let is_movable = |id: &String| {
        let was_movable = step
            .before(id)
            .is_none_or(|seen| seen.state.is_unfinished() && !seen.workers.iter().any(is_third));
        was_movable && !step.after(id).is_some_and(|seen| seen.state.is_given_up())
    };
    asked_for(step, &failed)
        .into_iter()
        .filter(is_movable)
        .collect()
}

/// With `tasks`, those, each once; without, what is unfinished and was last given to the failed worker.
fn asked_for(step: &Step, failed: &str) -> Vec<String> {
    let mut ids: Vec<String> = vec![];
    match &step.request["tasks"] {
        Value::Array(tasks) => {
            for id in tasks.iter().filter_map(|task| task["id"].as_str()) {
                if !ids.iter().any(|earlier| earlier == id) {
                    ids.push(id.to_owned());
                }
            }
        }
        _ => {
            for (task, before, _) in step.tasks() {
                let was_last = task
                    .attempts
                    .last()
                    .is_some_and(|attempt| attempt.worker == failed);
                if before.state.is_unfinished() && was_last {
                    ids.push(task.id.clone());
                }
            }
        }
    }
    ids
}

/// No attempt, and no output that a reduce may still have to read.
pub fn a_failed_worker_holds_nothing(ledger: &Ledger, seen: &Snapshot) -> Verdict {
    let has_failed = |id: &String| ledger.worker(id).is_none_or(|worker| worker.failed);
    for task in &ledger.tasks {
        let Some(view) = seen.tasks.get(&*task.id) else {
            continue;
        };
        let holds_attempt = view.workers.iter().find(|worker| has_failed(worker));
        let holder = view
            .winner
            .as_ref()
            .map(|(worker, _)| worker)
            .filter(|worker| has_failed(worker));
        let holds_output = holder.filter(|_| lives_on_its_worker(ledger, seen, task));
        require(holds_attempt.or(holds_output).is_none(), || {
            format!("{:?} is held by a failed worker: {view:?}", task.id)
        })?;
    }
    Ok(())
}
