//! The matrix product, behind one small interface. This is the only module with `unsafe` code.
//!
//! The definition, which every path below meets bit for bit: each element of C starts from what it holds and takes its
//! products over increasing k, one at a time, either as `sum = round(sum + round(a * b))` (portable) or as
//! `sum = round(sum + a * b)` (fused); at the end +0.0 is added, so that no result is -0. Tile shapes, vector widths and
//! the blocking of k only change which elements are computed side by side, never the steps of one element. (The +0.0
//! after a block of k is invisible: only a sum's being zero, not the sign of that zero, matters to its next step.)
//!
//! Vectors always lie along the columns of C. Columns that do not fill a vector are computed on copies padded with
//! zeros, of which only the real columns are written back.

#![allow(
    unsafe_code,
    reason = "vector instructions work on raw pointers and need run-time checks of the processor"
)]

mod lanes;
mod product;
mod roof;
mod simd;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::arithmetic::Arithmetic;
use product::Operands;

/// How to compute a product: an arithmetic and a set of instructions that this machine is known to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    arithmetic: Arithmetic,
    path: Path,
}

/// A set of instructions. A value other than `Lanes` exists only where the machine has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Plain Rust.
    Lanes,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Wasm,
}

/// Buffers for repacked operands; they grow as needed and are reused.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// B, where it has to be transposed first.
    transposed: Vec<f32>,
    /// The last columns of B, padded to a vector.
    tail: Vec<f32>,
}

/// A read-only matrix in memory: element (i, j) is `data[i * row_step + j * column_step]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// `data` in row-major order.
    ///
    /// # Panics
    /// If it does not have `rows * columns` elements.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Matrix<'a> {
        assert_eq!(data.len(), rows * columns, "the size of a matrix");
        Matrix { data, rows, columns, row_step: columns, column_step: 1 }
    }

    /// The transpose, without moving anything.
    pub(crate) fn transposed(self) -> Matrix<'a> {
        Matrix {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
        }
    }

    /// Whether every element lies within `data`.
    fn is_within_data(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step < self.data.len()
    }
}

impl Kernel {
    /// The fastest way this machine has.
    pub(crate) fn best(arithmetic: Arithmetic) -> Kernel {
        Kernel { arithmetic, path: best_path(arithmetic) }
    }

    /// Every way this machine has, slowest first.
    #[cfg(test)]
    pub(crate) fn all(arithmetic: Arithmetic) -> Vec<Kernel> {
        let mut paths = vec![Path::Lanes];
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx2() {
                paths.push(Path::Avx2);
            }
            if has_avx512() {
                paths.push(Path::Avx512);
            }
        }
        if !paths.contains(&best_path(arithmetic)) {
            paths.push(best_path(arithmetic));
        }
        paths.into_iter().map(|path| Kernel { arithmetic, path }).collect()
    }

    /// `sum + a * b` in the kernel's arithmetic.
    pub(crate) fn multiply_add(self, a: f32, b: f32, sum: f32) -> f32 {
        match self.arithmetic {
            Arithmetic::Portable => sum + a * b,
            Arithmetic::Fused => a.mul_add(b, sum),
        }
    }

    /// C += A B, with C row-major of shape `[a.rows, b.columns]`, by the definition above.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub(crate) fn add_product(self, workspace: &mut Workspace, a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
        assert_eq!(a.columns, b.rows, "the inner sizes of a product");
        assert_eq!(c.len(), a.rows * b.columns, "the size of a product");
        assert!(a.is_within_data() && b.is_within_data(), "a matrix reaches beyond its data");
        let Workspace { transposed, tail } = workspace;
        let b = if b.column_step == 1 { b } else { transpose(b, transposed) };
        let operands = Operands {
            m: a.rows,
            n: b.columns,
            k: a.columns,
            a: a.data.as_ptr(),
            a_row: a.row_step,
            a_step: a.column_step,
            b: b.data.as_ptr(),
            b_step: b.row_step,
            c: c.as_mut_ptr(),
        };
        let fused = self.arithmetic == Arithmetic::Fused;
        // SAFETY: the assertions above are the bounds that `Operands` asks for, and a path exists only where the
        // machine has its instructions.
        unsafe {
            match self.path {
                Path::Lanes => lanes::product(fused, &operands, tail),
                #[cfg(target_arch = "x86_64")]
                Path::Avx2 => x86::product_avx2(fused, &operands, tail),
                #[cfg(target_arch = "x86_64")]
                Path::Avx512 => x86::product_avx512(fused, &operands, tail),
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                Path::Wasm => wasm::product(fused, &operands, tail),
            }
        }
    }
}

/// Keeps the fastest instructions of this machine busy with `steps` rounds of independent multiply-adds on registers, and
/// answers how many floating-point operations that were: the roof that a benchmark compares with. `many` asks for twice as
/// many chains, which suits some processors better and others worse.
pub fn multiply_adds(arithmetic: Arithmetic, many: bool, steps: u32) -> u64 {
    let fused = arithmetic == Arithmetic::Fused;
    // SAFETY: a path exists only where the machine has its instructions.
    unsafe {
        match best_path(arithmetic) {
            Path::Lanes => lanes::multiply_adds(fused, many, steps),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => x86::multiply_adds_avx2(fused, many, steps),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => x86::multiply_adds_avx512(fused, many, steps),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Path::Wasm => wasm::multiply_adds(fused, many, steps),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn best_path(_: Arithmetic) -> Path {
    if has_avx512() {
        Path::Avx512
    } else if has_avx2() {
        Path::Avx2
    } else {
        Path::Lanes
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// A build without relaxed SIMD has no fused instruction and must not contain one; it still gives the right bits, slowly.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn best_path(arithmetic: Arithmetic) -> Path {
    match arithmetic {
        Arithmetic::Portable => Path::Wasm,
        Arithmetic::Fused if cfg!(target_feature = "relaxed-simd") => Path::Wasm,
        Arithmetic::Fused => Path::Lanes,
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
fn best_path(_: Arithmetic) -> Path {
    Path::Lanes
}

/// `matrix` copied so that its rows are contiguous, for a matrix whose columns are.
fn transpose<'a>(matrix: Matrix<'_>, buffer: &'a mut Vec<f32>) -> Matrix<'a> {
    let (rows, columns) = (matrix.rows, matrix.columns);
    if buffer.len() < rows * columns {
        buffer.resize(rows * columns, 0.0);
    }
    let data = &mut buffer[..rows * columns];
    // Eight source columns at a time, so that each line of the cache that is read gives more than one element.
    const BLOCK: usize = 8;
    for first in (0..columns).step_by(BLOCK) {
        for i in 0..rows {
            for j in first..columns.min(first + BLOCK) {
                data[i * columns + j] = matrix.data[i * matrix.row_step + j * matrix.column_step];
            }
        }
    }
    Matrix { data, rows, columns, row_step: columns, column_step: 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, written out.
    fn reference(arithmetic: Arithmetic, a: &[f32], b: &[f32], k: usize, n: usize, c: &mut [f32]) {
        for (i, row) in c.chunks_exact_mut(n).enumerate() {
            for (j, sum) in row.iter_mut().enumerate() {
                for p in 0..k {
                    let (a, b) = (a[i * k + p], b[p * n + j]);
                    *sum = match arithmetic {
                        Arithmetic::Portable => *sum + a * b,
                        Arithmetic::Fused => a.mul_add(b, *sum),
                    };
                }
                *sum += 0.0;
            }
        }
    }

    fn transposed(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..data.len()).map(|i| data[i % rows * columns + i / rows]).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// Numbers of very different size, so that the order of a sum shows; zeros of both signs and subnormals too.
    fn number() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -1.0f32..1.0,
            1 => -1e4f32..1e4,
            1 => Just(0.0f32),
            1 => Just(-0.0f32),
            1 => (0u32..0x0100_0000).prop_map(f32::from_bits),
            1 => -1e-20f32..1e-20,
        ]
    }

    fn operands() -> impl Strategy<Value = (usize, usize, usize, Vec<f32>, Vec<f32>, Vec<f32>)> {
        let sizes = (1usize..20, 1usize..140, prop_oneof![1usize..20, 120usize..280]);
        sizes.prop_flat_map(|(m, n, k)| {
            let numbers = |count| prop::collection::vec(number(), count);
            (Just(m), Just(n), Just(k), numbers(m * k), numbers(k * n), numbers(m * n))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_path_and_orientation_is_the_definition((m, n, k, a, b, start) in operands()) {
            let (a_columns, b_columns) = (transposed(&a, m, k), transposed(&b, k, n));
            for arithmetic in Arithmetic::ALL {
                let mut wanted = start.clone();
                reference(arithmetic, &a, &b, k, n, &mut wanted);
                for kernel in Kernel::all(arithmetic) {
                    let mut workspace = Workspace::default();
                    for a in [Matrix::new(&a, m, k), Matrix::new(&a_columns, k, m).transposed()] {
                        for b in [Matrix::new(&b, k, n), Matrix::new(&b_columns, n, k).transposed()] {
                            let mut c = start.clone();
                            kernel.add_product(&mut workspace, a, b, &mut c);
                            prop_assert_eq!(bits(&c), bits(&wanted), "{:?}", kernel);
                        }
                    }
                }
            }
        }
    }

    /// The padding of the last columns must not turn an infinity of A into a NaN that is seen.
    #[test]
    fn infinities_stay_in_their_rows_and_columns() {
        for arithmetic in Arithmetic::ALL {
            for kernel in Kernel::all(arithmetic) {
                let a = [f32::INFINITY, 1.0, 2.0, 1.0];
                let b = [1.0f32; 2 * 5];
                let mut c = [0.0; 2 * 5];
                let (a, b) = (Matrix::new(&a, 2, 2), Matrix::new(&b, 2, 5));
                kernel.add_product(&mut Workspace::default(), a, b, &mut c);
                assert_eq!(c[..5], [f32::INFINITY; 5], "{kernel:?}");
                assert_eq!(c[5..], [3.0; 5], "{kernel:?}");
            }
        }
    }
}
