//! The path of one sub-batch through the layers: forward, the loss, and backward.

use std::ops::Range;

use crate::examples::{Features, Targets};
use crate::kernels::Kernel;
use crate::layers::dense::{Descent, Inputs};
use crate::layers::{Deltas, Layer, Means, Seen, Step};
use crate::loss::{self, Loss};
use crate::pass::Mode;
use crate::spec::DEPTH_MAX;

use super::{Network, Scratch};

impl Network {
    /// Fills `scratch.activations` for these rows of the examples: the preprocessed inputs, then each step's
    /// outputs.
    pub(super) fn forward(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        mode: Mode<'_>,
        features: &Features<'_>,
        rows: Range<usize>,
    ) {
        let count = rows.len();
        assert_eq!(features.width(), self.features(), "rows of another width");
        assert_eq!(features.preprocessing.len(), self.features(), "preprocessing of another width");
        scratch.make_room(self, count);
        scratch.takes_lists = features.nonzeros.is_some();
        if let Some(nonzeros) = features.nonzeros {
            scratch.lists.clear();
            for row in rows {
                scratch.lists.push(&features.rows, &nonzeros, features.preprocessing, row);
            }
        } else {
            let inputs = &mut scratch.activations[0][..count * self.features()];
            features.preprocessing.apply(&features.rows, rows.start, inputs);
        }
        self.forward_layers(kernel, scratch, weights, mode, count);
    }

    /// [`Network::forward`] once the preprocessed inputs are in the scratch.
    pub(crate) fn forward_layers(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        mode: Mode<'_>,
        count: usize,
    ) {
        assert_eq!(weights.len(), self.parameters, "weights of another network");
        let Scratch { activations, workspace, buffer, observed, lists, takes_lists, .. } = scratch;
        let running = &weights[self.trainable..];
        let mut means = Means { kernel, workspace, buffer, weights, running, observed, mode };
        for (i, step) in self.steps.iter().enumerate() {
            let (before, after) = activations.split_at_mut(i + 1);
            let outputs = &mut after[0][..count * step.outputs];
            if let (Layer::Dense(dense), 0, true) = (&step.layer, i, *takes_lists) {
                let inputs = &mut before[0][..count * step.inputs];
                dense.forward(&mut means, Inputs::Lists(lists, inputs), outputs);
            } else {
                let inputs = &before[i][..count * step.inputs];
                step.forward(&mut means, self.shortcut(step, before, count), inputs, outputs);
            }
        }
    }

    /// Writes the losses of a sub-batch and replaces its outputs by the derivatives of the losses.
    pub(crate) fn loss(
        &self,
        scratch: &mut Scratch,
        targets: &Targets<'_>,
        rows: Range<usize>,
        losses: &mut [f32],
    ) -> u32 {
        let outputs = &mut scratch.activations[self.steps.len()][..rows.len() * self.outputs()];
        self.loss_of(outputs, targets, rows, losses)
    }

    /// The same of these outputs, those of the examples `rows`.
    pub(crate) fn loss_of(
        &self,
        outputs: &mut [f32],
        targets: &Targets<'_>,
        rows: Range<usize>,
        losses: &mut [f32],
    ) -> u32 {
        let width = self.outputs();
        match (&self.loss, targets) {
            (Loss::SoftmaxCrossEntropy { smoothing, weights }, Targets::Classes(classes)) => {
                let classes = &classes[rows];
                loss::softmax_cross_entropy(outputs, width, classes, (*smoothing, weights), losses)
            }
            (loss, Targets::Numbers(numbers)) => {
                assert_eq!(numbers.ncols(), width, "targets of another width");
                loss.of_numbers(outputs, numbers, rows.start, losses);
                0
            }
            (loss, Targets::Classes(_)) => panic!("class targets for {loss:?}"),
        }
    }

    /// Adds a sub-batch's gradient. [`Network::forward`] and [`Network::loss`] must have filled `scratch`.
    pub(crate) fn backward(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        mut target: Target<'_>,
        mode: Mode<'_>,
        count: usize,
    ) {
        let Scratch {
            activations,
            deltas,
            shortcut_deltas,
            observed,
            workspace,
            buffer,
            lists,
            takes_lists,
            ..
        } = scratch;
        let [delta_buffer, input_delta_buffer] = deltas;
        let answers = count * self.outputs();
        delta_buffer[..answers].copy_from_slice(&activations[self.steps.len()][..answers]);
        let lowest = self.lowest_step();
        // The first steps of the residual blocks around the current step, the innermost last.
        let mut open = [0; DEPTH_MAX];
        let mut depth = 0;
        for (i, step) in self.steps.iter().enumerate().skip(lowest).rev() {
            let mut shortcut_delta = None;
            if let Some(from) = step.layer.shortcut_from().filter(|&from| from > lowest) {
                open[depth] = from;
                shortcut_delta = Some(&mut shortcut_deltas[depth][..count * self.inputs_of(from)]);
                depth += 1;
            }
            let delta = &mut delta_buffer[..count * step.outputs];
            let input_delta = (i > lowest).then(|| &mut input_delta_buffer[..count * step.inputs]);
            let (before, after) = activations.split_at_mut(i + 1);
            let outputs = &after[0][..count * step.outputs];
            match (&step.layer, &mut target) {
                (Layer::Dense(dense), Target::InPlace { weights, factor, .. }) if !step.frozen => {
                    let inputs = &mut before[i][..count * step.inputs];
                    let of_lists = i == 0 && *takes_lists;
                    let inputs = if of_lists { Inputs::Lists(lists, inputs) } else { Inputs::Rows(inputs) };
                    let factor = *factor;
                    let descent = Descent { kernel, factor, workspace, buffer, weights };
                    dense.descend(descent, inputs, outputs, delta, input_delta);
                }
                (layer, target) => {
                    let (weights, gradient) = target.for_gradient();
                    let running = &weights[self.trainable..];
                    let mut means = Means { kernel, workspace, buffer, weights, running, observed, mode };
                    if let (Layer::Dense(dense), 0, true) = (layer, i, *takes_lists) {
                        let inputs = Inputs::Lists(lists, &mut before[0][..count * step.inputs]);
                        dense.backward(&mut means, inputs, outputs, delta, gradient, input_delta);
                    } else {
                        let inputs = &before[i][..count * step.inputs];
                        let seen = Seen { inputs, shortcut: self.shortcut(step, before, count), outputs };
                        let deltas = Deltas { inputs: input_delta, shortcut: shortcut_delta };
                        step.backward(&mut means, seen, delta, gradient, deltas);
                    }
                }
            }
            while depth > 0 && open[depth - 1] == i {
                depth -= 1;
                let through_layers = &mut input_delta_buffer[..count * step.inputs];
                let through_shortcut = &shortcut_deltas[depth][..count * step.inputs];
                through_layers.iter_mut().zip(through_shortcut).for_each(|(sum, delta)| *sum += delta);
            }
            std::mem::swap(delta_buffer, input_delta_buffer);
        }
    }

    /// The inputs of a step's shortcut; empty without one.
    fn shortcut<'a>(&self, step: &Step, activations: &'a [Vec<f32>], count: usize) -> &'a [f32] {
        let from = step.layer.shortcut_from();
        from.map_or(&[], |from| &activations[from][..count * self.inputs_of(from)])
    }

    /// The first step with parameters to learn. No derivative is needed below it.
    fn lowest_step(&self) -> usize {
        self.steps.iter().position(Step::learns).unwrap_or(0)
    }

    pub(super) fn inputs_of(&self, step: usize) -> usize {
        self.steps[step].inputs
    }
}

/// The destination of a gradient. All derivatives are at the weights before any change.
pub(crate) enum Target<'a> {
    /// The gradient is added to `gradient`.
    Gradient { weights: &'a [f32], gradient: &'a mut [f32] },
    /// A dense step's gradient, times `factor`, is added to the weights themselves. All other gradients are
    /// added to `gradient`.
    InPlace { weights: &'a mut [f32], factor: f32, gradient: &'a mut [f32] },
}

impl Target<'_> {
    /// The weights, and the gradient to add to.
    fn for_gradient(&mut self) -> (&[f32], &mut [f32]) {
        match self {
            Target::Gradient { weights, gradient } => (weights, gradient),
            Target::InPlace { weights, gradient, .. } => (weights, gradient),
        }
    }
}
