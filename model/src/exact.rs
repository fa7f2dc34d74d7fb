//! Exact sums that do not depend on order: a unit's vector is converted to integers once, and integers add up
//! the same in any order.
//!
//! At an `exponent`, a value `v` becomes the integer nearest to `v * 2^exponent`, ties to even. The whole
//! round shares the exponent, so the round's sum is the sum of the units' integers, and its value is `sum *
//! 2^-exponent`. The bounds below make every sum of a round's units fit an `i64`.

use std::ops::RangeInclusive;

/// Every integer of a unit is smaller than this in magnitude, in a round of up to [`WIDE_UNITS_MAX`] units.
pub const UNIT_LIMIT: i64 = 1 << 44;

/// The most units of a round each of which has the whole range up to [`UNIT_LIMIT`].
pub const WIDE_UNITS_MAX: usize = 1 << 18;

/// The most units of a round. With so many each still has 2^38, which is 2^8 times the mean unit's loss and 2^14
/// times the largest element of its vector at the scales that the engine chooses.
pub const UNITS_MAX: usize = 1 << 24;

/// The magnitude that every integer of a unit stays below in a round of so many units, so that their sum stays below
/// 2^62: [`UNIT_LIMIT`], or less if there are more than [`WIDE_UNITS_MAX`].
pub const fn unit_limit(units: u32) -> i64 {
    let most = (units as u64).next_power_of_two();
    if most <= WIDE_UNITS_MAX as u64 { UNIT_LIMIT } else { (1 << 62) >> most.trailing_zeros() }
}

/// The permitted exponents. The smallest still fits the largest finite `f32` (2^128); the largest gives the
/// smallest subnormal (2^-149) more bits than a unit has. Every product is exact in an `f64`.
pub const EXPONENTS: RangeInclusive<i32> = -128..=200;

/// Whether a unit's vector can be added at an exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Every element is finite and its integer is below the limit in magnitude.
    Fits,
    /// Every element is finite but at least one is too large: the round needs a smaller exponent.
    Overflow,
    /// At least one element is infinite or not a number.
    NonFinite,
}

/// Whether [`add`] may be called with `vector` at `exponent` in a round of up to [`WIDE_UNITS_MAX`] units.
///
/// # Panics
/// If `exponent` is not one of [`EXPONENTS`]. Check exponents from outside first.
pub fn fit(vector: &[f32], exponent: i32) -> Fit {
    fit_below(vector, exponent, UNIT_LIMIT)
}

/// The same in a round whose units have this limit ([`unit_limit`]).
///
/// # Panics
/// If `exponent` is not one of [`EXPONENTS`]. Check exponents from outside first.
pub fn fit_below(vector: &[f32], exponent: i32, limit: i64) -> Fit {
    let scale = power_of_two(exponent);
    let largest = largest(vector);
    if !largest.is_finite() {
        Fit::NonFinite
    } else if f64::from(largest) * scale < limit as f64 - 0.5 {
        Fit::Fits
    } else {
        Fit::Overflow
    }
}

/// The largest magnitude in `vector`, for [`exponent_for`]: 0 if the vector is empty, infinity or NaN if any
/// element is.
pub fn largest(vector: &[f32]) -> f32 {
    // Without the sign bit, the bits of floats order by magnitude, with infinity and then NaN on top.
    let bits = vector.iter().fold(0, |largest: u32, value| largest.max(value.to_bits() & 0x7fff_ffff));
    f32::from_bits(bits)
}

/// Adds `vector` at `exponent` to `sum`, element by element. -0 counts as 0.
///
/// [`fit`] must have returned [`Fit::Fits`], and at most [`UNITS_MAX`] vectors may go into one sum. Otherwise
/// the sums are meaningless, but nothing else breaks.
///
/// # Panics
/// If the lengths differ, or `exponent` is not one of [`EXPONENTS`].
pub fn add(sum: &mut [i64], vector: &[f32], exponent: i32) {
    assert_eq!(sum.len(), vector.len(), "a sum and a vector of different lengths");
    debug_assert_eq!(fit(vector, exponent), Fit::Fits);
    let scale = power_of_two(exponent);
    for (sum, value) in sum.iter_mut().zip(vector) {
        *sum = sum.wrapping_add(to_integer(f64::from(*value) * scale));
    }
}

/// The integer of one value, which is no `f32`, below `limit` in magnitude. -0 counts as 0.
///
/// # Errors
/// [`Fit::Overflow`] or [`Fit::NonFinite`], as of a vector that has this element.
///
/// # Panics
/// If `exponent` is not one of [`EXPONENTS`].
pub fn integer(value: f64, exponent: i32, limit: i64) -> Result<i64, Fit> {
    let scaled = value * power_of_two(exponent);
    if !value.is_finite() {
        Err(Fit::NonFinite)
    } else if scaled.abs() < limit.min(UNIT_LIMIT) as f64 - 0.5 {
        Ok(to_integer(scaled))
    } else {
        Err(Fit::Overflow)
    }
}

/// The sum would leave the range of an `i64`. Nothing was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum leaves the range of 64-bit integers")]
pub struct OutOfRange;

/// Adds `other` to `sum`: all of it, or nothing if an element would overflow.
///
/// # Panics
/// If the lengths differ.
pub fn merge(sum: &mut [i64], other: &[i64]) -> Result<(), OutOfRange> {
    assert_eq!(sum.len(), other.len(), "two sums of different lengths");
    let mut overflows = 0i64;
    for (a, b) in sum.iter_mut().zip(other) {
        let result = a.wrapping_add(*b);
        // The sign bit is set exactly if both operands have the same sign and the result has the other.
        overflows |= (*a ^ result) & (b ^ result);
        *a = result;
    }
    if overflows < 0 {
        // Also what went beyond the range comes back.
        for (a, b) in sum.iter_mut().zip(other) {
            *a = a.wrapping_sub(*b);
        }
        return Err(OutOfRange);
    }
    Ok(())
}

/// The value of `sum` at `exponent`: `sum * 2^-exponent`, rounded once to the nearest `f64`.
///
/// # Panics
/// If `exponent` is not one of [`EXPONENTS`].
pub fn to_f64(sum: i64, exponent: i32) -> f64 {
    sum as f64 / power_of_two(exponent)
}

/// The exponent at which the magnitude of `largest` lies in `2^(bits - 1) .. 2^bits`, clamped to
/// [`EXPONENTS`].
///
/// Zero and NaN say nothing about the magnitude and count as 1. Infinity counts as the largest finite `f32`.
pub fn exponent_for(largest: f64, bits: u32) -> i32 {
    let magnitude = match largest.abs() {
        size if size.is_nan() || size == 0.0 => 1.0,
        size => size.min(f64::from(f32::MAX)),
    };
    // A subnormal f64 is far below the smallest f32, so its biased exponent of 0 is as good as its true one.
    let power = (magnitude.to_bits() >> 52) as i32 - 1023;
    (bits.min(63) as i32 - 1 - power).clamp(*EXPONENTS.start(), *EXPONENTS.end())
}

/// 2^exponent.
fn power_of_two(exponent: i32) -> f64 {
    assert!(EXPONENTS.contains(&exponent), "exponent {exponent} of an exact sum is outside {EXPONENTS:?}");
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// The integer nearest to `value`, ties to even, for magnitudes below 2^51: adding 1.5 * 2^52 leaves the
/// integer in the lowest bits of the sum's mantissa. A conversion instruction would not vectorize everywhere;
/// this does.
#[inline(always)]
fn to_integer(value: f64) -> i64 {
    const SHIFT: f64 = 1.5 * (1u64 << 52) as f64;
    ((value + SHIFT).to_bits() as i64).wrapping_sub(SHIFT.to_bits() as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum_of(vectors: &[Vec<f32>], exponent: i32) -> Vec<i64> {
        let mut sum = vec![0; vectors[0].len()];
        for vector in vectors {
            add(&mut sum, vector, exponent);
        }
        sum
    }

    #[test]
    fn rounds_to_nearest_with_ties_to_even() {
        let mut sum = [0; 9];
        add(&mut sum, &[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.75, -0.0, 3.0], 0);
        assert_eq!(sum, [0, 2, 2, 0, -2, -2, 1, 0, 3]);
    }

    #[test]
    fn one_value_becomes_the_integer_that_it_becomes_in_a_vector() {
        for value in [0.5f32, 1.5, -2.5, -0.0, 1e-30, 123.456] {
            let mut sum = [0];
            add(&mut sum, &[value], 3);
            assert_eq!(integer(value.into(), 3, UNIT_LIMIT), Ok(sum[0]));
        }
        assert_eq!(integer(8.0, 0, 8), Err(Fit::Overflow));
        assert_eq!(integer(f64::MAX, 200, UNIT_LIMIT), Err(Fit::Overflow));
        assert_eq!(integer(f64::NAN, 0, UNIT_LIMIT), Err(Fit::NonFinite));
        assert_eq!(integer(f64::NEG_INFINITY, 0, UNIT_LIMIT), Err(Fit::NonFinite));
    }

    #[test]
    fn fits_up_to_the_limit_and_not_beyond() {
        let limit = UNIT_LIMIT as f32;
        assert_eq!(fit(&[limit.next_down(), -limit.next_down()], 0), Fit::Fits);
        assert_eq!(fit(&[0.0, -limit], 0), Fit::Overflow);
        assert_eq!(fit(&[f32::MAX], -128), Fit::Fits);
        assert_eq!(fit(&[f32::from_bits(1)], 192), Fit::Fits);
        assert_eq!(fit(&[f32::from_bits(1)], 193), Fit::Overflow);
        assert_eq!(fit(&[], 0), Fit::Fits);
    }

    #[test]
    fn non_finite_is_reported_before_overflow() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(fit(&[1.0, f32::MAX, bad, 0.0], 40), Fit::NonFinite);
        }
    }

    #[test]
    fn largest_is_a_magnitude_that_no_nan_hides_behind() {
        assert_eq!(largest(&[1.0, -3.0, 2.0]), 3.0);
        assert_eq!(largest(&[]), 0.0);
        assert_eq!(largest(&[1.0, f32::NEG_INFINITY]), f32::INFINITY);
        assert!(largest(&[1.0, -f32::NAN, f32::INFINITY, 2.0]).is_nan());
    }

    #[test]
    fn the_most_and_largest_units_of_a_round_fit() {
        assert_eq!(unit_limit(0), UNIT_LIMIT);
        assert_eq!(unit_limit(WIDE_UNITS_MAX as u32), UNIT_LIMIT);
        for units in [1, 1000, 1 << 18, (1 << 18) + 1, 1 << 19, 5_000_000, UNITS_MAX as u32] {
            let limit = unit_limit(units);
            assert!((limit - 1).checked_mul(units.into()).is_some_and(|sum| sum < 1 << 62), "{units}");
            assert!(
                limit == UNIT_LIMIT || limit * i64::from(units) > 1 << 61,
                "{units}: {limit} wastes range"
            );
            let value = limit as f32;
            assert_eq!(fit_below(&[value.next_down(), -value.next_down()], 0, limit), Fit::Fits);
            assert_eq!(fit_below(&[0.0, -value], 0, limit), Fit::Overflow);
        }
        assert_eq!(unit_limit(UNITS_MAX as u32), 1 << 38);
    }

    #[test]
    fn merge_takes_all_or_nothing() {
        let mut sum = [1, i64::MAX, -5];
        assert_eq!(merge(&mut sum, &[1, 1, 1]), Err(OutOfRange));
        assert_eq!(merge(&mut sum, &[1, 0, i64::MIN]), Err(OutOfRange));
        assert_eq!(sum, [1, i64::MAX, -5]);
        assert_eq!(merge(&mut sum, &[1, i64::MIN, 5]), Ok(()));
        assert_eq!(sum, [2, -1, 0]);
    }

    #[test]
    fn exponents_are_total() {
        assert_eq!(exponent_for(1.0, 24), 23);
        assert_eq!(exponent_for(-1.999, 24), 23);
        assert_eq!(exponent_for(2.0, 24), 22);
        assert_eq!(exponent_for(0.0, 24), exponent_for(1.0, 24));
        assert_eq!(exponent_for(f64::NAN, 24), exponent_for(1.0, 24));
        assert_eq!(exponent_for(f64::INFINITY, 24), exponent_for(f64::from(f32::MAX), 24));
        assert_eq!(exponent_for(f64::MAX, 0), *EXPONENTS.start());
        assert_eq!(exponent_for(f64::from_bits(1), 24), *EXPONENTS.end());
        assert_eq!(exponent_for(f64::from(f32::from_bits(1)), 24), 172);
        assert_eq!(exponent_for(1.0, u32::MAX), 62);
    }

    proptest! {
        #[test]
        fn any_order_and_grouping_gives_the_same_sum(
            vectors in prop::collection::vec(prop::collection::vec(-1e3f32..1e3, 5), 1..20),
            cut in 0usize..20,
            exponent in -10i32..30,
        ) {
            let forward = sum_of(&vectors, exponent);
            let mut reversed = vectors.clone();
            reversed.reverse();
            prop_assert_eq!(&forward, &sum_of(&reversed, exponent));
            let cut = cut % vectors.len();
            if cut > 0 {
                let mut left = sum_of(&vectors[..cut], exponent);
                merge(&mut left, &sum_of(&vectors[cut..], exponent)).unwrap();
                prop_assert_eq!(&forward, &left);
            }
        }

        #[test]
        fn conversion_is_within_half_a_step(value in -1e6f32..1e6, exponent in -20i32..24) {
            let mut sum = [0];
            add(&mut sum, &[value], exponent);
            let error = (to_f64(sum[0], exponent) - f64::from(value)).abs();
            prop_assert!(error <= 0.5 * power_of_two(-exponent));
        }

        #[test]
        fn the_chosen_exponent_uses_exactly_the_bits(bits in 1u32..44, raw in 1u32..0x7f80_0000) {
            let largest = f64::from(f32::from_bits(raw));
            let scaled = largest * power_of_two(exponent_for(largest, bits));
            prop_assert!(scaled >= f64::from(bits as i32 - 1).exp2() && scaled < f64::from(bits).exp2());
        }
    }
}
