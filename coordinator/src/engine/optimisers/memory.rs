//! L-BFGS's memory and the search direction made from it, in two streaming passes.
//!
//! The direction is the textbook two-loop recursion (Nocedal and Wright, Numerical Optimization,
//! 2nd ed., Algorithm 7.4) carried out on coefficients: every vector it meets is a combination of
//! the gradient, the s_i and the y_i, and it only ever needs the products s_i'y_j with i <= j,
//! y_i'y_j, s_i'g and y_i'g (the same products as in the compact form of Byrd, Nocedal and
//! Schnabel, 1994). So one pass over the memory takes the products with the newest y and with g,
//! and a second one adds up the direction. Between the passes there are only a few hundred f64
//! operations; each element of the direction is summed in f64 and rounded once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::curvature::CurvaturePair;
use super::vectors::{CHUNK, Scalar, chunk, chunk_products, fill, zeros};

/// The newest curvature pairs with the inner products the direction needs. Cloning shares the
/// vectors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Memory<T: Scalar> {
    /// Most pairs kept, at least 1.
    limit: usize,
    /// Oldest first.
    remembered: Vec<Remembered<T>>,
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
pub(super) struct Direction<T> {
    pub(super) vector: Arc<[T]>,
    /// Inner product with the gradient; finite only if every element of the direction is.
    pub(super) slope: f64,
}

impl<T: Scalar> Memory<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), remembered: Vec::new() }
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
    pub(super) fn direction(&mut self, newest: Option<CurvaturePair<T>>, gradient: &[T]) -> Direction<T> {
        let products = match newest {
            Some(pair) => self.push(pair, gradient),
            None => self.gradient_products(gradient),
        };
        self.combine(&self.coefficients(&products), gradient)
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
        let mut totals = vec![[[0.0; B]; 2]; self.remembered.len()];
        for index in 0..vectors[0].len().div_ceil(CHUNK) {
            let right = vectors.map(|vector| chunk(vector, index));
            for (totals, remembered) in totals.iter_mut().zip(&self.remembered) {
                let pair = &remembered.pair;
                let left = [chunk(&pair.s, index), chunk(&pair.y, index)];
                for (totals, sums) in totals.iter_mut().zip(chunk_products(left, right)) {
                    for (total, sum) in totals.iter_mut().zip(sums) {
                        *total += sum;
                    }
                }
            }
        }
        totals
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
        let y = alpha.iter().map(|alpha| -gamma * alpha).collect();
        Coefficients { gradient: -gamma, s, y }
    }

    /// The direction from its coefficients, and its slope, in one pass.
    fn combine(&self, coefficients: &Coefficients, gradient: &[T]) -> Direction<T> {
        let mut vector = zeros(gradient.len());
        let mut slope = 0.0;
        let mut sums = [0.0f64; CHUNK];
        for (index, out) in fill(&mut vector).chunks_mut(CHUNK).enumerate() {
            let gradient = chunk(gradient, index);
            let sums = &mut sums[..out.len()];
            for (sum, g) in sums.iter_mut().zip(gradient) {
                *sum = coefficients.gradient * g.to_f64();
            }
            for (i, remembered) in self.remembered.iter().enumerate() {
                let (s, y) = (coefficients.s[i], coefficients.y[i]);
                let pair = &remembered.pair;
                let elements = chunk(&pair.s, index).iter().zip(chunk(&pair.y, index));
                for (sum, (s_element, y_element)) in sums.iter_mut().zip(elements) {
                    *sum += s * s_element.to_f64() + y * y_element.to_f64();
                }
            }
            for (out, sum) in out.iter_mut().zip(&*sums) {
                *out = T::from_f64(*sum);
            }
            slope += chunk_products([&*out], [gradient])[0][0];
        }
        Direction { vector, slope }
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
    s: Vec<f64>,
    y: Vec<f64>,
}
