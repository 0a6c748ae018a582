//! Runs tests that are found only when the program runs, with the arguments and the output of Rust's own harness.

use std::collections::BTreeSet;
use std::env;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

/// A test, and how to run it. Errors: a report for people.
pub struct Test<'a> {
    pub name: String,
    pub run: Box<dyn FnOnce() -> Result<(), String> + Send + 'a>,
}

/// What the command line asks for.
#[allow(clippy::struct_excessive_bools)] // Each is an option.
#[derive(Debug, Default)]
struct Arguments {
    filters: Vec<String>,
    skips: Vec<String>,
    is_exact: bool,
    is_list: bool,
    is_quiet: bool,
    /// Only ignored tests, and none is.
    is_none: bool,
    threads: Option<usize>,
}

impl Arguments {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(argument) = given.next() {
            let (name, mut value) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (&argument[..], None),
            };
            let mut value = || {
                let value = value.take().or_else(|| given.next());
                value.ok_or_else(|| format!("{name} needs a value"))
            };
            match name {
                "--exact" => arguments.is_exact = true,
                "--list" => arguments.is_list = true,
                "-q" | "--quiet" => arguments.is_quiet = true,
                "--ignored" => arguments.is_none = true,
                "--skip" => arguments.skips.push(value()?),
                "--test-threads" => {
                    let threads = value()?;
                    let threads = threads.parse().map_err(|_| "--test-threads is a number")?;
                    arguments.threads = Some(threads);
                }
                "--nocapture" | "--no-capture" | "--show-output" | "--include-ignored" => {}
                "--color" | "--format" | "--logfile" | "-Z" => drop(value()?),
                _ if argument.starts_with('-') => return Err(format!("unknown option {argument}")),
                _ => arguments.filters.push(argument),
            }
        }
        Ok(arguments)
    }

    /// A filter that names a topic means its folder. Any other is part of a name, as everywhere in Rust.
    fn wants(&self, name: &str, topics: &BTreeSet<String>) -> bool {
        let matches = |filter: &String| {
            let filter = filter.trim_end_matches('/');
            if self.is_exact {
                name == filter
            } else if topics.contains(filter) {
                topic(name) == filter
            } else {
                name.contains(filter)
            }
        };
        !self.is_none
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skips.iter().any(matches)
    }
}

fn topic(name: &str) -> &str {
    name.split_once('/').map_or(name, |(topic, _)| topic)
}

/// Runs those of the tests that the command line asks for. With `is_some_wanted` it is a failure if there are none.
pub fn run(tests: Vec<Test<'_>>, is_some_wanted: bool) -> ExitCode {
    let arguments = match Arguments::read(env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let topics: BTreeSet<_> = (tests.iter().map(|test| topic(&test.name).to_owned())).collect();
    let (tests, left_out): (Vec<_>, Vec<_>) =
        (tests.into_iter()).partition(|test| arguments.wants(&test.name, &topics));
    if arguments.is_list {
        for test in &tests {
            say(format_args!("{}: test\n", test.name));
        }
        say(format_args!("\n{} tests, 0 benchmarks\n", tests.len()));
        return ExitCode::SUCCESS;
    }
    if tests.is_empty() && !arguments.is_none {
        let topics: Vec<_> = topics.iter().map(|topic| &topic[..]).collect();
        eprintln!(
            "no conversation has such a name; the topics: {}",
            topics.join(", ")
        );
        // `cargo test NAME` gives every suite the same filter, which then belongs to another one.
        let is_typo = arguments.filters.iter().any(|filter| filter.contains('/'));
        if is_some_wanted || is_typo {
            return ExitCode::from(101);
        }
    }
    run_all(tests, left_out.len(), &arguments)
}

fn run_all(tests: Vec<Test<'_>>, left_out: usize, arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let count = tests.len();
    say(format_args!(
        "\nrunning {count} test{}\n",
        if count == 1 { "" } else { "s" }
    ));
    let threads = arguments
        .threads
        .or_else(|| thread::available_parallelism().ok().map(usize::from));
    let waiting = Mutex::new(tests.into_iter());
    let (sender, results) = mpsc::channel();
    let mut failures = Vec::new();
    thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1).max(1) {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                loop {
                    let next = waiting.lock().expect("no test runs under the lock").next();
                    let Some(Test { name, run }) = next else {
                        break;
                    };
                    let result = panic::catch_unwind(AssertUnwindSafe(run))
                        .unwrap_or_else(|_| Err("it panicked, as said on stderr\n".into()));
                    let _ = sender.send((name, result));
                }
            });
        }
        drop(sender);
        for (name, result) in results {
            let verdict = if result.is_ok() { "ok" } else { "FAILED" };
            if !arguments.is_quiet {
                say(format_args!("test {name} ... {verdict}\n"));
            }
            failures.extend(result.err().map(|report| (name, report)));
        }
    });
    failures.sort();
    if !failures.is_empty() {
        say(format_args!("\nfailures:\n\n"));
        for (name, report) in &failures {
            say(format_args!("---- {name} ----\n{report}\n"));
        }
        say(format_args!("\nfailures:\n"));
        for (name, _) in &failures {
            say(format_args!("    {name}\n"));
        }
    }
    let (verdict, status) = match failures.len() {
        0 => ("ok", ExitCode::SUCCESS),
        _ => ("FAILED", ExitCode::from(101)),
    };
    say(format_args!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; {left_out} filtered out; finished in {:.2}s\n\n",
        count - failures.len(),
        failures.len(),
        started.elapsed().as_secs_f64()
    ));
    status
}

/// Writes to stdout; a reader that has gone away changes nothing about the tests.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = io::stdout().write_fmt(text);
}
