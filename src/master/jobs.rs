//! Jobs: their phases, from submission to the end (protocol, section 6).

use super::Master;
use super::events::Event;
use super::index::{Index, mark_used, retain_used};
use super::tasks::{Kind, Task, TaskKey, TaskState};
use super::workers::Assignment;
use crate::wire::{
    Error, ErrorCode, JobCounts, JobStatus, Limits, MapOutput, NewJob, Quoted, Reply, TaskCounts,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub id: Box<str>,
    /// The maps, then the reduces.
    pub tasks: Vec<Task>,
    pub map_tasks: usize,
    pub map_output: MapOutput,
    pub limits: Limits,
    pub state: JobState,
    /// How many tasks there are, by kind and state.
    #[serde(skip)]
    counts: [[usize; TaskState::COUNT]; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    Running,
    Completed,
    Failed { error: Box<str> },
}

impl JobState {
    fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Job {
    pub fn new(id: &str, map_output: MapOutput, limits: Limits) -> Self {
        Self {
            id: id.into(),
            tasks: Vec::new(),
            map_tasks: 0,
            map_output,
            limits,
            state: JobState::Running,
            counts: [[0; TaskState::COUNT]; 2],
        }
    }

    pub fn reduce_tasks(&self) -> usize {
        self.tasks.len() - self.map_tasks
    }

    pub fn kind(&self, task: u32) -> Kind {
        if (task as usize) < self.map_tasks {
            Kind::Map
        } else {
            Kind::Reduce
        }
    }

    /// The tasks of one kind, in task order.
    pub fn tasks_of(&self, kind: Kind) -> &[Task] {
        let (maps, reduces) = self.tasks.split_at(self.map_tasks);
        match kind {
            Kind::Map => maps,
            Kind::Reduce => reduces,
        }
    }

    /// The kind of task whose end is the job's.
    fn last_kind(&self) -> Kind {
        if self.reduce_tasks() > 0 {
            Kind::Reduce
        } else {
            Kind::Map
        }
    }

    pub fn count(&self, kind: Kind, state: TaskState) -> usize {
        self.counts[kind as usize][state as usize]
    }

    fn unfinished(&self, kind: Kind) -> usize {
        self.count(kind, TaskState::Idle) + self.count(kind, TaskState::Running)
    }

    /// Whether tasks of that kind may be handed out: reduces only behind the barrier, while every map is
    /// completed or skipped.
    pub fn is_open(&self, kind: Kind) -> bool {
        kind == Kind::Map || self.unfinished(Kind::Map) == 0
    }

    /// Whether the output of a completed map is lost with its worker.
    pub fn outputs_live_on_workers(&self) -> bool {
        self.map_output == MapOutput::Worker && self.unfinished(Kind::Reduce) > 0
    }

    pub fn may_skip_more(&self) -> bool {
        let skipped = self.count(Kind::Map, TaskState::Skipped)
            + self.count(Kind::Reduce, TaskState::Skipped);
        (skipped as u64) < self.limits.max_skipped
    }

    fn task_counts(&self, kind: Kind) -> TaskCounts {
        TaskCounts {
            idle: self.count(kind, TaskState::Idle),
            running: self.count(kind, TaskState::Running),
            completed: self.count(kind, TaskState::Completed),
            skipped: self.count(kind, TaskState::Skipped),
        }
    }

    /// Whether the job was submitted as `new` asks.
    pub fn is_as_submitted(&self, new: &NewJob<'_>) -> bool {
        self.limits == new.limits
            && self.map_output == new.map_output
            && self.reduce_tasks() == new.reduce_tasks as usize
            && self.map_tasks == new.tasks.len()
            && self.tasks.iter().zip(&new.tasks).all(|(task, new)| {
                *task.id == *new.id
                    && task
                        .chunk
                        .as_ref()
                        .is_some_and(|chunk| chunk.get() == new.chunk.get())
            })
    }
}

/// All jobs, by number; numbers of removed jobs are used again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Jobs {
    #[serde(skip)]
    index: Index<u32>,
    jobs: Vec<Job>,
    /// Numbers of removed jobs.
    #[serde(skip)]
    free: Vec<u32>,
    #[serde(skip)]
    counts: JobCounts,
}

impl Jobs {
    pub fn find(&self, id: &str) -> Option<u32> {
        self.index.find(id, |job| &self.jobs[job as usize].id)
    }

    pub fn at(&self, number: u32) -> &Job {
        &self.jobs[number as usize]
    }

    pub fn job(&self, key: TaskKey) -> &Job {
        &self.jobs[key.job as usize]
    }

    pub fn task(&self, key: TaskKey) -> &Task {
        &self.jobs[key.job as usize].tasks[key.task as usize]
    }

    pub fn task_mut(&mut self, key: TaskKey) -> &mut Task {
        &mut self.jobs[key.job as usize].tasks[key.task as usize]
    }

    /// The task that is found there, if any is.
    pub fn get(&self, key: TaskKey) -> Option<&Task> {
        self.jobs
            .get(key.job as usize)?
            .tasks
            .get(key.task as usize)
    }

    /// Whether that attempt is the most recent one of an unfinished task.
    pub fn is_latest(&self, Assignment { assigned, task }: Assignment) -> bool {
        self.get(task).is_some_and(|task| {
            task.state.is_unfinished()
                && task
                    .attempts
                    .last()
                    .is_some_and(|last| last.assigned == assigned)
        })
    }

    /// Whether that attempt has made the accepted output of a map, and it is lost with its worker.
    pub fn is_output(
        &self,
        Assignment {
            assigned,
            task: key,
        }: Assignment,
    ) -> bool {
        self.get(key)
            .and_then(Task::winner)
            .is_some_and(|winner| winner.assigned == assigned)
            && self.kind(key) == Kind::Map
            && self.job(key).outputs_live_on_workers()
    }

    /// Whether that attempt still concerns its worker in one of these two ways.
    pub fn is_latest_or_output(&self, assignment: Assignment) -> bool {
        self.is_latest(assignment) || self.is_output(assignment)
    }

    pub fn kind(&self, key: TaskKey) -> Kind {
        self.job(key).kind(key.task)
    }

    pub fn is_open(&self, key: TaskKey) -> bool {
        let job = self.job(key);
        job.is_open(job.kind(key.task))
    }

    /// The lane of the queues in which a task waits.
    pub fn lane(&self, key: TaskKey) -> usize {
        lane_of(key.job, self.kind(key))
    }

    pub fn counts(&self) -> JobCounts {
        self.counts
    }

    /// Changes a task's state. Returns whether that opened or closed the barrier before the job's reduces.
    pub fn set_state(&mut self, key: TaskKey, state: TaskState) -> bool {
        let job = &mut self.jobs[key.job as usize];
        let was_open = job.is_open(Kind::Reduce);
        let counts = &mut job.counts[job.kind(key.task) as usize];
        let task = &mut job.tasks[key.task as usize];
        counts[task.state as usize] -= 1;
        task.state = state;
        counts[task.state as usize] += 1;
        job.is_open(Kind::Reduce) != was_open
    }

    pub fn add(&mut self, job: Job) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            u32::try_from(self.jobs.len()).expect("memory ends before the numbers do")
        });
        self.index.insert(&job.id, number);
        *self.counts.of(&job.state) += 1;
        let at = number as usize;
        if at < self.jobs.len() {
            self.jobs[at] = job;
        } else {
            self.jobs.push(job);
        }
        number
    }

    pub fn remove(&mut self, number: u32) -> Job {
        let jobs = &self.jobs;
        self.index
            .remove(&jobs[number as usize].id, |job| &jobs[job as usize].id);
        self.free.push(number);
        let nothing = Job::new("", MapOutput::Worker, Limits::DEFAULT);
        let job = std::mem::replace(&mut self.jobs[number as usize], nothing);
        *self.counts.of(&job.state) -= 1;
        job
    }

    pub fn numbers(&self) -> Range<u32> {
        0..u32::try_from(self.jobs.len()).expect("memory ends before the numbers do")
    }

    pub fn all(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.jobs.iter_mut()
    }

    /// Numbers the jobs afresh, without those that were removed.
    pub fn forget_unused(&mut self) {
        let is_used = mark_used(self.jobs.len(), std::mem::take(&mut self.free));
        retain_used(&mut self.jobs, &is_used);
    }

    /// Makes all that is derived again.
    pub fn rebuild(&mut self) {
        self.index = Index::default();
        self.counts = JobCounts::default();
        for (number, job) in (0..).zip(&mut self.jobs) {
            self.index.insert(&job.id, number);
            *self.counts.of(&job.state) += 1;
            job.counts = <_>::default();
            for (at, task) in (0..).zip(&job.tasks) {
                job.counts[job.kind(at) as usize][task.state as usize] += 1;
            }
        }
    }

    /// Makes room for `count` tasks.
    pub fn reserve_tasks(&mut self, number: u32, count: usize) {
        self.jobs[number as usize].tasks.reserve_exact(count);
    }

    /// Appends a task to a job: maps before reduces.
    pub fn add_task(&mut self, number: u32, kind: Kind, task: Task) -> TaskKey {
        let job = &mut self.jobs[number as usize];
        let at = u32::try_from(job.tasks.len()).expect("memory ends before the numbers do");
        job.counts[kind as usize][task.state as usize] += 1;
        job.map_tasks += usize::from(kind == Kind::Map);
        job.tasks.push(task);
        TaskKey {
            job: number,
            task: at,
        }
    }

    pub fn set_job_state(&mut self, number: u32, state: JobState) {
        let job = &mut self.jobs[number as usize];
        *self.counts.of(&job.state) -= 1;
        job.state = state;
        *self.counts.of(&job.state) += 1;
    }
}

impl JobCounts {
    fn of(&mut self, state: &JobState) -> &mut usize {
        match state {
            JobState::Running => &mut self.running,
            JobState::Completed => &mut self.completed,
            JobState::Failed { .. } => &mut self.failed,
        }
    }
}

/// The lane of the queues in which a job's tasks of that kind wait.
pub fn lane_of(job: u32, kind: Kind) -> usize {
    job as usize * 2 + kind as usize
}

impl Master {
    /// Completes a job when its last kind of task is done.
    pub(super) fn complete_job_if_done(&mut self, number: u32) {
        let job = self.jobs.at(number);
        if job.state == JobState::Running && job.unfinished(job.last_kind()) == 0 {
            self.end_job(number, JobState::Completed);
        }
    }

    /// Ends a job; what is unfinished of it is not needed any more.
    pub(super) fn end_job(&mut self, number: u32, state: JobState) {
        let id = &self.jobs.at(number).id;
        self.events.push(|| match &state {
            JobState::Failed { error } => Event::JobFailed {
                job: id.clone(),
                error: error.clone(),
            },
            JobState::Running | JobState::Completed => Event::JobCompleted { job: id.clone() },
        });
        self.jobs.set_job_state(number, state);
        let job = self.jobs.at(number);
        if job.unfinished(Kind::Map) + job.unfinished(Kind::Reduce) == 0 {
            return;
        }
        for task in 0..u32::try_from(job.tasks.len()).unwrap_or(u32::MAX) {
            let key = TaskKey { job: number, task };
            if self.jobs.task(key).state.is_unfinished() {
                self.finish(key, TaskState::Withdrawn);
            }
        }
    }

    pub(super) fn job_status(&self, id: &str) -> Result<Reply<'_>, Error> {
        let number = self.jobs.find(id).ok_or_else(|| unknown_job(id))?;
        let job = self.jobs.at(number);
        Ok(Reply::JobStatusOk(JobStatus {
            job_id: &job.id,
            state: job.state.name(),
            map: job.task_counts(Kind::Map),
            reduce: job.task_counts(Kind::Reduce),
            skipped: job
                .tasks
                .iter()
                .filter(|task| task.state == TaskState::Skipped)
                .map(|task| &*task.id)
                .collect(),
            error: match &job.state {
                JobState::Failed { error } => Some(error),
                JobState::Running | JobState::Completed => None,
            },
            outputs: (job.state == JobState::Completed).then(|| {
                job.tasks_of(job.last_kind())
                    .iter()
                    .map(Task::output)
                    .collect()
            }),
        }))
    }
}

pub fn unknown_job(id: &str) -> Error {
    Error::new(ErrorCode::KeyDoesNotExist, format!("no job {}", Quoted(id)))
}
