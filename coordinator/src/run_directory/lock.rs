//! Lets only one process at a time work in a run directory.

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
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory. The error names the process that holds it.
    pub(crate) fn take(directory: &Path) -> Result<Self, RunError> {
        let path = directory.join(FILE);
        let failed = RunError::io("lock", &path);
        let mut file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(RunError::Held { path: directory.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(&failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(&failed)?;
        Ok(Self { _file: file })
    }
}
