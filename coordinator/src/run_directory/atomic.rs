//! Replaces a file so that it always holds either the old content or the new, whenever the process or machine
//! dies.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::RunError;

/// Replaces `path` by the concatenation of `parts`: writes them beside it, makes them durable and renames
/// them over it.
pub(super) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), RunError> {
    let ready = write_beside(path, parts)?;
    fs::rename(&ready, path).map_err(RunError::io("replace", path))?;
    sync_parent(path)
}

/// Writes the parts to the temporary file of `path` and makes them durable. Removes an incomplete file, which
/// on a full disk would only take room from everything else.
pub(super) fn write_beside(path: &Path, parts: &[&[u8]]) -> Result<PathBuf, RunError> {
    let temporary = temporary(path);
    let write = || {
        let mut file = File::create(&temporary)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    };
    write().map_err(|error| {
        // If this fails too, the next write empties the file first.
        let _ = fs::remove_file(&temporary);
        RunError::io("write", path)(error)
    })?;
    Ok(temporary)
}

/// The temporary name of a file. It is fixed, so that leftovers of killed processes are overwritten and never
/// pile up.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsString::from(".new"));
    PathBuf::from(name)
}

/// Makes a rename in the file's directory durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), RunError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Makes the entries of a directory durable, if the operating system can.
pub(super) fn sync_directory(path: &Path) -> Result<(), RunError> {
    if cfg!(unix) {
        let failed = RunError::io("write", path);
        File::open(path).map_err(&failed)?.sync_all().map_err(&failed)?;
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// `/dev/full` is a disk without room.
    #[test]
    fn what_a_full_disk_cannot_take_whole_leaves_nothing_behind() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("model");
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink("/dev/full", temporary(&path)).unwrap();
        let message = replace(&path, &[b"new"]).unwrap_err().to_string();
        assert!(message.contains("model") && message.contains("make room"), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the temporary file is gone");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }
}
