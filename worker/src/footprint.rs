//! How much memory a volunteer needs, before anything is computed.

use model::{Network, NonZeros};
use protocol::limits::LOCAL_EXAMPLES_MAX;
use protocol::message::Welcome;
use protocol::plan::{SetPlan, SetPlans, UnitLayout};

use crate::settings::Settings;

/// What one Web Worker or thread takes for itself before any data: its stack, its copy of the module's data, and in a
/// browser its own engine.
pub const BASE_BYTES: u64 = 16_000_000;

/// Bytes of one `f32` for each parameter: weights, direction, gradient, displacement.
const VECTOR: u64 = 4;
/// Bytes of one `i64` for each parameter: exact sums.
const SUMS: u64 = 8;
/// Bytes of an example's loss, and of its number in an order.
const EXAMPLE: u64 = 4;

/// The most memory that a volunteer takes, in bytes. With P parameters:
///
/// - a compute worker has the round's weights (4 P), one gradient, displacement or trial point (4 P), its exact sums
///   (8 P), the scratch of one sub-batch ([`Network::scratch_bytes`]), its share of the data, and what is on its way
///   between it and the hub, at most its sums (8 P). In a line search's round a direction (4 P) takes the place of the sums.
/// - the hub has the round's frame (4 P) and the next as it arrives (4 P), the merged sums of the assignment under way
///   (8 P) and those being added to them (8 P), and its share of the data. A result is packed as it is sent.
///
/// None of it grows with the units, and the data only up to [`DataFootprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Of the hub.
    pub hub_bytes: u64,
    /// Of each compute worker.
    pub core_bytes: u64,
}

/// How much of a run's data a volunteer holds at most, in bytes; nothing by default.
///
/// Shards up to the limits of [`Settings`], but always what one unit needs: a shard, or for a replica of local steps
/// all shards of its pool; and one more shard, as it arrives or is decoded. A compute worker has lists of what is not
/// zero beside its shards, at most a byte for each input, and a loss and a number for each example that a unit goes
/// through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataFootprint {
    /// In the hub.
    pub hub_bytes: u64,
    /// In each compute worker.
    pub core_bytes: u64,
}

impl Footprint {
    /// For a network and minibatches of that many examples.
    pub fn new(network: &Network, minibatch: usize, data: DataFootprint) -> Footprint {
        let vectors = (2 * VECTOR + 2 * SUMS) * network.parameters() as u64;
        let scratch = network.scratch_bytes(minibatch);
        let core_bytes = (BASE_BYTES + vectors).saturating_add(scratch).saturating_add(data.core_bytes);
        Footprint { hub_bytes: (BASE_BYTES + vectors).saturating_add(data.hub_bytes), core_bytes }
    }

    /// Of a run, for a volunteer with these settings.
    pub fn of_run(network: &Network, welcome: &Welcome, settings: &Settings) -> Footprint {
        let data = DataFootprint::new(network, welcome, settings);
        Footprint::new(network, welcome.minibatch as usize, data)
    }

    /// How many compute workers fit beside the hub into the memory that can be spared: none if the hub, or one of them,
    /// is more than the memory that a program can address here.
    pub fn cores(&self, settings: &Settings) -> u16 {
        if self.hub_bytes.max(self.core_bytes) > settings.address_space_bytes {
            return 0;
        }
        let cores = settings.memory_bytes.saturating_sub(self.hub_bytes) / self.core_bytes.max(1);
        u16::try_from(cores).unwrap_or(u16::MAX)
    }
}

impl DataFootprint {
    /// Of a run, for a volunteer with these settings.
    pub fn new(network: &Network, welcome: &Welcome, settings: &Settings) -> DataFootprint {
        let SetPlans { training, validation, test } = &welcome.sets;
        let sets = [training, validation, test];
        let (mut encoded, mut decoded) = (ShardSizes::default(), ShardSizes::default());
        for cut in sets {
            encoded.count(cut, |index| encoded_bytes(cut, index));
            decoded.count(cut, |index| decoded_bytes(network, cut, index));
        }
        let mut examples = sets.map(|cut| EXAMPLE * u64::from(cut.examples_per_unit.min(cut.examples)));
        if let Some(local) = welcome.local {
            let cut = training;
            let pool = cut.examples.div_ceil(local.replicas.max(1));
            let steps = u64::from(local.steps) * u64::from(welcome.minibatch.min(pool));
            // A loss and a place in the order each; and the pool in the order that is being drawn.
            let drawn = 2 * steps.min(LOCAL_EXAMPLES_MAX.into()) + u64::from(pool);
            examples[0] = examples[0].max(EXAMPLE * drawn);
            encoded.count_pools(cut, local.replicas, |index| encoded_bytes(cut, index));
            decoded.count_pools(cut, local.replicas, |index| decoded_bytes(network, cut, index));
        }
        // A pool comes while one other shard is on its way.
        encoded.of_unit = encoded.of_unit.saturating_add(encoded.largest);
        let held = |shards: &ShardSizes, limit: usize| shards.all.min(shards.of_unit.max(limit as u64));
        DataFootprint {
            hub_bytes: held(&encoded, settings.shard_cache_bytes).saturating_add(encoded.largest),
            core_bytes: held(&decoded, settings.compute_shard_bytes)
                .saturating_add(encoded.largest)
                .saturating_add(examples.into_iter().max().unwrap_or(0)),
        }
    }
}

/// Bytes of a shard as it travels and as the hub keeps it.
fn encoded_bytes(cut: &SetPlan, index: u32) -> u64 {
    cut.shards.get(index as usize).map_or(0, |shard| shard.bytes.into())
}

/// Bytes of a shard as a compute worker keeps it, at most: with lists of what is not zero, if they are of use.
pub(crate) fn decoded_bytes(network: &Network, cut: &SetPlan, index: u32) -> u64 {
    let examples = cut.examples_in_shard(index).len() as u64;
    let lists =
        if network.skips_zeros() { NonZeros::bytes_max(examples, network.features() as u64) } else { 0 };
    encoded_bytes(cut, index).saturating_add(lists)
}

/// Sizes of shards, in bytes.
#[derive(Debug, Default)]
struct ShardSizes {
    all: u64,
    largest: u64,
    /// All that one unit needs.
    of_unit: u64,
}

impl ShardSizes {
    /// Counts the shards of a set whose units lie in one shard each.
    fn count(&mut self, cut: &SetPlan, bytes: impl Fn(u32) -> u64) {
        for bytes in (0..cut.shards.len() as u32).map(bytes) {
            self.all = self.all.saturating_add(bytes);
            self.largest = self.largest.max(bytes);
            self.of_unit = self.of_unit.max(bytes);
        }
    }

    /// Looks at the pools of replicas of a set that has been counted.
    fn count_pools(&mut self, cut: &SetPlan, replicas: u32, bytes: impl Fn(u32) -> u64) {
        let layout = UnitLayout::Replicas(replicas);
        for replica in 0..replicas.min(cut.examples) {
            let pool = layout.shards_of(cut, replica).map(&bytes).fold(0, u64::saturating_add);
            self.of_unit = self.of_unit.max(pool);
        }
    }
}
