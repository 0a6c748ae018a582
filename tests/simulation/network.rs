//! The virtual network and the virtual clock: what happens next, and when.

use super::options::{LONGEST_DELAY_MS, Options};
use super::random::Random;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Actor {
    Worker(usize),
    Monitor(usize),
    Submitter,
}

impl Actor {
    /// The name it has on envelopes.
    pub fn address(self) -> String {
        match self {
            Self::Worker(number) => format!("c-worker-{number}"),
            Self::Monitor(number) => format!("c-monitor-{number}"),
            Self::Submitter => "c-submitter".to_owned(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Event {
    Wake(Actor),
    /// The line reaches the master.
    Request(Actor, String),
    /// The body of a reply reaches the one who asked.
    Reply(Actor, serde_json::Value),
    /// Fate strikes, if it does.
    Calamity,
}

#[derive(Default)]
pub struct Network {
    pub now_ms: i64,
    /// What is to come, by time; and by the order in which it was planned, so that a run has one order.
    events: BTreeMap<(i64, u64), Event>,
    planned: u64,
    /// Until when a worker can reach nobody.
    cut_off: BTreeMap<usize, i64>,
}

impl Network {
    pub fn at(now_ms: i64) -> Self {
        Self {
            now_ms,
            ..Self::default()
        }
    }

    pub fn plan(&mut self, after_ms: i64, event: Event) {
        self.planned += 1;
        self.events
            .insert((self.now_ms + after_ms, self.planned), event);
    }

    pub fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now_ms = at;
        Some(event)
    }

    /// Sends a request or a reply, which may be lost, or come late, or twice.
    pub fn send(&mut self, event: &Event, options: &Options, random: &mut Random) {
        let copies = if random.per_mille(options.loss) {
            0
        } else {
            1 + usize::from(random.per_mille(options.repetition))
        };
        for _ in 0..copies {
            let delay_ms = random.heavy_tail(options.delay_ms).min(LONGEST_DELAY_MS);
            self.plan(delay_ms, event.clone());
        }
    }

    pub fn cut_off(&mut self, worker: usize, for_ms: i64) {
        self.cut_off.insert(worker, self.now_ms + for_ms);
    }

    pub fn heal(&mut self) {
        self.cut_off.clear();
    }

    pub fn reaches(&self, actor: Actor) -> bool {
        match actor {
            Actor::Worker(number) => self
                .cut_off
                .get(&number)
                .is_none_or(|until| *until <= self.now_ms),
            Actor::Monitor(_) | Actor::Submitter => true,
        }
    }
}
