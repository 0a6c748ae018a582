//! The built binary as a process: real bytes on its stdin, and what then comes out on stdout and stderr and as the exit
//! status (protocol, sections 1 and 2). What is said in a conversation of some lines is in `tests/golden/`; here is what
//! a file cannot hold: sizes, pipes, time, arguments, the log.

#[path = "node/arguments.rs"]
mod arguments;
#[path = "node/limits.rs"]
mod limits;
#[path = "node/log.rs"]
mod log;
#[path = "node/process.rs"]
mod process;
#[path = "node/soak.rs"]
mod soak;
#[path = "node/streams.rs"]
mod streams;
