//! The sort experiment of the MapReduce paper (Dean & Ghemawat, OSDI 2004, §5.3 to §5.5), with the node as the master
//! of a simulated cluster: `cargo bench --bench paper`.
//!
//! 1,746 workers sort a terabyte, with 15,000 map tasks and 4,000 reduce tasks: normally, without backup tasks,
//! and with 200 workers killed. Time is virtual, and the same seed gives the same run; only the
//! master's own work is measured with a real clock. The benchmark panics if the master loses a task, counts a result
//! twice, or gives a reduce anything but the outputs of all maps.
//!
//! `-- --seed 7` draws other slow machines and other victims, `-- --kill-at 240` kills at another second (60 to
//! 600). `model` describes the model, and which of its values are fitted. README.md beside this file has the results.

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

/// All workers have joined by then, and the job goes on for long enough that the master can detect the failures.
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

/// The seed and the time at which workers are killed; `None` if there are other options.
fn options(mut arguments: impl Iterator<Item = String>) -> Option<(u64, Duration)> {
    let (mut seed, mut kill_at) = (1, KILL_AT);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo adds this one.
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
