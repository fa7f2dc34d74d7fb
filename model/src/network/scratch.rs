//! Buffers that computations reuse.

use crate::kernels::Workspace;
use crate::nonzeros::InputLists;
use crate::spec::DEPTH_MAX;

use super::Network;

/// The buffers of a computation. They grow to the network's needs at the first call and are reused afterward.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The inputs of a sub-batch, then each step's outputs, row-major.
    pub(crate) activations: Vec<Vec<f32>>,
    /// The derivatives by a step's outputs and by its inputs, alternating.
    pub(super) deltas: [Vec<f32>; 2],
    /// The derivatives that shortcuts carry past residual blocks' layers, one buffer per nesting depth.
    pub(super) shortcut_deltas: [Vec<f32>; DEPTH_MAX],
    /// The statistics of a minibatch, if there is batch normalization.
    pub(super) observed: Vec<f32>,
    pub(super) workspace: Workspace,
    /// A step's own buffer.
    pub(super) buffer: Vec<f32>,
    /// The nonzero inputs of a sub-batch, if `takes_lists`. The first activations are then not filled.
    pub(crate) lists: InputLists,
    pub(crate) takes_lists: bool,
    /// The gradient of one local step, and the targets of its examples.
    pub(crate) gradient: Vec<f32>,
    pub(crate) picked_classes: Vec<u16>,
    pub(crate) picked_numbers: Vec<f32>,
}

impl Scratch {
    /// Empty buffers.
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Makes room for `examples` examples at a time.
    pub(crate) fn make_room(&mut self, network: &Network, examples: usize) {
        if self.activations.len() < network.steps.len() + 1 {
            self.activations.resize_with(network.steps.len() + 1, Vec::new);
        }
        grow(&mut self.activations[0], examples * network.features());
        for (step, outputs) in network.steps.iter().zip(&mut self.activations[1..]) {
            grow(outputs, examples * step.outputs);
        }
        let widest = network.steps.iter().map(|step| step.outputs).max().unwrap_or(0);
        for delta in &mut self.deltas {
            grow(delta, examples * widest);
        }
        for step in &network.steps {
            let Some(from) = step.layer.shortcut_from() else { continue };
            // The nesting depth is only known in the backward pass, so every depth gets room for the largest
            // shortcut.
            self.shortcut_deltas.iter_mut().for_each(|delta| grow(delta, examples * network.inputs_of(from)));
        }
        grow(&mut self.observed, network.parameters - network.trainable);
    }
}

fn grow(buffer: &mut Vec<f32>, length: usize) {
    if buffer.len() < length {
        // Reserves no more than needed, as `footprint` assumes.
        buffer.reserve_exact(length - buffer.len());
        buffer.resize(length, 0.0);
    }
}
