//! A journal is compacted by a child process while the node goes on.
//!
//! The node's state is a pure function of its journal, so another process can compute it. The child reads the journal
//! up to a given length, and writes the compacted one to a file beside it. When it is done, the node copies the records
//! that it has appended since, one piece per batch. A thread syncs the file. Then the node copies the few records that
//! were appended in the meantime, and renames the file.
//!
//! The file beside the journal cannot be mistaken for a journal, or the other way round: its header says that it is
//! partial until it has replaced the journal. The node holds a lock on it throughout. The child holds no lock, and ends
//! when the file has no name left.

use super::compact::{Compacted, NOT_SHORTER, compact};
use super::format::{Checksum, PARTIAL_HEADER};
use super::place::{Place, is_at, write_whole};
use super::recorder::end_of_state;
use super::recovery::read;
use super::unix;
use anyhow::{Context as _, bail, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

/// How much is copied in one batch, and how much may be synced while clients wait, in bytes.
const PIECE_BYTES: u64 = 1 << 20;

/// After this many background syncs, the rest is synced while clients wait, whatever its size.
const MAX_SYNCS: u32 = 10;

/// The child syncs after this many bytes, so that a sync of the journal does not have to wait for more.
const SYNC_BYTES: u64 = 4 << 20;

/// How many names are tried for the file beside a journal.
const MAX_ASIDES: u32 = 9;

/// A compaction in progress.
#[derive(Debug)]
pub struct Compaction {
    child: Owned,
    aside: Aside,
    /// The checksum of the journal's records up to where the child reads.
    checksum: Checksum,
    /// Length of the journal when the previous batch was written, in bytes.
    seen_bytes: u64,
    /// How much of the journal the file beside it covers, in bytes: as state, or copied.
    carried_bytes: u64,
    /// How much of that is known to be synced, in bytes.
    synced_bytes: u64,
    /// Length of the state, in bytes.
    state_bytes: u64,
    stage: Stage,
    syncs: u32,
}

#[derive(Debug)]
enum Stage {
    /// The child is running.
    Child,
    CarryOver,
    /// A thread syncs what was copied, which covers this many bytes of the journal.
    Sync(u64, JoinHandle<io::Result<()>>),
}

/// The state of a compaction after a step.
pub enum Progress {
    Continues(Compaction),
    /// The compacted journal would not be shorter.
    NotShorter,
    /// The compacted journal has replaced the old one.
    Done {
        state_bytes: u64,
    },
}

impl Compaction {
    /// Starts the child.
    pub fn start(place: &Place, checksum: Checksum) -> anyhow::Result<Progress> {
        let aside = Aside::create(place)?;
        // Newly opened files: the node's own would share their locks and offsets with the child.
        let input = File::open(&place.path)?;
        let output = aside.open_from_start()?;
        let child = Command::new(program()?)
            .args(["compact", "--bytes", &place.bytes.to_string()])
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a process")?;
        Ok(Progress::Continues(Self {
            child: Owned(child),
            aside,
            checksum,
            seen_bytes: place.bytes,
            carried_bytes: place.bytes,
            synced_bytes: place.bytes,
            state_bytes: 0,
            stage: Stage::Child,
            syncs: 0,
        }))
    }

    /// Takes the next step that does not block. Errors: the compaction failed; its file is removed.
    pub fn go_on(mut self, place: &mut Place) -> anyhow::Result<Progress> {
        match std::mem::replace(&mut self.stage, Stage::CarryOver) {
            Stage::Child => match self.child.0.try_wait()? {
                None => self.stage = Stage::Child,
                Some(status) => {
                    if self.look_at_result(status)? == Compacted::NotShorter {
                        return Ok(Progress::NotShorter);
                    }
                }
            },
            Stage::CarryOver => {
                if self.carry_over(place)? {
                    let file = self.aside.file().try_clone()?;
                    let sync = thread::Builder::new().spawn(move || file.sync_all())?;
                    self.syncs += 1;
                    self.stage = Stage::Sync(self.carried_bytes, sync);
                }
            }
            Stage::Sync(bytes, sync) if sync.is_finished() => {
                sync.join()
                    .unwrap_or(Err(ErrorKind::Other.into()))
                    .context("cannot sync it")?;
                self.synced_bytes = bytes;
                let is_little = place.bytes - bytes <= PIECE_BYTES || self.is_synced(place);
                if self.carry_over(place)? && (is_little || self.syncs == MAX_SYNCS) {
                    return self.switch(place);
                }
            }
            syncing @ Stage::Sync(..) => {
                self.carry_over(place)?;
                self.stage = syncing;
            }
        }
        Ok(Progress::Continues(self))
    }

    /// Checks whether the child has finished, and how.
    fn look_at_result(&mut self, status: ExitStatus) -> anyhow::Result<Compacted> {
        let mut said = Vec::new();
        if let Some(stderr) = self.child.0.stderr.take() {
            stderr.take(1000).read_to_end(&mut said)?;
        }
        let said = String::from_utf8_lossy(&said);
        if !status.success() {
            if said.contains(NOT_SHORTER) {
                return Ok(Compacted::NotShorter);
            }
            let line = said.lines().next().unwrap_or_default();
            bail!("its process ended with {status}: {line}");
        }
        let (before, after) = (self.carried_bytes, self.aside.file().metadata()?.len());
        let end = end_of_state(self.checksum);
        let mut last = vec![0; end.len() + 1];
        let is_whole = after
            .checked_sub(last.len() as u64)
            .is_some_and(|start| unix::read_exact_at(self.aside.file(), &mut last, start).is_ok());
        ensure!(
            is_whole && last.strip_suffix(b"\n") == Some(&end[..]),
            "its process has read something else"
        );
        self.state_bytes = after;
        Ok(Compacted::Shorter { before, after })
    }

    /// Copies a piece, large enough to catch up with the journal's growth. Returns whether everything is copied.
    fn carry_over(&mut self, place: &Place) -> anyhow::Result<bool> {
        let grown = place.bytes - self.seen_bytes;
        self.seen_bytes = place.bytes;
        let mut left = (place.bytes - self.carried_bytes).min(PIECE_BYTES.max(2 * grown));
        let mut piece = vec![0; 64 << 10];
        while left > 0 {
            let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = &mut piece[..length];
            unix::read_exact_at(&place.file, piece, self.carried_bytes)?;
            write_whole(self.aside.file(), piece)
                .with_context(|| format!("cannot write {}", self.aside.path.display()))?;
            self.carried_bytes += length as u64;
            left -= length as u64;
        }
        Ok(self.carried_bytes == place.bytes)
    }

    /// Whether every synced byte of the journal is synced in the compacted one, too.
    fn is_synced(&self, place: &Place) -> bool {
        self.synced_bytes >= place.synced_bytes
    }

    /// Replaces the journal.
    fn switch(mut self, place: &mut Place) -> anyhow::Result<Progress> {
        if !self.is_synced(place) {
            self.aside.file().sync_data().context("cannot sync it")?;
            self.synced_bytes = self.carried_bytes;
        }
        self.aside.replace(place)?;
        place.synced_bytes = place.bytes - (self.carried_bytes - self.synced_bytes);
        Ok(Progress::Done {
            state_bytes: self.state_bytes,
        })
    }
}

/// A child process that is killed when this is dropped.
#[derive(Debug)]
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It has ended by now, unless the node is about to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program's executable file, even if another file has its name by now.
fn program() -> io::Result<PathBuf> {
    let itself = Path::new("/proc/self/exe");
    if itself.exists() {
        Ok(itself.into())
    } else {
        std::env::current_exe()
    }
}

/// The file beside a journal. Dropping it removes the file, unless it has replaced the journal.
#[derive(Debug)]
pub struct Aside {
    /// `Some` until it is dropped.
    file: Option<File>,
    path: PathBuf,
    is_in_place: bool,
}

impl Aside {
    /// Creates the file with the journal's owner, group and mode, and locks it. Errors: one of these is impossible; the
    /// journal has several names, of which only one would lead to the compacted journal.
    pub fn create(place: &Place) -> anyhow::Result<Self> {
        ensure!(
            place.identity.names <= 1,
            "it has more than one name (hard links)"
        );
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true);
        unix::make_private(&mut options);
        for number in 1..=MAX_ASIDES {
            let path = aside_path(&place.path, number);
            let file = match options.open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < MAX_ASIDES => {
                    continue;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot create {}", path.display()));
                }
            };
            let aside = Self {
                file: Some(file),
                path,
                is_in_place: false,
            };
            write_whole(aside.file(), PARTIAL_HEADER.as_bytes())
                .with_context(|| format!("cannot write {}", aside.path.display()))?;
            aside.file().try_lock()?;
            aside.copy_owner(place)?;
            return Ok(aside);
        }
        bail!("unreachable: the last number ends the loop")
    }

    pub fn file(&self) -> &File {
        self.file.as_ref().unwrap_or_else(|| unreachable!())
    }

    /// Opens the file again, to overwrite it from its start and to read it.
    pub fn open_from_start(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }

    fn copy_owner(&self, place: &Place) -> anyhow::Result<()> {
        unix::copy_owner(&place.file, self.file())
            .context("the compacted one cannot have its owner, group and mode")
    }

    /// Replaces the journal with this file, which must be synced. A kill at any point leaves one of the two in place.
    pub fn replace(mut self, place: &mut Place) -> anyhow::Result<()> {
        self.copy_owner(place)?;
        place.check()?;
        let metadata = self.file().metadata()?;
        fs::rename(&self.path, &place.path)
            .with_context(|| format!("cannot rename {}", self.path.display()))?;
        self.is_in_place = true;
        if let Some(file) = self.file.take() {
            self.file = Some(std::mem::replace(&mut place.file, file));
        }
        place.bytes = metadata.len();
        place.identity = unix::Identity::of(&metadata);
        Ok(())
    }

    /// Removes the files that killed compactions of the journal at `path` left behind. They only take up space.
    pub fn remove_leftovers(path: &Path) {
        for number in 1..=MAX_ASIDES {
            let path = aside_path(path, number);
            if is_leftover(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.is_in_place {
            let _ = fs::remove_file(&self.path);
        }
        // This frees the file, or the journal that it has replaced. Freeing a long file takes time.
        let file = self.file.take();
        let _ = thread::Builder::new().spawn(move || drop(file));
    }
}

/// A name for the file beside the journal at `path`.
fn aside_path(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".compaction-{number}"));
    name.into()
}

/// Whether a file was left behind by a killed compaction: its header says that it is partial, and nobody uses it. The
/// header of a journal says so only for a moment, after it was compacted.
fn is_leftover(path: &Path) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut header = [0; PARTIAL_HEADER.len()];
    let is_partial = (&file).read_exact(&mut header).is_ok() && header == PARTIAL_HEADER.as_bytes();
    is_partial && file.try_lock().is_ok() && is_at(path, &file).unwrap_or(false)
}

/// The child's work: compacts the first `bytes` bytes of a journal from one file to another, or all of it for `None`.
/// With `bytes`, the result must be shorter. Stops once the output file has no name left. Errors: as for [`compact`];
/// the result would not be shorter.
pub fn compact_stream(input: &File, output: &File, bytes: Option<u64>) -> anyhow::Result<()> {
    let input = WhileWanted { input, output }.take(bytes.unwrap_or(u64::MAX));
    let compacted = compact(
        BufReader::with_capacity(1 << 20, input),
        BufWriter::with_capacity(1 << 20, SyncOften::new(output)),
        bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(1)),
    )?;
    if compacted == Compacted::NotShorter {
        bail!(NOT_SHORTER);
    }
    sync_if_file(output)?;
    if bytes.is_some() {
        verify(output)?;
    }
    Ok(())
}

/// Reads a journal that was just written, before it replaces one that is known to be good.
pub fn verify(mut journal: &File) -> anyhow::Result<()> {
    journal.rewind()?;
    let read = read(BufReader::with_capacity(1 << 20, journal));
    read.context("the compacted journal is wrong")?;
    Ok(())
}

/// A reader that fails once the output file has no name.
struct WhileWanted<'f> {
    input: &'f File,
    output: &'f File,
}

impl Read for WhileWanted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let metadata = self.output.metadata()?;
        if metadata.is_file() && unix::Identity::of(&metadata).names == 0 {
            return Err(io::Error::other(
                "nobody is waiting for the result any more",
            ));
        }
        self.input.read(bytes)
    }
}

/// A writer that syncs its file often: a large amount of unsynced data would delay the syncs of other files.
pub struct SyncOften<'f> {
    file: &'f File,
    unsynced_bytes: u64,
}

impl<'f> SyncOften<'f> {
    pub fn new(file: &'f File) -> Self {
        Self {
            file,
            unsynced_bytes: 0,
        }
    }
}

impl Write for SyncOften<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.unsynced_bytes += count as u64;
        if self.unsynced_bytes >= SYNC_BYTES {
            sync_if_file(self.file)?;
            self.unsynced_bytes = 0;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Syncs a file. A pipe needs no sync.
fn sync_if_file(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.sync_data()
    } else {
        Ok(())
    }
}
