//! A journal is compacted by a child process while the node goes on.
//!
//! The node is a pure function of its journal, so that anybody can work out its state. The child reads the
//! journal up to a length that it is given and writes the compacted one beside it, in memory of its own. When
//! it is done, the node carries over what it has appended since, a piece a batch; has it synced by a thread
//! that does nothing else; carries over the little that has come meanwhile; and renames the file.
//!
//! Nobody can take the file beside for a journal, or a journal for it: its header says that it is partial, until
//! it has taken the journal's place. The node holds its lock all the time. The child holds none, and ends when the
//! file that it writes has no name left.

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

/// How much is carried over in one batch, in bytes, and how much may be synced while everybody waits.
const PIECE_BYTES: u64 = 1 << 20;

/// After so many attempts to keep that small, it is as large as it is.
const MAX_SYNCS: u32 = 10;

/// The child syncs so many bytes at a time, so that no sync of the journal has to wait for more.
const SYNC_BYTES: u64 = 4 << 20;

/// How many names there are for the file beside a journal.
const MAX_ASIDES: u32 = 9;

/// A compaction under way.
#[derive(Debug)]
pub struct Compaction {
    child: Owned,
    aside: Aside,
    /// The checksum of the journal's records up to where the child reads.
    checksum: Checksum,
    /// Length of the journal in the batch before, in bytes.
    seen_bytes: u64,
    /// What of the journal is in the file beside, in bytes: as state, or as it is.
    carried_bytes: u64,
    /// What of it is known to be synced.
    synced_bytes: u64,
    /// Length of the state, in bytes.
    state_bytes: u64,
    stage: Stage,
    syncs: u32,
}

#[derive(Debug)]
enum Stage {
    /// The child works.
    Child,
    CarryOver,
    /// A thread syncs what was carried over; the number of bytes of the journal is its first element.
    Sync(u64, JoinHandle<io::Result<()>>),
}

/// What has come of a compaction.
pub enum Progress {
    Continues(Compaction),
    /// The compacted journal would not be shorter.
    NotShorter,
    /// It has taken the journal's place.
    Done {
        state_bytes: u64,
    },
}

impl Compaction {
    /// Starts the child.
    pub fn start(place: &Place, checksum: Checksum) -> anyhow::Result<Progress> {
        let aside = Aside::create(place)?;
        // Files of their own: those of the node share their locks, and their places, with whoever has them.
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

    /// Goes on, as far as that takes no time. Errors: the journal is not compacted; what was begun is gone.
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

    /// Sees whether the child has done what it was for.
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

    /// Carries a piece over: so much that the journal does not grow faster. Returns whether that was all.
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

    /// Whether everything of the journal that is synced there is synced here, too.
    fn is_synced(&self, place: &Place) -> bool {
        self.synced_bytes >= place.synced_bytes
    }

    /// Takes the journal's place.
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

/// A process that does not outlive its owner.
#[derive(Debug)]
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It has ended already, unless the node ends first.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program that runs: the file that it was started from, even if another one has that name now.
fn program() -> io::Result<PathBuf> {
    let itself = Path::new("/proc/self/exe");
    if itself.exists() {
        Ok(itself.into())
    } else {
        std::env::current_exe()
    }
}

/// The file beside a journal; removed when it is dropped before it has taken the journal's place.
#[derive(Debug)]
pub struct Aside {
    /// There until it is dropped.
    file: Option<File>,
    path: PathBuf,
    is_in_place: bool,
}

impl Aside {
    /// Creates it, with the journal's owner, group and mode, and locks it. Errors: one of that is impossible; the
    /// journal has more than one name, and only one of them would be that of the compacted one.
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

    /// The file once more, to be written from its start, over the header that it has, and to be read.
    pub fn open_from_start(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }

    fn copy_owner(&self, place: &Place) -> anyhow::Result<()> {
        unix::copy_owner(&place.file, self.file())
            .context("the compacted one cannot have its owner, group and mode")
    }

    /// Takes the place of the journal. It has to be synced. A kill at any point leaves one of the two there.
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

    /// Removes what compactions of the journal at `path` left behind that were killed. It would only take up
    /// space.
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
        // Either it or the journal that it has replaced is gone with this. To free a long file takes its time.
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

/// Whether a file is what a compaction leaves when it is killed: one that says that it is partial, and that
/// nobody uses. A journal says so for a moment at most, after it was compacted.
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

/// What the child does: compacts the first `bytes` bytes of a journal (all of it for `None`) from one file to
/// another; with `bytes` only if that makes it shorter. It gives up once nobody can get at the result. Errors: as for [`compact`]; it would not be shorter.
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

/// Reads a journal that was just written, before it takes the place of one that is known to be good.
pub fn verify(mut journal: &File) -> anyhow::Result<()> {
    journal.rewind()?;
    let read = read(BufReader::with_capacity(1 << 20, journal));
    read.context("the compacted journal is wrong")?;
    Ok(())
}

/// Reads for as long as the output has a name.
struct WhileWanted<'f> {
    input: &'f File,
    output: &'f File,
}

impl Read for WhileWanted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let metadata = self.output.metadata()?;
        if metadata.is_file() && unix::Identity::of(&metadata).names == 0 {
            return Err(io::Error::other("nobody waits for the result any more"));
        }
        self.input.read(bytes)
    }
}

/// Writes to a file, and syncs it often: where much is left to be synced, the syncs of other files wait, too.
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

/// Syncs a file; pipes have nothing to sync.
fn sync_if_file(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.sync_data()
    } else {
        Ok(())
    }
}
