//! Makes a story out of the master's events.

mod edges;

use super::story::{
    Attempt, Backup, End, Failure, FailureKind, Interruption, Job, JobEnd, Numbers, OpenPeriod,
    Source, Story, Task, Worker,
};
use crate::master::{AttemptEnd, Event, Kind, LossCause, TaskState};
use crate::wire::TaskCounts;
use std::collections::HashMap;

/// Collects the events of each request and builds the story from them.
#[derive(Debug)]
pub struct Collector {
    story: Story,
    /// The time of the latest message that has one.
    now: Option<i64>,
    /// What happened before the first message with a time: it counts as happening then.
    before_first_time: Vec<Event>,
    workers: HashMap<Box<str>, usize>,
    jobs: HashMap<Box<str>, usize>,
    tasks: HashMap<Box<str>, usize>,
    attempts: HashMap<(usize, u64), usize>,
    /// When each requeued task that is still waiting was queued.
    requeued: HashMap<Box<str>, i64>,
    /// For each job, how many maps and reduces have never been handed out.
    unstarted: Vec<[usize; 2]>,
}

/// What the events of one request refer to among themselves.
#[derive(Debug, Default)]
struct RequestContext<'e> {
    /// The errors of the attempts that failed.
    errors: HashMap<(&'e str, u64), &'e str>,
    /// The failure of each worker that lost something.
    failures: HashMap<usize, usize>,
    /// The attempt of each task whose result was accepted.
    accepted: HashMap<usize, usize>,
    superseded: Vec<usize>,
}

impl Collector {
    pub fn new(source: Source) -> Self {
        Self {
            story: Story {
                source,
                notes: Vec::new(),
                origin: 0,
                workers: Vec::new(),
                jobs: Vec::new(),
                tasks: Vec::new(),
                attempts: Vec::new(),
                waits: Vec::new(),
                recoveries: Vec::new(),
                numbers: Numbers::default(),
            },
            now: None,
            before_first_time: Vec::new(),
            workers: HashMap::new(),
            jobs: HashMap::new(),
            tasks: HashMap::new(),
            attempts: HashMap::new(),
            requeued: HashMap::new(),
            unstarted: Vec::new(),
        }
    }

    /// Adds a note about the source of the story, for its readers.
    pub fn note(&mut self, sentence: String) {
        self.story.notes.push(sentence);
    }

    /// Takes in what a request did. `at` is its time, if it has one.
    pub fn take<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>, at: Option<i64>) {
        if let Some(now) = at
            && self.now.is_none()
        {
            self.story.origin = now;
            self.now = at;
            let before_first_time = std::mem::take(&mut self.before_first_time);
            self.apply_all(&before_first_time, now);
        }
        self.now = at.or(self.now);
        match self.now {
            Some(now) => self.apply_all(events, now),
            None => self.before_first_time.extend(events.into_iter().cloned()),
        }
    }

    /// Records that the master recovered from its journal, at the time of the latest message before.
    pub fn mark_recovery(&mut self) {
        self.story.recoveries.extend(self.now);
    }

    fn apply_all<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>, now: i64) {
        let events: Vec<&Event> = events.into_iter().collect();
        let mut request = RequestContext::default();
        for event in &events {
            if let Event::TaskFailed {
                task,
                attempt,
                error,
                ..
            } = event
            {
                request.errors.insert((task, *attempt), error);
            }
        }
        for event in events {
            self.apply(event, now, &mut request);
        }
        for attempt in request.superseded {
            let winner = request
                .accepted
                .get(&self.story.attempts[attempt].task)
                .copied();
            self.story.attempts[attempt].ended = Some((now, End::Superseded(winner)));
        }
    }

    // One list of all that can happen is easier to read than its pieces.
    #[allow(clippy::too_many_lines)]
    fn apply<'e>(&mut self, event: &'e Event, now: i64, request: &mut RequestContext<'e>) {
        match event {
            Event::WorkerJoined { worker } => {
                self.worker(worker, now);
            }
            Event::WorkerHeard { worker, at } => {
                let worker = self.worker(worker, now);
                self.story.workers[worker].heard.push(*at);
            }
            Event::WorkerBack { worker } => {
                let worker = self.worker(worker, now);
                for failure in &mut self.story.workers[worker].failures {
                    failure.back.get_or_insert(now);
                }
            }
            Event::WorkerFailed {
                worker,
                silent_ms,
                timeout_ms,
                ..
            } => {
                let (silent_ms, timeout_ms) = (*silent_ms, *timeout_ms);
                self.fail(
                    worker,
                    FailureKind::Check {
                        silent_ms,
                        timeout_ms,
                    },
                    now,
                    request,
                );
            }
            Event::WorkerRestarted { worker, .. } => {
                self.fail(worker, FailureKind::Restart, now, request);
            }
            Event::WorkerRemoved { worker, .. } => {
                self.fail(worker, FailureKind::Removal, now, request);
                self.remove_worker(worker, now);
            }
            Event::WorkerForgotten { worker } => self.remove_worker(worker, now),
            Event::JobSubmitted {
                job,
                map_tasks,
                reduce_tasks,
            } => {
                let job = self.job(job, now);
                let story = &mut self.story.jobs[job];
                (story.map_tasks, story.reduce_tasks) = (*map_tasks, *reduce_tasks);
                self.unstarted[job] = [*map_tasks, *reduce_tasks];
            }
            Event::JobCompleted { job } => self.end_job(job, JobEnd::Completed, now),
            Event::JobFailed { job, task, error } => {
                self.end_job(job, JobEnd::Failed, now);
                let failed = self.task_of(task);
                if let Some(task) = failed {
                    self.story.tasks[task].state = TaskState::Failed;
                }
                let job = self.job(job, now);
                self.story.jobs[job].failure = Some((task.clone(), text_of(error)));
            }
            Event::JobRemoved { job } => self.remove_job(job, now),
            Event::BarrierOpened { job } => {
                let job = self.job(job, now);
                self.story.jobs[job].barriers.push(OpenPeriod {
                    opened: now,
                    closed: None,
                });
            }
            Event::BarrierClosed { job } => {
                let job = self.job(job, now);
                if let Some(barrier) = self.story.jobs[job].barriers.last_mut() {
                    barrier.closed.get_or_insert(now);
                }
            }
            Event::AttemptStarted {
                task,
                job,
                kind,
                attempt,
                worker,
                is_backup,
                fetched_at,
            } => {
                let (task, worker) = (
                    self.start_task(task, job, *kind, now),
                    self.worker(worker, now),
                );
                self.start(task, *attempt, worker, *is_backup, *fetched_at, now);
            }
            Event::AttemptFetched {
                task, attempt, at, ..
            } => {
                if let Some(attempt) = self.find_attempt(task, *attempt) {
                    self.story.attempts[attempt].fetched.get_or_insert(*at);
                }
            }
            Event::AttemptEnded {
                task, attempt, end, ..
            } => {
                let error = request.errors.get(&(&**task, *attempt)).copied();
                if let Some(attempt) = self.find_attempt(task, *attempt) {
                    self.end(attempt, *end, error, now, request);
                }
            }
            Event::LateResultAccepted { task, attempt } => {
                if let Some(attempt) = self.find_attempt(task, *attempt) {
                    self.accept_late(attempt, now, request);
                }
                self.end_wait(task, now);
            }
            Event::ResultDropped { task, attempt, .. } => {
                if let Some(attempt) = self.find_attempt(task, *attempt) {
                    self.story.attempts[attempt].dropped.push(now);
                }
            }
            Event::OutputLost {
                task,
                attempt,
                worker,
            } => {
                if let Some(attempt) = self.find_attempt(task, *attempt) {
                    self.story.attempts[attempt].output_lost = Some(now);
                    if let Some(failure) = self.failure(worker, request) {
                        failure.outputs.push(attempt);
                    }
                }
            }
            Event::TaskRequeued { task } => {
                self.requeued.insert(task.clone(), now);
                self.set_state(task, TaskState::Idle);
            }
            Event::TaskSkipped { task } => {
                self.end_wait(task, now);
                self.set_state(task, TaskState::Skipped);
            }
            Event::Reassigned { .. }
            | Event::TaskFailed { .. }
            | Event::StragglerDetected { .. }
            | Event::ExclusionsEnded { .. } => {}
        }
    }

    /// The worker with that id, which is known from now on if it was not.
    fn worker(&mut self, id: &str, now: i64) -> usize {
        if let Some(worker) = self.workers.get(id) {
            self.story.workers[*worker].removed = None;
            return *worker;
        }
        let worker = self.story.workers.len();
        self.workers.insert(id.into(), worker);
        self.story.workers.push(Worker {
            id: id.into(),
            joined: now,
            removed: None,
            heard: Vec::new(),
            failures: Vec::new(),
        });
        worker
    }

    fn fail(&mut self, id: &str, kind: FailureKind, now: i64, request: &mut RequestContext<'_>) {
        let worker = self.worker(id, now);
        let failures = &mut self.story.workers[worker].failures;
        request.failures.insert(worker, failures.len());
        let back = (kind == FailureKind::Restart).then_some(now);
        failures.push(Failure {
            kind,
            at: now,
            back,
            attempts: Vec::new(),
            outputs: Vec::new(),
        });
    }

    /// The failure in this request that makes a worker lose attempts or outputs.
    fn failure(&mut self, worker: &str, request: &RequestContext<'_>) -> Option<&mut Failure> {
        let worker = *self.workers.get(worker)?;
        self.story.workers[worker]
            .failures
            .get_mut(*request.failures.get(&worker)?)
    }

    fn remove_worker(&mut self, id: &str, now: i64) {
        if let Some(worker) = self.workers.get(id) {
            self.story.workers[*worker].removed = Some(now);
        }
    }

    /// The job with that id, which is added if it is new.
    fn job(&mut self, id: &str, now: i64) -> usize {
        if let Some(job) = self.jobs.get(id) {
            return *job;
        }
        let job = self.story.jobs.len();
        self.jobs.insert(id.into(), job);
        self.unstarted.push([0, 0]);
        self.story.jobs.push(Job {
            id: id.into(),
            submitted: now,
            ended: None,
            failure: None,
            barriers: Vec::new(),
            map_tasks: 0,
            reduce_tasks: 0,
            maps: TaskCounts::default(),
            reduces: TaskCounts::default(),
        });
        job
    }

    /// Ends a job: nothing of it waits any more.
    fn end_job(&mut self, id: &str, end: JobEnd, now: i64) {
        let job = self.job(id, now);
        self.story.jobs[job].ended = Some((now, end));
        self.stop_waiting(job, Some(now));
    }

    fn stop_waiting(&mut self, job: usize, to: Option<i64>) {
        let from = self.story.jobs[job].submitted;
        for (kind, tasks) in [Kind::Map, Kind::Reduce]
            .into_iter()
            .zip(std::mem::take(&mut self.unstarted[job]))
        {
            if tasks > 0 {
                self.story.waited(job, kind, tasks, from, to);
            }
        }
        let (tasks, story) = (&self.tasks, &mut self.story);
        let mut ended: Vec<_> = self
            .requeued
            .extract_if(|id, _| {
                tasks
                    .get(id)
                    .is_some_and(|task| story.tasks[*task].job == job)
            })
            .map(|(id, from)| (tasks[&id], from))
            .collect();
        ended.sort_unstable();
        for (task, from) in ended {
            let kind = story.tasks[task].kind;
            story.waited(job, kind, 1, from, to);
            if to.is_some() {
                story.tasks[task].state = TaskState::Withdrawn;
            }
        }
    }

    fn remove_job(&mut self, id: &str, now: i64) {
        let Some(job) = self.jobs.remove(id) else {
            return;
        };
        if self.story.jobs[job].ended.is_none() {
            self.jobs.insert(id.into(), job);
            self.end_job(id, JobEnd::Removed, now);
            self.jobs.remove(id);
        }
        self.count_tasks(job);
        let story = &self.story;
        self.tasks.retain(|_, task| story.tasks[*task].job != job);
    }

    /// Counts the tasks of a removed job by their final states.
    fn count_tasks(&mut self, job: usize) {
        for task in self.story.tasks.iter().filter(|task| task.job == job) {
            let story = &mut self.story.jobs[job];
            let counts = if task.kind == Kind::Map {
                &mut story.maps
            } else {
                &mut story.reduces
            };
            *match task.state {
                TaskState::Idle => &mut counts.idle,
                TaskState::Running => &mut counts.running,
                TaskState::Completed => &mut counts.completed,
                TaskState::Skipped => &mut counts.skipped,
                TaskState::Failed => &mut counts.failed,
                TaskState::Withdrawn => &mut counts.withdrawn,
            } += 1;
        }
    }

    fn task_of(&self, id: &str) -> Option<usize> {
        self.tasks.get(id).copied()
    }

    fn set_state(&mut self, id: &str, state: TaskState) {
        if let Some(task) = self.task_of(id) {
            self.story.tasks[task].state = state;
        }
    }

    /// The task of an attempt that starts: it does not wait any more.
    fn start_task(&mut self, id: &str, job: &str, kind: Kind, now: i64) -> usize {
        let job = self.job(job, now);
        self.story.jobs[job].ended = None;
        let task = match self.task_of(id) {
            Some(task) => task,
            None => {
                let task = self.story.tasks.len();
                self.story.tasks.push(Task {
                    id: id.into(),
                    job,
                    kind,
                    state: TaskState::Running,
                });
                self.tasks.insert(id.into(), task);
                let unstarted = &mut self.unstarted[job][kind as usize];
                if *unstarted > 0 && !self.requeued.contains_key(id) {
                    *unstarted -= 1;
                    let from = self.story.jobs[job].submitted;
                    self.story.waited(job, kind, 1, from, Some(now));
                }
                task
            }
        };
        self.story.tasks[task].state = TaskState::Running;
        self.end_wait(id, now);
        task
    }

    fn end_wait(&mut self, id: &str, now: i64) {
        if let (Some(from), Some(task)) = (self.requeued.remove(id), self.task_of(id)) {
            let Task { job, kind, .. } = self.story.tasks[task];
            self.story.waited(job, kind, 1, from, Some(now));
        }
    }

    fn find_attempt(&self, task: &str, attempt: u64) -> Option<usize> {
        self.attempts.get(&(self.task_of(task)?, attempt)).copied()
    }

    fn start(
        &mut self,
        task: usize,
        number: u64,
        worker: usize,
        is_backup: bool,
        fetched: Option<i64>,
        now: i64,
    ) {
        let attempts = &self.story.attempts;
        let backup = is_backup.then(|| Backup {
            slow: attempts
                .iter()
                .rposition(|attempt| attempt.task == task && attempt.ended.is_none()),
        });
        self.attempts.insert((task, number), attempts.len());
        self.story.attempts.push(Attempt {
            task,
            number,
            worker,
            backup,
            assigned: now,
            fetched,
            ended: None,
            error: None,
            dropped: Vec::new(),
            interrupted: None,
            output_lost: None,
            lane: 0,
        });
    }

    fn end(
        &mut self,
        attempt: usize,
        end: AttemptEnd,
        error: Option<&str>,
        now: i64,
        request: &mut RequestContext<'_>,
    ) {
        let Attempt { task, worker, .. } = self.story.attempts[attempt];
        let end = match end {
            AttemptEnd::Accepted => {
                request.accepted.insert(task, attempt);
                self.story.tasks[task].state = TaskState::Completed;
                End::Accepted
            }
            AttemptEnd::Superseded => {
                request.superseded.push(attempt);
                End::Superseded(None)
            }
            AttemptEnd::Withdrawn => {
                if self.story.tasks[task].state.is_unfinished() {
                    self.story.tasks[task].state = TaskState::Withdrawn;
                }
                End::Withdrawn
            }
            AttemptEnd::Failed => End::Failed,
            AttemptEnd::TimedOut => End::TimedOut,
            AttemptEnd::InputsMissing => End::InputsMissing,
            AttemptEnd::Lost(cause) => {
                let id = self.story.workers[worker].id.clone();
                if cause == LossCause::Reassignment && !request.failures.contains_key(&worker) {
                    self.fail(&id, FailureKind::Reassignment, now, request);
                }
                if let Some(failure) = self.failure(&id, request) {
                    failure.attempts.push(attempt);
                }
                End::Lost(cause)
            }
        };
        let attempt = &mut self.story.attempts[attempt];
        attempt.ended = Some((now, end));
        attempt.error = error.map(text_of);
    }

    /// Accepts the result of an attempt that had ended, or whose output was lost, before.
    fn accept_late(&mut self, attempt: usize, now: i64, request: &mut RequestContext<'_>) {
        let story = &mut self.story.attempts[attempt];
        request.accepted.insert(story.task, attempt);
        if let Some((at, end)) = story.ended.replace((now, End::Accepted)) {
            story.interrupted = Some(Interruption { at, end });
        }
        story.output_lost = None;
        let task = story.task;
        self.story.tasks[task].state = TaskState::Completed;
    }
}

/// The text of a JSON string; any other JSON unchanged.
fn text_of(json: &str) -> Box<str> {
    serde_json::from_str::<String>(json).map_or_else(|_| json.into(), String::into_boxed_str)
}
