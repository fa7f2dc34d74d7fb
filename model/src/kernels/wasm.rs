//! WebAssembly SIMD: 4 lanes. The fused multiply-add exists only in builds with relaxed SIMD, because a
//! browser without it rejects a module that contains even one such instruction.

use core::arch::wasm32::{f32x4_add, f32x4_mul, f32x4_splat, v128, v128_load, v128_load32_splat, v128_store};

use super::product::{MANY_ROWS, Operands, product};
use super::simd::{Computation, Simd};

/// Runs `task` on 4 lanes. `fused` may be true only in a build with relaxed SIMD.
///
/// # Safety
/// The task must meet its type's requirements.
pub(super) unsafe fn run<T: Computation>(fused: bool, task: T) -> T::Output {
    // SAFETY: the caller meets the same requirements, and an engine without the instructions would not have
    // loaded this module.
    unsafe {
        #[cfg(target_feature = "relaxed-simd")]
        if fused {
            return task.run::<Wasm<true>>();
        }
        assert!(!fused, "fused arithmetic in a build without relaxed SIMD");
        task.run::<Wasm<false>>()
    }
}

/// The shape of a tile: its sums, the vectors of B and one value of A should fit 16 registers.
struct Tile {
    rows: usize,
    vectors: usize,
}

/// The tile for a C with few rows: the forward pass of a minibatch. Both tiles were chosen by measurement
/// (docs/experiments.md). To measure again, change them and run `shoal bench --browser chromium`. No bit
/// depends on them.
const FEW: Tile = Tile { rows: 2, vectors: 4 };
/// The tile for a C with many rows: a gradient, local steps in place, a large minibatch.
const MANY: Tile = Tile { rows: 3, vectors: 3 };

struct Wasm<const FUSED: bool>;

impl<const FUSED: bool> Simd for Wasm<FUSED> {
    type Vector = v128;

    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> v128 {
        // SAFETY: the caller guarantees four elements at `from`.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: v128) {
        // SAFETY: the caller guarantees four elements at `to`.
        unsafe { v128_store(to.cast(), vector) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> v128 {
        // SAFETY: the caller guarantees the element at `from`.
        unsafe { v128_load32_splat(from.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply_add(a: v128, b: v128, sum: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        if FUSED {
            // The specification lets an engine round twice here; the known-answer test detects such an
            // engine.
            return core::arch::wasm32::f32x4_relaxed_madd(a, b, sum);
        }
        f32x4_add(sum, f32x4_mul(a, b))
    }

    #[inline(always)]
    unsafe fn add_zero(vector: v128) -> v128 {
        f32x4_add(vector, f32x4_splat(0.0))
    }

    #[inline(always)]
    unsafe fn product<const IN_PLACE: bool>(operands: &Operands, packed: &mut Vec<f32>) {
        // SAFETY: the caller meets the same requirements.
        unsafe {
            if operands.m < MANY_ROWS {
                product::<Self, { FEW.rows }, { FEW.vectors }, IN_PLACE>(operands, packed);
            } else {
                product::<Self, { MANY.rows }, { MANY.vectors }, IN_PLACE>(operands, packed);
            }
        }
    }
}
