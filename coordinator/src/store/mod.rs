//! A store of objects: a folder, or a bucket of a service that speaks the protocol of S3, Google or Azure.
//!
//! Objects are small or of a few megabytes, and each is written whole. A store is named by a URL. Credentials never
//! stand in it: they come from the environment, as the crate `object_store` reads it (`AWS_ACCESS_KEY_ID`,
//! `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME` and so on).

#[cfg(feature = "scale")]
mod services;
#[cfg(not(feature = "scale"))]
#[path = "no_services.rs"]
mod services;

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use thiserror::Error;

use crate::config::{StoreKind, StoreUrl};

/// What is larger goes in parts of this size: a bucket takes 5 GB at once, and a request must be over in a minute. The
/// largest state, of 2^28 parameters, has some hundreds of them. A bucket takes 10,000.
const PART_BYTES: usize = 1 << 27;

/// Objects that [`Store::list`] returns at most.
pub const LIST_MAX: usize = 1 << 20;

/// A place for objects. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
}

/// Whether [`Store::create`] was first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is new.
    New,
    /// There was an object of that name already, and it is as it was.
    Existed,
}

/// A request to a store that failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store cannot be used as it is named.
    #[error("cannot use the store {url}: {problem}")]
    Open {
        /// Its URL.
        url: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A request failed, also when it was tried again.
    #[error("cannot {verb} {key} in the store {url}: {source}")]
    Request {
        /// What was to be done.
        verb: &'static str,
        /// The object's name.
        key: String,
        /// The store's URL.
        url: String,
        /// Why.
        source: Box<Error>,
    },
    /// The store does not refuse to create an object twice.
    #[error(
        "the store {url} lets an object be created twice, so that two coordinators could lead; \
         use a store that knows conditional writes (If-None-Match)"
    )]
    NotExclusive {
        /// Its URL.
        url: String,
    },
}

impl StoreError {
    /// Whether the same request may succeed later. A store that refuses does so again, unless it has let this process in
    /// before.
    pub fn may_pass(&self, has_worked: bool) -> bool {
        let StoreError::Request { source, .. } = self else { return false };
        let is_refusal = matches!(
            **source,
            Error::NotFound { .. }
                | Error::PermissionDenied { .. }
                | Error::Unauthenticated { .. }
                | Error::InvalidPath { .. }
                | Error::NotSupported { .. }
                | Error::NotImplemented { .. }
                | Error::UnknownConfigurationKey { .. }
        );
        has_worked || !is_refusal && !is_forbidden(source)
    }
}

/// Whether the system does not let this process use a folder.
fn is_forbidden(error: &Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| matches!(io.kind(), NotADirectory | PermissionDenied | ReadOnlyFilesystem)) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Store").field(&self.url).finish()
    }
}

/// The URL, which holds no credentials.
impl fmt::Display for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

impl Store {
    /// Opens a store. This makes no request; a folder is created if there is none.
    ///
    /// # Errors
    /// [`StoreError::Open`] if the environment does not say how to reach it.
    pub fn open(place: &StoreUrl) -> Result<Store, StoreError> {
        let url = place.to_string();
        let wrong = |problem: String| StoreError::Open { url: url.clone(), problem };
        if place.kind() == StoreKind::Folder {
            return Store::folder(FilePath::new(place.path()), url);
        }
        let objects = services::open(place).map_err(wrong)?;
        let prefix = Path::parse(place.path()).map_err(|error| wrong(error.to_string()))?;
        Ok(Store { objects, prefix, url })
    }

    fn folder(path: &FilePath, url: String) -> Result<Store, StoreError> {
        let wrong = |problem: String| StoreError::Open { url: url.clone(), problem };
        std::fs::create_dir_all(path).map_err(|error| {
            wrong(format!("{error}; name a folder that all processes of the training can write to"))
        })?;
        // Without this, a machine that loses its power loses what it has acknowledged.
        let objects = LocalFileSystem::new_with_prefix(path).map_err(|error| wrong(error.to_string()))?;
        Ok(Store { objects: Arc::new(objects.with_fsync(true)), prefix: Path::default(), url })
    }

    /// A store in memory, for tests.
    pub fn in_memory() -> Store {
        Store { objects: Arc::new(InMemory::new()), prefix: Path::default(), url: "memory:".to_owned() }
    }

    /// Writes an object, or replaces it.
    ///
    /// # Errors
    /// When the store does not answer or refuses.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.path(key);
        let put = match bytes.len() <= PART_BYTES {
            true => self.objects.put(&path, PutPayload::from_bytes(bytes)).await.map(drop),
            false => self.put_in_parts(&path, bytes, PART_BYTES).await,
        };
        put.map_err(self.failed("write", key))
    }

    /// The same in parts of so many bytes. The object is there when all of them are.
    async fn put_in_parts(&self, path: &Path, bytes: Bytes, part_bytes: usize) -> Result<(), Error> {
        let mut upload = self.objects.put_multipart(path).await?;
        let put = async {
            for start in (0..bytes.len()).step_by(part_bytes) {
                let part = bytes.slice(start..bytes.len().min(start + part_bytes));
                upload.put_part(PutPayload::from_bytes(part)).await?;
            }
            upload.complete().await.map(drop)
        };
        let put = put.await;
        if put.is_err() {
            // Otherwise a bucket would keep the parts, which nobody sees and somebody pays for.
            let _ = upload.abort().await;
        }
        put
    }

    /// Writes an object if there is none of that name. When a try succeeds without an answer, the next says
    /// [`Created::Existed`]: read the object to learn whose it is.
    ///
    /// # Errors
    /// When the store does not answer or refuses.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&self.path(key), PutPayload::from_bytes(bytes), options).await {
            Ok(_) => Ok(Created::New),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Created::Existed),
            Err(error) => Err(self.failed("create", key)(error)),
        }
    }

    /// Reads an object; `None` if there is none.
    ///
    /// # Errors
    /// When the store does not answer or refuses.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.objects.get(&self.path(key)).await {
            Ok(got) => got.bytes().await.map(Some).map_err(self.failed("read", key)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", key)(error)),
        }
    }

    /// Whether there is an object of that name.
    ///
    /// # Errors
    /// When the store does not answer or refuses.
    pub async fn has(&self, key: &str) -> Result<bool, StoreError> {
        match self.objects.head(&self.path(key)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("look for", key)(error)),
        }
    }

    /// The names of the objects in a folder and below it, in order, at most [`LIST_MAX`].
    ///
    /// # Errors
    /// When the store does not answer or refuses.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.path(folder);
        let mut objects = self.objects.list(Some(&path)).take(LIST_MAX);
        let mut keys = Vec::new();
        while let Some(object) = objects.next().await {
            let location = object.map_err(self.failed("list", folder))?.location;
            let Some(rest) = location.prefix_match(&self.prefix) else { continue };
            let parts: Vec<String> = rest.map(|part| part.as_ref().to_owned()).collect();
            keys.push(parts.join("/"));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// Removes an object, if there is one.
    ///
    /// # Errors
    /// When the store does not answer or refuses.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.objects.delete(&self.path(key)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", key)(error)),
        }
    }

    /// Sees whether the store can be written and read, and refuses to create an object twice.
    ///
    /// # Errors
    /// [`StoreError::NotExclusive`] if it does not refuse.
    pub async fn probe(&self) -> Result<(), StoreError> {
        const KEY: &str = "probe";
        self.create(KEY, Bytes::from_static(b"1")).await?;
        match self.create(KEY, Bytes::from_static(b"2")).await? {
            Created::Existed => Ok(()),
            Created::New => Err(StoreError::NotExclusive { url: self.url.clone() }),
        }
    }

    fn path(&self, key: &str) -> Path {
        key.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn failed(&self, verb: &'static str, key: &str) -> impl FnOnce(Error) -> StoreError + use<> {
        let (key, url) = (key.to_owned(), self.url.clone());
        move |source| StoreError::Request { verb, key, url, source: Box::new(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn behaves(store: &Store) {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(store.get("a/one").await.unwrap(), None);
        assert_eq!(store.create("a/one", bytes("first")).await.unwrap(), Created::New);
        assert_eq!(store.create("a/one", bytes("second")).await.unwrap(), Created::Existed);
        assert_eq!(store.get("a/one").await.unwrap(), Some(bytes("first")));
        store.put("a/two", bytes("0123456789")).await.unwrap();
        store.put("a/two", bytes("abcdefghij")).await.unwrap();
        assert_eq!(store.get("a/two").await.unwrap(), Some(bytes("abcdefghij")));
        store.put_in_parts(&store.path("a/two"), bytes("in parts"), 3).await.unwrap();
        assert_eq!(store.get("a/two").await.unwrap(), Some(bytes("in parts")));
        store.put("b/c/d", Bytes::new()).await.unwrap();
        assert_eq!(store.list("a").await.unwrap(), ["a/one", "a/two"]);
        assert_eq!(store.list("b").await.unwrap(), ["b/c/d"]);
        assert!(store.list("nothing").await.unwrap().is_empty());
        assert!(store.has("b/c/d").await.unwrap() && !store.has("b/c").await.unwrap());
        store.delete("a/one").await.unwrap();
        store.delete("a/one").await.unwrap();
        assert_eq!(store.list("a").await.unwrap(), ["a/two"]);
        store.probe().await.unwrap();
        // Another process has seen to that before.
        store.probe().await.unwrap();
    }

    #[tokio::test]
    async fn folders_and_memory_keep_objects_and_create_each_once() {
        behaves(&Store::in_memory()).await;
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("new").join("store").to_str().unwrap().parse().unwrap();
        behaves(&Store::open(&url).unwrap()).await;
        // What one has written, another finds.
        assert!(Store::open(&url).unwrap().has("a/two").await.unwrap());
    }

    #[tokio::test]
    async fn what_is_too_large_for_one_request_is_written_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().to_str().unwrap().parse().unwrap()).unwrap();
        let bytes = Bytes::from(vec![7; PART_BYTES + 1]);
        store.put("large", bytes.clone()).await.unwrap();
        assert!(store.get("large").await.unwrap() == Some(bytes));
    }

    #[tokio::test]
    async fn one_of_many_creates() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().to_str().unwrap().parse().unwrap()).unwrap();
        let racers = (0..32_u8).map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.create("term", Bytes::from(vec![number])).await.unwrap() })
        });
        let mut created = 0;
        for racer in racers.collect::<Vec<_>>() {
            created += usize::from(racer.await.unwrap() == Created::New);
        }
        assert_eq!(created, 1);
    }
}
