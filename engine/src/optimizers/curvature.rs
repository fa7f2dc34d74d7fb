//! The curvature pair of one accepted step, damped where the step found too little curvature.

use model::{Vectorized, vectorize};

use super::pair::Group;
use super::vectors::{
    GROUPS_IN_BLOCK, LANES, Lanes, Scalar, add_products, block, each_block, groups, last_group, sum_lanes,
    widen,
};

use super::pair::CurvaturePair;

/// Minimum curvature of a pair, as a fraction of the curvature that the current matrix B predicts along s.
const DAMPING: f64 = 0.2;

/// A point with its gradient.
pub(super) struct Evaluated<'a, T> {
    pub(super) weights: &'a [T],
    pub(super) gradient: &'a [T],
}

/// The result of one step's curvature measurement.
pub(super) struct Lesson<T: Scalar> {
    /// `None` when the pair is unusable: not finite, or without positive curvature.
    pub(super) pair: Option<CurvaturePair<T>>,
    /// Whether the pair was damped.
    pub(super) damped: bool,
}

/// The curvature pair of the step from `old` to `new`, where `new` was tried at length `step`
/// along d = -H g.
///
/// s is the difference of the weights as rounded, not step * d. The damping is Powell's (1978; Nocedal and
/// Wright, 2nd ed., Procedure 18.2) against the full current matrix. Since d = -H g, B s = -step * g needs no
/// product with B. Where s'y < 0.2 s'B s, y becomes the mixture of y and B s with s'y = 0.2 s'B s.
pub(super) fn learn_into<'a, T: Scalar>(
    mut pair: CurvaturePair<T>,
    old: Evaluated<'a, T>,
    new: Evaluated<'a, T>,
    step: T,
) -> Lesson<T> {
    let step = step.to_f64();
    let blocks = pair.groups_mut().chunks_mut(GROUPS_IN_BLOCK).enumerate();
    let sums = each_block(blocks, |(index, pair)| {
        let of = |point: &Evaluated<'a, T>| Evaluated {
            weights: block(point.weights, index),
            gradient: block(point.gradient, index),
        };
        vectorize(Subtract { old: of(&old), new: of(&new), pair })
    });
    let [mut sy, mut yy, sg] = add_up(sums);

    let s_b_s = -step * sg;
    let damped = s_b_s > 0.0 && sy < DAMPING * s_b_s;
    if damped {
        let theta = (1.0 - DAMPING) * s_b_s / (s_b_s - sy);
        let blocks = pair.groups_mut().chunks_mut(GROUPS_IN_BLOCK).enumerate();
        let sums = each_block(blocks, |(index, pair)| {
            vectorize(Damp { theta, step, gradient: block(old.gradient, index), pair })
        });
        [sy, yy] = add_up(sums);
    }
    let pair = is_usable(sy, yy).then_some(pair);
    Lesson { damped: damped && pair.is_some(), pair }
}

/// Whether rho = 1 / s'y and gamma = s'y / y'y are positive and finite. If so, all elements of y are finite,
/// and so are all elements of s that matter.
fn is_usable(sy: f64, yy: f64) -> bool {
    let positive = |value: f64| value > 0.0 && value.is_finite();
    positive(sy) && positive(yy) && positive(1.0 / sy) && positive(sy / yy)
}

/// Adds up each of the N sums over all blocks.
fn add_up<const N: usize>(blocks: Vec<[f64; N]>) -> [f64; N] {
    let mut totals = [0.0; N];
    for block in blocks {
        totals.iter_mut().zip(block).for_each(|(total, sum)| *total += sum);
    }
    totals
}

/// Writes one block of s and y, and returns its share of the products s'y, y'y and s'g, with g the old
/// gradient.
struct Subtract<'a, T> {
    old: Evaluated<'a, T>,
    new: Evaluated<'a, T>,
    pair: &'a mut [Group<T>],
}

impl<T: Scalar> Vectorized for Subtract<'_, T> {
    type Output = [f64; 3];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> [f64; 3] {
        let Self { old, new, pair } = self;
        let mut sums = [[0.0; LANES]; 3];
        let weights = groups(new.weights).iter().zip(groups(old.weights));
        let gradients = groups(new.gradient).iter().zip(groups(old.gradient));
        for (pair, (w, g)) in pair.iter_mut().zip(weights.zip(gradients)) {
            *pair = Group { s: subtract(w), y: subtract(g) };
            add_up_pair::<T, FUSED>(&mut sums, pair, g.1);
        }
        if let Some(last) = pair.get_mut(groups(new.weights).len()) {
            let old_gradient = last_group(old.gradient);
            *last = Group {
                s: subtract((&last_group(new.weights), &last_group(old.weights))),
                y: subtract((&last_group(new.gradient), &old_gradient)),
            };
            add_up_pair::<T, FUSED>(&mut sums, last, &old_gradient);
        }
        sums.map(sum_lanes)
    }
}

#[inline(always)]
fn subtract<T: Scalar>((a, b): (&[T; LANES], &[T; LANES])) -> [T; LANES] {
    std::array::from_fn(|lane| a[lane] - b[lane])
}

/// Adds one group's products to s'y, y'y and s'g.
#[inline(always)]
fn add_up_pair<T: Scalar, const FUSED: bool>(sums: &mut [Lanes; 3], pair: &Group<T>, g: &[T; LANES]) {
    let (s, y, g) = (widen(&pair.s), widen(&pair.y), widen(g));
    add_products::<T, FUSED>(&mut sums[0], &s, &y);
    add_products::<T, FUSED>(&mut sums[1], &y, &y);
    add_products::<T, FUSED>(&mut sums[2], &s, &g);
}

/// Writes one block of the mixture theta y + (1 - theta) B s to y, and returns its share of s'y and y'y.
struct Damp<'a, T> {
    theta: f64,
    step: f64,
    gradient: &'a [T],
    pair: &'a mut [Group<T>],
}

impl<T: Scalar> Vectorized for Damp<'_, T> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> [f64; 2] {
        let Self { theta, step, gradient, pair } = self;
        let mut sums = [[0.0; LANES]; 2];
        let mut mix = |pair: &mut Group<T>, gradient: &[T; LANES]| {
            for (y, gradient) in pair.y.iter_mut().zip(gradient) {
                let b_s = -step * gradient.to_f64();
                *y = T::from_f64(theta * y.to_f64() + (1.0 - theta) * b_s);
            }
            let (s, y) = (widen(&pair.s), widen(&pair.y));
            add_products::<T, FUSED>(&mut sums[0], &s, &y);
            add_products::<T, FUSED>(&mut sums[1], &y, &y);
        };
        for (pair, gradient) in pair.iter_mut().zip(groups(gradient)) {
            mix(pair, gradient);
        }
        if let Some(last) = pair.get_mut(groups(gradient).len()) {
            mix(last, &last_group(gradient));
        }
        sums.map(sum_lanes)
    }
}
