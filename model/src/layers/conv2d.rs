//! Convolution of images, `y = activation(conv(x, W) + b)`, as a matrix product with the unfolded image.
//!
//! Shapes, all row-major: x `[examples, channels_in, height, width]`, W `[channels, channels_in / groups, size, size]`,
//! b `[channels]`, y `[examples, channels, rows of windows, columns of windows]`. With groups, the channels of x and of y
//! fall into that many equal parts in order, and each part of y sees only its part of x.
//!
//! An example's x is unfolded into a matrix of `[taps, windows]`: a tap is a place within a window (channel, row, column, in
//! this order), and padding is 0. Then Y = W X + b, dW = dY X^T, dX = W^T dY, and dX is folded back.

use std::ops::Range;

use super::window::Windows;
use super::{Means, Seen, sum};
use crate::kernels::{Ending, Matrix};
use crate::spec::Activation;

/// A convolution and where its parameters lie in the flat vector.
#[derive(Clone, Debug)]
pub(crate) struct Conv2d {
    pub(crate) channels_in: usize,
    pub(crate) channels: usize,
    pub(crate) groups: usize,
    pub(crate) windows: Windows,
    /// Applied in place, so not one that needs its sums.
    pub(crate) activation: Activation,
    /// W, row-major.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

impl Conv2d {
    /// Writes y to `outputs`: each sum starts from the bias and goes over increasing taps.
    pub(crate) fn forward(&self, means: &mut Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        let (taps, count) = (self.taps(), self.windows.count());
        let channels = self.channels / self.groups;
        let weights = &means.weights[self.weight.clone()];
        let bias = &means.weights[self.bias.clone()];
        means.make_room(taps * count);
        let unfolded = &mut means.buffer[..taps * count];
        let images = inputs.chunks_exact(self.image_of_group());
        for (i, (image, outputs)) in images.zip(outputs.chunks_exact_mut(channels * count)).enumerate() {
            let group = i % self.groups;
            let bias = &bias[group * channels..(group + 1) * channels];
            for (row, &bias) in outputs.chunks_exact_mut(count).zip(bias) {
                row.fill(bias);
            }
            self.unfold_by_tap(image, unfolded);
            means.kernel.product(
                means.workspace,
                Matrix::new(self.of_group(weights, group), channels, taps),
                Matrix::new(unfolded, taps, count),
                Ending::Add,
                outputs,
            );
        }
        self.activation.forward(outputs);
    }

    /// The derivatives by W, b and x, as [`Step::backward`](super::Step::backward) asks. Within an example, a weight's
    /// derivative goes over increasing windows; a bias's goes into eight running sums in turn, which are then added in
    /// order; an input's is the sum over increasing taps.
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &mut [f32],
        gradient: &mut [f32],
        mut input_delta: Option<&mut [f32]>,
    ) {
        self.activation.backward(seen.outputs, delta);
        let (taps, count) = (self.taps(), self.windows.count());
        let channels = self.channels / self.groups;
        let weights = &means.weights[self.weight.clone()];
        means.make_room(taps * count);
        let unfolded = &mut means.buffer[..taps * count];
        let image_values = self.image_of_group();
        let images = seen.inputs.chunks_exact(image_values);
        for (i, (image, delta)) in images.zip(delta.chunks_exact(channels * count)).enumerate() {
            let group = i % self.groups;
            let bias = &mut gradient[self.bias.clone()][group * channels..(group + 1) * channels];
            for (bias, row) in bias.iter_mut().zip(delta.chunks_exact(count)) {
                *bias += sum(row);
            }
            let delta = Matrix::new(delta, channels, count);
            self.unfold_by_window(image, unfolded);
            let weight_gradient = &mut gradient[self.weight.clone()];
            let size = channels * taps;
            means.kernel.product(
                means.workspace,
                delta,
                Matrix::new(unfolded, count, taps),
                Ending::Add,
                &mut weight_gradient[group * size..(group + 1) * size],
            );
            if let Some(input_delta) = &mut input_delta {
                unfolded.fill(0.0);
                let weight = Matrix::new(self.of_group(weights, group), channels, taps).transposed();
                means.kernel.product(means.workspace, weight, delta, Ending::Add, unfolded);
                self.fold(unfolded, &mut input_delta[i * image_values..(i + 1) * image_values]);
            }
        }
    }

    /// How many inputs each sum has.
    fn taps(&self) -> usize {
        self.channels_in / self.groups * self.windows.size()
    }

    /// How many values one group's part of an example has.
    fn image_of_group(&self) -> usize {
        self.channels_in / self.groups * self.windows.places()
    }

    /// The part of W that belongs to a group.
    fn of_group<'a>(&self, weights: &'a [f32], group: usize) -> &'a [f32] {
        let size = weights.len() / self.groups;
        &weights[group * size..(group + 1) * size]
    }

    /// Unfolds one group's part of an example to `[taps, windows]`.
    fn unfold_by_tap(&self, image: &[f32], unfolded: &mut [f32]) {
        let Windows { rows, columns } = self.windows;
        let mut lines = unfolded.chunks_exact_mut(columns.count);
        for channel in image.chunks_exact(self.windows.places()) {
            for (row_tap, column_tap) in self.taps_of_channel() {
                let inside = columns.windows_inside(column_tap);
                for i in 0..rows.count {
                    let line = lines.next().expect("a line for each tap and row of windows");
                    let Some(row) = rows.place(i, row_tap).filter(|_| !inside.is_empty()) else {
                        line.fill(0.0);
                        continue;
                    };
                    let first =
                        row * columns.length + inside.start * columns.stride + column_tap - columns.before;
                    line[..inside.start].fill(0.0);
                    line[inside.end..].fill(0.0);
                    let line = &mut line[inside.clone()];
                    if columns.stride == 1 {
                        line.copy_from_slice(&channel[first..first + line.len()]);
                    } else {
                        for (value, &pixel) in
                            line.iter_mut().zip(channel[first..].iter().step_by(columns.stride))
                        {
                            *value = pixel;
                        }
                    }
                }
            }
        }
    }

    /// Unfolds one group's part of an example to `[windows, taps]`.
    fn unfold_by_window(&self, image: &[f32], unfolded: &mut [f32]) {
        let Windows { rows, columns } = self.windows;
        let mut lines = unfolded.chunks_exact_mut(columns.size);
        for i in 0..rows.count {
            for j in 0..columns.count {
                let inside = columns.places_inside(j);
                for channel in image.chunks_exact(self.windows.places()) {
                    for row_tap in 0..rows.size {
                        let line = lines.next().expect("a line for each window, channel and row of taps");
                        let Some(row) = rows.place(i, row_tap).filter(|_| !inside.is_empty()) else {
                            line.fill(0.0);
                            continue;
                        };
                        let first = row * columns.length + j * columns.stride + inside.start - columns.before;
                        line[..inside.start].fill(0.0);
                        line[inside.end..].fill(0.0);
                        line[inside.clone()].copy_from_slice(&channel[first..first + inside.len()]);
                    }
                }
            }
        }
    }

    /// Adds up what belongs to the same place of the image: the transpose of [`Conv2d::unfold_by_tap`].
    fn fold(&self, unfolded: &[f32], image: &mut [f32]) {
        let Windows { rows, columns } = self.windows;
        image.fill(0.0);
        let mut lines = unfolded.chunks_exact(columns.count);
        for channel in image.chunks_exact_mut(self.windows.places()) {
            for (row_tap, column_tap) in self.taps_of_channel() {
                let inside = columns.windows_inside(column_tap);
                for i in 0..rows.count {
                    let line = &lines.next().expect("a line for each tap and row of windows")[inside.clone()];
                    let Some(row) = rows.place(i, row_tap).filter(|_| !inside.is_empty()) else { continue };
                    let first =
                        row * columns.length + inside.start * columns.stride + column_tap - columns.before;
                    for (pixel, value) in channel[first..].iter_mut().step_by(columns.stride).zip(line) {
                        *pixel += value;
                    }
                }
            }
        }
    }

    /// The (row, column) of each tap of one channel, in order.
    fn taps_of_channel(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Windows { rows, columns } = self.windows;
        (0..rows.size).flat_map(move |row| (0..columns.size).map(move |column| (row, column)))
    }
}
