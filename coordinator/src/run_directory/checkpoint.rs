//! The state to resume from: opaque bytes behind a header that reveals a damaged file.
//!
//! The layout is `SHOALCKP`, the version of the state (u32), the length of the state in bytes (u64), its BLAKE3
//! (32 bytes), the state; integers are little-endian.
//!
//! The last two checkpoints are kept. Training is deterministic, so a run resumed from the earlier one ends
//! with the same bits, only later. A training that has gone back replaces both: they hold what it went back for.

use std::{fs, io, path::Path};

use super::{RunError, atomic, earlier};

const FILE: &str = "checkpoint";
const PREVIOUS: &str = "checkpoint.previous";
/// Name under which a damaged checkpoint is put aside.
const DAMAGED: &str = "checkpoint.damaged";

const MAGIC: &[u8; 8] = b"SHOALCKP";

/// A checkpoint that was read back.
#[derive(Debug)]
pub struct LoadedCheckpoint {
    /// The saved bytes.
    pub state: Vec<u8>,
    /// The damage to the last checkpoint, if this is the one before it. The user should be told.
    pub last_was_damaged: Option<RunError>,
}

/// Saves the state after so many completed rounds. Where it finds no room, earlier ones make way.
pub(super) fn save(directory: &Path, version: u32, state: &[u8], rounds: u64) -> Result<(), RunError> {
    let path = directory.join(FILE);
    let header = header_of(version, state);
    let ready = earlier::make_way_for(directory, || atomic::write_beside(&path, &[&header, state]))?;
    // Between the two renames there is only a previous checkpoint. `load` allows for that.
    rename_if_there(&path, &directory.join(PREVIOUS))?;
    fs::rename(&ready, &path).map_err(RunError::io("replace", &path))?;
    atomic::sync_parent(&path)?;
    if let Err(error) = earlier::keep(directory, &path, rounds) {
        tracing::debug!(%error, "this state is not kept for later");
    }
    Ok(())
}

/// Reads the state after so many completed rounds; `None` if it is not kept.
pub(super) fn load_earlier(directory: &Path, version: u32, rounds: u64) -> Result<Option<Vec<u8>>, RunError> {
    read(&earlier::path(directory, rounds), version)
}

/// Replaces the last checkpoint and leaves the one before it alone.
pub(super) fn replace_last(directory: &Path, version: u32, state: &[u8]) -> Result<(), RunError> {
    replace(directory, FILE, version, state)
}

/// Replaces the checkpoint before the last one.
pub(super) fn replace_previous(directory: &Path, version: u32, state: &[u8]) -> Result<(), RunError> {
    replace(directory, PREVIOUS, version, state)
}

fn replace(directory: &Path, file: &str, version: u32, state: &[u8]) -> Result<(), RunError> {
    let header = header_of(version, state);
    earlier::make_way_for(directory, || atomic::replace(&directory.join(file), &[&header, state]))
}

/// Reads the last good checkpoint, and moves a damaged one away: otherwise the next save would replace the good
/// one by it.
pub(super) fn load(directory: &Path, version: u32) -> Result<Option<LoadedCheckpoint>, RunError> {
    let loaded = look(directory, version)?;
    if loaded.as_ref().is_some_and(|loaded| loaded.last_was_damaged.is_some()) {
        rename_if_there(&directory.join(FILE), &directory.join(DAMAGED))?;
    }
    Ok(loaded)
}

/// Reads the last good checkpoint and changes nothing, so that the directory need not be held.
pub(super) fn look(directory: &Path, version: u32) -> Result<Option<LoadedCheckpoint>, RunError> {
    let last_was_damaged = match read(&directory.join(FILE), version) {
        Ok(Some(state)) => return Ok(Some(LoadedCheckpoint { state, last_was_damaged: None })),
        Ok(None) => None,
        Err(damaged @ RunError::Damaged { .. }) => Some(damaged),
        Err(error) => return Err(error),
    };
    match (read(&directory.join(PREVIOUS), version), last_was_damaged) {
        (Ok(Some(state)), last_was_damaged) => Ok(Some(LoadedCheckpoint { state, last_was_damaged })),
        (_, Some(damaged)) => Err(RunError::NoGoodCheckpoint { damaged: Box::new(damaged) }),
        (previous, None) => previous.map(|_| None),
    }
}

/// The state in a file, which must have this version; `None` if there is no file.
fn read(path: &Path, version: u32) -> Result<Option<Vec<u8>>, RunError> {
    let mut bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RunError::io("read", path)(error)),
    };
    let header =
        parse_header(&bytes).ok_or_else(|| RunError::damaged(path, "it does not start like a checkpoint"))?;
    if header.version != version {
        return Err(RunError::OtherVersion {
            path: path.to_owned(),
            found: header.version,
            expected: version,
        });
    }
    bytes.drain(..HEADER_BYTES);
    if bytes.len() as u64 != header.length || blake3::hash(&bytes) != header.hash {
        return Err(RunError::damaged(path, "its content does not match its checksum"));
    }
    Ok(Some(bytes))
}

fn header_of(version: u32, state: &[u8]) -> Vec<u8> {
    [
        MAGIC.as_slice(),
        &version.to_le_bytes(),
        &(state.len() as u64).to_le_bytes(),
        blake3::hash(state).as_bytes(),
    ]
    .concat()
}

const HEADER_BYTES: usize = 8 + 4 + 8 + 32;

struct Header {
    version: u32,
    length: u64,
    hash: blake3::Hash,
}

fn parse_header(bytes: &[u8]) -> Option<Header> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (hash, _) = rest.split_first_chunk::<32>()?;
    (magic == MAGIC).then(|| Header {
        version: u32::from_le_bytes(*version),
        length: u64::from_le_bytes(*length),
        hash: blake3::Hash::from_bytes(*hash),
    })
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), RunError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RunError::io("rename", from)(error)),
        _ => Ok(()),
    }
}
