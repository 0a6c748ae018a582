//! The expected replies of a node that recovers from a journal: those of a node that was never killed, except for what a
//! recovery means to the master (protocol, section 8).

use crate::restartable::without_msg_id;
use mapreduce_master::service::Service;
use mapreduce_master::wire::{self, Effect, Message};

#[derive(Default)]
pub struct Unkilled {
    service: Service,
    /// Whether there is anything to recover.
    has_changed: bool,
}

impl Unkilled {
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, the replies are those of a node that was killed and has recovered.
    pub fn recovered(&mut self) {
        if self.has_changed {
            self.service.master.recover();
        }
    }

    /// The reply to a message, as a line without a `msg_id`; empty if it gets none.
    pub fn say(&mut self, message: &str) -> String {
        let mut fields = Message::EMPTY;
        let mut reply = Vec::new();
        if wire::parse(message.as_bytes(), &mut fields).is_ok() {
            let effect = self.service.answer(&fields, &mut reply);
            self.has_changed |= effect.is_ok_and(|effect| effect > Effect::None);
        }
        let reply = String::from_utf8(reply).expect("a reply is text");
        without_msg_id(&reply).0
    }
}
