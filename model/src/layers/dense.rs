//! The dense layer, `y = activation(x W + b)`: every unit sees every input.
//!
//! Shapes, all row-major: x `[examples, inputs]`, W `[inputs, outputs]`, b `[outputs]`, y `[examples,
//! outputs]`.

use std::ops::Range;

use super::Means;
use crate::kernels::{Ending, Kernel, Matrix, Workspace, all_finite};
use crate::nonzeros::InputLists;
use crate::spec::Activation;

/// A dense layer and where its parameters lie in the flat vector.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Applied in place, so not one that needs its sums.
    pub(crate) activation: Activation,
    /// W, row-major.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

/// Where a dense layer's inputs are.
pub(crate) enum Inputs<'a> {
    /// Row-major, one row an example.
    Rows(&'a [f32]),
    /// As lists without the zeros, with a buffer for the rows.
    Lists(&'a mut InputLists, &'a mut [f32]),
}

/// What a gradient step in place works with.
pub(crate) struct Descent<'a> {
    pub(crate) kernel: Kernel,
    /// What the gradient is multiplied with before it is added to the weights.
    pub(crate) factor: f32,
    pub(crate) workspace: &'a mut Workspace,
    /// Holds the derivatives by the bias.
    pub(crate) buffer: &'a mut Vec<f32>,
    pub(crate) weights: &'a mut [f32],
}

impl Dense {
    /// Writes y to `outputs`: each sum starts from the bias and goes over increasing inputs.
    pub(crate) fn forward(&self, means: &mut Means<'_>, inputs: Inputs<'_>, outputs: &mut [f32]) {
        let bias = &means.weights[self.bias.clone()];
        for row in outputs.chunks_exact_mut(self.outputs) {
            for (output, bias) in row.iter_mut().zip(bias) {
                // Without -0, which a row without inputs would keep.
                *output = bias + 0.0;
            }
        }
        let weight = Matrix::new(&means.weights[self.weight.clone()], self.inputs, self.outputs);
        match inputs {
            Inputs::Rows(inputs) => {
                let inputs = Matrix::new(inputs, outputs.len() / self.outputs, self.inputs);
                means.kernel.product(means.workspace, inputs, weight, Ending::Add, outputs);
            }
            Inputs::Lists(lists, _) => {
                means.kernel.sparse_product(lists.by_example(), weight, Ending::Add, outputs);
            }
        }
        self.activation.forward(outputs);
    }

    /// The derivatives by W, b and the inputs, as [`Step::backward`](super::Step::backward) asks. On return
    /// `delta` holds the derivatives by the sums before the activation.
    ///
    /// With D the derivatives by the sums: dW = x^T D, db = the column sums of D, dx = D W^T.
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        inputs: Inputs<'_>,
        outputs: &[f32],
        delta: &mut [f32],
        gradient: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) {
        self.activation.backward(outputs, delta);
        if let Some(input_delta) = input_delta {
            self.input_delta(means.kernel, means.workspace, means.weights, delta, input_delta);
        }
        let weight = &mut gradient[self.weight.clone()];
        self.weight_product(means.kernel, means.workspace, inputs, delta, Ending::Add, weight);
        self.add_bias_gradient(delta, &mut gradient[self.bias.clone()]);
    }

    /// As [`Dense::backward`], but adds the step's factor times the gradient to the weights themselves, after the
    /// derivatives by the inputs have been computed with them.
    pub(crate) fn descend(
        &self,
        step: Descent<'_>,
        inputs: Inputs<'_>,
        outputs: &[f32],
        delta: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) {
        let Descent { kernel, factor, workspace, buffer, weights } = step;
        self.activation.backward(outputs, delta);
        if let Some(input_delta) = input_delta {
            self.input_delta(kernel, workspace, weights, delta, input_delta);
        }
        let weight = &mut weights[self.weight.clone()];
        self.weight_product(kernel, workspace, inputs, delta, Ending::InPlace(factor), weight);
        buffer.clear();
        buffer.resize(self.outputs, 0.0);
        self.add_bias_gradient(delta, buffer);
        kernel.add_scaled(factor, buffer, &mut weights[self.bias.clone()]);
    }

    fn input_delta(
        &self,
        kernel: Kernel,
        workspace: &mut Workspace,
        weights: &[f32],
        delta: &[f32],
        input_delta: &mut [f32],
    ) {
        let delta = Matrix::new(delta, delta.len() / self.outputs, self.outputs);
        let weight = Matrix::new(&weights[self.weight.clone()], self.inputs, self.outputs);
        kernel.product(workspace, delta, weight.transposed(), Ending::Replace, input_delta);
    }

    /// x^T D.
    fn weight_product(
        &self,
        kernel: Kernel,
        workspace: &mut Workspace,
        inputs: Inputs<'_>,
        delta: &[f32],
        ending: Ending,
        weight: &mut [f32],
    ) {
        let examples = delta.len() / self.outputs;
        let delta_rows = Matrix::new(delta, examples, self.outputs);
        let inputs = match inputs {
            Inputs::Rows(rows) => rows,
            // Where zeros meet something infinite, the result is NaN and must be.
            Inputs::Lists(lists, rows) if !all_finite(delta) => {
                lists.expand(self.inputs, rows);
                rows
            }
            Inputs::Lists(lists, _) => {
                return kernel.sparse_product(lists.by_place(self.inputs), delta_rows, ending, weight);
            }
        };
        let inputs = Matrix::new(inputs, examples, self.inputs).transposed();
        kernel.product(workspace, inputs, delta_rows, ending, weight);
    }

    /// The column sums of D.
    fn add_bias_gradient(&self, delta: &[f32], bias: &mut [f32]) {
        for row in delta.chunks_exact(self.outputs) {
            for (bias, delta) in bias.iter_mut().zip(row) {
                *bias += delta;
            }
        }
    }
}
