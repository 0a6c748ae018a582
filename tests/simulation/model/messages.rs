//! Messages in, replies out (sections 2 and 3).

use super::json::{Fields, Json, Parser, Value, object, quoted};
use super::{FREE_TEXT, Model};

/// An error reply: its code. (The text is free.)
pub(super) struct Refused(pub(super) i64);

pub(super) const NOT_SUPPORTED: Refused = Refused(10);
pub(super) const MALFORMED: Refused = Refused(12);
pub(super) const UNKNOWN_KEY: Refused = Refused(20);
pub(super) const KEY_EXISTS: Refused = Refused(21);
pub(super) const PRECONDITION: Refused = Refused(22);

/// The type of a reply, and its fields after `type`, `in_reply_to` and `msg_id`, with their printed values.
pub(super) type Answer = (&'static str, Vec<(&'static str, String)>);
pub(super) type Handled = Result<Answer, Refused>;

impl Model {
    #[must_use]
    pub fn new() -> Model {
        Model::default()
    }

    /// One complete message text to the line that the node must print for it, or None where there is no reply.
    pub fn reply(&mut self, message: &str) -> Option<String> {
        // "Every JSON object gets exactly one reply"
        let Some(Json {
            value: Value::Object(whole),
            ..
        }) = Parser::parse(message)
        else {
            self.hit("no JSON object");
            return None;
        };
        let whole = Fields(&whole);

        // "A request is an envelope […] (any object with the key `body`) or a bare body"
        let is_envelope = whole.get("body").is_some();
        let src: Option<String> = whole.get("src").and_then(Json::as_text);

        // "after `init`, an envelope whose `src` is not a string cannot be answered and is not executed"
        if is_envelope && self.node_id.is_some() && src.is_none() {
            self.hit("envelope without src after init");
            return None;
        }

        let body: Option<Fields> = match whole.get("body") {
            None => Some(whole),
            Some(Json {
                value: Value::Object(fields),
                ..
            }) => Some(Fields(fields)),
            Some(_) => None,
        };

        // "a body with `in_reply_to`, or of type `error`, is itself a reply and is never answered"
        // CHOICE: `null` means absent here as well.
        if let Some(body) = &body {
            if body.optional("in_reply_to").is_some() {
                self.hit("a reply");
                return None;
            }
            if body.text("type").is_ok_and(|name| name == "error") {
                self.hit("an error from elsewhere");
                return None;
            }
        }

        let mut msg_id: Option<i64> = None;
        let handled: Handled = match &body {
            // "A `body` that is not an object is 12."
            None => {
                self.hit("body no object");
                Err(MALFORMED)
            }
            // "Checks are made in this order: `msg_id` and `type`; all fields (12); existence (20); […]"
            Some(body) => match body.optional_integer("msg_id") {
                Err(refused) => {
                    self.hit("msg_id no integer");
                    Err(refused)
                }
                Ok(id) => {
                    msg_id = id;
                    self.hit(if id.is_some() {
                        "with msg_id"
                    } else {
                        "without msg_id"
                    });
                    self.handle(body, is_envelope, src.as_deref())
                }
            },
        };
        let (reply_type, fields) = match handled {
            Ok(answer) => answer,
            // `{"type": "error", "in_reply_to": 7, "code": 12, "text": "…"}`
            Err(Refused(code)) => (
                "error",
                vec![("code", code.to_string()), ("text", FREE_TEXT.to_string())],
            ),
        };

        // "Until `init` has named the node […] replies are **bare bodies**" "After `init`, […] the reply to an envelope is an
        // envelope […]. `init_ok` is the first of them. A bare body still gets a bare reply without `msg_id`."
        let has_envelope = is_envelope && self.node_id.is_some();

        // "The reply repeats it as `in_reply_to`, the second field after `type`. A request without `msg_id` gets a reply
        // without `in_reply_to`." "its body carries a `msg_id` of its own, counting from 0, right after `in_reply_to`"
        let mut reply = vec![("type", quoted(reply_type))];
        if let Some(id) = msg_id {
            reply.push(("in_reply_to", id.to_string()));
        }
        if has_envelope {
            reply.push(("msg_id", self.enveloped_replies.to_string()));
            self.enveloped_replies += 1;
        }
        reply.extend(fields);
        let reply = object(&reply);

        match (&self.node_id, src) {
            (Some(node_id), Some(src)) if has_envelope => Some(object(&[
                ("src", quoted(node_id)),
                ("dest", quoted(&src)),
                ("body", reply),
            ])),
            _ => Some(reply),
        }
    }

    pub(super) fn handle(
        &mut self,
        body: &Fields,
        is_envelope: bool,
        src: Option<&str>,
    ) -> Handled {
        let request_type = match body.text("type") {
            Ok(request_type) => request_type,
            Err(refused) => {
                self.hit("type missing or no string");
                return Err(refused);
            }
        };
        let handled = match request_type.as_str() {
            // "(Before that, an `init` in such an envelope is error 12, bare.)"
            "init" if is_envelope && src.is_none() => {
                self.hit("init in an envelope without src");
                Err(MALFORMED)
            }
            "init" => self.init(body),
            "heartbeat" => self.heartbeat(body),
            "check_failures" => self.check_failures(body),
            "reassign" => self.reassign(body),
            "remove_worker" => self.remove_worker(body),
            "submit_job" => self.submit_job(body),
            "request_task" => self.request_task(body),
            "complete_task" => self.complete_task(body),
            "fail_task" => self.fail_task(body),
            "check_stragglers" => self.check_stragglers(body),
            "job_status" => self.job_status(body),
            "task_status" => self.task_status(body),
            "status" => Ok(self.status()),
            "list_jobs" => Ok(self.list_jobs()),
            "list_workers" => Ok(self.list_workers()),
            "remove_job" => self.remove_job(body),
            // "10 not-supported: unknown `type`"
            _ => {
                self.hit("type unknown");
                return Err(NOT_SUPPORTED);
            }
        };
        match &handled {
            Ok(_) => self.hit(&format!("{request_type} answered")),
            Err(Refused(code)) => self.hit(&format!("{request_type} refused with {code}")),
        }
        handled
    }

    pub(super) fn hit(&mut self, rule: &str) {
        match self.coverage.get_mut(rule) {
            Some(hits) => *hits += 1,
            None => {
                self.coverage.insert(rule.to_string(), 1);
            }
        }
    }
}
