//! The printed table: for each target, what was measured, and the verdict.

use std::fmt;
use std::io;
use std::time::Duration;

/// One row. `target` and `measured` are in the same unit.
pub struct Row {
    pub what: String,
    pub against: &'static str,
    pub target: Target,
    pub measured: Measured,
    /// How it was measured, in a few words.
    pub how: &'static str,
}

/// The bound that the measured value has to meet.
#[derive(Clone, Copy)]
pub enum Target {
    AtMost(f64, Unit),
    AtLeast(f64, Unit),
    /// No bound: the value is informative.
    None(Unit),
}

/// The unit of a value.
#[derive(Clone, Copy)]
pub enum Unit {
    Times,
    Nanoseconds,
    Milliseconds,
    Seconds,
    Bytes,
    Allocations,
}

/// A measured value, or the reason why there is none.
pub enum Measured {
    /// The value, and the numbers behind it.
    Value(f64, String),
    Missing(&'static str),
}

impl Measured {
    /// Memory per item: the peak minus `other`, divided by `count`.
    pub fn memory(peak: Option<usize>, other: usize, count: usize) -> Self {
        match peak {
            Some(peak) => {
                let bytes = as_float(peak - other) / as_float(count);
                Self::Value(bytes, format!("peak {} MiB", peak >> 20))
            }
            None => Self::Missing("no /proc/PID/status"),
        }
    }
}

impl Target {
    fn verdict(self, value: f64) -> &'static str {
        let is_met = match self {
            Self::AtMost(most, _) => value <= most,
            Self::AtLeast(least, _) => value >= least,
            Self::None(_) => return "-",
        };
        if is_met { "met" } else { "MISSED" }
    }

    fn unit(self) -> Unit {
        match self {
            Self::AtMost(_, unit) | Self::AtLeast(_, unit) | Self::None(unit) => unit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most, unit) => write!(f, "≤ {most}{unit}"),
            Self::AtLeast(least, unit) => write!(f, "≥ {least}{unit}"),
            Self::None(_) => f.write_str("none"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Times => " ×",
            Self::Nanoseconds => " ns",
            Self::Milliseconds => " ms",
            Self::Seconds => " s",
            Self::Bytes => " bytes",
            Self::Allocations => "",
        })
    }
}

impl Unit {
    /// How many decimal places are significant.
    fn digits(self) -> usize {
        match self {
            Self::Times | Self::Nanoseconds | Self::Milliseconds | Self::Seconds => 2,
            Self::Bytes | Self::Allocations => 0,
        }
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let (measured, verdict) = match &self.measured {
            Measured::Value(value, behind) => {
                let verdict = self.target.verdict(*value);
                let unit = self.target.unit();
                let digits = unit.digits();
                let separator = if behind.is_empty() { "" } else { ": " };
                (
                    format!("{value:.digits$}{unit}{separator}{behind}"),
                    verdict,
                )
            }
            Measured::Missing(why) => (format!("not measured: {why}"), "-"),
        };
        [
            self.what.clone(),
            self.against.to_owned(),
            self.target.to_string(),
            measured,
            verdict.to_owned(),
            self.how.to_owned(),
        ]
    }
}

/// The table, in Markdown.
pub fn print(rows: &[Row]) {
    let titles = ["what", "against", "target", "measured", "verdict", "how"].map(str::to_owned);
    let mut lines = vec![titles];
    lines.extend(rows.iter().map(Row::cells));
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    });
    lines.insert(1, widths.map(|width| "-".repeat(width)));
    for line in &lines {
        for (cell, width) in line.iter().zip(widths) {
            print!("| {cell:width$} ");
        }
        println!("|");
    }
}

/// The times of several rounds. In each round, all contestants ran once, one after the other. Noise that lasts longer
/// than a round affects all of them, and cancels out in a ratio within the round.
pub struct Rounds(Vec<Vec<Duration>>);

impl Rounds {
    /// Calls `round` this many times. It returns the times of all contestants.
    pub fn run<T: Into<Vec<Duration>>>(
        rounds: usize,
        mut round: impl FnMut() -> io::Result<T>,
    ) -> io::Result<Self> {
        let times: io::Result<_> = (0..rounds).map(|_| Ok(round()?.into())).collect();
        Ok(Self(times?))
    }

    /// The median time of a contestant per operation, in ns.
    pub fn nanoseconds(&self, contestant: usize, count: usize) -> Measured {
        let times = self
            .0
            .iter()
            .map(|round| per_operation(round[contestant], count));
        Measured::Value(median(&sorted(times)), String::new())
    }

    /// The median time of a contestant, in s.
    pub fn seconds(&self, contestant: usize) -> Measured {
        let times = self.0.iter().map(|round| round[contestant].as_secs_f64());
        Measured::Value(median(&sorted(times)), String::new())
    }

    /// The median over the rounds of contestant `a`'s time per operation divided by contestant `b`'s, followed by the
    /// two median times and the range of the middle half of the ratios.
    pub fn ratio(&self, (a, a_count): (usize, usize), (b, b_count): (usize, usize)) -> Measured {
        let times = |contestant: usize, count| {
            self.0
                .iter()
                .map(move |round| per_operation(round[contestant], count))
        };
        let ratios = sorted(times(a, a_count).zip(times(b, b_count)).map(|(a, b)| a / b));
        let behind = format!(
            "{} / {} ({:.2} to {:.2})",
            time(median(&sorted(times(a, a_count)))),
            time(median(&sorted(times(b, b_count)))),
            ratios[ratios.len() / 4],
            ratios[ratios.len() - 1 - ratios.len() / 4],
        );
        Measured::Value(median(&ratios), behind)
    }
}

fn per_operation(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / as_float(count)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_float(count: usize) -> f64 {
    count as f64
}

/// In ascending order.
fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle one of sorted values.
fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// A time with a readable unit.
fn time(nanos: f64) -> String {
    match nanos {
        ..1e4 => format!("{nanos:.0} ns"),
        ..1e7 => format!("{:.0} µs", nanos / 1e3),
        _ => format!("{:.0} ms", nanos / 1e6),
    }
}

/// A count with thousands separators.
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
