//! Means and standard deviations of the training part, and what is made of them.

use model::Preprocessing;
use serde::{Deserialize, Serialize};

use super::{FeatureRows, FeatureValues};

/// Below this a standard deviation is taken for zero, because its inverse would not be a useful f32.
const SMALLEST_DEVIATION: f64 = 1e-30;

/// How number targets are scaled while training: `(target - mean) / deviation`, one entry for each target column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetScaling {
    /// Means over the training part, in the user's units.
    pub mean: Vec<f32>,
    /// Standard deviations over the training part, in the user's units; 1 for a constant column.
    pub deviation: Vec<f32>,
}

impl TargetScaling {
    /// From the training part's targets, row-major.
    pub(super) fn of(targets: &[f32], columns: usize) -> Self {
        let moments = moments(targets, columns);
        Self {
            mean: moments.iter().map(|moments| moments.mean as f32).collect(),
            deviation: moments.iter().map(|moments| moments.deviation.unwrap_or(1.0) as f32).collect(),
        }
    }

    /// Leaves targets as they are.
    pub(super) fn none(columns: usize) -> Self {
        Self { mean: vec![0.0; columns], deviation: vec![1.0; columns] }
    }

    /// Turns targets (row-major, in the user's units) into what the network is trained on.
    pub fn standardize(&self, targets: &mut [f32]) {
        for row in targets.chunks_exact_mut(self.mean.len()) {
            for ((value, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *value = (*value - mean) / deviation;
            }
        }
    }

    /// Turns the network's outputs (row-major) into the user's units.
    pub fn restore(&self, outputs: &mut [f32]) {
        for row in outputs.chunks_exact_mut(self.mean.len()) {
            for ((value, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *value = *value * deviation + mean;
            }
        }
    }
}

/// Standardization of every feature: offset is the mean, scale the inverse of the standard deviation (of the
/// population: divided by n). A constant column has scale 0: its weights never learn, so that another value in other
/// data must not decide anything.
pub(super) fn preprocessing(train: &FeatureRows) -> Preprocessing {
    let moments = match train.values() {
        FeatureValues::U8(values) => moments(values, train.columns()),
        FeatureValues::F32(values) => moments(values, train.columns()),
    };
    Preprocessing {
        offset: moments.iter().map(|moments| moments.mean as f32).collect(),
        scale: moments
            .iter()
            .map(|moments| moments.deviation.map_or(0.0, |deviation| (1.0 / deviation) as f32))
            .collect(),
    }
}

struct Moments {
    mean: f64,
    /// `None` for a constant column.
    deviation: Option<f64>,
}

/// Mean and deviation of each column in two passes over the rows, in f64 and in row order, so that the bits are the same
/// everywhere.
fn moments<T: Copy + PartialEq + Into<f64>>(values: &[T], columns: usize) -> Vec<Moments> {
    let examples = (values.len() / columns) as f64;
    let Some(first) = values.get(..columns) else { return Vec::new() };
    let mut means = vec![0.0; columns];
    let mut constant = vec![true; columns];
    for row in values.chunks_exact(columns) {
        for (column, &value) in row.iter().enumerate() {
            means[column] += value.into();
            constant[column] &= value == first[column];
        }
    }
    for mean in &mut means {
        *mean /= examples;
    }
    let mut squares = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        for (column, &value) in row.iter().enumerate() {
            let distance = value.into() - means[column];
            squares[column] += distance * distance;
        }
    }
    (0..columns)
        .map(|column| {
            let deviation = (squares[column] / examples).sqrt();
            let usable = !constant[column] && deviation >= SMALLEST_DEVIATION;
            Moments { mean: means[column], deviation: usable.then_some(deviation) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardized_columns_have_mean_0_and_deviation_1_and_constant_ones_become_0() {
        // Column 1 is 0.1 three times: its mean is not exactly 0.1 in f64, which must not count as a deviation.
        let rows = FeatureRows::new(2, FeatureValues::F32(vec![1.0, 0.1, 2.0, 0.1, 6.0, 0.1]));
        let made = preprocessing(&rows);
        assert_eq!(made.offset, [3.0, 0.1]);
        // Population variance of 1, 2, 6 is ((-2)^2 + (-1)^2 + 3^2) / 3 = 14 / 3.
        assert_eq!(made.scale, [(3.0_f64 / 14.0).sqrt() as f32, 0.0]);
    }

    #[test]
    fn tiny_and_huge_columns_give_finite_scales() {
        let rows = FeatureRows::new(2, FeatureValues::F32(vec![1e-44, -1e30, 3e-44, 1e30]));
        let made = preprocessing(&rows);
        // A deviation below any number is as good as none.
        assert!(made.scale.iter().all(|scale| scale.is_finite() && *scale >= 0.0), "{made:?}");
    }

    #[test]
    fn restoring_undoes_standardizing() {
        let targets = [10.0, 7.0, 30.0, 7.0];
        let scaling = TargetScaling::of(&targets, 2);
        let mut values = targets;
        scaling.standardize(&mut values);
        assert_eq!(values, [-1.0, 0.0, 1.0, 0.0]);
        scaling.restore(&mut values);
        assert_eq!(values, targets);
    }
}
