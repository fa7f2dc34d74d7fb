//! The end of a residual block, `y = F(x) + S(x)`: what its layers answered, plus a shortcut from what the
//! block saw.
//!
//! He, Zhang, Ren and Sun (2015), "Deep Residual Learning for Image Recognition", equation 1, where S is the
//! identity, and equation 2, where it is a learned projection. A block's layers F are steps of the network
//! like any others; this is the step after them.

use super::{Deltas, Means, Seen, Step};

/// The sum at the end of a residual block.
#[derive(Debug, Clone)]
pub(crate) struct Sum {
    /// The step that sees what the block sees: its first, or this one if the block's layers need no step.
    pub(crate) from: usize,
    /// S, if it is not the identity: a dense layer or a convolution without an activation.
    pub(crate) projection: Option<Box<Step>>,
}

impl Sum {
    /// Writes y to `outputs`: S(x) of `shortcut`, plus F(x).
    pub(crate) fn forward(
        &self,
        means: &mut Means<'_>,
        shortcut: &[f32],
        inputs: &[f32],
        outputs: &mut [f32],
    ) {
        match &self.projection {
            Some(projection) => projection.forward(means, &[], shortcut, outputs),
            None => outputs.copy_from_slice(shortcut),
        }
        for (output, input) in outputs.iter_mut().zip(inputs) {
            *output += input;
        }
    }

    /// Adds the derivatives by S's parameters to `gradient` and writes those by x, as far as they come
    /// through S, to `shortcut_delta`. Those by F(x) are those by y.
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &mut [f32],
        gradient: &mut [f32],
        shortcut_delta: Option<&mut [f32]>,
    ) {
        match &self.projection {
            Some(projection) => {
                let seen = Seen { inputs: seen.shortcut, shortcut: &[], outputs: seen.outputs };
                projection.backward(
                    means,
                    seen,
                    delta,
                    gradient,
                    Deltas { inputs: shortcut_delta, shortcut: None },
                );
            }
            None => {
                if let Some(shortcut_delta) = shortcut_delta {
                    shortcut_delta.copy_from_slice(delta);
                }
            }
        }
    }
}
