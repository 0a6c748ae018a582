//! The file of a journal: only one process writes to it, and it must not be moved, replaced or changed by another.

use super::recovery::{Recovery, recover};
use super::{HEADER, unix};
use anyhow::{Context as _, bail, ensure};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Operating systems write at most about 2 GiB at once.
const MAX_WRITE_BYTES: usize = 1 << 30;

/// How often to try again when another process has the lock, and how long to wait before each try.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A file that only this process writes to, and its path.
#[derive(Debug)]
pub(super) struct Place {
    /// Open for reading and appending.
    pub file: File,
    /// With symbolic links resolved.
    pub path: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// How much of the file is known to be synced, in bytes.
    pub synced_bytes: u64,
    pub identity: unix::Identity,
}

impl Place {
    /// Opens the file exclusively, creates it if it is missing, and reads it. Removes the incomplete end that a kill or a
    /// power loss has left.
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

    pub fn of(file: File, path: &Path) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            path: fs::canonicalize(path)?,
            bytes: metadata.len(),
            synced_bytes: 0,
            identity: unix::Identity::of(&metadata),
        })
    }

    /// Checks that the file is unchanged. Errors: somebody else has deleted, moved, replaced, truncated or written to it, or
    /// has given it a second name.
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
            "somebody else has truncated the journal to {} bytes",
            found.len()
        );
        ensure!(
            found.len() == self.bytes,
            "somebody else has written to the journal"
        );
        Ok(())
    }

    /// Syncs the file, unless it is synced already.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced_bytes < self.bytes {
            self.file.sync_data()?;
            self.synced_bytes = self.bytes;
        }
        Ok(())
    }

    /// Overwrites the header of a compacted journal that has replaced the old one. If this fails, the next node does it.
    pub fn mark_as_taken(&self) {
        if let Ok(file) = OpenOptions::new().write(true).open(&self.path)
            && let Ok(metadata) = file.metadata()
            && unix::Identity::of(&metadata).file == self.identity.file
        {
            let _ = (&file).write_all(HEADER.as_bytes());
        }
    }
}

/// Like `write_all`, but a partial write is an error: the disk is full, or a limit is reached. Writing the rest would kill
/// the node if the limit is on the file's size.
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

pub(super) fn open_locked(path: &Path, create: bool) -> anyhow::Result<File> {
    let mut attempts = 0;
    loop {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(create)
            .open(path)?;
        ensure!(file.metadata()?.is_file(), "it is not a regular file");
        match file.try_lock() {
            // The node that had the lock may have replaced the file by a compacted one since it was opened here.
            Ok(()) if is_at(path, &file)? => return Ok(file),
            Ok(()) => {}
            // A node that is killed while it starts a child passes the lock to the child for a moment.
            Err(TryLockError::WouldBlock) if attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => bail!("it is in use by another node"),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock it"),
        }
    }
}

/// Whether the file at that path is this one.
pub(super) fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let (there, here) = (fs::metadata(path)?, file.metadata()?);
    Ok(unix::Identity::of(&there).file == unix::Identity::of(&here).file)
}
