//! The hub's shards: which ones it holds, downloads, retries and evicts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::plan::{Set, ShardRef};
use protocol::shard::Shard;

use crate::shared_shard::SharedShard;

/// Maximum simultaneous downloads.
pub const FETCHES_MAX: usize = 2;
/// Maximum attempts to download a shard. After that, the hub declines the assignments that need it.
pub const FETCH_ATTEMPTS_MAX: u32 = 3;
/// Milliseconds before the next attempt to download a shard, times the failures so far.
const RETRY_MS: u64 = 500;

/// A shard's set and its index in the set's plan.
pub(super) type Key = (Set, u32);

/// The shards of one run.
#[derive(Debug, Default)]
pub(super) struct Shards {
    held: BTreeMap<Key, Held>,
    held_bytes: usize,
    underway: BTreeMap<u64, (Key, ShardRef)>,
    /// The failed attempts to download each shard.
    failures: BTreeMap<Key, Failures>,
    fetches: u64,
    uses: u64,
}

#[derive(Debug)]
struct Held {
    content: Arc<SharedShard>,
    /// Those of the encoded shard.
    bytes: usize,
    used: u64,
}

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    again_ms: u64,
    damaged: bool,
}

/// A download to begin.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) fetch: u64,
    pub(super) shard: ShardRef,
    pub(super) fresh: bool,
}

/// The result of a download.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The shard is held or will be tried again, or the download is unknown.
    Settled,
    /// The download failed too often: assignments that need the shard must be declined.
    GivenUp(Key),
}

impl Shards {
    /// Forgets everything because another run begins. Downloads under way become unknown.
    pub(super) fn clear(&mut self) {
        *self = Shards { fetches: self.fetches, ..Shards::default() };
    }

    pub(super) fn holds(&self, key: Key) -> bool {
        self.held.contains_key(&key)
    }

    pub(super) fn held(&self) -> impl Iterator<Item = Key> {
        self.held.keys().copied()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The content of a shard, which counts as used now.
    pub(super) fn content(&mut self, key: Key) -> Option<Arc<SharedShard>> {
        self.uses += 1;
        let held = self.held.get_mut(&key)?;
        held.used = self.uses;
        Some(held.content.clone())
    }

    /// Chooses downloads to begin for `wanted`, which is in order of urgency. It evicts shards to make room,
    /// the least recently used first, but evicts a wanted shard only if one of the first `urgent` needs the
    /// room. If the wanted shards alone exceed `limit` bytes, they are downloaded one after the other, except
    /// for the first `urgent`, which one unit needs together.
    pub(super) fn begin_fetches(
        &mut self,
        now_ms: u64,
        limit: usize,
        wanted: &[(Key, ShardRef)],
        urgent: usize,
    ) -> (Vec<Fetch>, Vec<Key>) {
        let (mut begun, mut evicted) = (Vec::new(), Vec::new());
        let needed: BTreeSet<Key> = wanted.iter().map(|(key, _)| *key).collect();
        let needed_now: BTreeSet<Key> = wanted.iter().take(urgent).map(|(key, _)| *key).collect();
        for (index, &(key, shard)) in wanted.iter().enumerate() {
            if self.underway.len() >= FETCHES_MAX {
                break;
            }
            let delayed = self.failures.get(&key).is_some_and(|failures| now_ms < failures.again_ms);
            if self.holds(key) || delayed || self.underway.values().any(|(other, _)| *other == key) {
                continue;
            }
            let coming: usize = self.underway.values().map(|(_, shard)| shard.bytes as usize).sum();
            let occupied = coming + shard.bytes as usize;
            let room = limit.saturating_sub(occupied);
            evicted.extend(self.evict(room, &needed));
            if index < urgent {
                evicted.extend(self.evict(room, &needed_now));
            }
            let alone = self.underway.is_empty() && !needed.iter().any(|key| self.holds(*key));
            if self.held_bytes + occupied > limit && !alone && index >= urgent {
                break;
            }
            self.fetches += 1;
            self.underway.insert(self.fetches, (key, shard));
            let fresh = self.failures.get(&key).is_some_and(|failures| failures.damaged);
            begun.push(Fetch { fetch: self.fetches, shard, fresh });
        }
        (begun, evicted)
    }

    /// Takes a downloaded shard, if its bytes match the hash that names it.
    pub(super) fn arrived(&mut self, now_ms: u64, fetch: u64, bytes: Vec<u8>) -> Ended {
        let Some((key, shard)) = self.underway.remove(&fetch) else { return Ended::Settled };
        if bytes.len() != shard.bytes as usize || *blake3::hash(&bytes).as_bytes() != shard.hash {
            return self.count_failure(now_ms, key, true);
        }
        self.hold(key, shard, SharedShard::new(bytes))
    }

    /// Takes a shard that this process has in memory, whose owner answers for its content.
    pub(super) fn lent(&mut self, fetch: u64, content: Shard) -> Ended {
        let Some((key, shard)) = self.underway.remove(&fetch) else { return Ended::Settled };
        self.hold(key, shard, SharedShard::lent(content))
    }

    fn hold(&mut self, key: Key, shard: ShardRef, content: SharedShard) -> Ended {
        self.failures.remove(&key);
        self.uses += 1;
        let bytes = shard.bytes as usize;
        self.held_bytes += bytes;
        self.held.insert(key, Held { content: Arc::new(content), bytes, used: self.uses });
        Ended::Settled
    }

    /// Records a failed download.
    pub(super) fn failed(&mut self, now_ms: u64, fetch: u64) -> Ended {
        match self.underway.remove(&fetch) {
            Some((key, _)) => self.count_failure(now_ms, key, false),
            None => Ended::Settled,
        }
    }

    /// The earliest time after `now_ms` at which a wanted shard may be tried again.
    pub(super) fn again_ms(&self, now_ms: u64, wanted: &[(Key, ShardRef)]) -> Option<u64> {
        let failures = wanted.iter().filter_map(|(key, _)| self.failures.get(key));
        failures.map(|failures| failures.again_ms).filter(|again| *again > now_ms).min()
    }

    fn count_failure(&mut self, now_ms: u64, key: Key, damaged: bool) -> Ended {
        let failures = self.failures.entry(key).or_default();
        failures.count += 1;
        failures.damaged |= damaged;
        failures.again_ms = now_ms.saturating_add(RETRY_MS * u64::from(failures.count));
        if failures.count < FETCH_ATTEMPTS_MAX {
            return Ended::Settled;
        }
        // A later assignment may try again.
        self.failures.remove(&key);
        Ended::GivenUp(key)
    }

    fn evict(&mut self, limit: usize, needed: &BTreeSet<Key>) -> Vec<Key> {
        let mut evicted = Vec::new();
        while self.held_bytes > limit {
            let candidates = self.held.iter().filter(|(key, _)| !needed.contains(key));
            let Some((&key, _)) = candidates.min_by_key(|(_, held)| held.used) else { break };
            if let Some(held) = self.held.remove(&key) {
                self.held_bytes -= held.bytes;
            }
            evicted.push(key);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u8) -> (Key, ShardRef, Vec<u8>) {
        let bytes = vec![number; 100];
        let hash = *blake3::hash(&bytes).as_bytes();
        ((Set::Training, number.into()), ShardRef { hash, bytes: 100 }, bytes)
    }

    fn fetch_all(shards: &mut Shards, limit: usize, numbers: &[u8]) -> Vec<Key> {
        let wanted: Vec<_> = numbers.iter().map(|number| shard(*number)).collect();
        let wanted: Vec<_> = wanted.into_iter().map(|(key, shard, _)| (key, shard)).collect();
        let (begun, evicted) = shards.begin_fetches(0, limit, &wanted, 1);
        for fetch in begun {
            let number = (0..=u8::MAX).find(|number| shard(*number).1 == fetch.shard).unwrap();
            assert_eq!(shards.arrived(0, fetch.fetch, shard(number).2), Ended::Settled);
        }
        evicted
    }

    #[test]
    fn evicts_the_least_recently_used_but_never_a_wanted_one() {
        let mut shards = Shards::default();
        fetch_all(&mut shards, 300, &[0, 1]);
        fetch_all(&mut shards, 300, &[2]);
        shards.content((Set::Training, 0));
        assert_eq!(fetch_all(&mut shards, 300, &[1, 3]), [(Set::Training, 2)]);
        assert!(shards.holds((Set::Training, 0)) && shards.holds((Set::Training, 1)));
        assert_eq!(shards.held_bytes(), 300);
    }

    #[test]
    fn wanted_shards_beyond_the_limit_come_one_after_the_other() {
        let mut shards = Shards::default();
        fetch_all(&mut shards, 50, &[0, 1]);
        assert_eq!(shards.held().collect::<Vec<_>>(), [(Set::Training, 0)]);
        fetch_all(&mut shards, 50, &[0, 1]);
        assert_eq!(shards.held().collect::<Vec<_>>(), [(Set::Training, 0)]);
        assert_eq!(fetch_all(&mut shards, 50, &[1]), [(Set::Training, 0)]);
        assert_eq!(shards.held().collect::<Vec<_>>(), [(Set::Training, 1)]);
    }

    /// The shards that one unit needs together are downloaded in any case, in place of shards for later
    /// units.
    #[test]
    fn urgent_shards_take_the_room_of_wanted_ones() {
        let mut shards = Shards::default();
        fetch_all(&mut shards, 200, &[3, 4]);
        let wanted: Vec<_> =
            [1, 2, 3, 4].into_iter().map(|number| (shard(number).0, shard(number).1)).collect();
        let (begun, evicted) = shards.begin_fetches(0, 200, &wanted, 2);
        assert_eq!(begun.len(), 2);
        assert_eq!(evicted, [(Set::Training, 3), (Set::Training, 4)]);
    }

    #[test]
    fn a_failed_download_waits_and_a_damaged_one_is_asked_for_fresh() {
        let mut shards = Shards::default();
        let (key, reference, _) = shard(1);
        let wanted = [(key, reference)];
        let begin = |shards: &mut Shards, now| shards.begin_fetches(now, 1000, &wanted, 1).0.pop();
        let first = begin(&mut shards, 0).unwrap();
        assert!(!first.fresh);
        assert_eq!(shards.failed(0, first.fetch), Ended::Settled);
        assert!(begin(&mut shards, 499).is_none());
        assert_eq!(shards.again_ms(499, &wanted), Some(500));
        let second = begin(&mut shards, 500).unwrap();
        assert_eq!(shards.arrived(500, second.fetch, vec![7; 100]), Ended::Settled);
        let third = begin(&mut shards, 1500).unwrap();
        assert!(third.fresh);
        assert_eq!(shards.failed(1500, third.fetch), Ended::GivenUp(key));
        assert!(begin(&mut shards, 1500).is_some());
    }
}
