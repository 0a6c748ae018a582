//! Asks the binary which fields each type of request has: what a field that is wrong or missing does to a request that
//! is otherwise right.

use crate::BINARY;
use crate::contract::Messages;
use crate::schema::{Field, Schema, Shape};
use serde_json::{Map, Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::thread;

/// Fields of the envelope, and those that a request has whatever its type.
pub const ENVELOPE: [&str; 6] = ["src", "dest", "body", "type", "msg_id", "in_reply_to"];

/// Fields that hold any JSON (section 6, opaque JSON).
const OPAQUE: [&str; 2] = ["chunk", "output"];

/// What a request should be answered with.
enum Expected {
    /// Error 12, whose text names this field.
    Malformed(String),
    /// Anything but error 12.
    Read,
}

struct Probe {
    about: String,
    request: Value,
    expected: Expected,
}

/// Sends requests of each type, with every field as it should be and as it should not be, and every other field that
/// the code knows. Returns what is wrong with the answers.
pub fn probe(requests: &Messages, known_fields: &[String]) -> Vec<String> {
    let mut probes = Vec::new();
    for (name, schema) in requests {
        let right = right_object(name, schema);
        let request = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut fields = right.clone();
            change(&mut fields);
            fields.insert("type".into(), json!(name));
            Value::Object(fields)
        };
        probes.push(Probe {
            about: format!("{name}: the protocol's fields are not accepted"),
            request: request(&|_| ()),
            expected: Expected::Read,
        });
        for field in &schema.0 {
            let about =
                |what: &str| format!("{name}: `{}` is in src/protocol.md, but {what}", field.name);
            let malformed = || Expected::Malformed(field.name.clone());
            for wrong in wrong_values(name, field) {
                probes.push(Probe {
                    about: about(&format!("the code accepts {wrong}")),
                    request: request(&|fields| {
                        fields.insert(field.name.clone(), wrong.clone());
                    }),
                    expected: malformed(),
                });
            }
            probes.push(Probe {
                about: about("the code does not agree on whether it may be left out"),
                request: request(&|fields| _ = fields.remove(&field.name)),
                expected: if field.is_optional {
                    Expected::Read
                } else {
                    malformed()
                },
            });
        }
        for field in known_fields {
            if schema.field(field).is_none() && !ENVELOPE.contains(&field.as_str()) {
                probes.push(Probe {
                    about: format!(
                        "{name}: the code reads `{field}`, which is not in src/protocol.md"
                    ),
                    request: request(&|fields| _ = fields.insert(field.clone(), json!(true))),
                    expected: Expected::Read,
                });
            }
        }
    }
    assert!(probes.len() > 100, "there is something to ask");
    let replies = replies(&probes);
    (probes.iter().zip(replies))
        .filter(|(probe, reply)| {
            let text = reply["text"].as_str().unwrap_or_default();
            match &probe.expected {
                Expected::Malformed(field) => reply["code"] != 12 || !text.contains(field.as_str()),
                Expected::Read => reply["code"] == 12,
            }
        })
        .map(|(probe, reply)| format!("{}\n    {}\n    {reply}", probe.about, probe.request))
        .collect()
}

/// The reply to each request.
fn replies(probes: &[Probe]) -> Vec<Value> {
    let mut master = Command::new(BINARY)
        .arg("--quiet")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = master.stdin.take().expect("it has a stdin");
    let stdout = master.stdout.take().expect("it has a stdout");
    let reader = thread::spawn(move || {
        let lines = BufReader::new(stdout).lines();
        let replies = lines.map(|line| {
            serde_json::from_str(&line.expect("it writes text")).expect("it writes JSON")
        });
        replies.collect::<Vec<Value>>()
    });
    for probe in probes {
        writeln!(stdin, "{}", probe.request).expect("it reads on");
    }
    drop(stdin);
    let replies = reader.join().expect("its replies can be read");
    assert!(master.wait().expect("it ends").success());
    assert_eq!(replies.len(), probes.len(), "every request has a reply");
    replies
}

/// An object with every field as it should be. Requests of different types have different ids, so that none depends on
/// another one.
fn right_object(request: &str, schema: &Schema) -> Map<String, Value> {
    let fields = schema.0.iter();
    fields
        .map(|field| (field.name.clone(), right_value(request, field)))
        .collect()
}

fn right_value(request: &str, field: &Field) -> Value {
    let name = field.name.as_str();
    match &field.shape {
        Shape::Any if is_integer(name) => json!(1),
        Shape::Any if name == "map_output" => json!("shared"),
        Shape::Any if name == "node_ids" => json!(["n1", "n2"]),
        Shape::Any => json!(format!("{request}-{name}")),
        Shape::OneOf(values) => json!(values[0]),
        Shape::Object(inner) => Value::Object(right_object(request, inner)),
        Shape::Objects(inner) => json!([right_object(request, inner)]),
        Shape::Elided | Shape::Map => json!({"name": 1}),
        Shape::Strings => json!(["a"]),
    }
}

/// Whether a field of a request is an integer. The protocol does not say so in its tables, but calls no other fields so.
fn is_integer(name: &str) -> bool {
    let is_count = name.ends_with("_ms") || name.starts_with("max_");
    is_count || ["timestamp", "now", "attempt", "incarnation", "reduce_tasks"].contains(&name)
}

/// Values that a field must not have: of another type, and right but for one field inside them.
fn wrong_values(request: &str, field: &Field) -> Vec<Value> {
    if OPAQUE.contains(&field.name.as_str()) {
        return Vec::new();
    }
    let mut wrong = vec![json!(true)];
    match &field.shape {
        Shape::Any if is_integer(&field.name) => wrong.extend([json!("1"), json!(1.5)]),
        Shape::Any | Shape::OneOf(_) => wrong.push(json!(1)),
        Shape::Map => wrong.extend([json!([]), json!({"name": "1"})]),
        Shape::Strings => wrong.push(json!([1])),
        Shape::Object(_) | Shape::Elided => wrong.push(json!([])),
        Shape::Objects(inner) => {
            let right = right_object(request, inner);
            for field in &inner.0 {
                let mut without = right.clone();
                without.remove(&field.name);
                if !field.is_optional {
                    wrong.push(json!([right, without]));
                }
                for value in wrong_values(request, field) {
                    let mut changed = right.clone();
                    changed.insert(field.name.clone(), value);
                    wrong.push(json!([right, changed]));
                }
            }
        }
    }
    wrong
}
