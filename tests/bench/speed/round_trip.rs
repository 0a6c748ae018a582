//! How long a worker waits for the reply to a heartbeat.

use super::Bench;
use super::process::{baseline, node};
use super::table::{Rounds, Row, Target, Unit};
use super::workload::{INIT, Order, heartbeats};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TRIPS: usize = 2_000;

/// Compared with a program that only writes what it reads.
pub fn rows(bench: &Bench) -> io::Result<Vec<Row>> {
    let rounds = bench.many_rounds();
    let program = std::env::current_exe()?;
    let arguments = ["round-trip".to_owned(), rounds.to_string()];
    // `taskset` pins this program to a processor, and both processes that it starts inherit that.
    let pinned = Command::new("taskset")
        .args(["-c", &last_core()])
        .arg(&program)
        .args(&arguments)
        .output();
    let (output, how) = match pinned {
        Ok(output) if output.status.success() => (output, "pipes, all on one core (taskset), wall"),
        _ => (
            Command::new(program).args(&arguments).output()?,
            "pipes, NOT pinned for want of taskset, wall",
        ),
    };
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut times = output.split_whitespace().map(|nanos| {
        let nanos = nanos.parse().map_err(io::Error::other)?;
        Ok::<_, io::Error>(Duration::from_nanos(nanos))
    });
    let rounds = Rounds::run(rounds, || {
        let mut next = || {
            times
                .next()
                .unwrap_or(Err(io::ErrorKind::UnexpectedEof.into()))
        };
        Ok([next()?, next()?])
    })?;
    Ok(vec![Row {
        what: "round trip of a heartbeat, p50".to_owned(),
        against: "cat",
        target: Target::AtMost(1.3, Unit::Times),
        measured: rounds.ratio((0, 1), (1, 1)),
        how,
    }])
}

/// The last processor that this process may run on. The system itself tends to use the first.
fn last_core() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cores = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let last = cores.and_then(|cores| cores.rsplit([',', '-']).next());
    last.unwrap_or("0").trim().to_owned()
}

/// Runs in the pinned process. Prints the median time of the node and of `cat`, in ns, for each round.
pub fn measure(rounds: &str) -> io::Result<()> {
    let rounds: usize = rounds.parse().map_err(io::Error::other)?;
    let mut node = start(&mut node())?;
    let mut cat = start(&mut baseline("cat")?)?;
    let input = heartbeats(TRIPS, 1_000, Order::Normal);
    trip(&mut node, INIT)?;
    for _ in 0..rounds {
        println!(
            "{} {}",
            median_trip(&mut node, &input)?,
            median_trip(&mut cat, &input)?
        );
    }
    for mut child in [node, cat] {
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(())
}

fn start(program: &mut Command) -> io::Result<Child> {
    program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

fn median_trip(child: &mut Child, input: &[u8]) -> io::Result<u128> {
    let mut times = Vec::with_capacity(TRIPS);
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let started = Instant::now();
        trip(child, line)?;
        times.push(started.elapsed().as_nanos());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Writes a line, and reads to the end of the reply.
fn trip(child: &mut Child, line: &[u8]) -> io::Result<()> {
    let (Some(stdin), Some(stdout)) = (&mut child.stdin, &mut child.stdout) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    stdin.write_all(line)?;
    let mut reply = [0; 4 << 10];
    loop {
        let count = stdout.read(&mut reply)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if reply[count - 1] == b'\n' {
            return Ok(());
        }
    }
}
