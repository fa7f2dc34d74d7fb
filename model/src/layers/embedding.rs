//! The embedding: each column of an example is an integer, and is replaced by that integer's learned vector.
//!
//! Shapes, row-major: x `[examples, columns]`, W `[vocabulary, width]`, y `[examples, columns, width]`. The
//! reader of the data checks that it holds only integers below the vocabulary. Here, a value is truncated to
//! an integer and clamped to the vocabulary, and NaN counts as 0, so that no data can do harm.

use std::ops::Range;

use super::Means;

/// An embedding, with the range of its parameters in the flat vector.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    pub(crate) vocabulary: usize,
    pub(crate) width: usize,
    /// W, row-major.
    pub(crate) weight: Range<usize>,
}

impl Embedding {
    /// Writes y to `outputs`.
    pub(crate) fn forward(&self, means: &Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        let weight = &means.weights[self.weight.clone()];
        for (&input, output) in inputs.iter().zip(outputs.chunks_exact_mut(self.width)) {
            output.copy_from_slice(&weight[self.row(input)]);
        }
    }

    /// Adds the derivatives by W. Each vector's derivative goes over increasing examples and columns. There
    /// are no derivatives by x.
    pub(crate) fn backward(&self, inputs: &[f32], delta: &[f32], gradient: &mut [f32]) {
        let gradient = &mut gradient[self.weight.clone()];
        for (&input, delta) in inputs.iter().zip(delta.chunks_exact(self.width)) {
            for (sum, delta) in gradient[self.row(input)].iter_mut().zip(delta) {
                *sum += delta;
            }
        }
    }

    /// The range of an integer's vector in W.
    fn row(&self, input: f32) -> Range<usize> {
        // The conversion saturates: a negative number or NaN becomes 0.
        let integer = (input as usize).min(self.vocabulary - 1);
        integer * self.width..(integer + 1) * self.width
    }
}
