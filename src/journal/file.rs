//! A journal on a disk: one node at a time, one sync for all that is answered together, and no acknowledgement
//! once the file is not where or what it was.

use super::compact::{Compacted, compact};
use super::compaction::{Aside, Compaction, Progress, SyncOften, verify};
use super::format::Checksum;
use super::recorder::Recorder;
use super::recovery::{Recovery, recover};
use super::{HEADER, unix};
use anyhow::{Context as _, bail, ensure};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Unless somebody says otherwise, a journal is compacted once it is longer than this, in bytes, ...
pub const COMPACT_FROM_BYTES: u64 = 64 << 20;

/// ... and so many times as long as the state that it starts with.
const COMPACT_FROM_STATES: u64 = 4;

/// An operating system writes about 2 GiB at once, at most.
const MAX_WRITE_BYTES: usize = 1 << 30;

/// How often a lock is tried again that another process has, and after which pause.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A buffer that grew beyond this many bytes is given back.
const SPARE_BYTES: usize = 1 << 20;

/// When what was written is made to survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it is acknowledged; heartbeats excepted.
    Batch,
    /// When the operating system sees fit.
    Never,
}

/// An open journal, at its end.
#[derive(Debug)]
pub struct Journal {
    place: Place,
    /// The folder that it is in, to be synced after a change of names.
    folder: Option<File>,
    sync: Sync,
    /// The length up to which no journal is compacted, in bytes.
    never_compact_to_bytes: u64,
    /// The length beyond which this one is.
    compact_from_bytes: u64,
    compaction: Option<Compaction>,
    /// After a compaction.
    folder_sync: Option<JoinHandle<io::Result<()>>>,
    /// Why the last compaction failed.
    last_failure: String,
}

/// A file that only this process writes to, and where it has to be.
#[derive(Debug)]
pub(super) struct Place {
    /// Open for reading and appending.
    pub file: File,
    /// Behind links.
    pub path: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// How much of it is known to be synced, in bytes.
    pub synced_bytes: u64,
    pub identity: unix::Identity,
}

impl Journal {
    /// Opens the journal at `path` and reads it, or starts a new one. Once it is longer than
    /// `compact_from_bytes` it is compacted. Errors: the file is in use, is not a journal, is damaged, cannot be
    /// read. It is not touched then.
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

    /// Writes the records that stand in `recorder`, and goes on with the compaction of a journal that has grown
    /// long, as far as that takes no time. Records that were not written must not be acknowledged. A kill at any
    /// point loses nothing else. Where a compaction fails, `Ok` has a line for people; the journal goes on as it
    /// is, and it is tried again when it is half as long again. Errors: the records cannot be written or synced,
    /// or the file is no longer the one that is found at its path.
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
            // Whoever finds this knows that a hole in front of it is no unsynced one.
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

    /// Starts a compaction, or goes on with it. Returns what to say about one that has failed, once.
    fn compact_if_long(&mut self, checksum: Checksum) -> anyhow::Result<Option<String>> {
        let progress = match self.compaction.take() {
            Some(compaction) => compaction.go_on(&mut self.place),
            None if self.place.bytes <= self.compact_from_bytes => return Ok(None),
            // Until the last one is over, a power loss may bring back the journal before it.
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

    /// Has the new name of a compacted journal synced, by a thread: whoever has nothing to be synced need not wait.
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

    /// Ends that sync, if it is over or has to be. Errors: nobody knows which journal a power loss would leave.
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

impl Place {
    /// Opens the file for one process alone, creates it if it is missing, and reads it. What a kill or a power
    /// loss has left at its end is cut off.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Recovery)> {
        let file = open_locked(path, true)?;
        let recovery = recover(BufReader::with_capacity(1 << 20, &file))?;
        file.set_len(recovery.bytes)?;
        let place = Self::of(file, path)?;
        if recovery.is_partial {
            place.mark_as_taken();
        }
        Ok((place, recovery))
    }

    fn of(file: File, path: &Path) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            path: fs::canonicalize(path)?,
            bytes: metadata.len(),
            synced_bytes: 0,
            identity: unix::Identity::of(&metadata),
        })
    }

    /// Errors: the file was deleted, moved, replaced, cut, written to by somebody else, or has a name more.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("the journal was deleted or moved")
            }
            Err(error) => return Err(error).context("cannot look at the journal"),
        };
        let there = unix::Identity::of(&found);
        ensure!(
            there.file == self.identity.file,
            "another file has taken the journal's place"
        );
        ensure!(
            there.names <= self.identity.names,
            "the journal was given a second name (a hard link)"
        );
        self.identity = there;
        ensure!(
            found.len() >= self.bytes,
            "the journal was cut to {} bytes by somebody else",
            found.len()
        );
        ensure!(
            found.len() == self.bytes,
            "somebody else has written to the journal"
        );
        Ok(())
    }

    /// Syncs the file, unless it is synced already.
    fn sync(&mut self) -> io::Result<()> {
        if self.synced_bytes < self.bytes {
            self.file.sync_data()?;
            self.synced_bytes = self.bytes;
        }
        Ok(())
    }

    /// Writes the header of a journal over that of a compacted one that has taken its place. When this fails it
    /// is done by the next node.
    fn mark_as_taken(&self) {
        if let Ok(file) = OpenOptions::new().write(true).open(&self.path)
            && let Ok(metadata) = file.metadata()
            && unix::Identity::of(&metadata).file == self.identity.file
        {
            let _ = (&file).write_all(HEADER.as_bytes());
        }
    }
}

/// Like `write_all`, but takes a write that was cut short for what it is: a disk or a limit is full. To try
/// the rest would kill the node where the limit is on the file's size.
pub(super) fn write_whole(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(MAX_WRITE_BYTES) {
        let count = loop {
            match file.write(piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if count < piece.len() {
            return Err(ErrorKind::StorageFull.into());
        }
    }
    Ok(())
}

fn open_locked(path: &Path, create: bool) -> anyhow::Result<File> {
    let mut attempts = 0;
    loop {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(create)
            .open(path)?;
        ensure!(file.metadata()?.is_file(), "it is not a regular file");
        match file.try_lock() {
            // The node that had it may have put a compacted one in its place since it was opened here.
            Ok(()) if is_at(path, &file)? => return Ok(file),
            Ok(()) => {}
            // A node that is killed while it starts a process leaves the lock to that for a moment.
            Err(TryLockError::WouldBlock) if attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => bail!("it is in use by another node"),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock it"),
        }
    }
}

/// Whether that file is found at that path.
pub(super) fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let (there, here) = (fs::metadata(path)?, file.metadata()?);
    Ok(unix::Identity::of(&there).file == unix::Identity::of(&here).file)
}

/// Makes names in a folder survive a power loss.
fn sync_folder(folder: Option<&File>) -> anyhow::Result<()> {
    folder
        .map_or(Ok(()), File::sync_all)
        .context("cannot sync the journal's folder")
}

/// Compacts the journal at `path`, which no node may use meanwhile. Errors: as for [`Journal::open`]; the
/// compacted one cannot be written. The journal stays as it is then.
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
