#![doc = include_str!("journal/README.md")]

pub mod compact;
mod compaction;
pub mod file;
mod format;
mod place;
mod recorder;
mod recovery;
mod unix;

pub use compaction::compact_stream;
pub use file::compact_file;
pub use format::{ANY_HEADER, Damage, HEADER, PARTIAL_HEADER};
pub use recorder::Recorder;
pub use recovery::{Dropped, Recovery, Step, read_with, recover, replay};
