//! The fallback for processors without a path of their own: arrays that the compiler may turn into vectors.

use super::product::{Operands, product};
use super::simd::{Computation, Simd};

/// Runs `task` in plain Rust.
///
/// # Safety
/// The task must meet its type's requirements.
pub(super) unsafe fn run<T: Computation>(fused: bool, task: T) -> T::Output {
    // A build with WebAssembly SIMD never gets here; leaving the code out keeps the module small.
    let elsewhere = !cfg!(all(target_arch = "wasm32", target_feature = "simd128")) || cfg!(test);
    // SAFETY: the caller meets the same requirements; plain Rust needs no special instructions.
    unsafe {
        if fused && (elsewhere || !cfg!(target_feature = "relaxed-simd")) {
            task.run::<Lanes<true>>()
        } else if !fused && elsewhere {
            task.run::<Lanes<false>>()
        } else {
            unreachable!("a build with WebAssembly SIMD took the path in plain Rust")
        }
    }
}

const LANES: usize = if cfg!(target_arch = "wasm32") { 4 } else { 8 };

struct Lanes<const FUSED: bool>;

impl<const FUSED: bool> Simd for Lanes<FUSED> {
    type Vector = [f32; LANES];

    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Vector {
        // SAFETY: the caller guarantees a valid pointer.
        unsafe { from.cast::<Self::Vector>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: Self::Vector) {
        // SAFETY: the caller guarantees a valid pointer.
        unsafe { to.cast::<Self::Vector>().write_unaligned(vector) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self::Vector {
        // SAFETY: the caller guarantees a valid pointer.
        [unsafe { *from }; LANES]
    }

    #[inline(always)]
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, mut sum: Self::Vector) -> Self::Vector {
        for i in 0..LANES {
            // `mul_add` rounds once on every target, by an instruction or by a library routine.
            sum[i] = if FUSED { a[i].mul_add(b[i], sum[i]) } else { sum[i] + a[i] * b[i] };
        }
        sum
    }

    #[inline(always)]
    unsafe fn add_zero(vector: Self::Vector) -> Self::Vector {
        vector.map(|value| value + 0.0)
    }

    #[inline(always)]
    unsafe fn product<const IN_PLACE: bool>(operands: &Operands, packed: &mut Vec<f32>) {
        // SAFETY: the caller meets the same requirements.
        unsafe { product::<Self, 2, 2, IN_PLACE>(operands, packed) }
    }
}
