//! The curvature pair of one accepted step, damped where the step met too little curvature.

use std::sync::Arc;

use model::{Vectorised, vectorise};
use serde::{Deserialize, Serialize};

use super::vectors::{
    BLOCK, LANES, Lanes, Scalar, add_products, block, each_block, fill, groups, last_group, sum_lanes, widen,
    zeros,
};

/// Least curvature a pair may have, as a part of what the current matrix B predicts along s.
const DAMPING: f64 = 0.2;

/// A change of weights `s` and the change of gradient `y` that came with it; s'y > 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct CurvaturePair<T: Scalar> {
    /// Change of weights, one value per parameter.
    pub s: Arc<[T]>,
    /// Change of gradient, one value per parameter.
    pub y: Arc<[T]>,
}

/// A point with its gradient.
pub(super) struct Evaluated<'a, T> {
    pub(super) weights: &'a [T],
    pub(super) gradient: &'a [T],
}

/// What a step taught.
pub(super) struct Lesson<T: Scalar> {
    /// `None` when the pair is unusable: not finite, or without positive curvature.
    pub(super) pair: Option<CurvaturePair<T>>,
    /// Whether the pair was damped.
    pub(super) damped: bool,
}

/// The curvature pair of the step from `old` to `new`, where `new` was tried at length `step`
/// along d = -H g.
///
/// s is the difference of the weights as they were rounded, not step * d. Damping is Powell's
/// (1978; Nocedal and Wright, 2nd ed., Procedure 18.2) against the full current matrix: since
/// d = -H g, B s = -step * g needs no product with B. Where s'y < 0.2 s'B s, y becomes the mixture
/// of y and B s with s'y = 0.2 s'B s.
pub(super) fn learn<'a, T: Scalar>(old: Evaluated<'a, T>, new: Evaluated<'a, T>, step: T) -> Lesson<T> {
    let step = step.to_f64();
    let length = old.weights.len();
    let (mut s, mut y) = (zeros(length), zeros(length));
    let blocks = fill(&mut s).chunks_mut(BLOCK).zip(fill(&mut y).chunks_mut(BLOCK)).enumerate();
    let sums = each_block(blocks, |(index, (s, y))| {
        let of = |point: &Evaluated<'a, T>| Evaluated {
            weights: block(point.weights, index),
            gradient: block(point.gradient, index),
        };
        vectorise(Subtract { old: of(&old), new: of(&new), s, y })
    });
    let [mut sy, mut yy, sg] = add_up(sums);

    let s_b_s = -step * sg;
    let damped = s_b_s > 0.0 && sy < DAMPING * s_b_s;
    if damped {
        let theta = (1.0 - DAMPING) * s_b_s / (s_b_s - sy);
        let sums = each_block(fill(&mut y).chunks_mut(BLOCK).enumerate(), |(index, y)| {
            let (s, gradient) = (block(&s, index), block(old.gradient, index));
            vectorise(Damp { theta, step, gradient, s, y })
        });
        [sy, yy] = add_up(sums);
    }
    let pair = is_usable(sy, yy).then_some(CurvaturePair { s, y });
    Lesson { damped: damped && pair.is_some(), pair }
}

/// Whether rho = 1 / s'y and gamma = s'y / y'y are positive and finite; then so are all elements
/// of y, and all of s that matter.
fn is_usable(sy: f64, yy: f64) -> bool {
    let positive = |value: f64| value > 0.0 && value.is_finite();
    positive(sy) && positive(yy) && positive(1.0 / sy) && positive(sy / yy)
}

/// Each sum over all blocks.
fn add_up<const N: usize>(blocks: Vec<[f64; N]>) -> [f64; N] {
    let mut totals = [0.0; N];
    for block in blocks {
        totals.iter_mut().zip(block).for_each(|(total, sum)| *total += sum);
    }
    totals
}

/// One block of s and y, and of the products s'y, y'y and s'g with the old gradient.
struct Subtract<'a, T> {
    old: Evaluated<'a, T>,
    new: Evaluated<'a, T>,
    s: &'a mut [T],
    y: &'a mut [T],
}

impl<T: Scalar> Vectorised for Subtract<'_, T> {
    type Output = [f64; 3];

    #[inline(always)]
    fn run(self) -> [f64; 3] {
        let Self { old, new, s, y } = self;
        let mut sums = [[0.0; LANES]; 3];
        let weights = groups(new.weights).iter().zip(groups(old.weights));
        let gradients = groups(new.gradient).iter().zip(groups(old.gradient));
        let out = s.as_chunks_mut().0.iter_mut().zip(y.as_chunks_mut().0);
        for ((s, y), (w, g)) in out.zip(weights.zip(gradients)) {
            (*s, *y) = (subtract(w), subtract(g));
            add_up_pair(&mut sums, s, y, g.1);
        }
        let old_gradient = last_group(old.gradient);
        let last_s = subtract((&last_group(new.weights), &last_group(old.weights)));
        let last_y = subtract((&last_group(new.gradient), &old_gradient));
        add_up_pair(&mut sums, &last_s, &last_y, &old_gradient);
        let (s, y) = (s.as_chunks_mut::<LANES>().1, y.as_chunks_mut::<LANES>().1);
        s.copy_from_slice(&last_s[..s.len()]);
        y.copy_from_slice(&last_y[..y.len()]);
        sums.map(sum_lanes)
    }
}

#[inline(always)]
fn subtract<T: Scalar>((a, b): (&[T; LANES], &[T; LANES])) -> [T; LANES] {
    std::array::from_fn(|lane| a[lane] - b[lane])
}

/// Adds one group to s'y, y'y and s'g.
#[inline(always)]
fn add_up_pair<T: Scalar>(sums: &mut [Lanes; 3], s: &[T; LANES], y: &[T; LANES], g: &[T; LANES]) {
    let (s, y, g) = (widen(s), widen(y), widen(g));
    add_products(&mut sums[0], &s, &y);
    add_products(&mut sums[1], &y, &y);
    add_products(&mut sums[2], &s, &g);
}

/// One block of the mixture theta y + (1 - theta) B s, written to y, and of s'y and y'y with it.
struct Damp<'a, T> {
    theta: f64,
    step: f64,
    gradient: &'a [T],
    s: &'a [T],
    y: &'a mut [T],
}

impl<T: Scalar> Vectorised for Damp<'_, T> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        let Self { theta, step, gradient, s, y } = self;
        for (y, gradient) in y.iter_mut().zip(gradient) {
            let b_s = -step * gradient.to_f64();
            *y = T::from_f64(theta * y.to_f64() + (1.0 - theta) * b_s);
        }
        let mut sums = [[0.0; LANES]; 2];
        for (s, y) in groups(s).iter().zip(groups(y)) {
            add_damped_pair(&mut sums, s, y);
        }
        add_damped_pair(&mut sums, &last_group(s), &last_group(y));
        sums.map(sum_lanes)
    }
}

/// Adds one group to s'y and y'y.
#[inline(always)]
fn add_damped_pair<T: Scalar>(sums: &mut [Lanes; 2], s: &[T; LANES], y: &[T; LANES]) {
    let (s, y) = (widen(s), widen(y));
    add_products(&mut sums[0], &s, &y);
    add_products(&mut sums[1], &y, &y);
}
