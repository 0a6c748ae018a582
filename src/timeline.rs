//! A job's life as a page: `mapreduce-master timeline`.
//!
//! ```text
//! journal or conversation ──read──▶ Service ──events──▶ Collector ──▶ Story ──▶ page, or Trace Event JSON
//! ```
//!
//! The story is drawn from what happens in the master, event by event, so it cannot differ from what the master
//! did. `story` holds it, and what failures and backups cost; `collector` makes it out of events; `page` and
//! `trace` write it. The page is one HTML file (`page.html`, `page.css` and three scripts, put together), needs no
//! network, and lets nothing run but its own script.

mod collector;
mod page;
mod read;
mod sha256;
mod story;
mod trace;

pub use collector::Collector;
pub use page::write_page;
pub use read::read;
pub use story::{
    Attempt, Backup, End, Failure, FailureKind, Interruption, Job, JobEnd, Lost, Numbers,
    OpenPeriod, Saved, Source, Story, Task, Wait, Worker,
};
pub use trace::write_trace;
