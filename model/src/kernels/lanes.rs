//! The path for processors without one of their own: arrays that the compiler may turn into whatever vectors it knows.

use super::product::{Operands, add_product};
use super::roof;
use super::simd::Simd;

/// C += A B in plain Rust.
///
/// # Safety
/// `operands` must be as [`Operands`] asks.
pub(super) unsafe fn product(fused: bool, operands: &Operands, tail: &mut Vec<f32>) {
    // SAFETY: passed on; plain Rust needs no special instructions.
    unsafe {
        if fused {
            add_product::<Lanes<true>, 2, 2>(operands, tail);
        } else {
            add_product::<Lanes<false>, 2, 2>(operands, tail);
        }
    }
}

/// As [`roof::multiply_adds`].
pub(super) fn multiply_adds(fused: bool, many: bool, steps: u32) -> u64 {
    // SAFETY: plain Rust needs no special instructions.
    unsafe {
        if fused {
            roof::multiply_adds::<Lanes<true>>(many, steps)
        } else {
            roof::multiply_adds::<Lanes<false>>(many, steps)
        }
    }
}

const LANES: usize = 8;

struct Lanes<const FUSED: bool>;

impl<const FUSED: bool> Simd for Lanes<FUSED> {
    type Vector = [f32; LANES];

    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Vector {
        // SAFETY: the caller vouches for the pointer.
        unsafe { from.cast::<Self::Vector>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: Self::Vector) {
        // SAFETY: the caller vouches for the pointer.
        unsafe { to.cast::<Self::Vector>().write_unaligned(vector) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self::Vector {
        // SAFETY: the caller vouches for the pointer.
        [unsafe { *from }; LANES]
    }

    #[inline(always)]
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, mut sum: Self::Vector) -> Self::Vector {
        for i in 0..LANES {
            // `mul_add` rounds once wherever it is compiled to: an instruction, or a routine that computes it.
            sum[i] = if FUSED { a[i].mul_add(b[i], sum[i]) } else { sum[i] + a[i] * b[i] };
        }
        sum
    }

    #[inline(always)]
    unsafe fn add_zero(vector: Self::Vector) -> Self::Vector {
        vector.map(|value| value + 0.0)
    }
}
