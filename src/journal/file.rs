//! A journal on a disk: one node at a time, one sync for all that is answered together, and a snapshot in its
//! place when it has grown long.

use super::{Recorder, Recovery, recover};
use crate::service::Service;
use anyhow::{Context as _, bail};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// A journal is compacted once it is longer than this, in bytes, ...
const COMPACT_FROM_BYTES: u64 = 64 << 20;

/// ... and so many times as long as the snapshot that it starts with.
const COMPACT_FROM_SNAPSHOTS: u64 = 4;

/// An operating system writes about 2 GiB at once, at most.
const MAX_WRITE_BYTES: usize = 1 << 30;

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
    file: File,
    path: PathBuf,
    sync: Sync,
    /// Length of the file, in bytes.
    bytes: u64,
    /// The length beyond which it is compacted, in bytes.
    compact_from_bytes: u64,
}

impl Journal {
    /// Opens the journal at `path` and reads it, or starts a new one. Errors: the file is in use, is not a
    /// journal, is damaged, cannot be read. It is not touched then.
    pub fn open(path: &Path, sync: Sync) -> anyhow::Result<(Self, Recovery)> {
        let mut file = open_locked(path)?;
        let recovery = recover(BufReader::with_capacity(1 << 20, &file))?;
        // A torn record was never acknowledged.
        file.set_len(recovery.bytes)?;
        file.seek(SeekFrom::End(0))?;
        let mut journal = Self {
            file,
            path: path.to_owned(),
            sync,
            bytes: recovery.bytes,
            compact_from_bytes: 0,
        };
        journal.set_compaction(recovery.snapshot_bytes);
        sync_folder(path)?;
        Ok((journal, recovery))
    }

    /// Writes the records that stand in `recorder`. Those that were not written must not be acknowledged.
    pub fn write(&mut self, recorder: &mut Recorder) -> anyhow::Result<()> {
        let records = &recorder.records;
        if records.is_empty() {
            return Ok(());
        }
        write_whole(&self.file, records).context("cannot write to the journal")?;
        if recorder.must_sync && self.sync == Sync::Batch {
            self.file.sync_data().context("cannot sync the journal")?;
        }
        self.bytes += records.len() as u64;
        recorder.records.clear();
        recorder.must_sync = false;
        Ok(())
    }

    /// Puts a snapshot in the place of a journal that has grown long. When that fails the journal goes on as
    /// it is, and it is tried again when it is twice as long. A kill at any point loses nothing.
    pub fn compact_if_long(
        &mut self,
        service: &mut Service,
        recorder: &mut Recorder,
    ) -> anyhow::Result<()> {
        if self.bytes <= self.compact_from_bytes {
            return Ok(());
        }
        self.compact_from_bytes = 2 * self.bytes;
        let mut snapshot = Recorder::snapshot(service)?;
        let mut aside = self.path.clone().into_os_string();
        aside.push(".new");
        let aside = PathBuf::from(aside);
        let file = File::create(&aside).context("cannot write a snapshot aside")?;
        file.try_lock()?;
        let mut journal = Self {
            file,
            path: self.path.clone(),
            sync: Sync::Batch,
            bytes: 0,
            compact_from_bytes: 0,
        };
        journal.write(&mut snapshot)?;
        std::fs::rename(&aside, &self.path)
            .context("cannot put the snapshot in the journal's place")?;
        sync_folder(&self.path)?;
        journal.set_compaction(journal.bytes);
        journal.sync = self.sync;
        *self = journal;
        *recorder = snapshot;
        Ok(())
    }

    fn set_compaction(&mut self, snapshot_bytes: u64) {
        self.compact_from_bytes = COMPACT_FROM_BYTES.max(COMPACT_FROM_SNAPSHOTS * snapshot_bytes);
    }
}

/// Like `write_all`, but takes a write that was cut short for what it is: a disk or a limit is full. To try the
/// rest would kill the node where the limit is on the file's size.
fn write_whole(mut file: &File, bytes: &[u8]) -> io::Result<()> {
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

fn open_locked(path: &Path) -> anyhow::Result<File> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if !file.metadata()?.is_file() {
            bail!("it is not a regular file");
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("it is in use by another node"),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock it"),
        }
        // The node that had it may have put a snapshot in its place since it was opened here.
        if is_at(path, &file)? {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_at(path: &Path, file: &File) -> anyhow::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (there, here) = (std::fs::metadata(path)?, file.metadata()?);
    Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
}

#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> anyhow::Result<bool> {
    // Elsewhere a file that is open is not replaced.
    Ok(true)
}

/// Makes a file's name survive a power loss.
fn sync_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if cfg!(unix) {
        File::open(folder)?
            .sync_all()
            .context("cannot sync the journal's folder")?;
    }
    Ok(())
}
