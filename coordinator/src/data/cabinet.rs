//! Shards outside of memory: files or objects named by the hash of their content, compressed as they travel. Whoever computes
//! with one reads it through a cache of the newest, and checks its hash.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use protocol::limits::SHARD_BYTES_MAX;
use protocol::plan::ShardRef;
use tokio::runtime::{Builder, Handle, Runtime};

use super::DataError;
use crate::scale::Archive;
use crate::store::{Store, StoreError};

/// Bytes of shards that are kept in memory after they were read.
pub(super) const READ_BYTES_MAX: usize = 64 << 20;

/// Bytes of compressed shards of a store that are kept in memory after they were read.
const COMPRESSED_BYTES_MAX: usize = 128 << 20;

/// See the module's description.
#[derive(Debug)]
pub struct Cabinet {
    place: Place,
    /// Shards as they are.
    recent: Mutex<Recent>,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Store(Remote),
}

/// A store.
#[derive(Debug)]
struct Remote {
    store: Store,
    runtime: Handle,
    /// The runtime itself, where nobody else has it.
    own: Option<Runtime>,
    /// Compressed shards, so that one that many want is fetched once.
    recent: Mutex<Recent>,
}

impl Remote {
    /// Waits for a request, which is a task of its own, because whoever waits here may be a task, too.
    fn wait<T: Send + 'static>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, DataError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = sender.send(asked.await);
        });
        // Nothing is sent where the runtime ends before the request.
        Ok(receiver.recv().map_err(|_| DataError::Ended)??)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The last user may be an async task, where nothing may wait for the end.
        if let Some(runtime) = self.own.take() {
            runtime.shutdown_background();
        }
    }
}

impl Cabinet {
    /// Shards in a folder, which is made if it does not exist.
    ///
    /// # Errors
    /// [`DataError::Cache`] when it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let folder = folder.join("shards");
        std::fs::create_dir_all(&folder).map_err(|source| cache_error(&folder, source))?;
        Ok(Self { place: Place::Folder(folder), recent: Mutex::new(Recent::of_bytes(READ_BYTES_MAX)) })
    }

    /// Shards in a store, which is asked in tasks of `runtime`.
    pub fn of_store(store: Store, runtime: Handle) -> Self {
        let recent = Mutex::new(Recent::of_bytes(COMPRESSED_BYTES_MAX));
        let place = Place::Store(Remote { store, runtime, own: None, recent });
        Self { place, recent: Mutex::new(Recent::of_bytes(READ_BYTES_MAX)) }
    }

    /// The same where no runtime is there yet.
    ///
    /// # Errors
    /// When the system gives no thread for one.
    pub fn of_store_alone(store: Store) -> io::Result<Self> {
        let own = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut cabinet = Self::of_store(store, own.handle().clone());
        if let Place::Store(remote) = &mut cabinet.place {
            remote.own = Some(own);
        }
        Ok(cabinet)
    }

    /// Keeps a shard, unless it is there already, and names it. In a folder it is looked at whether it is undamaged; from
    /// a store nothing is fetched for that, because whoever reads it will see.
    ///
    /// # Errors
    /// [`DataError::Cache`] or [`DataError::Store`] when it cannot be written.
    pub(super) fn keep(&self, bytes: &[u8]) -> Result<ShardRef, DataError> {
        let hash = blake3::hash(bytes);
        match &self.place {
            Place::Folder(folder) => {
                if self.unpacked(hash.as_bytes()).is_err() {
                    let path = folder.join(hash.to_hex().as_str());
                    let write = || {
                        let file = tempfile::NamedTempFile::new_in(folder)?;
                        std::fs::write(file.path(), gzip(bytes))?;
                        file.persist(&path).map_err(|error| error.error)
                    };
                    write().map_err(|source| cache_error(&path, source))?;
                }
            }
            Place::Store(remote) => {
                let (store, key) = (remote.store.clone(), Archive::shard_key(hash.as_bytes()));
                let (of, name) = (store.clone(), key.clone());
                if !remote.wait(async move { of.has(&name).await })? {
                    let packed = gzip(bytes);
                    // Another process that cuts the same data may be first.
                    remote.wait(async move { store.create(&key, packed).await })?;
                }
            }
        }
        // A length too large for the type is too large for the protocol, which refuses it.
        Ok(ShardRef { hash: *hash.as_bytes(), bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX) })
    }

    /// The content of a shard. This waits for the disk: it is no call for an async task.
    ///
    /// # Errors
    /// [`DataError::Cache`] when it cannot be read or is damaged.
    pub fn read(&self, hash: &[u8; 32]) -> Result<Bytes, DataError> {
        if let Some(bytes) = self.recent().get(hash) {
            return Ok(bytes);
        }
        let bytes = self.unpacked(hash)?;
        self.recent().put(*hash, bytes.clone());
        Ok(bytes)
    }

    /// The content from the disk, checked.
    fn unpacked(&self, hash: &[u8; 32]) -> Result<Bytes, DataError> {
        let compressed = self.compressed(hash)?;
        let mut bytes = Vec::new();
        let unpacked = GzDecoder::new(&compressed[..]).take(SHARD_BYTES_MAX as u64).read_to_end(&mut bytes);
        if unpacked.is_err() || blake3::hash(&bytes).as_bytes() != hash {
            let damaged = io::Error::new(io::ErrorKind::InvalidData, "its content is not what its name says");
            return Err(cache_error(Path::new(&Archive::shard_key(hash)), damaged));
        }
        Ok(bytes.into())
    }

    /// A shard as it is kept, compressed with gzip. Nothing checks it: whoever decompresses it does.
    ///
    /// # Errors
    /// [`DataError::Cache`] when it cannot be read.
    pub fn compressed(&self, hash: &[u8; 32]) -> Result<Bytes, DataError> {
        match &self.place {
            Place::Folder(folder) => {
                let path = folder.join(blake3::Hash::from_bytes(*hash).to_hex().as_str());
                std::fs::read(&path).map(Bytes::from).map_err(|source| cache_error(&path, source))
            }
            Place::Store(remote) => {
                let recent = || remote.recent.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(bytes) = recent().get(hash) {
                    return Ok(bytes);
                }
                let (store, key) = (remote.store.clone(), Archive::shard_key(hash));
                let found = remote.wait(async move { store.get(&key).await })?;
                let gone =
                    || cache_error(Path::new(&Archive::shard_key(hash)), io::ErrorKind::NotFound.into());
                let bytes = found.ok_or_else(gone)?;
                recent().put(*hash, bytes.clone());
                Ok(bytes)
            }
        }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes compressed with gzip, fast.
pub(super) fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail").into()
}

fn cache_error(path: &Path, source: io::Error) -> DataError {
    DataError::Cache { path: path.to_owned(), source }
}

/// Shards by hash, the ones used last, up to a number of bytes.
#[derive(Debug)]
pub(super) struct Recent {
    bytes_max: usize,
    bytes: usize,
    clock: u64,
    shards: BTreeMap<[u8; 32], (Bytes, u64)>,
}

impl Recent {
    pub(super) fn of_bytes(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, clock: 0, shards: BTreeMap::new() }
    }

    pub(super) fn get(&mut self, hash: &[u8; 32]) -> Option<Bytes> {
        self.clock += 1;
        let (bytes, used) = self.shards.get_mut(hash)?;
        *used = self.clock;
        Some(bytes.clone())
    }

    /// Remembers a shard and forgets those not used for longest. One that is larger than all room is not
    /// remembered.
    pub(super) fn put(&mut self, hash: [u8; 32], bytes: Bytes) {
        if bytes.len() > self.bytes_max {
            return;
        }
        self.clock += 1;
        self.bytes += bytes.len();
        if let Some((before, _)) = self.shards.insert(hash, (bytes, self.clock)) {
            self.bytes -= before.len();
        }
        while self.bytes > self.bytes_max {
            let oldest = self.shards.iter().min_by_key(|(_, (_, used))| *used).map(|(hash, _)| *hash);
            let Some((gone, _)) = oldest.and_then(|oldest| self.shards.remove(&oldest)) else { return };
            self.bytes -= gone.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shards_used_last_are_remembered_up_to_a_number_of_bytes() {
        let mut recent = Recent::of_bytes(10);
        let shard = |name: u8| [name; 32];
        let bytes = |count: usize| Bytes::from(vec![0; count]);
        recent.put(shard(1), bytes(4));
        recent.put(shard(2), bytes(4));
        assert!(recent.get(&shard(1)).is_some());
        recent.put(shard(3), bytes(4));
        let there: Vec<bool> = (1..=3).map(|name| recent.get(&shard(name)).is_some()).collect();
        assert_eq!(there, [true, false, true]);
        recent.put(shard(4), bytes(11));
        assert!(recent.get(&shard(4)).is_none() && recent.bytes == 8);
        recent.put(shard(3), bytes(5));
        assert_eq!(recent.bytes, 9);
    }

    #[test]
    fn a_store_has_the_same_shards_under_the_same_names() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().to_str().unwrap().parse().unwrap()).unwrap();
        let remote = Cabinet::of_store_alone(store).unwrap();
        let shard = remote.keep(b"one").unwrap();
        assert_eq!(Cabinet::open(folder.path()).unwrap().read(&shard.hash).unwrap(), b"one".as_slice());
        let other = Cabinet::open(folder.path()).unwrap().keep(b"two").unwrap();
        assert_eq!(remote.read(&other.hash).unwrap(), b"two".as_slice());
        assert!(remote.read(&[0; 32]).unwrap_err().to_string().contains("shards/0000"));
        // Its last user may be an async task.
        Builder::new_current_thread().build().unwrap().block_on(async move { drop(remote) });
    }

    #[test]
    fn a_shard_is_written_once_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let cabinet = Cabinet::open(folder.path()).unwrap();
        let shard = cabinet.keep(b"one").unwrap();
        let path = folder.path().join("shards").join(blake3::hash(b"one").to_hex().as_str());
        let written = path.metadata().unwrap().modified().unwrap();
        assert_eq!(cabinet.keep(b"one").unwrap(), shard);
        assert_eq!(path.metadata().unwrap().modified().unwrap(), written);
        assert_eq!(cabinet.read(&shard.hash).unwrap(), b"one".as_slice());
        std::fs::write(&path, gzip(b"two")).unwrap();
        assert_eq!(cabinet.read(&shard.hash).unwrap(), b"one".as_slice(), "it is still in memory");
        let message = Cabinet::open(folder.path()).unwrap().read(&shard.hash).unwrap_err().to_string();
        assert!(message.contains("not what its name says"), "{message}");
        // Whoever cuts the data again mends it.
        assert_eq!(Cabinet::open(folder.path()).unwrap().keep(b"one").unwrap(), shard);
        assert_eq!(Cabinet::open(folder.path()).unwrap().read(&shard.hash).unwrap(), b"one".as_slice());
        std::fs::remove_file(&path).unwrap();
        assert!(Cabinet::open(folder.path()).unwrap().read(&shard.hash).is_err());
    }
}
