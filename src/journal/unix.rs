//! What Unix tells about files. On other systems nothing of it can happen to a file that is open.

#[cfg(unix)]
pub use on_unix::*;

#[cfg(not(unix))]
pub use elsewhere::*;

#[cfg(unix)]
mod on_unix {
    use std::fs::{File, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
    use std::path::Path;

    /// Which file it is.
    #[derive(Debug)]
    pub struct Identity {
        /// Its device and its number there.
        pub file: (u64, u64),
        /// How many names it has.
        pub names: u64,
    }

    impl Identity {
        pub fn of(metadata: &Metadata) -> Self {
            Self {
                file: (metadata.dev(), metadata.ino()),
                names: metadata.nlink(),
            }
        }
    }

    /// The folder of a file, to be synced.
    pub fn open_folder(path: &Path) -> io::Result<Option<File>> {
        File::open(path.parent().unwrap_or(Path::new("/"))).map(Some)
    }

    /// Opens a file that only its owner may read.
    pub fn make_private(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    /// Gives a file the owner, the group and the mode of another one.
    pub fn copy_owner(from: &File, to: &File) -> io::Result<()> {
        let (from, is) = (from.metadata()?, to.metadata()?);
        if (from.uid(), from.gid()) != (is.uid(), is.gid()) {
            fchown(to, Some(from.uid()), Some(from.gid()))?;
        }
        to.set_permissions(from.permissions())
    }

    /// Reads a file from `offset` on, whoever else reads it.
    pub fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::fs::{File, Metadata, OpenOptions};
    use std::io::{self, Read as _, Seek as _, SeekFrom};
    use std::path::Path;

    #[derive(Debug)]
    pub struct Identity {
        pub file: (),
        pub names: u64,
    }

    impl Identity {
        pub fn of(_: &Metadata) -> Self {
            Self { file: (), names: 1 }
        }
    }

    pub fn open_folder(_: &Path) -> io::Result<Option<File>> {
        Ok(None)
    }

    pub fn make_private(_: &mut OpenOptions) {}

    pub fn copy_owner(from: &File, to: &File) -> io::Result<()> {
        to.set_permissions(from.metadata()?.permissions())
    }

    pub fn read_exact_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }
}
