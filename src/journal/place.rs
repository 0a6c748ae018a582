//! Where a journal is: a file that one process alone writes to, and that has to stay where and what it is.

use super::recovery::{Recovery, recover};
use super::{HEADER, unix};
use anyhow::{Context as _, bail, ensure};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// An operating system writes about 2 GiB at once, at most.
const MAX_WRITE_BYTES: usize = 1 << 30;

/// How often a lock is tried again that another process has, and after which pause.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

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
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced_bytes < self.bytes {
            self.file.sync_data()?;
            self.synced_bytes = self.bytes;
        }
        Ok(())
    }

    /// Writes the header of a journal over that of a compacted one that has taken its place. When this fails it
    /// is done by the next node.
    pub fn mark_as_taken(&self) {
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
