//! Products with a sparse matrix, given as lists of its nonzero elements.
//!
//! Leaving out the zeros changes no bit if the other matrix is finite. A product with a zero is a zero, which
//! only changes a sum that is -0, and such a sum ends as +0.0 anyway.

use super::simd::{Computation, LANES_MAX, Simd};

/// Rows as lists: row i has the elements `starts[i]..starts[i + 1]` of `places` (increasing) and `values`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lists<'a> {
    pub(crate) starts: &'a [u32],
    pub(crate) places: &'a [u32],
    pub(crate) values: &'a [f32],
}

impl Lists<'_> {
    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether the lists are well formed and every place is below `columns`.
    pub(super) fn are_within(&self, columns: usize) -> bool {
        self.places.len() == self.values.len()
            && self.starts.is_sorted()
            && self.starts.last().is_some_and(|&end| end as usize <= self.places.len())
            && self.places.iter().all(|&place| (place as usize) < columns)
    }
}

/// C += A B, or C += factor (A B) in place, with A as lists, B and C row-major of width `n`. Rows of C whose
/// list is empty are neither read nor written.
///
/// # Safety
/// The computation relies on these conditions: the lists are well formed, row p of B is valid for reads for
/// every place p in the lists, C has one row per list that is valid for reads and writes, and C does not
/// overlap B.
pub(super) struct SparseProduct<'a> {
    pub(super) a: Lists<'a>,
    pub(super) n: usize,
    pub(super) b: *const f32,
    pub(super) c: *mut f32,
    pub(super) factor: f32,
    pub(super) in_place: bool,
}

/// Maximum vectors of a row of C that are computed side by side.
const VECTORS: usize = 8;

/// With more rows than this, C is the large operand and is traversed once, row by row. With fewer rows, B is
/// the large operand and is traversed column by column.
const MANY_ROWS: usize = 64;

impl Computation for SparseProduct<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller meets the same requirements.
        unsafe {
            if self.in_place {
                product::<S, true>(&self);
            } else {
                product::<S, false>(&self);
            }
        }
    }
}

#[inline(always)]
unsafe fn product<S: Simd, const IN_PLACE: bool>(task: &SparseProduct<'_>) {
    // SAFETY: the caller meets the same requirements; rows and columns exist.
    unsafe {
        if task.a.rows() > MANY_ROWS {
            for i in 0..task.a.rows() {
                if task.a.starts[i] < task.a.starts[i + 1] {
                    columns::<S, IN_PLACE>(task, i, 0, task.n);
                }
            }
        } else {
            for from in (0..task.n).step_by(VECTORS * S::LANES) {
                let to = task.n.min(from + VECTORS * S::LANES);
                for i in 0..task.a.rows() {
                    if task.a.starts[i] < task.a.starts[i + 1] {
                        columns::<S, IN_PLACE>(task, i, from, to);
                    }
                }
            }
        }
    }
}

/// Computes the columns `from..to` of row i.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn columns<S: Simd, const IN_PLACE: bool>(task: &SparseProduct<'_>, i: usize, from: usize, to: usize) {
    // SAFETY: the columns exist, and `rest` is less than a vector.
    unsafe {
        let c = task.c.add(i * task.n);
        let mut j = from;
        while j + VECTORS * S::LANES <= to {
            strip::<S, VECTORS, IN_PLACE>(task, i, task.b.add(j), task.n, c.add(j));
            j += VECTORS * S::LANES;
        }
        if j + 4 * S::LANES <= to {
            strip::<S, 4, IN_PLACE>(task, i, task.b.add(j), task.n, c.add(j));
            j += 4 * S::LANES;
        }
        while j + S::LANES <= to {
            strip::<S, 1, IN_PLACE>(task, i, task.b.add(j), task.n, c.add(j));
            j += S::LANES;
        }
        if j < to {
            remainder::<S, IN_PLACE>(task, i, j, to);
        }
    }
}

/// Computes the columns that do not fill a vector, on copies.
#[inline(always)]
unsafe fn remainder<S: Simd, const IN_PLACE: bool>(
    task: &SparseProduct<'_>,
    i: usize,
    from: usize,
    to: usize,
) {
    let width = to - from;
    let mut sums = [0.0f32; LANES_MAX];
    let mut row = [0.0f32; LANES_MAX];
    // SAFETY: `width` is less than a vector, and the columns exist.
    unsafe {
        let c = task.c.add(i * task.n + from);
        if !IN_PLACE {
            sums.as_mut_ptr().copy_from_nonoverlapping(c, width);
        }
        let mut sum = S::load(sums.as_ptr());
        for at in task.a.starts[i] as usize..task.a.starts[i + 1] as usize {
            let b = task.b.add(*task.a.places.get_unchecked(at) as usize * task.n + from);
            row.as_mut_ptr().copy_from_nonoverlapping(b, width);
            let value = S::splat(task.a.values.get_unchecked(at));
            sum = S::multiply_add(value, S::load(row.as_ptr()), sum);
        }
        sum = S::add_zero(sum);
        if IN_PLACE {
            row.as_mut_ptr().copy_from_nonoverlapping(c, width);
            sum = S::multiply_add(S::splat(&raw const task.factor), sum, S::load(row.as_ptr()));
        }
        S::store(sums.as_mut_ptr(), sum);
        c.copy_from_nonoverlapping(sums.as_ptr(), width);
    }
}

/// Computes `VECTORS` vectors of row i. `b` and `c` point to the first column of the strip.
#[inline(always)]
unsafe fn strip<S: Simd, const VECTORS: usize, const IN_PLACE: bool>(
    task: &SparseProduct<'_>,
    i: usize,
    b: *const f32,
    n: usize,
    c: *mut f32,
) {
    // SAFETY: the caller guarantees the columns, the lists guarantee the rows.
    unsafe {
        let zero = 0.0f32;
        let mut sums: [S::Vector; VECTORS] = std::array::from_fn(|j| {
            if IN_PLACE { S::splat(&raw const zero) } else { S::load(c.add(j * S::LANES)) }
        });
        let (places, values) = (task.a.places.as_ptr(), task.a.values.as_ptr());
        for at in task.a.starts[i] as usize..task.a.starts[i + 1] as usize {
            let row = b.add(*places.add(at) as usize * n);
            let value = S::splat(values.add(at));
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = S::multiply_add(value, S::load(row.add(j * S::LANES)), *sum);
            }
        }
        let factor = S::splat(&raw const task.factor);
        for (j, sum) in sums.iter().enumerate() {
            let (at, sum) = (c.add(j * S::LANES), S::add_zero(*sum));
            S::store(at, if IN_PLACE { S::multiply_add(factor, sum, S::load(at)) } else { sum });
        }
    }
}
