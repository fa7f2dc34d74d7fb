//! The layers. Each file holds a layer's forward pass beside its backward pass.

pub(crate) mod activation;
pub(crate) mod batch_norm;
pub(crate) mod conv2d;
pub(crate) mod dense;
pub(crate) mod dropout;
pub(crate) mod embedding;
pub(crate) mod layer_norm;
pub(crate) mod pool;
pub(crate) mod residual;
pub(crate) mod window;

use crate::kernels::{Kernel, Workspace};
use crate::pass::Mode;
use crate::spec::Activation;
use batch_norm::BatchNorm;
use conv2d::Conv2d;
use dense::{Dense, Inputs};
use dropout::Dropout;
use embedding::Embedding;
use layer_norm::LayerNorm;
use pool::Pool;
use residual::Sum;

/// One step of a compiled network, from `inputs` values per example to `outputs` values.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) layer: Layer,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Whether its parameters stay as they are in training: no derivative by them is computed.
    pub(crate) frozen: bool,
}

/// The computation of a step, with the ranges of its parameters in the flat vector.
#[derive(Debug, Clone)]
pub(crate) enum Layer {
    Dense(Dense),
    Conv2d(Conv2d),
    LayerNorm(LayerNorm),
    BatchNorm(BatchNorm),
    Embedding(Embedding),
    Pool(Pool),
    Dropout(Dropout),
    /// The end of a residual block.
    Sum(Sum),
    /// One function for every value.
    Activation(Activation),
}

/// The resources that every step computes with.
pub(crate) struct Means<'a> {
    pub(crate) kernel: Kernel,
    pub(crate) workspace: &'a mut Workspace,
    /// A buffer for temporary values of a step.
    pub(crate) buffer: &'a mut Vec<f32>,
    /// The whole flat vector.
    pub(crate) weights: &'a [f32],
    /// The tail of the flat vector: the running statistics.
    pub(crate) running: &'a [f32],
    /// The statistics of the current minibatch, in the same places as the running ones.
    pub(crate) observed: &'a mut [f32],
    pub(crate) mode: Mode<'a>,
}

/// The inputs and outputs of a step in the forward pass, row-major with one row per example.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) inputs: &'a [f32],
    /// The inputs of a residual block's first step, for the block's [`Sum`]; empty for all other steps.
    pub(crate) shortcut: &'a [f32],
    pub(crate) outputs: &'a [f32],
}

/// Where a step writes derivatives, as far as they are wanted.
pub(crate) struct Deltas<'a> {
    /// By its inputs.
    pub(crate) inputs: Option<&'a mut [f32]>,
    /// By [`Seen::shortcut`].
    pub(crate) shortcut: Option<&'a mut [f32]>,
}

impl Layer {
    /// Whether it has parameters, apart from those of a projection.
    fn has_own_parameters(&self) -> bool {
        match self {
            Layer::Dense(_)
            | Layer::Conv2d(_)
            | Layer::LayerNorm(_)
            | Layer::BatchNorm(_)
            | Layer::Embedding(_) => true,
            Layer::Sum(_) | Layer::Pool(_) | Layer::Dropout(_) | Layer::Activation(_) => false,
        }
    }

    /// The step whose inputs this layer's shortcut takes.
    pub(crate) fn shortcut_from(&self) -> Option<usize> {
        match self {
            Layer::Sum(sum) => Some(sum.from),
            _ => None,
        }
    }
}

impl Means<'_> {
    /// Makes the buffer at least this long.
    fn make_room(&mut self, length: usize) {
        if self.buffer.len() < length {
            self.buffer.reserve_exact(length - self.buffer.len());
            self.buffer.resize(length, 0.0);
        }
    }
}

impl Step {
    /// Writes the outputs for all the examples in `inputs`. `shortcut` is as in [`Seen`].
    pub(crate) fn forward(
        &self,
        means: &mut Means<'_>,
        shortcut: &[f32],
        inputs: &[f32],
        outputs: &mut [f32],
    ) {
        match &self.layer {
            Layer::Dense(dense) => dense.forward(means, Inputs::Rows(inputs), outputs),
            Layer::Conv2d(conv2d) => conv2d.forward(means, inputs, outputs),
            Layer::LayerNorm(layer_norm) => layer_norm.forward(means, inputs, outputs),
            Layer::BatchNorm(batch_norm) => batch_norm.forward(means, inputs, outputs),
            Layer::Embedding(embedding) => embedding.forward(means, inputs, outputs),
            Layer::Dropout(dropout) => dropout.apply(means, inputs, outputs),
            Layer::Sum(sum) => sum.forward(means, shortcut, inputs, outputs),
            Layer::Pool(pool) => pool.forward(inputs, outputs),
            Layer::Activation(activation) => {
                outputs.copy_from_slice(inputs);
                activation.forward(outputs);
            }
        }
    }

    /// Adds the derivatives by the step's parameters to `gradient` (the whole flat vector), each element over
    /// increasing examples, and writes the derivatives by the inputs to `deltas`, if wanted. On entry,
    /// `delta` holds the derivatives by the outputs; on return, its contents are unspecified.
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &mut [f32],
        gradient: &mut [f32],
        deltas: Deltas<'_>,
    ) {
        if self.frozen && self.layer.has_own_parameters() {
            return self.backward_frozen(means, seen, delta, gradient, deltas.inputs);
        }
        let input_delta = deltas.inputs;
        match &self.layer {
            Layer::Dense(dense) => {
                let inputs = Inputs::Rows(seen.inputs);
                dense.backward(means, inputs, seen.outputs, delta, gradient, input_delta);
            }
            Layer::Conv2d(conv2d) => conv2d.backward(means, seen, delta, gradient, input_delta),
            Layer::LayerNorm(layer_norm) => layer_norm.backward(means, seen, delta, gradient, input_delta),
            Layer::BatchNorm(batch_norm) => batch_norm.backward(means, seen, delta, gradient, input_delta),
            Layer::Embedding(embedding) => embedding.backward(seen.inputs, delta, gradient),
            Layer::Dropout(dropout) => {
                if let Some(input_delta) = input_delta {
                    dropout.apply(means, delta, input_delta);
                }
            }
            Layer::Sum(sum) => {
                if let Some(input_delta) = input_delta {
                    input_delta.copy_from_slice(delta);
                }
                sum.backward(means, seen, delta, gradient, deltas.shortcut);
            }
            Layer::Pool(pool) => {
                if let Some(input_delta) = input_delta {
                    pool.backward(seen, delta, input_delta);
                }
            }
            Layer::Activation(activation) => {
                let Some(input_delta) = input_delta else { return };
                input_delta.copy_from_slice(delta);
                activation
                    .backward(if activation.needs_sums() { seen.inputs } else { seen.outputs }, input_delta);
            }
        }
    }
}

impl Step {
    /// Whether it has parameters to learn.
    pub(crate) fn learns(&self) -> bool {
        match &self.layer {
            Layer::Sum(sum) => sum.projection.as_ref().is_some_and(|projection| projection.learns()),
            layer => layer.has_own_parameters() && !self.frozen,
        }
    }

    /// [`Step::backward`] of a step whose parameters stay as they are: writes the derivatives by the inputs, if
    /// wanted. Its part of `gradient` stays 0.
    fn backward_frozen(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &mut [f32],
        gradient: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) {
        let Some(input_delta) = input_delta else { return };
        match &self.layer {
            Layer::Dense(dense) => dense.backward_frozen(means, seen.outputs, delta, input_delta),
            Layer::Conv2d(conv2d) => conv2d.backward_frozen(means, seen.outputs, delta, input_delta),
            Layer::BatchNorm(batch_norm) => batch_norm.backward_frozen(means, delta, input_delta),
            Layer::LayerNorm(layer_norm) => {
                // Its derivatives by its few parameters are a by-product.
                layer_norm.backward(means, seen, delta, gradient, Some(input_delta));
                gradient[layer_norm.gain.clone()].fill(0.0);
                gradient[layer_norm.bias.clone()].fill(0.0);
            }
            // The integers that it looks up have no derivatives.
            Layer::Embedding(_) => {}
            Layer::Sum(_) | Layer::Pool(_) | Layer::Dropout(_) | Layer::Activation(_) => {
                unreachable!("a step without parameters of its own")
            }
        }
    }
}

/// The sum of the values. They are added to eight running sums in turn, which are then added in order.
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    for chunk in values.chunks(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().fold(0.0, |total, sum| total + sum)
}
