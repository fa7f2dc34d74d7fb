//! The points of a line search, computed alike by coordinator and workers.

use std::ops::{Add, Mul};

/// The trial point `base + step * direction`. Each element is rounded twice, after the product and after the
/// sum, in either arithmetic, so that all machines get the same bits.
///
/// # Panics
/// If `base` and `direction` differ in length.
pub fn trial_point<T: Copy + Add<Output = T> + Mul<Output = T>>(
    base: &[T],
    direction: &[T],
    step: T,
) -> impl Iterator<Item = T> {
    assert_eq!(base.len(), direction.len(), "one direction element per parameter");
    base.iter().zip(direction).map(move |(&base, &direction)| base + step * direction)
}
