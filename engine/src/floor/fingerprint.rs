//! Fingerprints: two results of the same units are compared by a number, because the first is in the sums by then.
//!
//! The fingerprint of n integers v_i is the sum of v_i r^(n - i) modulo the prime 2^61 - 1, with a secret r (polynomial hashing; Carter and Wegman (1979), "Universal classes of hash functions"). Results that differ
//! have the same fingerprint for at most as many r as there are integers, so a lie about n integers passes with
//! a probability of at most n / 2^61. Nobody learns a fingerprint, and whoever is found out has no second try.

use protocol::message::ResultHeader;

use super::secret::Chance;

/// The Mersenne prime 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

/// Integers that are taken in side by side: a multiplication takes some cycles, but the next can begin at once.
const LANES: usize = 8;

/// The secret r, as its powers.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// r^1 to r^[`LANES`].
    powers: [u64; LANES],
}

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    scalars: u64,
    vector: u64,
}

impl Key {
    pub(super) fn draw(chance: &mut Chance) -> Key {
        let first = chance.number() % (PRIME - 2) + 2;
        let mut powers = [first; LANES];
        for index in 1..LANES {
            powers[index] = multiply(powers[index - 1], first);
        }
        Key { powers }
    }

    /// The fingerprint of a result.
    pub(super) fn of(&self, header: &ResultHeader, vector: Option<&[i64]>) -> Fingerprint {
        let mut scalars = header.losses.clone();
        scalars.extend([i64::from(header.unfit_steps), header.correct as i64]);
        Fingerprint { scalars: self.sum(&scalars), vector: self.sum(vector.unwrap_or_default()) }
    }

    /// Horner's rule in [`LANES`] lanes. The last integer has the lowest power.
    fn sum(&self, values: &[i64]) -> u64 {
        let all = self.powers[LANES - 1];
        let mut lanes = [0u64; LANES];
        // The first block is filled up with zeros in front, which change nothing.
        let (head, blocks) = values.split_at(values.len() % LANES);
        for (lane, &value) in lanes[LANES - head.len()..].iter_mut().zip(head) {
            *lane = residue(value);
        }
        for block in blocks.chunks_exact(LANES) {
            for (lane, &value) in lanes.iter_mut().zip(block) {
                *lane = reduce(multiply(*lane, all) + residue(value));
            }
        }
        let terms = lanes.iter().zip(self.powers.iter().rev()).map(|(lane, power)| multiply(*lane, *power));
        terms.fold(0, |sum, term| reduce(sum + term))
    }
}

/// The value modulo the prime.
fn residue(value: i64) -> u64 {
    let size = reduce(value.unsigned_abs());
    if value < 0 { PRIME - size } else { size }
}

/// A number below 2^64 modulo the prime, give or take the prime itself.
fn reduce(value: u64) -> u64 {
    let folded = (value & PRIME) + (value >> 61);
    if folded >= PRIME { folded - PRIME } else { folded }
}

fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    reduce((product as u64 & PRIME) + (product >> 61) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::*;

    fn key(seed: u8) -> Key {
        Key::draw(&mut Chance::new(&Secret::new([seed; 32])))
    }

    /// The definition, one term after the other.
    fn plain(key: &Key, values: &[i64]) -> u64 {
        let prime = i128::from(PRIME);
        let r = i128::from(key.powers[0]);
        let sum = values.iter().fold(0, |sum, &value| (sum * r + i128::from(value)).rem_euclid(prime));
        u64::try_from((sum * r).rem_euclid(prime)).unwrap()
    }

    #[test]
    fn a_fingerprint_is_the_polynomial_that_it_is_said_to_be() {
        let key = key(1);
        for length in [0, 1, 7, 8, 9, 16, 100] {
            let values: Vec<i64> = (0..length).map(|index| (index - 40) * (1 << 55) + index * 7919).collect();
            assert_eq!(key.sum(&values), plain(&key, &values), "{length}");
        }
        assert_eq!(key.sum(&[i64::MAX, i64::MIN, -1]), plain(&key, &[i64::MAX, i64::MIN, -1]));
    }

    #[test]
    fn any_change_shows() {
        let header = |loss, correct, unfit_steps| ResultHeader {
            losses: vec![loss, 9],
            correct,
            unfit_steps,
            ..ResultHeader::default()
        };
        let vector: Vec<i64> = (0..1000).collect();
        let right = key(2).of(&header(5, 3, 1), Some(&vector));
        assert_eq!(right, key(2).of(&header(5, 3, 1), Some(&vector)));
        assert_ne!(right, key(3).of(&header(5, 3, 1), Some(&vector)), "each process has its own");
        for (loss, correct, unfit) in [(6, 3, 1), (5, 4, 1), (5, 3, 0)] {
            assert_ne!(right, key(2).of(&header(loss, correct, unfit), Some(&vector)));
        }
        for index in [0, 1, 500, 999] {
            let mut other = vector.clone();
            other[index] += 1;
            assert_ne!(right, key(2).of(&header(5, 3, 1), Some(&other)));
        }
        let swapped = [1, 0].into_iter().chain(2..1000).collect::<Vec<i64>>();
        assert_ne!(right, key(2).of(&header(5, 3, 1), Some(&swapped)));
    }
}
