//! WebAssembly SIMD: 4 lanes. The fused multiply-add exists only in builds with relaxed SIMD, because a
//! browser without it rejects a module that contains even one such instruction.

use core::arch::wasm32::{f32x4_add, f32x4_mul, f32x4_splat, v128, v128_load, v128_load32_splat, v128_store};

use super::product::{MANY_ROWS, Operands, product};
use super::simd::{Computation, Simd};

/// Runs `task` on 4 lanes. `fused` may be true only in a build with relaxed SIMD.
///
/// # Safety
/// The task must be what its type asks.
pub(super) unsafe fn run<T: Computation>(fused: bool, task: T) -> T::Output {
    // SAFETY: passed on; a module with instructions that the engine lacks would not have been loaded.
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

/// Where C has few rows: a minibatch on the way forward. These two were measured (docs/experiments.md): to do
/// so again, change them and run `shoal bench --browser chromium`. No bit depends on them.
const FEW: Tile = Tile { rows: 2, vectors: 4 };
/// Where it has many: a gradient, local steps in place, a large minibatch.
const MANY: Tile = Tile { rows: 3, vectors: 3 };

struct Wasm<const FUSED: bool>;

impl<const FUSED: bool> Simd for Wasm<FUSED> {
    type Vector = v128;

    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> v128 {
        // SAFETY: the caller vouches for four elements at `from`.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: v128) {
        // SAFETY: the caller vouches for four elements at `to`.
        unsafe { v128_store(to.cast(), vector) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> v128 {
        // SAFETY: the caller vouches for the element at `from`.
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

    #[inline(always)]
    unsafe fn product<const IN_PLACE: bool>(operands: &Operands, packed: &mut Vec<f32>) {
        // SAFETY: passed on.
        unsafe {
            if operands.m < MANY_ROWS {
                product::<Self, { FEW.rows }, { FEW.vectors }, IN_PLACE>(operands, packed);
            } else {
                product::<Self, { MANY.rows }, { MANY.vectors }, IN_PLACE>(operands, packed);
            }
        }
    }
}
