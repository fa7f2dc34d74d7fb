//! How fast this machine can multiply and add at all, for benchmarks to compare with.

use super::simd::{Computation, LANES_MAX, Simd};

/// `steps` multiply-adds on each of some vectors that stay in registers; answers how many floating-point
/// operations that were. `many` takes more vectors.
pub(super) struct MultiplyAdds {
    pub(super) many: bool,
    pub(super) steps: u32,
}

impl Computation for MultiplyAdds {
    type Output = u64;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> u64 {
        let MultiplyAdds { many, steps } = self;
        // SAFETY: passed on.
        let chains = unsafe { if many { many_chains::<S>(steps) } else { few_chains::<S>(steps) } };
        2 * u64::from(steps) * (chains * S::LANES) as u64
    }
}

/// Written out, because compilers that only perhaps unroll a loop over the vectors perhaps keep them in
/// memory.
macro_rules! chains {
    ($name:ident, $count:literal: $($i:literal)*) => {
        #[inline(always)]
        unsafe fn $name<S: Simd>(steps: u32) -> usize {
            // So small that no sum ever changes: none leaves the range of f32 or becomes subnormal.
            let factor = std::hint::black_box(1e-12f32);
            // Told apart by nothing but their place, or a compiler would compute equal sums once.
            let starts = std::hint::black_box([1.0f32; $count]);
            let mut answer = [0.0f32; LANES_MAX];
            // SAFETY: the pointers are to one number each, and to as many as the widest vector has.
            unsafe {
                let factor = S::splat(&raw const factor);
                let mut sums = [$(S::splat(&raw const starts[$i])),*];
                for _ in 0..steps {
                    // Each takes its neighbor as an operand, so that no product could be kept for the next
                    // time.
                    $(sums[$i] = S::multiply_add(factor, sums[($i + 1) % $count], sums[$i]);)*
                }
                for sum in sums {
                    S::store(answer.as_mut_ptr(), sum);
                    // Otherwise a compiler would leave the loop out.
                    std::hint::black_box(&answer);
                }
            }
            $count
        }
    };
}

// So many fit the 16 registers of x86-64 together with their operands.
chains!(few_chains, 12: 0 1 2 3 4 5 6 7 8 9 10 11);
// These keep processors busy that have more registers and begin more instructions at once.
chains!(many_chains, 24: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23);
