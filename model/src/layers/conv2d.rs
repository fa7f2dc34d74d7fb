//! Convolution of images, `y = activation(conv(x, W) + b)`.
//!
//! Shapes, all row-major: x `[examples, channels_in, height, width]`, W `[channels, channels_in / groups,
//! size, size]`, b `[channels]`, y `[examples, channels, rows of windows, columns of windows]`. With groups,
//! the channels of x and of y are each split into that many equal parts in order, and each part of y sees
//! only its part of x.
//!
//! Let X be the matrix `[taps, windows]` of an example's unfolded x, where a tap is a place within a window
//! (ordered by channel, row, column) and padding is 0. Then Y = W X + b and dW = dY X^T. The derivative by x
//! is itself a convolution of dY (padded, with zeros between windows whose stride is above 1) with W rotated
//! by half a turn. The kernels take the padded image instead of X; the forward pass unfolds only windows with
//! a stride above 1.

use std::ops::Range;

use super::window::{Axis, Windows};
use super::{Means, Seen, sum};
use crate::kernels::{CHANNELS, COLUMNS, Ending, Grid, Matrix};
use crate::spec::Activation;

/// A convolution, with the ranges of its parameters in the flat vector.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    pub(crate) channels_in: usize,
    pub(crate) channels: usize,
    pub(crate) groups: usize,
    pub(crate) windows: Windows,
    /// Applied in place, so never one that needs its sums.
    pub(crate) activation: Activation,
    /// W, row-major.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

impl Conv2d {
    /// Writes y to `outputs`: each sum starts from the bias and goes over increasing taps.
    pub(crate) fn forward(&self, means: &mut Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        if self.windows.rows.stride == 1 && self.windows.columns.stride == 1 {
            self.forward_side_by_side(means, inputs, outputs);
        } else {
            self.forward_unfolded(means, inputs, outputs);
        }
        self.activation.forward(outputs);
    }

    fn forward_side_by_side(&self, means: &mut Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        let Windows { rows, columns } = self.windows;
        let channels = self.channels / self.groups;
        let weights = &means.weights[self.weight.clone()];
        let bias = &means.weights[self.bias.clone()];
        let padded = self.padded(COLUMNS);
        let n = padded.columns_of_windows(rows.count, columns.count);
        let mut offsets = std::mem::take(&mut means.workspace.offsets);
        padded.offsets(self.channels_in / self.groups, self.windows, &mut offsets);
        means.make_room(padded.values + channels * n);
        let (padded_image, result) = means.buffer.split_at_mut(padded.values);
        padded_image.fill(0.0);
        let result = &mut result[..channels * n];
        let images = inputs.chunks_exact(self.image_of_group());
        for (i, (image, outputs)) in
            images.zip(outputs.chunks_exact_mut(channels * self.windows.count())).enumerate()
        {
            let group = i % self.groups;
            let bias = &bias[group * channels..(group + 1) * channels];
            padded.fill(self.windows, image, padded_image);
            means.kernel.correlation(self.of_group(weights, group), &offsets, padded_image, bias, result);
            let lines = result.chunks_exact(n).flat_map(|row| row.chunks(padded.width).take(rows.count));
            for (outputs, line) in outputs.chunks_exact_mut(columns.count).zip(lines) {
                outputs.copy_from_slice(&line[..columns.count]);
            }
        }
        means.workspace.offsets = offsets;
    }

    fn forward_unfolded(&self, means: &mut Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
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
    }

    /// Adds the derivatives by W and b and writes those by x, as [`Step::backward`](super::Step::backward)
    /// describes. Within an example, a weight's derivative goes over increasing windows. A bias's derivative
    /// goes into eight running sums in turn, which are then added in order. An input's derivative goes over
    /// increasing channels of y, and in each channel over increasing windows.
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &mut [f32],
        gradient: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) {
        self.activation.backward(seen.outputs, delta);
        let bias = &mut gradient[self.bias.clone()];
        for (i, delta) in delta.chunks_exact(self.windows.count()).enumerate() {
            bias[i % self.channels] += sum(delta);
        }
        self.add_weight_gradient(means, seen.inputs, delta, &mut gradient[self.weight.clone()]);
        if let Some(input_delta) = input_delta {
            self.input_delta(means, delta, input_delta);
        }
    }

    /// The derivatives by x alone, as [`Conv2d::backward`] computes them.
    pub(crate) fn backward_frozen(
        &self,
        means: &mut Means<'_>,
        outputs: &[f32],
        delta: &mut [f32],
        input_delta: &mut [f32],
    ) {
        self.activation.backward(outputs, delta);
        self.input_delta(means, delta, input_delta);
    }

    /// Adds dW, computed as its transpose, so that vectors lie along the channels of y.
    fn add_weight_gradient(
        &self,
        means: &mut Means<'_>,
        inputs: &[f32],
        delta: &[f32],
        gradient: &mut [f32],
    ) {
        let Windows { rows, columns } = self.windows;
        let (taps, count) = (self.taps(), self.windows.count());
        let channels = self.channels / self.groups;
        let width = channels.next_multiple_of(CHANNELS);
        let padded = self.padded(0);
        let grid = Grid {
            rows: rows.count,
            columns: columns.count,
            row_step: rows.stride * padded.width,
            column_step: columns.stride,
        };
        let mut offsets = std::mem::take(&mut means.workspace.offsets);
        padded.offsets(self.channels_in / self.groups, self.windows, &mut offsets);
        means.make_room(padded.values + count * width + self.groups * taps * width);
        let (padded_image, rest) = means.buffer.split_at_mut(padded.values);
        let (delta_transposed, rest) = rest.split_at_mut(count * width);
        let transposed = &mut rest[..self.groups * taps * width];
        padded_image.fill(0.0);
        delta_transposed.fill(0.0);
        transposed.fill(0.0);
        let of_groups = || gradient_rows(self.groups, channels, taps);
        for (group, channel, row) in of_groups() {
            let column = transposed[group * taps * width + channel..].iter_mut().step_by(width);
            column.zip(&gradient[row]).for_each(|(to, from)| *to = *from);
        }
        let images = inputs.chunks_exact(self.image_of_group());
        for (i, (image, delta)) in images.zip(delta.chunks_exact(channels * count)).enumerate() {
            let transposed = &mut transposed[i % self.groups * taps * width..][..taps * width];
            padded.fill(self.windows, image, padded_image);
            for (channel, delta) in delta.chunks_exact(count).enumerate() {
                let column = delta_transposed[channel..].iter_mut().step_by(width);
                column.zip(delta).for_each(|(to, from)| *to = *from);
            }
            means.kernel.window_product(&offsets, padded_image, grid, (delta_transposed, width), transposed);
        }
        for (group, channel, row) in of_groups() {
            let column = transposed[group * taps * width + channel..].iter().step_by(width);
            gradient[row].iter_mut().zip(column).for_each(|(to, from)| *to = *from);
        }
        means.workspace.offsets = offsets;
    }

    fn input_delta(&self, means: &mut Means<'_>, delta: &[f32], input_delta: &mut [f32]) {
        let Windows { rows, columns } = self.windows;
        let (channels, channels_in) = (self.channels / self.groups, self.channels_in / self.groups);
        // The windows become the image, and every place of the image becomes a window over them.
        let turned = Windows { rows: rows.turned(), columns: columns.turned() };
        let padded = Padded::new(turned, channels, COLUMNS);
        let n = padded.columns_of_windows(rows.length, columns.length);
        let size = self.windows.size();
        let steps = channels * size;
        let mut offsets = std::mem::take(&mut means.workspace.offsets);
        padded.offsets(channels, turned, &mut offsets);
        let weights = &means.weights[self.weight.clone()];
        means.buffer.clear();
        means.make_room(padded.values + channels_in * (n + 1) + self.channels_in * steps);
        let (padded_delta, rest) = means.buffer.split_at_mut(padded.values);
        let (result, rest) = rest.split_at_mut(channels_in * n);
        let (zeros, weights_turned) = rest.split_at_mut(channels_in);
        for group in 0..self.groups {
            let weights = self.of_group(weights, group).chunks_exact(size);
            for (i, kernel) in weights.enumerate() {
                let (channel, channel_in) = (i / channels_in, i % channels_in);
                let to = ((group * channels_in + channel_in) * channels + channel) * size;
                weights_turned[to..to + size]
                    .iter_mut()
                    .zip(kernel.iter().rev())
                    .for_each(|(to, from)| *to = *from);
            }
        }
        let images = input_delta.chunks_exact_mut(self.image_of_group());
        for (i, (image, delta)) in images.zip(delta.chunks_exact(channels * self.windows.count())).enumerate()
        {
            padded.spread(self.windows, delta, padded_delta);
            let weights = &weights_turned[i % self.groups * channels_in * steps..][..channels_in * steps];
            means.kernel.correlation(weights, &offsets, padded_delta, zeros, result);
            let lines = result.chunks_exact(n).flat_map(|row| row.chunks(padded.width).take(rows.length));
            for (image, line) in image.chunks_exact_mut(columns.length).zip(lines) {
                image.copy_from_slice(&line[..columns.length]);
            }
        }
        means.workspace.offsets = offsets;
    }

    /// Maximum values that the functions above need in their buffer.
    pub(crate) fn buffered(&self) -> u128 {
        let channels = (self.channels_in / self.groups, self.channels / self.groups);
        buffered(channels, self.groups, self.windows)
    }

    /// The layout of one group's part of an example with its padding, plus `more` elements.
    fn padded(&self, more: usize) -> Padded {
        Padded::new(self.windows, self.channels_in / self.groups, more)
    }

    /// Number of inputs of each sum.
    pub(crate) fn taps(&self) -> usize {
        self.channels_in / self.groups * self.windows.size()
    }

    /// Number of values in one group's part of an example.
    fn image_of_group(&self) -> usize {
        self.channels_in / self.groups * self.windows.places()
    }

    /// The group's part of W.
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

    /// The (row, column) of each tap of one channel, in order.
    fn taps_of_channel(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Windows { rows, columns } = self.windows;
        (0..rows.size).flat_map(move |row| (0..columns.size).map(move |column| (row, column)))
    }
}

/// Rows of elements are padded to a multiple of at most this, whatever the vector width.
const COLUMNS_MAX: u128 = 32;
/// Channels are padded to a multiple of at most this.
const CHANNELS_MAX: u128 = 16;
const _: () = assert!(COLUMNS as u128 <= COLUMNS_MAX && CHANNELS as u128 <= CHANNELS_MAX);

/// Maximum values that a convolution needs in its buffer, by channels in and out of a group. The result is
/// wide enough for any specification, so that the specification can be checked with it.
pub(crate) fn buffered((channels_in, channels): (usize, usize), groups: usize, windows: Windows) -> u128 {
    let wide = |count: usize| count as u128;
    // A padded image, and a line of results for each output channel.
    let image = |channels: usize, Windows { rows, columns }: Windows| {
        wide(channels) * wide(rows.covered()) * wide(columns.covered()) + COLUMNS_MAX
    };
    let line = |Windows { rows, columns }: Windows| {
        (wide(rows.count - 1) * wide(columns.covered()) + wide(columns.count)).next_multiple_of(COLUMNS_MAX)
    };
    let (count, taps) = (wide(windows.count()), wide(channels_in) * wide(windows.size()));
    let forward = image(channels_in, windows) + wide(channels) * line(windows);
    let width = wide(channels).next_multiple_of(CHANNELS_MAX);
    let gradient = image(channels_in, windows) + (count + wide(groups) * taps) * width;
    let turned = Windows { rows: windows.rows.turned(), columns: windows.columns.turned() };
    let weights = wide(groups) * taps * wide(channels);
    let input_delta = image(channels, turned) + wide(channels_in) * (line(turned) + 1) + weights;
    forward.max(gradient).max(input_delta).max(taps * count)
}

/// The rows of the weights' gradient: group, channel within the group, and the row's range.
fn gradient_rows(
    groups: usize,
    channels: usize,
    taps: usize,
) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    (0..groups * channels).map(move |row| (row / channels, row % channels, row * taps..(row + 1) * taps))
}

/// The layout of an image with its padding, limited to the places that windows cover.
#[derive(Debug, Clone, Copy)]
struct Padded {
    width: usize,
    /// Values of a channel.
    channel: usize,
    /// Values of all channels, plus enough that whole vectors can be read at the end.
    values: usize,
}

impl Padded {
    fn new(windows: Windows, channels: usize, more: usize) -> Padded {
        let width = windows.columns.covered();
        let channel = windows.rows.covered() * width;
        Padded { width, channel, values: channels * channel + more }
    }

    /// Number of elements in a row that are computed for windows with stride 1, including the padding at the
    /// ends of lines.
    fn columns_of_windows(&self, rows: usize, columns: usize) -> usize {
        ((rows - 1) * self.width + columns).next_multiple_of(COLUMNS)
    }

    /// The positions of the first window's taps.
    fn offsets(&self, channels: usize, windows: Windows, offsets: &mut Vec<usize>) {
        offsets.clear();
        for channel in 0..channels {
            for row in 0..windows.rows.size {
                let line = channel * self.channel + row * self.width;
                offsets.extend(line..line + windows.columns.size);
            }
        }
    }

    /// Writes an image's values to their places. The padding stays as it is.
    fn fill(&self, windows: Windows, image: &[f32], padded: &mut [f32]) {
        let Windows { rows, columns } = windows;
        let lines = rows.length.min(rows.covered().saturating_sub(rows.before));
        let length = columns.length.min(columns.covered().saturating_sub(columns.before));
        let channels = image.chunks_exact(windows.places()).zip(padded.chunks_exact_mut(self.channel));
        for (image, padded) in channels {
            let padded = padded.chunks_exact_mut(self.width).skip(rows.before);
            for (line, padded) in image.chunks_exact(columns.length).take(lines).zip(padded) {
                padded[columns.before..columns.before + length].copy_from_slice(&line[..length]);
            }
        }
    }

    /// Writes each window's derivatives to the place that the window covers with its last tap. Everything
    /// else stays as it is.
    fn spread(&self, windows: Windows, delta: &[f32], padded: &mut [f32]) {
        let Windows { rows, columns } = windows;
        let channels = delta.chunks_exact(windows.count()).zip(padded.chunks_exact_mut(self.channel));
        for (delta, padded) in channels {
            for (i, line) in delta.chunks_exact(columns.count).enumerate() {
                // Padding is smaller than a window; otherwise some windows would cover only padding.
                let row = i * rows.stride + rows.size - 1 - rows.before;
                let start = columns.size - 1 - columns.before;
                let Some(padded) = padded.get_mut(row * self.width + start..(row + 1) * self.width) else {
                    break;
                };
                if columns.stride == 1 {
                    let length = line.len().min(padded.len());
                    padded[..length].copy_from_slice(&line[..length]);
                } else {
                    padded.iter_mut().step_by(columns.stride).zip(line).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

impl Axis {
    /// Number of places that the windows cover, padding included.
    fn covered(&self) -> usize {
        (self.count - 1) * self.stride + self.size
    }

    /// The axis with the roles exchanged: the windows are the places, and the places are the windows over
    /// them.
    fn turned(&self) -> Axis {
        Axis { length: self.count, size: self.size, stride: 1, before: 0, count: self.length }
    }
}
