//! What a training came to: the object that `--json` prints and the lines that people read.

use serde::Serialize;

/// The outcome of a training. Field names are the JSON's; whatever is unknown is `null` there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Accepted optimiser steps.
    pub iterations: u64,
    /// Rounds over the volunteers.
    pub rounds: u64,
    /// Passes over the training data.
    pub epochs: f64,
    /// Seconds of training, those before a resume included.
    pub seconds: f64,
    /// Number of parameters of the network.
    pub parameters: usize,
    /// Mean loss over the training examples, of the saved model.
    pub train_loss: Option<f64>,
    /// Mean loss over the test examples, of the saved model; `None` without a test set.
    pub test_loss: Option<f64>,
    /// Share of test examples predicted correctly, 0..1; `None` without a test set or classes.
    pub test_accuracy: Option<f64>,
    /// BLAKE3 of the saved model's little-endian f32 weights, in hexadecimal.
    pub weights_digest: String,
    /// Volunteers that helped at some time, the coordinator's own worker not counted.
    pub volunteers: usize,
    /// Why the training ended.
    pub stop_reason: StopReason,
    /// The run directory, as the user would type it.
    pub run: String,
}

/// Why a training ended. The JSON has the kebab-case name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The limit on iterations is reached.
    Iterations,
    /// The test accuracy asked for is reached.
    TargetAccuracy,
    /// The gradient has vanished.
    Converged,
    /// No step lowers the loss any further.
    NoProgress,
    /// The loss or its gradient is not a finite number where the run starts.
    NonFinite,
    /// The user asked to stop; the run can be resumed.
    Interrupted,
}
