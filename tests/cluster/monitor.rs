//! The monitor: submits the job, checks on the workers, and asks how the job is until it ends.

use super::client::{Actor, Client, Context, Timer};
use serde_json::{Value, json};

pub struct Monitor {
    client: Client,
    submission: Value,
    checks: Checks,
    state: State,
}

#[derive(Clone, Debug)]
pub struct Checks {
    pub every_ms: i64,
    pub timeout_ms: i64,
    pub stragglers: Stragglers,
}

impl Checks {
    pub const DEFAULT: Self = Self {
        every_ms: 500,
        timeout_ms: 3_000,
        stragglers: Stragglers::ByMedian,
    };

    pub const WITHOUT_BACKUPS: Self = Self {
        stragglers: Stragglers::Ignored,
        ..Self::DEFAULT
    };
}

/// Whether stragglers get backup attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stragglers {
    Ignored,
    /// Those slower than 1.5 × the median, once most of their kind are completed.
    ByMedian,
}

#[derive(PartialEq, Eq)]
enum State {
    Submitting,
    Watching,
    Done,
}

impl Monitor {
    pub fn new(submission: Value, checks: Checks) -> Self {
        Self {
            client: Client::new("monitor".into()),
            submission,
            checks,
            state: State::Submitting,
        }
    }

    fn check(&mut self, context: &mut Context) {
        let now = context.now;
        let Checks {
            every_ms,
            timeout_ms,
            stragglers,
        } = self.checks;
        let failures = json!({"type": "check_failures", "timeout_ms": timeout_ms, "now": now});
        self.client.tell(failures, context);
        if stragglers == Stragglers::ByMedian {
            let stragglers = json!({"type": "check_stragglers", "now": now});
            self.client.tell(stragglers, context);
        }
        let status = json!({"type": "job_status", "job_id": self.submission["job_id"]});
        self.client.tell(status, context);
        context.timers.push((every_ms, Timer::Check));
    }
}

impl Actor for Monitor {
    fn id(&self) -> &str {
        &self.client.id
    }

    fn start(&mut self, context: &mut Context) {
        self.client.request(self.submission.clone(), context);
    }

    fn hear(&mut self, reply: &Value, context: &mut Context) {
        match reply["type"].as_str() {
            Some("job_submitted") if self.client.is_answered_by(reply) => {
                self.state = State::Watching;
                self.check(context);
            }
            Some("job_status_ok") if reply["state"] != "running" => self.state = State::Done,
            Some("error") => panic!("the monitor hears {reply}"),
            _ => {}
        }
    }

    fn wake(&mut self, timer: Timer, context: &mut Context) {
        match timer {
            Timer::Resend { msg_id } => self.client.resend(msg_id, context),
            Timer::Check if self.state == State::Watching => self.check(context),
            _ => {}
        }
    }
}
