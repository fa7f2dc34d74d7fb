//! The points of a line search, built by the coordinator and by workers alike.

use std::ops::{Add, Mul};

/// The trial point `base + step * direction`, element by element with two roundings: the product,
/// then the sum, in either arithmetic. Whoever builds a trial point builds it like this, so that all
/// get the same bits.
///
/// # Panics
/// When `base` and `direction` differ in length.
pub fn trial_point<T: Copy + Add<Output = T> + Mul<Output = T>>(
    base: &[T],
    direction: &[T],
    step: T,
) -> impl Iterator<Item = T> {
    assert_eq!(base.len(), direction.len(), "one element of the direction for each parameter");
    base.iter().zip(direction).map(move |(&base, &direction)| base + step * direction)
}
