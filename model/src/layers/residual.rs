//! The end of a residual block, `y = F(x) + S(x)`: the outputs of its layers plus a shortcut from the block's
//! inputs.
//!
//! He, Zhang, Ren and Sun (2015), "Deep Residual Learning for Image Recognition": in equation 1, S is the
//! identity; in equation 2, it is a learned projection. A block's layers F are ordinary steps of the network;
//! the step in this file follows them.

use super::{Deltas, Means, Seen, Step};

/// The sum at the end of a residual block.
#[derive(Debug, Clone)]
pub(crate) struct Sum {
    /// The step with the block's inputs: the block's first, or this one if the block's layers need no step.
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

    /// Adds the derivatives by S's parameters to `gradient`, and writes the derivatives by x through S to
    /// `shortcut_delta`. The derivatives by F(x) equal those by y.
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
