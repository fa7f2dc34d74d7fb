//! The dense layer, `y = activation(x W + b)`: every unit sees every input.
//!
//! Shapes, all row-major: x `[examples, inputs]`, W `[inputs, outputs]`, b `[outputs]`, y `[examples, outputs]`.

use std::ops::Range;

use super::{Means, Seen};
use crate::kernels::Matrix;
use crate::spec::Activation;

/// A dense layer and where its parameters lie in the flat vector.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Applied in place, so not one that needs its sums.
    pub(crate) activation: Activation,
    /// W, row-major.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

impl Dense {
    /// Writes y to `outputs`: each sum starts from the bias and goes over increasing inputs.
    pub(crate) fn forward(&self, means: &mut Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        let bias = &means.weights[self.bias.clone()];
        for row in outputs.chunks_exact_mut(self.outputs) {
            row.copy_from_slice(bias);
        }
        let weight = &means.weights[self.weight.clone()];
        means.kernel.add_product(
            means.workspace,
            Matrix::new(inputs, outputs.len() / self.outputs, self.inputs),
            Matrix::new(weight, self.inputs, self.outputs),
            outputs,
        );
        self.activation.forward(outputs);
    }

    /// The derivatives by W, b and the inputs, as [`Step::backward`](super::Step::backward) asks. On return `delta`
    /// holds the derivatives by the sums before the activation.
    ///
    /// With D the derivatives by the sums: dW = x^T D, db = the column sums of D, dx = D W^T.
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &mut [f32],
        gradient: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) {
        self.activation.backward(seen.outputs, delta);
        let examples = delta.len() / self.outputs;
        let delta_rows = Matrix::new(delta, examples, self.outputs);
        means.kernel.add_product(
            means.workspace,
            Matrix::new(seen.inputs, examples, self.inputs).transposed(),
            delta_rows,
            &mut gradient[self.weight.clone()],
        );
        let bias = &mut gradient[self.bias.clone()];
        for row in delta.chunks_exact(self.outputs) {
            for (bias, delta) in bias.iter_mut().zip(row) {
                *bias += delta;
            }
        }
        if let Some(input_delta) = input_delta {
            input_delta.fill(0.0);
            let weight = Matrix::new(&means.weights[self.weight.clone()], self.inputs, self.outputs);
            means.kernel.add_product(means.workspace, delta_rows, weight.transposed(), input_delta);
        }
    }
}
