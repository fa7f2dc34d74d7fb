//! The exact reduce: integer sums of a round's results, and the scales that make values integers.
//!
//! Sums of integers do not depend on their order or grouping, so neither does anything computed
//! from them. A round's scale comes from the round before, whose sums are the same bits whoever
//! helped; the first comes from the coordinator's own evaluation of unit 0.

use std::sync::Arc;

use model::{Network, exact};
use protocol::message::ResultHeader;
use protocol::plan::RoundPlan;
use serde::{Deserialize, Serialize};

/// A round's scale maps the largest element of the previous round's *mean* unit gradient just below
/// two to this power. A resolution of 2^-24 of it has no measurable effect on L-BFGS, and the
/// range above it, 2^20 up to [`exact::UNIT_LIMIT`], leaves room for single units that differ from
/// the mean.
pub const GRADIENT_BITS: u32 = 24;

/// The same for the mean unit's summed loss, which must resolve the decrease that a line search
/// asks for; 2^14 is left for a trial point that is worse.
pub const LOSS_BITS: u32 = 30;

/// How far a scale moves when a unit does not fit: by two to this power.
pub const RESCALE_BITS: i32 = 8;

/// How often each of a round's scales may be moved before its point counts as not finite.
pub const RESCALES_MAX: i32 = 3;

/// How far a scale may tighten from one accepted point to the next: by two to this power. A sum
/// that all but cancels (as gradients do at a minimum, while those of single units stay as they
/// are) would otherwise tighten a scale that had to be widened, and make every round start twice.
pub const TIGHTEN_BITS: i32 = 2;

/// The exponents of a round: integers are `round(value * 2^exponent)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scales {
    /// For vectors.
    pub gradient_exponent: i32,
    /// For losses of training examples.
    pub loss_exponent: i32,
    /// For losses of an evaluation.
    pub evaluation_exponent: i32,
}

/// Which values of a unit did not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Misfit {
    /// Its vector.
    pub gradient: bool,
    /// Its loss, as a training unit.
    pub loss: bool,
    /// Its loss, as an evaluation unit.
    pub evaluation: bool,
}

impl Scales {
    /// Scales for values like these: the largest element of a unit's gradient, and a unit's loss.
    pub fn for_unit(largest_gradient: f64, loss: f64) -> Scales {
        let loss_exponent = exact::exponent_for(loss, LOSS_BITS);
        Scales {
            gradient_exponent: exact::exponent_for(largest_gradient, GRADIENT_BITS),
            loss_exponent,
            evaluation_exponent: loss_exponent,
        }
    }

    /// Scales for a round, which began with `self` and now has `current`, once more: wider by
    /// [`RESCALE_BITS`] where a unit did not fit. `None` when that is not allowed any more.
    ///
    /// Each scale ends at the first of its [`RESCALES_MAX`] steps at which all units fit, or at
    /// none: so it does not matter which of the units that do not fit is reported first.
    pub fn widened(self, current: Scales, misfit: Misfit) -> Option<Scales> {
        let widen = |first: i32, exponent: i32, really: bool| {
            let moved = if really { exponent - RESCALE_BITS } else { exponent };
            let moved = moved.max(*exact::EXPONENTS.start());
            (first - moved <= RESCALE_BITS * RESCALES_MAX).then_some(moved)
        };
        Some(Scales {
            gradient_exponent: widen(self.gradient_exponent, current.gradient_exponent, misfit.gradient)?,
            loss_exponent: widen(self.loss_exponent, current.loss_exponent, misfit.loss)?,
            evaluation_exponent: widen(
                self.evaluation_exponent,
                current.evaluation_exponent,
                misfit.evaluation,
            )?,
        })
    }

    /// The scales of a round.
    pub fn of(plan: &RoundPlan) -> Scales {
        Scales {
            gradient_exponent: plan.gradient_exponent,
            loss_exponent: plan.loss_exponent,
            evaluation_exponent: plan.evaluation_exponent,
        }
    }

    /// Scales for the rounds after one with these scales whose point was accepted. Its gradient
    /// summed to `gradient` and its loss to `loss`, over `units` training units; the evaluation's
    /// loss, if there was one, to the first of `evaluation` over the second's number of units.
    pub fn after(self, gradient: &[i64], loss: i64, units: u32, evaluation: Option<(i64, u32)>) -> Scales {
        let largest = gradient.iter().fold(0, |largest, value| value.unsigned_abs().max(largest));
        let evaluation = evaluation.unwrap_or((0, 1));
        Scales {
            gradient_exponent: next(self.gradient_exponent, largest, units, GRADIENT_BITS),
            loss_exponent: next(self.loss_exponent, loss.unsigned_abs(), units, LOSS_BITS),
            evaluation_exponent: next(
                self.evaluation_exponent,
                evaluation.0.unsigned_abs(),
                evaluation.1,
                LOSS_BITS,
            ),
        }
    }
}

/// The exponent after one at which `units` units summed to `sum`. A sum of zero says nothing of the
/// next: the exponent stays.
fn next(exponent: i32, sum: u64, units: u32, bits: u32) -> i32 {
    if sum == 0 {
        return exponent;
    }
    let mean = sum as f64 * exact::to_f64(1, exponent) / f64::from(units);
    exact::exponent_for(mean, bits).min(exponent + TIGHTEN_BITS)
}

/// Integer sums of the results accepted so far.
#[derive(Debug)]
pub(super) struct Sums {
    /// Summed vector of the round's gradient part; empty when there is none.
    pub(super) gradient: Vec<i64>,
    /// Scalars of each part.
    pub(super) parts: Vec<PartSums>,
}

/// Summed scalars of one part.
#[derive(Debug, Clone, Default)]
pub(super) struct PartSums {
    pub(super) losses: Vec<i64>,
    pub(super) unfit_steps: u32,
    pub(super) correct: u64,
}

impl Sums {
    pub(super) fn new(plan: &RoundPlan, parameters: usize) -> Sums {
        let has_vector = plan.parts.iter().any(|part| part.work.has_vector());
        let scalars = |losses| PartSums { losses: vec![0; losses], ..PartSums::default() };
        Sums {
            gradient: vec![0; if has_vector { parameters } else { 0 }],
            parts: plan.parts.iter().map(|part| scalars(part.work.losses())).collect(),
        }
    }

    /// Adds a result that the validator has passed: nothing can leave the integers' range.
    pub(super) fn add(&mut self, part: usize, header: &ResultHeader, vector: Option<&[i64]>) {
        let sums = &mut self.parts[part];
        let validated = "validated results stay in range";
        exact::merge(&mut sums.losses, &header.losses).expect(validated);
        sums.unfit_steps |= header.unfit_steps;
        sums.correct += header.correct;
        if let Some(vector) = vector {
            exact::merge(&mut self.gradient, vector).expect(validated);
        }
    }
}

/// The objective's gradient: the mean over `examples` of the summed data gradient, plus the
/// penalty's. Each element is computed in f64 and rounded to f32 once.
pub fn mean_gradient(
    network: &Network,
    weights: &[f32],
    sum: &[i64],
    exponent: i32,
    examples: u32,
) -> Arc<[f32]> {
    let (unscale, examples) = (exact::to_f64(1, exponent), f64::from(examples));
    let mut gradient: Vec<f64> = sum.iter().map(|&value| value as f64 * unscale / examples).collect();
    network.add_penalty_gradient(weights, &mut gradient);
    gradient.iter().map(|&value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Scales = Scales { gradient_exponent: 20, loss_exponent: 10, evaluation_exponent: 12 };

    #[test]
    fn scales_put_the_largest_value_just_below_their_bits() {
        let scales = Scales::for_unit(1.0, 3.0);
        assert_eq!(scales, Scales { gradient_exponent: 23, loss_exponent: 28, evaluation_exponent: 28 });
        // A sum of 8 units whose mean is 1 and 3 again.
        let (gradient, loss) = ([-(8 << 23), 5, 0], (3 * 8) << 28);
        assert_eq!(scales.after(&gradient, loss, 8, None), scales);
        let larger = Scales { gradient_exponent: 21, loss_exponent: 25, evaluation_exponent: 27 };
        assert_eq!(scales.after(&[(4 * 8) << 23], loss << 3, 8, Some((3 << 29, 1))), larger);
        assert_eq!(scales.after(&[0; 3], 0, 8, Some((0, 4))), scales, "zero says nothing of the next round");
    }

    #[test]
    fn a_sum_that_cancels_tightens_the_next_scale_only_so_far() {
        let scales = Scales::for_unit(1.0, 3.0);
        let next = scales.after(&[1], 1, 8, Some((1, 8)));
        assert_eq!(next.gradient_exponent, scales.gradient_exponent + TIGHTEN_BITS);
        assert_eq!(next.loss_exponent, scales.loss_exponent + TIGHTEN_BITS);
        assert_eq!(next.evaluation_exponent, scales.evaluation_exponent + TIGHTEN_BITS);
    }

    #[test]
    fn a_scale_moves_three_times_whatever_the_others_do() {
        let mut scales = FIRST;
        let misfit = |gradient, loss| Misfit { gradient, loss, evaluation: false };
        for (gradient, loss) in [(true, false), (false, true), (true, true), (false, true), (true, false)] {
            scales = FIRST.widened(scales, misfit(gradient, loss)).unwrap();
        }
        assert_eq!(scales, Scales { gradient_exponent: -4, loss_exponent: -14, ..FIRST });
        assert_eq!(FIRST.widened(scales, misfit(true, false)), None);
        assert_eq!(FIRST.widened(scales, misfit(false, true)), None);
        assert!(FIRST.widened(scales, Misfit { evaluation: true, ..Misfit::default() }).is_some());
    }

    #[test]
    fn no_scale_leaves_the_exponents_there_are() {
        let lowest = *exact::EXPONENTS.start();
        let first = Scales { gradient_exponent: lowest + 3, ..FIRST };
        let misfit = Misfit { gradient: true, ..Misfit::default() };
        assert_eq!(first.widened(first, misfit).unwrap().gradient_exponent, lowest);
    }
}
