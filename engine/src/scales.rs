//! Which scales a round takes: they come from exact sums, so that they never depend on who helped.
//!
//! The first scales follow from the referee's evaluation of unit 0 ([`for_unit`]), later ones from the sums at the
//! last accepted point ([`after`]). A round with a unit that does not fit begins again with wider ones ([`widened`]), a
//! round whose sums vanished with finer ones ([`refined`]).

use model::exact;
use protocol::measure::Measure;
use protocol::scales::Scales;

/// The largest element of the previous round's *mean* unit vector becomes an integer just below two to this power.
/// A resolution of 2^-24 of that element has no measurable effect on L-BFGS. The range above it, 2^20 up to
/// [`exact::UNIT_LIMIT`], leaves room for single units that differ from the mean.
pub const VECTOR_BITS: u32 = 24;

/// The same for the mean unit's summed loss, which must resolve the decrease that a line search asks for. A factor
/// of 2^14 is left for a trial point that is worse.
pub const LOSS_BITS: u32 = 30;

/// A scale moves by two to this power when a unit does not fit.
pub const RESCALE_BITS: i32 = 8;

/// How often each of a round's scales may be moved before its point counts as not finite.
pub const RESCALES_MAX: i32 = 3;

/// A scale tightens by at most two to this power from one accepted point to the next. Gradients all but cancel at a
/// minimum while those of single units keep their size: without this bound such a sum would tighten a scale that had
/// to be widened, and every round would start twice.
pub const TIGHTEN_BITS: i32 = 2;

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

/// What a round summed to, as integers at its scales.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The vector, without its tail.
    pub vector: &'a [i64],
    /// The batch statistics.
    pub statistics: &'a [i64],
    /// The training loss.
    pub loss: i64,
    /// The number of units in these sums.
    pub units: u32,
    /// The evaluation's loss and its number of units, if there was an evaluation that counts.
    pub evaluation: Option<(i64, u32)>,
}

/// The sums whose mean over the units is below one step of the fixed point, so that no digit can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vanished {
    /// The vector, in all of its elements.
    pub vector: bool,
    /// The training loss.
    pub loss: bool,
    /// The evaluation's loss.
    pub evaluation: bool,
}

impl Vanished {
    /// Whether any sum vanished.
    pub fn any(self) -> bool {
        self.vector || self.loss || self.evaluation
    }
}

impl Found<'_> {
    /// The sums that vanished in the rounding.
    pub fn vanished(&self) -> Vanished {
        let below_a_step = |sum: i64, units: u32| sum.unsigned_abs() < u64::from(units);
        Vanished {
            vector: self.vector.iter().all(|&sum| below_a_step(sum, self.units)),
            loss: below_a_step(self.loss, self.units),
            evaluation: self.evaluation.is_some_and(|(sum, units)| below_a_step(sum, units)),
        }
    }
}

/// Scales for values as large as this unit's.
pub fn for_unit(measure: &Measure) -> Scales {
    let loss_exponent = exact::exponent_for(measure.loss, LOSS_BITS);
    Scales {
        vector_exponent: exact::exponent_for(measure.largest, VECTOR_BITS),
        statistics_exponent: exact::exponent_for(measure.largest_statistic, VECTOR_BITS),
        loss_exponent,
        evaluation_exponent: loss_exponent,
    }
}

/// Scales to repeat a round with that began with `first` and failed with `current`: wider by [`RESCALE_BITS`] where a
/// unit did not fit. `None` once a scale has moved [`RESCALES_MAX`] times.
///
/// Each scale ends at the first of its steps at which all units fit, or at none. So it does not matter which of the
/// units that do not fit is reported first.
pub fn widened(first: Scales, current: Scales, misfit: Misfit) -> Option<Scales> {
    let widen = |first: i32, exponent: i32, is_misfit: bool| {
        let moved = if is_misfit { exponent - RESCALE_BITS } else { exponent };
        let moved = moved.max(*exact::EXPONENTS.start());
        (first - moved <= RESCALE_BITS * RESCALES_MAX).then_some(moved)
    };
    Some(Scales {
        vector_exponent: widen(first.vector_exponent, current.vector_exponent, misfit.vector)?,
        statistics_exponent: widen(
            first.statistics_exponent,
            current.statistics_exponent,
            misfit.statistics,
        )?,
        loss_exponent: widen(first.loss_exponent, current.loss_exponent, misfit.loss)?,
        evaluation_exponent: widen(
            first.evaluation_exponent,
            current.evaluation_exponent,
            misfit.evaluation,
        )?,
    })
}

/// Scales to repeat a round with that came to `found` at `scales`: finer where the mean over its units vanished in the
/// rounding. The referee has since `measured` the values of one unit. `None` if nothing vanished, or if the measured
/// values are zero, so that zero is the result.
pub fn refined(scales: Scales, measured: &Measure, found: &Found<'_>) -> Option<Scales> {
    let fine = for_unit(measured);
    let finer = |exponent: i32, to: i32, vanished: bool, value: f64| {
        if vanished && value != 0.0 { exponent.max(to) } else { exponent }
    };
    let Vanished { vector, loss, evaluation } = found.vanished();
    let refined = Scales {
        vector_exponent: finer(scales.vector_exponent, fine.vector_exponent, vector, measured.largest),
        loss_exponent: finer(scales.loss_exponent, fine.loss_exponent, loss, measured.loss),
        evaluation_exponent: finer(
            scales.evaluation_exponent,
            fine.evaluation_exponent,
            evaluation,
            measured.loss,
        ),
        ..scales
    };
    (refined != scales).then_some(refined)
}

/// Scales for the rounds after one whose point was accepted. That round began with `first`, ended with `last` and
/// summed to `found`. Without an evaluation that counts, the evaluation's scale is the one it began with.
pub fn after(first: Scales, last: Scales, found: &Found<'_>) -> Scales {
    let largest = |vector: &[i64]| vector.iter().fold(0, |largest, value| value.unsigned_abs().max(largest));
    let units = found.units;
    Scales {
        vector_exponent: next(last.vector_exponent, largest(found.vector), units, VECTOR_BITS),
        statistics_exponent: next(last.statistics_exponent, largest(found.statistics), units, VECTOR_BITS),
        loss_exponent: next(last.loss_exponent, found.loss.unsigned_abs(), units, LOSS_BITS),
        evaluation_exponent: found.evaluation.map_or(first.evaluation_exponent, |(sum, units)| {
            next(last.evaluation_exponent, sum.unsigned_abs(), units, LOSS_BITS)
        }),
    }
}

/// The exponent that follows one at which `units` units summed to `sum`. A sum of zero says nothing about the next:
/// the exponent stays.
fn next(exponent: i32, sum: u64, units: u32, bits: u32) -> i32 {
    if sum == 0 {
        return exponent;
    }
    let mean = sum as f64 * exact::to_f64(1, exponent) / f64::from(units);
    exact::exponent_for(mean, bits).min(exponent + TIGHTEN_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Scales =
        Scales { vector_exponent: 20, statistics_exponent: 15, loss_exponent: 10, evaluation_exponent: 12 };

    /// Of values near 1 and a loss of 3.
    fn scales() -> Scales {
        for_unit(&Measure { largest: 1.0, largest_statistic: 1.0, loss: 3.0, ..Measure::fitting() })
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
        assert_eq!(after(scales, scales, &found(&vector, loss, None)), scales);
        let larger = Scales {
            vector_exponent: 21,
            statistics_exponent: 21,
            loss_exponent: 25,
            evaluation_exponent: 27,
        };
        assert_eq!(after(scales, scales, &found(&[(4 * 8) << 23], loss << 3, Some((3 << 29, 1)))), larger);
        let nothing = found(&[0; 3], 0, Some((0, 4)));
        assert_eq!(after(scales, scales, &nothing), scales, "zero says nothing of the next round");
    }

    #[test]
    fn an_evaluation_that_does_not_count_leaves_no_trace() {
        let first = scales();
        let widened = widened(first, first, Misfit { evaluation: true, ..Misfit::default() }).unwrap();
        assert_eq!(after(first, widened, &found(&[8 << 23], (3 * 8) << 28, None)), first);
    }

    #[test]
    fn a_sum_that_cancels_tightens_the_next_scale_only_so_far() {
        let scales = scales();
        let next = after(scales, scales, &found(&[1], 1, Some((1, 8))));
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
            scales = widened(FIRST, scales, misfit(vector, loss)).unwrap();
        }
        assert_eq!(scales, Scales { vector_exponent: -4, loss_exponent: -14, ..FIRST });
        assert_eq!(widened(FIRST, scales, misfit(true, false)), None);
        assert_eq!(widened(FIRST, scales, misfit(false, true)), None);
        assert!(widened(FIRST, scales, Misfit { evaluation: true, ..Misfit::default() }).is_some());
        assert!(widened(FIRST, scales, Misfit { statistics: true, ..Misfit::default() }).is_some());
    }

    #[test]
    fn no_scale_leaves_the_exponents_there_are() {
        let lowest = *exact::EXPONENTS.start();
        let first = Scales { vector_exponent: lowest + 3, ..FIRST };
        let misfit = Misfit { vector: true, ..Misfit::default() };
        assert_eq!(widened(first, first, misfit).unwrap().vector_exponent, lowest);
    }
}
