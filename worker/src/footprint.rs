//! The memory that a volunteer needs, computed in advance.

use model::{Network, NonZeros, Task};
use protocol::limits::LOCAL_EXAMPLES_MAX;
use protocol::message::Welcome;
use protocol::plan::{SetPlan, SetPlans, UnitLayout};

use crate::settings::Settings;

/// Bytes that one Web Worker or thread takes before any data: its stack, its copy of the module's data, and
/// in a browser its own engine.
pub const BASE_BYTES: u64 = 16_000_000;

/// Bytes of one `f32` for each parameter: weights, direction, gradient, displacement.
const VECTOR: u64 = 4;
/// Bytes of one `i64` for each parameter: exact sums.
const SUMS: u64 = 8;
/// Bytes of an example's loss, and also of its index in an order.
const EXAMPLE: u64 = 4;

/// The maximum memory of a volunteer, in bytes. With P parameters:
///
/// - A compute worker holds the round's weights (4 P), one gradient, displacement or trial point (4 P), its
///   exact sums (8 P), the scratch of one sub-batch ([`Network::scratch_bytes`]) and its share of the data. A
///   message between it and the hub carries at most its sums (8 P). In a line search's round a direction (4
///   P) replaces the sums.
/// - The hub holds the round's frame (4 P), the next frame as it arrives (4 P), the merged sums of the
///   assignment under way (8 P), the sums being added to them (8 P), and its share of the data. A result is
///   packed while it is sent.
///
/// No term grows with the number of units. The data take at most [`DataFootprint`]. The formula excludes the
/// browser's own message buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of the hub.
    pub hub_bytes: u64,
    /// Bytes of each compute worker.
    pub core_bytes: u64,
}

/// The maximum bytes of a run's data that a volunteer holds; none by default.
///
/// A volunteer holds shards up to the limits of [`Settings`], but always the shards of one unit (one shard,
/// or all shards of a replica's pool), plus one shard that is arriving or being decoded. A compute worker
/// also holds lists of its shards' nonzero inputs, at most one byte per input, and a loss and an index for
/// each example of a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataFootprint {
    /// Bytes in the hub.
    pub hub_bytes: u64,
    /// Bytes in each compute worker.
    pub core_bytes: u64,
}

impl Footprint {
    /// The footprint of a network with minibatches of `minibatch` examples and these data.
    pub fn new(network: &Network, minibatch: usize, data: DataFootprint) -> Footprint {
        let vectors = (2 * VECTOR + 2 * SUMS) * network.parameters() as u64;
        let scratch = network.scratch_bytes(minibatch);
        let core_bytes = (BASE_BYTES + vectors).saturating_add(scratch).saturating_add(data.core_bytes);
        Footprint { hub_bytes: (BASE_BYTES + vectors).saturating_add(data.hub_bytes), core_bytes }
    }

    /// The footprint of a run, for a volunteer with these settings.
    pub fn of_run(network: &Network, welcome: &Welcome, settings: &Settings) -> Footprint {
        let data = DataFootprint::new(network, welcome, settings);
        Footprint::new(network, welcome.minibatch as usize, data)
    }

    /// The number of compute workers that fit into the spare memory beside the hub. It is 0 if the hub or a
    /// compute worker needs more memory than a program can address.
    pub fn cores(&self, settings: &Settings) -> u16 {
        if self.hub_bytes.max(self.core_bytes) > settings.address_space_bytes {
            return 0;
        }
        let cores = settings.memory_bytes.saturating_sub(self.hub_bytes) / self.core_bytes.max(1);
        u16::try_from(cores).unwrap_or(u16::MAX)
    }
}

impl DataFootprint {
    /// The data of a run, for a volunteer with these settings.
    pub fn new(network: &Network, welcome: &Welcome, settings: &Settings) -> DataFootprint {
        let SetPlans { training, validation, test } = &welcome.sets;
        let sets = [training, validation, test];
        let (mut encoded, mut decoded) = (ShardSizes::default(), ShardSizes::default());
        for set in sets {
            encoded.count(set, |index| encoded_bytes(set, index));
            decoded.count(set, |index| decoded_bytes(network, set, index));
        }
        let mut examples = sets.map(|set| EXAMPLE * u64::from(set.examples_per_unit.min(set.examples)));
        if let Some(local) = welcome.local {
            let set = training;
            let pool = set.examples.div_ceil(local.replicas.max(1));
            let steps = u64::from(local.steps) * u64::from(welcome.minibatch.min(pool));
            // Each example has a loss and an index in the order, and the pool's next order is being drawn.
            let drawn = 2 * steps.min(LOCAL_EXAMPLES_MAX.into()) + u64::from(pool);
            examples[0] = examples[0].max(EXAMPLE * drawn);
            encoded.count_pools(set, local.replicas, |index| encoded_bytes(set, index));
            decoded.count_pools(set, local.replicas, |index| decoded_bytes(network, set, index));
        }
        // A pool is decoded while another shard arrives.
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

/// Bytes of an encoded shard, as it is sent and as the hub holds it.
fn encoded_bytes(set: &SetPlan, index: u32) -> u64 {
    set.shards.get(index as usize).map_or(0, |shard| shard.bytes.into())
}

/// Maximum bytes of a shard in a compute worker: the encoded shard, in which its rows are read, a copy of the targets,
/// and lists of its nonzero inputs if the network uses them.
pub(crate) fn decoded_bytes(network: &Network, set: &SetPlan, index: u32) -> u64 {
    let examples = set.examples_in_shard(index).len() as u64;
    let lists =
        if network.skips_zeros() { NonZeros::bytes_max(examples, network.features() as u64) } else { 0 };
    let targets = match network.task() {
        Task::Classes(_) => 2 * examples,
        Task::Numbers(columns) => 4 * u64::from(columns) * examples,
    };
    encoded_bytes(set, index).saturating_add(lists).saturating_add(targets)
}

/// Sizes of shards, in bytes.
#[derive(Debug, Default)]
struct ShardSizes {
    all: u64,
    largest: u64,
    /// The shards of one unit.
    of_unit: u64,
}

impl ShardSizes {
    /// Counts the shards of a set, each of whose units lies in one shard.
    fn count(&mut self, set: &SetPlan, bytes: impl Fn(u32) -> u64) {
        for bytes in (0..set.shards.len() as u32).map(bytes) {
            self.all = self.all.saturating_add(bytes);
            self.largest = self.largest.max(bytes);
            self.of_unit = self.of_unit.max(bytes);
        }
    }

    /// Counts the pools of the replicas of a set whose shards have been counted.
    fn count_pools(&mut self, set: &SetPlan, replicas: u32, bytes: impl Fn(u32) -> u64) {
        let layout = UnitLayout::Replicas(replicas);
        for replica in 0..replicas.min(set.examples) {
            let pool = layout.shards_of(set, replica).map(&bytes).fold(0, u64::saturating_add);
            self.of_unit = self.of_unit.max(pool);
        }
    }
}
