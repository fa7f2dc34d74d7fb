//! Random numbers for splitting and shuffling: ChaCha8, one stream for each purpose, so that adding a purpose never
//! changes what another one draws.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The stream of `purpose` under the run's `seed`. Its key is derived by BLAKE3 from both.
pub(super) fn stream(seed: u64, purpose: &str) -> ChaCha8Rng {
    let mut material = seed.to_le_bytes().to_vec();
    material.extend_from_slice(purpose.as_bytes());
    ChaCha8Rng::from_seed(blake3::derive_key("shoal data 2026 random stream", &material))
}

/// Puts `items` into a uniformly random order (Fisher and Yates).
pub(super) fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last as u64 + 1) as usize);
    }
}

/// A uniform integer below `bound`. Draws beyond the last whole multiple of `bound` are thrown away; for any bound that
/// fits a data set that is one draw in 2^32 or fewer.
fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    let usable = u64::MAX - u64::MAX % bound;
    loop {
        let draw = random.next_u64();
        if draw < usable {
            return draw % bound;
        }
    }
}
