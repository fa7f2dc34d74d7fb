//! The units of one part that nobody has.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::units::Units;

/// Units of one part that nobody has, numbered through the round, by the first of the shards that each needs.
#[derive(Debug)]
pub(super) struct FreeUnits {
    by_shard: BTreeMap<u32, Units>,
    count: u32,
    begins: u32,
    /// The first shard that each of the part's units needs.
    homes: Vec<u32>,
}

impl FreeUnits {
    /// None of the units of a part that begins at unit `begins`. `homes` is the first shard of each.
    pub(super) fn none(begins: u32, homes: Vec<u32>) -> FreeUnits {
        FreeUnits { by_shard: BTreeMap::new(), count: 0, begins, homes }
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The free units whose first shard this is, in increasing order.
    pub(super) fn at(&self, shard: u32) -> impl Iterator<Item = u32> {
        self.by_shard.get(&shard).into_iter().flat_map(Units::iter)
    }

    /// First shards of free units, in increasing order.
    pub(super) fn shards(&self) -> impl Iterator<Item = u32> {
        self.by_shard.keys().copied()
    }

    /// How many those are.
    pub(super) fn shard_count(&self) -> usize {
        self.by_shard.len()
    }

    /// Adds units of the part. Answers with how many of them were not free.
    pub(super) fn insert(&mut self, units: Range<u32>) -> u32 {
        let before = self.count;
        for (home, range) in self.by_home(units) {
            self.count += self.by_shard.entry(home).or_default().insert(range);
        }
        self.count - before
    }

    /// Removes units of the part. Answers with how many of them were free.
    pub(super) fn remove(&mut self, units: Range<u32>) -> u32 {
        let before = self.count;
        for (home, range) in self.by_home(units) {
            let Some(free) = self.by_shard.get_mut(&home) else { continue };
            self.count -= free.remove(range);
            if free.is_empty() {
                self.by_shard.remove(&home);
            }
        }
        before - self.count
    }

    /// Takes out the last of the free units that lie side by side, at most so many.
    pub(super) fn pop_last(&mut self, most: u32) -> Option<Range<u32>> {
        let last = self.by_shard.last_key_value()?.1.ranges().last().filter(|_| most > 0)?;
        let range = last.end - most.min(last.end - last.start)..last.end;
        self.remove(range.clone());
        Some(range)
    }

    /// The units, with the first shard of each, as ranges of units that have it in common.
    fn by_home(&self, units: Range<u32>) -> Vec<(u32, Range<u32>)> {
        let homes = &self.homes[(units.start - self.begins) as usize..(units.end - self.begins) as usize];
        let mut start = units.start;
        let runs = homes.chunk_by(|a, b| a == b).map(|run| {
            let range = start..start + run.len() as u32;
            start = range.end;
            (run[0], range)
        });
        runs.collect()
    }
}
