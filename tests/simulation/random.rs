//! All chance in a run comes from one generator, so that the seed is the run.

/// How many times longer than typical the longest is.
pub const LONGEST_TAIL: i64 = 64;

/// `SplitMix64`: small, and good enough to choose faults.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end`, without `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a usize has 64 bits at most");
        usize::try_from(self.next() % end).expect("it is less than a usize")
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: i64, last: i64) -> i64 {
        let count = usize::try_from(last - first + 1).expect("`first` is not after `last`");
        first + i64::try_from(self.below(count)).expect("it is at most `last`")
    }

    /// True that many times in a thousand.
    pub fn per_mille(&mut self, chance: u32) -> bool {
        self.below(1000) < chance as usize
    }

    /// A time that is years off.
    pub fn years_from(&mut self, time: i64) -> i64 {
        let year_ms = 365 * 24 * 3_600_000;
        let years = self.between(1, 50) * if self.per_mille(500) { 1 } else { -1 };
        time.saturating_add(years * year_ms)
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Mostly short, and now and then very long: how tasks and networks take their time.
    pub fn heavy_tail(&mut self, typical: i64) -> i64 {
        let mut longest = typical;
        while longest < typical * LONGEST_TAIL && self.per_mille(250) {
            longest *= 2;
        }
        self.between(longest / 2, longest)
    }
}
