//! A network that loses, repeats, delays and so reorders messages.

use super::random::Random;
use std::ops::Range;

/// What a network does to messages, whichever way they go.
#[derive(Clone, Debug)]
pub struct Faults {
    pub lost_percent: u64,
    /// Of the messages that arrive.
    pub repeated_percent: u64,
    pub delay_ms: Range<u64>,
}

impl Faults {
    pub const NONE: Self = Self {
        lost_percent: 0,
        repeated_percent: 0,
        delay_ms: 1..2,
    };
}

pub struct Network {
    faults: Faults,
    random: Random,
    pub messages: Messages,
}

/// How many there were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages {
    pub sent: u64,
    pub lost: u64,
    pub repeated: u64,
}

impl Network {
    pub fn new(faults: Faults, random: Random) -> Self {
        Self {
            faults,
            random,
            messages: Messages::default(),
        }
    }

    /// Carries a message: after how many ms each copy of it arrives, if any does.
    pub fn carry(&mut self) -> Vec<i64> {
        let Faults {
            lost_percent,
            repeated_percent,
            delay_ms,
        } = &self.faults;
        let is_lost = self.random.percent(*lost_percent);
        let is_repeated = !is_lost && self.random.percent(*repeated_percent);
        self.messages.sent += 1;
        self.messages.lost += u64::from(is_lost);
        self.messages.repeated += u64::from(is_repeated);
        let copies = if is_lost {
            0
        } else {
            1 + usize::from(is_repeated)
        };
        let spread = delay_ms.end - delay_ms.start;
        let delays = std::iter::repeat_with(|| delay_ms.start + self.random.below(spread));
        delays.take(copies).map(u64::cast_signed).collect()
    }
}
