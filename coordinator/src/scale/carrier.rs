//! Carries objects to the store and back, for whoever must not wait.

use std::sync::Arc;
use std::time::Duration;

use ::gateway::{Place, Term};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::archive::Archive;
use crate::store::Store;

/// The pause after a request that failed; the next is twice as long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Errands that may be under way. A leader has one for each gateway, and few of its own.
const ERRANDS_MAX: usize = 8192;
/// Objects that are fetched at a time, until they are dealt with.
const FETCHED_MAX: usize = 8;
/// Errands that are done and not dealt with.
const DONE_MAX: usize = 64;

/// An errand is done.
#[derive(Debug)]
pub enum Carried {
    /// The object is in the store.
    Stored(Place),
    /// The object, or `None` if there is none; with its room, which is free again when this is dropped.
    Fetched(Place, Option<Vec<u8>>, Room),
}

/// Room for an object that was fetched and is not dealt with.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// Runs errands to the store until each has succeeded. Dropping it ends them.
#[derive(Debug)]
pub struct Carrier {
    store: Store,
    runtime: Handle,
    errands: JoinSet<()>,
    done: mpsc::Sender<Carried>,
    rooms: Arc<Semaphore>,
}

impl Carrier {
    /// A carrier, and where it says what is done.
    pub fn new(store: Store, runtime: Handle) -> (Carrier, mpsc::Receiver<Carried>) {
        let (done, receiver) = mpsc::channel(DONE_MAX);
        let rooms = Arc::new(Semaphore::new(FETCHED_MAX));
        (Carrier { store, runtime, errands: JoinSet::new(), done, rooms }, receiver)
    }

    /// Puts an object into the store, however often that takes.
    pub fn put(&mut self, place: Place, bytes: Vec<u8>) {
        let (store, done, bytes) = (self.store.clone(), self.done.clone(), Bytes::from(bytes));
        self.spawn(async move {
            let key = Archive::key_of(&place);
            until_done(|| store.put(&key, bytes.clone())).await;
            let _ = done.send(Carried::Stored(place)).await;
        });
    }

    /// Gets an object, however often that takes.
    pub fn fetch(&mut self, place: Place) {
        let (store, done, rooms) = (self.store.clone(), self.done.clone(), Arc::clone(&self.rooms));
        self.spawn(async move {
            let Ok(room) = rooms.acquire_owned().await else { return };
            let key = Archive::key_of(&place);
            let bytes = until_done(|| store.get(&key)).await;
            let _ = done.send(Carried::Fetched(place, bytes.map(Vec::from), Room(room))).await;
        });
    }

    /// Removes an object. If that fails, it stays until the next term.
    pub fn remove(&mut self, place: Place) {
        let store = self.store.clone();
        self.spawn(async move {
            if let Err(error) = store.delete(&Archive::key_of(&place)).await {
                tracing::debug!("{error}");
            }
        });
    }

    /// Removes what older terms have left of their rounds.
    pub fn clear_before(&mut self, term: Term) {
        let archive = Archive::new(self.store.clone());
        self.spawn(async move {
            if let Err(error) = archive.clear_before(term).await {
                tracing::debug!("{error}");
            }
        });
    }

    fn spawn(&mut self, errand: impl Future<Output = ()> + Send + 'static) {
        while self.errands.try_join_next().is_some() {}
        // Somebody asks for more than the protocol allows. What is not done is asked for again.
        if self.errands.len() < ERRANDS_MAX {
            self.errands.spawn_on(errand, &self.runtime);
        }
    }
}

/// Tries until it works. Only dropping it ends that.
async fn until_done<T, F: Future<Output = Result<T, crate::store::StoreError>>>(
    mut request: impl FnMut() -> F,
) -> T {
    let mut pause = PAUSE;
    loop {
        match request().await {
            Ok(done) => return done,
            Err(error) => {
                let milliseconds = pause.as_millis();
                tracing::warn!("{error}; trying again in {milliseconds} ms");
                sleep(pause).await;
                pause = PAUSE_MAX.min(pause * 2);
            }
        }
    }
}
