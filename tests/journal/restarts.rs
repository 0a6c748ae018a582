//! After a restart the node is where it was: every reply goes on as if it had never been killed.

use crate::conversation::Conversation;
use crate::random::Random;
use crate::restartable::Restartable;
use crate::unkilled::Unkilled;

const CONVERSATIONS: u64 = 200;
const MESSAGES: usize = 150;

/// Has the same said to a node that is killed and compacted at random, and to one that never is.
fn converse(seed: u64) {
    let mut random = Random::new(!seed);
    let [kills, compactions] = [0, 0].map(|_| [0, 1, 5, 40][random.below(4) as usize]);
    let mut conversation = Conversation::new(seed);
    let mut killed = Restartable::new();
    let mut unkilled = Unkilled::new();
    let compare = |killed: &mut Restartable, unkilled: &mut Unkilled, message: &str| {
        let expected = unkilled.say(message);
        assert_eq!(killed.say(message), expected, "seed {seed}, to {message}");
        expected
    };
    for at in 0..=MESSAGES {
        if random.percent(kills) || at == MESSAGES {
            killed = killed.restarted();
            unkilled.recovered();
        }
        if random.percent(compactions) {
            killed.compact();
        }
        if at < MESSAGES {
            let message = conversation.next();
            let reply = compare(&mut killed, &mut unkilled, &message);
            conversation.hear(&reply);
        }
    }
    for message in conversation.ask_everything() {
        compare(&mut killed, &mut unkilled, &message);
    }
}

#[test]
fn replies_go_on_as_if_the_node_had_never_been_killed() {
    match std::env::var("SEED") {
        Ok(seed) => converse(seed.parse().expect("SEED is a number")),
        Err(_) => (0..CONVERSATIONS).for_each(converse),
    }
}
