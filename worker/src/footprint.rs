//! How much memory a volunteer needs, before anything is computed.

use model::Network;

use crate::hub::Settings;

/// What one Web Worker or thread takes for itself before any data: its stack, its copy of the module's data, and in a
/// browser its own engine.
pub const BASE_BYTES: u64 = 16_000_000;

/// Bytes of one `f32` for each parameter: weights, direction, gradient, displacement.
const VECTOR: u64 = 4;
/// Bytes of one `i64` for each parameter: exact sums.
const SUMS: u64 = 8;

/// The most memory that a volunteer takes, in bytes. With P parameters:
///
/// - a compute worker has the round's weights (4 P), one gradient, displacement or trial point (4 P), its exact sums
///   (8 P), the scratch of one sub-batch ([`Network::scratch_bytes`]), shards up to its limit, and what is on its way
///   between it and the hub, at most its sums (8 P). In a line search's round a direction (4 P) takes the place of the sums.
/// - the hub has the round's frame (4 P) and the next as it arrives (4 P), the merged sums of the assignment under way
///   (8 P) and those being added to them (8 P), and shards up to its limit. A result is packed as it is sent.
///
/// None of it grows with the units, nor with the data beyond the limits of the shards; except that a replica of local
/// steps needs all shards of its part of the examples at once, even beyond their limit, and 16 bytes for each example that
/// its steps go through, neither of which is counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Of the hub.
    pub hub_bytes: u64,
    /// Of each compute worker.
    pub core_bytes: u64,
}

impl Footprint {
    /// For a network, minibatches of that many examples, and shards of `data_bytes` altogether.
    pub fn new(network: &Network, minibatch: usize, data_bytes: u64, settings: &Settings) -> Footprint {
        let parameters = network.parameters() as u64;
        let shards = |limit: usize| data_bytes.min(limit as u64);
        Footprint {
            hub_bytes: BASE_BYTES + (2 * VECTOR + 2 * SUMS) * parameters + shards(settings.shard_cache_bytes),
            core_bytes: BASE_BYTES
                + (2 * VECTOR + 2 * SUMS) * parameters
                + network.scratch_bytes(minibatch)
                + shards(settings.compute_shard_bytes),
        }
    }

    /// How many compute workers fit into that much memory beside the hub.
    pub fn cores(&self, memory_bytes: u64) -> u16 {
        let cores = memory_bytes.saturating_sub(self.hub_bytes) / self.core_bytes.max(1);
        u16::try_from(cores).unwrap_or(u16::MAX)
    }
}
