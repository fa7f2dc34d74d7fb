//! The named blocks of the flat parameter vector.

use std::ops::Range;

/// One named part of the flat parameter vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterBlock {
    /// For example `layers.0.weight`; layers are counted from 0, the last is the output layer.
    pub name: String,
    /// `[inputs, outputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// Where its elements lie, in row-major order.
    pub range: Range<usize>,
    /// What its elements are.
    pub kind: ParameterKind,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// Multiplies an input. The only kind to which the penalties apply.
    Weight,
    /// Is added to a sum.
    Bias,
    /// Multiplies a normalized value.
    Gain,
    /// Is not learned but observed: a running mean or variance.
    Statistic,
}
