//! The one source of chance in a simulation.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A named stream of random numbers: the same seed and name, the same numbers.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    pub(crate) fn new(seed: u64, name: &str) -> Draw {
        let material = [&seed.to_le_bytes()[..], name.as_bytes()].concat();
        Draw(ChaCha8Rng::from_seed(*blake3::hash(&material).as_bytes()))
    }

    /// An integer from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    pub(crate) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len() as u64 - 1) as usize].clone()
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.between(0, 99) < chance
    }

    /// A number from -1 to 1.
    pub(crate) fn number(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}
