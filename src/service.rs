//! Who answers a message: the master, and the name under which its node is addressed (protocol, section 2).

use crate::master::Master;
use crate::wire::{self, Addressing, Effect, Envelope, Error, ErrorCode, Message, Reply, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// All that a node knows: a function of the messages that were sent to it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Service {
    pub address: Address,
    pub master: Master,
}

/// Who the node is, once `init` has named it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Address {
    /// As JSON.
    node_id: Option<Box<RawValue>>,
    /// The `msg_id` of the next reply in an envelope.
    pub next_msg_id: u64,
}

/// Why a message gets no reply. It has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    IsReply,
    NoSender,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IsReply => "a message with in_reply_to is a reply, and needs none",
            Self::NoSender => "an envelope whose src is no string cannot be answered",
        })
    }
}

impl Service {
    /// Answers a message and appends the reply to `replies`, as one line. Returns what it has changed.
    pub fn answer(
        &mut self,
        message: &Message<'_>,
        replies: &mut Vec<u8>,
    ) -> Result<Effect, Unanswered> {
        self.process(message, Some(replies))
    }

    /// Like [`answer`](Self::answer), for a message whose reply nobody waits for: none is written.
    pub fn apply(&mut self, message: &Message<'_>) -> Result<Effect, Unanswered> {
        self.process(message, None)
    }

    fn process(
        &mut self,
        message: &Message<'_>,
        replies: Option<&mut Vec<u8>>,
    ) -> Result<Effect, Unanswered> {
        self.master.clear_events();
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
        let mut effect = request.as_ref().map_or(Effect::None, Request::effect);
        let reply = request
            .and_then(|request| match request {
                Request::Init { node_id } => self.address.init(&node_id, message),
                request => self.master.handle(request),
            })
            .unwrap_or_else(|error| {
                effect = Effect::None;
                Reply::from(error)
            });
        let envelope = self.address.envelope(sender.filter(|_| message.enveloped));
        let addressing = Addressing {
            envelope,
            in_reply_to,
        };
        if let Some(replies) = replies {
            wire::write(&reply, addressing, replies);
        }
        Ok(effect)
    }
}

impl Address {
    /// Names the node. Errors: 12 for an envelope that could not be answered, 22 for a second name.
    fn init<'r>(&mut self, node_id: &str, message: &Message<'_>) -> Result<Reply<'r>, Error> {
        if message.enveloped && message.sender().is_none() {
            let text = "field \"src\" must be a string";
            return Err(Error::new(ErrorCode::MalformedRequest, text));
        }
        let node_id = serde_json::value::to_raw_value(node_id)
            .map_err(|error| Error::new(ErrorCode::MalformedRequest, error.to_string()))?;
        if let Some(known) = &self.node_id
            && known.get() != node_id.get()
        {
            let text = "field \"node_id\" is not the name that this node has";
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
