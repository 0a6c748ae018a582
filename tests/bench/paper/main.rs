//! The sort experiment of the MapReduce paper (Dean & Ghemawat, OSDI 2004, §5.3 to §5.5), with the node as the master
//! of a simulated cluster: `cargo bench --bench paper`.
//!
//! 1,746 workers sort a terabyte, with 15,000 map tasks and 4,000 reduce tasks: normally, without backup tasks,
//! and with 200 workers killed. Time is virtual, and the same seed gives the same run; only the
//! master's own work is measured with a real clock. The benchmark panics if the master loses a task, counts a result
//! twice, or gives a reduce anything but the outputs of all maps.
//!
//! `-- --seed 7` draws other slow machines and other victims, `-- --kill-at 240` kills at another second (60 to
//! 600), `-- --record FILE` writes the messages of the last run to a file, for `mapreduce-master timeline FILE`. `model` describes the model, and which of its values are fitted. README.md beside this file has the results.

mod cluster;
mod ledger;
mod master;
mod model;
mod report;

use cluster::{Cluster, Scenario};
use model::Model;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str =
    "usage: cargo bench --bench paper -- [--seed NUMBER] [--kill-at SECONDS] [--record FILE]";

/// The paper says "several minutes into the computation".
const KILL_AT: Duration = Duration::from_secs(300);

/// All workers have joined by then, and the job goes on for long enough that the master can detect the failures.
const KILL_AT_ANY_OF: RangeInclusive<Duration> = model::START_UP..=Duration::from_secs(600);

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut record = match options.record.map(File::create).transpose() {
        Ok(file) => file,
        Err(error) => {
            eprintln!("cannot create the record: {error}");
            return ExitCode::FAILURE;
        }
    };
    let model = Model { seed: options.seed };
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
            kill_at: Some(options.kill_at),
        },
    ];
    let runs = scenarios.map(|scenario| {
        eprintln!("running: {}", scenario.name);
        let record = record.take_if(|_| scenario.kill_at.is_some());
        (scenario, Cluster::run(model, scenario, record))
    });
    report::print(model, &runs);
    ExitCode::SUCCESS
}

struct Options {
    seed: u64,
    kill_at: Duration,
    /// Where the messages of the run with killed workers go.
    record: Option<PathBuf>,
}

/// What the command line asks for; `None` if it is invalid.
fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        seed: 1,
        kill_at: KILL_AT,
        record: None,
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo adds this one.
            "--bench" => {}
            "--seed" => options.seed = arguments.next()?.parse().ok()?,
            "--kill-at" => {
                options.kill_at = Duration::from_secs(arguments.next()?.parse().ok()?);
                if !KILL_AT_ANY_OF.contains(&options.kill_at) {
                    return None;
                }
            }
            "--record" => options.record = Some(arguments.next()?.into()),
            _ => return None,
        }
    }
    Some(options)
}
