//! What workers report in a random conversation.

use super::super::message::{Body, list, quoted};
use super::speaker::{Given, Speaker};

impl Speaker {
    /// Mostly an attempt that was handed out, by the worker that has it.
    fn attempt(&mut self) -> Given {
        if self.given.is_empty() || self.random.per_mille(60) {
            Given {
                worker: self.worker(),
                task: self.task(),
                attempt: self.random.between(-1, 4),
                partitions: None,
                inputs: vec![],
            }
        } else {
            let latest = self.given.len().saturating_sub(3);
            let from = if self.random.per_mille(self.honesty) {
                latest
            } else {
                0
            };
            let mut given = self.random.pick(&self.given[from..]).clone();
            if self.random.per_mille(30) {
                given.worker = self.worker();
            }
            given
        }
    }

    fn report(&mut self, kind: &str, given: &Given) -> Body {
        self.timed(kind, &given.worker)
            .text("task_id", &given.task)
            .json("attempt", given.attempt)
    }

    pub(super) fn complete(&mut self) -> Body {
        let given = self.attempt();
        let body = self.report("complete_task", &given);
        let partitions = match given.partitions {
            Some(partitions) if !self.random.per_mille(80) => partitions,
            _ => self.random.below(3),
        };
        let is_reduce = !given.inputs.is_empty();
        let element = |speaker: &mut Self| {
            let elements = ["1", "{\"k\": 1.50}", "\"\\ud83d\"", "1e400", "[]"];
            (*speaker.random.pick(&elements)).to_owned()
        };
        let output = if partitions == 0 || is_reduce || self.random.per_mille(20) {
            element(self)
        } else {
            list((0..partitions).map(|_| element(self)))
        };
        let body = body.json("output", output);
        if !self.random.per_mille(250) {
            return body;
        }
        let mut counters = vec![];
        for name in ["n", "é", "Z", ""] {
            if self.random.per_mille(400) {
                let count = *self.random.pick(&[0, 1, -7, i64::MAX, i64::MIN]);
                counters.push(format!("{}: {count}", quoted(name)));
            }
        }
        body.json("counters", format!("{{{}}}", counters.join(", ")))
    }

    pub(super) fn fail(&mut self) -> Body {
        let given = self.attempt();
        let body = self.report("fail_task", &given);
        let error = [
            "\"e1\"",
            "\"e2\"",
            "\"\"",
            "\"x\\ud800y\\u00e9\"",
            "\"\\n\\udfff\"",
        ];
        let body = body.json("error", *self.random.pick(&error));
        if given.inputs.is_empty() && !self.random.per_mille(30) || self.random.per_mille(300) {
            return body;
        }
        let mut lost = vec![];
        for (task, attempt) in given.inputs {
            if self.random.per_mille(700) {
                let attempt = attempt - i64::from(self.random.per_mille(100));
                lost.push(format!(
                    "{{\"task_id\": {}, \"attempt\": {attempt}}}",
                    quoted(&task)
                ));
            }
        }
        if self.random.per_mille(30) {
            let task = self.task();
            lost.push(format!(
                "{{\"task_id\": {}, \"attempt\": 1}}",
                quoted(&task)
            ));
        }
        body.json("lost_inputs", list(lost))
    }
}
