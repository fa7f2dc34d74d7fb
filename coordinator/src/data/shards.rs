//! The shards of a run, ready to serve: cut from the prepared data, or fetched from where another process put them.
//!
//! The hashes are needed before the first volunteer. The bytes are encoded and compressed when somebody opens
//! the page, or at the first request, and then kept compressed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use protocol::plan::{Set, SetPlan, SetPlans, ShardRef};
use protocol::shard::{self, Lent, LentRows, Shard, Values};
use tokio::runtime::Handle;

use super::cabinet::{Cabinet, gzip};
use super::examples::Examples;
use super::{DataError, ExampleTable, FeatureValues, Prepared};
use crate::store::Store;

/// Aim for a shard's bytes of rows. Shards should be large, to compress well and to be few, because each
/// costs a browser some milliseconds. They should be small, so that a tab begins after a short download.
const SHARD_BYTES: usize = 2 << 20;
/// Bytes of shards that are compressed before a request: about a second on one core.
const AHEAD_BYTES: u64 = 256 << 20;

/// Every shard of a run.
#[derive(Debug)]
pub struct ShardStore {
    source: Source,
    shards: BTreeMap<[u8; 32], Cut>,
    /// In the order in which they were cut.
    hashes: Vec<[u8; 32]>,
    /// Whether [`ShardStore::compress_ahead`] has been asked for.
    ahead: AtomicBool,
}

/// Where the shards come from.
#[derive(Debug)]
enum Source {
    /// They are encoded from the data.
    Prepared(Arc<Prepared>),
    /// They are read from where this process or another has put them.
    Kept(Arc<Cabinet>),
}

/// The features of a set in memory, of one of their two types.
struct InSet {
    data: Arc<Prepared>,
    set: Set,
}

impl InSet {
    fn values(&self) -> Option<&FeatureValues> {
        Some(self.data.examples(self.set)?.in_memory()?.features().values())
    }
}

impl AsRef<[u8]> for InSet {
    fn as_ref(&self) -> &[u8] {
        if let Some(FeatureValues::U8(values)) = self.values() { values } else { &[] }
    }
}

impl AsRef<[f32]> for InSet {
    fn as_ref(&self) -> &[f32] {
        if let Some(FeatureValues::F32(values)) = self.values() { values } else { &[] }
    }
}

#[derive(Debug)]
struct Cut {
    set: Set,
    examples: Range<usize>,
    compressed: OnceLock<Bytes>,
}

impl ShardStore {
    /// Cuts all sets into units of `examples_per_unit` and shards of whole units, unless they are cut already.
    pub fn cut(data: Arc<Prepared>, examples_per_unit: u32) -> (ShardStore, SetPlans) {
        let (shards, hashes) = (BTreeMap::new(), Vec::new());
        let source = match &data.train {
            Examples::Shards(shards) => Source::Kept(Arc::clone(&shards.cabinet)),
            _ => Source::Prepared(Arc::clone(&data)),
        };
        let mut store = ShardStore { source, shards, hashes, ahead: AtomicBool::new(false) };
        let plans = SetPlans {
            training: store.cut_set(&data, Set::Training, examples_per_unit),
            validation: store.cut_set(&data, Set::Validation, examples_per_unit),
            test: store.cut_set(&data, Set::Test, examples_per_unit),
        };
        (store, plans)
    }

    /// The shards of a run that another process has cut and put into a store.
    pub fn stored(store: Store, runtime: Handle, plans: &SetPlans) -> ShardStore {
        let mut shards = BTreeMap::new();
        let mut hashes = Vec::new();
        for set in [Set::Training, Set::Validation, Set::Test] {
            let plan = plans.of(set);
            for (index, shard) in (0..).zip(&plan.shards) {
                let range = plan.examples_in_shard(index);
                let examples = range.start as usize..range.end as usize;
                shards.insert(shard.hash, Cut { set, examples, compressed: OnceLock::new() });
                hashes.push(shard.hash);
            }
        }
        let source = Source::Kept(Arc::new(Cabinet::of_store(store, runtime)));
        ShardStore { source, shards, hashes, ahead: AtomicBool::new(true) }
    }

    /// The encoded shard of that hash; `None` if the run has none, or if it cannot be read now. It waits for the disk
    /// or the store where memory does not hold the data.
    pub fn encoded(&self, hash: &[u8; 32]) -> Option<Vec<u8>> {
        let cut = self.shards.get(hash)?;
        match &self.source {
            Source::Prepared(data) => Some(encode(data, cut.set, cut.examples.clone())),
            // Who keeps the store may have changed it; reading checks the hash.
            Source::Kept(cabinet) => cabinet.read(hash).inspect_err(unread).ok().map(|bytes| bytes.to_vec()),
        }
    }

    /// The shard of that hash, whose rows are those of the data; `None` if memory does not hold these, or if the run
    /// has none.
    pub fn lent(&self, hash: &[u8; 32]) -> Option<Shard> {
        let cut = self.shards.get(hash)?;
        let Source::Prepared(data) = &self.source else { return None };
        let table = data.examples(cut.set)?.in_memory()?;
        let (columns, of) = (table.features().columns(), InSet { data: Arc::clone(data), set: cut.set });
        let range = cut.examples.start * columns..cut.examples.end * columns;
        let rows = match table.features().values() {
            FeatureValues::U8(_) => LentRows::U8(Lent::new(Arc::new(of) as Values<u8>, range)?),
            FeatureValues::F32(_) => LentRows::F32(Lent::new(Arc::new(of) as Values<f32>, range)?),
        };
        Shard::lent(rows, columns, &table.targets(cut.examples.clone()))
    }

    /// Whether the run has a shard of that hash.
    pub fn has(&self, hash: &[u8; 32]) -> bool {
        self.shards.contains_key(hash)
    }

    /// Whether shards are read from a disk or a store.
    pub fn is_outside(&self) -> bool {
        matches!(self.source, Source::Kept(_))
    }

    /// The encoded shard of that hash, compressed with gzip; `None` as above.
    pub fn compressed(&self, hash: &[u8; 32]) -> Option<Bytes> {
        let cut = self.shards.get(hash)?;
        let data = match &self.source {
            Source::Prepared(data) => data,
            Source::Kept(cabinet) => return cabinet.compressed(hash).inspect_err(unread).ok(),
        };
        let compress = || gzip(&encode(data, cut.set, cut.examples.clone()));
        Some(cut.compressed.get_or_init(compress).clone())
    }

    /// Compresses the first shards on a thread of their own, only once. A visitor who has opened the page
    /// will most likely need them, and should not wait then.
    pub fn compress_ahead(self: &Arc<Self>) {
        if self.ahead.swap(true, Ordering::Relaxed) {
            return;
        }
        let Source::Prepared(data) = &self.source else { return };
        let (store, bytes) = (Arc::clone(self), bytes_per_example(data));
        let compress = move || {
            let mut left = AHEAD_BYTES;
            for hash in &store.hashes {
                let rows = store.shards[hash].examples.len() * bytes;
                let Some(rest) = left.checked_sub(rows as u64) else { return };
                left = rest;
                store.compressed(hash);
            }
        };
        // Without a free thread, requests compress the shards.
        let _ = std::thread::Builder::new().name("shards".into()).spawn(compress);
    }

    fn cut_set(&mut self, data: &Prepared, set: Set, examples_per_unit: u32) -> SetPlan {
        let plan = match data.examples(set) {
            Some(Examples::Shards(shards)) => shards.plan().clone(),
            _ => cut_memory(data, set, examples_per_unit),
        };
        for (index, shard) in (0..).zip(&plan.shards) {
            let range = plan.examples_in_shard(index);
            let examples = range.start as usize..range.end as usize;
            self.shards.insert(shard.hash, Cut { set, examples, compressed: OnceLock::new() });
            self.hashes.push(shard.hash);
        }
        plan
    }
}

fn unread(error: &DataError) {
    tracing::warn!("{error}");
}

fn cut_memory(data: &Prepared, set: Set, examples_per_unit: u32) -> SetPlan {
    let mut plan = empty_plan(data, set, examples_per_unit);
    for index in 0..plan.units().div_ceil(plan.units_per_shard) {
        let range = plan.examples_in_shard(index);
        let encoded = encode(data, set, range.start as usize..range.end as usize);
        let hash = *blake3::hash(&encoded).as_bytes();
        // A length too large for the type is too large for the protocol, which refuses it.
        let bytes = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        plan.shards.push(ShardRef { hash, bytes });
    }
    plan
}

/// How a set is cut, without its shards.
pub(super) fn empty_plan(data: &Prepared, set: Set, examples_per_unit: u32) -> SetPlan {
    let examples = data.examples(set).map_or(0, Examples::len);
    let unit_bytes = examples_per_unit as usize * bytes_per_example(data);
    let units_per_shard = (SHARD_BYTES / unit_bytes.max(1)).max(1) as u32;
    let examples = u32::try_from(examples).expect("data sets are limited to fewer examples");
    SetPlan { examples, examples_per_unit, units_per_shard, shards: Vec::new() }
}

fn encode(data: &Prepared, set: Set, examples: Range<usize>) -> Vec<u8> {
    let table: Option<&ExampleTable> = data.examples(set).and_then(Examples::in_memory);
    let table = table.expect("only sets in memory are encoded here");
    shard::encode(&table.rows(examples.clone()), &table.targets(examples))
}

fn bytes_per_example(data: &Prepared) -> usize {
    let size = match &data.train {
        Examples::Memory(table) if matches!(table.features().values(), FeatureValues::U8(_)) => 1,
        Examples::Columns(columns) if columns.as_bytes => 1,
        _ => 4,
    };
    data.train.columns() * size
}
