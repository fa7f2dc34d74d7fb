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

/// Writes the parts to the temporary file of `path` and makes them durable.
pub(super) fn write_beside(path: &Path, parts: &[&[u8]]) -> Result<PathBuf, RunError> {
    let temporary = temporary(path);
    let failed = RunError::io("write", &temporary);
    let mut file = File::create(&temporary).map_err(&failed)?;
    for part in parts {
        file.write_all(part).map_err(&failed)?;
    }
    file.sync_all().map_err(&failed)?;
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
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the entries of a directory durable, if the operating system can.
pub(super) fn sync_directory(path: &Path) -> Result<(), RunError> {
    if cfg!(unix) {
        let failed = RunError::io("write", path);
        File::open(path).map_err(&failed)?.sync_all().map_err(&failed)?;
    }
    Ok(())
}
