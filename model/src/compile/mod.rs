//! Compiles a specification into the steps of a network: follows the shapes from layer to layer, gives every
//! parameter its range, and rejects whatever does not fit.

mod ends;
mod layers;

use std::ops::Range;

use crate::initialize::{ORTHOGONAL_WORK_MAX, Start, orthogonal_work};
use crate::layers::pool::PoolKind;
use crate::layers::{Layer, Step};
use crate::layout::{ParameterBlock, ParameterKind};
use crate::loss::Loss;
use crate::shape::Shape;
use crate::spec::{Activation, DenseSpec, Initializer, LayerSpec, NetworkSpec, Position, SpecError, Task};
use crate::summary::LayerSummary;

/// The name of a layer's block, and its kind.
type NamedKind = (&'static str, ParameterKind);
const WEIGHT: NamedKind = ("weight", ParameterKind::Weight);
const BIAS: NamedKind = ("bias", ParameterKind::Bias);
const GAIN: NamedKind = ("gain", ParameterKind::Gain);
const MEAN: NamedKind = ("running_mean", ParameterKind::Statistic);
const VARIANCE: NamedKind = ("running_variance", ParameterKind::Statistic);

/// The content of a [`Network`](crate::Network).
pub(crate) struct Compiled {
    /// The shape of an example, then of each layer's outputs.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) steps: Vec<Step>,
    /// The costs of each layer; layers inside a residual block follow the block itself.
    pub(crate) layers: Vec<LayerSummary>,
    /// The index of the layer to which new steps and parameters are charged.
    layer: usize,
    /// Positions of layers that keep their weights, and whether the layer at hand is one of them.
    freeze: Vec<String>,
    frozen: bool,
    pub(crate) layout: Vec<ParameterBlock>,
    /// The initialization of each block of the layout.
    pub(crate) starts: Vec<Start>,
    /// The blocks of statistics and their initialization, kept apart until all layers are known. Their ranges
    /// count from the first statistic.
    statistics: Vec<(ParameterBlock, Start)>,
    pub(crate) loss: Loss,
    /// Multiplications for the orthogonal matrices so far.
    orthogonal_work: u128,
}

/// Follows the layers of `spec` and the output layer, which is dense, without an activation, and as wide as
/// the task requires.
pub(crate) fn compile(spec: &NetworkSpec, features: usize, task: Task) -> Result<Compiled, SpecError> {
    ends::check_ends(spec, features, task)?;
    let loss = ends::compile_loss(spec, task)?;
    let input = ends::input_shape(spec, features)?;
    let mut compiled = Compiled {
        shapes: vec![input],
        steps: Vec::new(),
        layers: Vec::new(),
        layer: 0,
        freeze: spec.freeze.clone(),
        frozen: false,
        layout: Vec::new(),
        starts: Vec::new(),
        statistics: Vec::new(),
        loss,
        orthogonal_work: 0,
    };
    let output = LayerSpec::Dense(DenseSpec {
        units: task.outputs(),
        activation: Activation::None,
        initializer: None,
    });
    let mut shape = input;
    for (i, layer) in spec.layers.iter().chain([&output]).enumerate() {
        let place = Place {
            position: Position::top(i + 1),
            name: format!("layers.{i}"),
            input: shape,
            initializer: spec.initializer,
        };
        shape = compiled.push_layer(&place, layer)?;
        compiled.shapes.push(shape);
    }
    compiled.append_statistics();
    if let Some(position) =
        spec.freeze.iter().find(|position| !compiled.layers.iter().any(|layer| layer.number == **position))
    {
        return Err(SpecError::NoSuchLayer { position: position.clone() });
    }
    if compiled.layout.iter().all(|block| block.frozen || block.kind == ParameterKind::Statistic) {
        return Err(SpecError::AllFrozen { frozen: compiled.parameters() });
    }
    Ok(compiled)
}

/// A layer's place in the network.
struct Place {
    position: Position,
    /// The prefix of its parameters' names.
    name: String,
    input: Shape,
    /// The network's initializer.
    initializer: Option<Initializer>,
}

impl Place {
    /// Channels, height and width of the layer's inputs, which must be an image.
    fn image(&self, kind: &'static str) -> Result<(usize, usize, usize), SpecError> {
        match self.input {
            Shape::Image { channels, height, width } => Ok((channels, height, width)),
            Shape::Vector(values) => Err(SpecError::NoImage { layer: self.position, kind, values }),
        }
    }
}

impl Compiled {
    /// The initializer of weights of `rows` by `columns`: the layer's own, the network's, or the one that
    /// suits the activation.
    fn initializer(
        &mut self,
        place: &Place,
        own: Option<Initializer>,
        activation: Activation,
        (rows, columns): (usize, usize),
    ) -> Result<Initializer, SpecError> {
        let suitable = if activation.is_like_relu() { Initializer::He } else { Initializer::Glorot };
        let initializer = own.or(place.initializer).unwrap_or(suitable);
        if initializer == Initializer::Orthogonal {
            self.orthogonal_work = self.orthogonal_work.saturating_add(orthogonal_work(rows, columns));
            if self.orthogonal_work > ORTHOGONAL_WORK_MAX {
                return Err(SpecError::Orthogonal { layer: place.position, inputs: rows, units: columns });
            }
        }
        Ok(initializer)
    }

    /// Appends a layer's steps and parameters. Returns the shape of its outputs.
    fn push_layer(&mut self, place: &Place, layer: &LayerSpec) -> Result<Shape, SpecError> {
        self.summarized(place, (place.position.to_string(), layer.to_string()), |compiled| {
            compiled.push_steps(place, layer)
        })
    }

    /// Charges everything that `push` appends to a new layer summary.
    fn summarized(
        &mut self,
        place: &Place,
        (number, description): (String, String),
        push: impl FnOnce(&mut Compiled) -> Result<Shape, SpecError>,
    ) -> Result<Shape, SpecError> {
        let (index, outer, outer_frozen) = (self.layers.len(), self.layer, self.frozen);
        self.frozen |= self.freeze.contains(&number);
        self.layers.push(LayerSummary {
            number,
            name: place.name.clone(),
            depth: place.position.depth(),
            description,
            shape: place.input,
            trainable: 0,
            frozen: 0,
            statistics: 0,
            flops: 0,
            values: 0,
        });
        self.layer = index;
        let shape = push(self)?;
        self.layers[index].shape = shape;
        self.layer = outer;
        self.frozen = outer_frozen;
        Ok(shape)
    }

    fn push_steps(&mut self, place: &Place, layer: &LayerSpec) -> Result<Shape, SpecError> {
        match layer {
            LayerSpec::Dense(dense) => self.push_dense(place, dense),
            LayerSpec::Conv2d(conv2d) => self.push_conv2d(place, conv2d),
            LayerSpec::MaxPool(pool) => self.push_pool(place, PoolKind::Largest, pool),
            LayerSpec::AveragePool(pool) => self.push_pool(place, PoolKind::Mean, pool),
            LayerSpec::GlobalMaxPool => self.push_global_pool(place, PoolKind::Largest),
            LayerSpec::GlobalAveragePool => self.push_global_pool(place, PoolKind::Mean),
            LayerSpec::LayerNorm(norm) => self.push_layer_norm(place, norm),
            LayerSpec::BatchNorm(norm) => self.push_batch_norm(place, norm),
            LayerSpec::Dropout(dropout) => self.push_dropout(place, dropout),
            LayerSpec::Flatten => Ok(Shape::Vector(place.input.len())),
            LayerSpec::Activation(spec) => {
                Ok(self.push_step(Layer::Activation(spec.function), place.input, place.input))
            }
            LayerSpec::Residual(residual) => self.push_residual(place, residual),
            LayerSpec::Embedding(embedding) => self.push_embedding(place, embedding),
        }
    }

    /// Appends a separate step for an activation that cannot be applied in place.
    fn push_activation_apart(&mut self, activation: Activation, shape: Shape) {
        if activation.needs_sums() {
            self.push_step(Layer::Activation(activation), shape, shape);
        }
    }

    fn push_step(&mut self, layer: Layer, input: Shape, output: Shape) -> Shape {
        let step = Step { layer, inputs: input.len(), outputs: output.len(), frozen: self.frozen };
        let summary = &mut self.layers[self.layer];
        summary.flops += step.flops();
        summary.values += step.outputs;
        self.steps.push(step);
        output
    }

    /// Gives a block of parameters the next range in the flat vector.
    fn push_block(
        &mut self,
        place: &Place,
        (part, kind): NamedKind,
        shape: Vec<usize>,
        start: Start,
    ) -> Range<usize> {
        let first = self.parameters();
        let range = first..first + shape.iter().product::<usize>();
        self.layout.push(ParameterBlock {
            name: format!("{}.{part}", place.name),
            shape,
            range: range.clone(),
            kind,
            frozen: self.frozen,
        });
        self.starts.push(start);
        let summary = &mut self.layers[self.layer];
        match self.frozen {
            true => summary.frozen += range.len(),
            false => summary.trainable += range.len(),
        }
        range
    }

    /// Gives a block of statistics the next range in the tail. The range counts from the start of the tail.
    fn push_statistic(&mut self, place: &Place, part: &str, length: usize, value: f32) -> Range<usize> {
        let first = self.statistics.last().map_or(0, |(block, _)| block.range.end);
        let range = first..first + length;
        let block = ParameterBlock {
            name: format!("{}.{part}", place.name),
            shape: vec![length],
            range: range.clone(),
            kind: ParameterKind::Statistic,
            frozen: false,
        };
        self.statistics.push((block, Start::Constant(value)));
        self.layers[self.layer].statistics += length;
        range
    }

    /// Appends the statistics after all learned parameters.
    fn append_statistics(&mut self) {
        let first = self.parameters();
        for (mut block, start) in self.statistics.drain(..) {
            block.range = first + block.range.start..first + block.range.end;
            self.layout.push(block);
            self.starts.push(start);
        }
    }

    /// The parameters so far, statistics included.
    fn all_parameters(&self) -> usize {
        self.parameters() + self.statistics.last().map_or(0, |(block, _)| block.range.end)
    }

    fn parameters(&self) -> usize {
        self.layout.last().map_or(0, |block| block.range.end)
    }
}
