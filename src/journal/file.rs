//! A journal on a disk. One node uses it at a time. One sync covers all requests that are answered together. Nothing is
//! acknowledged once the file was moved, replaced or changed by somebody else.

use super::compact::{Compacted, compact};
use super::compaction::{Aside, Compaction, Progress, SyncOften, verify};
use super::format::Checksum;
use super::place::{Place, open_locked, write_whole};
use super::recorder::Recorder;
use super::recovery::Recovery;
use super::unix;
use anyhow::Context as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind};
use std::path::Path;
use std::thread::{self, JoinHandle};

/// By default, a journal is compacted once it is longer than this, in bytes, ...
pub const COMPACT_FROM_BYTES: u64 = 64 << 20;

/// ... and this many times as long as the state that it starts with.
const COMPACT_FROM_STATES: u64 = 4;

/// A buffer that grew beyond this many bytes is freed.
const SPARE_BYTES: usize = 1 << 20;

/// When written records are synced to the disk, to survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before a change is acknowledged. Heartbeats are not synced.
    Batch,
    /// Whenever the operating system does it.
    Never,
}

/// An open journal, at its end.
#[derive(Debug)]
pub struct Journal {
    place: Place,
    /// The folder that contains it, to be synced after a rename.
    folder: Option<File>,
    sync: Sync,
    /// A journal up to this length is never compacted, in bytes.
    never_compact_to_bytes: u64,
    /// This journal is compacted beyond this length, in bytes.
    compact_from_bytes: u64,
    compaction: Option<Compaction>,
    /// The sync of the folder after a compaction.
    folder_sync: Option<JoinHandle<io::Result<()>>>,
    /// Why the last compaction failed.
    last_failure: String,
}

impl Journal {
    /// Opens the journal at `path` and reads it, or starts a new one. Once it is longer than
    /// `compact_from_bytes` it is compacted. Errors: the file is in use, is not a journal, is damaged, or cannot be
    /// read; then it is not changed.
    pub fn open(
        path: &Path,
        sync: Sync,
        compact_from_bytes: u64,
    ) -> anyhow::Result<(Self, Recovery)> {
        let (place, recovery) = Place::open(path)?;
        let folder = unix::open_folder(&place.path)?;
        sync_folder(folder.as_ref())?;
        Aside::remove_leftovers(&place.path);
        let mut journal = Self {
            place,
            folder,
            sync,
            never_compact_to_bytes: compact_from_bytes,
            compact_from_bytes,
            compaction: None,
            folder_sync: None,
            last_failure: String::new(),
        };
        journal.set_compaction(recovery.state_bytes);
        Ok((journal, recovery))
    }

    /// Writes the records in `recorder`, and takes the next step of a compaction. Records must be written before their
    /// requests are acknowledged; a kill at any point then loses nothing that was acknowledged. When a compaction fails,
    /// `Ok` has a line for people; the journal stays in use, and the compaction is tried again when the journal has grown
    /// by half. Errors: the records cannot be written or synced, or the file at the journal's path is another one.
    pub fn write(&mut self, recorder: &mut Recorder) -> anyhow::Result<Option<String>> {
        if recorder.records.is_empty() && self.compaction.is_none() {
            return Ok(None);
        }
        self.append(&mut recorder.records)?;
        self.finish_folder_sync(false)?;
        let failure = self.compact_if_long(recorder.checksum)?;
        if std::mem::take(&mut recorder.must_sync) && self.sync == Sync::Batch {
            self.place.sync().context("cannot sync the journal")?;
            self.finish_folder_sync(true)?;
            // For a recovery: a hole before this record is damage, since everything before it was synced.
            recorder.record_sync();
            self.append(&mut recorder.records)?;
        }
        self.place.check()?;
        Ok(failure)
    }

    fn append(&mut self, records: &mut Vec<u8>) -> anyhow::Result<()> {
        write_whole(&self.place.file, records).context("cannot write to the journal")?;
        self.place.bytes += records.len() as u64;
        records.clear();
        records.shrink_to(SPARE_BYTES);
        Ok(())
    }

    /// Starts a compaction, or takes its next step. If one fails, returns a line for people, once per reason.
    fn compact_if_long(&mut self, checksum: Checksum) -> anyhow::Result<Option<String>> {
        let progress = match self.compaction.take() {
            Some(compaction) => compaction.go_on(&mut self.place),
            None if self.place.bytes <= self.compact_from_bytes => return Ok(None),
            // Until the folder is synced, a power loss may bring back the journal before the last compaction.
            None if self.folder_sync.is_some() => return Ok(None),
            None => Compaction::start(&self.place, checksum),
        };
        match progress {
            Ok(Progress::Continues(compaction)) => self.compaction = Some(compaction),
            Ok(Progress::NotShorter) => self.compact_from_bytes = 2 * self.place.bytes,
            Ok(Progress::Done { state_bytes }) => {
                self.set_compaction(state_bytes);
                self.last_failure.clear();
                self.start_folder_sync()?;
            }
            Err(error) => {
                self.compact_from_bytes = self.place.bytes + self.place.bytes / 2;
                let failure = format!("the journal is not compacted: {error:#}");
                if failure != self.last_failure {
                    self.last_failure.clone_from(&failure);
                    return Ok(Some(failure));
                }
            }
        }
        Ok(None)
    }

    /// Starts a thread that syncs the rename of a compacted journal. Requests that need no sync do not wait for it.
    fn start_folder_sync(&mut self) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let other = folder.try_clone();
        let thread =
            other.and_then(|folder| thread::Builder::new().spawn(move || folder.sync_all()));
        match thread {
            Ok(thread) => self.folder_sync = Some(thread),
            Err(_) => sync_folder(Some(folder))?,
        }
        Ok(())
    }

    /// Finishes that sync if it is done, or waits for it if it must be. Errors: the sync failed, so it is unknown which journal
    /// a power loss would leave.
    fn finish_folder_sync(&mut self, must_wait: bool) -> anyhow::Result<()> {
        let is_over = |sync: &mut JoinHandle<_>| must_wait || sync.is_finished();
        if let Some(sync) = self.folder_sync.take_if(is_over) {
            sync.join()
                .unwrap_or(Err(ErrorKind::Other.into()))
                .context("cannot sync the journal's folder")?;
            self.place.mark_as_taken();
        }
        Ok(())
    }

    fn set_compaction(&mut self, state_bytes: u64) {
        self.compact_from_bytes = self
            .never_compact_to_bytes
            .max(COMPACT_FROM_STATES * state_bytes);
    }
}

/// Syncs a folder, so that its names survive a power loss.
fn sync_folder(folder: Option<&File>) -> anyhow::Result<()> {
    folder
        .map_or(Ok(()), File::sync_all)
        .context("cannot sync the journal's folder")
}

/// Compacts the journal at `path`, which no node may be using. Errors: as for [`Journal::open`]; the compacted journal
/// cannot be written. The journal is then unchanged.
pub fn compact_file(path: &Path) -> anyhow::Result<Compacted> {
    let file = open_locked(path, false)?;
    let mut place = Place::of(file, path)?;
    let aside = Aside::create(&place)?;
    let output = aside.open_from_start()?;
    let compacted = compact(
        BufReader::with_capacity(1 << 20, &place.file),
        BufWriter::with_capacity(1 << 20, SyncOften::new(&output)),
        place.bytes.saturating_sub(1),
    )?;
    if let Compacted::Shorter { .. } = compacted {
        output.sync_all()?;
        verify(&output)?;
        aside.replace(&mut place)?;
        sync_folder(unix::open_folder(&place.path)?.as_ref())?;
        place.mark_as_taken();
    }
    Ok(compacted)
}
