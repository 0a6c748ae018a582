//! The built binary as a process: real bytes on its stdin; its stdout, stderr and exit status (protocol, sections 1 and
//! 2). Conversations are in `tests/golden/`. Here is what a file cannot hold: sizes, pipes, time, arguments, the log.

#[path = "node/arguments.rs"]
mod arguments;
#[path = "node/limits.rs"]
mod limits;
#[path = "node/log.rs"]
mod log;
#[path = "node/process.rs"]
mod process;
#[path = "node/restore.rs"]
mod restore;
#[path = "node/soak.rs"]
mod soak;
#[path = "node/streams.rs"]
mod streams;
#[path = "node/strict.rs"]
mod strict;
