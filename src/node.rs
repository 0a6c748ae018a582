//! The node: reads messages, has each one answered, writes the replies (protocol, sections 1 and 2).

mod drop_log;

use crate::framing::{Dropped, Frame, Framer, Reason};
use crate::journal::file::Journal;
use crate::journal::{Recorder, Recovery};
use crate::master::{Events, Keep};
use crate::service::Service;
use crate::wire::{self, Error, ErrorCode, Message, Reply, Sender};
use anyhow::Context as _;
use drop_log::DropLog;
use std::io::{BufRead, ErrorKind, Write};

/// The node reads at most this many bytes at a time, so a larger input buffer does not help.
pub const MAX_FEED_BYTES: usize = 256 << 10;

/// Once the buffered replies or the buffered log reach this size in bytes, the node writes them before it answers more
/// input.
const MANY_REPLY_BYTES: usize = 256 << 10;

/// Runs a new node until `input` ends: writes its replies to `output` and its log to `log`. If `quiet`, the log has
/// only errors and dropped input.
///
/// Every reply is written before the node waits for more input. When the reader of `output` goes away, the node ends
/// without an error. Errors: `input` or `output` fails in any other way.
pub fn run(
    input: impl BufRead,
    output: impl Write,
    log: impl Write,
    quiet: bool,
) -> anyhow::Result<()> {
    run_node(&mut Node::new(quiet), None, input, output, log)
}

/// Like [`run`], for an existing node and an optional journal. Every request that changes anything is recorded before its
/// reply is written. Errors: as for [`run`], or the journal fails.
pub fn run_node(
    node: &mut Node,
    mut journal: Option<Journal>,
    mut input: impl BufRead,
    mut output: impl Write,
    mut log: impl Write,
) -> anyhow::Result<()> {
    let mut has_ended = false;
    loop {
        let mut has_more = true;
        while has_more {
            has_more = node.answer_some();
            if let (Some(journal), Some(recorder)) = (&mut journal, &mut node.recorder)
                && let Some(failure) = journal.write(recorder)?
            {
                let _ = writeln!(node.log, "{failure}");
            }
            // The log is for people. If they cannot read it, the cluster still has to run.
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
        if has_ended {
            return Ok(());
        }
        let bytes = match input.fill_buf() {
            Ok(bytes) => &bytes[..bytes.len().min(MAX_FEED_BYTES)],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("cannot read the input"),
        };
        let count = bytes.len();
        if count == 0 {
            node.end();
            has_ended = true;
        } else {
            node.feed(bytes);
            input.consume(count);
        }
    }
}

/// A node without its input and output: bytes are fed in; replies and log collect in buffers.
#[derive(Debug)]
pub struct Node {
    framer: Framer,
    service: Service,
    /// Makes the records of a journal, for a node that has one.
    pub recorder: Option<Recorder>,
    /// The replies that are not written yet, a line each. They may be sent once the records are written.
    pub replies: Vec<u8>,
    /// The log that is not written yet.
    pub log: Vec<u8>,
    drops: DropLog,
    has_ended: bool,
    quiet: bool,
    strict: bool,
}

impl Node {
    /// A node without any state. If `quiet`, its log has only errors and dropped input.
    pub fn new(quiet: bool) -> Self {
        Self::from_service(Service::default(), quiet)
    }

    /// A node that starts from the state of `service`.
    pub fn from_service(mut service: Service, quiet: bool) -> Self {
        if quiet {
            service.master.events_mut().keep(Keep::Nothing);
        }
        Self {
            framer: Framer::default(),
            service,
            recorder: None,
            replies: Vec::new(),
            log: Vec::new(),
            drops: DropLog::default(),
            has_ended: false,
            quiet,
            strict: false,
        }
    }

    /// A node that continues where a journal ends.
    pub fn recovered(recovery: Recovery, quiet: bool) -> Self {
        let Recovery {
            service, recorder, ..
        } = recovery;
        Self {
            recorder: Some(recorder),
            ..Self::from_service(service, quiet)
        }
    }

    /// The node with the rules of `--strict` (protocol, section 1), before it is fed anything: every line gets exactly
    /// one reply, and senders are checked.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.framer = Framer::strict();
        self.service.checks_senders = true;
        self.strict = true;
        self
    }

    /// Takes a piece of the input.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.framer.feed(bytes);
    }

    /// Marks the end of the input.
    pub fn end(&mut self) {
        self.framer.end();
        self.has_ended = true;
    }

    /// Answers complete messages until the buffered replies or log are large. Returns whether more messages may be
    /// waiting.
    pub fn answer_some(&mut self) -> bool {
        while self.replies.len() < MANY_REPLY_BYTES && self.log.len() < MANY_REPLY_BYTES {
            let (text, line) = match self.framer.next() {
                None => {
                    if self.has_ended {
                        self.drops.end_run(&mut self.log);
                    }
                    return false;
                }
                Some(Frame::Message { text, line }) => (text, line),
                Some(Frame::Dropped(dropped)) => {
                    self.drop_input(&dropped);
                    continue;
                }
            };
            let mut message = Message::EMPTY;
            if wire::parse(text, &mut message).is_err() {
                if let Some(dropped) = self.framer.reject() {
                    self.drop_input(&dropped);
                }
                continue;
            }
            match self.service.answer(&message, &mut self.replies) {
                Ok(effect) => {
                    self.drops.end_run(&mut self.log);
                    if let Some(recorder) = &mut self.recorder {
                        recorder.record(text, effect, &self.service);
                    }
                    if let Some(notice) = self.service.notice {
                        let _ = writeln!(self.log, "line {line}: {notice}");
                    }
                    if !self.quiet {
                        log_events(&mut self.log, line, self.service.master.events());
                    }
                }
                Err(reason) => {
                    let log = &mut self.log;
                    (self.drops).add(log, line, || format!("{reason}{}", Sender::of(&message)));
                    if self.strict {
                        refuse(&mut self.replies, reason.to_string());
                    }
                }
            }
        }
        true
    }

    /// Logs a piece of the input that is skipped.
    fn drop_input(&mut self, dropped: &Dropped) {
        let text = self.framer.text(dropped);
        self.drops.add(&mut self.log, dropped.line, || {
            describe(dropped, text) + &Sender::find(text).to_string()
        });
        if self.strict {
            refuse(&mut self.replies, describe(dropped, text));
        }
    }

    fn clear_written(&mut self) {
        for buffer in [&mut self.replies, &mut self.log] {
            buffer.clear();
            buffer.shrink_to(4 * MANY_REPLY_BYTES);
        }
    }
}

/// Says what is wrong with a piece of the input, and where.
fn describe(dropped: &Dropped, text: &[u8]) -> String {
    let Dropped {
        mut reason,
        line,
        column,
        ..
    } = *dropped;
    if matches!(reason, Reason::TooLong | Reason::Blank) {
        return reason.to_string();
    }
    let Some(fault) = (reason != Reason::NotAnObject)
        .then(|| wire::find_fault(text))
        .flatten()
    else {
        return format!("{reason} at column {column}");
    };
    let problem = match fault.problem {
        Some(problem) => {
            reason = Reason::Malformed;
            format!(": {problem}")
        }
        None => {
            if reason == Reason::Malformed {
                reason = Reason::Unfinished;
            }
            String::new()
        }
    };
    if fault.line > 1 {
        let line = line + fault.line as u64 - 1;
        format!("{reason} at line {line}, column {}{problem}", fault.column)
    } else {
        format!("{reason} at column {}{problem}", column + fault.column - 1)
    }
}

/// Answers a line that would get no reply without `--strict`: with a bare error.
fn refuse(replies: &mut Vec<u8>, text: String) {
    let reply = Reply::from(Error::new(ErrorCode::MalformedRequest, text));
    // The reply is short, because the text of a fault is.
    let _ = wire::write(&reply, wire::Addressing::NONE, usize::MAX, replies);
}

fn log_events(log: &mut Vec<u8>, line: u64, events: &Events) {
    for event in events.iter() {
        let _ = writeln!(log, "line {line}: {event}");
    }
    if events.unlisted() > 0 {
        let _ = writeln!(log, "line {line}: and {} more events", events.unlisted());
    }
}
