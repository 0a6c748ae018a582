//! Whoever talks to the master talks through a witness. It hands on what is said, looks at the master before and
//! after, and holds every answer against the laws and, as an oracle, against the reference model.

use super::ledger::{Ledger, Step};
use super::master::Master;
use super::message::Body;
use super::model::{Model, matches};
use super::properties::{LAWS_OF_CHANGE, LAWS_OF_STATE};
use super::snapshot::{JobView, Snapshot, TaskView};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

/// What reaches the master. A conversation is a list of them, and can be had again.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Message(String),
    /// A line that is no message. It costs nobody anything but itself.
    Noise(String),
    /// The master is killed and started again, from a snapshot if its journal is compacted on the way.
    Crash {
        compacts: bool,
    },
    /// The master is killed while it answers: its record is torn, and nobody gets a reply.
    CrashAt(String),
    /// Another node goes on from a snapshot of the master. That is no recovery.
    Restore,
}

impl Input {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Noise(_) => "noise",
            Self::Crash { compacts: false } => "crash of the master",
            Self::Crash { compacts: true } => "crash of the master, compacted",
            Self::CrashAt(_) => "crash of the master in an answer",
            Self::Restore => "snapshot restored",
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(line) | Self::Noise(line) => f.write_str(line),
            Self::Crash { compacts: false } => {
                f.write_str("(the master is killed and started again)")
            }
            Self::Crash { compacts: true } => f.write_str("(the same, from a snapshot)"),
            Self::Restore => f.write_str("(another node goes on from a snapshot)"),
            Self::CrashAt(line) => write!(f, "(the same, while it answers) {line}"),
        }
    }
}

/// A law that was broken, and how.
#[derive(Clone, Debug)]
pub struct Violation {
    pub law: &'static str,
    pub what: String,
}

pub struct Witness {
    master: Master,
    oracle: Option<Model>,
    ledger: Ledger,
    seen: Snapshot,
    /// Who the node is, once `init` has named it.
    node_id: Option<String>,
    enveloped_replies: u64,
    /// Whether the master has come back, and sent nothing in an envelope since.
    has_recovered: bool,
    /// The answers to the questions about the state, as they came last.
    last_looks: HashMap<String, String>,
    /// All that was said, each with the reply.
    pub transcript: Vec<(Input, String)>,
}

const ONE_REPLY: &str = "every_request_is_answered_once_in_order";
const ADDRESS: &str = "a_reply_goes_to_whoever_asked";
pub const RESTORED: &str = "a_restored_node_goes_on_as_the_one_before";
const NO_PANIC: &str = "the_master_never_panics";

fn broken<T>(law: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation {
        law,
        what: what.into(),
    })
}

impl Witness {
    pub fn new(with_oracle: bool) -> Self {
        Self {
            master: Master::start(vec![]).expect("an empty journal is a new one"),
            oracle: with_oracle.then(Model::new),
            ledger: Ledger::default(),
            seen: Snapshot::default(),
            node_id: None,
            enveloped_replies: 0,
            has_recovered: false,
            last_looks: HashMap::new(),
            transcript: vec![],
        }
    }

    /// Has a conversation with a new master, up to the first law that is broken.
    pub fn have(conversation: &[Input], with_oracle: bool) -> (Self, Option<Violation>) {
        let mut witness = Self::new(with_oracle);
        for input in conversation {
            if let Err(violation) = witness.say(input.clone()) {
                return (witness, Some(violation));
            }
        }
        (witness, None)
    }

    /// What was seen of the master last.
    pub fn seen(&self) -> &Snapshot {
        &self.seen
    }

    /// How far ahead of the time the last heartbeat of a worker is, those at the end of time left out.
    pub fn ahead_ms(&self, now_ms: i64) -> i64 {
        let heartbeats = self
            .ledger
            .workers
            .iter()
            .filter_map(|worker| worker.last_heartbeat);
        let ahead = heartbeats.map(|last| last.saturating_sub(now_ms));
        ahead
            .filter(|ahead_ms| *ahead_ms < i64::from(i32::MAX))
            .max()
            .unwrap_or(0)
            .max(0)
    }

    /// How often each rule of the contract was at work, by the model's account.
    pub fn coverage(&self) -> BTreeMap<String, u64> {
        self.oracle
            .as_ref()
            .map(|model| model.coverage.clone())
            .unwrap_or_default()
    }

    /// Lets something happen to the master; returns the body of its reply, if there is one.
    pub fn say(&mut self, input: Input) -> Result<Option<Value>, Violation> {
        if self.transcript.is_empty() {
            self.seen = self.look()?;
        }
        self.transcript.push((input.clone(), String::new()));
        match input {
            Input::Message(line) => self.converse(&line).map(Some),
            Input::Noise(line) => {
                self.answers(&line, 0)?;
                Ok(None)
            }
            Input::Crash { compacts } => {
                let is_new = self.master.has_empty_journal();
                self.restart(compacts, is_new)?;
                Ok(None)
            }
            Input::Restore => match self.master.restore() {
                Some(()) if self.look()? == self.seen => Ok(None),
                _ => broken(RESTORED, "it does not"),
            },
            Input::CrashAt(line) => {
                let is_new = self.master.has_empty_journal();
                let has_answered = self.master.answer_in_vain(format!("{line}\n").as_bytes());
                has_answered.map_or_else(|| broken(NO_PANIC, "it did"), Ok)?;
                self.restart(false, is_new)?;
                Ok(None)
            }
        }
    }

    /// Says a line, which has to be answered with so many others.
    fn answers(&mut self, line: &str, count: usize) -> Result<Vec<String>, Violation> {
        let Some(replies) = self.master.answer(format!("{line}\n").as_bytes()) else {
            return broken(NO_PANIC, "it did");
        };
        if let Some((_, reply)) = self.transcript.last_mut() {
            *reply = replies.join("\n");
        }
        if replies.len() == count {
            Ok(replies)
        } else {
            broken(
                ONE_REPLY,
                format!("there should be {count} replies, not {}", replies.len()),
            )
        }
    }

    fn converse(&mut self, line: &str) -> Result<Value, Violation> {
        let reply = self.answers(line, 1)?.swap_remove(0);
        self.catch_up_with_msg_ids(&reply);
        self.ask_oracle("the_answer_is_the_models", line, &reply)?;
        let (request, reply) = self.unwrap(line, &reply)?;
        self.judge(&request, &reply)?;
        Ok(reply)
    }

    /// What a master knows is all in its journal.
    fn restart(&mut self, compacts: bool, is_new: bool) -> Result<(), Violation> {
        if self.master.restart(compacts).is_none() {
            return broken("a_killed_master_comes_back", "it does not");
        }
        self.has_recovered = true;
        // Of a master that had recorded nothing, nobody can tell that it was there.
        if !is_new {
            self.ledger.recover();
            if let Some(model) = &mut self.oracle {
                model.recover();
            }
        }
        if self.look()? == self.seen {
            Ok(())
        } else {
            broken(
                "nothing_is_forgotten_in_a_crash",
                "the state is another one than before",
            )
        }
    }

    /// After a recovery some `msg_id`s are left out, so that none is used twice.
    fn catch_up_with_msg_ids(&mut self, reply: &str) {
        if !self.has_recovered {
            return;
        }
        let reply: Value = serde_json::from_str(reply).unwrap_or_default();
        if let Some(next) = reply["body"]["msg_id"]
            .as_u64()
            .filter(|next| *next >= self.enveloped_replies)
        {
            self.has_recovered = false;
            self.enveloped_replies = next;
            if let Some(model) = &mut self.oracle {
                model.skip_msg_ids(next);
            }
        }
    }

    fn ask_oracle(&mut self, law: &'static str, line: &str, reply: &str) -> Result<(), Violation> {
        let Some(model) = &mut self.oracle else {
            return Ok(());
        };
        match model.reply(line) {
            Some(expected) if matches(&expected, reply) => Ok(()),
            Some(expected) => broken(
                law,
                format!("the model answers {expected}\n the master {reply}"),
            ),
            None => broken(
                law,
                format!("the model does not answer\n the master {reply}"),
            ),
        }
    }

    /// Takes request and reply out of their envelopes, which have to match.
    fn unwrap(&mut self, line: &str, reply: &str) -> Result<(Value, Value), Violation> {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let (mut request, mut reply) = (read(line), read(reply));
        let envelope = request.get("body").is_some().then(|| request["src"].take());
        if envelope.is_some() {
            request = request["body"].take();
        }
        // Until `init` has named the node, it has no address to send from; the answer to that is the first with one.
        let has_envelope = reply.get("body").is_some();
        if self.node_id.is_none()
            && request["type"] == "init"
            && (has_envelope || reply["type"] == "init_ok")
        {
            self.node_id = request["node_id"].as_str().map(str::to_owned);
        }
        if let (Some(src), Some(node_id)) = (&envelope, &self.node_id) {
            let is_addressed = reply["src"] == **node_id && reply["dest"] == *src;
            reply = reply["body"].take();
            if !is_addressed || reply["msg_id"] != self.enveloped_replies {
                return broken(ADDRESS, "its envelope should say so, and count");
            }
            self.enveloped_replies += 1;
        } else if has_envelope {
            return broken(ADDRESS, "there should be no envelope");
        }
        let msg_id = request["msg_id"].as_i64();
        if reply.get("in_reply_to").map(Value::as_i64) != msg_id.map(Some) {
            return broken(ADDRESS, "it should say what it is in reply to");
        }
        Ok((request, reply))
    }

    fn judge(&mut self, request: &Value, reply: &Value) -> Result<(), Violation> {
        self.ledger.learn_names(request, reply);
        let after = self.look()?;
        let before = std::mem::replace(&mut self.seen, after);
        let ledger = &self.ledger;
        let step = Step {
            request,
            reply,
            before: &before,
            after: &self.seen,
            ledger,
        };
        for (law, check) in LAWS_OF_CHANGE {
            check(&step).or_else(|what| broken(law, what))?;
        }
        self.ledger.learn(request, reply, &before, &self.seen);
        for (law, check) in LAWS_OF_STATE {
            check(&self.ledger, &self.seen).or_else(|what| broken(law, what))?;
        }
        Ok(())
    }

    /// Asks the master for all that it knows. The questions change nothing, and are no part of the conversation.
    fn look(&mut self) -> Result<Snapshot, Violation> {
        let of_tasks = self
            .ledger
            .tasks
            .iter()
            .map(|task| ("task_status", "task_id", &*task.id));
        let of_jobs = self
            .ledger
            .jobs
            .iter()
            .map(|job| ("job_status", "job_id", &*job.id));
        let questions: Vec<(&str, String, String)> = of_tasks
            .chain(of_jobs)
            .map(|(kind, field, id)| {
                (
                    kind,
                    id.to_owned(),
                    Body::new(kind).text(field, id).line(None, None),
                )
            })
            .chain([(
                "status",
                String::new(),
                Body::new("status").line(None, None),
            )])
            .collect();
        let asked: Vec<&str> = questions.iter().map(|(.., line)| &**line).collect();
        let asked = asked.join("\n") + "\n";
        let answers = self.master.answer(asked.as_bytes()).unwrap_or_default();
        if answers.len() != questions.len() {
            return broken(ONE_REPLY, "questions about the state are not");
        }
        let known: (Vec<_>, Vec<_>) = (
            self.ledger
                .tasks
                .iter()
                .map(|task| Rc::from(&*task.id))
                .collect(),
            self.ledger
                .jobs
                .iter()
                .map(|job| Rc::from(&*job.id))
                .collect(),
        );
        let mut seen = self.seen.clone();
        seen.tasks.retain(|id, _| known.0.contains(id));
        seen.jobs.retain(|id, _| known.1.contains(id));
        for ((kind, id, question), answer) in questions.into_iter().zip(answers) {
            if self.last_looks.get(&question) == Some(&answer) && is_seen(&seen, kind, &id) {
                continue;
            }
            self.ask_oracle("the_state_is_the_models", &question, &answer)?;
            let reply: Value = serde_json::from_str(&answer).unwrap_or_default();
            let id: Rc<str> = id.into();
            let is_status = match kind {
                "task_status" => {
                    TaskView::read(&reply).map(|view| _ = seen.tasks.insert(id, view.into()))
                }
                "job_status" => {
                    JobView::read(&reply).map(|view| _ = seen.jobs.insert(id, view.into()))
                }
                _ => (reply["type"] == "status_ok").then(|| seen.status = reply.into()),
            };
            if is_status.is_none() {
                return broken(
                    "every_task_and_job_is_known",
                    format!("{question} is answered with {answer}"),
                );
            }
            self.last_looks.insert(question, answer);
        }
        Ok(seen)
    }
}

fn is_seen(seen: &Snapshot, kind: &str, id: &str) -> bool {
    match kind {
        "task_status" => seen.tasks.contains_key(id),
        "job_status" => seen.jobs.contains_key(id),
        _ => true,
    }
}
