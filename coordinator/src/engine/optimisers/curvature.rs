//! The curvature pair of one accepted step, damped where the step met too little curvature.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::vectors::{CHUNK, Scalar, chunk, chunk_products, fill, zeros};

/// Least curvature a pair may have, as a part of what the current matrix B predicts along s.
const DAMPING: f64 = 0.2;

/// A change of weights `s` and the change of gradient `y` that came with it; s'y > 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct CurvaturePair<T: Scalar> {
    pub(super) s: Arc<[T]>,
    pub(super) y: Arc<[T]>,
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
pub(super) fn learn<T: Scalar>(old: Evaluated<'_, T>, new: Evaluated<'_, T>, step: T) -> Lesson<T> {
    let step = step.to_f64();
    let length = old.weights.len();
    let (mut s, mut y) = (zeros(length), zeros(length));
    let (mut sy, mut yy, mut sg) = (0.0, 0.0, 0.0);
    let out = fill(&mut s).chunks_mut(CHUNK).zip(fill(&mut y).chunks_mut(CHUNK));
    for (index, (s, y)) in out.enumerate() {
        let gradient = chunk(old.gradient, index);
        subtract(s, chunk(new.weights, index), chunk(old.weights, index));
        subtract(y, chunk(new.gradient, index), gradient);
        let [[sy_part, sg_part]] = chunk_products([&*s], [&*y, gradient]);
        sy += sy_part;
        sg += sg_part;
        yy += chunk_products([&*y], [&*y])[0][0];
    }

    let s_b_s = -step * sg;
    let damped = s_b_s > 0.0 && sy < DAMPING * s_b_s;
    if damped {
        let theta = (1.0 - DAMPING) * s_b_s / (s_b_s - sy);
        (sy, yy) = (0.0, 0.0);
        for (index, y) in fill(&mut y).chunks_mut(CHUNK).enumerate() {
            for (y, gradient) in y.iter_mut().zip(chunk(old.gradient, index)) {
                let b_s = -step * gradient.to_f64();
                *y = T::from_f64(theta * y.to_f64() + (1.0 - theta) * b_s);
            }
            let [[sy_part, yy_part]] = chunk_products([&*y], [chunk(&s, index), &*y]);
            sy += sy_part;
            yy += yy_part;
        }
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

fn subtract<T: Scalar>(out: &mut [T], a: &[T], b: &[T]) {
    for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = a - b;
    }
}
