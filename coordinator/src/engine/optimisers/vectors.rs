//! The vector arithmetic of the optimisers, with one fixed order of operations.
//!
//! Products are summed in f64. A vector is cut into chunks of [`CHUNK`] elements; inside a chunk
//! element i goes to lane i mod [`LANES`], lanes are added in order, then chunks are added in
//! order. The chunks can therefore be computed by any number of threads without changing one bit.

use std::fmt::Debug;
use std::ops::{Add, Mul, Neg, Sub};
use std::sync::Arc;

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
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

impl Scalar for f64 {
    const ZERO: Self = 0.0;
    const HALF: Self = 0.5;
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(value: f64) -> Self {
        value
    }
}

/// Elements whose products are summed together before they join the total.
pub(super) const CHUNK: usize = 4096;

/// Independent running sums inside a chunk; enough to fill the vector units.
const LANES: usize = 8;

/// Inner product.
pub(super) fn dot<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    let chunks = a.chunks(CHUNK).zip(b.chunks(CHUNK));
    chunks.fold(0.0, |sum, (a, b)| sum + chunk_products([a], [b])[0][0])
}

/// Euclidean norm.
pub(super) fn norm<T: Scalar>(a: &[T]) -> f64 {
    dot(a, a).sqrt()
}

/// All inner products of `left` with `right`, for slices of at most one chunk and equal lengths.
pub(super) fn chunk_products<T: Scalar, const A: usize, const B: usize>(
    left: [&[T]; A],
    right: [&[T]; B],
) -> [[f64; B]; A] {
    let length = left[0].len();
    let mut lanes = [[[0.0f64; LANES]; B]; A];
    let whole = length - length % LANES;
    for start in (0..whole).step_by(LANES) {
        let left = left.map(|x| load(&x[start..start + LANES]));
        let right = right.map(|x| load(&x[start..start + LANES]));
        for (lanes, left) in lanes.iter_mut().zip(&left) {
            for (lanes, right) in lanes.iter_mut().zip(&right) {
                for lane in 0..LANES {
                    lanes[lane] += left[lane] * right[lane];
                }
            }
        }
    }
    for index in whole..length {
        for (lanes, left) in lanes.iter_mut().zip(&left) {
            for (lanes, right) in lanes.iter_mut().zip(&right) {
                lanes[index - whole] += left[index].to_f64() * right[index].to_f64();
            }
        }
    }
    lanes.map(|row| row.map(|lanes| lanes.iter().fold(0.0, |sum, lane| sum + lane)))
}

/// Chunk number `index` of a vector; the last one may be shorter.
pub(super) fn chunk<T>(vector: &[T], index: usize) -> &[T] {
    &vector[index * CHUNK..vector.len().min((index + 1) * CHUNK)]
}

/// A vector of zeros that its maker can still write to, through `Arc::get_mut`.
pub(super) fn zeros<T: Scalar>(length: usize) -> Arc<[T]> {
    std::iter::repeat_n(T::ZERO, length).collect()
}

/// The elements of a vector made by [`zeros`] that nobody else holds yet.
pub(super) fn fill<T>(vector: &mut Arc<[T]>) -> &mut [T] {
    Arc::get_mut(vector).expect("a vector is shared only once it is filled")
}

fn load<T: Scalar>(values: &[T]) -> [f64; LANES] {
    std::array::from_fn(|lane| values[lane].to_f64())
}
