//! The few vector operations that the kernels need, so that one source serves every processor.

use super::product::Operands;

/// A vector of `f32` on some processor, in one arithmetic.
///
/// # Safety
/// Every method requires that the processor has the instructions of the implementing type. Pointers must be
/// valid for `LANES` elements (one for `splat`); they need not be aligned.
pub(super) trait Simd {
    type Vector: Copy;

    /// Elements in a vector, at most [`LANES_MAX`].
    const LANES: usize;

    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, vector: Self::Vector);
    /// The element at `from` in every lane.
    unsafe fn splat(from: *const f32) -> Self::Vector;
    /// `sum + a * b`, in the arithmetic of the type.
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, sum: Self::Vector) -> Self::Vector;
    /// `vector + 0.0`: turns -0 into 0 and changes nothing else.
    unsafe fn add_zero(vector: Self::Vector) -> Self::Vector;

    /// Computes a product in the tile shape measured to suit the processor.
    ///
    /// # Safety
    /// `operands` must meet the requirements of [`Operands`].
    unsafe fn product<const IN_PLACE: bool>(operands: &Operands, packed: &mut Vec<f32>);
}

/// Maximum lanes of a vector on any processor.
pub(crate) const LANES_MAX: usize = 16;

/// A computation that is written once for all vector types.
pub(super) trait Computation {
    type Output;

    /// Runs the computation.
    ///
    /// # Safety
    /// The processor must have the instructions of `S`, and the computation must meet its type's
    /// requirements.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}
