//! The model of the cluster and of the sort: how long everything takes, and who is slow.
//!
//! Everything here is a pure function of the seed: the same machines are slow in all runs, and the same attempt of a
//! task takes the same time in all runs. Some values are fitted to the paper's normal run and to its run without
//! backups. None is fitted to the run with workers killed.

use std::time::Duration;

pub const WORKERS: u32 = 1_746;
pub const MAPS: u32 = 15_000;
pub const REDUCES: u32 = 4_000;

/// Machines join evenly over this time: the paper's minute of start-up, in which the program is copied to them.
pub const START_UP: Duration = Duration::from_secs(60);

/// Average time of a map on a healthy machine. Fitted: as in the paper, all maps are done before 200 s.
/// (64 MB in that time make 7.8 GB/s on all machines together; the paper's peak is 13 GB/s.)
const MAP: Duration = Duration::from_secs(15);

/// Average time of a reduce on a healthy machine. Fitted: the normal run takes about 890 s.
const REDUCE: Duration = Duration::from_secs(220);

/// Share of a reduce that is spent fetching inputs; the rest is sorting and writing. In the paper, the reduces
/// after the first 1,700 shuffle from 300 s to 600 s, and write until 850 s.
const SHUFFLE_SHARE: f64 = 0.45;

/// An attempt takes between `1 - SPREAD` and `1 + SPREAD` times the average, and is more likely to be near the average.
const SPREAD: f64 = 0.25;

/// One machine in this many is slow. Fitted: without backups, about 5 reduces are left after 960 s.
const SLOW_ONE_IN: f64 = 175.0;

/// On a slow machine, everything takes k times as long, with P(k > x) = (`SLOW_AT_LEAST` / x)², a Pareto
/// distribution, cut off at `SLOW_AT_MOST`. The cut is fitted: without backups, the run takes about 44% longer.
const SLOW_AT_LEAST: f64 = 2.5;
const SLOW_AT_MOST: f64 = 4.6;

/// The cluster that a seed describes.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub seed: u64,
}

/// What a random number is for. Numbers for different purposes are independent.
#[derive(Clone, Copy)]
enum Purpose {
    Start = 1,
    IsSlow,
    Slowness,
    Beat,
    Kill,
    Luck,
}

impl Model {
    /// When the first worker process of a machine starts.
    pub fn start(self, machine: u32) -> Duration {
        START_UP.mul_f64(self.unit(Purpose::Start, machine, 0))
    }

    /// How long after its start a worker process sends its first heartbeat, as a fraction of the interval.
    pub fn first_beat(self, machine: u32) -> f64 {
        self.unit(Purpose::Beat, machine, 0)
    }

    pub fn map_time(self, machine: u32, map: u32, attempt: u32) -> Duration {
        MAP.mul_f64(self.slowness(machine) * self.luck(map, attempt))
    }

    /// How long a reduce takes to fetch all its inputs, and how long after that.
    pub fn reduce_times(self, machine: u32, reduce: u32, attempt: u32) -> (Duration, Duration) {
        let time = REDUCE.mul_f64(self.slowness(machine) * self.luck(MAPS + reduce, attempt));
        (
            time.mul_f64(SHUFFLE_SHARE),
            time.mul_f64(1.0 - SHUFFLE_SHARE),
        )
    }

    /// The machines on which the worker is killed.
    pub fn killed(self, count: usize) -> Vec<u32> {
        let mut machines: Vec<u32> = (0..WORKERS).collect();
        machines.sort_by_cached_key(|machine| self.draw(Purpose::Kill, *machine, 0));
        machines.truncate(count);
        machines
    }

    /// How many machines are slow, and the factor of the slowest.
    pub fn slow_machines(self) -> (usize, f64) {
        let slowness = (0..WORKERS).map(|machine| self.slowness(machine));
        let count = slowness.clone().filter(|factor| *factor > 1.0).count();
        (count, slowness.fold(1.0, f64::max))
    }

    fn slowness(self, machine: u32) -> f64 {
        if self.unit(Purpose::IsSlow, machine, 0) * SLOW_ONE_IN >= 1.0 {
            return 1.0;
        }
        let rank = 1.0 - self.unit(Purpose::Slowness, machine, 0);
        (SLOW_AT_LEAST / rank.sqrt()).min(SLOW_AT_MOST)
    }

    /// The mean of four draws is bell-shaped, and without `ln` or `exp` it is the same on every platform.
    fn luck(self, task: u32, attempt: u32) -> f64 {
        let draws = (0..4).map(|draw| self.unit(Purpose::Luck, task, 4 * attempt + draw));
        1.0 + SPREAD * (draws.sum::<f64>() / 2.0 - 1.0)
    }

    /// Uniform, from 0 to below 1.
    fn unit(self, purpose: Purpose, which: u32, draw: u32) -> f64 {
        f64::from((self.draw(purpose, which, draw) >> 32) as u32) / 4_294_967_296.0
    }

    fn draw(self, purpose: Purpose, which: u32, draw: u32) -> u64 {
        let of_purpose = splitmix64(self.seed.wrapping_add(splitmix64(purpose as u64)));
        splitmix64(of_purpose ^ (u64::from(which) << 32 | u64::from(draw)))
    }
}

/// The digit that a map's output holds for a reduce. These digits are all the data that is sorted.
pub fn digit(map: u32, reduce: u32) -> u8 {
    (splitmix64(u64::from(map) << 32 | u64::from(reduce)) % 10) as u8
}

/// One step of the generator `SplitMix64` (Steele, Lea & Flood 2014).
fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
