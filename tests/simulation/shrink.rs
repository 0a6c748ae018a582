//! Makes a failing conversation as short as it gets: leaves out whatever can be left out while the same law is broken.

use super::witness::Input;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// How far apart two messages may be that are left out together.
const PAIR_DISTANCE: usize = 12;

/// Has a conversation with a new master. Returns how many messages it took to break a law, and which.
pub type Have<'a> = dyn FnMut(&[Input]) -> Option<(usize, &'static str)> + 'a;

/// The messages that are enough to break that law, found within so many tries; nothing if the conversation does not
/// break it when it is had again.
pub fn shrink(
    conversation: &[Input],
    law: &str,
    most_tries: usize,
    have: &mut Have,
) -> Option<Vec<Input>> {
    let mut shrinker = Shrinker {
        kept: vec![],
        law,
        have,
        tries_left: most_tries,
    };
    if !shrinker.keep(conversation.to_vec()) {
        return None;
    }
    let mut size = usize::MAX;
    while shrinker.size() < size {
        size = shrinker.size();
        shrinker.drop_stretches();
        shrinker.drop_tasks();
        shrinker.drop_pairs();
        shrinker.drop_fields();
    }
    Some(shrinker.kept)
}

struct Shrinker<'a, 'b> {
    kept: Vec<Input>,
    law: &'a str,
    have: &'a mut Have<'b>,
    tries_left: usize,
}

impl Shrinker<'_, '_> {
    /// How much there is to read.
    fn size(&self) -> usize {
        self.kept.iter().map(|input| input.to_string().len()).sum()
    }

    /// Keeps a conversation up to the message that breaks the law, if it does.
    fn keep(&mut self, mut conversation: Vec<Input>) -> bool {
        if self.tries_left == 0 {
            return false;
        }
        self.tries_left -= 1;
        match (self.have)(&conversation) {
            Some((length, law)) if law == self.law => {
                conversation.truncate(length);
                self.kept = conversation;
                true
            }
            _ => false,
        }
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

    /// Leaves fields out of messages.
    fn drop_fields(&mut self) {
        for at in 0..self.kept.len() {
            let mut field = 0;
            while let Some(Some(shorter)) = self.kept.get(at).map(|it| without_field(it, field)) {
                let mut conversation = self.kept.clone();
                conversation[at] = shorter;
                field += usize::from(!self.keep(conversation));
            }
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
    // Written again, a message has its fields in another order: only where it must be.
    Some(is_submission.map_or_else(|| input.clone(), |()| Input::Message(message.to_string())))
}

fn body(message: &mut Value) -> &mut Value {
    if message.get("body").is_some() {
        &mut message["body"]
    } else {
        message
    }
}

/// A bare body without its field of that number; nothing if it has fewer.
fn without_field(input: &Input, number: usize) -> Option<Input> {
    let Input::Message(line) = input else {
        return None;
    };
    let mut fields = serde_json::Deserializer::from_str(line)
        .deserialize_map(InOrder)
        .ok()?;
    if number >= fields.len() {
        return None;
    }
    fields.remove(number);
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name:?}: {value}"))
        .collect();
    Some(Input::Message(format!("{{{}}}", fields.join(", "))))
}

/// Reads the fields of an object in their order.
struct InOrder;

impl<'a> Visitor<'a> for InOrder {
    type Value = Vec<(String, Box<RawValue>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = vec![];
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}
