//! A failing conversation, made as short as it gets: messages are dropped while the same law is still broken.

use super::witness::{Input, Violation, Witness};

/// How often a conversation is had again, at most.
const MOST_TRIES: usize = 5_000;

/// The messages that are enough to break that law, and how they break it.
pub fn shrink(
    conversation: &[Input],
    law: &str,
    with_oracle: bool,
) -> Option<(Witness, Violation)> {
    let mut kept = conversation.to_vec();
    kept.truncate(breaks(&kept, law, with_oracle)?);
    let mut tries = 0;
    let mut size = kept.len().div_ceil(2);
    while size > 0 && tries < MOST_TRIES {
        let mut has_dropped = false;
        let mut end = kept.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let fewer = [&kept[..start], &kept[end..]].concat();
            tries += 1;
            if let Some(length) = breaks(&fewer, law, with_oracle) {
                kept = fewer;
                kept.truncate(length);
                has_dropped = true;
            }
            end = start.min(kept.len());
        }
        if size > 1 || !has_dropped {
            size /= 2;
        }
    }
    let (witness, violation) = have(&kept, with_oracle);
    Some((witness, violation?))
}

/// After how many messages that law is broken, if it is.
fn breaks(conversation: &[Input], law: &str, with_oracle: bool) -> Option<usize> {
    let (witness, violation) = have(conversation, with_oracle);
    violation
        .filter(|violation| violation.law == law)
        .map(|_| witness.transcript.len())
}

/// Has a conversation with a new master, up to the first law that is broken.
fn have(conversation: &[Input], with_oracle: bool) -> (Witness, Option<Violation>) {
    let mut witness = Witness::new(with_oracle);
    for input in conversation {
        if let Err(violation) = witness.say(input.clone()) {
            return (witness, Some(violation));
        }
    }
    (witness, None)
}
