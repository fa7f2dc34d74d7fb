//! Element-wise operations on whole vectors.

use super::simd::{Computation, LANES_MAX, Simd};

/// `sum += factor * vector`, element by element. Both have the same length.
pub(super) struct AddScaled<'a> {
    pub(super) factor: f32,
    pub(super) vector: &'a [f32],
    pub(super) sum: &'a mut [f32],
}

impl Computation for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let AddScaled { factor, vector, sum } = self;
        let full = sum.len() - sum.len() % S::LANES;
        let (mut last, mut last_sum) = ([0.0f32; LANES_MAX], [0.0f32; LANES_MAX]);
        let rest = sum.len() - full;
        last[..rest].copy_from_slice(&vector[full..]);
        last_sum[..rest].copy_from_slice(&sum[full..]);
        // SAFETY: vectors begin below `full`, and the copies have room for one.
        unsafe {
            let factor = S::splat(&raw const factor);
            for i in (0..full).step_by(S::LANES) {
                let to = sum.as_mut_ptr().add(i);
                S::store(to, S::multiply_add(factor, S::load(vector.as_ptr().add(i)), S::load(to)));
            }
            let to = last_sum.as_mut_ptr();
            S::store(to, S::multiply_add(factor, S::load(last.as_ptr()), S::load(to)));
        }
        sum[full..].copy_from_slice(&last_sum[..rest]);
    }
}
