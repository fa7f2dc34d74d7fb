//! The two products of a convolution, reading the image itself instead of an unfolded matrix. The unfolded
//! matrix would hold every value once per tap, and writing it out takes longer than the products.

use super::simd::{Computation, Simd};

/// C = b + A B, where row p of B is the image from `offsets[p]` on. C is row-major of shape `[m, n]`, and row
/// i starts from `starts[i]`. A is row-major of shape `[m, offsets.len()]`.
///
/// # Safety
/// The computation relies on these conditions: A and C have that many elements, there are `m` starts, `n` is
/// a multiple of [`COLUMNS`], and the image has at least `n` elements from every offset on.
pub(super) struct Correlation<'a> {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) a: *const f32,
    pub(super) offsets: &'a [usize],
    pub(super) image: *const f32,
    pub(super) starts: *const f32,
    pub(super) c: *mut f32,
}

/// A multiple of this many columns fills two vectors on every processor.
pub(crate) const COLUMNS: usize = if cfg!(target_arch = "wasm32") { 8 } else { 32 };

/// C += A B, where row i of A is the image from `offsets[i]` on, with one element per window. B and C are
/// row-major of shapes `[windows, n]` and `[offsets.len(), n]`.
///
/// # Safety
/// The computation relies on these conditions: B and C have that many elements, `n` is a multiple of
/// [`CHANNELS`], and the image has an element for every window from every offset on.
pub(super) struct WindowProduct<'a> {
    pub(super) n: usize,
    pub(super) offsets: &'a [usize],
    pub(super) image: *const f32,
    pub(super) windows: Grid,
    pub(super) b: *const f32,
    pub(super) c: *mut f32,
}

/// A multiple of this many channels fills whole vectors on every processor.
pub(crate) const CHANNELS: usize = if cfg!(target_arch = "wasm32") { 4 } else { 16 };

/// The positions where windows begin in an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Elements from one row of windows to the next.
    pub(crate) row_step: usize,
    /// Elements from one window of a row to the next.
    pub(crate) column_step: usize,
}

impl Grid {
    pub(super) fn windows(&self) -> usize {
        self.rows * self.columns
    }

    /// The element at which the last window begins.
    pub(super) fn last(&self) -> usize {
        self.rows.saturating_sub(1) * self.row_step + self.columns.saturating_sub(1) * self.column_step
    }
}

impl Computation for Correlation<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        const { assert!(COLUMNS.is_multiple_of(2 * S::LANES)) };
        let m = self.m;
        // SAFETY: rows stay below m, columns below n.
        unsafe {
            let mut i = 0;
            while i + 4 <= m {
                correlation_rows::<S, 4>(&self, i);
                i += 4;
            }
            while i < m {
                correlation_rows::<S, 1>(&self, i);
                i += 1;
            }
        }
    }
}

/// All columns of `ROWS` rows.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn correlation_rows<S: Simd, const ROWS: usize>(task: &Correlation<'_>, i: usize) {
    for j in (0..task.n).step_by(2 * S::LANES) {
        // SAFETY: the columns are below n, and the caller guarantees the rows.
        unsafe { correlation_tile::<S, ROWS>(task, i, j) };
    }
}

/// `ROWS` rows of two vectors.
#[inline(always)]
unsafe fn correlation_tile<S: Simd, const ROWS: usize>(task: &Correlation<'_>, i: usize, j: usize) {
    let steps = task.offsets.len();
    // SAFETY: the caller guarantees the rows and columns.
    unsafe {
        let mut sums: [[S::Vector; 2]; ROWS] =
            std::array::from_fn(|row| [S::splat(task.starts.add(i + row)); 2]);
        let mut a = task.a.add(i * steps);
        let image = task.image.add(j);
        for &offset in task.offsets {
            let b = image.add(offset);
            let b = [S::load(b), S::load(b.add(S::LANES))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = S::splat(a.add(row * steps));
                sums[0] = S::multiply_add(value, b[0], sums[0]);
                sums[1] = S::multiply_add(value, b[1], sums[1]);
            }
            a = a.wrapping_add(1);
        }
        for (row, sums) in sums.iter().enumerate() {
            let c = task.c.add((i + row) * task.n + j);
            S::store(c, S::add_zero(sums[0]));
            S::store(c.add(S::LANES), S::add_zero(sums[1]));
        }
    }
}

impl Computation for WindowProduct<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        const { assert!(CHANNELS.is_multiple_of(S::LANES)) };
        let taps = self.offsets.len();
        // SAFETY: rows stay below the number of taps, columns below n.
        unsafe {
            let mut j = 0;
            while j + 2 * S::LANES <= self.n {
                let mut i = 0;
                while i + 4 <= taps {
                    window_tile::<S, 4, 2>(&self, i, j);
                    i += 4;
                }
                while i < taps {
                    window_tile::<S, 1, 2>(&self, i, j);
                    i += 1;
                }
                j += 2 * S::LANES;
            }
            while j < self.n {
                let mut i = 0;
                while i + 8 <= taps {
                    window_tile::<S, 8, 1>(&self, i, j);
                    i += 8;
                }
                while i < taps {
                    window_tile::<S, 1, 1>(&self, i, j);
                    i += 1;
                }
                j += S::LANES;
            }
        }
    }
}

/// `ROWS` rows of `VECTORS` vectors.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn window_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    task: &WindowProduct<'_>,
    i: usize,
    j: usize,
) {
    let Grid { rows, columns, row_step, column_step } = task.windows;
    // SAFETY: the caller guarantees the rows and columns.
    unsafe {
        let at = |row: usize, vector: usize| task.c.add((i + row) * task.n + j + vector * S::LANES);
        let mut sums: [[S::Vector; VECTORS]; ROWS] =
            std::array::from_fn(|row| std::array::from_fn(|vector| S::load(at(row, vector))));
        let starts: [*const f32; ROWS] = std::array::from_fn(|row| task.image.add(task.offsets[i + row]));
        let mut b = task.b.add(j);
        for row_of_windows in 0..rows {
            let mut a = starts.map(|start| start.add(row_of_windows * row_step));
            for _ in 0..columns {
                let vectors: [S::Vector; VECTORS] =
                    std::array::from_fn(|vector| S::load(b.add(vector * S::LANES)));
                for (sums, a) in sums.iter_mut().zip(&mut a) {
                    let value = S::splat(*a);
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = S::multiply_add(value, vector, *sum);
                    }
                    *a = a.wrapping_add(column_step);
                }
                b = b.wrapping_add(task.n);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                S::store(at(row, vector), S::add_zero(*sum));
            }
        }
    }
}
