//! The peak rate of multiply-adds on this machine, for benchmarks to compare with.

use super::simd::{Computation, LANES_MAX, Simd};

/// `steps` multiply-adds on each of several vectors that stay in registers. The output is the number of
/// floating-point operations. `many` uses more vectors.
pub(super) struct MultiplyAdds {
    pub(super) many: bool,
    pub(super) steps: u32,
}

impl Computation for MultiplyAdds {
    type Output = u64;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> u64 {
        let MultiplyAdds { many, steps } = self;
        // SAFETY: the caller meets the same requirements.
        let chains = unsafe { if many { many_chains::<S>(steps) } else { few_chains::<S>(steps) } };
        2 * u64::from(steps) * (chains * S::LANES) as u64
    }
}

/// The chains are written out: a compiler may or may not unroll a loop over the vectors, and may then keep
/// them in memory.
macro_rules! chains {
    ($name:ident, $count:literal: $($i:literal)*) => {
        #[inline(always)]
        unsafe fn $name<S: Simd>(steps: u32) -> usize {
            // A factor so small that no sum ever changes, overflows or becomes subnormal.
            let factor = std::hint::black_box(1e-12f32);
            // The starts are opaque to the compiler, or it would compute equal sums only once.
            let starts = std::hint::black_box([1.0f32; $count]);
            let mut answer = [0.0f32; LANES_MAX];
            // SAFETY: the pointers given to `splat` hold one number, and `answer` has room for the widest
            // vector.
            unsafe {
                let factor = S::splat(&raw const factor);
                let mut sums = [$(S::splat(&raw const starts[$i])),*];
                for _ in 0..steps {
                    // Each chain takes its neighbor as an operand, so that no product can be reused in the
                    // next step.
                    $(sums[$i] = S::multiply_add(factor, sums[($i + 1) % $count], sums[$i]);)*
                }
                for sum in sums {
                    S::store(answer.as_mut_ptr(), sum);
                    // Otherwise the compiler would remove the loop.
                    std::hint::black_box(&answer);
                }
            }
            $count
        }
    };
}

// Twelve vectors and their operands fit the 16 registers of x86-64.
chains!(few_chains, 12: 0 1 2 3 4 5 6 7 8 9 10 11);
// Twenty-four vectors suit processors with more registers that issue more instructions at once.
chains!(many_chains, 24: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23);
