//! Pooling of images: each window of a channel becomes one value, its maximum or its mean.
//!
//! Shapes, row-major: x `[examples, channels, height, width]`, y `[examples, channels, rows of windows,
//! columns of windows]`. There is no padding; places outside every whole window are left out.

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
        let number = self.windows.size() as f32;
        self.each_window(inputs.len(), |window, first| {
            outputs[window] = match self.kind {
                PoolKind::Largest => inputs[self.place_of_largest(inputs, first)],
                PoolKind::Mean => self.places(first).fold(0.0, |sum, place| sum + inputs[place]) / number,
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
        let number = self.windows.size() as f32;
        self.each_window(seen.inputs.len(), |window, first| match self.kind {
            PoolKind::Largest => input_delta[self.place_of_largest(seen.inputs, first)] += delta[window],
            PoolKind::Mean => {
                let share = delta[window] / number;
                self.places(first).for_each(|place| input_delta[place] += share);
            }
        });
    }

    /// Whether this is max-pooling in adjacent 2 x 2 windows, the most common kind.
    fn is_largest_of_four(&self) -> bool {
        let Windows { rows, columns } = self.windows;
        let halves = |axis: Axis| axis.size == 2 && axis.stride == 2;
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

    /// Calls `visit` with the index of each window and of its first place, over all channels of all examples.
    fn each_window(&self, values: usize, mut visit: impl FnMut(usize, usize)) {
        let Windows { rows, columns } = self.windows;
        let mut window = 0;
        for channel in (0..values).step_by(self.windows.places()) {
            for i in 0..rows.count {
                for j in 0..columns.count {
                    visit(window, channel + i * rows.stride * columns.length + j * columns.stride);
                    window += 1;
                }
            }
        }
    }

    /// The places of the window that begins at `first`, row after row.
    fn places(&self, first: usize) -> impl Iterator<Item = usize> + use<> {
        let Windows { rows, columns } = self.windows;
        (0..rows.size).flat_map(move |i| (0..columns.size).map(move |j| first + i * columns.length + j))
    }

    /// The place of the maximum, or of the first NaN.
    fn place_of_largest(&self, inputs: &[f32], first: usize) -> usize {
        self.places(first).fold(first, |best, place| {
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
