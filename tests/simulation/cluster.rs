//! The virtual cluster: actors, network and fate, in virtual time.

use super::message::Body;
use super::monitor::Monitor;
use super::network::{Actor, Event, Network};
use super::options::{CALAMITY_MS, LONGEST_DELAY_MS, Options};
use super::random::Random;
use super::snapshot::TaskState;
use super::submitter::Submitter;
use super::witness::{Input, Violation, Witness};
use super::work::{Defect, Job};
use super::worker::{Moment, State, Worker, World, longest_run_ms};

/// Far more than any run has needed: a run that gets there goes round in circles.
const MOST_MESSAGES_AFTER_FAULTS: usize = 20_000;

pub struct Cluster {
    pub options: Options,
    random: Random,
    network: Network,
    pub witness: Witness,
    workers: Vec<Worker>,
    monitors: Vec<Monitor>,
    submitter: Submitter,
    world: World,
    msg_ids: i64,
}

impl Cluster {
    pub fn new(seed: u64, with_oracle: bool) -> Self {
        let mut random = Random::new(seed);
        let options = Options::draw(&mut random);
        let r = &mut random;
        let workers: Vec<Worker> = (0..options.workers)
            .map(|number| Worker::draw(number, &options, r))
            .collect();
        let monitors = (0..options.monitors)
            .map(|_| Monitor::draw(&options, r))
            .collect();
        let submitter = Submitter::draw(&options, r);
        let mut world = World::default();
        for job in &submitter.jobs {
            if job.shared_output {
                world.shared_jobs.insert(job.id.clone());
            }
            for task in tasks_of(job) {
                let defect = if r.per_mille(options.poison_tasks) {
                    Defect::Poison
                } else if r.per_mille(options.failing_tasks) {
                    *r.pick(&[
                        Defect::FailsUntil(1),
                        Defect::FailsUntil(i64::MAX),
                        Defect::Flaky,
                        Defect::Flaky,
                    ])
                } else {
                    Defect::None
                };
                world.defects.insert(task, defect);
            }
        }
        let mut network = Network::at(options.epoch_ms);
        network.plan(0, Event::Wake(Actor::Submitter));
        network.plan(CALAMITY_MS, Event::Calamity);
        for number in 0..options.workers {
            network.plan(
                random.between(0, options.pace_ms),
                Event::Wake(Actor::Worker(number)),
            );
        }
        for number in 0..options.monitors {
            network.plan(
                random.between(0, options.check_ms),
                Event::Wake(Actor::Monitor(number)),
            );
        }
        let witness = Witness::new(with_oracle);
        Self {
            options,
            random,
            network,
            witness,
            workers,
            monitors,
            submitter,
            world,
            msg_ids: 0,
        }
    }

    /// Lets everything happen, until the master has got as many messages as were drawn.
    pub fn run_with_faults(&mut self) -> Result<(), Violation> {
        if self.options.init {
            let init = Body::new("init")
                .text("node_id", "n1")
                .json("node_ids", "[\"n1\"]");
            self.say(Actor::Submitter, &init.line(Some(0), Some("c0")))?;
        }
        while self.witness.transcript.len() < self.options.faulty_messages {
            self.step()?;
        }
        Ok(())
    }

    /// Ends the faults. A few workers stay, honest and with the right time; the others are silent for good.
    pub fn heal(&mut self) {
        self.options = self.options.healed();
        self.network.heal();
        let now_ms = self.network.now_ms;
        for (number, worker) in self.workers.iter_mut().enumerate() {
            if number < self.options.survivors {
                worker.heal(now_ms, &self.options);
            } else {
                worker.die(&mut self.world);
            }
        }
        if self.monitors.is_empty() {
            self.network.plan(0, Event::Wake(Actor::Monitor(0)));
        }
        self.monitors = vec![Monitor::draw(&self.options, &mut self.random)];
    }

    /// Runs on until every job has ended. Errors: nothing goes on any more though a job is unfinished; or no end comes
    /// of it.
    pub fn run_until_done(&mut self) -> Result<(), Violation> {
        let patience_ms = self.patience_ms();
        let mut progress = self.progress();
        let mut deadline_ms = self.network.now_ms + patience_ms;
        let last_message = self.witness.transcript.len() + MOST_MESSAGES_AFTER_FAULTS;
        loop {
            let unfinished = self
                .witness
                .seen()
                .jobs
                .iter()
                .filter(|(_, job)| job.is_running());
            let unfinished: Vec<String> = unfinished.map(|(id, _)| id.to_string()).collect();
            if unfinished.is_empty() && self.submitter.confirmed() == self.submitter.jobs.len() {
                return self.compare_outputs();
            }
            if self.network.now_ms > deadline_ms || self.witness.transcript.len() > last_message {
                return Err(Violation {
                    law: self.broken_liveness(),
                    what: format!("{unfinished:?} should have ended long ago"),
                });
            }
            self.step()?;
            if self.progress() != progress {
                progress = self.progress();
                deadline_ms = self.network.now_ms + patience_ms;
            }
        }
    }

    /// What it is that goes on for ever.
    fn broken_liveness(&self) -> &'static str {
        let tasks = self.witness.seen().tasks.values();
        let is_gone = |name: &String| {
            let is_this = |worker: &&Worker| worker.name == *name && worker.state != State::Gone;
            !self.workers.iter().any(|worker| is_this(&worker))
        };
        if tasks.clone().any(|task| task.workers.iter().any(is_gone)) {
            "a_clock_gone_wrong_hides_no_failure"
        } else if tasks.clone().any(|task| task.state == TaskState::Idle) {
            "no_task_waits_for_ever"
        } else {
            "every_job_ends_while_one_worker_is_left"
        }
    }

    /// What only grows until the jobs have ended, and by each job's limits not for ever: attempts that start, and
    /// tasks and jobs that get further.
    fn progress(&self) -> (usize, usize, usize) {
        let tasks = self.witness.seen().tasks.values();
        let finished = tasks
            .clone()
            .filter(|task| !task.state.is_unfinished())
            .count();
        (
            tasks.map(|task| task.attempts).sum(),
            finished,
            self.submitter.confirmed(),
        )
    }

    /// How long nothing may happen, at most, while a job is unfinished. First, the last message of before arrives, and
    /// the workers that are gone are found out: the last that was heard of them was ahead of the time by so much, then
    /// comes the timeout, then a check. Where all are excluded from a job, it takes `avoid_ms` until they are not; the
    /// same where nobody but a worker with a history could take a task. From then on a survivor asks for a task and runs it; or the task takes it
    /// down, and that has to be found out too.
    fn patience_ms(&self) -> i64 {
        let options = &self.options;
        let found_out_ms = 2 * (options.timeout_ms + options.check_ms);
        let run_ms = longest_run_ms(options) + 4 * options.pace_ms + options.down_ms;
        let avoid_ms = self.submitter.jobs.iter().map(|job| job.avoid_ms).max();
        let avoid_ms = 2 * avoid_ms.unwrap_or(0).max(60_000);
        LONGEST_DELAY_MS
            + avoid_ms
            + self.witness.ahead_ms(self.network.now_ms)
            + found_out_ms
            + run_ms
    }

    fn compare_outputs(&self) -> Result<(), Violation> {
        for (id, seen) in &self.witness.seen().jobs {
            let Some(job) = self.submitter.jobs.iter().find(|job| *job.id == **id) else {
                continue;
            };
            if let Some(outputs) = &seen.outputs
                && !job.is_right(outputs, &seen.skipped)
            {
                return Err(Violation {
                    law: "the_output_is_that_of_a_sequential_run",
                    what: format!("job {id:?} gives {outputs:?}, without {:?}", seen.skipped),
                });
            }
        }
        Ok(())
    }

    /// The next thing that happens.
    fn step(&mut self) -> Result<(), Violation> {
        match self.network.next().expect("somebody always wakes up again") {
            Event::Wake(actor) => {
                let (said, pause_ms) = self.wake(actor);
                for body in said {
                    self.send(actor, &body);
                }
                self.network.plan(pause_ms, Event::Wake(actor));
            }
            Event::Request(actor, line) if self.network.reaches(actor) => {
                self.make_noise(&line)?;
                if self.random.per_mille(self.options.master_crash / 4) {
                    self.witness.say(Input::CrashAt(line))?;
                } else {
                    self.say(actor, &line)?;
                }
            }
            Event::Reply(actor, reply) if self.network.reaches(actor) => self.receive(actor, reply),
            Event::Request(..) | Event::Reply(..) => {}
            Event::Calamity => {
                self.strike()?;
                self.network.plan(CALAMITY_MS, Event::Calamity);
            }
        }
        Ok(())
    }

    /// Lets an actor act; returns what it has to say, and when it wakes up again.
    fn wake(&mut self, actor: Actor) -> (Vec<Body>, i64) {
        let Self {
            options,
            random,
            network,
            workers,
            monitors,
            submitter,
            world,
            ..
        } = self;
        let now_ms = network.now_ms;
        match actor {
            Actor::Worker(number) => {
                let mut moment = Moment {
                    now_ms,
                    options,
                    random,
                    world,
                };
                let said = workers[number].wake(&mut moment);
                (said, random.between(options.pace_ms / 2, options.pace_ms))
            }
            Actor::Monitor(number) => {
                let Some(monitor) = monitors.get_mut(number) else {
                    return (vec![], LONGEST_DELAY_MS);
                };
                // It mostly knows who is up; and it can be wrong.
                let believes_anything = random.per_mille(200);
                let known = workers
                    .iter()
                    .filter(|worker| believes_anything || worker.state == State::Up);
                let names: Vec<String> = known.map(|worker| worker.name.clone()).collect();
                let said = monitor.wake(now_ms, &names, &submitter.jobs, options, random);
                (
                    said,
                    random.between(monitor.every_ms / 2, monitor.every_ms) + 1,
                )
            }
            Actor::Submitter => (submitter.wake(options, random), options.pace_ms),
        }
    }

    fn receive(&mut self, actor: Actor, reply: serde_json::Value) {
        match actor {
            Actor::Worker(number) => self.workers[number].receive(reply),
            Actor::Monitor(number) => {
                if let Some(monitor) = self.monitors.get_mut(number) {
                    monitor.receive(&reply, &self.options, &mut self.random);
                }
            }
            Actor::Submitter => self.submitter.receive(&reply),
        }
    }

    fn send(&mut self, actor: Actor, body: &Body) {
        self.msg_ids += 1;
        let msg_id = self.options.msg_ids.then_some(self.msg_ids);
        let src = self.options.init.then(|| actor.address());
        let event = Event::Request(actor, body.line(msg_id, src.as_deref()));
        self.network.send(&event, &self.options, &mut self.random);
    }

    /// A line reaches the master, and its reply sets out.
    fn say(&mut self, actor: Actor, line: &str) -> Result<(), Violation> {
        if let Some(reply) = self.witness.say(Input::Message(line.to_owned()))? {
            let event = Event::Reply(actor, reply);
            self.network.send(&event, &self.options, &mut self.random);
        }
        Ok(())
    }

    /// Now and then a line is torn, or is no message at all.
    fn make_noise(&mut self, line: &str) -> Result<(), Violation> {
        if !self.random.per_mille(self.options.noise) {
            return Ok(());
        }
        let noise = match self.random.below(4) {
            0 => {
                let cut = self.random.below(line.len());
                line.chars()
                    .take(cut)
                    .filter(|letter| *letter != '}')
                    .collect()
            }
            1 => format!("{line} {line}"),
            2 => format!("{line}]"),
            _ => "no message \u{0} at all".to_owned(),
        };
        self.witness.say(Input::Noise(noise))?;
        Ok(())
    }

    fn strike(&mut self) -> Result<(), Violation> {
        if self.random.per_mille(self.options.master_crash) {
            let compacts = self.random.per_mille(500);
            self.witness.say(Input::Crash { compacts })?;
        }
        let number = self.random.below(self.workers.len());
        let Self {
            options,
            random,
            network,
            workers,
            world,
            ..
        } = self;
        let worker = &mut workers[number];
        let now_ms = network.now_ms;
        let is_up = worker.state == State::Up;
        if random.per_mille(options.clock_jump) {
            worker.clock.skew_ms += random.between(-500, 500);
        }
        if random.per_mille(options.long_clock_jump) {
            let shown = worker.clock.skew_ms;
            worker.clock.skew_ms = random.years_from(shown);
        }
        if random.per_mille(options.endless_run) {
            worker.get_stuck();
        }
        if is_up && random.per_mille(options.quick_restart) {
            worker.restart_quickly(&mut Moment {
                now_ms,
                options,
                random,
                world,
            });
        }
        if random.per_mille(options.partition) {
            let for_ms = random.heavy_tail(200);
            network.cut_off(number, for_ms);
        }
        if is_up && random.per_mille(options.hang) {
            worker.state = State::Hung(now_ms + random.heavy_tail(200));
        } else if is_up && random.per_mille(options.crash) {
            worker.crash(&mut Moment {
                now_ms,
                options,
                random,
                world,
            });
        } else if is_up && random.per_mille(options.leave) {
            let body = worker.leave(world);
            // It may start again: it is known no more, and is new then.
            if random.per_mille(500) {
                worker.state = State::Down(now_ms + random.heavy_tail(200));
            }
            self.send(Actor::Worker(number), &body);
        }
        Ok(())
    }
}

fn tasks_of(job: &Job) -> impl Iterator<Item = String> {
    let maps = job.maps.iter().map(|map| map.id.clone());
    maps.chain((0..job.reduces).map(|number| format!("{}-reduce-{number}", job.id)))
}
