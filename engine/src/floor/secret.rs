//! Chance that nobody can foresee: who is audited, by whom, and what results are compared by.
//!
//! It comes from a secret of the operating system, never from the run's seed, which every volunteer knows. It
//! decides who computes what, and never touches the weights.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Random bytes that nobody else knows. Whoever runs an engine draws them anew for each process.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The stream of numbers that follows from a secret.
#[derive(Clone)]
pub(super) struct Chance(ChaCha8Rng);

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}

impl Chance {
    pub(super) fn new(secret: &Secret) -> Chance {
        Chance(ChaCha8Rng::from_seed(secret.0))
    }

    /// Whether something of this probability happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        let share = (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        share < probability
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // 64 bits over at most some thousand choices: the bias is far below anything that matters.
        (self.0.next_u64() % bound as u64) as usize
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
}
