//! The shards that assignments need, and their downloads. [`super::shards`] keeps track of them.

use std::collections::BTreeSet;

use protocol::plan::ShardRef;

use super::shards::{Ended, Fetch, Key};
use super::underway::Underway;
use super::{CurrentRun, Hub, HubOutput};
use crate::run::Run;

impl Hub {
    pub(super) fn fetch(&mut self, now_ms: u64) {
        let Some(CurrentRun { run, .. }) = &self.run else { return };
        let needed = self.needed_shards(run);
        let limit = self.settings.shard_cache_bytes;
        let urgent = self.queue.iter().find_map(Underway::next_shards).map_or(0, |shards| shards.len());
        let (begun, evicted) = self.shards.begin_fetches(now_ms, limit, &needed, urgent);
        for key in evicted {
            self.crew.drop_shard(key, &mut self.outputs);
        }
        for Fetch { fetch, shard, fresh } in begun {
            let path = format!("/shards/{}", shard.name());
            self.outputs.push_back(HubOutput::Fetch { fetch, shard, path, fresh });
        }
    }

    pub(super) fn fetch_ended(&mut self, ended: Ended) {
        let Ended::GivenUp((set, shard)) = ended else { return };
        let needs = |underway: &Underway| {
            underway.part.set == set && underway.pending_shards().any(|index| index == shard)
        };
        while let Some(index) = self.queue.iter().position(needs) {
            self.decline_at(index, "a shard could not be downloaded, or its hash differs from its name");
        }
    }

    /// The shards that pending units need and the hub lacks, the most urgent first.
    pub(super) fn wanted_shards(&self) -> Vec<(Key, ShardRef)> {
        let Some(CurrentRun { run, .. }) = &self.run else { return Vec::new() };
        let mut missing = self.needed_shards(run);
        missing.retain(|(key, _)| !self.shards.holds(*key));
        missing
    }

    fn needed_shards(&self, run: &Run) -> Vec<(Key, ShardRef)> {
        let mut seen = BTreeSet::new();
        let mut needed = Vec::new();
        for underway in &self.queue {
            let set = underway.part.set;
            for index in underway.pending_shards() {
                if seen.insert((set, index))
                    && let Some(shard) = run.set(set).shards.get(index as usize)
                {
                    needed.push(((set, index), *shard));
                }
            }
        }
        needed
    }
}
