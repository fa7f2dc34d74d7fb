//! Layer normalization, `y = g (x - mean) / sqrt(variance + e) + b`, over all values of an example.
//!
//! Ba, Kiros and Hinton (2016), "Layer Normalization", equation 4. Shapes, row-major: x and y `[examples,
//! values]`, g and b `[values]`. Values of an example are added to eight running sums in turn, which are then
//! added in order.

use std::ops::Range;

use super::{Means, Seen, sum};

/// A layer normalization, with the ranges of its parameters in the flat vector.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    pub(crate) values: usize,
    /// e: keeps the quotient finite if all values are equal.
    pub(crate) epsilon: f32,
    /// g, which starts at 1.
    pub(crate) gain: Range<usize>,
    /// b, which starts at 0.
    pub(crate) bias: Range<usize>,
}

impl LayerNorm {
    /// Writes y to `outputs`.
    pub(crate) fn forward(&self, means: &Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        let (gain, bias) = (&means.weights[self.gain.clone()], &means.weights[self.bias.clone()]);
        for (inputs, outputs) in inputs.chunks_exact(self.values).zip(outputs.chunks_exact_mut(self.values)) {
            let (mean, scale) = self.statistics(inputs);
            for (((output, input), gain), bias) in outputs.iter_mut().zip(inputs).zip(gain).zip(bias) {
                *output = (input - mean) * scale * gain + bias;
            }
        }
    }

    /// Adds the derivatives by g and b and writes those by x, as [`Step::backward`](super::Step::backward)
    /// describes.
    ///
    /// With n = (x - mean) scale, D the derivatives by y and G = D g: dg = D n and db = D, summed over
    /// examples, and dx = scale (G - mean of G - n times the mean of G n).
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &[f32],
        gradient: &mut [f32],
        mut input_delta: Option<&mut [f32]>,
    ) {
        let values = self.values;
        let gain = &means.weights[self.gain.clone()];
        let rows = seen.inputs.chunks_exact(values).zip(delta.chunks_exact(values));
        means.make_room(3 * values);
        let (normalized, rest) = means.buffer.split_at_mut(values);
        let (gained, rest) = rest.split_at_mut(values);
        let products = &mut rest[..values];
        for (i, (inputs, delta)) in rows.enumerate() {
            let (mean, scale) = self.statistics(inputs);
            for (normalized, input) in normalized.iter_mut().zip(inputs) {
                *normalized = (input - mean) * scale;
            }
            let gain_gradient = &mut gradient[self.gain.clone()];
            for ((sum, delta), normalized) in gain_gradient.iter_mut().zip(delta).zip(&*normalized) {
                *sum += delta * normalized;
            }
            for (sum, delta) in gradient[self.bias.clone()].iter_mut().zip(delta) {
                *sum += delta;
            }
            let Some(input_delta) = &mut input_delta else { continue };
            for j in 0..values {
                gained[j] = delta[j] * gain[j];
                products[j] = gained[j] * normalized[j];
            }
            let (shift, slope) = (sum(gained) / values as f32, sum(products) / values as f32);
            for (j, input_delta) in input_delta[i * values..(i + 1) * values].iter_mut().enumerate() {
                *input_delta = scale * (gained[j] - shift - normalized[j] * slope);
            }
        }
    }

    /// The mean, and 1 / sqrt(variance + e).
    fn statistics(&self, values: &[f32]) -> (f32, f32) {
        let mean = sum(values) / self.values as f32;
        let mut sums = [0.0f32; 8];
        for chunk in values.chunks(sums.len()) {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum += (value - mean) * (value - mean);
            }
        }
        let variance = sums.iter().fold(0.0, |total, sum| total + sum) / self.values as f32;
        (mean, 1.0 / (variance + self.epsilon).sqrt())
    }
}
