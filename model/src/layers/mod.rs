//! The layers: each file holds a layer's forward beside its backward.

pub(crate) mod activation;
pub(crate) mod dense;

use crate::kernels::{Kernel, Workspace};
use crate::spec::Activation;
use dense::Dense;

/// One step of a compiled network, from `inputs` values an example to `outputs` values.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) layer: Layer,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// What a step computes, with where its parameters lie in the flat vector.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    Dense(Dense),
    /// One function for every value.
    Activation(Activation),
}

/// What every step computes with.
pub(crate) struct Means<'a> {
    pub(crate) kernel: Kernel,
    pub(crate) workspace: &'a mut Workspace,
    /// The whole flat vector.
    pub(crate) weights: &'a [f32],
}

/// What a step saw and answered on the way forward, row-major with one row an example.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) inputs: &'a [f32],
    pub(crate) outputs: &'a [f32],
}

impl Step {
    /// Writes the outputs of all the examples in `inputs`.
    pub(crate) fn forward(&self, means: &mut Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        match &self.layer {
            Layer::Dense(dense) => dense.forward(means, inputs, outputs),
            Layer::Activation(activation) => {
                outputs.copy_from_slice(inputs);
                activation.forward(outputs);
            }
        }
    }

    /// Adds the derivatives by the step's parameters to `gradient` (the whole flat vector), each element going over
    /// increasing examples, and writes the derivatives by the inputs to `input_delta`, if given. On entry `delta` holds
    /// the derivatives by the outputs; on return it is used up.
    pub(crate) fn backward(
        &self,
        means: &mut Means<'_>,
        seen: Seen<'_>,
        delta: &mut [f32],
        gradient: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) {
        match &self.layer {
            Layer::Dense(dense) => dense.backward(means, seen, delta, gradient, input_delta),
            Layer::Activation(activation) => {
                let Some(input_delta) = input_delta else { return };
                input_delta.copy_from_slice(delta);
                activation
                    .backward(if activation.needs_sums() { seen.inputs } else { seen.outputs }, input_delta);
            }
        }
    }
}
