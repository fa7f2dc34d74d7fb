//! Random orders that coordinator and volunteers draw alike: ChaCha8, keyed by the run's seed and the order's
//! purpose.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Separates these streams from other uses of the run's seed.
const CONTEXT: &str = "shoal 2026 random order";

/// The stream of `purpose` number `number` under the run's `seed`. Its key is derived by BLAKE3 from all
/// three.
pub fn stream(seed: u64, purpose: &str, number: &[u64]) -> ChaCha8Rng {
    let mut material = seed.to_le_bytes().to_vec();
    material.extend(number.iter().flat_map(|number| number.to_le_bytes()));
    material.extend_from_slice(purpose.as_bytes());
    ChaCha8Rng::from_seed(blake3::derive_key(CONTEXT, &material))
}

/// Puts `items` into a uniformly random order (Fisher and Yates).
pub fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last as u64 + 1) as usize);
    }
}

/// `count` entries, from position `first` on, of an endless sequence: all numbers below `bound` in a random
/// order, then all of them in another order, and so on.
///
/// # Panics
/// If `bound` is 0.
pub fn endless(seed: u64, purpose: &str, first: u64, count: usize, bound: u32) -> Vec<u32> {
    assert!(bound > 0, "nothing to draw from");
    let mut drawn = Vec::with_capacity(count);
    let mut pass = first / u64::from(bound);
    let mut skip = (first % u64::from(bound)) as usize;
    while drawn.len() < count {
        let mut order: Vec<u32> = (0..bound).collect();
        shuffle(&mut order, &mut stream(seed, purpose, &[pass]));
        let wanted = count - drawn.len();
        drawn.extend(order.into_iter().skip(skip).take(wanted));
        (pass, skip) = (pass.wrapping_add(1), 0);
    }
    drawn
}

/// A uniform integer below `bound`. Draws beyond the last whole multiple of `bound` are discarded: for the
/// size of any data set, at most one draw in 2^32.
fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    let usable = u64::MAX - u64::MAX % bound;
    loop {
        let draw = random.next_u64();
        if draw < usable {
            return draw % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_of_the_endless_sequence_has_every_number_once() {
        let all = endless(3, "test", 0, 21, 7);
        for pass in all.chunks(7) {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_ne!(all[..7], all[7..14]);
    }

    #[test]
    fn the_endless_sequence_is_the_same_wherever_one_begins_to_read() {
        let all = endless(3, "test", 0, 30, 7);
        for first in 0..20 {
            assert_eq!(endless(3, "test", first, 10, 7), all[first as usize..first as usize + 10]);
        }
        assert_ne!(endless(4, "test", 0, 30, 7), all, "another seed");
        assert_ne!(endless(3, "other", 0, 30, 7), all, "another purpose");
    }
}
