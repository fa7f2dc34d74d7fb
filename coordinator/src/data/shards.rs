//! Cuts the prepared data into shards and keeps them ready to serve.
//!
//! The hashes are needed before the first volunteer. The bytes are encoded and compressed when somebody opens
//! the page, or at the first request, and then kept compressed.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use protocol::plan::{Set, SetPlan, SetPlans, ShardRef};
use protocol::shard;

use super::{ExampleTable, FeatureValues, Prepared};

/// Aim for a shard's bytes of rows. Shards should be large, to compress well and to be few, because each
/// costs a browser some milliseconds. They should be small, so that a tab begins after a short download.
const SHARD_BYTES: usize = 2 << 20;
/// Bytes of shards that are compressed before a request: about a second on one core.
const AHEAD_BYTES: u64 = 256 << 20;

/// Every shard of a run.
#[derive(Debug)]
pub struct ShardStore {
    data: Arc<Prepared>,
    shards: BTreeMap<[u8; 32], Stored>,
    /// In the order in which they were cut.
    hashes: Vec<[u8; 32]>,
    /// Whether [`ShardStore::compress_ahead`] has been asked for.
    ahead: AtomicBool,
}

#[derive(Debug)]
struct Stored {
    set: Set,
    examples: Range<usize>,
    compressed: OnceLock<Bytes>,
}

impl ShardStore {
    /// Cuts all sets into units of `examples_per_unit` and shards of whole units.
    pub fn cut(data: Arc<Prepared>, examples_per_unit: u32) -> (ShardStore, SetPlans) {
        let (shards, hashes) = (BTreeMap::new(), Vec::new());
        let mut store = ShardStore { data, shards, hashes, ahead: AtomicBool::new(false) };
        let plans = SetPlans {
            training: store.cut_set(Set::Training, examples_per_unit),
            validation: store.cut_set(Set::Validation, examples_per_unit),
            test: store.cut_set(Set::Test, examples_per_unit),
        };
        (store, plans)
    }

    /// The encoded shard of that hash.
    pub fn encoded(&self, hash: &[u8; 32]) -> Option<Vec<u8>> {
        self.shards.get(hash).map(|stored| self.encode(stored.set, stored.examples.clone()))
    }

    /// The encoded shard of that hash, compressed with gzip.
    pub fn compressed(&self, hash: &[u8; 32]) -> Option<Bytes> {
        let stored = self.shards.get(hash)?;
        let compress = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let encoded = self.encode(stored.set, stored.examples.clone());
            encoder.write_all(&encoded).expect("writing to memory does not fail");
            Bytes::from(encoder.finish().expect("writing to memory does not fail"))
        };
        Some(stored.compressed.get_or_init(compress).clone())
    }

    /// Compresses the first shards on a thread of their own, only once. A visitor who has opened the page
    /// will most likely need them, and should not wait then.
    pub fn compress_ahead(self: &Arc<Self>) {
        if self.ahead.swap(true, Ordering::Relaxed) {
            return;
        }
        let store = Arc::clone(self);
        let compress = move || {
            let mut left = AHEAD_BYTES;
            for hash in &store.hashes {
                let rows = store.shards[hash].examples.len() * bytes_per_example(&store.data);
                let Some(rest) = left.checked_sub(rows as u64) else { return };
                left = rest;
                store.compressed(hash);
            }
        };
        // Without a free thread, requests compress the shards.
        let _ = std::thread::Builder::new().name("shards".into()).spawn(compress);
    }

    fn cut_set(&mut self, set: Set, examples_per_unit: u32) -> SetPlan {
        let examples = self.data.table(set).map_or(0, ExampleTable::len);
        let unit_bytes = examples_per_unit as usize * bytes_per_example(&self.data);
        let units_per_shard = (SHARD_BYTES / unit_bytes.max(1)).max(1) as u32;
        let examples = u32::try_from(examples).expect("data sets are limited to fewer examples");
        let mut plan = SetPlan { examples, examples_per_unit, units_per_shard, shards: Vec::new() };
        for index in 0..plan.units().div_ceil(units_per_shard) {
            let range = plan.examples_in_shard(index);
            let range = range.start as usize..range.end as usize;
            let encoded = self.encode(set, range.clone());
            let hash = *blake3::hash(&encoded).as_bytes();
            // A length too large for the type is too large for the protocol, which refuses it.
            let bytes = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
            plan.shards.push(ShardRef { hash, bytes });
            let stored = Stored { set, examples: range, compressed: OnceLock::new() };
            self.shards.insert(hash, stored);
            self.hashes.push(hash);
        }
        plan
    }

    fn encode(&self, set: Set, examples: Range<usize>) -> Vec<u8> {
        let table = self.data.table(set).expect("only sets with examples have shards");
        shard::encode(&table.rows(examples.clone()), &table.targets(examples))
    }
}

fn bytes_per_example(data: &Prepared) -> usize {
    let features = data.train.features();
    let size = match features.values() {
        FeatureValues::U8(_) => 1,
        FeatureValues::F32(_) => 4,
    };
    features.columns() * size
}
