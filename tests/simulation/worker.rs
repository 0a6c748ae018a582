//! A simulated worker: it says that it is there, asks for work, does it, and reports until it is answered. And it
//! crashes, hangs, comes back, leaves, and has a clock of its own.

use super::message::{Body, list};
use super::options::Options;
use super::random::{LONGEST_TAIL, Random};
use super::work::{self, Defect};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub struct Worker {
    pub name: String,
    number: usize,
    names: usize,
    pub clock: Clock,
    pub state: State,
    /// Fails all that it touches.
    is_bad: bool,
    /// Cannot fetch what others have on their disks.
    is_cut_off_from_others: bool,
    /// When it was started, if it says that.
    incarnation: Option<i64>,
    slots: usize,
    says_running: bool,
    /// How many times slower than others it is.
    slowness: i64,
    runs: Vec<Run>,
    reports: Vec<Report>,
    inbox: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Up,
    /// It is there and does nothing, until then; what it gets in the meantime waits.
    Hung(i64),
    /// It has lost what it knew, and starts again then.
    Down(i64),
    /// It does not come back.
    Gone,
}

/// A clock that is off, and more so with every moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    pub skew_ms: i64,
    pub drift: i64,
    /// It shows this, whatever the time is.
    pub stuck_at: Option<i64>,
}

impl Clock {
    pub fn draw(options: &Options, random: &mut Random) -> Self {
        Self {
            skew_ms: random.between(-options.skew_ms, options.skew_ms),
            drift: random.between(-options.drift, options.drift),
            stuck_at: random
                .per_mille(options.absurd_clocks)
                .then(|| *random.pick(&[i64::MIN, -1, 0, i64::MAX])),
        }
    }

    pub fn show(self, now_ms: i64, epoch_ms: i64) -> i64 {
        let off_ms = self.skew_ms + (now_ms - epoch_ms) * self.drift / 1000;
        self.stuck_at.unwrap_or(now_ms.saturating_add(off_ms))
    }
}

/// A task in work.
struct Run {
    task: Value,
    is_second_try: bool,
    done_at_ms: i64,
}

impl Run {
    fn id(&self) -> &str {
        self.task["id"].as_str().unwrap_or_default()
    }
}

/// What has to reach the master.
struct Report {
    task_id: String,
    body: Body,
    tries: usize,
}

/// After so many tries a worker forgets its result: the master will hand it the task again.
const MOST_TRIES: usize = 12;

/// What the workers share: the disks that they can read of each other, and what is wrong with the tasks.
#[derive(Default)]
pub struct World {
    pub defects: BTreeMap<String, Defect>,
    pub shared_jobs: BTreeSet<String>,
    /// Map outputs by the name of the worker that holds them, with the attempt that made them.
    outputs: BTreeSet<(String, String, i64)>,
    pub offline: BTreeSet<String>,
}

impl World {
    fn can_fetch(&self, job_id: &Value, input: &Value) -> bool {
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        let attempt = input["attempt"].as_i64().unwrap_or_default();
        self.shared_jobs
            .contains(job_id.as_str().unwrap_or_default())
            || !self.offline.contains(&text("worker_id"))
                && self
                    .outputs
                    .contains(&(text("worker_id"), text("task_id"), attempt))
    }

    fn wipe(&mut self, worker: &str) {
        self.outputs.retain(|(name, ..)| name != worker);
    }
}

/// What a worker sees of the moment in which it acts.
pub struct Moment<'a> {
    pub now_ms: i64,
    pub options: &'a Options,
    pub random: &'a mut Random,
    pub world: &'a mut World,
}

impl Worker {
    pub fn draw(number: usize, options: &Options, random: &mut Random) -> Self {
        let says_running = random.per_mille(options.says_running);
        Self {
            name: format!("w{number}"),
            number,
            names: 1,
            clock: Clock::draw(options, random),
            state: State::Up,
            is_bad: random.per_mille(options.bad_workers),
            is_cut_off_from_others: random.per_mille(options.cut_off_from_others),
            incarnation: random
                .per_mille(options.says_incarnation)
                .then_some(options.epoch_ms),
            // One that does not say what it runs is always handed the same task, until it has done it.
            slots: if says_running {
                1 + random.below(options.slots)
            } else {
                1
            },
            says_running,
            slowness: if random.per_mille(300) {
                options.slowness
            } else {
                1
            },
            runs: vec![],
            reports: vec![],
            inbox: vec![],
        }
    }

    pub fn receive(&mut self, reply: Value) {
        if matches!(self.state, State::Up | State::Hung(_)) {
            self.inbox.push(reply);
        }
    }

    /// Loses what it knows, until it starts again.
    pub fn crash(&mut self, moment: &mut Moment) {
        self.runs.clear();
        self.reports.clear();
        self.inbox.clear();
        let down_ms = moment.options.down_ms;
        self.state = State::Down(moment.now_ms + moment.random.between(down_ms / 2, down_ms));
        moment.world.offline.insert(self.name.clone());
        if !moment.random.per_mille(moment.options.keeps_outputs) {
            moment.world.wipe(&self.name);
        }
    }

    /// Never comes back.
    pub fn die(&mut self, world: &mut World) {
        self.state = State::Gone;
        world.offline.insert(self.name.clone());
    }

    /// Acts, and returns what it has to say.
    pub fn wake(&mut self, moment: &mut Moment) -> Vec<Body> {
        match self.state {
            State::Gone => return vec![],
            State::Hung(until) | State::Down(until) if until > moment.now_ms => return vec![],
            State::Down(_) => self.restart(moment),
            State::Up | State::Hung(_) => {}
        }
        self.state = State::Up;
        for reply in std::mem::take(&mut self.inbox) {
            self.read(&reply, moment);
        }
        if self.finish_runs(moment).is_err() {
            self.crash(moment);
            return vec![];
        }
        let mut said: Vec<Body> = self
            .reports
            .iter()
            .map(|report| report.body.clone())
            .collect();
        for report in &mut self.reports {
            report.tries += 1;
        }
        self.reports.retain(|report| report.tries < MOST_TRIES);
        let is_free = self.runs.len() < self.slots;
        if is_free && (self.says_running || self.reports.is_empty()) {
            said.push(self.request(moment));
        } else if moment.random.per_mille(500) {
            let body = self.speak("heartbeat", moment);
            said.push(if self.says_running && moment.random.per_mille(500) {
                self.with_running(body, moment)
            } else {
                body
            });
        }
        said
    }

    fn restart(&mut self, moment: &mut Moment) {
        if !moment.random.per_mille(moment.options.keeps_name) {
            self.name = format!("w{}-{}", self.number, self.names);
            self.names += 1;
        }
        moment.world.offline.remove(&self.name);
        // It grows with each start, whatever its clock does.
        self.incarnation = self.incarnation.map(|last| last.max(moment.now_ms) + 1);
    }

    /// Is started again at once, under its name and with its disk, and knows nothing any more.
    pub fn restart_quickly(&mut self, moment: &mut Moment) {
        self.runs.clear();
        self.reports.clear();
        self.inbox.clear();
        self.incarnation = self.incarnation.map(|last| last.max(moment.now_ms) + 1);
    }

    /// What it runs now never ends.
    pub fn get_stuck(&mut self) {
        for run in &mut self.runs {
            run.done_at_ms = i64::MAX;
        }
    }

    fn speak(&self, kind: &str, moment: &Moment) -> Body {
        let timestamp = self.clock.show(moment.now_ms, moment.options.epoch_ms);
        let body = Body::new(kind)
            .text("worker_id", &self.name)
            .json("timestamp", timestamp);
        match self.incarnation {
            Some(incarnation) => body.json("incarnation", incarnation),
            None => body,
        }
    }

    /// As `running` says what it works on.
    fn with_running(&self, body: Body, moment: &mut Moment) -> Body {
        let mut running: Vec<String> = self.runs.iter().map(|run| run.id().to_owned()).collect();
        running.extend(self.reports.iter().map(|report| report.task_id.clone()));
        if moment.random.per_mille(30) {
            running.push("nobody-knows".to_owned());
        }
        body.texts("running", &running)
    }

    fn request(&self, moment: &mut Moment) -> Body {
        let body = self.speak("request_task", moment);
        if !self.says_running {
            return body;
        }
        self.with_running(body, moment)
    }

    fn read(&mut self, reply: &Value, moment: &mut Moment) {
        for cancelled in reply["cancel"].as_array().into_iter().flatten() {
            self.runs.retain(|run| run.task["id"] != *cancelled);
        }
        match reply["type"].as_str() {
            Some("task_assigned") => self.start(&reply["task"], moment),
            Some("task_completed" | "task_failed") => {
                self.reports
                    .retain(|report| report.task_id != reply["task_id"]);
            }
            _ => {}
        }
    }

    fn start(&mut self, task: &Value, moment: &mut Moment) {
        let runs_it =
            |run: &Run| run.task["id"] == task["id"] && run.task["attempt"] == task["attempt"];
        if !self.runs.iter().any(runs_it) {
            self.run(task.clone(), false, moment);
        }
    }

    fn run(&mut self, task: Value, is_second_try: bool, moment: &mut Moment) {
        let takes_ms = self.slowness * moment.random.heavy_tail(moment.options.task_ms);
        self.runs.push(Run {
            task,
            is_second_try,
            done_at_ms: moment.now_ms + takes_ms,
        });
    }

    /// Reports what is done. An error is the task that takes the worker down.
    fn finish_runs(&mut self, moment: &mut Moment) -> Result<(), ()> {
        let is_done = |run: &mut Run| run.done_at_ms <= moment.now_ms;
        let done: Vec<Run> = self.runs.extract_if(.., is_done).collect();
        for run in done {
            let body = self.outcome(&run, moment).ok_or(())?;
            let timestamp = self.clock.show(moment.now_ms, moment.options.epoch_ms);
            self.reports.push(Report {
                task_id: run.id().to_owned(),
                body: body.json("timestamp", timestamp),
                tries: 0,
            });
        }
        Ok(())
    }

    /// What has come of a task: its output, an error, or inputs that were not there; nothing if it takes the worker
    /// down.
    fn outcome(&mut self, run: &Run, moment: &mut Moment) -> Option<Body> {
        let (id, attempt) = (run.id(), run.task["attempt"].as_i64().unwrap_or_default());
        let report = |kind: &str| {
            let body = Body::new(kind)
                .text("worker_id", &self.name)
                .text("task_id", id);
            body.json("attempt", attempt)
        };
        let lost = lost_inputs(&run.task, self.is_cut_off_from_others, moment);
        if !lost.is_empty() {
            return Some(
                report("fail_task")
                    .text("error", "unreachable")
                    .json("lost_inputs", list(lost)),
            );
        }
        if self.is_bad && run.task["partitions"].as_u64() > Some(0) && moment.random.per_mille(300)
        {
            return Some(report("complete_task").json("output", "\"no partitions\""));
        }
        let has_failed = match moment.world.defects.get(id) {
            Some(Defect::Poison) => return None,
            Some(Defect::FailsUntil(last_bad)) => attempt <= *last_bad,
            Some(Defect::Flaky) => !run.is_second_try && moment.random.per_mille(500),
            Some(Defect::None) | None => false,
        };
        if has_failed || self.is_bad {
            let failed = report("fail_task").text("error", "cannot read \"it\"");
            // Some workers try again by themselves after they have reported an error.
            if moment.random.per_mille(300) {
                self.run(run.task.clone(), true, moment);
            }
            return Some(failed);
        }
        let completed = report("complete_task").json("output", work::run(&run.task));
        if run.task["kind"] == "map" {
            moment
                .world
                .outputs
                .insert((self.name.clone(), id.to_owned(), attempt));
        }
        Some(completed)
    }

    /// Goes for good, and says so.
    pub fn leave(&mut self, world: &mut World) -> Body {
        self.die(world);
        Body::new("remove_worker").text("worker_id", &self.name)
    }

    /// Becomes honest, and has the right time. What it runs ends like anything it starts from now on.
    pub fn heal(&mut self, now_ms: i64, options: &Options) {
        self.clock = Clock::default();
        (self.is_bad, self.is_cut_off_from_others) = (false, false);
        self.slowness = 1;
        for run in &mut self.runs {
            run.done_at_ms = run.done_at_ms.min(now_ms + longest_run_ms(options));
        }
        self.state = match self.state {
            State::Up => State::Up,
            State::Hung(_) => State::Hung(now_ms),
            State::Down(_) | State::Gone => State::Down(now_ms),
        };
    }
}

/// The longest that a task runs on a worker that is not slow.
pub fn longest_run_ms(options: &Options) -> i64 {
    LONGEST_TAIL * options.task_ms
}

/// The inputs of a reduce that it cannot fetch, or believes so, as a list for `lost_inputs`.
fn lost_inputs(task: &Value, is_cut_off: bool, moment: &mut Moment) -> Vec<String> {
    let inputs = task["inputs"].as_array().into_iter().flatten();
    let lost = inputs.filter(|input| {
        let seems_lost = moment.random.per_mille(moment.options.lost_inputs);
        is_cut_off || seems_lost || !moment.world.can_fetch(&task["job_id"], input)
    });
    let listed = |input: &Value| {
        format!(
            "{{\"task_id\": {}, \"attempt\": {}}}",
            input["task_id"], input["attempt"]
        )
    };
    lost.map(listed).collect()
}
