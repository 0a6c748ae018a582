//! What a run is like. Every run draws its own, extremes included: no two runs are extreme in the same way, and a
//! fault that others would hide has runs of its own (`TigerBeetle` calls it a swarm).

use super::random::{LONGEST_TAIL, Random};

/// Chances are in a thousand, times in ms.
#[derive(Clone, Debug)]
pub struct Options {
    pub workers: usize,
    pub jobs: usize,
    pub max_maps: usize,
    pub max_reduces: usize,
    /// How many messages the master gets before the faults end.
    pub faulty_messages: usize,
    /// The first moment of the run.
    pub epoch_ms: i64,

    /// Whether `init` names the node; replies come in envelopes then.
    pub init: bool,
    pub msg_ids: bool,

    pub loss: u32,
    pub repetition: u32,
    /// A typical delay; some are much longer, and overtaken by others.
    pub delay_ms: i64,
    /// Something that is no message at all, between two that are.
    pub noise: u32,

    /// How far a clock is off at most.
    pub skew_ms: i64,
    /// How much too fast or too slow a clock goes at most, in a thousand.
    pub drift: i64,
    /// Clocks that show the end of time.
    pub absurd_clocks: u32,

    pub task_ms: i64,
    /// How many times slower than others some workers are.
    pub slowness: i64,
    pub pace_ms: i64,
    pub slots: usize,
    /// Whether workers say in `running` what they run.
    pub says_running: u32,
    pub failing_tasks: u32,
    pub poison_tasks: u32,
    /// Workers that fail all they touch.
    pub bad_workers: u32,
    /// Workers that cannot fetch what others have on their disks.
    pub cut_off_from_others: u32,
    /// Whether workers say in `incarnation` when they started.
    pub says_incarnation: u32,
    /// Inputs that a reduce believes to be unreachable though they are there.
    pub lost_inputs: u32,

    /// The chances of what befalls the cluster every [`CALAMITY_MS`].
    pub crash: u32,
    pub hang: u32,
    pub leave: u32,
    pub partition: u32,
    pub clock_jump: u32,
    /// Clocks that jump by years, of workers and monitors.
    pub long_clock_jump: u32,
    /// Runs that never end, on workers whose hearts beat on.
    pub endless_run: u32,
    /// Workers that are started again at once, under their names.
    pub quick_restart: u32,
    /// The master itself, which comes back from its journal.
    pub master_crash: u32,
    /// Whether a worker that crashed comes back with its outputs, and under its old name.
    pub keeps_outputs: u32,
    pub keeps_name: u32,
    pub down_ms: i64,

    pub monitors: usize,
    pub timeout_ms: i64,
    pub check_ms: i64,
    /// Checks that must not fail many workers at once.
    pub max_failed: u32,
    /// Checks that forget who has been silent for long.
    pub remove_after: u32,
    pub reassign: u32,
    pub reassign_named: u32,
    /// Tasks in a `reassign` that the master has never heard of.
    pub foreign_tasks: u32,
    pub check_stragglers: u32,

    pub remove_job: u32,
    pub survivors: usize,
}

/// How often fate strikes, if it does.
pub const CALAMITY_MS: i64 = 50;

/// No delay of a message is longer.
pub const LONGEST_DELAY_MS: i64 = 200 * LONGEST_TAIL;

impl Options {
    pub fn draw(random: &mut Random) -> Self {
        let r = random;
        let mut options = Self::draw_each(r);
        // Where everything goes wrong at once, no job ever gets far. In some runs, some things work.
        if r.per_mille(400) {
            (options.loss, options.repetition, options.delay_ms) = (0, 0, 1);
            (options.partition, options.hang, options.absurd_clocks) = (0, 0, 0);
        }
        if r.per_mille(400) {
            (
                options.failing_tasks,
                options.poison_tasks,
                options.remove_job,
            ) = (0, 0, 0);
        }
        options
    }

    fn draw_each(r: &mut Random) -> Self {
        let workers = *r.pick(&[1, 2, 3, 3, 4, 6, 8]);
        Self {
            workers,
            jobs: *r.pick(&[1, 1, 2, 3]),
            max_maps: *r.pick(&[1, 3, 5, 8, 12]),
            max_reduces: *r.pick(&[0, 1, 2, 3, 5]),
            faulty_messages: *r.pick(&[20, 60, 120, 240, 480, 480]),
            epoch_ms: *r.pick(&[0, 1_700_000_000_000, -10_000, i64::MAX - (1 << 32)]),
            init: r.per_mille(500),
            msg_ids: r.per_mille(800),
            loss: *r.pick(&[0, 0, 50, 200, 600]),
            repetition: *r.pick(&[0, 0, 50, 200, 600]),
            delay_ms: *r.pick(&[0, 1, 1, 20, 200]),
            noise: *r.pick(&[0, 0, 20, 200]),
            skew_ms: *r.pick(&[0, 0, 30, 2000]),
            drift: *r.pick(&[0, 0, 20, 300]),
            absurd_clocks: *r.pick(&[0, 0, 0, 0, 200]),
            task_ms: *r.pick(&[1, 20, 60, 300]),
            slowness: *r.pick(&[1, 3, 10]),
            pace_ms: *r.pick(&[10, 20, 50]),
            slots: *r.pick(&[1, 1, 2, 4]),
            says_running: *r.pick(&[0, 500, 1000, 1000]),
            failing_tasks: *r.pick(&[0, 0, 100, 400]),
            poison_tasks: *r.pick(&[0, 0, 0, 100]),
            bad_workers: *r.pick(&[0, 0, 0, 200, 500]),
            cut_off_from_others: *r.pick(&[0, 0, 0, 200]),
            says_incarnation: *r.pick(&[0, 0, 500, 1000]),
            lost_inputs: *r.pick(&[0, 0, 100, 400]),
            crash: *r.pick(&[0, 0, 50, 200]),
            hang: *r.pick(&[0, 0, 50, 200]),
            leave: *r.pick(&[0, 0, 10, 100]),
            partition: *r.pick(&[0, 0, 50, 200]),
            clock_jump: *r.pick(&[0, 0, 0, 100]),
            long_clock_jump: *r.pick(&[0, 0, 0, 50]),
            endless_run: *r.pick(&[0, 0, 50, 200]),
            quick_restart: *r.pick(&[0, 0, 50, 200]),
            master_crash: *r.pick(&[0, 0, 0, 30, 200]),
            keeps_outputs: *r.pick(&[0, 500, 1000]),
            keeps_name: *r.pick(&[0, 500, 1000]),
            down_ms: *r.pick(&[10, 100, 500]),
            monitors: *r.pick(&[0, 1, 1, 1, 2]),
            timeout_ms: *r.pick(&[0, 20, 50, 100, 400]),
            check_ms: *r.pick(&[5, 30, 100, 800]),
            max_failed: *r.pick(&[0, 0, 300]),
            remove_after: *r.pick(&[0, 0, 300]),
            reassign: *r.pick(&[0, 0, 300, 1000]),
            reassign_named: *r.pick(&[0, 300, 1000]),
            foreign_tasks: *r.pick(&[0, 0, 500]),
            check_stragglers: *r.pick(&[0, 500, 1000, 1000]),
            remove_job: *r.pick(&[0, 0, 10, 50]),
            survivors: r.below(workers) + 1,
        }
    }

    /// The same run without its faults: what is left is a cluster that is small, slow and honest.
    #[must_use]
    pub fn healed(&self) -> Self {
        let timeout_ms = 10 * self.pace_ms;
        Self {
            loss: 0,
            repetition: 0,
            delay_ms: 0,
            noise: 0,
            skew_ms: 0,
            drift: 0,
            absurd_clocks: 0,
            lost_inputs: 0,
            crash: 0,
            hang: 0,
            leave: 0,
            partition: 0,
            clock_jump: 0,
            long_clock_jump: 0,
            endless_run: 0,
            quick_restart: 0,
            max_failed: 0,
            master_crash: 0,
            slowness: 1,
            // Whoever is taken down by a poisonous task stays down for as long as it takes to be found out: a
            // master that never hears of the loss has nothing to count.
            down_ms: 8 * timeout_ms,
            monitors: 1,
            timeout_ms,
            check_ms: timeout_ms,
            reassign: 0,
            check_stragglers: self.check_stragglers,
            remove_job: 0,
            ..self.clone()
        }
    }
}
