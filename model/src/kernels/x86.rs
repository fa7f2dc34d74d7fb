//! AVX2 with FMA, and AVX-512, chosen at run time.

use core::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::product::{Operands, product};
use super::simd::{Computation, Simd};

/// Runs `task` on 8 lanes.
///
/// # Safety
/// The processor must have AVX2 and FMA, and the task must meet its type's requirements.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_avx2<T: Computation>(fused: bool, task: T) -> T::Output {
    // SAFETY: the instructions are enabled here, and the caller guarantees the task's requirements.
    unsafe { if fused { task.run::<Avx2<true>>() } else { task.run::<Avx2<false>>() } }
}

/// Runs `task` on 16 lanes.
///
/// # Safety
/// The processor must have AVX-512 F, AVX2 and FMA, and the task must meet its type's requirements.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) unsafe fn run_avx512<T: Computation>(fused: bool, task: T) -> T::Output {
    // SAFETY: the instructions are enabled here, and the caller guarantees the task's requirements.
    unsafe { if fused { task.run::<Avx512<true>>() } else { task.run::<Avx512<false>>() } }
}

macro_rules! implement_simd {
    ($name:ident, $vector:ty, $lanes:literal, $load:ident, $store:ident, $set1:ident, $zero:ident, $add:ident, $mul:ident, $fma:ident, { $($product:tt)* }) => {
        struct $name<const FUSED: bool>;

        impl<const FUSED: bool> Simd for $name<FUSED> {
            type Vector = $vector;

            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn load(from: *const f32) -> $vector {
                // SAFETY: the caller guarantees the instructions and `LANES` elements at `from`.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(to: *mut f32, vector: $vector) {
                // SAFETY: the caller guarantees the instructions and `LANES` elements at `to`.
                unsafe { $store(to, vector) }
            }

            #[inline(always)]
            unsafe fn splat(from: *const f32) -> $vector {
                // SAFETY: the caller guarantees the instructions and the element at `from`.
                unsafe { $set1(*from) }
            }

            #[inline(always)]
            unsafe fn multiply_add(a: $vector, b: $vector, sum: $vector) -> $vector {
                // SAFETY: the caller guarantees the instructions.
                unsafe { if FUSED { $fma(a, b, sum) } else { $add(sum, $mul(a, b)) } }
            }

            #[inline(always)]
            unsafe fn add_zero(vector: $vector) -> $vector {
                // SAFETY: the caller guarantees the instructions.
                unsafe { $add(vector, $zero()) }
            }

            #[inline(always)]
            $($product)*
        }
    };
}

implement_simd!(
    Avx2,
    __m256,
    8,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_setzero_ps,
    _mm256_add_ps,
    _mm256_mul_ps,
    _mm256_fmadd_ps,
    {
        unsafe fn product<const IN_PLACE: bool>(operands: &Operands, packed: &mut Vec<f32>) {
            // SAFETY: the caller meets the same requirements.
            unsafe { product::<Self, 5, 2, IN_PLACE>(operands, packed) }
        }
    }
);
implement_simd!(
    Avx512,
    __m512,
    16,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_setzero_ps,
    _mm512_add_ps,
    _mm512_mul_ps,
    _mm512_fmadd_ps,
    {
        unsafe fn product<const IN_PLACE: bool>(operands: &Operands, packed: &mut Vec<f32>) {
            // SAFETY: the caller meets the same requirements; AVX-512 comes with AVX2.
            unsafe {
                if operands.n < Self::LANES {
                    Avx2::<FUSED>::product::<IN_PLACE>(operands, packed);
                } else {
                    product::<Self, 5, 4, IN_PLACE>(operands, packed);
                }
            }
        }
    }
);
