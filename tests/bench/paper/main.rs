//! The experiment of the `MapReduce` paper (Dean & Ghemawat, OSDI 2004, §5.3–5.5), with the node as the master
//! of a simulated cluster: `cargo bench --bench paper`.
//!
//! 1,746 workers sort a terabyte, with 15,000 map tasks and 4,000 reduce tasks: as usual, without backup tasks,
//! and with 200 workers killed on the way. Time is virtual, and the same seed gives the same run; only the
//! master's own work is measured on the clock. A master that loses a task, counts a result twice or gives a
//! reduce anything but the outputs of all maps makes it panic.
//!
//! `-- --seed 7` draws other slow machines and other victims, `-- --kill-at 240` kills at another second (60 to
//! 600). The model is in `model`, with what of it is fitted.

mod cluster;
mod ledger;
mod master;
mod model;
mod report;

use cluster::{Cluster, Scenario};
use model::Model;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: cargo bench --bench paper -- [--seed NUMBER] [--kill-at SECONDS]";

/// The paper says "several minutes into the computation".
const KILL_AT: Duration = Duration::from_secs(300);

/// When all workers are there, and the job does not end before the master can notice.
const KILL_AT_ANY_OF: RangeInclusive<Duration> = model::START_UP..=Duration::from_secs(600);

fn main() -> ExitCode {
    let Some((seed, kill_at)) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let model = Model { seed };
    let scenarios = [
        Scenario {
            name: "normal",
            backups: true,
            kill_at: None,
        },
        Scenario {
            name: "no backups",
            backups: false,
            kill_at: None,
        },
        Scenario {
            name: "200 killed",
            backups: true,
            kill_at: Some(kill_at),
        },
    ];
    let runs = scenarios.map(|scenario| {
        eprintln!("running: {}", scenario.name);
        (scenario, Cluster::run(model, scenario))
    });
    report::print(model, &runs);
    ExitCode::SUCCESS
}

/// The seed and the time of the killing; `None` if the options are others.
fn options(mut arguments: impl Iterator<Item = String>) -> Option<(u64, Duration)> {
    let (mut seed, mut kill_at) = (1, KILL_AT);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--seed" => seed = arguments.next()?.parse().ok()?,
            "--kill-at" => {
                kill_at = Duration::from_secs(arguments.next()?.parse().ok()?);
                if !KILL_AT_ANY_OF.contains(&kill_at) {
                    return None;
                }
            }
            _ => return None,
        }
    }
    Some((seed, kill_at))
}
