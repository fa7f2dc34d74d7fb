//! The named blocks of the flat parameter vector.

use std::ops::Range;

/// One named part of the flat parameter vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterBlock {
    /// For example `layers.0.weight`. Layers are counted from 0; the last is the output layer.
    pub name: String,
    /// `[inputs, outputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// The range of its elements, which are in row-major order.
    pub range: Range<usize>,
    /// The kind of its elements.
    pub kind: ParameterKind,
    /// Whether its elements stay as they are in training.
    pub frozen: bool,
}

/// The kind of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// Multiplies an input. The penalties apply to weights only.
    Weight,
    /// Is added to a sum.
    Bias,
    /// Multiplies a normalized value.
    Gain,
    /// A running mean or variance, which is observed rather than learned.
    Statistic,
}
