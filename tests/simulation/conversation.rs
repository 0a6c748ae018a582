//! Random conversations: the master and the model are told the same, and have to answer the same, byte for byte.
//!
//! Nobody in them is a simulated worker with a purpose. Small sets of names and times make every rule meet every other;
//! see [`Speaker`]. After each message both are asked for all that they know, so that a difference is found where it
//! arises.
//!
//! With `MASTER='some command'`, any program that reads requests on stdin and prints replies on stdout is put to them.

mod program;
mod reports;
mod requests;
mod speaker;

use super::master::Master;
use super::message::Body;
use super::model::{Model, matches};
use super::witness::{Input, RESTORED, Violation};
use program::Program;
pub use program::command;
use serde::Deserialize;
pub use speaker::Speaker;

/// After each message, so many tasks are asked about, in turn.
const MOST_TASKS_ASKED: usize = 4;

/// Whom the model is compared with.
enum Subject {
    Own(Box<Master>),
    Program(Program),
}

/// A reply in an envelope. Read so, its opaque values may be what no `serde_json::Value` can be.
#[derive(Deserialize)]
struct Enveloped {
    body: EnvelopedBody,
}

#[derive(Deserialize)]
struct EnvelopedBody {
    msg_id: u64,
}

pub struct Conversation {
    subject: Subject,
    pub model: Model,
    /// Whether the master has recovered, and sent nothing in an envelope since.
    has_recovered: bool,
    /// All that was said, each with the reply.
    pub transcript: Vec<(Input, String)>,
}

fn broken<T>(law: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation {
        law,
        what: what.into(),
    })
}

impl Conversation {
    /// A conversation with a new master: the program that `MASTER` names, or the project's own.
    pub fn start() -> Self {
        let subject = match command() {
            Some(command) => Subject::Program(Program::start(&command)),
            None => {
                let master = Master::start(vec![]).expect("an empty journal is a new one");
                Subject::Own(Box::new(master))
            }
        };
        Self {
            subject,
            model: Model::new(),
            has_recovered: false,
            transcript: vec![],
        }
    }

    /// Has a whole conversation. Returns it up to the first difference, and what that is.
    pub fn have(inputs: &[Input]) -> (Self, Option<Violation>) {
        let mut conversation = Self::start();
        for input in inputs {
            if let Err(violation) = conversation.say(input) {
                return (conversation, Some(violation));
            }
        }
        (conversation, None)
    }

    /// Says something to both, and compares what they answer and what they know then. Returns the reply.
    pub fn say(&mut self, input: &Input) -> Result<String, Violation> {
        self.transcript.push((input.clone(), String::new()));
        let replies = match input {
            Input::Message(line) | Input::Noise(line) => {
                self.ask(&[line], "the_reply_is_the_models")?
            }
            Input::Crash { compacts } => {
                self.recover(|master| master.restart(*compacts))?;
                vec![]
            }
            Input::Restore => {
                if let Subject::Own(master) = &mut self.subject
                    && master.restore().is_none()
                {
                    return broken(RESTORED, "it does not");
                }
                vec![]
            }
            Input::CrashAt(line) => {
                let line = format!("{line}\n");
                self.recover(|master| {
                    master.answer_in_vain(line.as_bytes())?;
                    master.restart(false)
                })?;
                vec![]
            }
        };
        let questions = self.questions();
        let questions: Vec<&str> = questions.iter().map(|line| &**line).collect();
        self.ask(&questions, "the_state_is_the_models")?;
        Ok(replies.into_iter().next().unwrap_or_default())
    }

    /// The `type` of the last message, or what else happened last.
    pub fn kind_of_last_message(&self) -> String {
        let Some((input, _)) = self.transcript.last() else {
            return String::new();
        };
        let Input::Message(line) = input else {
            return input.kind().to_owned();
        };
        let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let kinds = [&message["body"]["type"], &message["type"]];
        let kind = kinds.into_iter().find_map(|kind| kind.as_str());
        kind.unwrap_or_default().to_owned()
    }

    fn recover(&mut self, how: impl FnOnce(&mut Master) -> Option<()>) -> Result<(), Violation> {
        let Subject::Own(master) = &mut self.subject else {
            return Ok(());
        };
        // Of a master that had recorded nothing, nobody can tell that it was there.
        let is_new = master.has_empty_journal();
        if how(master).is_none() {
            return broken("a_killed_master_comes_back", "it does not");
        }
        if !is_new {
            self.model.recover();
        }
        self.has_recovered = true;
        Ok(())
    }

    /// Asks both, and compares.
    fn ask(&mut self, lines: &[&str], law: &'static str) -> Result<Vec<String>, Violation> {
        let mut replies = match &mut self.subject {
            Subject::Own(master) => {
                let said = lines.join("\n") + "\n";
                match master.answer(said.as_bytes()) {
                    Some(replies) => replies,
                    None => return broken("the_master_never_panics", "it did"),
                }
            }
            Subject::Program(program) => {
                // A copy of the model says how many replies to wait for.
                let mut model = self.model.clone();
                let count = lines.iter().filter_map(|line| model.reply(line)).count();
                program.answer(lines, count)
            }
        }
        .into_iter();
        let mut answered = vec![];
        for line in lines {
            // What is not answered by the model has no reply: the next one is another's.
            if self.has_recovered {
                self.catch_up_with_msg_ids(replies.as_slice().first());
            }
            let Some(expected) = self.model.reply(line) else {
                continue;
            };
            let reply = replies.next().unwrap_or_default();
            if law == "the_reply_is_the_models"
                && let Some((_, said)) = self.transcript.last_mut()
            {
                said.clone_from(&reply);
            }
            let is_equal = match &self.subject {
                Subject::Program(program) if program.compares_json => {
                    matches(&without_blanks(&expected), &without_blanks(&reply))
                }
                _ => matches(&expected, &reply),
            };
            if !is_equal {
                return broken(
                    law,
                    format!("asked  {line}\nmodel  {expected}\nmaster {reply}"),
                );
            }
            answered.push(reply);
        }
        match replies.next() {
            Some(reply) => broken(law, format!("there is a reply too many: {reply}")),
            None => Ok(answered),
        }
    }

    /// "its `msg_id`s go on at one not used before": after a recovery some are left out.
    fn catch_up_with_msg_ids(&mut self, reply: Option<&String>) {
        let reply = reply.and_then(|reply| serde_json::from_str::<Enveloped>(reply).ok());
        if let Some(next) = reply.map(|reply| reply.body.msg_id)
            && next >= self.model.next_msg_id()
        {
            self.has_recovered = false;
            self.model.skip_msg_ids(next);
        }
    }

    /// What can be asked, and changes nothing. Of many tasks, only some are asked about after each message.
    fn questions(&self) -> Vec<String> {
        let (jobs, mut tasks) = self.model.known_ids();
        if tasks.len() > MOST_TASKS_ASKED {
            let first = self.transcript.len() * MOST_TASKS_ASKED % tasks.len();
            tasks.rotate_left(first);
            tasks.truncate(MOST_TASKS_ASKED);
        }
        let jobs = jobs
            .into_iter()
            .map(|id| Body::new("job_status").text("job_id", id));
        let tasks = tasks
            .into_iter()
            .map(|id| Body::new("task_status").text("task_id", id));
        let lists = ["list_workers", "list_jobs", "status"].map(Body::new);
        let questions = lists.into_iter().chain(jobs).chain(tasks);
        questions.map(|body| body.line(None, None)).collect()
    }
}

/// JSON without the blanks between its tokens.
fn without_blanks(json: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let is_kept = |letter: &char| {
        let was_in_string = in_string;
        if *letter == '"' && !is_escaped {
            in_string = !in_string;
        }
        is_escaped = *letter == '\\' && !is_escaped;
        was_in_string || !letter.is_ascii_whitespace()
    };
    json.chars().filter(is_kept).collect()
}
