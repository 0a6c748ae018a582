//! Reads a journal or a conversation into a story.

use super::collector::Collector;
use super::story::{Source, Story};
use crate::framing::{Frame, Framer};
use crate::journal::{self, Step};
use crate::master::Keep;
use crate::service::Service;
use crate::wire::{self, Effect, Message};
use std::io::{BufRead, Read as _};

/// How the first line of a journal of any version starts.
const JOURNAL: &[u8] = journal::ANY_HEADER.trim_ascii_end().as_bytes();

/// Reads a journal, which its first line says it is, or a conversation, which anything else is. Errors: `input`
/// fails, or is a damaged journal.
pub fn read(mut input: impl BufRead) -> anyhow::Result<Story> {
    let mut start = Vec::new();
    while start.len() < JOURNAL.len() && JOURNAL.starts_with(&start) {
        match input.fill_buf()?.first() {
            None => break,
            Some(byte) => start.push(*byte),
        }
        input.consume(1);
    }
    let is_journal = start == JOURNAL;
    let input = start.as_slice().chain(input);
    if is_journal {
        read_journal(input)
    } else {
        read_conversation(input)
    }
}

fn read_journal(input: impl BufRead) -> anyhow::Result<Story> {
    let mut collector = Collector::new(Source::Journal);
    let mut is_first = true;
    let recovery = journal::read_with(input, |service, step| {
        if std::mem::take(&mut is_first) && collector.resume(&mut service.master) {
            collector.note(COMPACTED.to_owned());
        }
        match step {
            Step::Request(message) => apply(&mut collector, service, message),
            Step::Recovery => {
                collector.mark_recovery();
                Effect::Changed
            }
        }
    })?;
    if let Some(dropped) = recovery.dropped {
        collector.note(format!("The end of the journal was incomplete: {dropped}."));
    }
    let mut service = recovery.service;
    if is_first && collector.resume(&mut service.master) {
        collector.note(COMPACTED.to_owned());
    }
    Ok(collector.finish(&mut service.master))
}

const COMPACTED: &str = "The journal was compacted: this page starts at its snapshot, at the last heartbeat in it. \
                         What ran then is drawn from there on, and what it cost before is not counted.";

fn read_conversation(mut input: impl BufRead) -> anyhow::Result<Story> {
    let mut collector = Collector::new(Source::Conversation);
    let (mut service, mut framer, mut dropped) = (Service::default(), Framer::default(), 0_u64);
    loop {
        let bytes = input.fill_buf()?;
        let count = bytes.len();
        if count == 0 {
            framer.end();
        } else {
            framer.feed(bytes);
            input.consume(count);
        }
        while let Some(frame) = framer.next() {
            let Frame::Message { text, .. } = frame else {
                dropped += 1;
                continue;
            };
            let mut message = Message::EMPTY;
            if wire::parse(text, &mut message).is_ok() {
                apply(&mut collector, &mut service, &message);
            } else if framer.reject().is_some() {
                dropped += 1;
            }
        }
        if count == 0 {
            break;
        }
    }
    if dropped > 0 {
        let pieces = if dropped == 1 { "piece" } else { "pieces" };
        collector.note(format!(
            "{dropped} {pieces} of the input could not be read as messages and are left out."
        ));
    }
    Ok(collector.finish(&mut service.master))
}

/// Has the service take a message, and the collector what came of it.
fn apply(collector: &mut Collector, service: &mut Service, message: &Message<'_>) -> Effect {
    service.master.events_mut().keep(Keep::Everything);
    let effect = service.apply(message).unwrap_or(Effect::None);
    if effect != Effect::None {
        let events = service.master.events();
        collector.take(events.iter(), events.at());
    }
    effect
}
