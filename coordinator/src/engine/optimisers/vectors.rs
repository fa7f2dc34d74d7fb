//! The vector arithmetic of the optimisers, with one fixed order of operations.
//!
//! Products are summed in f64. A vector is cut into blocks of [`BLOCK`] elements; inside a block
//! element i goes to lane i mod [`LANES`], each lane adds up its elements in order, then the lanes
//! are added in order, then the blocks. That tree depends on the vectors' length alone. Blocks are
//! computed by rayon's threads, each block by one of them, and their sums are put in the blocks'
//! order before anybody adds them: how many threads there are and who takes which block cannot
//! change one bit.

use std::fmt::Debug;
use std::ops::{Add, Mul, Neg, Sub};
use std::sync::Arc;

use model::{Vectorised, vectorise};
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An element of an optimiser's vectors: f32 for training, f64 for reference problems.
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
    /// The value, exactly.
    fn to_f64(self) -> f64;
    /// The nearest value to `value`, ties to even.
    fn from_f64(value: f64) -> Self;
}

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
}

/// Elements that one thread takes at a time. A vector of one block never leaves its own thread:
/// waking another one would take as long.
pub(super) const BLOCK: usize = 65_536;

/// Independent running sums inside a block; enough to fill the vector units.
pub(super) const LANES: usize = 8;

/// One element for each lane.
pub(super) type Lanes = [f64; LANES];

/// Inner product.
pub(super) fn dot<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    each_block(a.chunks(BLOCK).zip(b.chunks(BLOCK)), |(a, b)| vectorise(Dot { a, b })).into_iter().sum()
}

/// Euclidean norm.
pub(super) fn norm<T: Scalar>(a: &[T]) -> f64 {
    dot(a, a).sqrt()
}

/// What `work` makes of every block, in the blocks' order.
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

/// Vectors to be written over once nobody else holds them. Fresh memory costs a pass of its own:
/// the operating system hands it out page by page, each filled with zeros.
#[derive(Debug)]
pub(super) struct Spare<T>(Vec<Arc<[T]>>);

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Clone for Spare<T> {
    /// Without the vectors: what two hold, neither can write to.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T: Scalar> Spare<T> {
    /// Vectors kept: when a direction is made, the last one may still be in use, but not the one
    /// before.
    const MAX: usize = 2;

    /// A vector of `length` with whatever it holds, for [`fill`].
    pub(super) fn take(&mut self, length: usize) -> Arc<[T]> {
        let unused = |vector: &mut Arc<[T]>| vector.len() == length && Arc::get_mut(vector).is_some();
        match self.0.iter_mut().position(unused) {
            Some(index) => self.0.remove(index),
            None => zeros(length),
        }
    }

    /// Keeps `vector`, which others hold too, for later.
    pub(super) fn keep(&mut self, vector: &Arc<[T]>) {
        if self.0.len() == Self::MAX {
            self.0.remove(0);
        }
        self.0.push(Arc::clone(vector));
    }
}

/// The elements in groups of one for each lane, without those of the last group if it is not whole.
#[inline(always)]
pub(super) fn groups<T>(values: &[T]) -> &[[T; LANES]] {
    values.as_chunks().0
}

/// The elements that [`groups`] leaves out, filled up with zeros, which add nothing to a sum.
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

#[inline(always)]
pub(super) fn add_products(sums: &mut Lanes, a: &Lanes, b: &Lanes) {
    for lane in 0..LANES {
        sums[lane] += a[lane] * b[lane];
    }
}

/// The sum of a block from its lanes.
pub(super) fn sum_lanes(lanes: Lanes) -> f64 {
    lanes.into_iter().fold(0.0, |sum, lane| sum + lane)
}

/// The inner product of one block.
struct Dot<'a, T> {
    a: &'a [T],
    b: &'a [T],
}

impl<T: Scalar> Vectorised for Dot<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut sums = [0.0; LANES];
        for (a, b) in groups(self.a).iter().zip(groups(self.b)) {
            add_products(&mut sums, &widen(a), &widen(b));
        }
        add_products(&mut sums, &widen(&last_group(self.a)), &widen(&last_group(self.b)));
        sum_lanes(sums)
    }
}
