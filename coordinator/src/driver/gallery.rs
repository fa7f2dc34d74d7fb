//! The weights of accepted points that the page `/try` may have: the last ones, and some of the course that led
//! there, as far apart as they must be.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// Most earlier points that are kept.
pub const SNAPSHOTS_MAX: usize = 16;
/// Bytes of all of them. Of a network too large for that only the last weights are kept.
pub const SNAPSHOTS_BYTES_MAX: usize = 64 << 20;
/// Bytes of a weight: in the vector, and encoded once somebody has asked.
const BYTES_PER_WEIGHT: usize = 8;

/// The weights of an accepted point.
#[derive(Debug)]
pub struct Snapshot {
    /// Its iteration.
    pub iteration: u64,
    weights: Arc<[f32]>,
    encoded: OnceLock<Bytes>,
}

impl Snapshot {
    fn new(iteration: u64, weights: Arc<[f32]>) -> Arc<Snapshot> {
        Arc::new(Snapshot { iteration, weights, encoded: OnceLock::new() })
    }

    /// The weights as little-endian bytes. The first call makes them.
    pub fn bytes(&self) -> Bytes {
        let encode =
            || self.weights.iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<u8>>().into();
        self.encoded.get_or_init(encode).clone()
    }
}

/// See the module's description. Cloning is cheap: weights are shared.
#[derive(Debug, Clone)]
pub struct Gallery {
    /// Iterations between two kept points, a power of two.
    stride: u64,
    kept: Vec<Arc<Snapshot>>,
    last: Option<Arc<Snapshot>>,
    is_final: bool,
}

impl Default for Gallery {
    fn default() -> Gallery {
        Gallery { stride: 1, kept: Vec::new(), last: None, is_final: false }
    }
}

impl Gallery {
    /// Takes the next accepted point.
    pub(super) fn add(&mut self, iteration: u64, weights: Arc<[f32]>) {
        let room = SNAPSHOTS_BYTES_MAX / (BYTES_PER_WEIGHT * weights.len().max(1));
        let snapshot = Snapshot::new(iteration, weights);
        self.last = Some(Arc::clone(&snapshot));
        // A start point is told of again when it is evaluated late.
        self.kept.retain(|kept| kept.iteration < iteration);
        if iteration.is_multiple_of(self.stride) && room > 0 {
            self.kept.push(snapshot);
        }
        while self.kept.len() > room.min(SNAPSHOTS_MAX) {
            self.stride = self.stride.saturating_mul(2);
            let stride = self.stride;
            let before = self.kept.len();
            self.kept.retain(|kept| kept.iteration.is_multiple_of(stride));
            if self.kept.len() == before {
                // Only the start point is left.
                self.kept.clear();
            }
        }
    }

    /// Forgets the points after that iteration, or all of them.
    pub(super) fn rewind(&mut self, iteration: Option<u64>) {
        self.kept.retain(|kept| iteration.is_some_and(|last| kept.iteration <= last));
        self.last = self.kept.last().cloned();
    }

    /// The training is over, and these are the weights that are saved.
    pub(super) fn finish(&mut self, iteration: u64, weights: Arc<[f32]>) {
        self.last = Some(Snapshot::new(iteration, weights));
        self.is_final = true;
    }

    /// The iterations of all points, the last one included, in order.
    pub fn iterations(&self) -> Vec<u64> {
        let mut all: Vec<u64> =
            self.kept.iter().chain(&self.last).map(|snapshot| snapshot.iteration).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The point of that iteration.
    pub fn get(&self, iteration: u64) -> Option<&Arc<Snapshot>> {
        self.last.iter().chain(&self.kept).find(|snapshot| snapshot.iteration == iteration)
    }

    /// The last point: once the training is over, the saved one.
    pub fn last(&self) -> Option<&Arc<Snapshot>> {
        self.last.as_ref()
    }

    /// Whether the last point is the model that the training saves.
    pub fn is_final(&self) -> bool {
        self.is_final
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(count: usize) -> Arc<[f32]> {
        vec![0.5; count].into()
    }

    #[test]
    fn the_course_is_kept_evenly_within_its_bounds_and_the_last_point_always() {
        let mut gallery = Gallery::default();
        for iteration in 0..=100 {
            gallery.add(iteration, weights(3));
            assert!(gallery.kept.len() <= SNAPSHOTS_MAX);
        }
        let expected: Vec<u64> = (0..=96).step_by(8).chain([100]).collect();
        assert_eq!(gallery.iterations(), expected);
        assert_eq!(gallery.get(96).unwrap().bytes(), [0.5f32.to_le_bytes(); 3].concat());
        gallery.rewind(Some(50));
        assert_eq!(gallery.last().unwrap().iteration, 48);
        gallery.finish(40, weights(3));
        assert!(gallery.is_final() && gallery.last().unwrap().iteration == 40);
    }

    #[test]
    fn a_large_network_keeps_only_its_last_weights() {
        let mut gallery = Gallery::default();
        let count = SNAPSHOTS_BYTES_MAX / BYTES_PER_WEIGHT + 1;
        (0..3).for_each(|iteration| gallery.add(iteration, weights(count)));
        assert_eq!(gallery.iterations(), [2]);
    }
}
