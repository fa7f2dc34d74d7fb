//! How a coordinator enters a training of several processes: it makes the run's record, or finds it.

use std::sync::Arc;

use ::gateway::{BUS_VERSION, Term};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use protocol::PROTOCOL_VERSION;
use protocol::message::{FromCoordinator, Welcome};
use tokio::sync::watch;

use super::archive::{Archive, ArchiveError, Record};
use super::waiting::{Waits, until_there};
use super::{ScaleError, random};
use crate::config::StoreUrl;
use crate::data::ShardStore;
use crate::driver::Facts;
use crate::store::Store;

/// Shards on their way to the store at the same time.
const UPLOADS_MAX: usize = 8;

/// Joins the run in the store, or begins it there: first its shards, then the record that names them, so that whoever
/// finds the record finds the shards. Waits for a store that is away; `None` if `stop` turned true meanwhile.
///
/// # Errors
/// When the store cannot be used, or holds another run.
pub async fn begin(
    store: &StoreUrl,
    (settings, facts): (String, Facts),
    welcome: &Welcome,
    shards: &Arc<ShardStore>,
    stop: &watch::Receiver<bool>,
) -> Result<Option<(Archive, Record)>, ScaleError> {
    let Some(archive) = open(store, stop).await? else { return Ok(None) };
    let frame = FromCoordinator::Welcome(Box::new(welcome.clone())).encode();
    let (protocol, bus, realm, run) = (PROTOCOL_VERSION, BUS_VERSION, random()?, welcome.run);
    let new = Record { protocol, bus, realm, run, settings, facts, welcome: frame };
    let enter = async || {
        if let Some(record) = archive.record().await? {
            return match record.run == run {
                true => Ok(record),
                false => Err(ArchiveError::OtherRun(store.to_string())),
            };
        }
        upload(archive.store(), welcome, shards).await?;
        archive.begin(new.clone()).await
    };
    let record = until_there(Waits::Always, stop, enter).await?;
    Ok(record.map(|record| (archive, record)))
}

/// The record of the run in a store.
///
/// # Errors
/// When there is none, or it cannot be read.
pub async fn find(store: &StoreUrl) -> Result<Record, ScaleError> {
    let archive = Archive::new(Store::open(store).map_err(ArchiveError::from)?);
    let record = archive.record().await?;
    Ok(record.ok_or_else(|| ArchiveError::Empty(store.to_string()))?)
}

/// Takes the next term without asking anybody, with a random number: for a process that has no bus to be heard on. `None`
/// if another process has taken a term at the same time.
///
/// # Errors
/// When the store fails.
pub async fn next_term(archive: &Archive, nonce: u64) -> Result<Option<Term>, ArchiveError> {
    let number = archive.newest_term().await?.map_or(0, |term| term.number) + 1;
    take(archive, Term { number, nonce }).await
}

/// Takes that term, unless somebody else has.
async fn take(archive: &Archive, term: Term) -> Result<Option<Term>, ArchiveError> {
    archive.create_term(term).await?;
    // What the store has now decides: a first try may have worked without an answer.
    Ok(archive.newest_term().await?.filter(|newest| *newest == term))
}

/// Opens a store that several processes may share. Waits for one that is away; `None` if `stop` turned true meanwhile.
///
/// # Errors
/// When it cannot be used for that.
pub async fn open(store: &StoreUrl, stop: &watch::Receiver<bool>) -> Result<Option<Archive>, ScaleError> {
    let store = Store::open(store).map_err(ArchiveError::from)?;
    let probe = async || store.probe().await.map_err(ArchiveError::from);
    let probed = until_there(Waits::WhileAway, stop, probe).await?;
    Ok(probed.map(|()| Archive::new(store)))
}

async fn upload(store: &Store, welcome: &Welcome, shards: &Arc<ShardStore>) -> Result<(), ArchiveError> {
    let sets = [&welcome.sets.training, &welcome.sets.validation, &welcome.sets.test];
    let hashes = sets.into_iter().flat_map(|set| &set.shards).map(|shard| shard.hash);
    let hashes: Vec<[u8; 32]> = hashes.collect();
    stream::iter(hashes)
        .map(|hash| {
            let (store, shards) = (store.clone(), Arc::clone(shards));
            async move {
                let key = Archive::shard_key(&hash);
                if store.has(&key).await? {
                    return Ok(());
                }
                let compress = move || shards.compressed(&hash);
                let bytes: Option<Bytes> = tokio::task::spawn_blocking(compress).await.unwrap_or(None);
                match bytes {
                    Some(bytes) => store.put(&key, bytes).await.map_err(ArchiveError::from),
                    // A disk or a store that has the data does not give them.
                    None => Err(ArchiveError::Unread(key)),
                }
            }
        })
        .buffer_unordered(UPLOADS_MAX)
        .try_collect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_two_processes_that_take_a_term_at_the_same_time_one_leads() {
        let archive = Archive::new(Store::in_memory());
        let won = next_term(&archive, 9).await.unwrap();
        assert_eq!(won, Some(Term { number: 1, nonce: 9 }));
        // The others have looked before the term was there.
        for nonce in [5, 20] {
            assert_eq!(take(&archive, Term { number: 1, nonce }).await.unwrap(), None);
        }
        assert_eq!(archive.newest_term().await.unwrap(), won);
        assert_eq!(next_term(&archive, 5).await.unwrap(), Some(Term { number: 2, nonce: 5 }));
    }
}
