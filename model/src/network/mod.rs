//! A validated network: where its parameters lie, and what it is made of. [`penalty`], [`passes`] and [`walk`] hold
//! what is computed with it.

mod passes;
mod penalty;
mod scratch;
mod walk;

use crate::compile::{self, Compiled};
use crate::initialize::Start;
use crate::layers::dense::Dense;
use crate::layers::{Layer, Step};
use crate::layout::{ParameterBlock, ParameterKind};
use crate::loss::Loss;
use crate::shape::Shape;
use crate::spec::{LayerSpec, NetworkSpec, SpecError, Task};
use crate::summary::LayerSummary;

pub use passes::GradientResults;
pub use scratch::Scratch;
pub(crate) use walk::Target;

/// A validated network with a flat parameter vector.
///
/// The vector holds each layer's parameters after the last's, in row-major order without padding, for example a dense
/// layer's weights `[inputs, outputs]` and then its biases `[outputs]`; [`Network::layout`] tells where. After all that is
/// learned, its first [`Network::trainable`] elements, comes a tail with the statistics of batch normalizations.
#[derive(Debug, Clone)]
pub struct Network {
    spec: NetworkSpec,
    task: Task,
    /// The shape of an example, then of each layer's answer.
    shapes: Vec<Shape>,
    pub(crate) steps: Vec<Step>,
    layers: Vec<LayerSummary>,
    layout: Vec<ParameterBlock>,
    /// How each block of the layout starts.
    starts: Vec<Start>,
    loss: Loss,
    parameters: usize,
    /// How many of them are learned.
    trainable: usize,
}

impl Network {
    /// Checks `spec` against the data's number of features and the task, and appends the output layer: dense, without
    /// an activation, as wide as the task asks.
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

    /// The specification this network was made from.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// What is learned.
    pub fn task(&self) -> Task {
        self.task
    }

    /// How many features an example has.
    pub fn features(&self) -> usize {
        self.shapes[0].len()
    }

    /// The shape of an example, then of what each layer of the specification and at last the output layer makes of it.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The shapes in one line, without those of activations, batch normalizations and dropouts: `784-128-10`.
    pub fn outline(&self) -> String {
        let is_told = |i: usize| match self.spec.layers.get(i) {
            Some(LayerSpec::Activation(_) | LayerSpec::BatchNorm | LayerSpec::Dropout(_)) => false,
            Some(_) | None => true,
        };
        let answers = self.shapes[1..].iter().enumerate().filter(|(i, _)| is_told(*i));
        answers.fold(self.shapes[0].to_string(), |outline, (_, shape)| format!("{outline}-{shape}"))
    }

    /// What each layer costs, first to last, those inside a residual block after the block itself; the output layer is the
    /// last.
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

    /// How many parameters are learned: the first of the parameter vector, before the statistics.
    pub fn trainable(&self) -> usize {
        self.trainable
    }

    /// The blocks of the parameter vector, in order and without gaps.
    pub fn layout(&self) -> &[ParameterBlock] {
        &self.layout
    }

    /// The weights a run with this seed starts from: as each layer's initializer says, by default uniform He before a relu
    /// and those like it, uniform Glorot otherwise; biases 0, gains 1. Each weight block has a random stream of its own (ChaCha8,
    /// keyed by the seed and the block's name).
    pub fn initialize(&self, seed: u64) -> Vec<f32> {
        let mut weights = vec![0.0; self.parameters];
        for (block, start) in self.layout.iter().zip(&self.starts) {
            start.fill(&block.name, seed, &mut weights[block.range.clone()]);
        }
        weights
    }

    /// The weight decay, as in [`NetworkSpec::l2`].
    pub fn l2(&self) -> f32 {
        self.spec.l2
    }

    /// Whether anything in the network is observed and not learned, namely by batch normalization.
    pub fn has_statistics(&self) -> bool {
        self.trainable < self.parameters
    }

    /// Whether training and inference compute the same of an example: without dropout and batch normalization.
    pub fn infers_as_it_trains(&self) -> bool {
        !self.has_statistics() && !self.steps.iter().any(|step| matches!(step.layer, Layer::Dropout(_)))
    }

    /// Checks that a training with minibatches of this size can learn: a single example less its own mean is zero,
    /// whatever it is.
    ///
    /// # Errors
    /// [`SpecError::MinibatchOfOne`] for batch normalization of one example at a time.
    pub fn check_normalization(&self, minibatch: usize) -> Result<(), SpecError> {
        if self.has_statistics() && minibatch == 1 { Err(SpecError::MinibatchOfOne) } else { Ok(()) }
    }

    /// Whether leaving the zeros of the inputs out is of use: knowing where they are makes a difference.
    pub fn skips_zeros(&self) -> bool {
        self.first_dense().is_some()
    }

    /// The first layer, if it is one that can leave zeros out and nothing else sees the inputs.
    pub(crate) fn first_dense(&self) -> Option<&Dense> {
        match &self.steps.first()?.layer {
            Layer::Dense(dense) => {
                let seen = self.steps.iter().any(|step| step.layer.shortcut_from() == Some(0));
                (!seen).then_some(dense)
            }
            _ => None,
        }
    }

    /// What the network consists of.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }
}
