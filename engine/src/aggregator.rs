//! The exact reduce: integer sums of a round's results, and the scales that make values integers.
//!
//! Sums of integers do not depend on their order or grouping, so neither does anything computed from them. A
//! round's scale comes from the sums at the last accepted point, which are the same bits whoever helped. The
//! first scale comes from the coordinator's own evaluation of unit 0.

use std::sync::Arc;

use model::{Network, exact};
use protocol::measure::Measure;
use protocol::message::ResultHeader;
use protocol::plan::{Part, RoundPlan};
use serde::{Deserialize, Serialize};

/// A round's scale maps the largest element of the previous round's *mean* unit vector just below
/// two to this power. A resolution of 2^-24 of it has no measurable effect on L-BFGS, and the
/// range above it, 2^20 up to [`exact::UNIT_LIMIT`], leaves room for single units that differ from
/// the mean.
pub const VECTOR_BITS: u32 = 24;

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scales {
    /// For vectors.
    pub vector_exponent: i32,
    /// For batch statistics, the vectors' tail.
    pub statistics_exponent: i32,
    /// For losses of training examples.
    pub loss_exponent: i32,
    /// For losses of an evaluation.
    pub evaluation_exponent: i32,
}

/// Which values of a unit did not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Misfit {
    /// Its vector.
    pub vector: bool,
    /// Its batch statistics.
    pub statistics: bool,
    /// Its loss, as a training unit.
    pub loss: bool,
    /// Its loss, as an evaluation unit.
    pub evaluation: bool,
}

impl Scales {
    /// Scales for values of the size of this unit's.
    pub fn for_unit(measure: &Measure) -> Scales {
        let loss_exponent = exact::exponent_for(measure.loss, LOSS_BITS);
        Scales {
            vector_exponent: exact::exponent_for(measure.largest, VECTOR_BITS),
            statistics_exponent: exact::exponent_for(measure.largest_statistic, VECTOR_BITS),
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
            vector_exponent: widen(self.vector_exponent, current.vector_exponent, misfit.vector)?,
            statistics_exponent: widen(
                self.statistics_exponent,
                current.statistics_exponent,
                misfit.statistics,
            )?,
            loss_exponent: widen(self.loss_exponent, current.loss_exponent, misfit.loss)?,
            evaluation_exponent: widen(
                self.evaluation_exponent,
                current.evaluation_exponent,
                misfit.evaluation,
            )?,
        })
    }

    /// Scales for a round, which came to `found` at `self`, once more: finer where the mean over its units vanished in the
    /// rounding, as the referee has since `measured` the values of one unit. `None` where nothing vanished, or nothing
    /// was there to round: then zero is the result.
    pub fn refined(self, measured: &Measure, found: &Found<'_>) -> Option<Scales> {
        let fine = Scales::for_unit(measured);
        let finer = |exponent: i32, to: i32, vanished: bool, value: f64| {
            if vanished && value != 0.0 { exponent.max(to) } else { exponent }
        };
        let Vanished { vector, loss, evaluation } = found.vanished();
        let refined = Scales {
            vector_exponent: finer(self.vector_exponent, fine.vector_exponent, vector, measured.largest),
            loss_exponent: finer(self.loss_exponent, fine.loss_exponent, loss, measured.loss),
            evaluation_exponent: finer(
                self.evaluation_exponent,
                fine.evaluation_exponent,
                evaluation,
                measured.loss,
            ),
            ..self
        };
        (refined != self).then_some(refined)
    }

    /// The scales of a round.
    pub fn of(plan: &RoundPlan) -> Scales {
        Scales {
            vector_exponent: plan.vector_exponent,
            statistics_exponent: plan.statistics_exponent,
            loss_exponent: plan.loss_exponent,
            evaluation_exponent: plan.evaluation_exponent,
        }
    }

    /// Scales for the rounds after one with these scales whose point was accepted. `first` are those that
    /// it began with: without an evaluation the scale of those is as if there had been none.
    pub fn after(self, first: Scales, found: &Found<'_>) -> Scales {
        let largest =
            |vector: &[i64]| vector.iter().fold(0, |largest, value| value.unsigned_abs().max(largest));
        let units = found.units;
        let after = |exponent, sum, bits| next(exponent, sum, units, bits);
        Scales {
            vector_exponent: after(self.vector_exponent, largest(found.vector), VECTOR_BITS),
            statistics_exponent: after(self.statistics_exponent, largest(found.statistics), VECTOR_BITS),
            loss_exponent: after(self.loss_exponent, found.loss.unsigned_abs(), LOSS_BITS),
            evaluation_exponent: found.evaluation.map_or(first.evaluation_exponent, |(sum, units)| {
                next(self.evaluation_exponent, sum.unsigned_abs(), units, LOSS_BITS)
            }),
        }
    }
}

/// What a round summed to, as integers at its scales.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The vector, without its tail.
    pub vector: &'a [i64],
    /// The batch statistics.
    pub statistics: &'a [i64],
    /// The training loss.
    pub loss: i64,
    /// Units that these are of.
    pub units: u32,
    /// The evaluation's loss and its number of units, if there was one that counts.
    pub evaluation: Option<(i64, u32)>,
}

/// Whose mean over the units came to less than one step of the fixed point: it has no digit to be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vanished {
    /// The vector's, in all of its elements.
    pub vector: bool,
    /// The training loss's.
    pub loss: bool,
    /// The evaluation's loss's.
    pub evaluation: bool,
}

impl Vanished {
    /// Whether there is anything.
    pub fn any(self) -> bool {
        self.vector || self.loss || self.evaluation
    }
}

impl Found<'_> {
    /// What vanished in the rounding.
    pub fn vanished(&self) -> Vanished {
        let below_a_step = |sum: i64, units: u32| sum.unsigned_abs() < u64::from(units);
        Vanished {
            vector: self.vector.iter().all(|&sum| below_a_step(sum, self.units)),
            loss: below_a_step(self.loss, self.units),
            evaluation: self.evaluation.is_some_and(|(sum, units)| below_a_step(sum, units)),
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

/// Integer sums of the results accepted so far, one for each part.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) parts: Vec<PartSums>,
}

/// Sums over the units of one part.
#[derive(Debug, Clone, Default)]
pub(super) struct PartSums {
    pub(super) losses: Vec<i64>,
    pub(super) unfit_steps: u32,
    pub(super) correct: u64,
    /// Empty where the work has no vector.
    pub(super) vector: Vec<i64>,
}

impl Sums {
    pub(super) fn new(plan: &RoundPlan, parameters: usize) -> Sums {
        let zero = |part: &Part| PartSums {
            losses: vec![0; part.work.losses()],
            vector: vec![0; if part.work.has_vector() { parameters } else { 0 }],
            ..PartSums::default()
        };
        Sums { parts: plan.parts.iter().map(zero).collect() }
    }

    /// Adds a result that the validator has passed: nothing can leave the integers' range.
    pub(super) fn add(&mut self, part: usize, header: &ResultHeader, vector: Option<&[i64]>) {
        let sums = &mut self.parts[part];
        let validated = "validated results stay in range";
        exact::merge(&mut sums.losses, &header.losses).expect(validated);
        sums.unfit_steps |= header.unfit_steps;
        sums.correct += header.correct;
        if let Some(vector) = vector {
            exact::merge(&mut sums.vector, vector).expect(validated);
        }
    }
}

/// The mean of vectors of which `count` summed to `sum`. Each element is computed in f64 and rounded to f32
/// once.
pub fn mean(sum: &[i64], exponent: i32, count: u64) -> Arc<[f32]> {
    let (unscale, count) = (exact::to_f64(1, exponent), count as f64);
    sum.iter().map(|&value| (value as f64 * unscale / count) as f32).collect()
}

/// How much of the running statistics a minibatch's own replace, as is customary.
const STATISTICS_RATE: f64 = 0.1;

/// Minibatches after which nothing is left of older statistics, to the precision of an f32.
const STATISTICS_MINIBATCHES: u64 = 256;

/// Running statistics after a round: those before it, of which each of `minibatches` minibatches has replaced
/// a tenth by the mean over all of them.
pub fn mix_statistics(running: &[f32], sum: &[i64], exponent: i32, minibatches: u64) -> Arc<[f32]> {
    let kept =
        (0..minibatches.min(STATISTICS_MINIBATCHES)).fold(1.0, |kept, _| kept * (1.0 - STATISTICS_RATE));
    let kept = if minibatches > STATISTICS_MINIBATCHES { 0.0 } else { kept };
    let (unscale, minibatches) = (exact::to_f64(1, exponent), minibatches as f64);
    let mixed = running.iter().zip(sum).map(|(&running, &sum)| {
        let mean = sum as f64 * unscale / minibatches;
        (kept * f64::from(running) + (1.0 - kept) * mean) as f32
    });
    mixed.collect()
}

/// The objective's gradient: the mean over `examples` of the summed data gradient, plus the
/// penalty's. Each element is computed in f64 and rounded to f32 once.
pub fn mean_gradient(
    network: &Network,
    weights: &[f32],
    sum: &[i64],
    exponent: i32,
    examples: u64,
) -> Arc<[f32]> {
    let (unscale, examples) = (exact::to_f64(1, exponent), examples as f64);
    let mut gradient: Vec<f64> = sum.iter().map(|&value| value as f64 * unscale / examples).collect();
    network.add_penalty_gradient(weights, &mut gradient);
    gradient.iter().map(|&value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Scales =
        Scales { vector_exponent: 20, statistics_exponent: 15, loss_exponent: 10, evaluation_exponent: 12 };

    /// Of values near 1 and a loss of 3.
    fn scales() -> Scales {
        Scales::for_unit(&Measure { largest: 1.0, largest_statistic: 1.0, loss: 3.0, ..Measure::fitting() })
    }

    fn found<'a>(vector: &'a [i64], loss: i64, evaluation: Option<(i64, u32)>) -> Found<'a> {
        Found { vector, statistics: vector, loss, units: 8, evaluation }
    }

    #[test]
    fn scales_put_the_largest_value_just_below_their_bits() {
        let wanted = Scales {
            vector_exponent: 23,
            statistics_exponent: 23,
            loss_exponent: 28,
            evaluation_exponent: 28,
        };
        let scales = scales();
        assert_eq!(scales, wanted);
        // A sum of 8 units whose mean is 1 and 3 again.
        let (vector, loss) = ([-(8 << 23), 5, 0], (3 * 8) << 28);
        assert_eq!(scales.after(scales, &found(&vector, loss, None)), scales);
        let larger = Scales {
            vector_exponent: 21,
            statistics_exponent: 21,
            loss_exponent: 25,
            evaluation_exponent: 27,
        };
        assert_eq!(scales.after(scales, &found(&[(4 * 8) << 23], loss << 3, Some((3 << 29, 1)))), larger);
        let nothing = found(&[0; 3], 0, Some((0, 4)));
        assert_eq!(scales.after(scales, &nothing), scales, "zero says nothing of the next round");
    }

    #[test]
    fn an_evaluation_that_does_not_count_leaves_no_trace() {
        let first = scales();
        let widened = first.widened(first, Misfit { evaluation: true, ..Misfit::default() }).unwrap();
        assert_eq!(widened.after(first, &found(&[8 << 23], (3 * 8) << 28, None)), first);
    }

    #[test]
    fn a_sum_that_cancels_tightens_the_next_scale_only_so_far() {
        let scales = scales();
        let next = scales.after(scales, &found(&[1], 1, Some((1, 8))));
        assert_eq!(next.vector_exponent, scales.vector_exponent + TIGHTEN_BITS);
        assert_eq!(next.statistics_exponent, scales.statistics_exponent + TIGHTEN_BITS);
        assert_eq!(next.loss_exponent, scales.loss_exponent + TIGHTEN_BITS);
        assert_eq!(next.evaluation_exponent, scales.evaluation_exponent + TIGHTEN_BITS);
    }

    #[test]
    fn a_scale_moves_three_times_whatever_the_others_do() {
        let mut scales = FIRST;
        let misfit = |vector, loss| Misfit { vector, loss, ..Misfit::default() };
        for (vector, loss) in [(true, false), (false, true), (true, true), (false, true), (true, false)] {
            scales = FIRST.widened(scales, misfit(vector, loss)).unwrap();
        }
        assert_eq!(scales, Scales { vector_exponent: -4, loss_exponent: -14, ..FIRST });
        assert_eq!(FIRST.widened(scales, misfit(true, false)), None);
        assert_eq!(FIRST.widened(scales, misfit(false, true)), None);
        assert!(FIRST.widened(scales, Misfit { evaluation: true, ..Misfit::default() }).is_some());
        assert!(FIRST.widened(scales, Misfit { statistics: true, ..Misfit::default() }).is_some());
    }

    #[test]
    fn no_scale_leaves_the_exponents_there_are() {
        let lowest = *exact::EXPONENTS.start();
        let first = Scales { vector_exponent: lowest + 3, ..FIRST };
        let misfit = Misfit { vector: true, ..Misfit::default() };
        assert_eq!(first.widened(first, misfit).unwrap().vector_exponent, lowest);
    }

    #[test]
    fn one_minibatch_moves_running_statistics_a_little_and_many_replace_them() {
        let sum = |minibatches: i64| [(minibatches * 3) << 10];
        assert_eq!(*mix_statistics(&[1.0], &sum(1), 10, 1), [1.2]);
        assert_eq!(*mix_statistics(&[1.0], &sum(2), 10, 2), [(0.81 + 0.19f64 * 3.0) as f32]);
        assert_eq!(*mix_statistics(&[1.0], &sum(1000), 10, 1000), [3.0]);
    }
}
