//! What only Unix knows about files. On other systems, an open file cannot be replaced or given another name.

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

    /// The identity of a file.
    #[derive(Debug)]
    pub struct Identity {
        /// Its device and inode number.
        pub file: (u64, u64),
        /// The number of its names (hard links).
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

    /// Opens the folder of a file, to sync it.
    pub fn open_folder(path: &Path) -> io::Result<Option<File>> {
        File::open(path.parent().unwrap_or(Path::new("/"))).map(Some)
    }

    /// Options for creating a file that only its owner may read.
    pub fn make_private(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    /// Copies the owner, the group and the mode of a file to another one.
    pub fn copy_owner(from: &File, to: &File) -> io::Result<()> {
        let (from, is) = (from.metadata()?, to.metadata()?);
        if (from.uid(), from.gid()) != (is.uid(), is.gid()) {
            fchown(to, Some(from.uid()), Some(from.gid()))?;
        }
        to.set_permissions(from.permissions())
    }

    /// Reads a file from `offset` on, without moving its cursor.
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
