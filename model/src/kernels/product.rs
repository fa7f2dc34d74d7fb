//! C += A B in register tiles, generic over the vectors.

use super::simd::{MAX_LANES, Simd};

/// The operands of C += A B, in elements of `f32`.
///
/// # Safety
/// Whoever computes with it relies on this: for all i < m, j < n and p < k, the pointers `a + i * a_row + p * a_step` and
/// `b + p * b_step + j` are valid for reads, `c + i * n + j` is valid for reads and writes, and C overlaps neither A nor B.
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
}

/// How many steps of k are done before C is stored and taken up again: so many rows of a tile's columns of B stay in the
/// first-level cache while all rows of A pass.
const K_BLOCK: usize = 64;

/// The most rows of a tile.
const MAX_ROWS: usize = 8;

/// C += A B in tiles of `ROWS` rows and `VECTORS` vectors of columns.
///
/// # Safety
/// `operands` must be as [`Operands`] asks, and the processor must have the instructions of `S`.
#[inline(always)]
pub(super) unsafe fn add_product<S: Simd, const ROWS: usize, const VECTORS: usize>(
    operands: &Operands,
    tail: &mut Vec<f32>,
) {
    const { assert!(ROWS <= MAX_ROWS && S::LANES <= MAX_LANES) };
    let full = operands.n - operands.n % S::LANES;
    // SAFETY: the tail's columns are `full..n`; all other indices below stay within m, n and k.
    unsafe {
        if full < operands.n {
            pack_tail::<S>(operands, full, tail);
        }
        for first in (0..operands.k).step_by(K_BLOCK) {
            let block = Operands {
                k: K_BLOCK.min(operands.k - first),
                a: operands.a.add(first * operands.a_step),
                b: operands.b.add(first * operands.b_step),
                ..*operands
            };
            let mut j = 0;
            while j + VECTORS * S::LANES <= full {
                column_panel::<S, ROWS, VECTORS>(&block, j);
                j += VECTORS * S::LANES;
            }
            while j < full {
                column_panel::<S, ROWS, 1>(&block, j);
                j += S::LANES;
            }
            if full < operands.n {
                tail_panel::<S, ROWS>(&block, full, tail.as_ptr().add(first * S::LANES));
            }
        }
    }
}

/// All rows of the `VECTORS` vectors of columns that begin at column `j`.
#[inline(always)]
unsafe fn column_panel<S: Simd, const ROWS: usize, const VECTORS: usize>(operands: &Operands, j: usize) {
    let Operands { m, n, a_row, .. } = *operands;
    // SAFETY: the caller vouches for the columns; rows stay below m.
    unsafe {
        let (b, c) = (operands.b.add(j), operands.c.add(j));
        let mut i = 0;
        while i + ROWS <= m {
            tile::<S, ROWS, VECTORS>(
                operands,
                operands.a.add(i * a_row),
                b,
                operands.b_step,
                c.add(i * n),
                n,
            );
            i += ROWS;
        }
        while i < m {
            tile::<S, 1, VECTORS>(operands, operands.a.add(i * a_row), b, operands.b_step, c.add(i * n), n);
            i += 1;
        }
    }
}

/// All rows of the last columns, `full..n`, which fill no vector. `tail` holds those columns of B, padded.
#[inline(always)]
unsafe fn tail_panel<S: Simd, const ROWS: usize>(operands: &Operands, full: usize, tail: *const f32) {
    let Operands { m, n, a_row, .. } = *operands;
    let width = n - full;
    let mut padded = [0.0f32; MAX_ROWS * MAX_LANES];
    // SAFETY: only `width` elements of each row of C are read and written; the tile works on the padded copy.
    unsafe {
        let mut i = 0;
        while i < m {
            let rows = ROWS.min(m - i);
            let c = operands.c.add(i * n + full);
            for row in 0..rows {
                padded.as_mut_ptr().add(row * S::LANES).copy_from_nonoverlapping(c.add(row * n), width);
            }
            let to = padded.as_mut_ptr();
            let a = operands.a.add(i * a_row);
            if rows == ROWS {
                tile::<S, ROWS, 1>(operands, a, tail, S::LANES, to, S::LANES);
            } else {
                for row in 0..rows {
                    tile::<S, 1, 1>(
                        operands,
                        a.add(row * a_row),
                        tail,
                        S::LANES,
                        to.add(row * S::LANES),
                        S::LANES,
                    );
                }
            }
            for row in 0..rows {
                c.add(row * n).copy_from_nonoverlapping(padded.as_ptr().add(row * S::LANES), width);
            }
            i += rows;
        }
    }
}

/// Copies columns `full..n` of B to `tail`, each row padded with zeros to a vector.
#[inline(always)]
unsafe fn pack_tail<S: Simd>(operands: &Operands, full: usize, tail: &mut Vec<f32>) {
    let width = operands.n - full;
    tail.clear();
    tail.resize(operands.k * S::LANES, 0.0);
    for (p, row) in tail.chunks_exact_mut(S::LANES).enumerate() {
        // SAFETY: columns full..n of row p of B.
        unsafe {
            row.as_mut_ptr().copy_from_nonoverlapping(operands.b.add(p * operands.b_step + full), width)
        };
    }
}

/// One tile of C, held in registers while k passes.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    operands: &Operands,
    mut a: *const f32,
    mut b: *const f32,
    b_step: usize,
    c: *mut f32,
    c_row: usize,
) {
    let Operands { k, a_row, a_step, .. } = *operands;
    // SAFETY: the caller gives pointers to `ROWS` rows of A, `k` rows of B and `ROWS` rows of C, the latter two
    // `VECTORS` vectors wide.
    unsafe {
        let mut sums: [[S::Vector; VECTORS]; ROWS] =
            std::array::from_fn(|i| std::array::from_fn(|j| S::load(c.add(i * c_row + j * S::LANES))));
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
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                S::store(c.add(i * c_row + j * S::LANES), S::add_zero(*sum));
            }
        }
    }
}
