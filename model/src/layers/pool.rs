//! Pooling of images: each window of a channel becomes one value, its maximum or its mean.
//!
//! Shapes, row-major: x `[examples, channels, height, width]`, y `[examples, channels, rows of windows,
//! columns of windows]`. A window is what lies of it in the image, and never nothing; places outside every window
//! are left out.

use super::Seen;
use super::window::{Axis, Windows};

/// A pooling layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    pub(crate) windows: Windows,
}

/// The value that a window becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolKind {
    /// The maximum of the window; NaN if it contains one.
    Largest,
    /// The sum of its values, row after row, divided by their number.
    Mean,
}

impl Pool {
    /// Writes y to `outputs`.
    pub(crate) fn forward(&self, inputs: &[f32], outputs: &mut [f32]) {
        if self.is_largest_of_four() {
            return self.each_four(inputs, |values, window| outputs[window] = largest(values).1);
        }
        self.each_window(inputs.len(), |index, window| {
            outputs[index] = match self.kind {
                PoolKind::Largest => inputs[window.place_of_largest(inputs)],
                PoolKind::Mean => {
                    window.places().fold(0.0, |sum, place| sum + inputs[place]) / window.size() as f32
                }
            }
        });
    }

    /// Writes the derivatives by x. A maximum's derivative goes to the place of the maximum (on a tie, the
    /// first); a mean's is divided evenly. Where windows overlap, the derivatives add up over increasing
    /// windows.
    pub(crate) fn backward(&self, seen: Seen<'_>, delta: &[f32], input_delta: &mut [f32]) {
        input_delta.fill(0.0);
        if self.is_largest_of_four() {
            let length = self.windows.columns.length;
            return self.each_four_at(seen.inputs, |values, window, first| {
                let (place, _) = largest(values);
                input_delta[first + place / 2 * length + place % 2] = delta[window] + 0.0;
            });
        }
        self.each_window(seen.inputs.len(), |index, window| match self.kind {
            PoolKind::Largest => input_delta[window.place_of_largest(seen.inputs)] += delta[index],
            PoolKind::Mean => {
                let share = delta[index] / window.size() as f32;
                window.places().for_each(|place| input_delta[place] += share);
            }
        });
    }

    /// Whether this is max-pooling in adjacent whole 2 x 2 windows, the most common kind.
    fn is_largest_of_four(&self) -> bool {
        let Windows { rows, columns } = self.windows;
        let halves =
            |axis: Axis| (axis.size, axis.stride, axis.before, axis.length / 2) == (2, 2, 0, axis.count);
        self.kind == PoolKind::Largest && halves(rows) && halves(columns)
    }

    fn each_four(&self, inputs: &[f32], mut visit: impl FnMut([f32; 4], usize)) {
        self.each_four_at(inputs, |values, window, _| visit(values, window));
    }

    /// Calls `visit` with the values of each window, row after row, the window's index and the index of its
    /// first place.
    #[inline(always)]
    fn each_four_at(&self, inputs: &[f32], mut visit: impl FnMut([f32; 4], usize, usize)) {
        let Windows { rows, columns } = self.windows;
        let mut window = 0;
        for (channel, inputs) in inputs.chunks_exact(self.windows.places()).enumerate() {
            for (i, lines) in inputs.chunks_exact(2 * columns.length).take(rows.count).enumerate() {
                let (upper, lower) = lines.split_at(columns.length);
                let first = channel * self.windows.places() + i * 2 * columns.length;
                let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
                for (j, (upper, lower)) in pairs.enumerate() {
                    visit([upper[0], upper[1], lower[0], lower[1]], window, first + 2 * j);
                    window += 1;
                }
            }
        }
    }

    /// Calls `visit` with the index of each window and the window, over all channels of all examples.
    fn each_window(&self, values: usize, mut visit: impl FnMut(usize, Window)) {
        let Windows { rows, columns } = self.windows;
        let mut index = 0;
        for channel in (0..values).step_by(self.windows.places()) {
            for i in 0..rows.count {
                let (top, height) = rows.inside(i);
                for j in 0..columns.count {
                    let (left, width) = columns.inside(j);
                    let first = channel + top * columns.length + left;
                    visit(index, Window { first, height, width, length: columns.length });
                    index += 1;
                }
            }
        }
    }
}

/// What lies of a window in the image.
#[derive(Clone, Copy)]
struct Window {
    /// Its first place.
    first: usize,
    height: usize,
    width: usize,
    /// The length of the image's rows.
    length: usize,
}

impl Window {
    fn size(&self) -> usize {
        self.height * self.width
    }

    /// Its places, row after row.
    fn places(self) -> impl Iterator<Item = usize> {
        (0..self.height).flat_map(move |i| (0..self.width).map(move |j| self.first + i * self.length + j))
    }

    /// The place of the maximum, or of the first NaN.
    fn place_of_largest(self, inputs: &[f32]) -> usize {
        self.places().fold(self.first, |best, place| {
            let (value, largest) = (inputs[place], inputs[best]);
            if value > largest || (value.is_nan() && !largest.is_nan()) { place } else { best }
        })
    }
}

/// The position of the maximum or of the first NaN, and its value.
#[inline(always)]
fn largest(values: [f32; 4]) -> (usize, f32) {
    let (mut place, mut largest) = (0, values[0]);
    for (i, &value) in values.iter().enumerate().skip(1) {
        let larger = value > largest || (value.is_nan() && !largest.is_nan());
        (place, largest) = if larger { (i, value) } else { (place, largest) };
    }
    (place, largest)
}
