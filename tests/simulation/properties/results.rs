//! What comes back from workers: `complete_task` and `fail_task`.

use super::super::ledger::{Step, Task, text};
use super::super::snapshot::TaskState;
use super::{Verdict, is_idle_or_given_up, require};

fn attempt(step: &Step) -> i64 {
    step.request["attempt"].as_i64().unwrap_or_default()
}

fn reported<'s>(step: &'s Step) -> Option<&'s Task> {
    step.ledger.task(&step.says("task_id"))
}

pub fn refused_iff_unknown_or_never_given(step: &Step) -> Verdict {
    // What is malformed is refused before anyone looks at the attempt.
    if !(step.is("complete_task") || step.is("fail_task")) || step.refusal() == Some(12) {
        return Ok(());
    }
    let due = match reported(step) {
        None => Some(20),
        Some(task) => {
            let worker = step.says("worker_id");
            let is_given = step.before(&task.id).is_some_and(|seen| {
                let mut given = task.given_to(&worker, seen);
                given.any(|(number, _)| number == attempt(step))
            });
            (!is_given).then_some(22)
        }
    };
    require(step.refusal() == due, || {
        format!("the code should be {due:?}")
    })
}

/// The first result counts, whichever attempt it is from; so does the first after an output was lost.
pub fn the_first_result_is_accepted(step: &Step) -> Verdict {
    let task = step.says("task_id");
    let (Some(before), Some(after), true) = (
        step.before(&task),
        step.after(&task),
        step.did("complete_task"),
    ) else {
        return Ok(());
    };
    if !before.state.is_unfinished() || step.reply["type"] == "task_failed" {
        return Ok(());
    }
    let winner = Some((step.says("worker_id"), attempt(step)));
    let is_accepted = step.reply["accepted"] == true && after.state == TaskState::Completed;
    require(
        is_accepted && after.winner == winner && after.output == step.request["output"],
        || format!("this is the first result of {task:?}, and does not become its output"),
    )
}

/// Any later result is dropped, and changes nothing; only the winner's own repeat is told that it won.
pub fn at_most_one_result_is_accepted(step: &Step) -> Verdict {
    let id = step.says("task_id");
    let (Some(before), Some(after), true) =
        (step.before(&id), step.after(&id), step.did("complete_task"))
    else {
        return Ok(());
    };
    if before.state.is_unfinished() || step.reply["type"] == "task_failed" {
        return Ok(());
    }
    let won = before
        .winner
        .as_ref()
        .is_some_and(|(_, winner)| *winner == attempt(step));
    require(step.reply["accepted"] == won && before == after, || {
        format!(
            "{id:?} was {:?}, and accepted should be {won}",
            before.state
        )
    })
}

/// Whether the attempt reported on was live, on the worker that reports.
fn was_live(step: &Step, task: &Task) -> bool {
    let worker = step.says("worker_id");
    let last = task.last_given_to(&worker).map(|(number, _)| number);
    let is_held = step
        .before(&task.id)
        .is_some_and(|seen| seen.workers.contains(&worker));
    is_held && last == Some(attempt(step))
}

fn names_inputs(step: &Step) -> bool {
    step.request["lost_inputs"]
        .as_array()
        .is_some_and(|inputs| !inputs.is_empty())
}

/// Whether it ends an attempt as failed.
pub fn is_failure(step: &Step) -> bool {
    let is_answered_so = step.reply["type"] == "task_failed";
    let was_live = reported(step).is_some_and(|task| was_live(step, task));
    is_answered_so && was_live && !names_inputs(step)
}

pub fn a_failure_ends_a_live_attempt_and_nothing_else(step: &Step) -> Verdict {
    let Some(task) = reported(step).filter(|_| step.did("fail_task")) else {
        return Ok(());
    };
    let (Some(before), Some(after)) = (step.before(&task.id), step.after(&task.id)) else {
        return Ok(());
    };
    require(step.reply["retry"] == after.state.is_unfinished(), || {
        "retry is not as it is".to_owned()
    })?;
    if !was_live(step, task) {
        return require(step.before.tasks == step.after.tasks, || {
            "the attempt was not live".to_owned()
        });
    }
    // A worker that fails a task again, which others could run, says nothing new.
    let repeats = task.failed_on.contains(&step.says("worker_id"));
    let failures = after.failures - before.failures;
    let is_counted = match (names_inputs(step), repeats) {
        (true, _) => failures == 0,
        (false, true) => (0..=1).contains(&failures),
        (false, false) => failures == 1,
    };
    require(is_counted, || "failures are miscounted".to_owned())?;
    let worker = step.says("worker_id");
    let others: Vec<&String> = before
        .workers
        .iter()
        .filter(|other| **other != worker)
        .collect();
    let is_ended = match others[..] {
        [] => is_idle_or_given_up(after) || after.state == TaskState::Withdrawn,
        _ => after.workers.iter().eq(others) || step.fails_its_job(&task.job_id),
    };
    require(is_ended, || {
        format!(
            "{:?} should be without that attempt, and queued again or given up if it was the last",
            task.id
        )
    })
}

/// Those whose winner is still that attempt are lost; the others, and those of other workers, are spared.
pub fn a_reported_output_is_lost_once(step: &Step) -> Verdict {
    let Some(reduce) = reported(step).filter(|task| step.did("fail_task") && was_live(step, task))
    else {
        return Ok(());
    };
    let listed = || step.request["lost_inputs"].as_array().into_iter().flatten();
    for (task, before, after) in step.tasks().filter(|(task, ..)| task.id != reduce.id) {
        let winner = before.winner.as_ref().map(|(_, attempt)| *attempt);
        let is_lost = winner.is_some()
            && listed().any(|input| {
                text(input, "task_id") == task.id && input["attempt"].as_i64() == winner
            });
        let holds = if is_lost && !step.fails_its_job(&task.job_id) {
            is_idle_or_given_up(after) && after.losses == before.losses + 1
        } else {
            before == after || step.fails_its_job(&task.job_id)
        };
        require(holds, || {
            format!("{:?} was {before:?}, and is {after:?}", task.id)
        })?;
    }
    Ok(())
}

/// A worker that fails a task again and again, which others could run, brings it no nearer to its limit.
pub fn one_bad_worker_never_fails_a_job(step: &Step) -> Verdict {
    let Some(task) = reported(step).filter(|_| is_failure(step)) else {
        return Ok(());
    };
    let (Some(job), Some(before)) = (step.ledger.job(&task.job_id), step.before(&task.id)) else {
        return Ok(());
    };
    let bad = step.says("worker_id");
    let could_take = |other: &super::super::ledger::Worker| {
        other.id != bad
            && !other.failed
            && other.has_asked
            && !job.failed_by.contains(&other.id)
            && !task.history.contains(&other.id)
            && !before.workers.contains(&other.id)
    };
    let is_repeated = task.failed_on.contains(&bad) && before.failures < job.max_failures;
    let is_somebody_there = step.ledger.workers.iter().any(could_take);
    let has_failed = step
        .after(&task.id)
        .is_some_and(|after| after.state.is_given_up());
    let by_losses = before.losses >= job.max_losses;
    require(
        !(is_repeated && is_somebody_there && has_failed) || by_losses,
        || {
            format!(
                "{bad:?} fails {:?} again, others could run it, and it is given up",
                task.id
            )
        },
    )
}
