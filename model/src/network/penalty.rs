//! The penalties on the weights, l2 and l1, and their gradient.

use crate::layout::{ParameterBlock, ParameterKind};
use crate::spec::NetworkSpec;

use super::Network;

impl Network {
    /// The penalty on the mean loss: `l2 / 2` times the sum of the squared weights (not biases) plus `l1`
    /// times the sum of their magnitudes.
    ///
    /// The terms are added to eight running sums in turn, which are then added in order.
    ///
    /// # Panics
    /// If the length of `weights` is neither the number of parameters nor that of learned parameters.
    pub fn penalty(&self, weights: &[f32]) -> f64 {
        self.assert_trainable(weights.len());
        let mut penalty = 0.0;
        if self.spec.l2 != 0.0 {
            penalty +=
                0.5 * f64::from(self.spec.l2) * self.sum_over_weights(weights, |weight| weight * weight);
        }
        if self.spec.l1 != 0.0 {
            penalty += f64::from(self.spec.l1) * self.sum_over_weights(weights, f64::abs);
        }
        penalty
    }

    fn sum_over_weights(&self, weights: &[f32], term: impl Fn(f64) -> f64) -> f64 {
        let mut total = 0.0;
        for block in self.penalized() {
            let mut sums = [0.0f64; 8];
            for chunk in weights[block.range.clone()].chunks(sums.len()) {
                for (sum, &weight) in sums.iter_mut().zip(chunk) {
                    *sum += term(f64::from(weight));
                }
            }
            total += sums.iter().fold(0.0, |total, sum| total + sum);
        }
        total
    }

    /// Adds the gradient of [`Network::penalty`] to `gradient`: `l2` times each weight (not bias) and `l1`
    /// times its sign (0 for 0). It is computed in the precision of `gradient`, `f32` or `f64`.
    ///
    /// # Panics
    /// If the length of either slice is neither the number of parameters nor that of learned parameters.
    pub fn add_penalty_gradient<T>(&self, weights: &[f32], gradient: &mut [T])
    where
        T: Copy + From<f32> + std::ops::Add<Output = T> + std::ops::Mul<Output = T>,
    {
        self.assert_trainable(weights.len());
        self.assert_trainable(gradient.len());
        let NetworkSpec { l1, l2, .. } = self.spec;
        for block in self.penalized() {
            let pairs = || block.range.clone().map(|i| (i, weights[i]));
            if l2 != 0.0 {
                pairs().for_each(|(i, weight)| gradient[i] = gradient[i] + T::from(l2) * T::from(weight));
            }
            if l1 != 0.0 {
                let sign = |weight: f32| if weight == 0.0 { 0.0 } else { weight.signum() };
                pairs().for_each(|(i, weight)| gradient[i] = gradient[i] + T::from(l1 * sign(weight)));
            }
        }
    }

    /// The blocks that the penalties apply to: weights that are learned.
    pub(crate) fn penalized(&self) -> impl Iterator<Item = &ParameterBlock> {
        self.layout.iter().filter(|block| block.kind == ParameterKind::Weight && !block.frozen)
    }

    /// Checks a length, which may include the statistics.
    fn assert_trainable(&self, length: usize) {
        let fits = [self.trainable, self.parameters].contains(&length);
        assert!(fits, "{length} elements for a network of {} parameters", self.parameters);
    }
}
