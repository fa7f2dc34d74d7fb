//! Figures: how good an accepted point is, and what the engine counts.

use serde::{Deserialize, Serialize};

/// An accepted point and how good it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Accepted steps so far; 0 is the start point.
    pub iteration: u64,
    /// Rounds that led to it, none to the start point. The one that found out how good it is does not count.
    pub rounds: u64,
    /// Passes over the training data that led to it, counted likewise.
    pub epochs: f64,
    /// Mean data loss over the training examples of the round; those of local steps are measured on the way, and
    /// where several learning rates are tried from the start point, those of the best.
    pub train_loss: f64,
    /// What the optimizer minimizes: `train_loss` plus the penalty.
    pub objective: f64,
    /// Mean data loss over the whole training set at the point itself, in inference; `None` where that was not
    /// measured, or if it is not finite.
    pub training_set_loss: Option<f64>,
    /// Mean loss over the validation examples; `None` without a validation set, where the point was not evaluated, or
    /// if it is not finite.
    pub validation_loss: Option<f64>,
    /// Share of the validation examples predicted correctly, for classes.
    pub validation_accuracy: Option<f64>,
    /// The same two over the test examples.
    pub test_loss: Option<f64>,
    /// See `test_loss`.
    pub test_accuracy: Option<f64>,
    /// Euclidean norm of the objective's gradient, or of the mean displacement of local steps.
    pub gradient_norm: f64,
    /// Step length along the search direction; 0 for the start point.
    pub step: f64,
}

/// What the engine counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Rounds completed; evaluations ride along and count nothing.
    pub rounds: u64,
    /// Training examples gone through, each as often as it was: divided by the size of the training set, epochs.
    pub examples: u64,
    /// Versions of the weights sent out.
    pub version: u64,
    /// Rounds opened, restarts included: the last round's number.
    pub round: u64,
    /// The last assignment's number.
    pub assignment: u64,
}

impl Counters {
    /// Passes over a training set of so many examples.
    pub fn epochs(&self, examples: u32) -> f64 {
        self.examples as f64 / f64::from(examples)
    }
}
