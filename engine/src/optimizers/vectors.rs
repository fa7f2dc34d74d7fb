//! The vector arithmetic of the optimizers, with one fixed order of operations.
//!
//! Products are summed in f64. A vector is cut into blocks of [`BLOCK`] elements. Inside a block, element i
//! belongs to lane i mod [`LANES`]. Each lane adds up its elements in order; then the lanes are added in
//! order, then the blocks. This tree depends on the length of the vectors alone. Each block is computed by
//! one of rayon's threads, and the blocks' sums are put in order before they are added. The number of threads
//! and their share of the blocks therefore change no bit.

use std::fmt::Debug;
use std::ops::{Add, Mul, Neg, Sub};
use std::sync::Arc;

use model::{Vectorized, vectorize};
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An element of an optimizer's vectors: f32 for training, f64 for reference problems.
pub trait Scalar:
    Copy
    + Debug
    + PartialEq
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + Serialize
    + DeserializeOwned
    + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One half.
    const HALF: Self;
    /// The value as f64, exactly.
    fn to_f64(self) -> f64;
    /// The element nearest to `value`, ties to even.
    fn from_f64(value: f64) -> Self;
    /// Whether f64 holds the product of any two elements, and of any [`Scalar::factor`] and element, exactly.
    /// If so, a fused multiply-add gives the same bits as a product and a sum.
    const PRODUCTS_ARE_EXACT: bool;
    /// `value` rounded for use as the factor of a whole vector, so that [`Scalar::PRODUCTS_ARE_EXACT`] holds.
    fn factor(value: f64) -> f64;
}

/// 2^-800. Its product with the smallest f32, 2^-149, is still a normal f64 at 53 digits.
const TINY: f64 = f64::from_bits((1023 - 800) << 52);

impl Scalar for f32 {
    const ZERO: Self = 0.0;
    const HALF: Self = 0.5;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    const PRODUCTS_ARE_EXACT: bool = true;
    /// Rounded to 29 binary digits, because an element has 24 and an f64 has 53 (the rounding is Dekker's
    /// split, 1971). A factor so small that a product could underflow f64 becomes 0. A factor beyond 2^998
    /// has no product within the range of f32 and becomes NaN.
    fn factor(value: f64) -> f64 {
        let shifted = value * f64::from((1 << 24) + 1);
        let rounded = shifted - (shifted - value);
        if rounded.abs() < TINY { 0.0 } else { rounded }
    }
}

impl Scalar for f64 {
    const ZERO: Self = 0.0;
    const HALF: Self = 0.5;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    const PRODUCTS_ARE_EXACT: bool = false;
    fn factor(value: f64) -> f64 {
        value
    }
}

/// Elements of one thread's task. A vector of a single block stays on its own thread, because waking another
/// one would take as long as the work.
pub(super) const BLOCK: usize = 65_536;

/// Independent running sums inside a block; enough to fill the vector units.
pub(super) const LANES: usize = 8;

/// Groups in a whole block, each with one element per lane.
pub(super) const GROUPS_IN_BLOCK: usize = BLOCK / LANES;

/// One element for each lane.
pub(super) type Lanes = [f64; LANES];

/// Inner product.
pub(super) fn dot<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    each_block(a.chunks(BLOCK).zip(b.chunks(BLOCK)), |(a, b)| vectorize(Dot { a, b })).into_iter().sum()
}

/// Euclidean norm.
pub(super) fn norm<T: Scalar>(a: &[T]) -> f64 {
    dot(a, a).sqrt()
}

/// Applies `work` to every block and returns the results in the blocks' order.
pub(super) fn each_block<B: Send, R: Send>(
    blocks: impl Iterator<Item = B>,
    work: impl Fn(B) -> R + Send + Sync,
) -> Vec<R> {
    let blocks: Vec<B> = blocks.collect();
    if blocks.len() > 1 {
        blocks.into_par_iter().map(work).collect()
    } else {
        blocks.into_iter().map(work).collect()
    }
}

/// Block number `index` of a vector; the last one may be shorter.
pub(super) fn block<T>(vector: &[T], index: usize) -> &[T] {
    &vector[index * BLOCK..vector.len().min((index + 1) * BLOCK)]
}

/// A vector of zeros that its maker can still write to, through `Arc::get_mut`.
pub(super) fn zeros<T: Scalar>(length: usize) -> Arc<[T]> {
    std::iter::repeat_n(T::ZERO, length).collect()
}

/// The elements of a vector made by [`zeros`] that nobody else holds yet.
pub(super) fn fill<T>(vector: &mut Arc<[T]>) -> &mut [T] {
    Arc::get_mut(vector).expect("a vector is shared only once it is filled")
}

/// Something that may be overwritten once nobody else holds it.
pub(super) trait Reusable: Clone {
    /// Elements of each vector.
    fn length(&self) -> usize;
    /// Whether nobody else holds it.
    fn is_unshared(&mut self) -> bool;
}

impl<T> Reusable for Arc<[T]> {
    fn length(&self) -> usize {
        self.len()
    }

    fn is_unshared(&mut self) -> bool {
        Arc::get_mut(self).is_some()
    }
}

/// Vectors to overwrite once nobody else holds them. Fresh memory costs a pass of its own, because the
/// operating system zeroes it page by page.
#[derive(Debug)]
pub(super) struct Spare<V>(Vec<V>);

impl<V> Default for Spare<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Clone for Spare<V> {
    /// A clone has no vectors: neither holder of a shared vector could write to it.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<V: Reusable> Spare<V> {
    /// Maximum number of vectors kept. When a direction or point is made, the last one may still be in use,
    /// but not the one before it.
    const MAX: usize = 2;

    /// An unshared vector of `length` with arbitrary contents, if there is one.
    pub(super) fn take(&mut self, length: usize) -> Option<V> {
        let unused = |kept: &mut V| kept.length() == length && kept.is_unshared();
        self.0.iter_mut().position(unused).map(|index| self.0.remove(index))
    }

    /// Keeps `used` for later, though others may still hold it.
    pub(super) fn keep(&mut self, used: &V) {
        if self.0.len() == Self::MAX {
            self.0.remove(0);
        }
        self.0.push(used.clone());
    }
}

impl<T: Scalar> Spare<Arc<[T]>> {
    /// A vector of `length` with arbitrary contents, for [`fill`].
    pub(super) fn room(&mut self, length: usize) -> Arc<[T]> {
        self.take(length).unwrap_or_else(|| zeros(length))
    }
}

/// The elements in whole groups of one per lane; an incomplete last group is left out.
#[inline(always)]
pub(super) fn groups<T>(values: &[T]) -> &[[T; LANES]] {
    values.as_chunks().0
}

/// The elements that [`groups`] leaves out, padded with zeros, which add nothing to a sum.
#[inline(always)]
pub(super) fn last_group<T: Scalar>(values: &[T]) -> [T; LANES] {
    let rest = values.as_chunks::<LANES>().1;
    let mut group = [T::ZERO; LANES];
    group[..rest.len()].copy_from_slice(rest);
    group
}

#[inline(always)]
pub(super) fn widen<T: Scalar>(group: &[T; LANES]) -> Lanes {
    std::array::from_fn(|lane| group[lane].to_f64())
}

/// a b + c for elements or factors a and b of vectors of `T`: fused where the processor can and the fusing
/// changes no bit.
#[inline(always)]
pub(super) fn multiply_add<T: Scalar, const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED && T::PRODUCTS_ARE_EXACT { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
pub(super) fn add_products<T: Scalar, const FUSED: bool>(sums: &mut Lanes, a: &Lanes, b: &Lanes) {
    for lane in 0..LANES {
        sums[lane] = multiply_add::<T, FUSED>(a[lane], b[lane], sums[lane]);
    }
}

/// Adds up the lanes of a block.
pub(super) fn sum_lanes(lanes: Lanes) -> f64 {
    lanes.into_iter().fold(0.0, |sum, lane| sum + lane)
}

/// The inner product of one block.
struct Dot<'a, T> {
    a: &'a [T],
    b: &'a [T],
}

impl<T: Scalar> Vectorized for Dot<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        let mut sums = [0.0; LANES];
        for (a, b) in groups(self.a).iter().zip(groups(self.b)) {
            add_products::<T, FUSED>(&mut sums, &widen(a), &widen(b));
        }
        add_products::<T, FUSED>(&mut sums, &widen(&last_group(self.a)), &widen(&last_group(self.b)));
        sum_lanes(sums)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Numbers of many magnitudes, without a pattern.
    pub(in crate::optimizers) fn noise(seed: u32) -> Vec<f64> {
        let number = |index: u32| {
            let mut bits = u64::from(index + seed) + 1;
            for multiplier in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
                bits = (bits ^ (bits >> 33)).wrapping_mul(multiplier);
            }
            // Times a power of two from 2^-80 to 2^-41.
            (bits as i64 as f64) * f64::from_bits((1023 - 80 + bits % 40) << 52)
        };
        (0..1237).map(number).collect()
    }

    #[test]
    fn a_factor_times_an_element_of_training_precision_is_exact() {
        for (value, element) in noise(0).into_iter().zip(noise(5000)) {
            let (factor, element) = (f32::factor(value), f64::from(element as f32));
            assert!((factor - value).abs() <= value.abs() / f64::from(1u32 << 29), "{factor} for {value}");
            assert_eq!(factor.mul_add(element, -(factor * element)), 0.0, "{factor} times {element}");
        }
        assert_eq!([f32::factor(0.5 * TINY), f32::factor(-0.5 * TINY)], [0.0; 2]);
        assert!(!f32::factor(f64::MAX).is_finite());
    }
}
