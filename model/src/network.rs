//! A validated network: where its parameters lie, and its loss and gradient over some examples.

use std::ops::Range;

use crate::arithmetic::Arithmetic;
use crate::compile::{self, Compiled};
use crate::examples::{Examples, Features, Targets};
use crate::initialize::Start;
use crate::kernels::{Kernel, Workspace, all_finite};
use crate::layers::dense::{Dense, Inputs};
use crate::layers::{Deltas, Layer, Means, Seen, Step};
use crate::loss::{self, Loss};
use crate::nonzeros::InputLists;
use crate::pass::{Masks, Mode, Pass};
use crate::shape::Shape;
use crate::spec::{Activation, DEPTH_MAX, LayerSpec, MINIBATCH_VALUES_MAX, NetworkSpec, SpecError, Task};
use crate::summary::LayerSummary;

/// The most examples that go through the network at a time, so that activations stay in the cache. No result depends
/// on it, because gradients accumulate in the order of the examples.
const SUB_BATCH_MAX: usize = 256;

/// The most `f32` that one layer's activations may take in a sub-batch: very wide layers get fewer examples at a time.
const SUB_BATCH_VALUES_MAX: usize = 1 << 20;

/// The most `f32` that all layers' activations may take in a sub-batch, 64 MiB: very deep networks likewise.
const ALL_VALUES_MAX: usize = 1 << 24;

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

/// One named part of the flat parameter vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterBlock {
    /// For example `layers.0.weight`; layers are counted from 0, the last is the output layer.
    pub name: String,
    /// `[inputs, outputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// Where its elements lie, in row-major order.
    pub range: Range<usize>,
    /// What its elements are.
    pub kind: ParameterKind,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// Multiplies an input. The only kind to which the penalties apply.
    Weight,
    /// Is added to a sum.
    Bias,
    /// Multiplies a normalized value.
    Gain,
    /// Is not learned but observed: a running mean or variance.
    Statistic,
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

    /// `l2 / 2` times the sum of the squared weights (not biases) and `l1` times the sum of their sizes, to be added to the
    /// mean loss.
    ///
    /// The terms go into eight running sums in turn, which are then added in order: one fixed order, eight at a time.
    ///
    /// # Panics
    /// If `weights` are neither all the parameters nor those that are learned.
    pub fn penalty(&self, weights: &[f32]) -> f64 {
        self.assert_trainable(weights.len());
        let mut penalty = 0.0;
        if self.spec.l2 != 0.0 {
            penalty +=
                0.5 * f64::from(self.spec.l2) * self.sum_over_weights(weights, |weight| weight * weight);
        }
        if self.spec.l1 != 0.0 {
            penalty += f64::from(self.spec.l1) * self.sum_over_weights(weights, f64::abs);
        }
        penalty
    }

    fn sum_over_weights(&self, weights: &[f32], term: impl Fn(f64) -> f64) -> f64 {
        let mut total = 0.0;
        for block in self.layout.iter().filter(|block| block.kind == ParameterKind::Weight) {
            let mut sums = [0.0f64; 8];
            for chunk in weights[block.range.clone()].chunks(sums.len()) {
                for (sum, &weight) in sums.iter_mut().zip(chunk) {
                    *sum += term(f64::from(weight));
                }
            }
            total += sums.iter().fold(0.0, |total, sum| total + sum);
        }
        total
    }

    /// Adds the gradient of [`Network::penalty`], `l2` times each weight (not bias) and `l1` times its sign (0 for 0), to
    /// `gradient`, in the precision of `gradient`: `f32` or `f64`.
    ///
    /// # Panics
    /// If one of the two has elements neither for all the parameters nor for those that are learned.
    pub fn add_penalty_gradient<T>(&self, weights: &[f32], gradient: &mut [T])
    where
        T: Copy + From<f32> + std::ops::Add<Output = T> + std::ops::Mul<Output = T>,
    {
        self.assert_trainable(weights.len());
        self.assert_trainable(gradient.len());
        let NetworkSpec { l1, l2, .. } = self.spec;
        for block in self.layout.iter().filter(|block| block.kind == ParameterKind::Weight) {
            let pairs = || block.range.clone().map(|i| (i, weights[i]));
            if l2 != 0.0 {
                pairs().for_each(|(i, weight)| gradient[i] = gradient[i] + T::from(l2) * T::from(weight));
            }
            if l1 != 0.0 {
                let sign = |weight: f32| if weight == 0.0 { 0.0 } else { weight.signum() };
                pairs().for_each(|(i, weight)| gradient[i] = gradient[i] + T::from(l1 * sign(weight)));
            }
        }
    }

    /// Whether with the statistics or without does not matter.
    fn assert_trainable(&self, length: usize) {
        let fits = [self.trainable, self.parameters].contains(&length);
        assert!(fits, "{length} elements for a network of {} parameters", self.parameters);
    }

    /// Adds the gradient of the summed loss (without the penalties) of `examples` to `gradient`, writes each example's
    /// loss to `losses`, and returns how many predictions were correct (0 for numbers).
    ///
    /// Every element of the gradient accumulates over the examples in increasing order, starting from what it holds, so
    /// that two calls with consecutive examples (and [`Pass::first_example`] moved on) give the bits of one call with all
    /// of them; with batch normalization, if the first has whole minibatches. It is never left at -0 and must hold none. The tail, where the
    /// parameters are statistics, accumulates the statistics of the minibatches: the sum of their means and of their
    /// unbiased variances.
    ///
    /// # Panics
    /// If a length does not fit the network, or a class is not smaller than the number of classes.
    #[expect(clippy::too_many_arguments, reason = "what a gradient depends on is this much")]
    pub fn gradient(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        pass: &Pass,
        examples: &Examples<'_>,
        gradient: &mut [f32],
        losses: &mut [f32],
    ) -> u32 {
        self.gradient_with(Kernel::best(arithmetic), scratch, weights, pass, examples, gradient, losses)
    }

    /// [`Network::gradient`] with the kernel chosen by the caller.
    #[expect(clippy::too_many_arguments, reason = "what a gradient depends on is this much")]
    pub(crate) fn gradient_with(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        pass: &Pass,
        examples: &Examples<'_>,
        gradient: &mut [f32],
        losses: &mut [f32],
    ) -> u32 {
        assert_eq!(gradient.len(), self.parameters, "a gradient of another network");
        assert_eq!(losses.len(), examples.len(), "one loss an example");
        let features = self.with_usable_nonzeros(&examples.features, weights);
        let mut correct = 0;
        let batch = self.training_batch(pass.minibatch);
        for first in (0..examples.len()).step_by(batch) {
            let count = batch.min(examples.len() - first);
            let mode = Mode::Training(Masks::of(pass, first));
            self.forward(kernel, scratch, weights, mode, &features, first, count);
            correct += self.loss(scratch, &examples.targets, first, count, &mut losses[first..first + count]);
            self.backward(kernel, scratch, Target::Gradient { weights, gradient }, mode, count);
        }
        correct
    }

    /// Writes each example's loss (without the penalties) as [`Network::gradient`] would to `losses`: in training, with
    /// dropout and the statistics of the minibatches.
    ///
    /// # Panics
    /// If a length does not fit the network, or a class is not smaller than the number of classes.
    pub fn training_losses(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        pass: &Pass,
        examples: &Examples<'_>,
        losses: &mut [f32],
    ) {
        let mode = |first| Mode::Training(Masks::of(pass, first));
        let batch = self.training_batch(pass.minibatch);
        self.losses(Kernel::best(arithmetic), scratch, weights, (batch, mode), examples, losses);
    }

    /// Writes each example's loss (without the penalties) to `losses` and returns how many predictions were correct
    /// (0 for numbers): in inference, without dropout and with running statistics.
    ///
    /// # Panics
    /// If a length does not fit the network, or a class is not smaller than the number of classes.
    pub fn evaluate(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        examples: &Examples<'_>,
        losses: &mut [f32],
    ) -> u32 {
        let mode = (self.sub_batch(), |_| Mode::Inference);
        self.losses(Kernel::best(arithmetic), scratch, weights, mode, examples, losses)
    }

    /// With the number of examples in a sub-batch and, given the index of its first example, how it goes through.
    fn losses(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        (batch, mode): (usize, impl Fn(usize) -> Mode<'static>),
        examples: &Examples<'_>,
        losses: &mut [f32],
    ) -> u32 {
        assert_eq!(losses.len(), examples.len(), "one loss an example");
        let features = self.with_usable_nonzeros(&examples.features, weights);
        let mut correct = 0;
        for first in (0..examples.len()).step_by(batch) {
            let count = batch.min(examples.len() - first);
            self.forward(kernel, scratch, weights, mode(first), &features, first, count);
            correct += self.loss(scratch, &examples.targets, first, count, &mut losses[first..first + count]);
        }
        correct
    }

    /// Writes the network's answers to `outputs`, row-major `[examples, outputs]`: probabilities of the classes,
    /// probabilities of each column under binary cross-entropy, or numbers.
    ///
    /// # Panics
    /// If a length does not fit the network.
    pub fn predict(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        features: &Features<'_>,
        outputs: &mut [f32],
    ) {
        let width = self.outputs();
        assert_eq!(outputs.len(), features.len() * width, "one row of outputs an example");
        let kernel = Kernel::best(arithmetic);
        let features = &self.with_usable_nonzeros(features, weights);
        for first in (0..features.len()).step_by(self.sub_batch()) {
            let count = self.sub_batch().min(features.len() - first);
            self.forward(kernel, scratch, weights, Mode::Inference, features, first, count);
            let answers = &mut scratch.activations[self.steps.len()][..count * width];
            match self.loss {
                Loss::SoftmaxCrossEntropy { .. } => loss::softmax(answers, width),
                Loss::BinaryCrossEntropy => Activation::Sigmoid.forward(answers),
                Loss::MeanSquaredError | Loss::Huber { .. } => {}
            }
            outputs[first * width..(first + count) * width].copy_from_slice(answers);
        }
    }

    /// What the network consists of.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many examples go through the network at a time.
    pub(crate) fn sub_batch(&self) -> usize {
        let all: usize = self.steps.iter().map(|step| step.outputs).sum();
        (SUB_BATCH_VALUES_MAX / self.widest()).min(ALL_VALUES_MAX / all).clamp(1, SUB_BATCH_MAX)
    }

    /// The same in training: a minibatch where there is batch normalization, which needs all of it at once.
    pub(crate) fn training_batch(&self, minibatch: usize) -> usize {
        if self.has_statistics() {
            assert!(minibatch > 0, "a minibatch has an example");
            minibatch
        } else {
            self.sub_batch()
        }
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

    /// Checks that minibatches of this size do not take too much memory. Without batch normalization they never do.
    pub fn check_minibatch(&self, minibatch: usize) -> Result<(), SpecError> {
        let values = self.values_of_example();
        if self.has_statistics() && values.saturating_mul(minibatch as u64) > MINIBATCH_VALUES_MAX {
            return Err(SpecError::Minibatch { minibatch, values });
        }
        Ok(())
    }

    /// The most values that a step sees or answers with.
    fn widest(&self) -> usize {
        self.steps.iter().map(|step| step.inputs.max(step.outputs)).max().unwrap_or(1)
    }

    /// Fills `scratch.activations`: the preprocessed inputs, then each step's outputs, for examples `first ..` of a
    /// sub-batch of `count`.
    #[expect(clippy::too_many_arguments, reason = "a private step of the functions above")]
    fn forward(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        mode: Mode<'_>,
        features: &Features<'_>,
        first: usize,
        count: usize,
    ) {
        assert_eq!(features.width(), self.features(), "rows of another width");
        assert_eq!(features.preprocessing.len(), self.features(), "preprocessing of another width");
        scratch.make_room(self, count);
        scratch.takes_lists = features.nonzeros.is_some();
        if let Some(nonzeros) = features.nonzeros {
            scratch.lists.clear();
            for row in first..first + count {
                scratch.lists.push(&features.rows, &nonzeros, features.preprocessing, row);
            }
        } else {
            let inputs = &mut scratch.activations[0][..count * self.features()];
            features.preprocessing.apply(&features.rows, first, inputs);
        }
        self.forward_layers(kernel, scratch, weights, mode, count);
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

    /// `features` without knowledge of its zeros if that is of no use, or would keep a zero from meeting a weight that is
    /// infinite or not a number: their product is NaN.
    fn with_usable_nonzeros<'a>(&self, features: &Features<'a>, weights: &[f32]) -> Features<'a> {
        let is_usable = |dense: &Dense| all_finite(&weights[dense.weight.clone()]);
        let nonzeros = features.nonzeros.filter(|_| self.first_dense().is_some_and(is_usable));
        Features { nonzeros, ..*features }
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

    /// What a step takes a shortcut from, if it does.
    fn shortcut<'a>(&self, step: &Step, activations: &'a [Vec<f32>], count: usize) -> &'a [f32] {
        let from = step.layer.shortcut_from();
        from.map_or(&[], |from| &activations[from][..count * self.inputs_of(from)])
    }

    fn inputs_of(&self, step: usize) -> usize {
        self.steps[step].inputs
    }

    /// Writes the losses of a sub-batch and replaces its outputs by the derivatives of the losses.
    pub(crate) fn loss(
        &self,
        scratch: &mut Scratch,
        targets: &Targets<'_>,
        first: usize,
        count: usize,
        losses: &mut [f32],
    ) -> u32 {
        let width = self.outputs();
        let outputs = &mut scratch.activations[self.steps.len()][..count * width];
        match (&self.loss, targets) {
            (Loss::SoftmaxCrossEntropy { smoothing, weights }, Targets::Classes(classes)) => {
                let classes = &classes[first..first + count];
                loss::softmax_cross_entropy(outputs, width, classes, (*smoothing, weights), losses)
            }
            (loss, Targets::Numbers(numbers)) => {
                assert_eq!(numbers.ncols(), width, "targets of another width");
                loss.of_numbers(outputs, numbers, first, losses);
                0
            }
            (loss, Targets::Classes(_)) => panic!("classes for {loss:?}"),
        }
    }

    /// The first step with parameters: below it no derivative is needed.
    fn lowest_step(&self) -> usize {
        self.steps.iter().position(|step| step.layer.has_parameters()).unwrap_or(0)
    }

    /// Adds a sub-batch's gradient, from what [`Network::forward`] and [`Network::loss`] left in `scratch`.
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
        // The beginnings of the residual blocks that the walk is in, the innermost last.
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
                (Layer::Dense(dense), Target::InPlace { weights, factor, .. }) => {
                    let inputs = &mut before[i][..count * step.inputs];
                    let of_lists = i == 0 && *takes_lists;
                    let inputs = if of_lists { Inputs::Lists(lists, inputs) } else { Inputs::Rows(inputs) };
                    let buffers = (&mut *workspace, &mut *buffer);
                    dense.descend((kernel, *factor), buffers, weights, inputs, outputs, delta, input_delta);
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
}

/// Where a gradient goes. All the derivatives in it are at the weights before.
pub(crate) enum Target<'a> {
    /// It is added to `gradient`.
    Gradient { weights: &'a [f32], gradient: &'a mut [f32] },
    /// That of a dense step is added to the weights themselves, times `factor`; all else to `gradient`.
    InPlace { weights: &'a mut [f32], factor: f32, gradient: &'a mut [f32] },
}

impl Target<'_> {
    /// The weights and the gradient.
    fn for_gradient(&mut self) -> (&[f32], &mut [f32]) {
        match self {
            Target::Gradient { weights, gradient } => (weights, gradient),
            Target::InPlace { weights, gradient, .. } => (weights, gradient),
        }
    }
}

/// The buffers of a computation. They grow to what the network needs at the first call and are reused after that.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The inputs of a sub-batch, then each step's outputs, row-major.
    pub(crate) activations: Vec<Vec<f32>>,
    /// Derivatives by a step's outputs and by its inputs, taking turns.
    deltas: [Vec<f32>; 2],
    /// Derivatives that residual blocks' shortcuts take past their layers, one for each depth of blocks.
    shortcut_deltas: [Vec<f32>; DEPTH_MAX],
    /// The statistics of a minibatch, where there is batch normalization.
    observed: Vec<f32>,
    workspace: Workspace,
    /// What a single step needs for itself.
    buffer: Vec<f32>,
    /// The inputs of a sub-batch without the zeros, if it takes them so; then the first activations are not filled.
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

    /// Makes room for so many examples at a time.
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
            // Which depth it will have is seen on the way back; all the same, no shortcut is larger than the largest.
            self.shortcut_deltas.iter_mut().for_each(|delta| grow(delta, examples * network.inputs_of(from)));
        }
        grow(&mut self.observed, network.parameters - network.trainable);
    }
}

fn grow(buffer: &mut Vec<f32>, length: usize) {
    if buffer.len() < length {
        // No more than is needed, as `footprint` says.
        buffer.reserve_exact(length - buffer.len());
        buffer.resize(length, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView2;

    use super::*;
    use crate::examples::{Preprocessing, Rows};
    use crate::nonzeros::NonZeros;

    /// Specifications that have every layer, with the number of their features.
    const NETWORKS: [(&str, usize); 5] = [
        (
            r#"{"layers": [{"kind": "dense", "units": 19, "activation": "leaky-relu"},
            {"kind": "dense", "units": 33, "activation": "gelu"}, {"kind": "dense", "units": 17, "activation": "silu"},
            {"kind": "dense", "units": 6, "activation": "softplus"}]}"#,
            13,
        ),
        (
            r#"{"input": [2, 9, 7], "layers": [
            {"kind": "conv2d", "channels": 18, "kernel": 3, "padding": "same", "groups": 2, "activation": "gelu"},
            {"kind": "max-pool", "size": 2, "stride": 1}, {"kind": "layer-norm"}, {"kind": "activation", "function": "silu"},
            {"kind": "conv2d", "channels": 5, "kernel": 5, "stride": 2, "padding": 3},
            {"kind": "average-pool", "size": 2}, {"kind": "flatten"}, {"kind": "dense", "units": 6}]}"#,
            126,
        ),
        (
            r#"{"input": [1, 7, 18], "layers": [{"kind": "conv2d", "channels": 17, "kernel": 4, "activation": "tanh"},
            {"kind": "global-max-pool"}]}"#,
            126,
        ),
        (
            r#"{"layers": [{"kind": "embedding", "vocabulary": 9, "width": 5}, {"kind": "batch-norm"},
            {"kind": "residual", "layers": [{"kind": "dropout", "rate": 0.3}, {"kind": "dense", "units": 19}],
            "shortcut": "projection", "activation": "tanh"}]}"#,
            13,
        ),
        (
            r#"{"input": [2, 9, 7], "layers": [{"kind": "residual", "shortcut": "projection", "layers": [
            {"kind": "conv2d", "channels": 17, "kernel": 3, "padding": "same", "stride": 2}, {"kind": "batch-norm"},
            {"kind": "residual", "layers": [{"kind": "dropout", "rate": 0.5}]}]}]}"#,
            126,
        ),
    ];

    /// On ordinary numbers, subnormal and huge ones, and with infinities among them; which NaN it is may differ.
    #[test]
    fn every_path_gives_the_same_bits() {
        let bits = |values: &[f32]| -> Vec<u32> {
            values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
        };
        for (json, features) in NETWORKS {
            let spec = NetworkSpec::from_json(json).unwrap();
            let network = Network::new(&spec, features, Task::Classes(3)).unwrap();
            let weights = network.initialize(5);
            let preprocessing = Preprocessing::identity(features);
            for size in [1.0, 1e-39, 1e30, f32::INFINITY] {
                let rows: Vec<f32> = (0..7 * features)
                    .map(|i| if i % 5 == 0 { size } else { 1.0 } * ((i * 37 % 101) as f32 / 50.0 - 1.0))
                    .collect();
                let examples = Examples {
                    features: Features::new(
                        Rows::F32(ArrayView2::from_shape((7, features), &rows).unwrap()),
                        &preprocessing,
                    ),
                    targets: Targets::Classes(&[0, 1, 2, 0, 1, 2, 1]),
                };
                for arithmetic in Arithmetic::ALL {
                    let mut results = Kernel::all(arithmetic).into_iter().map(|kernel| {
                        let (mut gradient, mut losses) = (vec![0.0; network.parameters()], [0.0; 7]);
                        let scratch = &mut Scratch::new();
                        network.gradient_with(
                            kernel,
                            scratch,
                            &weights,
                            &Pass { mask_seed: 9, ..Pass::new(3) },
                            &examples,
                            &mut gradient,
                            &mut losses,
                        );
                        (bits(&gradient), bits(&losses))
                    });
                    let first = results.next().expect("there is always a path");
                    assert!(results.all(|result| result == first), "{json} with {size} in {arithmetic}");
                }
            }
        }
    }

    /// Zeros of either sign, and where they meet what is infinite or not a number.
    #[test]
    fn leaving_zeros_out_changes_no_bit() {
        let bits = |values: &[f32]| -> Vec<u32> {
            values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
        };
        let features = 13;
        let spec = NetworkSpec::from_json(NETWORKS[0].0).unwrap();
        let network = Network::new(&spec, features, Task::Classes(3)).unwrap();
        let preprocessing = Preprocessing::identity(features);
        for size in [1.0, 1e-39, 1e30, f32::INFINITY] {
            let value = |i: usize| match i % 7 {
                0 => (i * 37 % 101) as f32 / 50.0 - 1.0,
                1 => size,
                2 => -0.0,
                _ => 0.0,
            };
            // The last example has no input but zeros.
            let rows: Vec<f32> =
                (0..7 * features).map(|i| if i < 6 * features { value(i) } else { 0.0 }).collect();
            let rows = Rows::F32(ArrayView2::from_shape((7, features), &rows).unwrap());
            let nonzeros = NonZeros::of(&rows, &preprocessing).expect("enough zeros");
            for weight in [0.5, -0.0, f32::INFINITY, f32::NAN] {
                let mut weights = network.initialize(5);
                // Of an input and of no input.
                weights[6 * 19 + 3] = weight;
                weights[13 * 19 + 4] = weight;
                for arithmetic in Arithmetic::ALL {
                    for kernel in Kernel::all(arithmetic) {
                        let results = [None, Some(nonzeros.rows(0..7))].map(|nonzeros| {
                            let features = Features { nonzeros, ..Features::new(rows, &preprocessing) };
                            let targets = Targets::Classes(&[0, 1, 2, 0, 1, 2, 1]);
                            let examples = Examples { features, targets };
                            let (mut gradient, mut losses) = (vec![0.0; network.parameters()], [0.0; 7]);
                            let scratch = &mut Scratch::new();
                            network.gradient_with(
                                kernel,
                                scratch,
                                &weights,
                                &Pass::new(7),
                                &examples,
                                &mut gradient,
                                &mut losses,
                            );
                            (bits(&gradient), bits(&losses))
                        });
                        assert_eq!(results[0], results[1], "{size} and {weight} with {kernel:?}");
                    }
                }
            }
        }
    }
}
