//! The cluster's own record of the tasks, to check the master against: who runs what, who won, and what
//! reduces must get.

use crate::model::{self, MAPS, REDUCES};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Map = 0,
    Reduce = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskRef {
    pub kind: Kind,
    pub number: u32,
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Map => write!(f, "map-{}", self.number),
            Kind::Reduce => write!(f, "sort-reduce-{}", self.number),
        }
    }
}

/// The inputs of a reduce. They are the same for all reduces, except for the outputs themselves, until a map's output
/// moves to another process.
pub struct Inputs {
    /// For each map, the winning attempt and the process that has its output.
    pub winners: Vec<(u32, usize)>,
    /// For each map, where in `text` its entry is, up to the output.
    entries: Vec<Range<usize>>,
    text: String,
}

/// Counts are by [`Kind`].
#[derive(Default)]
pub struct Ledger {
    pub started: [u32; 2],
    pub backups: [u32; 2],
    pub accepted: [u32; 2],
    pub dropped: u32,
    /// When the last map completed before the first reduce was handed out.
    pub maps_done: Duration,
    pub reduces_done: Vec<Duration>,
    tasks: HashMap<TaskRef, TaskRecord>,
    /// Valid until the output of a map moves.
    inputs: Option<Rc<Inputs>>,
}

#[derive(Default)]
struct TaskRecord {
    attempts: u32,
    /// The attempts that are running as far as the master knows.
    live: Vec<u32>,
    /// The winning attempt and its process.
    winner: Option<(u32, usize)>,
}

impl Ledger {
    pub fn is_complete(&self) -> bool {
        self.reduces_done.len() == REDUCES as usize
    }

    pub fn start(&mut self, task: TaskRef, attempt: u32) {
        let record = self.tasks.entry(task).or_default();
        record.attempts += 1;
        assert_eq!(attempt, record.attempts, "attempts of {task} count from 1");
        self.started[task.kind as usize] += 1;
        self.backups[task.kind as usize] += u32::from(!record.live.is_empty());
        record.live.push(attempt);
        assert!(record.live.len() <= 2, "{task} is run more than twice");
    }

    /// Records that an attempt ended without a result.
    pub fn end(&mut self, task: TaskRef, attempt: u32) {
        let record = self.tasks.entry(task).or_default();
        record.live.retain(|live| *live != attempt);
    }

    /// Records that a result was accepted. Returns the process that had the previous one, if there was one.
    pub fn accept(
        &mut self,
        task: TaskRef,
        attempt: u32,
        process: usize,
        now: Duration,
    ) -> Option<usize> {
        let record = self.tasks.entry(task).or_default();
        record.live.clear();
        let before = record.winner.replace((attempt, process));
        self.accepted[task.kind as usize] += 1;
        match task.kind {
            Kind::Map => {
                self.inputs = None;
                if self.started[Kind::Reduce as usize] == 0 {
                    self.maps_done = now;
                }
            }
            Kind::Reduce => {
                assert!(before.is_none(), "two results of {task} were accepted");
                self.reduces_done.push(now);
            }
        }
        before.map(|(_, process)| process)
    }

    /// Checks that a dropped result was a duplicate.
    pub fn drop_result(&mut self, task: TaskRef) {
        let has_result = self
            .tasks
            .get(&task)
            .is_some_and(|record| record.winner.is_some());
        assert!(has_result, "the first result of {task} was dropped");
        self.dropped += 1;
    }

    /// Checks that a reduce gets the winner's output of every map, byte for byte. Returns the
    /// inputs, and the sum of the outputs.
    pub fn check_inputs<'a>(
        &mut self,
        reduce: u32,
        given: &str,
        names: impl Fn(usize) -> &'a str,
    ) -> (Rc<Inputs>, u64) {
        let inputs = self
            .inputs
            .take()
            .unwrap_or_else(|| Rc::new(self.gather(names)));
        let mut rest = given.as_bytes();
        let mut sum = 0;
        for (map, entry) in (0..MAPS).zip(&inputs.entries) {
            let digit = model::digit(map, reduce);
            let expected = &inputs.text.as_bytes()[entry.clone()];
            rest = rest
                .strip_prefix(expected)
                .and_then(|rest| rest.strip_prefix(&[b'0' + digit]))
                .unwrap_or_else(|| panic!("reduce {reduce} was not given the output of map {map}"));
            sum += u64::from(digit);
        }
        assert_eq!(
            rest, b"}]}}}\n",
            "reduce {reduce} was given more than the outputs"
        );
        self.inputs = Some(Rc::clone(&inputs));
        (inputs, sum)
    }

    fn gather<'a>(&self, names: impl Fn(usize) -> &'a str) -> Inputs {
        let mut inputs = Inputs {
            winners: Vec::new(),
            entries: Vec::new(),
            text: String::new(),
        };
        for number in 0..MAPS {
            let map = TaskRef {
                kind: Kind::Map,
                number,
            };
            let record = self.tasks.get(&map);
            let (attempt, process) = record
                .and_then(|record| record.winner)
                .unwrap_or_else(|| panic!("a reduce was handed out before {map} was completed"));
            let start = inputs.text.len();
            let separator = if number > 0 { "}, " } else { "" };
            let _ = write!(
                inputs.text,
                "{separator}{{\"task_id\": \"{map}\", \"attempt\": {attempt}, \"worker_id\": \"{}\", \"output\": ",
                names(process)
            );
            inputs.entries.push(start..inputs.text.len());
            inputs.winners.push((attempt, process));
        }
        inputs
    }
}
