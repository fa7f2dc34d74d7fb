//! Pooling of images: each window of a channel becomes one value, its largest or its mean.
//!
//! Shapes, row-major: x `[examples, channels, height, width]`, y `[examples, channels, rows of windows, columns of
//! windows]`. There is no padding; places that no whole window covers are left out.

use super::Seen;
use super::window::Windows;

/// A pooling layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    pub(crate) windows: Windows,
}

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    /// Its largest value; NaN if it has one.
    Largest,
    /// The sum of its values, row after row, divided by their number.
    Mean,
}

impl Pool {
    /// Writes y to `outputs`.
    pub(crate) fn forward(&self, inputs: &[f32], outputs: &mut [f32]) {
        let number = self.windows.size() as f32;
        self.each_window(inputs.len(), |window, first| {
            outputs[window] = match self.kind {
                PoolKind::Largest => inputs[self.place_of_largest(inputs, first)],
                PoolKind::Mean => self.places(first).fold(0.0, |sum, place| sum + inputs[place]) / number,
            }
        });
    }

    /// Writes the derivatives by x: a largest value's goes to the place it came from (the first of equals), a mean's is
    /// divided evenly. Where windows overlap, it is the sum over increasing windows.
    pub(crate) fn backward(&self, seen: Seen<'_>, delta: &[f32], input_delta: &mut [f32]) {
        input_delta.fill(0.0);
        let number = self.windows.size() as f32;
        self.each_window(seen.inputs.len(), |window, first| match self.kind {
            PoolKind::Largest => input_delta[self.place_of_largest(seen.inputs, first)] += delta[window],
            PoolKind::Mean => {
                let share = delta[window] / number;
                self.places(first).for_each(|place| input_delta[place] += share);
            }
        });
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

    /// Where the largest value is, or the first NaN.
    fn place_of_largest(&self, inputs: &[f32], first: usize) -> usize {
        self.places(first).fold(first, |best, place| {
            let (value, largest) = (inputs[place], inputs[best]);
            if value > largest || (value.is_nan() && !largest.is_nan()) { place } else { best }
        })
    }
}
