//! Matrix products behind one small interface. This is the only module with `unsafe` code.
//!
//! Every path below meets this definition bit for bit. Each element of C starts from its present value and
//! adds its products over increasing k, one at a time, either as `sum = round(sum + round(a * b))` (portable)
//! or as `sum = round(sum + a * b)` (fused). At the end, +0.0 is added, so that no result is -0. Tile shapes,
//! vector widths and the blocking of k only change which elements are computed side by side, never the steps
//! of one element. (The +0.0 after each block of k changes no result: it only affects a sum that is -0, and
//! the sign of a zero sum can affect only the sign of a later zero, which ends as +0.0 anyway.)
//!
//! A product ends in one of three ways: C += A B; C = A B, which starts from zeros; and C += factor (A B) in
//! place. In place, the sums start from zeros and are completed, +0.0 included, before one more step of the
//! same arithmetic adds their product with the factor.
//!
//! Vectors lie along the columns of C. The last columns may not fill a vector. They are computed on a copy,
//! together with enough preceding columns to fill one, and only they are written back.

#![allow(
    unsafe_code,
    reason = "vector instructions work on raw pointers and need run-time checks of the processor"
)]

mod convolution;
mod lanes;
mod product;
mod roof;
mod rows;
mod simd;
mod sparse;
mod vectorize;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::arithmetic::Arithmetic;
pub(crate) use convolution::{CHANNELS, COLUMNS, Grid};
use convolution::{Correlation, WindowProduct};
use product::{Operands, Product};
use roof::MultiplyAdds;
use rows::AddScaled;
use simd::Computation;
pub(crate) use simd::LANES_MAX;
pub(crate) use sparse::Lists;
use sparse::SparseProduct;
pub use vectorize::{Vectorized, vectorize};

/// How to compute a product: an arithmetic, and an instruction set that this machine is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    arithmetic: Arithmetic,
    path: Path,
}

/// An instruction set. A value other than `Lanes` exists only on a machine that has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// An operand that had to be transposed first.
    transposed: Vec<f32>,
    /// The transpose of C, if it is computed instead of C.
    result: Vec<f32>,
    /// Columns of B, packed side by side.
    packed: Vec<f32>,
    /// The positions where taps begin in an image.
    pub(crate) offsets: Vec<usize>,
}

/// What happens to the sums of a product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ending {
    /// C += A B: the sums start from the values in C.
    Add,
    /// C = A B.
    Replace,
    /// C += factor (A B).
    InPlace(f32),
}

/// A read-only matrix in memory: element (i, j) is `data[i * row_step + j * column_step]`.
#[derive(Debug, Clone, Copy)]
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

    /// The transpose, without moving any data.
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
    /// The fastest kernel on this machine.
    pub(crate) fn best(arithmetic: Arithmetic) -> Kernel {
        Kernel { arithmetic, path: best_path(arithmetic) }
    }

    /// All kernels of this machine, slowest first.
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

    /// C += A B, C = A B or C += factor (A B), as the module's definition says. C is row-major of shape
    /// `[a.rows, b.columns]`.
    ///
    /// # Panics
    /// If the shapes do not match.
    pub(crate) fn product(
        self,
        workspace: &mut Workspace,
        a: Matrix<'_>,
        b: Matrix<'_>,
        ending: Ending,
        c: &mut [f32],
    ) {
        assert_eq!(a.columns, b.rows, "the inner sizes of a product");
        assert_eq!(c.len(), a.rows * b.columns, "the size of a product");
        assert!(a.is_within_data() && b.is_within_data(), "a matrix reaches beyond its data");
        if ending == Ending::Replace {
            c.fill(0.0);
        }
        let Workspace { transposed, result, packed, .. } = workspace;
        if b.column_step == 1 {
            return self.run_product(a, b, ending, packed, c);
        }
        // The columns of B must be contiguous: either B is transposed, or the whole product is, as
        // C^T = B^T A^T.
        let (m, n, k) = (a.rows, b.columns, a.columns);
        if m * (n + k) >= n * k || matches!(ending, Ending::InPlace(_)) || b.row_step != 1 {
            transpose(b, b.columns, transposed);
            let b = Matrix { data: transposed, rows: k, columns: n, row_step: n, column_step: 1 };
            return self.run_product(a, b, ending, packed, c);
        }
        let width = m.next_multiple_of(RESULT_COLUMNS);
        transpose(a.transposed(), width, transposed);
        let a_transposed =
            Matrix { data: transposed, rows: k, columns: width, row_step: width, column_step: 1 };
        if ending == Ending::Replace {
            result.clear();
            result.reserve_exact(n * width);
            result.resize(n * width, 0.0);
        } else {
            transpose(Matrix::new(c, m, n).transposed(), width, result);
        }
        self.run_product(b.transposed(), a_transposed, Ending::Add, packed, &mut result[..n * width]);
        let of_c = Matrix { data: result, rows: m, columns: n, row_step: 1, column_step: width };
        copy(of_c, n, c);
    }

    /// Computes a product with a B whose columns are contiguous.
    fn run_product(self, a: Matrix<'_>, b: Matrix<'_>, ending: Ending, packed: &mut Vec<f32>, c: &mut [f32]) {
        let (factor, in_place) = match ending {
            Ending::InPlace(factor) => (factor, true),
            Ending::Add | Ending::Replace => (0.0, false),
        };
        assert!(b.column_step == 1 && c.len() == a.rows * b.columns);
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
            factor,
        };
        // SAFETY: `product` asserts the bounds that `Operands` requires, or made the matrices itself.
        unsafe { self.run(Product { operands, in_place, packed }) }
    }

    /// As [`Kernel::product`], with the rows of A as lists. [`Ending::Replace`] is not supported. If an
    /// element of B is infinite or NaN, or C is -0 where its list is empty, the bits may differ from those of
    /// the full product.
    ///
    /// # Panics
    /// If the shapes do not match.
    pub(crate) fn sparse_product(self, a: Lists<'_>, b: Matrix<'_>, ending: Ending, c: &mut [f32]) {
        assert!(b.column_step == 1 && b.row_step == b.columns && b.is_within_data(), "B is row-major");
        assert!(a.are_within(b.rows), "the places of a list");
        assert_eq!(c.len(), a.rows() * b.columns, "the size of a product");
        let (factor, in_place) = match ending {
            Ending::Add => (0.0, false),
            Ending::InPlace(factor) => (factor, true),
            Ending::Replace => panic!("a sparse product never replaces"),
        };
        let (b_data, c) = (b.data.as_ptr(), c.as_mut_ptr());
        // SAFETY: asserted above.
        unsafe { self.run(SparseProduct { a, n: b.columns, b: b_data, c, factor, in_place }) }
    }

    /// C = b + A B, where row p of B is `image` from `offsets[p]` on. C is row-major with one row per element
    /// of `starts`, which holds b; its number of columns is a multiple of [`COLUMNS`]. A is row-major. Each
    /// element takes the same steps as in a product.
    ///
    /// # Panics
    /// If the shapes do not match, or the image is too short.
    pub(crate) fn correlation(
        self,
        a: &[f32],
        offsets: &[usize],
        image: &[f32],
        starts: &[f32],
        c: &mut [f32],
    ) {
        let m = starts.len();
        assert!(
            m > 0 && c.len().is_multiple_of(m) && a.len() == m * offsets.len(),
            "the sizes of a correlation"
        );
        let n = c.len() / m;
        assert!(n.is_multiple_of(COLUMNS), "the columns of a correlation");
        let furthest = offsets.iter().copied().max().unwrap_or(0);
        assert!(image.len() >= n && image.len() - n >= furthest, "the image of a correlation");
        let (a, image, starts, c) = (a.as_ptr(), image.as_ptr(), starts.as_ptr(), c.as_mut_ptr());
        // SAFETY: asserted above.
        unsafe { self.run(Correlation { m, n, a, offsets, image, starts, c }) }
    }

    /// C += A B, where row i of A is `image` from `offsets[i]` on, with one element per window. B and C are
    /// row-major with `n` columns, a multiple of [`CHANNELS`].
    ///
    /// # Panics
    /// If the shapes do not match, or the image is too short.
    pub(crate) fn window_product(
        self,
        offsets: &[usize],
        image: &[f32],
        windows: Grid,
        (b, n): (&[f32], usize),
        c: &mut [f32],
    ) {
        assert!(n.is_multiple_of(CHANNELS), "the columns of a product over windows");
        assert!(b.len() == windows.windows() * n && c.len() == offsets.len() * n, "the sizes of a product");
        let furthest = offsets.iter().copied().max().unwrap_or(0);
        assert!(furthest + windows.last() < image.len(), "the image of a product over windows");
        let (image, b, c) = (image.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        // SAFETY: asserted above.
        unsafe { self.run(WindowProduct { n, offsets, image, windows, b, c }) }
    }

    /// `sum += factor * vector`, each element one step of the kernel's arithmetic.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(crate) fn add_scaled(self, factor: f32, vector: &[f32], sum: &mut [f32]) {
        assert_eq!(vector.len(), sum.len(), "a vector and a sum of different lengths");
        // SAFETY: the lengths are equal.
        unsafe { self.run(AddScaled { factor, vector, sum }) }
    }

    /// Runs a task on this kernel's vectors.
    ///
    /// # Safety
    /// The task must meet its type's requirements.
    unsafe fn run<T: Computation>(self, task: T) -> T::Output {
        let fused = self.arithmetic == Arithmetic::Fused;
        // SAFETY: a path exists only where the machine has its instructions.
        unsafe {
            match self.path {
                Path::Lanes => lanes::run(fused, task),
                #[cfg(target_arch = "x86_64")]
                Path::Avx2 => x86::run_avx2(fused, task),
                #[cfg(target_arch = "x86_64")]
                Path::Avx512 => x86::run_avx512(fused, task),
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                Path::Wasm => wasm::run(fused, task),
            }
        }
    }
}

/// Keeps the fastest instructions of this machine busy with `steps` rounds of independent multiply-adds on
/// registers, and returns the number of floating-point operations. Benchmarks compare with this peak. `many`
/// runs twice as many chains, which suits some processors better and others worse.
pub fn multiply_adds(arithmetic: Arithmetic, many: bool, steps: u32) -> u64 {
    // SAFETY: this task has no requirements.
    unsafe { Kernel::best(arithmetic).run(MultiplyAdds { many, steps }) }
}

/// The instruction set behind this machine's results: `avx512`, `avx2`, `wasm` or `plain` (Rust without
/// explicit vector instructions). A test of the bits reports it.
pub fn instruction_set(arithmetic: Arithmetic) -> &'static str {
    match best_path(arithmetic) {
        Path::Lanes => "plain",
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => "avx2",
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => "avx512",
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Path::Wasm => "wasm",
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
    is_x86_feature_detected!("avx512f") && has_avx2()
}

/// A build without relaxed SIMD has no fused instruction and must not contain one. It still gives the right
/// bits, slowly.
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

/// The transpose of C is padded to a multiple of this many columns.
const RESULT_COLUMNS: usize = if cfg!(target_arch = "wasm32") { 4 } else { 8 };

/// Whether every element is finite.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    // 0 times an infinity or NaN is NaN, and so is every sum that contains it.
    let mut sums = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks();
    for chunk in chunks {
        let chunk: &[f32; 16] = chunk;
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += 0.0 * value;
        }
    }
    sums.iter().chain(rest).fold(0.0, |sum, value| sum + 0.0 * value) == 0.0
}

/// Fills `buffer` with the rows of `matrix`, each padded with zeros to `width`.
fn transpose(matrix: Matrix<'_>, width: usize, buffer: &mut Vec<f32>) {
    buffer.clear();
    // The buffer may be as large as all the weights, so it reserves no more than needed, as `footprint`
    // assumes.
    buffer.reserve_exact(matrix.rows * width);
    buffer.resize(matrix.rows * width, 0.0);
    copy(matrix, width, buffer);
}

/// Writes each row of `matrix` to the start of a row of `width`.
fn copy(matrix: Matrix<'_>, width: usize, rows: &mut [f32]) {
    // Reads eight source columns at a time, so that each cache line read yields more than one element.
    const BLOCK: usize = 8;
    for first in (0..matrix.columns).step_by(BLOCK) {
        let end = matrix.columns.min(first + BLOCK);
        for (i, row) in rows.chunks_exact_mut(width).take(matrix.rows).enumerate() {
            let from = &matrix.data[i * matrix.row_step..];
            for (j, element) in (first..end).zip(&mut row[first..end]) {
                *element = from[j * matrix.column_step];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition as a plain loop.
    fn reference(
        arithmetic: Arithmetic,
        (a, b): (&[f32], &[f32]),
        (k, n): (usize, usize),
        ending: Ending,
        c: &mut [f32],
    ) {
        let step = |a: f32, b: f32, sum: f32| match arithmetic {
            Arithmetic::Portable => sum + a * b,
            Arithmetic::Fused => a.mul_add(b, sum),
        };
        for (i, row) in c.chunks_exact_mut(n).enumerate() {
            for (j, c) in row.iter_mut().enumerate() {
                let start = if ending == Ending::Add { *c } else { 0.0 };
                let sum = (0..k).fold(start, |sum, p| step(a[i * k + p], b[p * n + j], sum)) + 0.0;
                *c = if let Ending::InPlace(factor) = ending { step(factor, sum, *c) } else { sum };
            }
        }
    }

    const ENDINGS: [Ending; 3] = [Ending::Add, Ending::Replace, Ending::InPlace(-0.37)];

    fn transposed(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..data.len()).map(|i| data[i % rows * columns + i / rows]).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// Numbers of very different magnitudes, so that the order of a sum shows, with zeros of both signs and
    /// subnormals.
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
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_path_and_orientation_is_the_definition((m, n, k, a, b, start) in operands()) {
            let (a_columns, b_columns) = (transposed(&a, m, k), transposed(&b, k, n));
            for arithmetic in Arithmetic::ALL {
                for ending in ENDINGS {
                    let mut wanted = start.clone();
                    reference(arithmetic, (&a, &b), (k, n), ending, &mut wanted);
                    for kernel in Kernel::all(arithmetic) {
                        let mut workspace = Workspace::default();
                        for a in [Matrix::new(&a, m, k), Matrix::new(&a_columns, k, m).transposed()] {
                            for b in [Matrix::new(&b, k, n), Matrix::new(&b_columns, n, k).transposed()] {
                                let mut c = start.clone();
                                kernel.product(&mut workspace, a, b, ending, &mut c);
                                prop_assert_eq!(bits(&c), bits(&wanted), "{:?} {:?}", kernel, ending);
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn leaving_zeros_out_changes_no_bit((m, n, k, a, b, start) in operands()) {
            // Most elements become zeros of either sign. C holds no -0, as a gradient holds none.
            let a: Vec<f32> = a.iter().enumerate().map(|(i, a)| if i % 5 < 4 { a * 0.0 } else { *a }).collect();
            let start: Vec<f32> = start.iter().map(|start| start + 0.0).collect();
            let (mut starts, mut places, mut values) = (vec![0], vec![], vec![]);
            for row in a.chunks(k) {
                for (place, value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                    places.push(place as u32);
                    values.push(*value);
                }
                starts.push(places.len() as u32);
            }
            let lists = Lists { starts: &starts, places: &places, values: &values };
            for arithmetic in Arithmetic::ALL {
                for ending in [Ending::Add, Ending::InPlace(-0.37)] {
                    let mut wanted = start.clone();
                    reference(arithmetic, (&a, &b), (k, n), ending, &mut wanted);
                    for kernel in Kernel::all(arithmetic) {
                        let mut c = start.clone();
                        kernel.sparse_product(lists, Matrix::new(&b, k, n), ending, &mut c);
                        prop_assert_eq!(bits(&c), bits(&wanted), "{:?} {:?}", kernel, ending);
                    }
                }
            }
            let _ = m;
        }
    }

    #[test]
    fn only_finite_values_are_all_finite() {
        for length in [0, 1, 15, 16, 17, 40] {
            let mut values = vec![f32::MAX; length];
            assert!(all_finite(&values));
            for i in 0..length {
                for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                    let before = std::mem::replace(&mut values[i], value);
                    assert!(!all_finite(&values));
                    values[i] = before;
                }
            }
        }
    }

    /// The padding of the last columns must not turn an infinity of A into a visible NaN.
    #[test]
    fn infinities_stay_in_their_rows_and_columns() {
        for arithmetic in Arithmetic::ALL {
            for kernel in Kernel::all(arithmetic) {
                let a = [f32::INFINITY, 1.0, 2.0, 1.0];
                let b = [1.0f32; 2 * 5];
                let mut c = [0.0; 2 * 5];
                let (a, b) = (Matrix::new(&a, 2, 2), Matrix::new(&b, 2, 5));
                kernel.product(&mut Workspace::default(), a, b, Ending::Add, &mut c);
                assert_eq!(c[..5], [f32::INFINITY; 5], "{kernel:?}");
                assert_eq!(c[5..], [3.0; 5], "{kernel:?}");
            }
        }
    }
}
