//! A journal on a disk: one node at a time, one sync for all that is answered together, and a snapshot in its
//! place when it has grown long.

use super::{HEADER, Recorder, Recovery, recover};
use crate::service::Service;
use anyhow::{Context as _, bail, ensure};
use names::{has_others, is_at, open_folder};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// A journal is compacted once it is longer than this, in bytes, ...
const COMPACT_FROM_BYTES: u64 = 64 << 20;

/// ... and so many times as long as the snapshot that it starts with.
const COMPACT_FROM_SNAPSHOTS: u64 = 4;

/// An operating system writes about 2 GiB at once, at most.
const MAX_WRITE_BYTES: usize = 1 << 30;

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
    file: File,
    /// Where it really is, behind links.
    path: PathBuf,
    /// The folder that it is in, to be synced after a change of names.
    folder: Option<File>,
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
        let path = fs::canonicalize(path)?;
        let folder = open_folder(&path)?;
        sync_folder(folder.as_ref())?;
        let bytes = recovery.bytes;
        let mut journal = Self {
            file,
            path,
            folder,
            sync,
            bytes,
            compact_from_bytes: 0,
        };
        journal.set_compaction(recovery.snapshot_bytes);
        // What a compaction left when it was killed would only take up space.
        if is_leftover(&journal.aside()) {
            let _ = fs::remove_file(journal.aside());
        }
        Ok((journal, recovery))
    }

    /// Writes the records that stand in `recorder`. Those that were not written must not be acknowledged.
    pub fn write(&mut self, recorder: &mut Recorder) -> anyhow::Result<()> {
        if recorder.records.is_empty() {
            return Ok(());
        }
        write_whole(&self.file, &recorder.records).context("cannot write to the journal")?;
        if recorder.must_sync && self.sync == Sync::Batch {
            self.file.sync_data().context("cannot sync the journal")?;
        }
        self.bytes += recorder.records.len() as u64;
        recorder.records.clear();
        recorder.records.shrink_to(SPARE_BYTES);
        recorder.must_sync = false;
        Ok(())
    }

    /// Puts a snapshot in the place of a journal that has grown long. A kill at any point loses nothing. When
    /// it cannot be done, `Ok` has why: the journal goes on as it is, and it is tried again when it is twice
    /// as long. Errors: nobody knows what a power loss would leave, so that nothing more may be acknowledged.
    pub fn compact_if_long(
        &mut self,
        service: &mut Service,
        recorder: &mut Recorder,
    ) -> anyhow::Result<Option<anyhow::Error>> {
        if self.bytes <= self.compact_from_bytes {
            return Ok(None);
        }
        self.compact_from_bytes = 2 * self.bytes;
        let aside = self.aside();
        let (file, snapshot) = match self.write_aside(&aside, service) {
            Ok(written) => written,
            Err(error) => return Ok(Some(error)),
        };
        if let Err(error) = fs::rename(&aside, &self.path) {
            let _ = fs::remove_file(&aside);
            return Ok(Some(error.into()));
        }
        self.file = file;
        self.bytes = self.file.metadata()?.len();
        self.set_compaction(self.bytes);
        *recorder = snapshot;
        sync_folder(self.folder.as_ref())?;
        Ok(None)
    }

    /// Writes a snapshot beside the journal, ready to take its place.
    fn write_aside(&self, aside: &Path, service: &mut Service) -> anyhow::Result<(File, Recorder)> {
        ensure!(
            is_at(&self.path, &self.file)?,
            "another file is at its place"
        );
        ensure!(
            !has_others(&self.file)?,
            "it has more than one name, and only one would be the snapshot's"
        );
        if is_leftover(aside) {
            fs::remove_file(aside)?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(aside)
            .with_context(|| format!("cannot create {}", aside.display()))?;
        let mut write = || {
            file.try_lock()?;
            file.set_permissions(self.file.metadata()?.permissions())?;
            let mut snapshot = Recorder::snapshot(service)?;
            write_whole(&file, &snapshot.records).context("cannot write the snapshot")?;
            file.sync_all().context("cannot sync the snapshot")?;
            snapshot.records = Vec::new();
            snapshot.must_sync = false;
            Ok(snapshot)
        };
        match write() {
            Ok(snapshot) => Ok((file, snapshot)),
            Err(error) => {
                let _ = fs::remove_file(aside);
                Err(error)
            }
        }
    }

    /// Where a snapshot is written before it takes the journal's place.
    fn aside(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".mapreduce-master-compaction");
        name.into()
    }

    fn set_compaction(&mut self, snapshot_bytes: u64) {
        self.compact_from_bytes = COMPACT_FROM_BYTES.max(COMPACT_FROM_SNAPSHOTS * snapshot_bytes);
    }
}

/// Like `write_all`, but takes a write that was cut short for what it is: a disk or a limit is full. To try
/// the rest would kill the node where the limit is on the file's size.
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
        ensure!(file.metadata()?.is_file(), "it is not a regular file");
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

/// Whether a file is what a compaction leaves when it is killed: a journal, or the beginning of one, that
/// nobody uses.
fn is_leftover(path: &Path) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut header = Vec::new();
    let is_read = (&file)
        .take(HEADER.len() as u64)
        .read_to_end(&mut header)
        .is_ok();
    is_read && HEADER.as_bytes().starts_with(&header) && file.try_lock().is_ok()
}

/// Makes names in a folder survive a power loss.
fn sync_folder(folder: Option<&File>) -> anyhow::Result<()> {
    folder
        .map_or(Ok(()), File::sync_all)
        .context("cannot sync the journal's folder")
}

/// What is asked of a file that Unix tells, and that on other systems cannot happen to one that is open.
#[cfg(unix)]
mod names {
    use std::fs::{self, File};
    use std::io;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    /// The folder of a file, to be synced.
    pub fn open_folder(path: &Path) -> io::Result<Option<File>> {
        File::open(path.parent().unwrap_or(Path::new("/"))).map(Some)
    }

    /// Whether that file is found at that path.
    pub fn is_at(path: &Path, file: &File) -> io::Result<bool> {
        let (there, here) = (fs::metadata(path)?, file.metadata()?);
        Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
    }

    /// Whether the file has more than one name.
    pub fn has_others(file: &File) -> io::Result<bool> {
        Ok(file.metadata()?.nlink() > 1)
    }
}

#[cfg(not(unix))]
mod names {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub fn open_folder(_: &Path) -> io::Result<Option<File>> {
        Ok(None)
    }

    pub fn is_at(_: &Path, _: &File) -> io::Result<bool> {
        Ok(true)
    }

    pub fn has_others(_: &File) -> io::Result<bool> {
        Ok(false)
    }
}
