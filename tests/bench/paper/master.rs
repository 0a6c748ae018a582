//! The master's machine: the node under test, bytes in and bytes out, with a stopwatch around it, and the
//! network link in front of it.

use mapreduce_master::node::Node;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::{Duration, Instant};

const INPUTS: &str = "\"inputs\": [";

/// Round trip to the master. In the paper's data center it was shorter.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// The link's bandwidth, 1 Gbit/s, as on the paper's machines.
const LINK_TIME_PER_BYTE: Duration = Duration::from_nanos(8);

pub struct Master {
    node: Node,
    messages: u64,
    request: Vec<u8>,
    reply: Vec<u8>,
    /// The reply without the inputs of a reduce.
    head: String,
    /// When the link will have sent all replies so far, one after the other.
    link_free_at: Duration,
    /// Where the requests go, besides the node.
    record: Option<BufWriter<File>>,
    pub work: Work,
}

/// The time that the node took, by type of request.
#[derive(Default)]
pub struct Work {
    pub tallies: BTreeMap<&'static str, Tally>,
    /// For each second of virtual time.
    pub by_second: Vec<Duration>,
}

#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub messages: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub time: Duration,
}

impl Work {
    fn count(&mut self, row: &'static str, now: Duration, tally: Tally) {
        self.tallies.entry(row).or_default().add(tally);
        let second = usize::try_from(now.as_secs()).expect("a job of some hours");
        if self.by_second.len() <= second {
            self.by_second.resize(second + 1, Duration::ZERO);
        }
        self.by_second[second] += tally.time;
    }

    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in self.tallies.values() {
            total.add(*tally);
        }
        total
    }
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.time += other.time;
    }
}

/// The part of a reply that the cluster reads.
pub struct Reply<'a> {
    pub body: Body<'a>,
    /// When it arrives at the sender of the request.
    pub arrives_at: Duration,
    /// The list of a reduce's inputs and everything behind it, not parsed.
    pub inputs: &'a str,
}

#[derive(Deserialize)]
pub struct Body<'a> {
    pub r#type: &'a str,
    pub task: Option<Task<'a>>,
    pub accepted: Option<bool>,
    #[serde(default)]
    pub failed_workers: Vec<&'a str>,
    pub state: Option<&'a str>,
    pub outputs: Option<Vec<u64>>,
    pub attempts: Option<Attempts>,
    pub duplicates_dropped: Option<u32>,
    in_reply_to: u64,
}

#[derive(Deserialize)]
pub struct Task<'a> {
    pub kind: &'a str,
    pub attempt: u32,
    /// A map's chunk, which is its number.
    pub chunk: Option<u32>,
    /// Set for a reduce only.
    pub partition: Option<u32>,
}

#[derive(Deserialize)]
pub struct Attempts {
    pub started: u32,
    pub completed: u32,
    pub failed: u32,
    pub speculative: u32,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    dest: &'a str,
    #[serde(borrow)]
    body: Body<'a>,
}

impl Master {
    pub fn new(record: Option<File>) -> Self {
        Self {
            node: Node::new(true),
            messages: 0,
            request: Vec::new(),
            reply: Vec::new(),
            head: String::new(),
            link_free_at: Duration::ZERO,
            record: record.map(BufWriter::new),
            work: Work::default(),
        }
    }

    /// Sends a request from `src` at a virtual time, and reads the reply. `fields` are the fields of the body, each
    /// preceded by a comma.
    pub fn ask(
        &mut self,
        now: Duration,
        src: &str,
        request: &'static str,
        fields: impl fmt::Display,
    ) -> Reply<'_> {
        self.messages += 1;
        let msg_id = self.messages;
        self.request.clear();
        writeln!(
            self.request,
            "{{\"src\": \"{src}\", \"dest\": \"master\", \"body\": {{\"type\": \"{request}\", \"msg_id\": {msg_id}{fields}}}}}",
        )
        .expect("a Vec takes everything");
        if let Some(record) = &mut self.record {
            record
                .write_all(&self.request)
                .expect("the record is written");
        }
        let time = self.answer();
        assert!(self.node.log.is_empty(), "the node dropped a {request}");

        let text = str::from_utf8(&self.reply).expect("replies are UTF-8");
        let bytes = u32::try_from(text.len()).expect("a reply of some megabytes");
        self.link_free_at = self.link_free_at.max(now) + LINK_TIME_PER_BYTE * bytes;

        // The inputs, a megabyte, are compared as text. Everything else is parsed.
        self.head.clear();
        let inputs = match text.split_once(INPUTS) {
            Some((head, inputs)) => {
                self.head.push_str(head);
                self.head.push_str("\"inputs\": []}}}");
                inputs
            }
            None => {
                self.head.push_str(text);
                ""
            }
        };
        let Envelope { dest, body } = serde_json::from_str(&self.head)
            .unwrap_or_else(|error| panic!("{error} in the reply to a {request}: {}", self.head));
        assert_eq!((dest, body.in_reply_to), (src, msg_id));

        let row = match &body.task {
            Some(task) if task.kind == "map" => "request_task: a map",
            Some(_) => "request_task: a reduce",
            None => request,
        };
        let tally = Tally {
            messages: 1,
            bytes_in: self.request.len() as u64,
            bytes_out: bytes.into(),
            time,
        };
        self.work.count(row, now, tally);
        Reply {
            body,
            arrives_at: self.link_free_at + ROUND_TRIP,
            inputs,
        }
    }

    /// Lets the node answer the request, and returns how long that took.
    fn answer(&mut self) -> Duration {
        self.reply.clear();
        let clock = Instant::now();
        self.node.feed(&self.request);
        let mut has_more = true;
        while has_more {
            has_more = self.node.answer_some();
            self.reply.append(&mut self.node.replies);
        }
        clock.elapsed()
    }
}
