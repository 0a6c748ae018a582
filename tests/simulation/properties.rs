//! The laws that every answer of the master obeys, whatever was said before. Each is checked from outside, after
//! every message, on what was asked and answered and on what could be seen of the master before and after.
//!
//! They do not know the model. A law is about one message, so that it can be read on its own; what spans messages
//! (who was given what, who waits in which order) is in the [`Ledger`](super::ledger::Ledger).

mod assignment;
mod jobs;
mod results;
mod workers;

use super::ledger::{Ledger, Step, seen, text};
use super::snapshot::{Snapshot, TaskState, TaskView};
use serde_json::Value;

/// The names of laws are the names of their functions.
macro_rules! laws {
    ($($file:ident::$law:ident,)*) => { &[$((stringify!($law), $file::$law)),*] };
}

/// What is wrong, in words.
pub type Verdict = Result<(), String>;

type LawOfChange = fn(&Step) -> Verdict;
type LawOfState = fn(&Ledger, &Snapshot) -> Verdict;

/// Laws about one message: how the state after it follows from the one before.
pub const LAWS_OF_CHANGE: &[(&str, LawOfChange)] = laws![
    workers::failed_iff_silent_longer_than_timeout,
    workers::what_a_failed_worker_held_is_lost_and_nothing_else,
    workers::an_output_is_lost_only_with_its_worker_and_only_if_needed,
    workers::a_lost_attempt_counts_once,
    workers::reassigned_tasks_are_on_the_healthy_worker,
    workers::reassign_leaves_the_others_alone,
    workers::reassign_refuses_a_failed_worker,
    assignment::no_task_is_ever_lost,
    assignment::a_worker_gets_again_what_it_does_not_run,
    assignment::first_come_first_out,
    assignment::a_backup_goes_to_another_worker,
    assignment::nothing_is_handed_out_twice,
    assignment::an_attempt_number_means_one_attempt,
    assignment::a_task_is_handed_out_as_it_was_submitted,
    assignment::a_reduce_reads_the_winning_outputs_of_all_maps,
    assignment::cancelled_iff_no_result_could_be_accepted,
    assignment::done_iff_no_job_is_unfinished,
    assignment::straggler_iff_running_for_too_long,
    results::refused_iff_unknown_or_never_given,
    results::the_first_result_is_accepted,
    results::at_most_one_result_is_accepted,
    results::a_failure_ends_a_live_attempt_and_nothing_else,
    results::a_reported_output_is_lost_once,
    results::one_bad_worker_never_fails_a_job,
    jobs::a_job_is_submitted_once,
    jobs::a_removed_job_is_forgotten,
    jobs::what_only_asks_changes_nothing,
    jobs::attempts_only_grow,
    jobs::counters_count_what_happened,
];

/// Laws about the state between two messages.
pub const LAWS_OF_STATE: &[(&str, LawOfState)] = laws![
    jobs::a_task_has_one_state,
    jobs::a_task_is_given_up_at_its_limits,
    jobs::a_job_skips_as_many_tasks_as_it_may,
    jobs::a_job_ends_with_its_tasks,
    jobs::counters_add_up,
    workers::a_failed_worker_holds_nothing,
];

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Step<'_> {
    fn is(&self, kind: &str) -> bool {
        self.request["type"] == kind
    }

    /// A request of that type that was done.
    fn did(&self, kind: &str) -> bool {
        self.is(kind) && self.refusal().is_none()
    }

    /// The code of an error.
    fn refusal(&self) -> Option<i64> {
        (self.reply["type"] == "error").then(|| self.reply["code"].as_i64().unwrap_or(-1))
    }

    fn says(&self, name: &str) -> String {
        text(self.request, name)
    }

    fn before(&self, task: &str) -> Option<&TaskView> {
        seen(self.before, task)
    }

    fn after(&self, task: &str) -> Option<&TaskView> {
        seen(self.after, task)
    }

    /// The tasks that were there before and are there after, in task order, each with what was seen of it.
    fn tasks(&self) -> impl Iterator<Item = (&super::ledger::Task, &TaskView, &TaskView)> {
        self.ledger
            .tasks
            .iter()
            .filter_map(|task| Some((task, self.before(&task.id)?, self.after(&task.id)?)))
    }

    /// By how much a counter of `status` has grown.
    fn growth(&self, of: impl Fn(&Value) -> &Value) -> i64 {
        let count = |seen: &Snapshot| of(&seen.status).as_i64().unwrap_or(-1);
        count(self.after) - count(self.before)
    }

    /// Whether the job of a task has failed by this message.
    fn fails_its_job(&self, job_id: &str) -> bool {
        let is_running =
            |seen: &Snapshot| seen.jobs.get(job_id).is_some_and(|job| job.is_running());
        is_running(self.before) && !is_running(self.after)
    }
}

/// What becomes of a task whose last live attempt has ended: it waits, or it is at its limits.
fn is_idle_or_given_up(task: &TaskView) -> bool {
    task.state == TaskState::Idle || task.state.is_given_up()
}
