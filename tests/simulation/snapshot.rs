//! What can be seen of the master's state from outside: its answers to `task_status`, `job_status` and `status`.

use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// All that the master says of its tasks, jobs and counters, between two messages.
#[derive(Clone, Default, PartialEq)]
pub struct Snapshot {
    pub tasks: BTreeMap<Rc<str>, Rc<TaskView>>,
    pub jobs: BTreeMap<Rc<str>, Rc<JobView>>,
    pub status: Rc<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TaskState {
    Idle,
    Running,
    Completed,
    Skipped,
    Failed,
    Withdrawn,
}

impl TaskState {
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Idle | Self::Running)
    }

    pub fn is_given_up(self) -> bool {
        matches!(self, Self::Skipped | Self::Failed)
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "idle" => Self::Idle,
            "running" => Self::Running,
            "completed" => Self::Completed,
            "skipped" => Self::Skipped,
            "failed" => Self::Failed,
            "withdrawn" => Self::Withdrawn,
            _ => return None,
        })
    }
}

#[derive(Debug, PartialEq)]
pub struct TaskView {
    pub state: TaskState,
    pub attempts: usize,
    pub failures: i64,
    pub losses: i64,
    /// Who has its live attempts.
    pub workers: Vec<String>,
    pub winner: Option<(String, i64)>,
    pub output: Value,
}

#[derive(Debug, PartialEq)]
pub struct JobView {
    pub state: String,
    /// Idle, running, completed, skipped, failed, withdrawn.
    pub maps: [i64; 6],
    pub reduces: [i64; 6],
    pub skipped: Vec<String>,
    pub has_error: bool,
    pub failed_task: Option<String>,
    pub outputs: Option<Vec<Value>>,
}

impl TaskView {
    /// Reads a `task_status_ok`; nothing if it is none.
    pub fn read(reply: &Value) -> Option<Self> {
        let winner = &reply["winner"];
        Some(Self {
            state: TaskState::named(reply["state"].as_str()?)?,
            attempts: usize::try_from(reply["attempts"].as_i64()?).ok()?,
            failures: reply["failures"].as_i64()?,
            losses: reply["losses"].as_i64()?,
            workers: texts(&reply["workers"])?,
            winner: winner["worker_id"]
                .as_str()
                .map(str::to_owned)
                .zip(winner["attempt"].as_i64()),
            output: reply["output"].clone(),
        })
    }
}

impl JobView {
    /// Reads a `job_status_ok`; nothing if it is none.
    pub fn read(reply: &Value) -> Option<Self> {
        let counts = |kind: &str| {
            let count = |state: &str| reply[kind][state].as_i64();
            Some([
                count("idle")?,
                count("running")?,
                count("completed")?,
                count("skipped")?,
                count("failed")?,
                count("withdrawn")?,
            ])
        };
        Some(Self {
            state: reply["state"].as_str()?.to_owned(),
            maps: counts("map")?,
            reduces: counts("reduce")?,
            skipped: texts(&reply["skipped"]).unwrap_or_default(),
            has_error: reply["error"].is_string(),
            failed_task: reply["failed_task"].as_str().map(str::to_owned),
            outputs: reply["outputs"].as_array().cloned(),
        })
    }

    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Whether its reduces may be handed out.
    pub fn is_open(&self) -> bool {
        self.maps[0] + self.maps[1] == 0
    }
}

/// A list of strings, if it is one.
pub fn texts(list: &Value) -> Option<Vec<String>> {
    list.as_array()?
        .iter()
        .map(|text| text.as_str().map(str::to_owned))
        .collect()
}
