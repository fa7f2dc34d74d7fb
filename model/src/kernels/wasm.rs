//! WebAssembly SIMD: 4 lanes. The fused multiply-add exists only in builds with relaxed SIMD, because a browser without
//! it rejects a module that contains even one such instruction.

use core::arch::wasm32::{f32x4_add, f32x4_mul, f32x4_splat, v128, v128_load, v128_load32_splat, v128_store};

use super::product::{Operands, add_product};
use super::roof;
use super::simd::Simd;

/// C += A B on 4 lanes. `fused` may be true only in a build with relaxed SIMD.
///
/// # Safety
/// `operands` must be as [`Operands`] asks.
pub(super) unsafe fn product(fused: bool, operands: &Operands, tail: &mut Vec<f32>) {
    // SAFETY: passed on; a module with instructions that the engine lacks would not have been loaded.
    unsafe {
        #[cfg(target_feature = "relaxed-simd")]
        if fused {
            return add_product::<Wasm<true>, 2, 4>(operands, tail);
        }
        assert!(!fused, "a fused product in a build without relaxed SIMD");
        add_product::<Wasm<false>, 2, 4>(operands, tail);
    }
}

/// As [`roof::multiply_adds`]. `fused` may be true only in a build with relaxed SIMD.
pub(super) fn multiply_adds(fused: bool, many: bool, steps: u32) -> u64 {
    // SAFETY: a module with instructions that the engine lacks would not have been loaded.
    unsafe {
        #[cfg(target_feature = "relaxed-simd")]
        if fused {
            return roof::multiply_adds::<Wasm<true>>(many, steps);
        }
        assert!(!fused, "a fused product in a build without relaxed SIMD");
        roof::multiply_adds::<Wasm<false>>(many, steps)
    }
}

struct Wasm<const FUSED: bool>;

// SAFETY of every block: the caller vouches for the pointers, as the trait asks.
impl<const FUSED: bool> Simd for Wasm<FUSED> {
    type Vector = v128;

    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> v128 {
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: v128) {
        unsafe { v128_store(to.cast(), vector) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> v128 {
        unsafe { v128_load32_splat(from.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply_add(a: v128, b: v128, sum: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        if FUSED {
            // The specification lets an engine round twice here; the known-answer test finds those that do.
            return core::arch::wasm32::f32x4_relaxed_madd(a, b, sum);
        }
        f32x4_add(sum, f32x4_mul(a, b))
    }

    #[inline(always)]
    unsafe fn add_zero(vector: v128) -> v128 {
        f32x4_add(vector, f32x4_splat(0.0))
    }
}
