//! The cost of each of a network's layers.

use crate::layers::{Layer, Step};
use crate::shape::Shape;

/// One layer's shape and costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// Its position, counted from 1: `3.2`, or `3.shortcut` for a residual block's projection.
    pub number: String,
    /// The beginning of its parameters' names, for example `layers.3.body.0`.
    pub name: String,
    /// The number of residual blocks around it.
    pub depth: usize,
    /// Its kind and settings: `conv2d 5x5, relu`.
    pub description: String,
    /// The shape of its outputs.
    pub shape: Shape,
    /// The number of its learned parameters, excluding the layers inside it.
    pub trainable: usize,
    /// The number of its parameters that stay as they are, excluding the layers inside it.
    pub frozen: usize,
    /// The number of its statistics, excluding the layers inside it.
    pub statistics: usize,
    /// Floating-point operations of the forward pass over one example, excluding the layers inside it. A
    /// dense or convolutional layer counts a multiplication and an addition for each weight in a sum; other
    /// layers count each operation on a value. A training pass takes about three times as many: dense and
    /// convolutional layers need one more such product for the weights' derivatives, and one for the inputs'.
    pub flops: u64,
    /// The number of values that a pass keeps for each example, excluding the layers inside it: 4 bytes each.
    pub values: usize,
}

impl Step {
    /// Operations of the forward pass over one example, as in [`LayerSummary::flops`].
    pub(crate) fn flops(&self) -> u64 {
        let outputs = self.outputs as u64;
        match &self.layer {
            Layer::Dense(dense) => 2 * dense.inputs as u64 * outputs,
            Layer::Conv2d(conv2d) => 2 * conv2d.taps() as u64 * outputs,
            Layer::Pool(pool) => pool.windows.size() as u64 * outputs,
            // Two for the statistics, then a difference, two factors and a sum.
            Layer::LayerNorm(_) | Layer::BatchNorm(_) => 8 * outputs,
            Layer::Embedding(_) => 0,
            Layer::Sum(_) | Layer::Dropout(_) | Layer::Activation(_) => outputs,
        }
    }
}
