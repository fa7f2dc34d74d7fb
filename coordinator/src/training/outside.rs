//! Data that memory should not hold: when that is so, and where they go instead. It never changes a bit of a
//! training.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::config::{DataSource, RunConfig, STANDARD_INPUT};
use crate::data::{Cabinet, DataError, Scratch};
use crate::report::words::bytes;
use crate::room;
use crate::store::Store;

/// The folder where nobody names one and memory is too small, beside the runs: for shards, or with a store for columns
/// until they are cut.
const CACHE: &str = "runs/.cache";
/// Memory that a file's bytes take while they are read, at most: numbers of a few digits become 8 bytes twice.
const TEXT_FACTOR: u64 = 3;
/// The same of a file that is packed.
const PACKED_FACTOR: u64 = 12;
/// Ends of the names of packed files.
const PACKED: [&str; 7] = ["gz", "zst", "parquet", "png", "jpg", "jpeg", "webp"];

/// Where the data of a run go.
pub(super) struct Outside {
    /// Columns, until they are cut.
    pub(super) scratch: Scratch,
    /// Shards.
    pub(super) cabinet: Arc<Cabinet>,
    /// A sentence for the user where nobody named a folder.
    pub(super) note: Option<String>,
}

impl Outside {
    /// Where the data go, if not into memory: into the folder that the settings name; without one, beside the runs
    /// if memory is too small for the files.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(super) fn of(config: &mut RunConfig) -> Result<Option<Self>> {
        let (folder, note) = match (&config.cache, &config.data) {
            (Some(folder), DataSource::Path(_)) => (folder.clone(), None),
            (None, DataSource::Path(path)) => {
                let Some((need, free)) = lack(path) else { return Ok(None) };
                let place = config.store.as_ref().map_or_else(|| CACHE.to_owned(), ToString::to_string);
                let note = format!(
                    "The data could take {} of memory, and {} are free: they are cut into shards in {place} (--cache \
                     names another folder)",
                    bytes(need),
                    bytes(free)
                );
                (PathBuf::from(CACHE), Some(note))
            }
            (_, DataSource::EmbeddedMnist) => return Ok(None),
        };
        // With a store, the folder has the columns alone, until they are cut.
        let cabinet = match &config.store {
            Some(store) => {
                Cabinet::of_store_alone(Store::open(store)?).context("cannot start a thread for the store")?
            }
            None => Cabinet::open(&folder)?,
        };
        let cabinet = Arc::new(cabinet);
        std::fs::create_dir_all(&folder)
            .map_err(|source| DataError::Cache { path: folder.clone(), source })?;
        let scratch = Scratch::create(&folder).map_err(DataError::from)?;
        if config.store.is_none() {
            config.cache = Some(folder);
        }
        Ok(Some(Self { scratch, cabinet, note }))
    }
}

/// The memory that the files may take and the free memory, if that is less.
fn lack(path: &Path) -> Option<(u64, u64)> {
    if path.as_os_str() == STANDARD_INPUT {
        return None;
    }
    let free = room::free_memory()?;
    let need = need(path);
    (need > free).then_some((need, free))
}

fn need(path: &Path) -> u64 {
    let of_file = |path: &Path| {
        let size = path.metadata().map_or(0, |found| found.len());
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        size.saturating_mul(if PACKED.contains(&end.as_str()) { PACKED_FACTOR } else { TEXT_FACTOR })
    };
    if path.is_dir() {
        // A folder of images has folders for parts and classes.
        return files_below(path, 3).iter().map(|file| of_file(file)).sum();
    }
    match table::source::files(&[path.to_owned()]) {
        Ok(files) => files.iter().map(|file| of_file(&file.path)).sum(),
        // Reading says what is wrong.
        Err(_) => 0,
    }
}

fn files_below(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.flatten().map(|entry| entry.path());
    let below = |path: PathBuf| match path.is_dir() {
        true if depth > 0 => files_below(&path, depth - 1),
        true => Vec::new(),
        false => vec![path],
    };
    entries.flat_map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_files_may_take_many_times_their_size() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, size: usize| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, vec![b'1'; size]).unwrap();
            path
        };
        assert_eq!(need(&file("a.csv", 10)), 30);
        assert_eq!(need(&file("b.csv.gz", 10)), 120);
        file("b-1.csv", 5);
        file("b-2.csv", 5);
        assert_eq!(need(&folder.path().join("b-*.csv")), 30);
        file("images/train/cat/1.png", 7);
        file("images/train/dog/1.JPG", 3);
        assert_eq!(need(&folder.path().join("images")), 120);
        assert_eq!(need(Path::new("nothing")), 0);
    }
}
