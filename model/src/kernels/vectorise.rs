//! Plain loops compiled for the machine's vector instructions.
//!
//! The compiler may use wider vectors but never another order of operations, nor a fused multiply-add where the source
//! has none: so the bits are the same in every version.

/// A loop to be compiled once for each set of instructions.
pub trait Vectorised {
    /// What it computes.
    type Output;

    /// Runs the loop. Must be `#[inline(always)]`, as must what it calls in its loop: only what is inlined into
    /// [`vectorise`] is compiled for its instructions.
    fn run(self) -> Self::Output;
}

/// Runs `work` with the widest vectors this machine has.
pub fn vectorise<W: Vectorised>(work: W) -> W::Output {
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
    work.run()
}

/// # Safety
/// The processor must have AVX-512 F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn with_avx512<W: Vectorised>(work: W) -> W::Output {
    work.run()
}

/// # Safety
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn with_avx2<W: Vectorised>(work: W) -> W::Output {
    work.run()
}
