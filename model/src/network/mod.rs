//! A validated network: its steps and its parameters. [`penalty`], [`passes`] and [`walk`] compute with it.

mod passes;
mod penalty;
mod scratch;
mod walk;

use crate::compile::{self, Compiled};
use crate::initialize::Start;
use crate::layers::dense::Dense;
use crate::layers::{Layer, Step};
use crate::layout::{ParameterBlock, ParameterKind};
use crate::loss::{Loss, LossBounds};
use crate::shape::Shape;
use crate::spec::{LayerSpec, NetworkSpec, SpecError, Task};
use crate::summary::LayerSummary;

pub use passes::{ExampleLoss, GradientResults, likeliest};
pub use scratch::Scratch;
pub(crate) use walk::Target;

/// A validated network with a flat parameter vector.
///
/// The vector holds the parameters layer by layer, in row-major order without padding: for example, a dense
/// layer's weights `[inputs, outputs]` and then its biases `[outputs]`. [`Network::layout`] names the blocks.
/// The first [`Network::trainable`] elements are learned. The tail holds the statistics of batch
/// normalizations.
#[derive(Debug, Clone)]
pub struct Network {
    spec: NetworkSpec,
    task: Task,
    /// The shape of an example, then of each layer's outputs.
    shapes: Vec<Shape>,
    pub(crate) steps: Vec<Step>,
    layers: Vec<LayerSummary>,
    layout: Vec<ParameterBlock>,
    /// The initialization of each block of the layout.
    starts: Vec<Start>,
    loss: Loss,
    parameters: usize,
    /// The number of parameters that are learned.
    trainable: usize,
}

impl Network {
    /// Checks `spec` against the data's number of features and the task, and appends the output layer: dense,
    /// without an activation, as wide as the task requires.
    ///
    /// # Errors
    /// The first problem of the specification, with the place and the remedy.
    pub fn new(spec: &NetworkSpec, features: usize, task: Task) -> Result<Network, SpecError> {
        let Compiled { shapes, steps, layers, layout, starts, loss, .. } =
            compile::compile(spec, features, task)?;
        let parameters = layout.last().map_or(0, |block| block.range.end);
        let learned = layout.iter().rfind(|block| block.kind != ParameterKind::Statistic);
        let trainable = learned.map_or(0, |block| block.range.end);
        Ok(Network {
            spec: spec.clone(),
            task,
            shapes,
            steps,
            layers,
            layout,
            starts,
            loss,
            parameters,
            trainable,
        })
    }

    /// The specification of this network.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// The task: classes or numbers.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The number of features of an example.
    pub fn features(&self) -> usize {
        self.shapes[0].len()
    }

    /// The shape of an example, then of the outputs of each layer; the output layer is the last.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The shapes in one line, leaving out activations, batch normalizations and dropouts: `784-128-10`.
    pub fn outline(&self) -> String {
        let is_told = |i: usize| match self.spec.layers.get(i) {
            Some(LayerSpec::Activation(_) | LayerSpec::BatchNorm(_) | LayerSpec::Dropout(_)) => false,
            Some(_) | None => true,
        };
        let answers = self.shapes[1..].iter().enumerate().filter(|(i, _)| is_told(*i));
        answers.fold(self.shapes[0].to_string(), |outline, (_, shape)| format!("{outline}-{shape}"))
    }

    /// The costs of each layer, first to last. Layers inside a residual block follow the block itself; the
    /// output layer is the last.
    pub fn layers(&self) -> &[LayerSummary] {
        &self.layers
    }

    /// The number of classes or of target columns.
    pub fn outputs(&self) -> usize {
        self.task.outputs() as usize
    }

    /// The length of the parameter vector.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The number of learned parameters. They come first in the parameter vector, before the statistics.
    pub fn trainable(&self) -> usize {
        self.trainable
    }

    /// The blocks of the parameter vector, in order and without gaps.
    pub fn layout(&self) -> &[ParameterBlock] {
        &self.layout
    }

    /// The initial weights of a run with this seed, drawn by each layer's initializer. The defaults are
    /// uniform He before relu and similar activations, and uniform Glorot otherwise. Biases start at 0, gains
    /// at 1. Each weight block has its own random stream (ChaCha8, keyed by the seed and the block's name).
    pub fn initialize(&self, seed: u64) -> Vec<f32> {
        let mut weights = vec![0.0; self.parameters];
        for (block, start) in self.layout.iter().zip(&self.starts) {
            start.fill(&block.name, seed, &mut weights[block.range.clone()]);
        }
        weights
    }

    /// The possible values of an example's loss, without the penalty.
    pub fn loss_bounds(&self) -> LossBounds {
        self.loss.bounds(self.outputs())
    }

    /// The weight decay, as in [`NetworkSpec::l2`].
    pub fn l2(&self) -> f32 {
        self.spec.l2
    }

    /// Whether the network has statistics, which batch normalization observes rather than learns.
    pub fn has_statistics(&self) -> bool {
        self.trainable < self.parameters
    }

    /// Whether training and inference compute the same function: true without dropout and batch
    /// normalization.
    pub fn infers_as_it_trains(&self) -> bool {
        !self.has_statistics() && !self.steps.iter().any(|step| matches!(step.layer, Layer::Dropout(_)))
    }

    /// Checks that training with minibatches of this size can learn: the difference between a single example
    /// and its own mean is always zero.
    ///
    /// # Errors
    /// [`SpecError::MinibatchOfOne`] for batch normalization of one example at a time.
    pub fn check_normalization(&self, minibatch: usize) -> Result<(), SpecError> {
        if self.has_statistics() && minibatch == 1 { Err(SpecError::MinibatchOfOne) } else { Ok(()) }
    }

    /// Whether the network can leave out zeros of its inputs, so that lists of nonzero inputs are useful.
    pub fn skips_zeros(&self) -> bool {
        self.first_dense().is_some()
    }

    /// The first layer, if zeros can be left out of its inputs: it is dense, and no shortcut takes them.
    pub(crate) fn first_dense(&self) -> Option<&Dense> {
        match &self.steps.first()?.layer {
            Layer::Dense(dense) => {
                let seen = self.steps.iter().any(|step| step.layer.shortcut_from() == Some(0));
                (!seen).then_some(dense)
            }
            _ => None,
        }
    }

    /// The steps, first to last.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }
}
