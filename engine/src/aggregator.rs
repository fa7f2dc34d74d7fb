//! The exact reduce: integer sums of a round's results, and the means computed from them.
//!
//! Sums of integers do not depend on their order or grouping, so neither does anything computed from them.
//! [`crate::scales`] chooses the scales that make values integers.

use std::sync::Arc;

use model::{Network, exact};
use protocol::message::ResultHeader;
use protocol::plan::{Part, RoundPlan};

/// Integer sums of results, one for each part of a round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Those of each part.
    pub parts: Vec<PartSums>,
}

/// Sums over the units of one part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartSums {
    /// As in [`ResultHeader`].
    pub losses: Vec<i64>,
    /// As in [`ResultHeader`].
    pub unfit_steps: u32,
    /// As in [`ResultHeader`].
    pub correct: u64,
    /// One element for each parameter; empty where the work has no vector.
    pub vector: Vec<i64>,
}

impl Sums {
    /// Zeros, in the shape of a round's sums for a network of so many parameters.
    pub fn new(plan: &RoundPlan, parameters: usize) -> Sums {
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

    /// Adds the sums of other units of the same round: the validator and the bound on a round's units see to it
    /// that nothing can leave the integers' range.
    pub(super) fn merge(&mut self, other: &Sums) {
        let in_range = "a round's units are few enough for their sum";
        for (sums, other) in self.parts.iter_mut().zip(&other.parts) {
            exact::merge(&mut sums.losses, &other.losses).expect(in_range);
            exact::merge(&mut sums.vector, &other.vector).expect(in_range);
            sums.unfit_steps |= other.unfit_steps;
            sums.correct += other.correct;
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

    #[test]
    fn one_minibatch_moves_running_statistics_a_little_and_many_replace_them() {
        let sum = |minibatches: i64| [(minibatches * 3) << 10];
        assert_eq!(*mix_statistics(&[1.0], &sum(1), 10, 1), [1.2]);
        assert_eq!(*mix_statistics(&[1.0], &sum(2), 10, 2), [(0.81 + 0.19f64 * 3.0) as f32]);
        assert_eq!(*mix_statistics(&[1.0], &sum(1000), 10, 1000), [3.0]);
    }
}
