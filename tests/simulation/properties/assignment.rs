//! Who is handed what: `request_task` and `check_stragglers`.

use super::super::ledger::{Step, Task};
use super::super::snapshot::{TaskState, texts};
use super::{Verdict, require};
use serde_json::Value;

/// What a request for a task may be answered with.
#[derive(Debug, PartialEq)]
enum Due<'s> {
    Again(&'s str, i64),
    /// Those in the queue that come first: all but the last may be passed over.
    Queued(Vec<(&'s str, i64)>),
    /// The same of the backups, where the queue has nothing that may not be passed over.
    Backup(Vec<(&'s str, i64)>),
    Nothing,
}

fn running(step: &Step) -> Vec<String> {
    texts(&step.request["running"]).unwrap_or_default()
}

/// Whether a worker need not be handed this task: it has a history of it, and somebody else is there; or it has failed
/// attempts of its job. For how long, and who else could take it, is for the model to say.
fn may_be_passed_over(step: &Step, task: &Task, worker: &str) -> bool {
    let may_be_excluded = step
        .ledger
        .job(&task.job_id)
        .is_some_and(|job| job.failed_by.contains(worker));
    let has_history = task.history.contains(worker) && step.ledger.has_another_healthy(worker);
    may_be_excluded || has_history
}

fn due<'s>(step: &'s Step) -> Due<'s> {
    let (worker, running) = (step.says("worker_id"), running(step));
    let ledger = step.ledger;
    if ledger.is_restart(step.request) {
        // What waits then is not what was seen before.
        return match handed(step) {
            Some((task, number)) => Due::Queued(vec![(task, number)]),
            None => Due::Nothing,
        };
    }
    let may_have =
        |task: &&Task| !running.contains(&task.id) && !task.is_behind_barrier(step.before);
    let has = |task: &Task| {
        step.before(&task.id)
            .is_some_and(|seen| seen.workers.contains(&worker))
    };
    let state = |task: &Task| step.before(&task.id).map(|seen| seen.state);

    let assigned = ledger
        .tasks
        .iter()
        .filter(may_have)
        .filter(|task| has(task));
    let assigned = assigned.filter_map(|task| Some((task, task.last_given_to(&worker)?)));
    if let Some((task, (number, _))) = assigned.min_by_key(|(_, (_, attempt))| attempt.assigned) {
        return Due::Again(&task.id, number);
    }
    // Up to the first that may not be passed over.
    let first = |tasks: Vec<&'s Task>| {
        let is_next = |task: &&&Task| !may_be_passed_over(step, task, &worker);
        let next = tasks.iter().position(|task| is_next(&task));
        let count = next.map_or(tasks.len(), |next| next + 1);
        let tasks = tasks[..count].iter();
        let tasks: Vec<_> = tasks.map(|task| (&*task.id, task.next_number())).collect();
        (tasks, next.is_some())
    };
    let again = ledger.line.iter().filter_map(|id| ledger.task(id));
    let fresh = ledger
        .tasks
        .iter()
        .filter(|task| task.attempts.is_empty() && state(task) == Some(TaskState::Idle));
    let (queued, is_certain) = first(again.chain(fresh).filter(may_have).collect());
    let is_handed = |tasks: &[(&str, i64)]| handed(step).is_some_and(|it| tasks.contains(&it));
    if is_certain || is_handed(&queued) {
        return Due::Queued(queued);
    }
    let stragglers = ledger.backups.iter().filter_map(|id| ledger.task(id));
    let stragglers = stragglers.filter(|task| may_have(task) && !has(task));
    let (backups, is_certain) = first(stragglers.collect());
    if is_certain || is_handed(&backups) {
        Due::Backup(backups)
    } else {
        Due::Nothing
    }
}

/// What the request was answered with: a task and the number of its attempt.
fn handed<'s>(step: &'s Step) -> Option<(&'s str, i64)> {
    let task = &step.reply["task"];
    task["id"].as_str().zip(task["attempt"].as_i64())
}

/// Whoever asks gets a task while one waits that it may have.
pub fn no_task_is_ever_lost(step: &Step) -> Verdict {
    if !step.did("request_task") {
        return Ok(());
    }
    let is_there = |due: &Due| *due == Due::Nothing;
    let due = due(step);
    require(handed(step).is_some() || is_there(&due), || {
        format!("nothing is handed out, and there is {due:?}")
    })
}

/// A reply that was lost, or a reassigned task: the same attempt, oldest first.
pub fn a_worker_gets_again_what_it_does_not_run(step: &Step) -> Verdict {
    match (step.did("request_task"), due(step)) {
        (true, Due::Again(task, number)) => require(handed(step) == Some((task, number)), || {
            format!("{task:?} attempt {number} is its own, and it is not handed that")
        }),
        _ => Ok(()),
    }
}

/// Queued again before never handed out, in the order in which they came, as a new attempt.
pub fn first_come_first_out(step: &Step) -> Verdict {
    match (step.did("request_task"), due(step)) {
        (true, Due::Queued(next)) => {
            let is_handed = handed(step).is_some_and(|it| next.contains(&it));
            require(is_handed, || {
                format!("{next:?} are next, and it is not handed one of them")
            })
        }
        _ => Ok(()),
    }
}

pub fn a_backup_goes_to_another_worker(step: &Step) -> Verdict {
    match (step.did("request_task"), due(step)) {
        (true, Due::Backup(next)) => {
            let is_handed = handed(step).is_some_and(|it| next.contains(&it));
            require(is_handed, || {
                format!("backups of {next:?} wait, and it is not handed one of them")
            })
        }
        _ => Ok(()),
    }
}

/// Nothing else is ever handed out: no finished task, no reduce behind the barrier, no second copy that
/// nobody asked for.
pub fn nothing_is_handed_out_twice(step: &Step) -> Verdict {
    let is_due = !step.did("request_task") || due(step) != Due::Nothing;
    require(is_due || handed(step).is_none(), || {
        "there is nothing to be handed out".to_owned()
    })
}

/// Not even of two jobs that have the same tasks, one after the other: a late report is never taken for another's.
pub fn an_attempt_number_means_one_attempt(step: &Step) -> Verdict {
    let Some((id, number)) = handed(step) else {
        return Ok(());
    };
    let serial = step.ledger.task(id).map(|task| task.serial);
    let now = (step.says("worker_id"), serial.unwrap_or_default());
    let earlier = step.ledger.handed_out.get(&(id.to_owned(), number));
    require(earlier.is_none_or(|earlier| *earlier == now), || {
        format!("attempt {number} of {id:?} was another one before: {earlier:?}, not {now:?}")
    })
}

pub fn a_task_is_handed_out_as_it_was_submitted(step: &Step) -> Verdict {
    let given = &step.reply["task"];
    let Some((id, _)) = handed(step) else {
        return Ok(());
    };
    let Some(task) = step.ledger.task(id) else {
        return Err(format!("there is no task {id:?}"));
    };
    let partitions = step.ledger.job(&task.job_id).map(|job| job.partitions);
    let is_as_submitted = given["job_id"] == *task.job_id
        && match &task.chunk {
            Some(chunk) => {
                given["kind"] == "map"
                    && given["chunk"] == *chunk
                    && given["partitions"] == serde_json::json!(partitions)
            }
            None => given["kind"] == "reduce" && given["partition"] == task.partition,
        };
    require(is_as_submitted, || {
        format!("this is not {id:?} as it was submitted")
    })
}

/// In the order of the maps, with the attempt that won and the worker it won on; the skipped ones left out.
pub fn a_reduce_reads_the_winning_outputs_of_all_maps(step: &Step) -> Verdict {
    let given = &step.reply["task"];
    let Some(reduce) = handed(step)
        .and_then(|(id, _)| step.ledger.task(id))
        .filter(|task| !task.is_map())
    else {
        return Ok(());
    };
    let maps = step
        .ledger
        .tasks_of(&reduce.job_id)
        .filter(|task| task.is_map());
    let mut inputs: Vec<Value> = vec![];
    for map in maps {
        // By the loss of what a restarted worker held, this very request may have skipped a map.
        match step.after(&map.id) {
            Some(seen) if seen.state == TaskState::Skipped => {}
            Some(seen) if seen.state == TaskState::Completed => {
                let (worker, attempt) = seen.winner.clone().unwrap_or_default();
                inputs.push(serde_json::json!({
                    "task_id": map.id, "attempt": attempt, "worker_id": worker, "output": seen.output[reduce.partition],
                }));
            }
            _ => return Err(format!("map {:?} is not finished", map.id)),
        }
    }
    require(given["inputs"] == Value::from(inputs.clone()), || {
        format!("the inputs should be {}", Value::from(inputs))
    })
}

/// Unknown, given up, withdrawn, never given to it, or completed by another.
pub fn cancelled_iff_no_result_could_be_accepted(step: &Step) -> Verdict {
    if !(step.did("request_task") || step.did("heartbeat")) {
        return Ok(());
    }
    let worker = step.says("worker_id");
    let is_in_vain = |id: &String| {
        let (Some(task), Some(seen)) = (step.ledger.task(id), step.after(id)) else {
            return true;
        };
        // By this very request, it may be given one.
        let is_given = handed(step).is_some_and(|(handed, _)| handed == id);
        let latest = task.given_to(&worker, seen).last();
        let was_given = is_given || latest.is_some();
        let has_timed_out = !is_given && latest.is_some_and(|(_, attempt)| attempt.timed_out);
        match (seen.state, &seen.winner) {
            (state, _) if state.is_unfinished() => !was_given || has_timed_out,
            (TaskState::Completed, Some((winner, _))) => *winner != worker,
            _ => true,
        }
    };
    let mut in_vain: Vec<String> = vec![];
    for id in running(step).into_iter().filter(is_in_vain) {
        if !in_vain.contains(&id) {
            in_vain.push(id);
        }
    }
    let cancelled = texts(&step.reply["cancel"]).unwrap_or_default();
    require(cancelled == in_vain, || {
        format!("{in_vain:?} should be cancelled")
    })
}

pub fn done_iff_no_job_is_unfinished(step: &Step) -> Verdict {
    if !step.did("request_task") || step.reply["type"] != "no_task" {
        return Ok(());
    }
    let is_done = step.ledger.ever_a_job && !step.after.jobs.values().any(|job| job.is_running());
    require(step.reply["done"] == is_done, || {
        format!("done is {is_done}")
    })
}

/// One live attempt, fetched longer ago than allowed: than `slow_after_ms`, or than 1.5 times the median of its kind.
pub fn straggler_iff_running_for_too_long(step: &Step) -> Verdict {
    if !step.did("check_stragglers") {
        return Ok(());
    }
    // What times out by the same check is no straggler any more, or has one attempt less.
    if step.reply["timed_out"].is_array() {
        return Ok(());
    }
    let now_ms = step.request["now"].as_i64().unwrap_or_default();
    let now = i128::from(now_ms);
    let mut slow: Vec<&str> = vec![];
    for task in &step.ledger.tasks {
        let Some([only]) = step.before(&task.id).map(|seen| &seen.workers[..]) else {
            continue;
        };
        let Some(from) = task
            .last_given_to(only)
            .and_then(|(_, attempt)| step.ledger.runs_from(attempt, now_ms))
        else {
            continue;
        };
        let ran_for = now - i128::from(from);
        let min_run_ms = step.request["min_run_ms"].as_i64().unwrap_or(100);
        let is_slow = match step.request["slow_after_ms"].as_i64() {
            Some(slow_after_ms) => ran_for > i128::from(slow_after_ms),
            None => {
                ran_for > i128::from(min_run_ms)
                    && twice_the_median(step, task).is_some_and(|twice| 4 * ran_for > 3 * twice)
            }
        };
        slow.extend(is_slow.then_some(&*task.id));
    }
    let reported = texts(&step.reply["tasks"]).unwrap_or_default();
    require(reported == slow, || format!("{slow:?} are slow"))
}

/// Of the run times of the completed tasks of that kind in that job, once 75% are completed.
fn twice_the_median(step: &Step, of: &Task) -> Option<i128> {
    let kin: Vec<&Task> = step
        .ledger
        .tasks_of(&of.job_id)
        .filter(|task| task.is_map() == of.is_map())
        .collect();
    let winners = kin
        .iter()
        .filter_map(|task| Some((task, step.before(&task.id)?.winner.as_ref()?.1)));
    let winners: Vec<_> = winners.collect();
    if winners.len() * 4 < kin.len() * 3 {
        return None;
    }
    let mut run_times: Vec<i128> = winners
        .into_iter()
        .filter_map(|(task, number)| {
            let (_, winner) = task.numbered().find(|(known, _)| *known == number)?;
            Some(i128::from(task.completed_at) - i128::from(winner.fetched_at?))
        })
        .collect();
    run_times.sort_unstable();
    let upper = run_times.get(run_times.len() / 2)?;
    let lower = run_times.get((run_times.len() - 1) / 2)?;
    Some(lower + upper)
}
