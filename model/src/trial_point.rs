//! The points of a line search, which coordinator and workers compute alike.

use std::ops::{Add, Mul};

/// The trial point `base + step * direction`. Each element is rounded twice, after the product and after the
/// sum, in either arithmetic, so that everybody gets the same bits.
///
/// # Panics
/// If `base` and `direction` differ in length.
pub fn trial_point<T: Copy + Add<Output = T> + Mul<Output = T>>(
    base: &[T],
    direction: &[T],
    step: T,
) -> impl Iterator<Item = T> {
    assert_eq!(base.len(), direction.len(), "one element of the direction for each parameter");
    base.iter().zip(direction).map(move |(&base, &direction)| base + step * direction)
}
