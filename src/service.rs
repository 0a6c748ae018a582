//! The service: has the master answer each message, and addresses the reply (protocol, section 2).

use crate::master::{self, Corrupt, Master};
use crate::wire::{
    self, Addressing, Batched, Effect, Envelope, Error, ErrorCode, MAX_REPLY_BYTES, Message,
    Quoted, Reply, Request, json_string,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::convert::Infallible;
use std::fmt;

/// Everything that a node knows: a function of the messages that were sent to it.
#[derive(Debug, Default)]
pub struct Service {
    pub address: Address,
    pub master: Master,
    /// Whether a worker's messages must come from that worker (protocol, section 1, `--strict`).
    pub checks_senders: bool,
    /// What the log should say about the last message, besides its events.
    pub notice: Option<&'static str>,
}

/// Snapshots with a larger `msg_id` are rejected, so the counter never overflows.
const MAX_MSG_ID: u64 = 1 << 60;

/// Who the node is, once `init` has named it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// As JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text")]
    node_id: Option<Box<RawValue>>,
    /// The `msg_id` of the next reply in an envelope.
    pub next_msg_id: u64,
}

/// Why a message gets no reply. It has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    IsReply,
    NoSender,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IsReply => "it is a reply itself, and replies are not answered",
            Self::NoSender => "the envelope's src is not a string, so it cannot be answered",
        })
    }
}

impl Service {
    /// Answers a message: appends the reply to `replies`, as one line, and returns what the request has changed.
    pub fn answer(
        &mut self,
        message: &Message<'_>,
        replies: &mut Vec<u8>,
    ) -> Result<Effect, Unanswered> {
        self.process(message, Some(replies))
    }

    /// Like [`answer`](Self::answer), but writes no reply.
    pub fn apply(&mut self, message: &Message<'_>) -> Result<Effect, Unanswered> {
        self.process(message, None)
    }

    fn process(
        &mut self,
        message: &Message<'_>,
        replies: Option<&mut Vec<u8>>,
    ) -> Result<Effect, Unanswered> {
        self.master.clear_events();
        self.notice = None;
        if message.is_reply() {
            return Err(Unanswered::IsReply);
        }
        let sender = message.sender();
        if self.address.node_id.is_some() && message.enveloped && sender.is_none() {
            return Err(Unanswered::NoSender);
        }
        let (in_reply_to, request) = match message.msg_id() {
            Ok(msg_id) => (msg_id, message.request()),
            Err(error) => (None, Err(error)),
        };
        let is_init = matches!(request, Ok(Request::Init { .. }));
        let reply = match request {
            Ok(Request::Init { node_id }) => self.address.init(&node_id, message),
            Ok(Request::Snapshot) => {
                let (address, master) = (self.address.after_reply(message), &self.master);
                Ok(Reply::SnapshotOk {
                    state: Batched::new(move |write| {
                        let saved: Result<(), Infallible> = save(&address, master, |record| {
                            write(&[record]);
                            Ok(())
                        });
                        let Ok(()) = saved;
                    }),
                })
            }
            Ok(request) if self.checks_senders => match check_sender(message, &request) {
                Ok(()) => self.master.handle(request),
                // The sender is checked last of all: any other error comes first.
                Err(error) => Err(self.master.check(&request).err().unwrap_or(error)),
            },
            Ok(request) => self.master.handle(request),
            Err(error) => Err(error),
        };
        let is_error = reply.is_err();
        if is_init && is_error {
            self.notice = Some(
                "init refused: its envelope has no valid src, or the node already has another name",
            );
        }
        let reply = reply.unwrap_or_else(Reply::from);
        let envelope = (self.address).envelope(sender.filter(|_| message.enveloped));
        let addressing = Addressing {
            envelope,
            in_reply_to,
        };
        if let Some(replies) = replies
            && wire::write(&reply, addressing, MAX_REPLY_BYTES, replies).is_err()
        {
            // The request has taken effect, as if only its reply had been lost.
            let text = format!("the reply would be longer than {MAX_REPLY_BYTES} bytes");
            let error = Reply::from(Error::new(ErrorCode::PreconditionFailed, text));
            let _ = wire::write(&error, addressing, usize::MAX, replies);
        }
        drop(reply);
        Ok(match (is_error, is_init) {
            (true, _) => Effect::None,
            (false, true) => Effect::Changed,
            (false, false) => self.master.effect(),
        })
    }
}

/// Errors: 22 for a message of a worker that did not come from that worker.
fn check_sender(message: &Message<'_>, request: &Request<'_>) -> Result<(), Error> {
    let Some(worker_id) = request.sending_worker() else {
        return Ok(());
    };
    let sender = message.sender().filter(|_| message.enveloped);
    let sender = sender.and_then(wire::read_string);
    if sender.as_deref() == Some(worker_id) {
        return Ok(());
    }
    let text = match sender {
        None => "a worker's message must come in an envelope".to_owned(),
        Some(sender) => format!(
            "field \"worker_id\" must be the src of the envelope, which is {}",
            Quoted(&sender)
        ),
    };
    Err(Error::new(ErrorCode::PreconditionFailed, text))
}

/// Gives the records of the whole state to `write`, each as JSON, the address first. Errors: those of `write`.
fn save<E>(
    address: &Address,
    master: &Master,
    mut write: impl FnMut(Box<RawValue>) -> Result<(), E>,
) -> Result<(), E> {
    write(to_json(address))?;
    master.save(|record| write(to_json(record)))
}

fn to_json(record: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(record).expect("a record can always be written as JSON")
}

impl Service {
    /// Gives the whole state to `write`, as records of JSON on one line each (protocol, section 8). Errors: those of
    /// `write`.
    pub fn save<E>(&self, write: impl FnMut(Box<RawValue>) -> Result<(), E>) -> Result<(), E> {
        save(&self.address, &self.master, write)
    }

    /// The node that wrote the `state` of a `snapshot_ok`. Errors: `state` is not such a state.
    pub fn restore(state: &str) -> Result<Self, Corrupt> {
        let records: Vec<&RawValue> = serde_json::from_str(state).map_err(|_| {
            Corrupt("it is not a JSON array of records: give the value of \"state\" alone")
        })?;
        let mut loader = Loader::default();
        for record in records {
            loader.load(record.get())?;
        }
        loader.finish()
    }
}

/// Reads the records of a snapshot in the order in which they were written.
#[derive(Debug, Default)]
pub struct Loader {
    address: Option<Address>,
    master: master::Loader,
}

impl Loader {
    /// Reads the next record, as JSON. Errors: it is malformed, or a valid snapshot cannot have it at this point.
    pub fn load(&mut self, record: &str) -> Result<(), Corrupt> {
        if self.address.is_none() {
            let address: Address = serde_json::from_slice(record.as_bytes())
                .map_err(|_| Corrupt("the address does not come first"))?;
            if address.next_msg_id > MAX_MSG_ID {
                return Err(Corrupt("a msg_id is too large"));
            }
            let node_id = address.node_id.as_deref();
            if node_id.is_some_and(|node_id| !node_id.get().starts_with('"')) {
                return Err(Corrupt("the name of the node is not a string"));
            }
            self.address = Some(address);
            return Ok(());
        }
        let record = serde_json::from_slice(record.as_bytes())
            .map_err(|_| Corrupt("a record is malformed"))?;
        self.master.load(record)
    }

    /// The node that wrote the records, once all of them were taken.
    pub fn finish(self) -> Result<Service, Corrupt> {
        Ok(Service {
            address: self.address.ok_or(Corrupt("the address is missing"))?,
            master: self.master.finish()?,
            checks_senders: false,
            notice: None,
        })
    }
}

/// Opaque JSON as a string of its text.
mod as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
    use serde_json::value::RawValue;

    #[expect(clippy::ref_option, reason = "serde requires this signature")]
    pub fn serialize<S: Serializer>(
        json: &Option<Box<RawValue>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        json.as_deref().map(RawValue::get).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Box<RawValue>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        (text.map(RawValue::from_string).transpose()).map_err(D::Error::custom)
    }
}

impl Address {
    /// The address as it will be after this message is answered.
    fn after_reply(&self, message: &Message<'_>) -> Self {
        let mut address = self.clone();
        address.envelope(message.sender().filter(|_| message.enveloped));
        address
    }

    /// Names the node. Errors: 12 for an envelope that could not be answered, 22 for a second name.
    fn init<'r>(&mut self, node_id: &str, message: &Message<'_>) -> Result<Reply<'r>, Error> {
        if message.enveloped && message.sender().is_none() {
            let text = "field \"src\" must be a string";
            return Err(Error::new(ErrorCode::MalformedRequest, text));
        }
        let node_id = json_string(node_id);
        if let Some(known) = &self.node_id
            && known.get() != node_id.get()
        {
            let text = "field \"node_id\" must be the name that this node already has";
            return Err(Error::new(ErrorCode::PreconditionFailed, text));
        }
        self.node_id = Some(node_id);
        Ok(Reply::InitOk {})
    }

    /// The envelope of a reply to `dest`, once the node has a name.
    fn envelope<'a>(&'a mut self, dest: Option<&'a RawValue>) -> Option<Envelope<'a>> {
        let (src, dest) = (self.node_id.as_deref()?, dest?);
        let msg_id = self.next_msg_id;
        self.next_msg_id += 1;
        Some(Envelope { src, dest, msg_id })
    }
}
