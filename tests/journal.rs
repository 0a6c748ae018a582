//! The journal: a node that is killed and restarted continues where it was; a node whose journal is damaged says so and
//! changes nothing.

// Links, permissions, limits and the shell are Unix's.
#![cfg(unix)]

#[path = "journal/by_hand.rs"]
mod by_hand;
#[path = "journal/clients.rs"]
mod clients;
#[path = "journal/compaction.rs"]
mod compaction;
#[path = "journal/conversation.rs"]
mod conversation;
#[path = "journal/damage.rs"]
mod damage;
#[path = "journal/files.rs"]
mod files;
#[path = "journal/forged.rs"]
mod forged;
#[path = "journal/kept.rs"]
mod kept;
#[path = "journal/kills.rs"]
mod kills;
#[path = "journal/limits.rs"]
mod limits;
#[path = "journal/node.rs"]
mod node;
#[path = "journal/power_loss.rs"]
mod power_loss;
#[path = "cluster/random.rs"]
mod random;
#[path = "journal/refused.rs"]
mod refused;
#[path = "journal/restartable.rs"]
mod restartable;
#[path = "journal/restarts.rs"]
mod restarts;
#[path = "journal/traces.rs"]
mod traces;
#[path = "journal/unkilled.rs"]
mod unkilled;
#[path = "journal/version.rs"]
mod version;
