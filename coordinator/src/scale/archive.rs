//! What a run keeps in the store that its coordinators and gateways share.
//!
//! | object | content |
//! | --- | --- |
//! | `run` | the settings and what volunteers are told; created once, by the first coordinator |
//! | `terms/<number>` | who leads; each can be created once |
//! | `checkpoints/<term>-<sequence>-<hash>` | the state to go on from, and the end of the metrics up to there |
//! | `metrics/<number>-<hash>` | the metrics before that ([`pieces`](super::pieces)) |
//! | `rounds/<term>/<hash>` | frames of rounds and partial sums, until two rounds later |
//! | `shards/<hash>` | the data |
//! | `paused` | the operator has paused the training |
//! | `results/<term>/<file>` | the files of the run's directory, as the leader of that term has them at the end |
//! | `final` | the training has ended, with the results of one term; created once |
//! | `reopened/<number>` | the training goes on after its end of that number, to `final-<number + 1>`; created once |
//! | `pulse` | somebody leads: it changes every few seconds |

use std::collections::BTreeMap;

use ::gateway::{BUS_VERSION, Name, Place, StateName, Term, name_of as hash_of};
use bytes::Bytes;
use protocol::PROTOCOL_VERSION;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::pieces::Pieces;
use crate::driver::Facts;
use crate::run_directory::RunError;
use crate::store::{Created, Store, StoreError};

const RUN: &str = "run";
const TERMS: &str = "terms";
const CHECKPOINTS: &str = "checkpoints";
const ROUNDS: &str = "rounds";
const SHARDS: &str = "shards";
const RESULTS: &str = "results";
const PAUSED: &str = "paused";
const PULSE: &str = "pulse";
const REOPENED: &str = "reopened";
const FINAL: &str = "final";

/// What all coordinators and gateways of a run have to agree on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// [`PROTOCOL_VERSION`] of the program that made it.
    pub protocol: u16,
    /// [`BUS_VERSION`] of it.
    pub bus: u64,
    /// Random: names the run on the bus. Two runs that are alike do not hear each other.
    pub realm: u64,
    /// The run's number ([`crate::training::run_number`]).
    pub run: u64,
    /// The text of `run.toml`.
    pub settings: String,
    /// What the pages say of the run.
    pub facts: Facts,
    /// What every volunteer is told when it joins, as a frame.
    pub welcome: Vec<u8>,
}

/// A state to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// The bytes of a [`Checkpoint`](crate::driver::Checkpoint).
    pub checkpoint: Vec<u8>,
    /// The lines of `metrics.jsonl` up to there, and perhaps some more.
    pub metrics: Vec<u8>,
    /// The pieces in the store that they begin with.
    pub pieces: Pieces,
}

/// What an object of a state begins with. An older program, whose states begin with the checkpoint, takes it for the
/// checkpoint of another version, and says so.
const LAYOUT: [u8; 1] = [0];

/// A state as an object.
#[derive(Debug, Serialize, Deserialize)]
struct StateObject {
    /// [`LAYOUT`].
    layout: Vec<u8>,
    checkpoint: Vec<u8>,
    /// How many pieces the metrics begin with, and the name of the last.
    pieces: (u64, Name),
    /// The metrics after them.
    rest: Vec<u8>,
}

/// How a training has ended: the object `final`, as JSON, for people who look for the model in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The number of the term whose leader has ended it.
    pub term: u64,
    /// The folder of its results in the store.
    pub results: String,
    /// The BLAKE3 hash of each file there, as hexadecimal digits.
    pub files: BTreeMap<String, String>,
    /// Why it has ended, as a clause.
    pub reason: String,
}

/// What is in a store is not what a run keeps there, or belongs to another run.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no run.
    #[error("the store {0} holds no run; start one with shoal train --store {0} --link nats://...")]
    Empty(String),
    /// Another program made it.
    #[error(
        "the run in the store {url} was begun by another version of shoal (protocol version {found}, this shoal has \
         {PROTOCOL_VERSION}); use that version, or another --store"
    )]
    OtherProtocol {
        /// The store.
        url: String,
        /// The version that the run has.
        found: u16,
    },
    /// Another program made it, whose gateways say something else.
    #[error(
        "the run in the store {0} was begun by another version of shoal, which uses other messages on the bus; use \
         that version, or another --store"
    )]
    OtherBus(String),
    /// It is damaged.
    #[error("the object {key} in the store {url} is damaged; remove it, or use another --store")]
    Damaged {
        /// The object.
        key: String,
        /// The store.
        url: String,
    },
    /// A shard that this process has cut cannot be read back.
    #[error("cannot read back the shard {0} after the data were cut; check the disk, and start again")]
    Unread(String),
    /// What the store has cannot be kept in the run's directory.
    #[error(transparent)]
    Directory(#[from] RunError),
    /// It is another run.
    #[error(
        "the store {0} holds another run: its settings or data differ from those given here; use another --store, or \
         shoal resume {0}"
    )]
    OtherRun(String),
}

/// The objects of a run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Store,
}

impl Archive {
    /// The run in a store, or the place for one.
    pub fn new(store: Store) -> Archive {
        Archive { store }
    }

    /// Its store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The run's record; `None` if there is no run yet.
    ///
    /// # Errors
    /// When the store fails, or the run is of another version.
    pub async fn record(&self) -> Result<Option<Record>, ArchiveError> {
        let Some(bytes) = self.store.get(RUN).await? else { return Ok(None) };
        let damaged = || self.damaged(RUN);
        // The versions come first, so that they can be read whatever follows.
        let ((found, bus), _) = postcard::take_from_bytes::<(u16, u64)>(&bytes).map_err(|_| damaged())?;
        if found != PROTOCOL_VERSION {
            return Err(ArchiveError::OtherProtocol { url: self.store.to_string(), found });
        }
        if bus != BUS_VERSION {
            return Err(ArchiveError::OtherBus(self.store.to_string()));
        }
        postcard::from_bytes(&bytes).map(Some).map_err(|_| damaged())
    }

    /// Makes the run's record, or finds the one that is there.
    ///
    /// # Errors
    /// [`ArchiveError::OtherRun`] when that is of another run.
    pub async fn begin(&self, record: Record) -> Result<Record, ArchiveError> {
        let bytes = postcard::to_allocvec(&record).expect("a record has a form as bytes");
        if self.store.create(RUN, bytes.into()).await? == Created::New {
            return Ok(record);
        }
        let there = self.record().await?.ok_or_else(|| self.damaged(RUN))?;
        if there.run != record.run {
            return Err(ArchiveError::OtherRun(self.store.to_string()));
        }
        Ok(there)
    }

    /// The newest term; `None` if nobody has led yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_term(&self) -> Result<Option<Term>, ArchiveError> {
        let Some(key) = self.store.list(TERMS).await?.pop() else { return Ok(None) };
        let bytes = self.store.get(&key).await?;
        let term = bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok());
        term.map(Some).ok_or_else(|| self.damaged(&key))
    }

    /// Creates a term's object, if there is none of its number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_term(&self, term: Term) -> Result<(), ArchiveError> {
        let bytes = postcard::to_allocvec(&term).expect("a term has a form as bytes");
        self.store.create(&format!("{TERMS}/{:020}", term.number), bytes.into()).await?;
        Ok(())
    }

    /// Saves a state: a checkpoint, and `metrics` that follow those in `pieces`. Within a term, a state that comes
    /// later has a greater `sequence`. Older states are removed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save(
        &self,
        term: Term,
        sequence: u64,
        checkpoint: Vec<u8>,
        metrics: &[u8],
        pieces: &mut Pieces,
    ) -> Result<(), ArchiveError> {
        // Whoever finds the state finds its pieces.
        let rest = pieces.put(&self.store, metrics).await?.to_vec();
        let pieces = (pieces.count(), pieces.last());
        let object = StateObject { layout: LAYOUT.to_vec(), checkpoint, pieces, rest };
        let bytes = postcard::to_allocvec(&object).expect("a state has a form as bytes");
        let name = StateName::new(term, sequence, &bytes);
        self.store.put(&format!("{CHECKPOINTS}/{name}"), bytes.into()).await?;
        for old in name.superseded(&self.states().await?) {
            self.store.delete(&format!("{CHECKPOINTS}/{old}")).await?;
        }
        Ok(())
    }

    /// The newest state that is whole; `None` if none was saved.
    ///
    /// # Errors
    /// When the store fails, and when none of those that are there is whole.
    pub async fn newest_state(&self) -> Result<Option<SavedState>, ArchiveError> {
        let mut tried = Vec::new();
        loop {
            let mut names = self.states().await?;
            StateName::newest_first(&mut names);
            if names == tried {
                return match names.first() {
                    None => Ok(None),
                    Some(name) => Err(self.damaged(&format!("{CHECKPOINTS}/{name}"))),
                };
            }
            for name in &names {
                let key = format!("{CHECKPOINTS}/{name}");
                // One that is gone has made way for a newer one.
                let Some(bytes) = self.store.get(&key).await? else { continue };
                match self.state_of(&bytes).await? {
                    Some(state) if name.is_of(&bytes) => return Ok(Some(state)),
                    _ => tracing::warn!("{}; using the state before it", self.damaged(&key)),
                }
            }
            // While somebody saves states, there are others by now.
            tried = names;
        }
    }

    /// The state in an object; `None` if there is none in it, or if its metrics are not whole.
    async fn state_of(&self, bytes: &[u8]) -> Result<Option<SavedState>, ArchiveError> {
        let Ok((first, metrics)) = postcard::take_from_bytes::<Vec<u8>>(bytes) else { return Ok(None) };
        if first != LAYOUT {
            // One of an older program, with all of the metrics.
            let state = |metrics| SavedState { checkpoint: first, metrics, pieces: Pieces::default() };
            return Ok(postcard::from_bytes(metrics).ok().map(state));
        }
        let Ok(object) = postcard::from_bytes::<StateObject>(bytes) else { return Ok(None) };
        let (count, last) = object.pieces;
        let Some((pieces, mut metrics)) = Pieces::get(&self.store, count, last).await? else {
            return Ok(None);
        };
        metrics.extend(object.rest);
        Ok(Some(SavedState { checkpoint: object.checkpoint, metrics, pieces }))
    }

    /// The names of all states. Other objects are no states.
    async fn states(&self) -> Result<Vec<StateName>, ArchiveError> {
        let keys = self.store.list(CHECKPOINTS).await?;
        Ok(keys.iter().filter_map(|key| key.split_once('/')?.1.parse().ok()).collect())
    }

    /// Whether the operator has paused the training.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_paused(&self) -> Result<bool, ArchiveError> {
        Ok(self.store.has(PAUSED).await?)
    }

    /// Notes that the operator has paused the training, or lets it go on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_paused(&self, is_paused: bool) -> Result<(), ArchiveError> {
        match is_paused {
            true => self.store.put(PAUSED, Bytes::new()).await?,
            false => self.store.delete(PAUSED).await?,
        }
        Ok(())
    }

    /// Says that somebody leads, with a number that changes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn beat(&self, term: Term, number: u64) -> Result<(), ArchiveError> {
        let bytes = format!("{}-{number}", name_of(term));
        Ok(self.store.put(PULSE, bytes.into()).await?)
    }

    /// What was said so last; `None` if nobody leads.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pulse(&self) -> Result<Option<Bytes>, ArchiveError> {
        Ok(self.store.get(PULSE).await?)
    }

    /// Says that nobody leads.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rest(&self) -> Result<(), ArchiveError> {
        Ok(self.store.delete(PULSE).await?)
    }

    /// Where an object of a round is.
    pub fn key_of(place: &Place) -> String {
        format!("{ROUNDS}/{}/{}", name_of(place.term), hex(&place.name))
    }

    /// Removes what older terms have left of their rounds.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn clear_before(&self, term: Term) -> Result<(), ArchiveError> {
        let own = format!("{ROUNDS}/{}/", name_of(term));
        for key in self.store.list(ROUNDS).await? {
            if key < own {
                self.store.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// Where a shard is.
    pub fn shard_key(hash: &[u8; 32]) -> String {
        format!("{SHARDS}/{}", hex(hash))
    }

    /// Puts the files of a run's directory into the store, as the results of a term.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_results(
        &self,
        term: Term,
        files: Vec<(&'static str, Vec<u8>)>,
        reason: String,
    ) -> Result<End, ArchiveError> {
        let results = format!("{RESULTS}/{}", name_of(term));
        let mut end = End { term: term.number, results, files: BTreeMap::new(), reason };
        for (name, bytes) in files {
            end.files.insert(name.to_owned(), hex(&hash_of(&bytes)));
            self.store.put(&format!("{}/{name}", end.results), bytes.into()).await?;
        }
        Ok(end)
    }

    /// Says that the training has ended so, for the time of that number ([`Archive::reopenings`]), unless it has been
    /// said. Answers with what the store has then.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish(&self, number: u64, end: &End) -> Result<End, ArchiveError> {
        let (key, bytes) = (final_key(number), serde_json::to_vec(end).expect("an end has string keys"));
        self.store.create(&key, bytes.into()).await?;
        // Read whether this was first or not: a first try may have worked without an answer.
        self.end_of(number).await?.ok_or_else(|| self.damaged(&key))
    }

    /// How often a training that had ended was taken up again: the number of its next end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reopenings(&self) -> Result<u64, ArchiveError> {
        let last = self.store.list(REOPENED).await?.pop();
        Ok(last.and_then(|key| key.split_once('/')?.1.parse::<u64>().ok()).map_or(0, |last| last + 1))
    }

    /// Takes up a training that has ended, so that it can go on. Nothing happens to one that has not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reopen(&self) -> Result<(), ArchiveError> {
        let number = self.reopenings().await?;
        if self.end_of(number).await?.is_some() {
            self.store.create(&format!("{REOPENED}/{number:020}"), Bytes::new()).await?;
        }
        Ok(())
    }

    /// How the training has ended; `None` if it has not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end(&self) -> Result<Option<End>, ArchiveError> {
        self.end_of(self.reopenings().await?).await
    }

    async fn end_of(&self, number: u64) -> Result<Option<End>, ArchiveError> {
        let key = final_key(number);
        let Some(bytes) = self.store.get(&key).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|_| self.damaged(&key))
    }

    /// Whether the training has ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_finished(&self) -> Result<bool, ArchiveError> {
        Ok(self.store.has(&final_key(self.reopenings().await?)).await?)
    }

    /// The results with which the training has ended.
    ///
    /// # Errors
    /// When the store fails, and when a file is missing or damaged.
    pub async fn results(&self, end: &End) -> Result<Vec<(String, Bytes)>, ArchiveError> {
        let mut files = Vec::new();
        for (name, hash) in &end.files {
            let key = format!("{}/{name}", end.results);
            let bytes = self.store.get(&key).await?;
            let bytes = bytes.filter(|bytes| hex(&hash_of(bytes)) == *hash);
            files.push((name.clone(), bytes.ok_or_else(|| self.damaged(&key))?));
        }
        Ok(files)
    }

    /// Removes results that the training has not ended with.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_results(&self, end: &End) -> Result<(), ArchiveError> {
        for name in end.files.keys() {
            self.store.delete(&format!("{}/{name}", end.results)).await?;
        }
        Ok(())
    }

    fn damaged(&self, key: &str) -> ArchiveError {
        ArchiveError::Damaged { key: key.to_owned(), url: self.store.to_string() }
    }
}

/// The name of an end.
fn final_key(number: u64) -> String {
    match number {
        0 => FINAL.to_owned(),
        number => format!("{FINAL}-{number}"),
    }
}

/// In the order of terms.
fn name_of(term: Term) -> String {
    format!("{:020}-{:016x}", term.number, term.nonce)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pieces::PIECE_BYTES;
    use super::*;
    use crate::driver::{Checkpoint, CheckpointError};

    fn term(number: u64, nonce: u64) -> Term {
        Term { number, nonce }
    }

    async fn save(archive: &Archive, at: Term, sequence: u64, number: u8) {
        let mut pieces = Pieces::default();
        archive.save(at, sequence, vec![number], &[number; 3], &mut pieces).await.unwrap();
    }

    #[tokio::test]
    async fn the_newest_whole_state_of_any_term_is_found() {
        let archive = Archive::new(Store::in_memory());
        assert!(archive.newest_state().await.unwrap().is_none());
        for (at, sequence, number) in [(term(1, 9), 7, 1), (term(1, 9), 20, 2), (term(2, 3), 8, 3)] {
            save(&archive, at, sequence, number).await;
        }
        assert_eq!(archive.newest_state().await.unwrap().unwrap().checkpoint, [3]);
        save(&archive, term(2, 3), 10, 4).await;
        let keys = archive.store().list(CHECKPOINTS).await.unwrap();
        assert_eq!(keys.len(), 2);
        archive.store().put(&keys[1], Bytes::from_static(b"not a state")).await.unwrap();
        assert_eq!(archive.newest_state().await.unwrap().unwrap().checkpoint, [3]);
        for key in &keys {
            archive.store().put(key, Bytes::from_static(b"not a state")).await.unwrap();
        }
        assert!(matches!(archive.newest_state().await, Err(ArchiveError::Damaged { .. })));
    }

    #[tokio::test]
    async fn a_state_has_the_metrics_that_it_was_saved_with_and_writes_only_those_that_are_new() {
        let archive = Archive::new(Store::in_memory());
        let all: Vec<u8> = (0..10 * PIECE_BYTES).map(|index| (index / 11) as u8).collect();
        let (mut pieces, mut written) = (Pieces::default(), 0);
        for sequence in 1..40 {
            let length = all.len() * sequence / 40;
            let bytes = &all[pieces.bytes() as usize..length];
            written += bytes.len();
            archive.save(term(1, 9), sequence as u64, vec![1], bytes, &mut pieces).await.unwrap();
            let state = archive.newest_state().await.unwrap().unwrap();
            assert_eq!((state.checkpoint, state.pieces), (vec![1], pieces.clone()));
            assert!(state.metrics == all[..length], "{length} bytes");
        }
        assert!(written < 4 * all.len(), "{written} bytes for {}", all.len());
        // Its leader dies after a piece, and before the state that would have named it.
        let length = all.len() * 39 / 40;
        pieces.put(archive.store(), &all[pieces.bytes() as usize..]).await.unwrap();
        let mut state = archive.newest_state().await.unwrap().unwrap();
        assert!(state.metrics == all[..length]);
        // The next one goes on from there.
        let more = [&all[state.pieces.bytes() as usize..length], &[7; PIECE_BYTES]].concat();
        archive.save(term(2, 3), 1, vec![2], &more, &mut state.pieces).await.unwrap();
        let state = archive.newest_state().await.unwrap().unwrap();
        assert!(state.metrics == [&all[..length], &[7; PIECE_BYTES]].concat());
        // Without one of its pieces a state is damaged.
        for key in archive.store().list("metrics").await.unwrap() {
            archive.store().delete(&key).await.unwrap();
        }
        assert!(matches!(archive.newest_state().await, Err(ArchiveError::Damaged { .. })));
    }

    #[tokio::test]
    async fn a_state_of_an_older_program_is_read_and_it_takes_a_newer_one_for_one_of_another_version() {
        let archive = Archive::new(Store::in_memory());
        let (checkpoint, metrics, pieces) = (vec![5, 6, 7], b"{}\n".to_vec(), Pieces::default());
        let bytes = postcard::to_allocvec(&(&checkpoint, &metrics)).unwrap();
        let name = StateName::new(term(1, 9), 1, &bytes);
        archive.store().put(&format!("{CHECKPOINTS}/{name}"), bytes.into()).await.unwrap();
        let state = SavedState { checkpoint, metrics, pieces };
        assert_eq!(archive.newest_state().await.unwrap(), Some(state));

        save(&archive, term(2, 3), 1, 4).await;
        let newest = archive.store().list(CHECKPOINTS).await.unwrap().pop().unwrap();
        let bytes = archive.store().get(&newest).await.unwrap().unwrap();
        let (checkpoint, _) = postcard::from_bytes::<(Vec<u8>, Vec<u8>)>(&bytes).unwrap();
        assert!(matches!(Checkpoint::from_bytes(&checkpoint), Err(CheckpointError::OtherProtocol(0))));
    }

    #[tokio::test]
    async fn a_term_is_created_once_and_old_rounds_are_cleared() {
        let archive = Archive::new(Store::in_memory());
        assert_eq!(archive.newest_term().await.unwrap(), None);
        archive.create_term(term(9, 1)).await.unwrap();
        archive.create_term(term(9, 2)).await.unwrap();
        assert_eq!(archive.newest_term().await.unwrap(), Some(term(9, 1)));
        archive.create_term(term(10, 1)).await.unwrap();
        assert_eq!(archive.newest_term().await.unwrap(), Some(term(10, 1)));
        for number in [9, 10, 11] {
            let place = Place { term: term(number, 1), name: [number as u8; 32] };
            archive.store().put(&Archive::key_of(&place), Bytes::new()).await.unwrap();
        }
        archive.clear_before(term(10, 1)).await.unwrap();
        assert_eq!(archive.store().list(ROUNDS).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_training_ends_once_with_the_results_of_one_term_whoever_writes_others() {
        let archive = Archive::new(Store::in_memory());
        let files =
            |text: &str| vec![("model.safetensors", text.as_bytes().to_vec()), ("run.toml", Vec::new())];
        let save = |number, text| archive.save_results(term(number, 1), files(text), "so it is".to_owned());
        let (old, new) = (save(3, "old").await.unwrap(), save(4, "new").await.unwrap());
        assert_eq!(archive.end().await.unwrap(), None);
        archive.reopen().await.unwrap();
        assert_eq!(archive.reopenings().await.unwrap(), 0, "it has not ended");
        assert_eq!(archive.finish(0, &new).await.unwrap(), new);
        assert_eq!(archive.finish(0, &old).await.unwrap(), new, "the second takes the first one's");
        assert!(archive.has_finished().await.unwrap());
        // Whoever comes too late writes elsewhere.
        save(3, "older").await.unwrap();
        archive.remove_results(&old).await.unwrap();
        let end = archive.end().await.unwrap().unwrap();
        let results = archive.results(&end).await.unwrap();
        assert_eq!(results[0], ("model.safetensors".to_owned(), Bytes::from_static(b"new")));
        save(4, "damaged").await.unwrap();
        assert!(matches!(archive.results(&end).await, Err(ArchiveError::Damaged { .. })));
        // It is taken up again, and whoever ends the training that had ended ends nothing.
        archive.reopen().await.unwrap();
        assert!(!archive.has_finished().await.unwrap());
        assert_eq!(archive.finish(0, &old).await.unwrap(), new);
        assert_eq!(archive.end().await.unwrap(), None);
        let later = save(5, "later").await.unwrap();
        assert_eq!(archive.finish(archive.reopenings().await.unwrap(), &later).await.unwrap(), later);
        assert_eq!(archive.end().await.unwrap(), Some(later));
    }

    #[tokio::test]
    async fn a_store_keeps_one_run() {
        let record = |run, realm| Record {
            protocol: PROTOCOL_VERSION,
            bus: BUS_VERSION,
            realm,
            run,
            settings: String::new(),
            facts: Facts::default(),
            welcome: Vec::new(),
        };
        let archive = Archive::new(Store::in_memory());
        assert!(archive.record().await.unwrap().is_none());
        assert_eq!(archive.begin(record(5, 1)).await.unwrap().realm, 1);
        assert_eq!(archive.begin(record(5, 2)).await.unwrap().realm, 1, "the second finds the first");
        assert!(matches!(archive.begin(record(6, 3)).await, Err(ArchiveError::OtherRun(_))));
        let others = [
            Record { protocol: PROTOCOL_VERSION + 1, ..record(5, 1) },
            Record { bus: BUS_VERSION + 1, ..record(5, 1) },
        ];
        for other in others {
            archive.store().put(RUN, postcard::to_allocvec(&other).unwrap().into()).await.unwrap();
            let error = archive.record().await.unwrap_err().to_string();
            assert!(error.contains("another version"), "{error}");
        }
    }
}
