//! Batch normalization, `y = g (x - mean) / sqrt(variance + e) + b`, with statistics over a minibatch in
//! training and running statistics in inference.
//!
//! Ioffe and Szegedy (2015), "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
//! Covariate Shift", algorithms 1 and 2. Shapes, row-major: x and y `[examples, channels, places]`, with one
//! place if the layer sees vectors; g and b `[channels]`. A channel's statistics cover all examples and
//! places.
//!
//! Within an example, a channel's values are added to eight running sums in turn, which are then added in
//! order. The examples' sums are added in order in 64 bits.

use std::ops::Range;

use super::{Means, Seen};
use crate::pass::Mode;

/// Number of running sums.
const LANES: usize = 8;

/// A batch normalization, with the ranges of its parameters in the flat vector.
#[derive(Debug, Clone)]
pub(crate) struct BatchNorm {
    pub(crate) channels: usize,
    pub(crate) places: usize,
    /// e: keeps the quotient finite if all values are equal.
    pub(crate) epsilon: f32,
    /// g, which starts at 1.
    pub(crate) gain: Range<usize>,
    /// b, which starts at 0.
    pub(crate) bias: Range<usize>,
    /// The running means, which start at 0. The range counts from the first statistic of the network, or, if
    /// frozen, from the beginning of the flat vector.
    pub(crate) mean: Range<usize>,
    /// The running variances, which start at 1. The range counts likewise.
    pub(crate) variance: Range<usize>,
    /// Whether it always goes by its running statistics, which stay as they are.
    pub(crate) frozen: bool,
}

impl BatchNorm {
    /// Writes y to `outputs`. In training, all of `inputs` is one minibatch, and its statistics are left in
    /// `means.observed`: the mean, and the variance divided by the number of values.
    pub(crate) fn forward(&self, means: &mut Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        let statistics = match means.mode {
            _ if self.frozen => means.weights,
            Mode::Inference => means.running,
            Mode::Training(_) => {
                self.observe(inputs, means.observed);
                &*means.observed
            }
        };
        let (mean, variance) = (&statistics[self.mean.clone()], &statistics[self.variance.clone()]);
        let (gain, bias) = (&means.weights[self.gain.clone()], &means.weights[self.bias.clone()]);
        let factor = |channel: usize| gain[channel] * self.scale(variance[channel]);
        means.buffer.clear();
        means.buffer.extend((0..self.channels).map(factor));
        let factors = &means.buffer[..];
        if self.places == 1 {
            let rows = inputs.chunks_exact(self.channels).zip(outputs.chunks_exact_mut(self.channels));
            for (inputs, outputs) in rows {
                for (c, (input, output)) in inputs.iter().zip(outputs).enumerate() {
                    *output = (input - mean[c]) * factors[c] + bias[c];
                }
            }
        } else {
            let rows = inputs.chunks_exact(self.places).zip(outputs.chunks_exact_mut(self.places));
            for (row, (inputs, outputs)) in rows.enumerate() {
                let c = row % self.channels;
                let (mean, factor, bias) = (mean[c], factors[c], bias[c]);
                for (input, output) in inputs.iter().zip(outputs) {
                    *output = (input - mean) * factor + bias;
                }
            }
        }
    }

    /// Adds the derivatives by g and b and writes those by x, as [`Step::backward`](super::Step::backward)
    /// describes. Also adds the minibatch's statistics to the tail of `gradient`: the mean, and the unbiased
    /// variance, which inference uses (algorithm 2, step 10).
    ///
    /// With m values in a channel, n = (x - mean) / sqrt(variance + e) and D the derivatives by y: dg is the
    /// sum of D n and db the sum of D over the minibatch, and dx = g / sqrt(variance + e) (D - db / m - n dg
    /// / m).
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &[f32],
        gradient: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) {
        let inputs = seen.inputs;
        let count = (inputs.len() / self.channels) as f64;
        let (mean, variance) = (&means.observed[self.mean.clone()], &means.observed[self.variance.clone()]);
        // A single value has no variance to correct.
        let unbiased = (count / (count - 1.0).max(1.0)) as f32;
        let (learned, tail) = gradient.split_at_mut(gradient.len() - means.running.len());
        add(&mut tail[self.mean.clone()], mean.iter().copied());
        add(&mut tail[self.variance.clone()], variance.iter().map(|variance| variance * unbiased));

        // For each channel: db / m, then dg / m times the scale of n.
        means.buffer.clear();
        means.buffer.resize(2 * self.channels, 0.0);
        let (shifts, slopes) = means.buffer.split_at_mut(self.channels);
        let bias = &mut learned[self.bias.clone()];
        self.sums(
            inputs.len(),
            |_, i| delta[i],
            |c, sum| {
                bias[c] += sum as f32;
                shifts[c] = (sum / count) as f32;
            },
        );
        let gain = &mut learned[self.gain.clone()];
        self.sums(
            inputs.len(),
            |c, i| delta[i] * (inputs[i] - mean[c]),
            |c, sum| {
                let scale = self.scale(variance[c]);
                let sum = sum * f64::from(scale);
                gain[c] += sum as f32;
                slopes[c] = (sum / count) as f32 * scale;
            },
        );
        let Some(input_delta) = input_delta else { return };
        let gain = &means.weights[self.gain.clone()];
        if self.places == 1 {
            for (row, input_delta) in input_delta.chunks_exact_mut(self.channels).enumerate() {
                let first = row * self.channels;
                for (c, input_delta) in input_delta.iter_mut().enumerate() {
                    let rest = delta[first + c] - shifts[c] - (inputs[first + c] - mean[c]) * slopes[c];
                    *input_delta = gain[c] * self.scale(variance[c]) * rest;
                }
            }
        } else {
            for (row, input_delta) in input_delta.chunks_exact_mut(self.places).enumerate() {
                let (c, first) = (row % self.channels, row * self.places);
                let (mean, shift, slope) = (mean[c], shifts[c], slopes[c]);
                let factor = gain[c] * self.scale(variance[c]);
                for (i, input_delta) in input_delta.iter_mut().enumerate() {
                    let rest = delta[first + i] - shift - (inputs[first + i] - mean) * slope;
                    *input_delta = factor * rest;
                }
            }
        }
    }

    /// The derivatives by x if it is frozen: y is then a multiple of x, plus a constant.
    pub(crate) fn backward_frozen(&self, means: &mut Means<'_>, delta: &[f32], input_delta: &mut [f32]) {
        let (gain, variance) = (&means.weights[self.gain.clone()], &means.weights[self.variance.clone()]);
        for (row, (delta, input_delta)) in
            delta.chunks_exact(self.places).zip(input_delta.chunks_exact_mut(self.places)).enumerate()
        {
            let c = row % self.channels;
            let factor = gain[c] * self.scale(variance[c]);
            for (input_delta, delta) in input_delta.iter_mut().zip(delta) {
                *input_delta = delta * factor;
            }
        }
    }

    /// 1 / sqrt(variance + e).
    fn scale(&self, variance: f32) -> f32 {
        1.0 / (variance + self.epsilon).sqrt()
    }

    /// Writes the statistics of a minibatch to `observed`.
    fn observe(&self, inputs: &[f32], observed: &mut [f32]) {
        let count = (inputs.len() / self.channels) as f64;
        self.sums(
            inputs.len(),
            |_, i| inputs[i],
            |c, sum| {
                observed[self.mean.start + c] = (sum / count) as f32;
            },
        );
        let (before, variance) = observed.split_at_mut(self.variance.start);
        let mean = &before[self.mean.clone()];
        let square = |c: usize, i: usize| (inputs[i] - mean[c]) * (inputs[i] - mean[c]);
        self.sums(inputs.len(), square, |c, sum| variance[c] = (sum / count) as f32);
    }

    /// Calls `total` with each channel and the sum of `term` over its values. `term` gets the channel and the
    /// index of a value.
    #[inline(always)]
    fn sums(&self, values: usize, term: impl Fn(usize, usize) -> f32, mut total: impl FnMut(usize, f64)) {
        let example = self.channels * self.places;
        if self.places == 1 {
            for first in (0..self.channels).step_by(LANES) {
                let width = LANES.min(self.channels - first);
                let mut sums = [0.0f64; LANES];
                for row in (0..values).step_by(example) {
                    for (c, sum) in sums[..width].iter_mut().enumerate() {
                        *sum += f64::from(term(first + c, row + first + c));
                    }
                }
                sums[..width].iter().enumerate().for_each(|(c, &sum)| total(first + c, sum));
            }
        } else {
            for c in 0..self.channels {
                let mut sum = 0.0f64;
                for row in (c * self.places..values).step_by(example) {
                    let mut lanes = [0.0f32; LANES];
                    for first in (0..self.places).step_by(LANES) {
                        let width = LANES.min(self.places - first);
                        for (i, lane) in lanes[..width].iter_mut().enumerate() {
                            *lane += term(c, row + first + i);
                        }
                    }
                    sum += f64::from(lanes.iter().fold(0.0, |sum, lane| sum + lane));
                }
                total(c, sum);
            }
        }
    }
}

fn add(sums: &mut [f32], values: impl Iterator<Item = f32>) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}
