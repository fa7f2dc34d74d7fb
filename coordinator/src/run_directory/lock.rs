//! Lets only one process at a time work in a run directory.
//!
//! The lock is on the directory itself, which has no file inside that somebody could delete and so admit a
//! second process. The file `lock` only names the process that holds it. Some network file systems cannot lock a
//! directory, and systems other than Unix cannot open one, so the file is locked as well.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::Path,
};

use super::RunError;

/// Name of the lock file. The file stays when the lock is released; only the lock on it counts.
pub(super) const FILE: &str = "lock";

/// A lock of the operating system, which ends with the process, however the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The locked directory, where the system can open one.
    directory: Option<File>,
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory. The error names the process that holds it.
    pub(crate) fn take(directory: &Path) -> Result<Self, RunError> {
        let path = directory.join(FILE);
        let failed = RunError::io("lock", &path);
        let held = || {
            let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            RunError::Held { path: directory.to_owned(), pid }
        };
        let entry = if cfg!(unix) {
            Some(File::open(directory).map_err(RunError::io("lock", directory))?)
        } else {
            None
        };
        if let Some(Err(TryLockError::WouldBlock)) = entry.as_ref().map(File::try_lock) {
            return Err(held());
        }
        let mut file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held()),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(&failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(&failed)?;
        Ok(Self { directory: entry, _file: file })
    }

    /// Whether a process holds the lock of a directory.
    pub(super) fn is_held(directory: &Path) -> Result<bool, RunError> {
        match Lock::take(directory) {
            Ok(_) => Ok(false),
            Err(RunError::Held { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that `directory` still is the directory that this lock holds. A path can come to name
    /// another directory: where the run was deleted, or moved away, and something else made in its place.
    ///
    /// # Errors
    /// [`RunError::Gone`] if there is no such directory any more, or another one.
    pub(super) fn require_still_at(&self, directory: &Path) -> Result<(), RunError> {
        let Some(held) = &self.directory else { return Ok(()) };
        let gone = || RunError::Gone { path: directory.to_owned() };
        let now = fs::metadata(directory).map_err(|_| gone())?;
        let held = held.metadata().map_err(RunError::io("read", directory))?;
        if is_same(&now, &held) { Ok(()) } else { Err(gone()) }
    }
}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}
