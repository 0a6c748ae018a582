//! A failing conversation, made as short as it gets: whatever can be left out while the same law is still broken.

use super::witness::{Input, Violation, Witness};
use serde_json::Value;

/// How often a conversation is had again, at most.
const MOST_TRIES: usize = 10_000;

/// How far apart two messages may be that are left out together.
const PAIR_DISTANCE: usize = 12;

/// The messages that are enough to break that law, and how they break it.
pub fn shrink(
    conversation: &[Input],
    law: &str,
    with_oracle: bool,
) -> Option<(Witness, Violation)> {
    let mut shrinker = Shrinker {
        kept: vec![],
        law,
        with_oracle,
        tries: 0,
    };
    if !shrinker.keep(conversation.to_vec()) {
        return None;
    }
    let mut length = usize::MAX;
    while shrinker.kept.len() < length {
        length = shrinker.kept.len();
        shrinker.drop_stretches();
        shrinker.drop_tasks();
        shrinker.drop_pairs();
    }
    let (witness, violation) = have(&shrinker.kept, with_oracle);
    Some((witness, violation?))
}

struct Shrinker<'a> {
    kept: Vec<Input>,
    law: &'a str,
    with_oracle: bool,
    tries: usize,
}

impl Shrinker<'_> {
    /// Keeps a conversation up to the message that breaks the law, if it does.
    fn keep(&mut self, mut conversation: Vec<Input>) -> bool {
        self.tries += 1;
        if self.tries > MOST_TRIES {
            return false;
        }
        let (witness, violation) = have(&conversation, self.with_oracle);
        let is_broken = violation.is_some_and(|violation| violation.law == self.law);
        if is_broken {
            conversation.truncate(witness.transcript.len());
            self.kept = conversation;
        }
        is_broken
    }

    /// Leaves out stretches of messages, long ones first, from the end.
    fn drop_stretches(&mut self) {
        let mut size = self.kept.len().div_ceil(2);
        while size > 0 {
            let mut end = self.kept.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                self.keep([&self.kept[..start], &self.kept[end..]].concat());
                end = start.min(self.kept.len());
            }
            size /= 2;
        }
    }

    /// Leaves out two messages at once: what hands out a task, and what takes its result.
    fn drop_pairs(&mut self) {
        let mut first = 0;
        while first < self.kept.len() {
            let mut seconds = first + 1..self.kept.len().min(first + PAIR_DISTANCE);
            let is_shorter = seconds.any(|second| {
                let kept = &self.kept;
                self.keep(
                    [
                        &kept[..first],
                        &kept[first + 1..second],
                        &kept[second + 1..],
                    ]
                    .concat(),
                )
            });
            first += usize::from(!is_shorter);
        }
    }

    /// Leaves tasks out of the jobs, and what is said of them.
    fn drop_tasks(&mut self) {
        let tasks: Vec<Value> = self.kept.iter().flat_map(submitted).collect();
        for task in tasks {
            let without = self
                .kept
                .iter()
                .filter_map(|input| without_task(input, &task));
            let without = without.collect();
            self.keep(without);
        }
    }
}

/// The ids of the tasks that a message submits.
fn submitted(input: &Input) -> Vec<Value> {
    let Input::Message(line) = input else {
        return vec![];
    };
    let mut message: Value = serde_json::from_str(line).unwrap_or_default();
    let tasks = body(&mut message)["tasks"].as_array().into_iter().flatten();
    tasks.map(|task| task["id"].clone()).collect()
}

/// The message without that task; nothing if it is about that task.
fn without_task(input: &Input, task: &Value) -> Option<Input> {
    let Input::Message(line) = input else {
        return Some(input.clone());
    };
    let mut message: Value = serde_json::from_str(line).ok()?;
    let body = body(&mut message);
    if body["task_id"] == *task {
        return None;
    }
    let is_submission = body["tasks"]
        .as_array_mut()
        .map(|tasks| tasks.retain(|each| each["id"] != *task));
    // Written anew, a message has its fields in another order: only where it must be.
    Some(is_submission.map_or_else(|| input.clone(), |()| Input::Message(message.to_string())))
}

fn body(message: &mut Value) -> &mut Value {
    if message.get("body").is_some() {
        &mut message["body"]
    } else {
        message
    }
}

/// Has a conversation with a new master, up to the first law that is broken.
fn have(conversation: &[Input], with_oracle: bool) -> (Witness, Option<Violation>) {
    let mut witness = Witness::new(with_oracle);
    for input in conversation {
        if let Err(violation) = witness.say(input.clone()) {
            return (witness, Some(violation));
        }
    }
    (witness, None)
}
