//! Writes a story as a page: one HTML file with all that it needs.

use super::sha256::base64_digest;
use super::story::{End, Failure, FailureKind, JobEnd, Source, Story};
use crate::master::{Kind, LossCause};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::io::{self, Write};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "'use strict';\n",
    include_str!("data.js"),
    include_str!("draw.js"),
    include_str!("page.js")
);

/// Longer ids and errors are truncated on the page. They come from clients and can be up to 64 MiB long.
const MAX_ID_CHARS: usize = 200;
const MAX_ERROR_CHARS: usize = 2000;

/// Up to this many times at which workers were heard from are drawn one by one.
const MAX_HEARD: usize = 400_000;

/// Writes the page. Errors: `output` fails.
pub fn write_page(story: &Story, mut output: impl Write) -> io::Result<()> {
    // Only the page's own script and style run, and nothing is fetched from anywhere.
    let policy = format!(
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; \
         script-src 'sha256-{}'; style-src 'sha256-{}'",
        base64_digest(SCRIPT),
        base64_digest(STYLE)
    );
    // No text in it can end the `script` element that contains it.
    let data = data(story).to_string().replace('<', "\\u003c");
    let mut rest = HTML;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or_default();
        output.write_all(before.as_bytes())?;
        output.write_all(match name {
            "policy" => policy.as_bytes(),
            "style" => STYLE.as_bytes(),
            "story" => data.as_bytes(),
            _ => SCRIPT.as_bytes(),
        })?;
        rest = after;
    }
    output.write_all(rest.as_bytes())?;
    output.flush()
}

/// At most `max_chars` characters of a text, then its length.
pub(super) fn truncate(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => text.into(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()).into(),
    }
}

fn id(text: &str) -> Cow<'_, str> {
    truncate(text, MAX_ID_CHARS)
}

/// What the page's script reads, with all times from the origin on.
// One list of all that the script reads.
#[allow(clippy::too_many_lines)]
fn data(story: &Story) -> Value {
    let (from, to) = story.span();
    let since = |at: i64| number(i128::from(at) - i128::from(story.origin));
    let maybe = |at: Option<i64>| at.map_or(Value::Null, since);
    let (heard_every, heard) = thin_out(story);

    let jobs: Vec<Value> = story.jobs.iter().map(|job| {
        let error = job.failure.as_ref().map(|(task, error)| format!("task {}: {}", id(task), truncate(error, MAX_ERROR_CHARS)));
        json!({
            "id": id(&job.id),
            "submitted": since(job.submitted),
            "ended": maybe(job.ended.map(|(at, _)| at)),
            "state": job.ended.map_or("running", |(_, end)| job_end_name(end)),
            "barrier": job.barriers.iter().map(|barrier| [since(barrier.opened), maybe(barrier.closed)]).collect::<Vec<_>>(),
            "maps": job.map_tasks,
            "reduces": job.reduce_tasks,
            "map": job.maps,
            "reduce": job.reduces,
            "error": error,
        })
    }).collect();
    let workers: Vec<Value> = story.workers.iter().zip(heard).map(|(worker, heard)| {
        let mut before = story.origin;
        let steps: Vec<Value> = heard.into_iter().map(|at| {
            let step = i128::from(at) - i128::from(before);
            before = at;
            number(step)
        }).collect();
        json!({
            "id": id(&worker.id),
            "joined": since(worker.joined),
            "removed": maybe(worker.removed),
            "heard": steps,
            "failures": worker.failures.iter().map(|each| failure(story, each)).collect::<Vec<_>>(),
        })
    }).collect();

    let all = &story.attempts;
    let column = |value: &dyn Fn(usize) -> Value| Value::Array((0..all.len()).map(value).collect());
    let mut extras = Map::new();
    for (index, attempt) in all.iter().enumerate() {
        let mut extra = Map::new();
        if let Some(error) = &attempt.error {
            extra.insert("why".into(), truncate(error, MAX_ERROR_CHARS).into());
        } else if let Some((_, End::Lost(cause))) = attempt.ended {
            extra.insert("why".into(), loss_reason(cause).into());
        }
        if let Some((_, End::Superseded(Some(winner)))) = attempt.ended {
            extra.insert("winner".into(), winner.into());
        }
        if !attempt.dropped.is_empty() {
            extra.insert(
                "dropped".into(),
                attempt.dropped.iter().map(|at| since(*at)).collect(),
            );
        }
        if let Some(at) = attempt.output_lost {
            extra.insert("outputLost".into(), json!({"at": since(at), "why": "before all reduces had read it; the task ran again"}));
        }
        if let Some(interruption) = attempt.interrupted {
            extra.insert(
                "interrupted".into(),
                json!({"at": since(interruption.at), "how": end_name(Some(interruption.end))}),
            );
        }
        if !extra.is_empty() {
            extras.insert(index.to_string(), extra.into());
        }
    }
    let backups: Vec<Value> = all
        .iter()
        .enumerate()
        .filter_map(|(index, attempt)| {
            let backup = attempt.backup?;
            Some(json!({
                "attempt": index,
                "beside": backup.slow,
                "won": matches!(attempt.ended, Some((_, End::Accepted))),
                "cost": number(story.run_ms(index, to)),
                "saved": story.saved_ms(index).map(number),
            }))
        })
        .collect();
    json!({
        "source": match story.source { Source::Journal => "journal", Source::Conversation => "conversation" },
        "notes": story.notes,
        "origin": story.origin.to_string(),
        "from": since(from),
        "to": since(to),
        "heardEvery": heard_every,
        "jobs": jobs,
        "workers": workers,
        "tasks": {
            "id": story.tasks.iter().map(|task| id(&task.id)).collect::<Vec<_>>(),
            "job": story.tasks.iter().map(|task| task.job).collect::<Vec<_>>(),
            "reduce": story.tasks.iter().map(|task| u8::from(task.kind == Kind::Reduce)).collect::<Vec<_>>(),
            "state": story.tasks.iter().map(|task| task.state.name()).collect::<Vec<_>>(),
        },
        "attempts": {
            "task": column(&|index| all[index].task.into()),
            "number": column(&|index| all[index].number.into()),
            "worker": column(&|index| all[index].worker.into()),
            "lane": column(&|index| all[index].lane.into()),
            "start": column(&|index| since(all[index].start())),
            "fetch": column(&|index| maybe(all[index].fetched)),
            "end": column(&|index| maybe(all[index].ended.map(|(at, _)| at))),
            "how": column(&|index| end_code(all[index].ended.map(|(_, end)| end)).into()),
            "backup": column(&|index| u8::from(all[index].backup.is_some()).into()),
        },
        "extras": extras,
        "waits": {
            "reduce": story.waits.iter().map(|wait| u8::from(wait.kind == Kind::Reduce)).collect::<Vec<_>>(),
            "tasks": story.waits.iter().map(|wait| wait.tasks).collect::<Vec<_>>(),
            "from": story.waits.iter().map(|wait| since(wait.from)).collect::<Vec<_>>(),
            "to": story.waits.iter().map(|wait| maybe(wait.to)).collect::<Vec<_>>(),
        },
        "backups": backups,
        "recoveries": story.recoveries.iter().map(|at| since(*at)).collect::<Vec<_>>(),
        "numbers": numbers(story),
    })
}

/// An integer as JSON. A script reads it as a double; so does this where it has to.
#[allow(clippy::cast_precision_loss)]
fn number(ms: i128) -> Value {
    i64::try_from(ms).map_or_else(|_| (ms as f64).into(), Value::from)
}

fn failure(story: &Story, failure: &Failure) -> Value {
    let since = |at: i128| number(at - i128::from(story.origin));
    let (kind, silent, timeout) = match failure.kind {
        FailureKind::Check {
            silent_ms,
            timeout_ms,
        } => ("check", silent_ms, timeout_ms),
        FailureKind::Restart => ("restart", 0, 0),
        FailureKind::Removal => ("removal", 0, 0),
        FailureKind::Reassignment => ("reassign", 0, 0),
    };
    json!({
        "kind": kind,
        "at": since(failure.at.into()),
        "silentFrom": since(i128::from(failure.at) - silent),
        "silent": number(silent),
        "timeout": timeout,
        "back": failure.back.map(|at| since(at.into())),
        "attempts": failure.attempts,
        "outputs": failure.outputs,
        "cost": number(story.cost_ms(failure)),
    })
}

fn numbers(story: &Story) -> Value {
    let count = &story.numbers;
    let (lost, saved) = (&count.lost_ms, &count.saved);
    let ended = |end| {
        story
            .jobs
            .iter()
            .filter(|job| job.ended.map(|(_, end)| end) == end)
            .count()
    };
    json!({
        "workers": {"healthy": count.healthy_workers, "failed": count.failed_workers},
        "jobs": {"running": ended(None), "completed": ended(Some(JobEnd::Completed)), "failed": ended(Some(JobEnd::Failed))},
        "attempts": {"started": count.started, "completed": count.completed, "failed": count.failed, "lost": count.lost, "speculative": count.speculative},
        "duplicates_dropped": count.duplicates_dropped,
        "lost": {
            "lost": number(lost.with_workers), "outputs": number(lost.outputs), "failed": number(lost.failed),
            "timedOut": number(lost.timed_out), "inputsMissing": number(lost.inputs_missing),
            "total": number(lost.total()), "ran": number(count.ran_ms),
        },
        "backups": {
            "won": saved.won, "cost": number(saved.cost_ms), "saved": number(saved.saved_ms), "known": saved.known,
            "unknown": saved.unknown, "most": number(saved.most_ms),
        },
    })
}

/// When each worker was heard from, and the resolution in ms. Of times closer together than that, only the first and the
/// last before a longer gap are kept.
fn thin_out(story: &Story) -> (u64, Vec<Vec<i64>>) {
    let mut every = 1;
    loop {
        let heard: Vec<Vec<i64>> = story
            .workers
            .iter()
            .map(|worker| thin(&worker.heard, every))
            .collect();
        if heard.iter().map(Vec::len).sum::<usize>() <= MAX_HEARD.max(2 * heard.len())
            || every > u64::MAX / 2
        {
            return (every, heard);
        }
        every *= 2;
    }
}

fn thin(times: &[i64], every: u64) -> Vec<i64> {
    let mut kept: Vec<i64> = Vec::new();
    for (index, at) in times.iter().enumerate() {
        let is_far = |from: i64, to: i64| from.abs_diff(to) >= every;
        if kept.last().is_none_or(|last| is_far(*last, *at))
            || times.get(index + 1).is_none_or(|next| is_far(*at, *next))
        {
            kept.push(*at);
        }
    }
    kept.dedup();
    kept
}

pub(super) fn job_end_name(end: JobEnd) -> &'static str {
    match end {
        JobEnd::Completed => "completed",
        JobEnd::Failed => "failed",
        JobEnd::Removed => "removed",
    }
}

/// The names of ends, by the codes that the script knows them by.
const END_NAMES: [&str; 8] = [
    "running",
    "accepted",
    "superseded",
    "failed",
    "inputs missing",
    "timed out",
    "lost",
    "withdrawn",
];

fn end_code(end: Option<End>) -> usize {
    match end {
        None => 0,
        Some(End::Accepted) => 1,
        Some(End::Superseded(_)) => 2,
        Some(End::Failed) => 3,
        Some(End::InputsMissing) => 4,
        Some(End::TimedOut) => 5,
        Some(End::Lost(_)) => 6,
        Some(End::Withdrawn) => 7,
    }
}

pub(super) fn end_name(end: Option<End>) -> &'static str {
    END_NAMES[end_code(end)]
}

fn loss_reason(cause: LossCause) -> &'static str {
    match cause {
        LossCause::Failure => "a check found that its worker had failed",
        LossCause::Restart => "its worker was restarted",
        LossCause::Removal => "its worker was removed",
        LossCause::Reassignment => "its task was reassigned to another worker",
        LossCause::StaleInputs => "its inputs were gone, and had been run again since",
    }
}
