//! Everything that decides what the engine does next, as one value: what a checkpoint holds.

use serde::{Deserialize, Serialize};

use super::aggregator::Scales;
use super::optimisers::Optimiser;

/// The engine's complete state between two rounds. Vectors are shared with the engine, so taking
/// a snapshot costs next to nothing. A round under way is not part of it: it is run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// The optimiser, in the middle of a step or not.
    pub optimiser: Optimiser,
    /// The next round's scales; `None` before the first round.
    pub scales: Option<Scales>,
    /// The counters.
    pub counters: Counters,
    /// What is known of the last accepted point.
    pub accepted: Option<Accepted>,
}

/// What the engine counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Rounds completed; evaluations ride along and count nothing.
    pub rounds: u64,
    /// Passes over the training data completed.
    pub epochs: u64,
    /// Versions of the weights sent out.
    pub version: u64,
    /// Rounds opened, restarts included: the last round's number.
    pub round: u64,
    /// The last assignment's number.
    pub assignment: u64,
}

/// An accepted point and how good it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Accepted steps so far; 0 is the start point.
    pub iteration: u64,
    /// Rounds completed when it was accepted.
    pub rounds: u64,
    /// Epochs completed when it was accepted.
    pub epochs: u64,
    /// Mean data loss over the training examples.
    pub train_loss: f64,
    /// What the optimiser minimises: `train_loss` plus the penalty.
    pub objective: f64,
    /// Mean loss over the test examples; `None` without a test set, or if it is not finite.
    pub test_loss: Option<f64>,
    /// Share of the test examples predicted correctly, for classes.
    pub test_accuracy: Option<f64>,
    /// Euclidean norm of the objective's gradient.
    pub gradient_norm: f64,
    /// Step length along the search direction; 0 for the start point.
    pub step: f64,
}
