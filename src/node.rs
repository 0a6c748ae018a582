//! The node: reads messages, has each one answered, writes the replies (protocol, sections 1 and 2).

use crate::framing::{Frame, Framer};
use crate::master::Master;
use crate::wire::{self, Addressing, Envelope, Error, ErrorCode, Message, Reply, Request};
use anyhow::Context as _;
use serde_json::value::RawValue;
use std::fmt::Display;
use std::io::{BufRead, ErrorKind, Write};

/// How many bytes of input are taken at once, at most.
const MAX_FEED_BYTES: usize = 64 << 10;

/// From how many bytes on replies are written before the input at hand is answered in full.
const MANY_REPLY_BYTES: usize = 256 << 10;

/// Answers everything that comes in on `input` until it ends, and writes the replies to `output` and what
/// people want to know to `log`; only about input that was dropped if `quiet`.
///
/// Every reply is written before more input is waited for. A reader of `output` that goes away ends the node
/// without an error. Errors: `input` or `output` fails otherwise.
pub fn run(
    mut input: impl BufRead,
    mut output: impl Write,
    mut log: impl Write,
    quiet: bool,
) -> anyhow::Result<()> {
    let mut node = Node::new(quiet);
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) => &bytes[..bytes.len().min(MAX_FEED_BYTES)],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("cannot read the input"),
        };
        let count = bytes.len();
        if count == 0 {
            node.end();
        } else {
            node.feed(bytes);
            input.consume(count);
        }
        let mut has_more = true;
        while has_more {
            has_more = node.answer_some();
            // The log is for people: if they cannot read it, the cluster still has to run.
            let _ = log.write_all(&node.log).and_then(|()| log.flush());
            match output
                .write_all(&node.replies)
                .and_then(|()| output.flush())
            {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(error).context("cannot write a reply"),
            }
            node.clear_written();
        }
        if count == 0 {
            return Ok(());
        }
    }
}

/// A node without its input and output: bytes are fed in, and replies and log come to stand in buffers.
#[derive(Debug)]
pub struct Node {
    framer: Framer,
    master: Master,
    address: Address,
    /// The replies that have not been taken yet, a line each.
    pub replies: Vec<u8>,
    /// The log that has not been taken yet.
    pub log: Vec<u8>,
    quiet: bool,
}

impl Node {
    pub fn new(quiet: bool) -> Self {
        Self {
            framer: Framer::default(),
            master: Master::default(),
            address: Address::default(),
            replies: Vec::new(),
            log: Vec::new(),
            quiet,
        }
    }

    /// Takes in a piece of the input.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.framer.feed(bytes);
    }

    /// Takes in the end of the input.
    pub fn end(&mut self) {
        self.framer.end();
    }

    /// Answers the messages that are there in full, until there are many bytes of replies. Returns whether
    /// there may be more to answer.
    pub fn answer_some(&mut self) -> bool {
        while self.replies.len() < MANY_REPLY_BYTES {
            let dropped = match self.framer.next() {
                None => return false,
                Some(Frame::Dropped { line, reason }) => Some((line, reason)),
                Some(Frame::Message { text, line }) => {
                    let mut message = Message::EMPTY;
                    match wire::parse(text, &mut message) {
                        Ok(()) => {
                            match self
                                .address
                                .answer(&message, &mut self.master, &mut self.replies)
                            {
                                Ok(()) if self.quiet => {}
                                Ok(()) => log_events(&mut self.log, line, &self.master),
                                Err(reason) => log_dropped(&mut self.log, line, reason),
                            }
                            None
                        }
                        Err(wire::NotAnObject) => self.framer.reject(),
                    }
                }
            };
            if let Some((line, reason)) = dropped {
                log_dropped(&mut self.log, line, reason);
            }
        }
        true
    }

    fn clear_written(&mut self) {
        for buffer in [&mut self.replies, &mut self.log] {
            buffer.clear();
            buffer.shrink_to(4 * MANY_REPLY_BYTES);
        }
    }
}

/// Who the node is, once `init` has named it.
#[derive(Debug, Default)]
struct Address {
    /// As JSON.
    node_id: Option<Box<RawValue>>,
    next_msg_id: u64,
}

impl Address {
    /// Answers a message, and appends the reply; or says why it is not answered.
    fn answer(
        &mut self,
        message: &Message<'_>,
        master: &mut Master,
        replies: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let sender = message.sender();
        if message.is_reply() {
            return Err("a reply, which needs no answer");
        }
        if self.node_id.is_some() && message.enveloped && sender.is_none() {
            return Err("an envelope whose src is no string, which cannot be answered");
        }
        let (in_reply_to, reply) = match message.msg_id() {
            Ok(msg_id) => (msg_id, self.handle(message, master)),
            Err(error) => (None, Err(error)),
        };
        let reply = reply.unwrap_or_else(Reply::from);
        let envelope = match (&self.node_id, sender) {
            (Some(src), Some(dest)) if message.enveloped => {
                let msg_id = self.next_msg_id;
                self.next_msg_id += 1;
                Some(Envelope { src, dest, msg_id })
            }
            _ => None,
        };
        wire::write(
            &reply,
            Addressing {
                envelope,
                in_reply_to,
            },
            replies,
        )
        .map_err(|_| "its reply cannot be written as JSON")
    }

    fn handle<'a>(
        &mut self,
        message: &Message<'a>,
        master: &'a mut Master,
    ) -> Result<Reply<'a>, Error> {
        match message.request()? {
            Request::Init { node_id } => self.init(&node_id, message),
            request => master.handle(request),
        }
    }

    fn init(&mut self, node_id: &str, message: &Message<'_>) -> Result<Reply<'static>, Error> {
        if message.enveloped && message.sender().is_none() {
            let text = "field \"src\" must be a string";
            return Err(Error::new(ErrorCode::MalformedRequest, text));
        }
        let node_id = serde_json::value::to_raw_value(node_id)
            .map_err(|error| Error::new(ErrorCode::MalformedRequest, error.to_string()))?;
        match &self.node_id {
            Some(known) if known.get() != node_id.get() => {
                let text = format!("this node is {known} already");
                Err(Error::new(ErrorCode::PreconditionFailed, text))
            }
            _ => {
                self.node_id = Some(node_id);
                Ok(Reply::InitOk {})
            }
        }
    }
}

fn log_dropped(log: &mut Vec<u8>, line: u64, reason: impl Display) {
    let _ = writeln!(log, "line {line}: dropped: {reason}");
}

fn log_events(log: &mut Vec<u8>, line: u64, master: &Master) {
    let events = master.events();
    for event in events.iter() {
        let _ = writeln!(log, "line {line}: {event}");
    }
    if events.unlisted() > 0 {
        let _ = writeln!(log, "line {line}: and {} events more", events.unlisted());
    }
}
