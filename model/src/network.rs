//! A validated network: where its parameters lie, and its loss and gradient over some examples.

use std::ops::Range;

use crate::arithmetic::Arithmetic;
use crate::examples::{Examples, Features, Targets};
use crate::initialise;
use crate::kernels::{Kernel, Workspace};
use crate::layers::dense::Dense;
use crate::loss;
use crate::spec::{
    Activation, LayerSpec, MAX_FEATURES, MAX_LAYERS, MAX_PARAMETERS, MAX_UNITS, NetworkSpec, SpecError, Task,
};

/// The most examples that go through the network at a time, so that activations stay in the cache. No result depends
/// on it, because gradients accumulate in the order of the examples.
const SUB_BATCH: usize = 256;

/// The most `f32` that one layer's activations may take in a sub-batch: very wide layers get fewer examples at a time.
const SUB_BATCH_VALUES: usize = 1 << 20;

/// A validated network with a flat parameter vector.
///
/// The vector holds, layer after layer, the weights `[inputs, outputs]` in row-major order and then the biases
/// `[outputs]`, without padding; [`Network::layout`] tells where.
#[derive(Clone, Debug)]
pub struct Network {
    spec: NetworkSpec,
    task: Task,
    features: usize,
    layers: Vec<Dense>,
    layout: Vec<ParameterBlock>,
    parameters: usize,
}

/// One named part of the flat parameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterBlock {
    /// For example `layers.0.weight`; layers are counted from 0, the last is the output layer.
    pub name: String,
    /// `[inputs, outputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// Where its elements lie, in row-major order.
    pub range: Range<usize>,
    /// Whether the L2 penalty applies: it does to weights, not to biases.
    pub is_weight: bool,
}

impl Network {
    /// Checks `spec` against the data's number of features and the task, and appends the output layer: dense, without
    /// an activation, as wide as the task asks.
    pub fn new(spec: &NetworkSpec, features: usize, task: Task) -> Result<Network, SpecError> {
        check_ends(spec, features, task)?;
        let mut network = Network {
            spec: spec.clone(),
            task,
            features,
            layers: Vec::new(),
            layout: Vec::new(),
            parameters: 0,
        };
        for layer in &spec.layers {
            match layer {
                LayerSpec::Dense(dense) => network.push_dense(dense.units, dense.activation)?,
            }
        }
        network.push_dense(task.outputs(), Activation::None)?;
        Ok(network)
    }

    /// The specification this network was made from.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// What is learnt.
    pub fn task(&self) -> Task {
        self.task
    }

    /// How many features an example has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The number of classes or of target columns.
    pub fn outputs(&self) -> usize {
        self.task.outputs() as usize
    }

    /// The length of the parameter vector.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The blocks of the parameter vector, in order and without gaps.
    pub fn layout(&self) -> &[ParameterBlock] {
        &self.layout
    }

    /// The weights a run with this seed starts from: uniform He before a relu, uniform Glorot otherwise, biases 0. Each
    /// weight block has a random stream of its own (ChaCha8, keyed by the seed and the block's name).
    pub fn initialise(&self, seed: u64) -> Vec<f32> {
        let mut weights = vec![0.0; self.parameters];
        for (layer, blocks) in self.layers.iter().zip(self.layout.chunks_exact(2)) {
            initialise::dense(layer, &blocks[0].name, seed, &mut weights);
        }
        weights
    }

    /// The weight decay, as in [`NetworkSpec::l2`].
    pub fn l2(&self) -> f32 {
        self.spec.l2
    }

    /// `l2 / 2` times the sum of the squared weights (not biases), to be added to the mean loss.
    ///
    /// The squares go into eight running sums in turn, which are then added in order: one fixed order, eight at a time.
    pub fn penalty(&self, weights: &[f32]) -> f64 {
        assert_eq!(weights.len(), self.parameters, "weights of another network");
        if self.spec.l2 == 0.0 {
            return 0.0;
        }
        let mut total = 0.0;
        for block in self.layout.iter().filter(|block| block.is_weight) {
            let mut sums = [0.0f64; 8];
            for chunk in weights[block.range.clone()].chunks(sums.len()) {
                for (sum, &weight) in sums.iter_mut().zip(chunk) {
                    *sum += f64::from(weight) * f64::from(weight);
                }
            }
            total += sums.iter().fold(0.0, |total, sum| total + sum);
        }
        0.5 * f64::from(self.spec.l2) * total
    }

    /// Adds the gradient of [`Network::penalty`], `l2` times each weight (not bias), to `gradient`, in the precision of
    /// `gradient`: `f32` or `f64`.
    pub fn add_penalty_gradient<T>(&self, weights: &[f32], gradient: &mut [T])
    where
        T: Copy + From<f32> + std::ops::Add<Output = T> + std::ops::Mul<Output = T>,
    {
        assert_eq!(weights.len(), self.parameters, "weights of another network");
        assert_eq!(gradient.len(), self.parameters, "a gradient of another network");
        if self.spec.l2 == 0.0 {
            return;
        }
        let l2 = T::from(self.spec.l2);
        for block in self.layout.iter().filter(|block| block.is_weight) {
            for (gradient, &weight) in
                gradient[block.range.clone()].iter_mut().zip(&weights[block.range.clone()])
            {
                *gradient = *gradient + l2 * T::from(weight);
            }
        }
    }

    /// Adds the gradient of the summed loss (without the L2 penalty) of `examples` to `gradient`, writes each example's
    /// loss to `losses`, and returns how many predictions were correct (0 for numbers).
    ///
    /// Every element of the gradient accumulates over the examples in increasing order, starting from what it holds, so
    /// that two calls with consecutive examples give the bits of one call with all of them. It is never left at -0.
    ///
    /// # Panics
    /// If a length does not fit the network, or a class is not smaller than the number of classes.
    pub fn gradient(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        examples: &Examples<'_>,
        gradient: &mut [f32],
        losses: &mut [f32],
    ) -> u32 {
        self.gradient_with(Kernel::best(arithmetic), scratch, weights, examples, gradient, losses)
    }

    /// [`Network::gradient`] with the kernel chosen by the caller.
    pub(crate) fn gradient_with(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        examples: &Examples<'_>,
        gradient: &mut [f32],
        losses: &mut [f32],
    ) -> u32 {
        assert_eq!(gradient.len(), self.parameters, "a gradient of another network");
        assert_eq!(losses.len(), examples.len(), "one loss an example");
        let mut correct = 0;
        for first in (0..examples.len()).step_by(self.sub_batch()) {
            let count = self.sub_batch().min(examples.len() - first);
            self.forward(kernel, scratch, weights, &examples.features, first, count);
            correct += self.loss(scratch, &examples.targets, first, count, &mut losses[first..first + count]);
            self.backward(kernel, scratch, weights, count, gradient);
        }
        correct
    }

    /// Writes each example's loss (without the L2 penalty) to `losses` and returns how many predictions were correct
    /// (0 for numbers).
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
        assert_eq!(losses.len(), examples.len(), "one loss an example");
        let kernel = Kernel::best(arithmetic);
        let mut correct = 0;
        for first in (0..examples.len()).step_by(self.sub_batch()) {
            let count = self.sub_batch().min(examples.len() - first);
            self.forward(kernel, scratch, weights, &examples.features, first, count);
            correct += self.loss(scratch, &examples.targets, first, count, &mut losses[first..first + count]);
        }
        correct
    }

    /// Writes the network's answers to `outputs`, row-major `[examples, outputs]`: probabilities of the classes, or
    /// numbers.
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
        for first in (0..features.len()).step_by(self.sub_batch()) {
            let count = self.sub_batch().min(features.len() - first);
            self.forward(kernel, scratch, weights, features, first, count);
            let answers = &mut scratch.activations[self.layers.len()][..count * width];
            if let Task::Classes(_) = self.task {
                loss::softmax(answers, width);
            }
            outputs[first * width..(first + count) * width].copy_from_slice(answers);
        }
    }

    fn push_dense(&mut self, units: u32, activation: Activation) -> Result<(), SpecError> {
        let index = self.layers.len();
        if units == 0 || units > MAX_UNITS {
            return Err(SpecError::Units { layer: index + 1, units });
        }
        let inputs = self.layers.last().map_or(self.features, |layer| layer.outputs);
        // At most 2^24 * 2^20 + 2^20 + 2^28: far from overflowing.
        let parameters = self.parameters as u64 + (inputs as u64 + 1) * u64::from(units);
        if parameters > MAX_PARAMETERS as u64 {
            return Err(SpecError::TooManyParameters { layer: index + 1, inputs, units, parameters });
        }
        let outputs = units as usize;
        let weight = self.parameters..self.parameters + inputs * outputs;
        let bias = weight.end..weight.end + outputs;
        self.parameters = bias.end;
        self.layout.push(ParameterBlock {
            name: format!("layers.{index}.weight"),
            shape: vec![inputs, outputs],
            range: weight.clone(),
            is_weight: true,
        });
        self.layout.push(ParameterBlock {
            name: format!("layers.{index}.bias"),
            shape: vec![outputs],
            range: bias.clone(),
            is_weight: false,
        });
        self.layers.push(Dense { inputs, outputs, activation, weight, bias });
        Ok(())
    }

    /// How many examples go through the network at a time.
    fn sub_batch(&self) -> usize {
        let widest = self.layers.iter().map(|layer| layer.inputs.max(layer.outputs)).max().unwrap_or(1);
        (SUB_BATCH_VALUES / widest).clamp(1, SUB_BATCH)
    }

    /// Fills `scratch.activations`: the preprocessed inputs, then each layer's outputs, for examples `first ..` of a
    /// sub-batch of `count`.
    fn forward(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        features: &Features<'_>,
        first: usize,
        count: usize,
    ) {
        assert_eq!(weights.len(), self.parameters, "weights of another network");
        assert_eq!(features.width(), self.features, "rows of another width");
        assert_eq!(features.preprocessing.len(), self.features, "preprocessing of another width");
        scratch.make_room(self);
        features.preprocessing.apply(
            &features.rows,
            first,
            &mut scratch.activations[0][..count * self.features],
        );
        for (i, layer) in self.layers.iter().enumerate() {
            let (before, after) = scratch.activations.split_at_mut(i + 1);
            let inputs = &before[i][..count * layer.inputs];
            let outputs = &mut after[0][..count * layer.outputs];
            layer.forward(kernel, &mut scratch.workspace, weights, inputs, outputs);
        }
    }

    /// Writes the losses of a sub-batch and replaces its outputs by the derivatives of the losses.
    fn loss(
        &self,
        scratch: &mut Scratch,
        targets: &Targets<'_>,
        first: usize,
        count: usize,
        losses: &mut [f32],
    ) -> u32 {
        let width = self.outputs();
        let outputs = &mut scratch.activations[self.layers.len()][..count * width];
        match (self.task, targets) {
            (Task::Classes(_), Targets::Classes(classes)) => {
                loss::softmax_cross_entropy(outputs, width, &classes[first..first + count], losses)
            }
            (Task::Numbers(_), Targets::Numbers(numbers)) => {
                assert_eq!(numbers.ncols(), width, "targets of another width");
                loss::mean_squared_error(outputs, numbers, first, losses);
                0
            }
            (task, _) => panic!("targets of another kind than {task:?}"),
        }
    }

    /// Adds a sub-batch's gradient, from what [`Network::forward`] and [`Network::loss`] left in `scratch`.
    fn backward(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        count: usize,
        gradient: &mut [f32],
    ) {
        let Scratch { activations, deltas: [delta, input_delta], workspace } = scratch;
        let answers = count * self.outputs();
        delta[..answers].copy_from_slice(&activations[self.layers.len()][..answers]);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            layer.backward(
                kernel,
                workspace,
                weights,
                &activations[i][..count * layer.inputs],
                &activations[i + 1][..count * layer.outputs],
                &mut delta[..count * layer.outputs],
                gradient,
                (i > 0).then(|| &mut input_delta[..count * layer.inputs]),
            );
            std::mem::swap(delta, input_delta);
        }
    }
}

/// The buffers of a computation. They grow to what the network needs at the first call and are reused after that.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The inputs of a sub-batch, then each layer's outputs, row-major.
    activations: Vec<Vec<f32>>,
    /// Derivatives by a layer's outputs and by its inputs, taking turns.
    deltas: [Vec<f32>; 2],
    workspace: Workspace,
}

impl Scratch {
    /// Empty buffers.
    pub fn new() -> Scratch {
        Scratch::default()
    }

    fn make_room(&mut self, network: &Network) {
        let examples = network.sub_batch();
        if self.activations.len() < network.layers.len() + 1 {
            self.activations.resize_with(network.layers.len() + 1, Vec::new);
        }
        grow(&mut self.activations[0], examples * network.features);
        for (layer, outputs) in network.layers.iter().zip(&mut self.activations[1..]) {
            grow(outputs, examples * layer.outputs);
        }
        let widest = network.layers.iter().map(|layer| layer.outputs).max().unwrap_or(0);
        for delta in &mut self.deltas {
            grow(delta, examples * widest);
        }
    }
}

fn grow(buffer: &mut Vec<f32>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
}

/// The checks that do not belong to one layer.
fn check_ends(spec: &NetworkSpec, features: usize, task: Task) -> Result<(), SpecError> {
    if spec.layers.len() > MAX_LAYERS {
        return Err(SpecError::TooManyLayers { layers: spec.layers.len() });
    }
    if features == 0 || features > MAX_FEATURES {
        return Err(SpecError::Features { features });
    }
    match task {
        Task::Classes(classes) if !(2..=1 << 16).contains(&classes) => {
            return Err(SpecError::Classes { classes });
        }
        Task::Numbers(columns) if !(1..=MAX_UNITS).contains(&columns) => {
            return Err(SpecError::TargetColumns { columns });
        }
        _ => {}
    }
    if !(spec.l2.is_finite() && spec.l2 >= 0.0) {
        return Err(SpecError::L2 { l2: spec.l2 });
    }
    match spec.loss {
        Some(written) if written != task.loss() => Err(SpecError::Loss { written, suitable: task.loss() }),
        _ => Ok(()),
    }
}
