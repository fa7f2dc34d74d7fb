//! The metrics in the store: they grow with the training, and objects cannot be appended to.
//!
//! Most of their bytes stand in *pieces*: objects of equal size that are written once, each of which names the one
//! before. A state names the last piece, and holds the bytes after it. So a state does not grow with the training.
//! Whoever goes on from it gets the bytes that it was saved with, whatever was written later: a piece that no state
//! leads to is no matter.

use std::collections::BTreeMap;

use ::gateway::{Name, name_of};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::archive::hex;
use crate::store::{Store, StoreError};

/// Bytes of metrics in a piece. A state has fewer of its own.
pub(super) const PIECE_BYTES: usize = 1 << 17;
const FOLDER: &str = "metrics";
const NAME_BYTES: usize = size_of::<Name>();
/// What the first piece has in the place of a name.
const NONE: Name = [0; NAME_BYTES];
/// Pieces that are fetched at the same time.
const FETCHES_MAX: usize = 8;

/// The pieces in the store that the metrics begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces(Vec<Name>);

impl Pieces {
    /// Bytes of metrics in them.
    pub fn bytes(&self) -> u64 {
        (self.0.len() * PIECE_BYTES) as u64
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The name of the last.
    pub fn last(&self) -> Name {
        self.0.last().copied().unwrap_or(NONE)
    }

    /// Only so many bytes of the metrics are what they were: pieces with others count no more. Answers with the bytes
    /// in those that are left.
    pub fn cut(&mut self, bytes: u64) -> u64 {
        self.0.truncate(usize::try_from(bytes).unwrap_or(usize::MAX) / PIECE_BYTES);
        self.bytes()
    }

    /// Puts into the store what of the metrics after these pieces fills others. Answers with the rest.
    ///
    /// # Errors
    /// When the store fails. Pieces that are there by then count.
    pub async fn put<'a>(&mut self, store: &Store, mut bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
        while let Some((piece, rest)) = bytes.split_at_checked(PIECE_BYTES) {
            let object = [&self.last()[..], piece].concat();
            let name = name_of(&object);
            store.put(&key(self.count(), &name), object.into()).await?;
            self.0.push(name);
            bytes = rest;
        }
        Ok(bytes)
    }

    /// So many pieces, of which the last has this name, and the bytes of metrics in them; `None` if one is missing or
    /// damaged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(store: &Store, count: u64, last: Name) -> Result<Option<(Pieces, Vec<u8>)>, StoreError> {
        let mut found = candidates(store, count).await?;
        let (mut names, mut before) = (Vec::new(), last);
        while before != NONE {
            let Some(object) = found.get(&before) else { return Ok(None) };
            names.push(before);
            before.copy_from_slice(&object[..NAME_BYTES]);
        }
        names.reverse();
        let bytes = names.iter().filter_map(|name| found.remove(name));
        let bytes: Vec<u8> = bytes.flat_map(|object| object.slice(NAME_BYTES..)).collect();
        Ok((names.len() as u64 == count).then_some((Pieces(names), bytes)))
    }
}

/// All whole pieces under the first so many numbers. There may be several of a number: leaders that a newer one has
/// replaced, and trainings that went back, have left theirs.
async fn candidates(store: &Store, count: u64) -> Result<BTreeMap<Name, Bytes>, StoreError> {
    if count == 0 {
        return Ok(BTreeMap::new());
    }
    let mut keys = store.list(FOLDER).await?;
    keys.retain(|key| *key < format!("{FOLDER}/{count:020}"));
    let fetched = stream::iter(keys).map(|key| {
        let store = store.clone();
        async move { store.get(&key).await }
    });
    let fetched: Vec<Option<Bytes>> = fetched.buffer_unordered(FETCHES_MAX).try_collect().await?;
    let is_whole = |object: &Bytes| object.len() == NAME_BYTES + PIECE_BYTES;
    Ok(fetched.into_iter().flatten().filter(is_whole).map(|object| (name_of(&object), object)).collect())
}

fn key(number: u64, name: &Name) -> String {
    format!("{FOLDER}/{number:020}-{}", hex(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metrics of so many pieces and some bytes more.
    fn metrics(pieces: usize) -> Vec<u8> {
        (0..pieces * PIECE_BYTES + 9).map(|index| (index / 7) as u8).collect()
    }

    #[tokio::test]
    async fn each_piece_is_written_once_and_all_are_joined_again() {
        let (store, all) = (Store::in_memory(), metrics(3));
        let mut pieces = Pieces::default();
        for length in [5, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 9] {
            let bytes = &all[pieces.bytes() as usize..length];
            let rest = pieces.put(&store, bytes).await.unwrap();
            assert_eq!((rest.len(), pieces.bytes() as usize), (length % PIECE_BYTES, length - rest.len()));
        }
        assert_eq!(store.list(FOLDER).await.unwrap().len(), 3);
        let got = Pieces::get(&store, 3, pieces.last()).await.unwrap();
        assert_eq!(got, Some((pieces, all[..3 * PIECE_BYTES].to_vec())));
        assert_eq!(Pieces::get(&store, 0, NONE).await.unwrap(), Some((Pieces::default(), Vec::new())));
    }

    #[tokio::test]
    async fn what_others_have_left_is_no_matter_and_what_is_missing_or_damaged_is_noticed() {
        let (store, all) = (Store::in_memory(), metrics(3));
        let mut pieces = Pieces::default();
        pieces.put(&store, &all).await.unwrap();
        // The training goes back into the second piece, and another leader does not.
        let mut back = pieces.clone();
        assert_eq!(back.cut(2 * PIECE_BYTES as u64 - 1), PIECE_BYTES as u64);
        back.put(&store, &[7; 2 * PIECE_BYTES]).await.unwrap();
        let (again, bytes) = Pieces::get(&store, 3, back.last()).await.unwrap().unwrap();
        assert_eq!((&again, &bytes[PIECE_BYTES..]), (&back, &[7; 2 * PIECE_BYTES][..]));
        assert_eq!(Pieces::get(&store, 3, pieces.last()).await.unwrap().unwrap().1, all[..3 * PIECE_BYTES]);
        assert_eq!(Pieces::get(&store, 2, pieces.last()).await.unwrap(), None);
        store.put(&key(1, &back.0[1]), vec![7; NAME_BYTES + PIECE_BYTES].into()).await.unwrap();
        assert_eq!(Pieces::get(&store, 3, back.last()).await.unwrap(), None);
        store.delete(&key(0, &pieces.0[0])).await.unwrap();
        assert_eq!(Pieces::get(&store, 3, pieces.last()).await.unwrap(), None);
    }
}
