//! How fast the node is, and whether a request costs the same as the state grows: `cargo bench --bench speed`.
//!
//! It prints one table. Every ratio compares programs that took turns in the same run, so that it holds on noisy
//! machines; the times behind it do not. The exit status says whether everything could be measured, not whether the
//! targets are met. README.md in the folder above has the results.
//!
//! `-- --quick` uses fewer messages and rounds, and `-- NAME` runs only the sections whose name contains NAME.

mod allocations;
mod baseline;
mod bounds;
mod heartbeats;
mod journal;
mod process;
mod reduces;
mod replies;
mod round_trip;
mod table;
mod tasks;
mod workers;
mod workload;

use process::Scratch;
use std::io;
use std::time::Instant;
use table::Row;

/// What is measured, by name. A new row goes into the section that shares its set-up, or into one of its own.
const SECTIONS: [(&str, Section); 12] = [
    ("heartbeats", heartbeats::rows),
    ("orders", heartbeats::orders),
    ("allocations", allocations::rows),
    ("round-trip", round_trip::rows),
    ("workers", workers::rows),
    ("checks", workers::checks),
    ("tasks", tasks::rows),
    ("flatness", tasks::flatness),
    ("bounds", bounds::rows),
    ("reduces", reduces::rows),
    ("replies", replies::rows),
    ("journal", journal::rows),
];

type Section = fn(&Bench) -> io::Result<Vec<Row>>;

/// What every section needs.
struct Bench {
    scratch: Scratch,
    is_quick: bool,
}

impl Bench {
    /// A count of messages, workers or tasks: a tenth of it with `--quick`.
    fn scaled(&self, count: usize) -> usize {
        if self.is_quick { count / 10 } else { count }
    }

    /// How many rounds there are; each contestant runs once in each.
    fn rounds(&self) -> usize {
        if self.is_quick { 3 } else { 5 }
    }

    /// The same where rounds are short, and noise is larger.
    fn many_rounds(&self) -> usize {
        if self.is_quick { 7 } else { 25 }
    }

    /// The same where rounds take seconds.
    fn few_rounds(&self) -> usize {
        if self.is_quick { 1 } else { 3 }
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // This program starts itself under these names.
    match &arguments[..] {
        [first, name, rest @ ..] if first == "baseline" => {
            return baseline::run(name, rest.first());
        }
        [first, rounds] if first == "round-trip" => return round_trip::measure(rounds),
        _ => {}
    }
    let (options, names): (Vec<_>, Vec<_>) = arguments
        .iter()
        .map(String::as_str)
        .partition(|argument| argument.starts_with("--"));
    // Cargo adds `--bench`.
    if let Some(unknown) = options
        .iter()
        .find(|option| !["--bench", "--quick"].contains(option))
    {
        return Err(io::Error::other(format!(
            "unknown option {unknown}; there is --quick"
        )));
    }
    let bench = Bench {
        scratch: Scratch::new()?,
        is_quick: options.contains(&"--quick"),
    };
    let started = Instant::now();
    let mut rows = Vec::new();
    let mut unmeasured = Vec::new();
    for (name, section) in SECTIONS {
        if names.is_empty() || names.iter().any(|wanted| name.contains(wanted)) {
            eprintln!("{:4} s: {name}", started.elapsed().as_secs());
            match section(&bench) {
                Ok(section) => rows.extend(section),
                Err(error) => {
                    eprintln!("{name} could not be measured: {error}");
                    unmeasured.push(name);
                }
            }
        }
    }
    table::print(&rows);
    let clock = if process::has_cpu_time() {
        "processor time of the process"
    } else {
        "wall time, since this system has no /proc/PID/schedstat"
    };
    println!(
        "\nTimes: {clock}. Ratios: median (and where the middle half lies) of {} rounds or more, all contestants in each. \
         {} s in all.",
        bench.few_rounds(),
        started.elapsed().as_secs()
    );
    if unmeasured.is_empty() {
        Ok(())
    } else {
        let names = unmeasured.join(", ");
        Err(io::Error::other(format!("not measured: {names}")))
    }
}
