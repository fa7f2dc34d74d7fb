//! Matrix products in register tiles, generic over the vector type.

use super::simd::{Computation, LANES_MAX, Simd};

/// The operands of C += A B, or of C += factor (A B), in elements of `f32`.
///
/// # Safety
/// The computation relies on these conditions: for all i < m, j < n and p < k, the pointers `a + i * a_row +
/// p * a_step` and `b + p * b_step + j` are valid for reads, `c + i * n + j` is valid for reads and writes,
/// and C overlaps neither A nor B.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a: *const f32,
    pub(super) a_row: usize,
    pub(super) a_step: usize,
    pub(super) b: *const f32,
    pub(super) b_step: usize,
    pub(super) c: *mut f32,
    /// Used in place only.
    pub(super) factor: f32,
}

/// A product as a task.
pub(super) struct Product<'a> {
    pub(super) operands: Operands,
    pub(super) in_place: bool,
    pub(super) packed: &'a mut Vec<f32>,
}

impl Computation for Product<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller meets the same requirements.
        unsafe {
            if self.in_place {
                S::product::<true>(&self.operands, self.packed);
            } else {
                S::product::<false>(&self.operands, self.packed);
            }
        }
    }
}

/// Number of steps of k before C is stored and reloaded. This many rows of B stay in the first-level cache
/// while all rows of A pass.
const K_BLOCK: usize = 64;

/// From this many rows on, C is the large operand and is traversed once, row by row. With fewer rows, B is
/// the large operand and is traversed column by column.
pub(super) const MANY_ROWS: usize = 64;

/// With many rows, packing the columns of a tile side by side pays from this many steps of k on.
const PACKED_STEPS: usize = 48;

/// Maximum rows of a tile.
const ROWS_MAX: usize = 8;

/// C += A B, or C += factor (A B) in place, mainly in tiles of `ROWS` rows and `VECTORS` vectors of columns.
///
/// # Safety
/// `operands` must meet the requirements of [`Operands`], and the processor must have the instructions of
/// `S`.
#[inline(always)]
pub(super) unsafe fn product<S: Simd, const ROWS: usize, const VECTORS: usize, const IN_PLACE: bool>(
    operands: &Operands,
    packed: &mut Vec<f32>,
) {
    const { assert!(ROWS <= ROWS_MAX && VECTORS <= 4 && S::LANES <= LANES_MAX) };
    let Operands { m, n, k, .. } = *operands;
    let main = n - n % (VECTORS * S::LANES);
    let full = n - n % S::LANES;
    // In place, a sum must be complete before it is used.
    let k_block = if IN_PLACE { k.max(1) } else { K_BLOCK };
    // SAFETY: all indices below stay within m, n and k.
    unsafe {
        for first in (0..k).step_by(k_block) {
            let block = Operands {
                k: k_block.min(k - first),
                a: operands.a.add(first * operands.a_step),
                b: operands.b.add(first * operands.b_step),
                ..*operands
            };
            let panels = if m >= MANY_ROWS && block.k >= PACKED_STEPS {
                pack::<S, VECTORS>(&block, main, packed);
                Some(packed.as_ptr())
            } else {
                None
            };
            sweep::<S, ROWS, VECTORS, IN_PLACE>(&block, 0, main, panels);
            let mut j = main;
            if VECTORS > 3 && j + 3 * S::LANES <= full {
                sweep::<S, 3, 3, IN_PLACE>(&block, j, j + 3 * S::LANES, None);
                j += 3 * S::LANES;
            }
            if VECTORS > 2 && j + 2 * S::LANES <= full {
                sweep::<S, 4, 2, IN_PLACE>(&block, j, j + 2 * S::LANES, None);
                j += 2 * S::LANES;
            }
            if j < full {
                sweep::<S, 8, 1, IN_PLACE>(&block, j, full, None);
            }
            if full < n {
                tail::<S, IN_PLACE>(&block, packed);
            }
        }
    }
}

/// Computes the columns `from..to`, a whole number of panels of `VECTORS` vectors. `panels` holds them if
/// they are packed.
#[inline(always)]
unsafe fn sweep<S: Simd, const ROWS: usize, const VECTORS: usize, const IN_PLACE: bool>(
    operands: &Operands,
    from: usize,
    to: usize,
    panels: Option<*const f32>,
) {
    let (m, width) = (operands.m, VECTORS * S::LANES);
    let whole = m - m % ROWS;
    // SAFETY: rows stay below m and columns below `to`.
    unsafe {
        if m >= MANY_ROWS {
            for i in (0..whole).step_by(ROWS) {
                row_of_tiles::<S, ROWS, VECTORS, IN_PLACE>(operands, i, from, to, panels);
            }
            for i in whole..m {
                row_of_tiles::<S, 1, VECTORS, IN_PLACE>(operands, i, from, to, panels);
            }
        } else {
            for j in (from..to).step_by(width) {
                column_of_tiles::<S, ROWS, VECTORS, IN_PLACE>(operands, j, whole);
            }
        }
    }
}

/// Computes the tiles of the rows that begin at row `i`.
///
/// On WebAssembly, where the whole program has one instruction set, this and the other marked functions stay
/// separate, because an engine compiles separate functions sooner.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn row_of_tiles<S: Simd, const ROWS: usize, const VECTORS: usize, const IN_PLACE: bool>(
    operands: &Operands,
    i: usize,
    from: usize,
    to: usize,
    panels: Option<*const f32>,
) {
    let Operands { n, k, a_row, .. } = *operands;
    let width = VECTORS * S::LANES;
    // SAFETY: the caller guarantees the rows and columns.
    unsafe {
        let (a, c) = (operands.a.add(i * a_row), operands.c.add(i * n));
        let mut b = panels.unwrap_or(operands.b.add(from));
        let (b_step, b_panel) = if panels.is_some() { (width, k * width) } else { (operands.b_step, width) };
        for j in (from..to).step_by(width) {
            tile::<S, ROWS, VECTORS, IN_PLACE>(operands, a, b, b_step, c.add(j), n);
            b = b.wrapping_add(b_panel);
        }
    }
}

/// Computes all rows of the `VECTORS` vectors of columns that begin at column `j`. `whole` is the number of
/// rows in whole tiles.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn column_of_tiles<S: Simd, const ROWS: usize, const VECTORS: usize, const IN_PLACE: bool>(
    operands: &Operands,
    j: usize,
    whole: usize,
) {
    let Operands { m, n, a_row, b_step, .. } = *operands;
    // SAFETY: the caller guarantees the columns; rows stay below m.
    unsafe {
        let (b, c) = (operands.b.add(j), operands.c.add(j));
        for i in (0..whole).step_by(ROWS) {
            let a = operands.a.add(i * a_row);
            tile::<S, ROWS, VECTORS, IN_PLACE>(operands, a, b, b_step, c.add(i * n), n);
        }
        for i in whole..m {
            let a = operands.a.add(i * a_row);
            tile::<S, 1, VECTORS, IN_PLACE>(operands, a, b, b_step, c.add(i * n), n);
        }
    }
}

/// Computes the last columns, which do not fill a vector, on a copy of C. The copy holds the last columns
/// that fill one vector if C is wide enough, otherwise all columns, padded with zeros. Only the remaining
/// columns are written back.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn tail<S: Simd, const IN_PLACE: bool>(operands: &Operands, packed: &mut Vec<f32>) {
    let Operands { m, n, a_row, .. } = *operands;
    let width = n.min(S::LANES);
    let (from, done) = (n - width, width - n % S::LANES);
    // SAFETY: columns `from..n` of B and C exist; the copies have rows of `width` elements, at most
    // `S::LANES`.
    unsafe {
        let (b, b_step) = if width < S::LANES {
            pack_padded::<S>(operands, packed);
            (packed.as_ptr(), S::LANES)
        } else {
            (operands.b.add(from), operands.b_step)
        };
        let mut copy = [0.0f32; ROWS_MAX * LANES_MAX];
        let mut i = 0;
        while i < m {
            let rows = ROWS_MAX.min(m - i);
            let c = operands.c.add(i * n + from);
            for row in 0..rows {
                copy.as_mut_ptr().add(row * S::LANES).copy_from_nonoverlapping(c.add(row * n), width);
            }
            let (a, to) = (operands.a.add(i * a_row), copy.as_mut_ptr());
            if rows == ROWS_MAX {
                tile::<S, ROWS_MAX, 1, IN_PLACE>(operands, a, b, b_step, to, S::LANES);
            } else {
                for row in 0..rows {
                    let (a, to) = (a.add(row * a_row), to.add(row * S::LANES));
                    tile::<S, 1, 1, IN_PLACE>(operands, a, b, b_step, to, S::LANES);
                }
            }
            for row in 0..rows {
                let from = copy.as_ptr().add(row * S::LANES + done);
                c.add(row * n + done).copy_from_nonoverlapping(from, width - done);
            }
            i += rows;
        }
    }
}

/// Copies all columns of B to `packed`, padding each row with zeros to a whole vector. B has fewer columns
/// than a vector has lanes.
#[inline(always)]
unsafe fn pack_padded<S: Simd>(operands: &Operands, packed: &mut Vec<f32>) {
    packed.clear();
    packed.resize(operands.k * S::LANES, 0.0);
    for (p, row) in packed.chunks_exact_mut(S::LANES).enumerate() {
        // SAFETY: row p of B.
        unsafe { row.as_mut_ptr().copy_from_nonoverlapping(operands.b.add(p * operands.b_step), operands.n) };
    }
}

/// Copies the columns `0..main` of B to `packed`, panel by panel of `VECTORS` vectors.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn pack<S: Simd, const VECTORS: usize>(operands: &Operands, main: usize, packed: &mut Vec<f32>) {
    let Operands { k, b, b_step, .. } = *operands;
    if packed.len() < k * main {
        packed.reserve_exact(k * main - packed.len());
        packed.resize(k * main, 0.0);
    }
    let mut to = packed.as_mut_ptr();
    for j in (0..main).step_by(VECTORS * S::LANES) {
        for p in 0..k {
            for vector in 0..VECTORS {
                // SAFETY: columns `j..` of row p of B exist, and `to` has room for them.
                unsafe {
                    S::store(to, S::load(b.add(p * b_step + j + vector * S::LANES)));
                    to = to.add(S::LANES);
                }
            }
        }
    }
}

/// Computes one tile of C, keeping its sums in registers over all steps of k.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize, const IN_PLACE: bool>(
    operands: &Operands,
    mut a: *const f32,
    mut b: *const f32,
    b_step: usize,
    c: *mut f32,
    c_row: usize,
) {
    let Operands { k, a_row, a_step, .. } = *operands;
    // SAFETY: the caller gives pointers to `ROWS` rows of A, `k` rows of B and `ROWS` rows of C. The rows of
    // B and C are `VECTORS` vectors wide.
    unsafe {
        let at = |i: usize, j: usize| c.add(i * c_row + j * S::LANES);
        let zero = 0.0f32;
        let mut sums: [[S::Vector; VECTORS]; ROWS] = std::array::from_fn(|i| {
            std::array::from_fn(|j| if IN_PLACE { S::splat(&raw const zero) } else { S::load(at(i, j)) })
        });
        for _ in 0..k {
            let columns: [S::Vector; VECTORS] = std::array::from_fn(|j| S::load(b.add(j * S::LANES)));
            for (i, sums) in sums.iter_mut().enumerate() {
                let value = S::splat(a.add(i * a_row));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = S::multiply_add(value, column, *sum);
                }
            }
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(b_step);
        }
        let factor = S::splat(&raw const operands.factor);
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                let sum = S::add_zero(*sum);
                S::store(
                    at(i, j),
                    if IN_PLACE { S::multiply_add(factor, sum, S::load(at(i, j))) } else { sum },
                );
            }
        }
    }
}
