//! What happened to the jobs and workers of a master, ready to be drawn, and what failures and backups cost.
//!
//! Times are in ms, by the clock of whoever sent the message; workers, jobs, tasks and attempts are named by
//! their places in the story's lists.

use crate::master::{Kind, LossCause, TaskState};
use crate::wire::TaskCounts;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Where a story was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Journal,
    Conversation,
}

#[derive(Debug)]
pub struct Story {
    pub source: Source,
    /// What a reader must know about where the story comes from, in sentences.
    pub notes: Vec<String>,
    /// The first time in it, where the page's clock starts.
    pub origin: i64,
    /// In the order in which they became known.
    pub workers: Vec<Worker>,
    /// In the order in which they were submitted.
    pub jobs: Vec<Job>,
    /// In the order in which they were first handed out or queued again. A task that never was is only counted.
    pub tasks: Vec<Task>,
    /// In the order of their assignments.
    pub attempts: Vec<Attempt>,
    pub waits: Vec<Wait>,
    /// When the master recovered from its journal, ascending.
    pub recoveries: Vec<i64>,
    pub numbers: Numbers,
}

#[derive(Debug)]
pub struct Worker {
    pub id: Box<str>,
    pub joined: i64,
    /// When it was removed or forgotten, unless it is known again.
    pub removed: Option<i64>,
    /// When it was heard from, ascending.
    pub heard: Vec<i64>,
    pub failures: Vec<Failure>,
}

/// A failure that a check detected, or another event in which a worker loses its attempts: a restart, a removal or a
/// reassignment.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    pub at: i64,
    /// When the worker was heard from again.
    pub back: Option<i64>,
    /// The attempts that were lost by it.
    pub attempts: Vec<usize>,
    /// The attempts whose outputs were lost by it.
    pub outputs: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    Check {
        silent_ms: i128,
        timeout_ms: i64,
    },
    Restart,
    Removal,
    /// Its tasks were given to another worker.
    Reassignment,
}

#[derive(Debug)]
pub struct Job {
    pub id: Box<str>,
    pub submitted: i64,
    pub ended: Option<(i64, JobEnd)>,
    /// The id of the task that failed it, and the error.
    pub failure: Option<(Box<str>, Box<str>)>,
    pub barriers: Vec<OpenPeriod>,
    /// How many tasks it has.
    pub map_tasks: usize,
    pub reduce_tasks: usize,
    /// In which states they are in the end.
    pub maps: TaskCounts,
    pub reduces: TaskCounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    Completed,
    Failed,
    /// While it was running.
    Removed,
}

/// A period during which the reduces of a job could be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPeriod {
    pub opened: i64,
    pub closed: Option<i64>,
}

#[derive(Debug)]
pub struct Task {
    pub id: Box<str>,
    pub job: usize,
    pub kind: Kind,
    pub state: TaskState,
}

#[derive(Debug)]
pub struct Attempt {
    pub task: usize,
    pub number: u64,
    pub worker: usize,
    /// Set if this attempt is a backup.
    pub backup: Option<Backup>,
    pub assigned: i64,
    pub fetched: Option<i64>,
    pub ended: Option<(i64, End)>,
    /// The error, if it failed.
    pub error: Option<Box<str>>,
    /// When its late results were dropped.
    pub dropped: Vec<i64>,
    /// How it ended before, if its result was accepted afterwards.
    pub interrupted: Option<Interruption>,
    /// When its output was lost, after it had been accepted.
    pub output_lost: Option<i64>,
    /// Its lane on the page. Attempts that overlap on a worker get different lanes.
    pub lane: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The attempt that was slow, if the story knows it.
    pub slow: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    pub at: i64,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Accepted,
    /// Another attempt's result was accepted first: this one's, if the story knows it.
    Superseded(Option<usize>),
    Failed,
    InputsMissing,
    TimedOut,
    Lost(LossCause),
    Withdrawn,
}

/// A stretch of time in which tasks waited to be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub job: usize,
    pub kind: Kind,
    /// How many tasks.
    pub tasks: usize,
    pub from: i64,
    pub to: Option<i64>,
}

/// The master's own counts, and what follows from the story.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    pub healthy_workers: usize,
    pub failed_workers: usize,
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    pub lost: u64,
    pub speculative: u64,
    pub duplicates_dropped: u64,
    /// For how long all attempts ran, in ms.
    pub ran_ms: i128,
    pub lost_ms: Lost,
    pub saved: Saved,
}

/// The running time of attempts whose work was lost to failures, in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub with_workers: i128,
    pub outputs: i128,
    pub failed: i128,
    pub timed_out: i128,
    pub inputs_missing: i128,
}

impl Lost {
    pub fn total(&self) -> i128 {
        self.with_workers + self.outputs + self.failed + self.timed_out + self.inputs_missing
    }
}

/// What backups cost and saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    pub won: usize,
    /// For how long backups ran, in ms.
    pub cost_ms: i128,
    /// How much earlier results arrived because of backups, in ms, summed over the winners for which it is known.
    pub saved_ms: i128,
    /// The most that one of them saved, in ms.
    pub most_ms: i128,
    pub known: usize,
    pub unknown: usize,
}

impl Story {
    /// Adds a stretch of time in which tasks waited.
    pub(super) fn waited(
        &mut self,
        job: usize,
        kind: Kind,
        tasks: usize,
        from: i64,
        to: Option<i64>,
    ) {
        self.waits.push(Wait {
            job,
            kind,
            tasks,
            from,
            to,
        });
    }

    /// The first and the last time, in ms.
    pub fn span(&self) -> (i64, i64) {
        let mut span = (self.origin, self.origin);
        let mut take = |at: i64| span = (span.0.min(at), span.1.max(at));
        for worker in &self.workers {
            take(worker.joined);
            worker.removed.into_iter().for_each(&mut take);
            worker.heard.iter().copied().for_each(&mut take);
            for failure in &worker.failures {
                take(failure.at);
                failure.back.into_iter().for_each(&mut take);
            }
        }
        for job in &self.jobs {
            take(job.submitted);
            job.ended.iter().for_each(|(at, _)| take(*at));
            for barrier in &job.barriers {
                take(barrier.opened);
                barrier.closed.into_iter().for_each(&mut take);
            }
        }
        for attempt in &self.attempts {
            take(attempt.assigned);
            attempt.fetched.into_iter().for_each(&mut take);
            attempt.ended.iter().for_each(|(at, _)| take(*at));
            attempt.dropped.iter().copied().for_each(&mut take);
            attempt.output_lost.into_iter().for_each(&mut take);
        }
        self.recoveries.iter().copied().for_each(&mut take);
        span
    }

    /// For how long an attempt ran, in ms: from its fetch to its end, or to `now` while it runs. An attempt that
    /// was never fetched, or that ends before it starts by these clocks, ran for 0.
    pub fn run_ms(&self, attempt: usize, now: i64) -> i128 {
        let attempt = &self.attempts[attempt];
        let end = attempt.ended.map_or(now, |(at, _)| at);
        attempt
            .fetched
            .map_or(0, |fetched| (i128::from(end) - i128::from(fetched)).max(0))
    }

    /// Whether a failure wasted the work of an attempt: the attempt failed or was lost, or its output was lost.
    fn is_lost(&self, attempt: usize) -> bool {
        let attempt = &self.attempts[attempt];
        attempt.output_lost.is_some()
            || attempt.ended.is_some_and(|(_, end)| {
                matches!(
                    end,
                    End::Failed | End::InputsMissing | End::TimedOut | End::Lost(_)
                )
            })
    }

    /// What a failure cost, in ms: the running time of the attempts whose work it lost, except those whose result was
    /// accepted later.
    pub fn cost_ms(&self, failure: &Failure) -> i128 {
        let all = failure.attempts.iter().chain(&failure.outputs);
        all.filter(|attempt| self.is_lost(**attempt))
            .map(|attempt| self.run_ms(*attempt, failure.at))
            .sum()
    }

    /// How much earlier a backup made its task's result arrive, in ms. If the slow attempt delivered later, this is the
    /// time between the two results. If it failed or was lost first, it is the time for which the backup had already been
    /// running. `None` if the backup did not win, or if the slow attempt never reported.
    pub fn saved_ms(&self, backup: usize) -> Option<i128> {
        let slow = &self.attempts[self.attempts[backup].backup?.slow?];
        let backup = &self.attempts[backup];
        let Some((won_at, End::Accepted)) = backup.ended else {
            return None;
        };
        if let Some(late) = slow.dropped.first() {
            return Some((i128::from(*late) - i128::from(won_at)).max(0));
        }
        match slow.ended? {
            (at, End::Failed | End::InputsMissing | End::TimedOut | End::Lost(_)) => {
                Some((i128::from(at) - i128::from(backup.fetched?)).max(0))
            }
            _ => None,
        }
    }

    /// Counts what failures and backups cost. `now` is where the story ends.
    pub(super) fn count_costs(&mut self, now: i64) {
        let (mut ran_ms, mut lost, mut saved) = (0, Lost::default(), Saved::default());
        for index in 0..self.attempts.len() {
            let (attempt, run) = (&self.attempts[index], self.run_ms(index, now));
            ran_ms += run;
            match attempt.ended {
                _ if attempt.output_lost.is_some() => lost.outputs += run,
                Some((_, End::Failed)) => lost.failed += run,
                Some((_, End::InputsMissing | End::Lost(LossCause::StaleInputs))) => {
                    lost.inputs_missing += run;
                }
                Some((_, End::TimedOut)) => lost.timed_out += run,
                Some((_, End::Lost(_))) => lost.with_workers += run,
                _ => {}
            }
            if attempt.backup.is_none() {
                continue;
            }
            saved.cost_ms += run;
            if matches!(attempt.ended, Some((_, End::Accepted))) {
                saved.won += 1;
                match self.saved_ms(index) {
                    Some(ms) => {
                        saved.known += 1;
                        saved.saved_ms += ms;
                        saved.most_ms = saved.most_ms.max(ms);
                    }
                    None => saved.unknown += 1,
                }
            }
        }
        self.numbers.ran_ms = ran_ms;
        self.numbers.lost_ms = lost;
        self.numbers.saved = saved;
    }

    /// Puts the attempts of each worker in as few lanes as hold them side by side. `now` is where the story ends.
    pub(super) fn assign_lanes(&mut self, now: i64) {
        let mut order: Vec<usize> = (0..self.attempts.len()).collect();
        order.sort_by_key(|index| (self.attempts[*index].start(), *index));
        let mut lanes = BTreeMap::<usize, Lanes>::new();
        for index in order {
            let attempt = &mut self.attempts[index];
            let start = attempt.start();
            let end = attempt.ended.map_or(now, |(at, _)| at).max(start);
            let lanes = lanes.entry(attempt.worker).or_default();
            attempt.lane = lanes.take_first_free(start, end);
        }
    }
}

/// The lanes of a worker.
#[derive(Default)]
struct Lanes {
    /// The lanes in use, by the time from which they are free again.
    busy: BinaryHeap<Reverse<(i64, usize)>>,
    free: BTreeSet<usize>,
}

impl Lanes {
    /// Takes the first lane that is free at `start`, which is not earlier than at the calls before, until `end`.
    fn take_first_free(&mut self, start: i64, end: i64) -> usize {
        while let Some(&Reverse((free_at, lane))) = self.busy.peek()
            && free_at <= start
        {
            self.busy.pop();
            self.free.insert(lane);
        }
        let lane = self.free.pop_first().unwrap_or(self.busy.len());
        self.busy.push(Reverse((end, lane)));
        lane
    }
}

impl Attempt {
    /// Where it begins on the page, in ms: when it was assigned, or fetched if that is earlier by the clocks.
    pub fn start(&self) -> i64 {
        self.fetched
            .map_or(self.assigned, |at| at.min(self.assigned))
    }
}
