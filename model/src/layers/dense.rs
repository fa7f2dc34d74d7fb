//! The dense layer, `y = activation(x W + b)`: every unit sees every input.
//!
//! Shapes, all row-major: x `[examples, inputs]`, W `[inputs, outputs]`, b `[outputs]`, y `[examples,
//! outputs]`.

use std::ops::Range;

use super::Means;
use crate::kernels::{Ending, Kernel, Matrix, Workspace, all_finite};
use crate::nonzeros::InputLists;
use crate::spec::Activation;

/// A dense layer, with the ranges of its parameters in the flat vector.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Applied in place, so never one that needs its sums.
    pub(crate) activation: Activation,
    /// W, row-major.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

/// The inputs of a dense layer.
pub(crate) enum Inputs<'a> {
    /// Row-major, one row per example.
    Rows(&'a [f32]),
    /// As lists without the zeros, with a buffer for the full rows.
    Lists(&'a mut InputLists, &'a mut [f32]),
}

/// The resources of a gradient step in place.
pub(crate) struct Descent<'a> {
    pub(crate) kernel: Kernel,
    /// The factor of the gradient that is added to the weights.
    pub(crate) factor: f32,
    pub(crate) workspace: &'a mut Workspace,
    /// Holds the derivatives by the bias.
    pub(crate) buffer: &'a mut Vec<f32>,
    pub(crate) weights: &'a mut [f32],
}

impl Dense {
    /// Writes y to `outputs`. Each sum starts from the bias and goes over increasing inputs.
    pub(crate) fn forward(&self, means: &mut Means<'_>, inputs: Inputs<'_>, outputs: &mut [f32]) {
        let bias = &means.weights[self.bias.clone()];
        for row in outputs.chunks_exact_mut(self.outputs) {
            for (output, bias) in row.iter_mut().zip(bias) {
                // A row without inputs would keep a bias of -0, so it becomes +0.
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

    /// Adds the derivatives by W and b and writes those by the inputs, as
    /// [`Step::backward`](super::Step::backward) describes. On return, `delta` holds the derivatives by the
    /// sums before the activation.
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

    /// The derivatives by the inputs alone, as [`Dense::backward`] computes them.
    pub(crate) fn backward_frozen(
        &self,
        means: &mut Means<'_>,
        outputs: &[f32],
        delta: &mut [f32],
        input_delta: &mut [f32],
    ) {
        self.activation.backward(outputs, delta);
        self.input_delta(means.kernel, means.workspace, means.weights, delta, input_delta);
    }

    /// Like [`Dense::backward`], but adds the step's factor times the gradient to the weights themselves,
    /// after computing the derivatives by the inputs.
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
            // A zero times an infinity or NaN is NaN, so the zeros must take part.
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
