//! How fast this machine can multiply and add at all, for benchmarks to compare with.

use super::simd::{MAX_LANES, Simd};

/// Independent chains of multiply-adds in flight: so many fit the 16 registers of x86-64 together with their operands.
const FEW: usize = 12;
/// These keep processors busy that have more registers and begin more instructions at once.
const MANY: usize = 24;

/// `steps` multiply-adds on each of [`FEW`] or [`MANY`] vectors that stay in registers; answers how many floating-point
/// operations that were.
///
/// # Safety
/// The processor must have the instructions of `S`.
#[inline(always)]
pub(super) unsafe fn multiply_adds<S: Simd>(many: bool, steps: u32) -> u64 {
    // SAFETY: passed on.
    let chains = unsafe { if many { chains::<S, MANY>(steps) } else { chains::<S, FEW>(steps) } };
    2 * u64::from(steps) * (chains * S::LANES) as u64
}

#[inline(always)]
unsafe fn chains<S: Simd, const N: usize>(steps: u32) -> usize {
    // So small that no sum ever changes: none leaves the range of f32 or becomes subnormal.
    let factor = std::hint::black_box(1e-12f32);
    // Told apart by nothing but their place, or a compiler would compute equal sums once.
    let starts = std::hint::black_box([1.0f32; N]);
    let mut answer = [0.0f32; MAX_LANES];
    // SAFETY: the pointers are to one number each, and to as many as the widest vector has.
    unsafe {
        let factor = S::splat(&raw const factor);
        let mut sums: [S::Vector; N] = std::array::from_fn(|i| S::splat(&raw const starts[i]));
        for _ in 0..steps {
            // Each takes its neighbour as an operand, so that no product could be kept for the next time.
            for i in 0..N {
                sums[i] = S::multiply_add(factor, sums[(i + 1) % N], sums[i]);
            }
        }
        for sum in sums {
            S::store(answer.as_mut_ptr(), sum);
            // Otherwise a compiler would leave the loop out.
            std::hint::black_box(&answer);
        }
    }
    N
}
