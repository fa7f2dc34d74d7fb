//! The memory that an engine takes: at least, and at most, whatever its volunteers do. A test holds the second to what
//! is really allocated. The sockets, frames and messages of a server come in addition, and so do the data.

use super::floor::shares;
use super::ring;

/// Bytes of an f32 vector, for each parameter.
const VECTOR: u64 = 4;
/// Bytes of a vector of exact sums.
const SUMS: u64 = 8;
/// Vectors of a state beside its curvature pairs: the accepted point, the gradient there, the direction or velocity,
/// the next point, one more that some optimizers keep, and the weights with the lowest validation loss.
const STATE_VECTORS: u64 = 6;
/// Vectors that a state does not share with the one before it, beside one pair: when a round is taken in, both are
/// there.
const CHANGES: u64 = 4;
/// Points and directions that wait to be overwritten, two of each, and a pair.
const SPARE_VECTORS: u64 = 6;
/// Bytes of a curvature pair.
const PAIR: u64 = 2 * VECTOR;
/// Bytes of a unit: where it is free, or the group that it is alone in, with its check.
const UNIT_BYTES: u64 = 512;
/// Bytes of what is known of a volunteer, but for its shards.
const VOLUNTEER_BYTES: u64 = 2048;
/// Bytes of a shard that a volunteer holds.
const SHARD_BYTES: u64 = 32;

/// The facts of a training from which its engine's memory follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Parameters of the network.
    pub parameters: u64,
    /// Curvature pairs that the optimizer remembers at most.
    pub pairs: u64,
    /// Parts of a round that have a vector: one, or two where L-BFGS takes its gradients on samples.
    pub vectors: u64,
    /// Whether the training may go back to earlier states.
    pub rewinds: bool,
    /// Units of the largest round.
    pub units: u64,
    /// Shards of the training set.
    pub shards: u64,
    /// Volunteers that are there or were there and are remembered.
    pub volunteers: u64,
}

impl Load {
    /// Bytes of the state between two rounds, which is what a checkpoint holds.
    pub fn state_bytes(&self) -> u64 {
        self.each(STATE_VECTORS * VECTOR + self.pairs.saturating_mul(PAIR))
    }

    /// Bytes that the engine takes at least: its state, while the next one is made, and the sums of a round in as few
    /// shares as there may be. What depends on the number of units and volunteers is left out.
    pub fn least_bytes(&self) -> u64 {
        let sums = (shares::SHARES_MIN as u64 + 1).saturating_mul(self.vectors).saturating_mul(SUMS);
        self.state_bytes().saturating_add(self.each(sums + SUMS + VECTOR))
    }

    /// Bytes that the engine takes at most.
    pub fn worst_case_bytes(&self) -> u64 {
        let sums = self.each(self.vectors.saturating_mul(SUMS));
        // The sum of all shares, and of that and others that were handed in.
        let totals = sums.saturating_mul(2);
        // A result that is added, and the same as the coordinator has computed it.
        let results = self.each(2 * SUMS);
        // What the sums mean: the sum over all parts, and a gradient in f64 and in f32.
        let tally = self.each(2 * SUMS + VECTOR);
        let working = self.each((CHANGES + SPARE_VECTORS) * VECTOR + 2 * PAIR);
        let ring = if self.rewinds { ring::worst_case_bytes(self.parameters, self.pairs) } else { 0 };
        let shards = self.shards.saturating_mul(SHARD_BYTES);
        let known = self.volunteers.saturating_mul(VOLUNTEER_BYTES.saturating_add(shards));
        [
            shares::worst_case_bytes(sums),
            totals,
            results,
            tally,
            self.state_bytes(),
            working,
            ring,
            self.units.saturating_mul(UNIT_BYTES),
            known,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    fn each(&self, bytes: u64) -> u64 {
        self.parameters.saturating_mul(bytes)
    }
}
