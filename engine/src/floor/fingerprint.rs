//! Fingerprints: two results of the same units are compared by a number, because the first is in the sums by then.
//!
//! The fingerprint of n integers v_i is the sum of v_i r^(n - i) modulo the prime 2^61 - 1, with a secret r
//! (polynomial hashing; Carter and Wegman (1979), "Universal classes of hash functions"). Results that differ have the
//! same fingerprint for at most as many r as there are integers, so a lie about n integers passes with a probability of
//! at most n / 2^61. Nobody learns a fingerprint, and whoever is found out has no second try.

use protocol::message::ResultHeader;

use super::secret::Chance;

/// The Mersenne prime 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

/// Integers that are taken in together. The products of so many with powers of r add up in an `i128`, so that one
/// reduction serves all of them.
const TOGETHER: usize = 8;

/// The secret r, as its powers.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// r^[`TOGETHER`] down to r^0.
    powers: [u64; TOGETHER + 1],
}

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    scalars: u64,
    vector: u64,
}

impl Key {
    pub(super) fn draw(chance: &mut Chance) -> Key {
        Key::new(chance.number() % (PRIME - 2) + 2)
    }

    fn new(r: u64) -> Key {
        let mut powers = [1; TOGETHER + 1];
        for exponent in 1..=TOGETHER {
            powers[TOGETHER - exponent] = reduce(times(powers[TOGETHER - exponent + 1], r));
        }
        Key { powers }
    }

    /// The fingerprint of a result.
    pub(super) fn of(&self, header: &ResultHeader, vector: Option<&[i64]>) -> Fingerprint {
        let mut scalars = header.losses.clone();
        scalars.extend([i64::from(header.unfit_steps), header.correct as i64]);
        Fingerprint { scalars: self.sum(&scalars), vector: self.sum(vector.unwrap_or_default()) }
    }

    /// Horner's rule, by [`TOGETHER`] integers at a time. The last integer has the lowest power.
    fn sum(&self, values: &[i64]) -> u64 {
        let (all, each) = self.powers.split_first().expect("there is at least r^0");
        let r = self.powers[TOGETHER - 1];
        let (head, rest) = values.split_at(values.len() % TOGETHER);
        // The first integers are too few to be taken in together.
        let mut sum = head.iter().fold(0, |sum, value| fold(times(sum, r) + digits((*value).into())));
        let (blocks, _) = rest.as_chunks::<TOGETHER>();
        for block in blocks {
            // A power is below 2^61, and as an `i64` it takes one multiplication.
            let products =
                block.iter().zip(each).map(|(value, power)| i128::from(*value) * i128::from(*power as i64));
            sum = fold(times(sum, *all) + digits(products.sum()));
        }
        reduce(times(sum, r))
    }
}

/// A number of the same residue, at most 2^62 + 61. The value is at most as far from zero as [`TOGETHER`] products of
/// an `i64` and a residue come to, which is 2^127 - 2^66.
fn digits(value: i128) -> u64 {
    const ABOVE_ALL: u128 = (PRIME as u128) << 66;
    // A multiple of the prime makes it positive.
    let value = (value as u128).wrapping_add(ABOVE_ALL);
    (value as u64 & PRIME) + ((value >> 61) as u64 & PRIME) + (value >> 122) as u64
}

/// A number of the same residue as the product, at most 2^62 + 8. `a` is a number that was folded, and `b` a residue.
fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64 & PRIME) + (product >> 61) as u64
}

/// A number of the same residue, below 2^61 + 8. The next product need not wait until it is [reduced](reduce).
fn fold(value: u64) -> u64 {
    (value & PRIME) + (value >> 61)
}

/// The value modulo the prime.
fn reduce(value: u64) -> u64 {
    let folded = fold(value);
    if folded >= PRIME { folded - PRIME } else { folded }
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
        let r = i128::from(key.powers[TOGETHER - 1]);
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

    /// The largest sums that there are.
    #[test]
    fn no_integers_and_no_secret_are_too_large_to_be_taken_in_together() {
        for key in [Key::new(PRIME - 1), Key::new(PRIME - 2), Key::new(2), key(4)] {
            for extreme in [i64::MIN, i64::MAX, -1, 0] {
                let values = [extreme; 5 * TOGETHER + 3];
                assert_eq!(key.sum(&values), plain(&key, &values), "{extreme}");
            }
        }
        let most = i128::from(PRIME) << 66;
        for value in [-most, 1 - most, -1, 0, 1, most - 1, most] {
            assert_eq!(i128::from(reduce(digits(value))), value.rem_euclid(PRIME.into()), "{value}");
        }
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
