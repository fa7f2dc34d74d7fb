//! Earlier states than the last checkpoint, to go back to if a lie is found out that it holds.
//!
//! Each is a further name of a file that was the checkpoint once, in a folder of its own: the number of rounds that were
//! completed by then. A state that is not here is no loss: the training then goes back as far as it can.

use std::path::{Path, PathBuf};
use std::{fs, io};

use engine::least_missed;

use super::{RunError, atomic};

const FOLDER: &str = "earlier";
/// The most states.
const STATES_MAX: usize = 8;
/// The fewest, whatever they take: the first, and the last, which is the checkpoint itself.
const STATES_MIN: usize = 2;
/// Bytes that they may take together, unless so few take more.
const BYTES_MAX: u64 = 1 << 30;

/// Keeps the file `checkpoint` as the state after so many rounds, and drops the one that is least missed if there are
/// too many. Where the file system gives no file a second name, nothing is kept.
pub(super) fn keep(directory: &Path, checkpoint: &Path, rounds: u64) -> io::Result<()> {
    let folder = directory.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let path = folder.join(rounds.to_string());
    remove_if_there(&path)?;
    fs::hard_link(checkpoint, &path)?;
    let mut kept = list(directory);
    while kept.len() > STATES_MIN && (kept.len() > STATES_MAX || bytes(directory, &kept) > BYTES_MAX) {
        // The last one goes with the checkpoint.
        let (last, before) = kept.split_last().expect("there are some");
        let Some(index) = least_missed(before, *last) else { break };
        remove_if_there(&folder.join(kept.remove(index).to_string()))?;
    }
    Ok(())
}

/// The numbers of rounds of all that are kept, in increasing order.
pub(super) fn list(directory: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(directory.join(FOLDER)) else { return Vec::new() };
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let mut rounds: Vec<u64> = entries.filter_map(number).collect();
    rounds.sort_unstable();
    rounds
}

/// Where the state after so many rounds is, if it is kept.
pub(super) fn path(directory: &Path, rounds: u64) -> PathBuf {
    directory.join(FOLDER).join(rounds.to_string())
}

/// Drops all after so many rounds: the training goes back behind them.
pub(super) fn cut(directory: &Path, rounds: u64) -> Result<(), RunError> {
    drop_if(directory, |kept| kept > rounds)
}

/// Drops all.
pub(super) fn drop_all(directory: &Path) -> Result<(), RunError> {
    drop_if(directory, |_| true)
}

/// Returns when the removal is durable: a power failure must not bring back a state that holds a lie beside a later
/// checkpoint that does not.
fn drop_if(directory: &Path, is_void: impl Fn(u64) -> bool) -> Result<(), RunError> {
    let mut void = list(directory).into_iter().filter(|kept| is_void(*kept)).peekable();
    if void.peek().is_none() {
        return Ok(());
    }
    for rounds in void {
        let path = path(directory, rounds);
        remove_if_there(&path).map_err(RunError::io("remove", &path))?;
    }
    atomic::sync_directory(&directory.join(FOLDER))
}

/// Writes a file. Where there is no room for it, all earlier states make way: they are no loss.
pub(super) fn make_way_for<T>(
    directory: &Path,
    write: impl Fn() -> Result<T, RunError>,
) -> Result<T, RunError> {
    write().or_else(|error| {
        if !error.is_lack_of_room() || list(directory).is_empty() {
            return Err(error);
        }
        drop_all(directory)?;
        write()
    })
}

fn bytes(directory: &Path, kept: &[u64]) -> u64 {
    let length = |rounds: &u64| fs::metadata(path(directory, *rounds)).map_or(0, |metadata| metadata.len());
    kept.iter().map(length).sum()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
