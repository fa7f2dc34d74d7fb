//! AVX2 with FMA, and AVX-512, chosen at run time.

use core::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::product::{Operands, add_product};
use super::roof;
use super::simd::Simd;

/// C += A B on 8 lanes.
///
/// # Safety
/// The processor must have AVX2 and FMA, and `operands` must be as [`Operands`] asks.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn product_avx2(fused: bool, operands: &Operands, tail: &mut Vec<f32>) {
    // SAFETY: the instructions are enabled here, and the caller vouches for the operands.
    unsafe {
        if fused {
            add_product::<Avx2<true>, 5, 2>(operands, tail);
        } else {
            add_product::<Avx2<false>, 5, 2>(operands, tail);
        }
    }
}

/// C += A B on 16 lanes.
///
/// # Safety
/// The processor must have AVX-512 F, and `operands` must be as [`Operands`] asks.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn product_avx512(fused: bool, operands: &Operands, tail: &mut Vec<f32>) {
    // SAFETY: the instructions are enabled here, and the caller vouches for the operands.
    unsafe {
        if fused {
            add_product::<Avx512<true>, 5, 4>(operands, tail);
        } else {
            add_product::<Avx512<false>, 5, 4>(operands, tail);
        }
    }
}

/// As [`roof::multiply_adds`], on 8 lanes.
///
/// # Safety
/// The processor must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn multiply_adds_avx2(fused: bool, many: bool, steps: u32) -> u64 {
    // SAFETY: the instructions are enabled here.
    unsafe {
        if fused {
            roof::multiply_adds::<Avx2<true>>(many, steps)
        } else {
            roof::multiply_adds::<Avx2<false>>(many, steps)
        }
    }
}

/// As [`roof::multiply_adds`], on 16 lanes.
///
/// # Safety
/// The processor must have AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn multiply_adds_avx512(fused: bool, many: bool, steps: u32) -> u64 {
    // SAFETY: the instructions are enabled here.
    unsafe {
        if fused {
            roof::multiply_adds::<Avx512<true>>(many, steps)
        } else {
            roof::multiply_adds::<Avx512<false>>(many, steps)
        }
    }
}

macro_rules! implement_simd {
    ($name:ident, $vector:ty, $lanes:literal, $load:ident, $store:ident, $set1:ident, $zero:ident, $add:ident, $mul:ident, $fma:ident) => {
        struct $name<const FUSED: bool>;

        // SAFETY of every block: the caller vouches for the instructions and the pointers, as the trait asks.
        impl<const FUSED: bool> Simd for $name<FUSED> {
            type Vector = $vector;

            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn load(from: *const f32) -> $vector {
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(to: *mut f32, vector: $vector) {
                unsafe { $store(to, vector) }
            }

            #[inline(always)]
            unsafe fn splat(from: *const f32) -> $vector {
                unsafe { $set1(*from) }
            }

            #[inline(always)]
            unsafe fn multiply_add(a: $vector, b: $vector, sum: $vector) -> $vector {
                unsafe { if FUSED { $fma(a, b, sum) } else { $add(sum, $mul(a, b)) } }
            }

            #[inline(always)]
            unsafe fn add_zero(vector: $vector) -> $vector {
                unsafe { $add(vector, $zero()) }
            }
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
    _mm256_fmadd_ps
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
    _mm512_fmadd_ps
);
