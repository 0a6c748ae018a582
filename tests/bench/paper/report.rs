//! The printed report: the table beside the paper's, a plot of each run, and the master's own work.

use crate::cluster::{Outcome, Sample, Scenario};
use crate::master::Tally;
use crate::model::{MAPS, Model, REDUCES, WORKERS};
use std::collections::BTreeMap;
use std::time::Duration;

/// The paper's times: the normal run, the run without backups, and the run with workers killed.
const PAPER: [u64; 3] = [891, 1_283, 933];

/// How many workers a line of a plot stands for.
const PLOT_STEP: usize = 200;

/// How many samples there are between two marks on the time axis.
const PLOT_MARK: usize = 10;

pub fn print(model: Model, runs: &[(Scenario, Outcome); 3]) {
    let (slow, slowest) = model.slow_machines();
    println!(
        "\nThe sort of the MapReduce paper (OSDI 2004, 5.3-5.5) on a simulated cluster: {WORKERS} workers, {MAPS} maps, \
         {REDUCES} reduces.\nSeed {}: {slow} machines are slow, the slowest by {slowest:.1}.",
        model.seed
    );
    print_table(runs);
    print_milestones(runs);
    for (scenario, outcome) in runs {
        print_plot(*scenario, outcome);
    }
    print_work(runs);
}

fn print_table(runs: &[(Scenario, Outcome); 3]) {
    println!(
        "\n{:12}{:^18}{:^18}{:^18}{:^18}",
        "", "paper", "here", "backups", "re-executed"
    );
    println!(
        "{:12}{:>8}{:>8}  {:>8}{:>8}  {:>8}{:>8}  {:>8}{:>8}  {:>8}",
        "", "time", "", "time", "", "maps", "reduces", "maps", "reduces", "dropped"
    );
    let normal = runs[0].1.elapsed.as_secs_f64();
    for ((scenario, outcome), paper) in runs.iter().zip(PAPER) {
        let paper = Duration::from_secs(paper).as_secs_f64();
        let here = outcome.elapsed.as_secs_f64();
        println!(
            "{:12}{:>6.0} s{:>8}  {:>6.0} s{:>8}  {:>8}{:>8}  {:>8}{:>8}  {:>8}",
            scenario.name,
            paper,
            percent(paper / Duration::from_secs(PAPER[0]).as_secs_f64()),
            here,
            percent(here / normal),
            outcome.backups[0],
            outcome.backups[1],
            outcome.re_executions[0],
            outcome.re_executions[1],
            outcome.duplicates_dropped,
        );
    }
}

/// How much longer one time is than another.
fn percent(ratio: f64) -> String {
    if (ratio - 1.0).abs() < f64::EPSILON {
        String::new()
    } else {
        format!("{:+.0}%", 100.0 * (ratio - 1.0))
    }
}

fn print_milestones(runs: &[(Scenario, Outcome); 3]) {
    let late = Duration::from_secs(960);
    println!();
    for (scenario, outcome) in runs {
        let done = &outcome.reduces_done;
        let unfinished = done.iter().filter(|time| **time > late).count();
        println!(
            "{:12}maps done at {:.0} s; first reduce at {:.0} s, all but 5 at {:.0} s; unfinished after 960 s: {unfinished}",
            scenario.name,
            outcome.maps_done.as_secs_f64(),
            done[0].as_secs_f64(),
            done[done.len() - 6].as_secs_f64(),
        );
    }
    println!(
        "{:12}maps done before 200 s; first reduces at roughly 300 s; without backups 5 after 960 s",
        "paper"
    );
}

/// A stacked plot of the busy workers: a column is a sample, a line is 200 workers. A number too small for half a line
/// is shown as a dot.
fn print_plot(scenario: Scenario, outcome: &Outcome) {
    println!(
        "\n{}: what the workers run (m map, s reduce that shuffles, w reduce that sorts and writes)",
        scenario.name
    );
    let lines = (WORKERS as usize).div_ceil(PLOT_STEP);
    for line in (0..lines).rev() {
        let columns: String = outcome
            .samples
            .iter()
            .map(|sample| mark(*sample, line))
            .collect();
        println!("{:>6} |{}", line * PLOT_STEP, columns.trim_end());
    }
    let marks = outcome.samples.len().div_ceil(PLOT_MARK);
    println!("{:8}{}", "", format!("{:-<PLOT_MARK$}", "+").repeat(marks));
    print!("{:8}", "");
    for sample in outcome.samples.iter().step_by(PLOT_MARK) {
        print!("{:<PLOT_MARK$}", sample.at.as_secs());
    }
    println!("s");
}

fn mark(sample: Sample, line: usize) -> char {
    let middle = line * PLOT_STEP + PLOT_STEP / 2;
    let Sample {
        maps,
        shuffling,
        writing,
        ..
    } = sample;
    let stacked = [
        (writing, 'w'),
        (writing + shuffling, 's'),
        (writing + shuffling + maps, 'm'),
    ];
    let total = writing + shuffling + maps;
    match stacked.iter().find(|(top, _)| *top >= middle) {
        Some((_, mark)) => *mark,
        None if line == 0 && total > 0 => '.',
        None => ' ',
    }
}

fn print_work(runs: &[(Scenario, Outcome); 3]) {
    println!("\nThe master's own work, on one core of this machine");
    println!(
        "{:24}{:>10}{:>9}{:>9}{:>9}{:>11}{:>12}{:>9}{:>9}",
        "", "messages", "MB in", "MB out", "seconds", "us each", "per second", "of job", "busiest"
    );
    let mut by_request: BTreeMap<&str, Tally> = BTreeMap::new();
    for (scenario, outcome) in runs {
        let busiest = outcome
            .work
            .by_second
            .iter()
            .max()
            .copied()
            .unwrap_or_default();
        let total = outcome.work.total();
        println!(
            "{}{:>8.1}%{:>7.2} s",
            row(scenario.name, total),
            100.0 * total.time.as_secs_f64() / outcome.elapsed.as_secs_f64(),
            busiest.as_secs_f64()
        );
        for (request, tally) in &outcome.work.tallies {
            by_request.entry(request).or_default().add(*tally);
        }
    }
    println!("busiest: in one second of the job. By request, all runs:");
    for (request, tally) in by_request {
        println!("{}", row(&format!("  {request}"), tally));
    }
    if let Some(peak) = peak_memory_mib() {
        println!("Peak memory of the cluster and the master: {peak} MiB.");
    }
}

fn row(name: &str, tally: Tally) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let (messages, seconds) = (f64::from(tally.messages), tally.time.as_secs_f64());
    format!(
        "{name:24}{:>10}{:>9.1}{:>9.1}{:>9.3}{:>11.1}{:>12.0}",
        tally.messages,
        megabytes(tally.bytes_in),
        megabytes(tally.bytes_out),
        seconds,
        1e6 * seconds / messages,
        messages / seconds,
    )
}

/// `None` where the system does not report it.
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024)
}
