//! Standardization of the targets by the training part's means and standard deviations.

use serde::{Deserialize, Serialize};
use table::Targets;

use super::TargetValues;

/// Below this a standard deviation is taken for zero, because its inverse would not be a useful f32.
const SMALLEST_DEVIATION: f64 = 1e-30;

/// How number targets are scaled while training: `(target - mean) / deviation`, one entry for each target
/// column. In 64 bits, so that targets far from zero, such as Unix seconds, do not collapse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetScaling {
    /// Means over the training part, in the user's units.
    pub mean: Vec<f64>,
    /// Standard deviations over the training part, in the user's units; 1 for a constant column.
    pub deviation: Vec<f64>,
}

impl TargetScaling {
    /// Computes the scaling from the training part's targets, row-major. Their order decides the last bits.
    pub(super) fn of(targets: &[f64], columns: usize) -> Self {
        let moments = |column: usize| {
            let values = || targets.iter().skip(column).step_by(columns).copied();
            let examples = values().count() as f64;
            let mean = values().sum::<f64>() / examples;
            let squares = values().fold(0.0, |squares, value| squares + (value - mean) * (value - mean));
            let same = values().all(|value| value == targets[column]);
            let deviation = (squares / examples).sqrt();
            (mean, if same || deviation < SMALLEST_DEVIATION { 1.0 } else { deviation })
        };
        let (mean, deviation) = (0..columns).map(moments).unzip();
        Self { mean, deviation }
    }

    /// Leaves targets as they are.
    pub(super) fn none(columns: usize) -> Self {
        Self { mean: vec![0.0; columns], deviation: vec![1.0; columns] }
    }

    /// Turns targets (row-major, in the user's units) into what the network is trained on.
    pub fn standardize(&self, targets: &[f64]) -> Vec<f32> {
        let columns = self.mean.iter().zip(&self.deviation).cycle();
        targets
            .iter()
            .zip(columns)
            .map(|(value, (mean, deviation))| ((value - mean) / deviation) as f32)
            .collect()
    }

    /// Turns the network's outputs (row-major) into the user's units.
    pub fn restore(&self, outputs: &[f32]) -> Vec<f64> {
        let columns = self.mean.iter().zip(&self.deviation).cycle();
        outputs
            .iter()
            .zip(columns)
            .map(|(&value, (mean, deviation))| f64::from(value) * deviation + mean)
            .collect()
    }
}

/// Targets as the network is trained on them; numbers are standardized by `scaling`.
pub(super) fn target_values(targets: Targets, scaling: Option<&TargetScaling>) -> TargetValues {
    match targets {
        Targets::Classes { ids, .. } => TargetValues::Classes(ids),
        Targets::Numbers { values, names } => {
            let columns = names.len();
            let values = match scaling {
                Some(scaling) => scaling.standardize(&values),
                None => values.into_iter().map(|value| value as f32).collect(),
            };
            TargetValues::Numbers { values, columns }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restoring_undoes_standardizing() {
        let targets = [10.0, 7.0, 30.0, 7.0];
        let scaling = TargetScaling::of(&targets, 2);
        let values = scaling.standardize(&targets);
        assert_eq!(values, [-1.0, 0.0, 1.0, 0.0]);
        assert_eq!(scaling.restore(&values), targets);
    }

    #[test]
    fn targets_far_from_zero_do_not_collapse() {
        let targets = [1_700_000_000.0, 1_700_000_060.0];
        assert_eq!(TargetScaling::of(&targets, 1).standardize(&targets), [-1.0, 1.0]);
    }
}
