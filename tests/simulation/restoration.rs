//! Snapshots of random conversations: a restored node goes on as the one that wrote it, and one that was forged is
//! refused, or does no harm.

use super::conversation::Speaker;
use super::random::Random;
use super::witness::Input;
use mapreduce_master::node::Node;
use mapreduce_master::service::Service;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

const CONVERSATIONS: u64 = 80;
const FORGERIES_OF_EACH: u64 = 16;
const SNAPSHOT: &str = r#"{"type": "snapshot"}"#;

#[derive(Deserialize)]
struct SnapshotOk {
    state: Box<RawValue>,
}

fn new_node(seed: u64) -> Node {
    let mut node = Node::from_service(Service::default(), true);
    // Every other node has a name, so that some of its replies are envelopes.
    if seed % 2 == 1 {
        answer(&mut node, r#"{"type": "init", "node_id": "n\u00e9\"1"}"#);
    }
    node
}

/// The whole output after one line of input.
fn answer(node: &mut Node, line: &str) -> String {
    node.feed(line.as_bytes());
    node.feed(b"\n");
    while node.answer_some() {}
    node.log.clear();
    String::from_utf8(std::mem::take(&mut node.replies)).expect("replies are UTF-8")
}

fn state(node: &mut Node) -> String {
    let reply = answer(node, SNAPSHOT);
    let snapshot: SnapshotOk = serde_json::from_str(&reply).expect("it is a snapshot_ok");
    snapshot.state.get().to_owned()
}

fn restored(state: &str) -> Option<Node> {
    Some(Node::from_service(Service::restore(state).ok()?, true))
}

/// Has the next part of a conversation with a node. Returns each line with its output.
fn talk(node: &mut Node, speaker: &mut Speaker, messages: usize) -> Vec<(String, String)> {
    let mut said = vec![];
    for _ in 0..messages {
        let (Input::Message(line) | Input::Noise(line)) = speaker.speak() else {
            continue;
        };
        let reply = answer(node, &line);
        speaker.hear(&reply, handed_out(&line, &reply).into_iter().collect());
        said.push((line, reply));
    }
    said
}

/// The worker, task and attempt of a `task_assigned`.
fn handed_out(request: &str, reply: &str) -> Option<(String, String, i64)> {
    let body = |text: &str| {
        let message: Value = serde_json::from_str(&text.replace("\\ud83d", "")).ok()?;
        Some(message.get("body").unwrap_or(&message).clone())
    };
    let (request, reply) = (body(request)?, body(reply)?);
    Some((
        request["worker_id"].as_str()?.to_owned(),
        reply["task"]["id"].as_str()?.to_owned(),
        reply["task"]["attempt"].as_i64()?,
    ))
}

#[test]
fn restored_node_gives_the_same_replies_and_the_same_snapshots() {
    for seed in 0..CONVERSATIONS {
        let mut speaker = Speaker::draw(seed, false);
        let mut node = new_node(seed);
        let half = speaker.messages / 2;
        talk(&mut node, &mut speaker, half);
        let written = state(&mut node);
        let mut copy = restored(&written).unwrap_or_else(|| panic!("seed {seed}: {written}"));
        assert_eq!(state(&mut copy), state(&mut node), "seed {seed}");
        for (line, reply) in talk(&mut node, &mut speaker, half) {
            assert_eq!(answer(&mut copy, &line), reply, "seed {seed}: {line}");
        }
        assert_eq!(state(&mut copy), state(&mut node), "seed {seed}");
    }
}

#[test]
fn forged_state_is_refused_or_harmless() {
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..CONVERSATIONS {
        let mut speaker = Speaker::draw(seed, false);
        let mut node = new_node(seed);
        let half = speaker.messages / 2;
        talk(&mut node, &mut speaker, half);
        let right: Value = serde_json::from_str(&state(&mut node)).expect("a state is JSON");
        let mut rest = talk(&mut node, &mut speaker, half.min(30));
        let questions = ["list_workers", "list_jobs", "status", "snapshot"];
        for kind in questions {
            let line = json!({ "type": kind }).to_string();
            rest.push((line, "a reply".to_owned()));
        }
        let mut random = Random::new(seed);
        for forgery in 0..FORGERIES_OF_EACH {
            let mut forged = right.clone();
            for _ in 0..=random.below(3) {
                forge(&mut forged, &mut random);
            }
            let forged = forged.to_string();
            let had = catch_unwind(AssertUnwindSafe(|| {
                let mut node = restored(&forged)?;
                for (line, reply) in &rest {
                    let lines = answer(&mut node, line).matches('\n').count();
                    assert_eq!(lines, usize::from(!reply.is_empty()), "{line}");
                }
                // What it writes itself can be restored.
                assert!(restored(&state(&mut node)).is_some());
                Some(())
            }));
            match had {
                Ok(Some(())) => accepted += 1,
                Ok(None) => refused += 1,
                Err(_) => {
                    for (line, _) in &rest {
                        eprintln!("{line}");
                    }
                    panic!("seed {seed}, forgery {forgery}: the state is\n{forged}");
                }
            }
        }
    }
    assert!(refused > 100 && accepted > 100, "{refused}, {accepted}");
}

/// Changes something in a state.
fn forge(state: &mut Value, random: &mut Random) {
    let mut pointers = vec![];
    list_pointers(state, String::new(), &mut pointers);
    let (at, from) = (random.pick(&pointers), random.pick(&pointers));
    let other = state.pointer(from).cloned().unwrap_or_default();
    let Some(value) = state.pointer_mut(at) else {
        return;
    };
    match value {
        Value::Null => *value = json!(1),
        Value::Bool(is) => *is = !*is,
        Value::Number(number) => {
            let near = number.as_i64().unwrap_or_default();
            let numbers = [
                json!(0),
                json!(1),
                json!(-1),
                json!(near.wrapping_add(1)),
                json!(near.wrapping_sub(1)),
                json!(1_i64 << 53),
                json!(1_i64 << 59),
                json!((1_i64 << 60) + 1),
                json!(i64::MIN),
                json!(i64::MAX),
                json!(u64::MAX),
                Value::Null,
                other,
            ];
            *value = random.pick(&numbers).clone();
        }
        Value::String(_) => {
            let texts = ["", "[\n1]", "w1", "a0", "a-reduce-0", "\"\\ud83d\"", "{"];
            *value = if other.is_string() {
                other
            } else {
                json!(random.pick(&texts))
            };
        }
        Value::Array(list) if !list.is_empty() => {
            let (one, another) = (random.below(list.len()), random.below(list.len()));
            match random.below(3) {
                0 => list.swap(one, another),
                1 => list.insert(another, list[one].clone()),
                _ => _ = list.remove(one),
            }
        }
        Value::Array(list) => list.push(other),
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            if !names.is_empty() {
                let name = random.pick(&names);
                if random.per_mille(500) {
                    fields.remove(name);
                } else {
                    fields.insert(name.clone(), other);
                }
            }
        }
    }
}

/// Where everything in a value is, as JSON pointers.
fn list_pointers(value: &Value, at: String, pointers: &mut Vec<String>) {
    match value {
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                list_pointers(value, format!("{at}/{place}"), pointers);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                list_pointers(value, format!("{at}/{name}"), pointers);
            }
        }
        _ => {}
    }
    pointers.push(at);
}
