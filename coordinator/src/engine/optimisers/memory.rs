//! L-BFGS's memory and the search direction made from it, in two streaming passes.
//!
//! The direction is the textbook two-loop recursion (Nocedal and Wright, Numerical Optimization,
//! 2nd ed., Algorithm 7.4) carried out on coefficients: every vector it meets is a combination of
//! the gradient, the s_i and the y_i, and it only ever needs the products s_i'y_j with i <= j,
//! y_i'y_j, s_i'g and y_i'g (the same products as in the compact form of Byrd, Nocedal and
//! Schnabel, 1994). So one pass over the memory takes the products with the newest y and with g,
//! and a second one adds up the direction. Between the passes there are only a few hundred f64
//! operations; each element of the direction is summed in f64 and rounded once.

use std::ops::Range;
use std::sync::Arc;

use model::{Vectorised, vectorise};
use serde::{Deserialize, Serialize};

use super::curvature::CurvaturePair;
use super::vectors::{
    BLOCK, LANES, Lanes, Scalar, Spare, add_products, block, each_block, fill, groups, last_group, sum_lanes,
    widen,
};

/// Elements of each vector that the first pass reads in a row: long enough for the processor to
/// fetch ahead, short enough for the newest y and the gradient to stay in its cache meanwhile. Like
/// the other sizes below it was chosen by measurement and has no influence on the bits.
const PRODUCTS_CHUNK: usize = 16_384;

/// The same for the second pass, whose sums take twice the space.
const COMBINE_CHUNK: usize = 4096;

/// Pairs that the first pass reads side by side; more would need more sums than there are registers.
const PRODUCTS_PAIRS: usize = 2;

/// The same for the second pass.
const COMBINE_PAIRS: usize = 5;

/// The newest curvature pairs with the inner products the direction needs. Cloning shares the
/// vectors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Memory<T: Scalar> {
    /// Most pairs kept, at least 1.
    limit: usize,
    /// Oldest first.
    remembered: Vec<Remembered<T>>,
    /// The last directions, to be written over once nobody needs them any more.
    #[serde(skip)]
    spare: Spare<T>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
struct Remembered<T: Scalar> {
    pair: CurvaturePair<T>,
    /// s_i'y for each remembered pair i, from the oldest to this one.
    sy: Vec<f64>,
    /// y_i'y likewise.
    yy: Vec<f64>,
}

/// A search direction.
pub struct Direction<T> {
    /// One value per parameter.
    pub vector: Arc<[T]>,
    /// Inner product with the gradient; finite only if every element of the direction is.
    pub slope: f64,
}

impl<T: Scalar> Memory<T> {
    /// An empty memory for `limit` pairs; 0 counts as 1.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), remembered: Vec::new(), spare: Spare::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.remembered.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remembered.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.remembered.clear();
    }

    /// Takes in the newest pair, if there is one, and returns -H `gradient`. With nothing to
    /// remember, H is the identity.
    ///
    /// # Panics
    /// When the vectors differ in length.
    pub fn direction(&mut self, newest: Option<CurvaturePair<T>>, gradient: &[T]) -> Direction<T> {
        let products = match newest {
            Some(pair) => self.push(pair, gradient),
            None => self.gradient_products(gradient),
        };
        let coefficients = self.coefficients(&products);
        self.combine(&coefficients, gradient)
    }

    /// Whether this is a memory of vectors of `length` with all its products: false only for
    /// damaged snapshots.
    pub(super) fn is_sound(&self, length: usize) -> bool {
        self.limit >= 1
            && self.remembered.len() <= self.limit
            && self.remembered.iter().enumerate().all(|(index, newest)| {
                newest.pair.s.len() == length
                    && newest.pair.y.len() == length
                    && newest.sy.len() == index + 1
                    && newest.yy.len() == index + 1
            })
    }

    /// Remembers `pair`, forgetting the oldest when full, in one pass that also takes the products
    /// with the gradient.
    fn push(&mut self, pair: CurvaturePair<T>, gradient: &[T]) -> Vec<GradientProducts> {
        if self.remembered.len() == self.limit {
            self.remembered.remove(0);
            for newer in &mut self.remembered {
                newer.sy.remove(0);
                newer.yy.remove(0);
            }
        }
        let y = Arc::clone(&pair.y);
        self.remembered.push(Remembered { pair, sy: Vec::new(), yy: Vec::new() });
        let products = self.products([&y, gradient]);
        if let Some(newest) = self.remembered.last_mut() {
            newest.sy = products.iter().map(|[[sy, _], _]| *sy).collect();
            newest.yy = products.iter().map(|[_, [yy, _]]| *yy).collect();
        }
        products.into_iter().map(|[[_, s], [_, y]]| GradientProducts { s, y }).collect()
    }

    fn gradient_products(&self, gradient: &[T]) -> Vec<GradientProducts> {
        self.products([gradient]).into_iter().map(|[[s], [y]]| GradientProducts { s, y }).collect()
    }

    /// The products of each remembered s and y with each of `vectors`. Every vector is read once.
    fn products<const B: usize>(&self, vectors: [&[T]; B]) -> Vec<[[f64; B]; 2]> {
        let blocks = 0..vectors[0].len().div_ceil(BLOCK);
        let sums = each_block(blocks, |index| {
            let pairs = self.pairs_in_block(index);
            vectorise(Products { pairs: &pairs, vectors: vectors.map(|vector| block(vector, index)) })
        });
        let mut totals = vec![[[0.0; B]; 2]; self.remembered.len()];
        for sums in sums {
            let totals = totals.iter_mut().flatten().flatten();
            totals.zip(sums.iter().flatten().flatten()).for_each(|(total, sum)| *total += sum);
        }
        totals
    }

    fn pairs_in_block(&self, index: usize) -> Vec<[&[T]; 2]> {
        let pairs = self.remembered.iter().map(|remembered| &remembered.pair);
        pairs.map(|pair| [block(&pair.s, index), block(&pair.y, index)]).collect()
    }

    /// The two-loop recursion for -H g on coefficients of g, s_i and y_i.
    fn coefficients(&self, products: &[GradientProducts]) -> Coefficients {
        let sy = |i: usize, j: usize| self.remembered[j].sy[i];
        let yy = |i: usize, j: usize| self.remembered[i.max(j)].yy[i.min(j)];
        let count = self.remembered.len();

        // First loop, newest to oldest: q = -g - sum of alpha_j y_j over the newer pairs j.
        let mut alpha = vec![0.0; count];
        for i in (0..count).rev() {
            let sq = (i + 1..count).fold(-products[i].s, |sq, j| sq - alpha[j] * sy(i, j));
            alpha[i] = sq / sy(i, i);
        }

        // Initial matrix gamma I, from the newest pair.
        let gamma = match count.checked_sub(1) {
            Some(newest) => sy(newest, newest) / yy(newest, newest),
            None => 1.0,
        };

        // Second loop, oldest to newest: r = gamma q + sum of s_j (alpha_j - beta_j), older j.
        let mut s = vec![0.0; count];
        for i in 0..count {
            let yq = (0..count).fold(-products[i].y, |yq, j| yq - alpha[j] * yy(i, j));
            let yr = (0..i).fold(gamma * yq, |yr, j| yr + s[j] * sy(j, i));
            s[i] = alpha[i] - yr / sy(i, i);
        }
        let pairs = s.iter().zip(&alpha).map(|(&s, alpha)| [s, -gamma * alpha]).collect();
        Coefficients { gradient: -gamma, pairs }
    }

    /// The direction from its coefficients, and its slope, in one pass.
    fn combine(&mut self, coefficients: &Coefficients, gradient: &[T]) -> Direction<T> {
        let mut vector = self.spare.take(gradient.len());
        let slopes = each_block(fill(&mut vector).chunks_mut(BLOCK).enumerate(), |(index, out)| {
            let pairs = self.pairs_in_block(index);
            vectorise(Combine { pairs: &pairs, gradient: block(gradient, index), coefficients, out })
        });
        self.spare.keep(&vector);
        Direction { vector, slope: slopes.into_iter().sum() }
    }
}

/// The products of one block of each pair's s and y with one of each of `vectors`.
struct Products<'a, T, const B: usize> {
    pairs: &'a [[&'a [T]; 2]],
    vectors: [&'a [T]; B],
}

impl<T: Scalar, const B: usize> Vectorised for Products<'_, T, B> {
    type Output = Vec<[[f64; B]; 2]>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut sums = vec![[[[0.0; LANES]; B]; 2]; self.pairs.len()];
        let length = self.vectors[0].len();
        for start in (0..length).step_by(PRODUCTS_CHUNK) {
            let chunk = start..length.min(start + PRODUCTS_CHUNK);
            let vectors = self.vectors.map(|vector| &vector[chunk.clone()]);
            let (pairs, rest) = self.pairs.as_chunks::<PRODUCTS_PAIRS>();
            let (pair_sums, rest_sums) = sums.as_chunks_mut::<PRODUCTS_PAIRS>();
            for (pairs, sums) in pairs.iter().zip(pair_sums) {
                add_pair_products(pairs.map(|pair| pair.map(|x| &x[chunk.clone()])), vectors, sums);
            }
            for (pair, sums) in rest.iter().zip(rest_sums.as_chunks_mut::<1>().0) {
                add_pair_products([pair.map(|x| &x[chunk.clone()])], vectors, sums);
            }
        }
        sums.into_iter().map(|pair| pair.map(|side| side.map(sum_lanes))).collect()
    }
}

/// Adds the products of each side of each of `pairs` with each of `vectors` to `sums`.
#[inline(always)]
fn add_pair_products<T: Scalar, const P: usize, const B: usize>(
    pairs: [[&[T]; 2]; P],
    vectors: [&[T]; B],
    sums: &mut [[[Lanes; B]; 2]; P],
) {
    // Local, so that they stay in registers; sliced alike, so that no access needs a check. Plain
    // indices: the compiler unrolls such loops over small arrays, but not iterators.
    let mut local = *sums;
    let count = groups(vectors[0]).len();
    let whole_pairs = pairs.map(|pair| pair.map(|x| &groups(x)[..count]));
    let whole_vectors = vectors.map(|x| &groups(x)[..count]);
    for k in 0..count {
        add_group::<T, P, B>(|p, side| &whole_pairs[p][side][k], |b| &whole_vectors[b][k], &mut local);
    }
    let (last_pairs, last_vectors) = (pairs.map(|pair| pair.map(last_group)), vectors.map(last_group));
    add_group::<T, P, B>(|p, side| &last_pairs[p][side], |b| &last_vectors[b], &mut local);
    *sums = local;
}

#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "see above")]
fn add_group<'a, T: Scalar, const P: usize, const B: usize>(
    pair: impl Fn(usize, usize) -> &'a [T; LANES],
    vector: impl Fn(usize) -> &'a [T; LANES],
    sums: &mut [[[Lanes; B]; 2]; P],
) {
    let mut vectors = [[0.0; LANES]; B];
    for b in 0..B {
        vectors[b] = widen(vector(b));
    }
    for p in 0..P {
        for side in 0..2 {
            let x = widen(pair(p, side));
            for b in 0..B {
                add_products(&mut sums[p][side][b], &x, &vectors[b]);
            }
        }
    }
}

/// One block of the direction, written to `out`, and its part of the slope.
struct Combine<'a, T> {
    pairs: &'a [[&'a [T]; 2]],
    gradient: &'a [T],
    coefficients: &'a Coefficients,
    out: &'a mut [T],
}

impl<T: Scalar> Vectorised for Combine<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let Self { pairs, gradient, coefficients, out } = self;
        let mut slope = [0.0; LANES];
        let whole = out.len() - out.len() % LANES;
        for start in (0..whole).step_by(COMBINE_CHUNK) {
            let chunk = start..whole.min(start + COMBINE_CHUNK);
            combine_chunk(pairs, gradient, coefficients, chunk, &mut out[start..], &mut slope);
        }
        if whole < out.len() {
            let last_pairs: Vec<_> = pairs.iter().map(|pair| pair.map(last_group)).collect();
            let pairs: Vec<_> = last_pairs.iter().map(|[s, y]| [&s[..], &y[..]]).collect();
            let mut last = [T::ZERO; LANES];
            combine_chunk(&pairs, &last_group(gradient), coefficients, 0..LANES, &mut last, &mut slope);
            let rest = &mut out[whole..];
            rest.copy_from_slice(&last[..rest.len()]);
        }
        sum_lanes(slope)
    }
}

/// The elements in `chunk`, a whole number of groups of at most [`COMBINE_CHUNK`] elements, of the
/// direction: written to the front of `out`, and multiplied with the gradient's added to `slope`.
#[inline(always)]
fn combine_chunk<T: Scalar>(
    pairs: &[[&[T]; 2]],
    gradient: &[T],
    coefficients: &Coefficients,
    chunk: Range<usize>,
    out: &mut [T],
    slope: &mut Lanes,
) {
    let gradient = groups(&gradient[chunk.clone()]);
    let mut sums = [[0.0; LANES]; COMBINE_CHUNK / LANES];
    let sums = &mut sums[..gradient.len()];
    for (sum, g) in sums.iter_mut().zip(gradient) {
        let g = widen(g);
        for lane in 0..LANES {
            sum[lane] = coefficients.gradient * g[lane];
        }
    }
    let (together, alone) = pairs.as_chunks::<COMBINE_PAIRS>();
    let (factors, factors_alone) = coefficients.pairs.as_chunks::<COMBINE_PAIRS>();
    for (pairs, factors) in together.iter().zip(factors) {
        add_multiples(pairs.map(|pair| pair.map(|x| groups(&x[chunk.clone()]))), factors, sums);
    }
    for (pair, factors) in alone.iter().zip(factors_alone) {
        add_multiples([pair.map(|x| groups(&x[chunk.clone()]))], &[*factors], sums);
    }
    for ((out, sum), g) in out.as_chunks_mut().0.iter_mut().zip(&*sums).zip(gradient) {
        *out = sum.map(T::from_f64);
        add_products(slope, &widen(out), &widen(g));
    }
}

/// Adds s and y of each of `pairs`, each times its factor, to `sums`: first pair first.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "as in add_pair_products")]
fn add_multiples<T: Scalar, const P: usize>(
    pairs: [[&[[T; LANES]]; 2]; P],
    factors: &[[f64; 2]; P],
    sums: &mut [Lanes],
) {
    let pairs = pairs.map(|pair| pair.map(|x| &x[..sums.len()]));
    let factors = *factors;
    for (k, sum) in sums.iter_mut().enumerate() {
        let mut local = *sum;
        for p in 0..P {
            let (s, y) = (widen(&pairs[p][0][k]), widen(&pairs[p][1][k]));
            for lane in 0..LANES {
                local[lane] += factors[p][0] * s[lane] + factors[p][1] * y[lane];
            }
        }
        *sum = local;
    }
}

/// s_i'g and y_i'g of one remembered pair.
struct GradientProducts {
    s: f64,
    y: f64,
}

/// The direction as a combination of the gradient, the s_i and the y_i.
struct Coefficients {
    gradient: f64,
    /// Of s_i and y_i.
    pairs: Vec<[f64; 2]>,
}
