//! Plain loops compiled for the machine's vector instructions.
//!
//! The compiler may use wider vectors, but it never changes the order of operations and never fuses a
//! multiply-add that the source does not fuse. The bits are therefore the same in every version, unless a
//! loop uses `FUSED` where a product is rounded.

/// A loop that is compiled once for each instruction set.
pub trait Vectorized {
    /// The result of the loop.
    type Output;

    /// Runs the loop. This method must be `#[inline(always)]`, and so must the functions that its loop calls:
    /// only code inlined into [`vectorize`] is compiled for its instructions. `FUSED` says whether `mul_add`
    /// is an instruction; otherwise it calls a slow function.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// Runs `work` with the widest vectors this machine has.
pub fn vectorize<W: Vectorized>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if super::has_avx512() {
            // SAFETY: the processor has the instructions.
            return unsafe { with_avx512(work) };
        }
        if super::has_avx2() {
            // SAFETY: the processor has the instructions.
            return unsafe { with_avx2(work) };
        }
    }
    work.run::<{ cfg!(target_arch = "aarch64") }>()
}

/// # Safety
/// The processor must have AVX-512 F and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
unsafe fn with_avx512<W: Vectorized>(work: W) -> W::Output {
    work.run::<true>()
}

/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn with_avx2<W: Vectorized>(work: W) -> W::Output {
    work.run::<true>()
}
