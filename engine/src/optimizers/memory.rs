//! The L-BFGS memory and its search direction, computed in two streaming passes.
//!
//! The direction is the textbook two-loop recursion (Nocedal and Wright, Numerical Optimization, 2nd ed.,
//! Algorithm 7.4), carried out on coefficients. Every vector of the recursion is a combination of the
//! gradient, the s_i and the y_i, so it only needs the products s_i'y_j with i <= j, y_i'y_j, s_i'g and y_i'g
//! (as does the compact form of Byrd, Nocedal and Schnabel, 1994). One pass over the memory computes the
//! products with the newest y and with g; a second pass adds up the direction. Between them lie only a few
//! hundred f64 operations. Each element of the direction is summed in f64 and rounded once.

use std::ops::Range;
use std::sync::Arc;

use model::{Vectorized, vectorize};
use serde::{Deserialize, Serialize};

use super::pair::{CurvaturePair, Group};
use super::vectors::{
    BLOCK, LANES, Lanes, Reusable, Scalar, Spare, add_products, block, each_block, fill, groups, last_group,
    multiply_add, sum_lanes, widen,
};

/// Groups of each pair that the first pass reads in a row: enough for the processor to prefetch, few enough
/// to keep the newest y and the gradient in its cache. Like the other sizes below, it was chosen by
/// measurement and changes no bit.
const PRODUCTS_CHUNK: usize = 2048;

/// Groups that the second pass reads in a row. If it cannot read all pairs side by side, it keeps its sums in
/// the cache.
const COMBINE_CHUNK: usize = 512;

/// Pairs that the first pass reads side by side; more would need more sums than there are registers.
const PRODUCTS_PAIRS: usize = 5;

/// Pairs that the second pass reads side by side: the whole default memory, or half of it.
const COMBINE_PAIRS: usize = 10;
const COMBINE_FEW_PAIRS: usize = 5;

/// The newest curvature pairs with the inner products that the direction needs. Cloning shares the vectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Memory<T: Scalar> {
    /// Maximum number of pairs, at least 1.
    limit: usize,
    /// The pairs, oldest first.
    remembered: Vec<Remembered<T>>,
    /// The last directions, overwritten once nobody else holds them.
    #[serde(skip)]
    directions: Spare<Arc<[T]>>,
    /// The last pair forgotten, overwritten likewise.
    #[serde(skip)]
    forgotten: Spare<CurvaturePair<T>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
struct Remembered<T: Scalar> {
    pair: CurvaturePair<T>,
    /// s_i'y for each remembered pair i, from the oldest to this one.
    sy: Vec<f64>,
    /// y_i'y for the same pairs.
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
        let (directions, forgotten) = (Spare::default(), Spare::default());
        Self { limit: limit.max(1), remembered: Vec::new(), directions, forgotten }
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

    /// A pair of `length` elements to write to.
    pub(super) fn room(&mut self, length: usize) -> CurvaturePair<T> {
        self.forgotten.take(length).unwrap_or_else(|| CurvaturePair::zeros(length))
    }

    /// Takes in the newest pair, if there is one, and returns -H `gradient`. H is the identity while the
    /// memory is empty.
    ///
    /// # Panics
    /// If the vectors differ in length.
    pub fn direction(&mut self, newest: Option<CurvaturePair<T>>, gradient: &[T]) -> Direction<T> {
        let products = match newest {
            Some(pair) => self.push(pair, gradient),
            None => self.gradient_products(gradient),
        };
        let coefficients = self.coefficients(&products);
        self.combine(&coefficients, gradient)
    }

    /// Whether all vectors have `length` elements and all products are present. Only a damaged snapshot fails
    /// this.
    pub(super) fn is_sound(&self, length: usize) -> bool {
        self.limit >= 1
            && self.remembered.len() <= self.limit
            && self.remembered.iter().enumerate().all(|(index, newest)| {
                newest.pair.length() == length && newest.sy.len() == index + 1 && newest.yy.len() == index + 1
            })
    }

    /// Remembers `pair`, forgetting the oldest one when full. The same pass computes the products with the
    /// gradient.
    fn push(&mut self, pair: CurvaturePair<T>, gradient: &[T]) -> Vec<GradientProducts> {
        if self.remembered.len() == self.limit {
            self.forgotten.keep(&self.remembered.remove(0).pair);
            for newer in &mut self.remembered {
                newer.sy.remove(0);
                newer.yy.remove(0);
            }
        }
        self.remembered.push(Remembered { pair, sy: Vec::new(), yy: Vec::new() });
        let products = self.products::<2>(gradient);
        if let Some(newest) = self.remembered.last_mut() {
            newest.sy = products.iter().map(|[[_, sy], _]| *sy).collect();
            newest.yy = products.iter().map(|[_, [_, yy]]| *yy).collect();
        }
        products.into_iter().map(|[[s, _], [y, _]]| GradientProducts { s, y }).collect()
    }

    fn gradient_products(&self, gradient: &[T]) -> Vec<GradientProducts> {
        self.products::<1>(gradient).into_iter().map(|[[s], [y]]| GradientProducts { s, y }).collect()
    }

    /// The products of each remembered s and y with `gradient` and, if B is 2, with the newest y. It reads
    /// every vector once.
    fn products<const B: usize>(&self, gradient: &[T]) -> Vec<[[f64; B]; 2]> {
        let blocks = 0..gradient.len().div_ceil(BLOCK);
        let sums = each_block(blocks, |index| {
            let pairs = self.pairs_in_block(index);
            vectorize(Products::<T, B> { pairs: &pairs, gradient: block(gradient, index) })
        });
        let mut totals = vec![[[0.0; B]; 2]; self.remembered.len()];
        for sums in sums {
            let totals = totals.iter_mut().flatten().flatten();
            totals.zip(sums.iter().flatten().flatten()).for_each(|(total, sum)| *total += sum);
        }
        totals
    }

    fn pairs_in_block(&self, index: usize) -> Vec<&[Group<T>]> {
        self.remembered.iter().map(|remembered| remembered.pair.block(index)).collect()
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
        let pairs = s.iter().zip(&alpha).map(|(&s, alpha)| [T::factor(s), T::factor(-gamma * alpha)]);
        Coefficients { gradient: T::factor(-gamma), pairs: pairs.collect() }
    }

    /// Computes the direction from its coefficients, and its slope, in one pass. The pass runs backward
    /// because the ends of the vectors may still be in the processor's cache.
    fn combine(&mut self, coefficients: &Coefficients, gradient: &[T]) -> Direction<T> {
        let mut vector = self.directions.room(gradient.len());
        let blocks = fill(&mut vector).chunks_mut(BLOCK).enumerate().rev();
        let slopes = each_block(blocks, |(index, out)| {
            let pairs = self.pairs_in_block(index);
            vectorize(Combine { pairs: &pairs, gradient: block(gradient, index), coefficients, out })
        });
        self.directions.keep(&vector);
        Direction { vector, slope: slopes.into_iter().rev().sum() }
    }
}

/// The products of one block of each pair's s and y with a block of the gradient and, if B is 2, of the last
/// pair's y.
struct Products<'a, T, const B: usize> {
    pairs: &'a [&'a [Group<T>]],
    gradient: &'a [T],
}

impl<T: Scalar, const B: usize> Vectorized for Products<'_, T, B> {
    type Output = Vec<[[f64; B]; 2]>;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> Self::Output {
        let Self { pairs, gradient } = self;
        let mut sums = vec![[[[0.0; LANES]; B]; 2]; pairs.len()];
        let whole = groups(gradient);
        for start in (0..whole.len()).step_by(PRODUCTS_CHUNK) {
            let chunk = start..whole.len().min(start + PRODUCTS_CHUNK);
            add_chunk_products::<T, B, FUSED>(pairs, chunk.clone(), &whole[chunk], &mut sums);
        }
        if !gradient.len().is_multiple_of(LANES) {
            let chunk = whole.len()..whole.len() + 1;
            add_chunk_products::<T, B, FUSED>(pairs, chunk, &[last_group(gradient)], &mut sums);
        }
        sums.into_iter().map(|pair| pair.map(|side| side.map(sum_lanes))).collect()
    }
}

/// Adds the products of the groups in `chunk` of each of `pairs` to `sums`.
#[inline(always)]
fn add_chunk_products<T: Scalar, const B: usize, const FUSED: bool>(
    pairs: &[&[Group<T>]],
    chunk: Range<usize>,
    gradient: &[[T; LANES]],
    sums: &mut [[[Lanes; B]; 2]],
) {
    let newest = pairs.last().map_or(&[][..], |pair| &pair[chunk.clone()]);
    let (together, alone) = pairs.as_chunks::<PRODUCTS_PAIRS>();
    let (sums, sums_alone) = sums.as_chunks_mut::<PRODUCTS_PAIRS>();
    for (pairs, sums) in together.iter().zip(sums) {
        let pairs = pairs.map(|pair| &pair[chunk.clone()]);
        add_pair_products::<T, PRODUCTS_PAIRS, B, FUSED>(pairs, newest, gradient, sums);
    }
    for (pair, sums) in alone.iter().zip(sums_alone.as_chunks_mut().0) {
        add_pair_products::<T, 1, B, FUSED>([&pair[chunk.clone()]], newest, gradient, sums);
    }
}

/// Adds the products of P pairs, side by side.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "see the comment on the loop")]
fn add_pair_products<T: Scalar, const P: usize, const B: usize, const FUSED: bool>(
    pairs: [&[Group<T>]; P],
    newest: &[Group<T>],
    gradient: &[[T; LANES]],
    sums: &mut [[[Lanes; B]; 2]; P],
) {
    // The sums are local to stay in registers, and the slices have equal lengths to need no bounds check. The
    // loops use plain indices: the compiler unrolls them over small arrays, but not iterators.
    let mut local = *sums;
    let count = gradient.len();
    let (pairs, newest) = (pairs.map(|pair| &pair[..count]), &newest[..count]);
    for k in 0..count {
        let mut vectors = [widen(&gradient[k]); B];
        if B > 1 {
            vectors[1] = widen(&newest[k].y);
        }
        for p in 0..P {
            let (s, y) = (widen(&pairs[p][k].s), widen(&pairs[p][k].y));
            for b in 0..B {
                add_products::<T, FUSED>(&mut local[p][0][b], &s, &vectors[b]);
                add_products::<T, FUSED>(&mut local[p][1][b], &y, &vectors[b]);
            }
        }
    }
    *sums = local;
}

/// Writes one block of the direction to `out` and returns its share of the slope.
struct Combine<'a, T> {
    pairs: &'a [&'a [Group<T>]],
    gradient: &'a [T],
    coefficients: &'a Coefficients,
    out: &'a mut [T],
}

impl<T: Scalar> Vectorized for Combine<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        let Self { pairs, gradient, coefficients, out } = self;
        let (mut sums, mut slope) = ([[0.0; LANES]; COMBINE_CHUNK], [0.0; LANES]);
        let (whole, rest) = out.as_chunks_mut();
        let whole_gradient = groups(gradient);
        for start in (0..whole.len()).step_by(COMBINE_CHUNK) {
            let chunk = start..whole.len().min(start + COMBINE_CHUNK);
            let (gradient, out) = (&whole_gradient[chunk.clone()], &mut whole[chunk.clone()]);
            let mut piece = Piece { chunk, gradient, out, sums: &mut sums, slope: &mut slope };
            piece.combine::<FUSED>(pairs, coefficients);
        }
        if !rest.is_empty() {
            let chunk = whole.len()..whole.len() + 1;
            let (gradient, mut out) = (last_group(gradient), [T::ZERO; LANES]);
            let (gradient, last) = (std::slice::from_ref(&gradient), std::slice::from_mut(&mut out));
            let mut piece = Piece { chunk, gradient, out: last, sums: &mut sums, slope: &mut slope };
            piece.combine::<FUSED>(pairs, coefficients);
            rest.copy_from_slice(&out[..rest.len()]);
        }
        sum_lanes(slope)
    }
}

/// A few groups of a direction under construction.
struct Piece<'a, T> {
    /// The groups' range in the block, at most [`COMBINE_CHUNK`] long.
    chunk: Range<usize>,
    gradient: &'a [[T; LANES]],
    out: &'a mut [[T; LANES]],
    /// The sum of the gradient and the pairs so far, while more pairs follow.
    sums: &'a mut [Lanes],
    /// The running inner product of direction and gradient.
    slope: &'a mut Lanes,
}

impl<T: Scalar> Piece<'_, T> {
    #[inline(always)]
    fn combine<const FUSED: bool>(&mut self, pairs: &[&[Group<T>]], coefficients: &Coefficients) {
        let (mut rest, factors) = (pairs, &coefficients.pairs[..]);
        loop {
            let first = pairs.len() - rest.len();
            let (factors, begin) = (&factors[first..], (first == 0).then_some(coefficients.gradient));
            rest = match rest.len() {
                COMBINE_PAIRS.. => self.add::<COMBINE_PAIRS, FUSED>(begin, rest, factors),
                COMBINE_FEW_PAIRS.. => self.add::<COMBINE_FEW_PAIRS, FUSED>(begin, rest, factors),
                1.. => self.add::<1, FUSED>(begin, rest, factors),
                0 => self.add::<0, FUSED>(begin, rest, factors),
            };
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Adds s and y of the first P of `pairs`, in order and each times its factor. The result goes to the
    /// sums or, with `begin`, to the gradient times that factor. Returns the remaining pairs; after the last
    /// pair, the sums become the direction.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "as in add_pair_products")]
    fn add<'a, const P: usize, const FUSED: bool>(
        &mut self,
        begin: Option<f64>,
        pairs: &'a [&'a [Group<T>]],
        factors: &[[f64; 2]],
    ) -> &'a [&'a [Group<T>]] {
        let (Some((pairs, rest)), Some(factors)) =
            (pairs.split_first_chunk::<P>(), factors.first_chunk::<P>())
        else {
            return &[];
        };
        let count = self.chunk.len();
        let pairs = pairs.map(|pair| &pair[self.chunk.clone()][..count]);
        let (factors, gradient) = (*factors, &self.gradient[..count]);
        let (out, sums) = (&mut self.out[..count], &mut self.sums[..count]);
        let mut slope = *self.slope;
        for k in 0..count {
            let g = widen(&gradient[k]);
            let mut sum = match begin {
                Some(factor) => g.map(|g| factor * g),
                None => sums[k],
            };
            for p in 0..P {
                let (s, y) = (widen(&pairs[p][k].s), widen(&pairs[p][k].y));
                for lane in 0..LANES {
                    sum[lane] += multiply_add::<T, FUSED>(factors[p][1], y[lane], factors[p][0] * s[lane]);
                }
            }
            if rest.is_empty() {
                out[k] = sum.map(T::from_f64);
                add_products::<T, FUSED>(&mut slope, &widen(&out[k]), &g);
            } else {
                sums[k] = sum;
            }
        }
        *self.slope = slope;
        rest
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizers::vectors::tests::noise;

    fn fused_or_not_is_the_same<T: Scalar>() {
        let noise = |seed| noise(seed).into_iter().map(T::from_f64).collect::<Vec<T>>();
        let pairs: Vec<_> = (0..17).map(|i| CurvaturePair::new(&noise(i), &noise(100 + i))).collect();
        let pairs: Vec<_> = pairs.iter().map(|pair| pair.block(0)).collect();
        let gradient = &noise(200)[..];
        let products = || Products::<T, 2> { pairs: &pairs, gradient };
        assert_eq!(products().run::<true>(), products().run::<false>());

        let factor = |i: u32| T::factor(1.0 / f64::from(i + 3));
        let pair_factors = (0..17).map(|i| [factor(i), -factor(50 + i)]).collect();
        let coefficients = &Coefficients { gradient: factor(99), pairs: pair_factors };
        let (mut fused, mut unfused) = (vec![T::ZERO; gradient.len()], vec![T::ZERO; gradient.len()]);
        let combine = |out| Combine { pairs: &pairs, gradient, coefficients, out };
        let slopes = [combine(&mut fused).run::<true>(), combine(&mut unfused).run::<false>()];
        assert_eq!(slopes[0], slopes[1]);
        assert_eq!(fused, unfused);
    }

    #[test]
    fn machines_with_and_without_a_fused_multiply_add_make_the_same_bits() {
        fused_or_not_is_the_same::<f32>();
        fused_or_not_is_the_same::<f64>();
    }
}
