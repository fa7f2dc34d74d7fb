//! The dense layer, `y = activation(x W + b)`: every unit sees every input.
//!
//! Shapes, all row-major: x `[examples, inputs]`, W `[inputs, outputs]`, b `[outputs]`, y `[examples, outputs]`.

use std::ops::Range;

use crate::kernels::{Kernel, Matrix, Workspace};
use crate::spec::Activation;

/// A dense layer and where its parameters lie in the flat vector.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) activation: Activation,
    /// W, row-major.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

impl Dense {
    /// Writes y to `outputs`: each sum starts from the bias and goes over increasing inputs.
    pub(crate) fn forward(
        &self,
        kernel: Kernel,
        workspace: &mut Workspace,
        weights: &[f32],
        inputs: &[f32],
        outputs: &mut [f32],
    ) {
        let bias = &weights[self.bias.clone()];
        for row in outputs.chunks_exact_mut(self.outputs) {
            row.copy_from_slice(bias);
        }
        let weight = &weights[self.weight.clone()];
        kernel.add_product(
            workspace,
            Matrix::new(inputs, outputs.len() / self.outputs, self.inputs),
            Matrix::new(weight, self.inputs, self.outputs),
            outputs,
        );
        self.activation.forward(outputs);
    }

    /// Adds the derivatives by W and b to `gradient` (the whole flat vector), each element going over increasing
    /// examples, and writes the derivatives by the inputs to `input_delta`, if given. On entry `delta` holds the
    /// derivatives by y, on return those by the sums before the activation.
    ///
    /// With D the derivatives by the sums: dW = x^T D, db = the column sums of D, dx = D W^T.
    #[expect(
        clippy::too_many_arguments,
        reason = "the inputs and outputs of one step, each with its own owner"
    )]
    pub(crate) fn backward(
        &self,
        kernel: Kernel,
        workspace: &mut Workspace,
        weights: &[f32],
        inputs: &[f32],
        outputs: &[f32],
        delta: &mut [f32],
        gradient: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) {
        self.activation.backward(outputs, delta);
        let examples = delta.len() / self.outputs;
        let delta_rows = Matrix::new(delta, examples, self.outputs);
        kernel.add_product(
            workspace,
            Matrix::new(inputs, examples, self.inputs).transposed(),
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
            let weight = Matrix::new(&weights[self.weight.clone()], self.inputs, self.outputs);
            kernel.add_product(workspace, delta_rows, weight.transposed(), input_delta);
        }
    }
}
