//! From a specification to the steps of a network: every shape is followed from layer to layer, every parameter gets its
//! place, and whatever does not fit is found.

use std::ops::Range;

use crate::initialise::Start;
use crate::layers::dense::Dense;
use crate::layers::{Layer, Step};
use crate::network::ParameterBlock;
use crate::shape::Shape;
use crate::spec::{
    Activation, DenseSpec, LayerSpec, MAX_FEATURES, MAX_LAYERS, MAX_PARAMETERS, MAX_UNITS, NetworkSpec,
    SpecError, Task,
};

/// What [`Network`](crate::Network) is made of.
pub(crate) struct Compiled {
    /// The shape of an example, then of each layer's answer.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) steps: Vec<Step>,
    pub(crate) layout: Vec<ParameterBlock>,
    /// How each block of the layout starts.
    pub(crate) starts: Vec<Start>,
}

/// Follows the layers of `spec` and the output layer: dense, without an activation, as wide as the task asks.
pub(crate) fn compile(spec: &NetworkSpec, features: usize, task: Task) -> Result<Compiled, SpecError> {
    check_ends(spec, features, task)?;
    let input = input_shape(spec, features)?;
    let mut compiled =
        Compiled { shapes: vec![input], steps: Vec::new(), layout: Vec::new(), starts: Vec::new() };
    let output = LayerSpec::Dense(DenseSpec { units: task.outputs(), activation: Activation::None });
    for (i, layer) in spec.layers.iter().chain([&output]).enumerate() {
        let place = Place { position: i + 1, name: format!("layers.{i}"), input: compiled.shape() };
        let shape = match layer {
            LayerSpec::Dense(dense) => compiled.push_dense(&place, dense)?,
        };
        compiled.shapes.push(shape);
    }
    Ok(compiled)
}

/// Where a layer stands.
struct Place {
    /// Counted from 1, for people.
    position: usize,
    /// What the names of its parameters begin with.
    name: String,
    input: Shape,
}

impl Compiled {
    /// The shape after the last layer so far.
    fn shape(&self) -> Shape {
        self.shapes.last().copied().expect("the input has a shape")
    }

    fn push_dense(&mut self, place: &Place, spec: &DenseSpec) -> Result<Shape, SpecError> {
        let &DenseSpec { units, activation } = spec;
        let (layer, inputs) = (place.position, place.input.len());
        if units == 0 || units > MAX_UNITS {
            return Err(SpecError::Units { layer, units });
        }
        // At most 2^24 * 2^20 + 2^20 + 2^28: far from overflowing.
        let parameters = self.parameters() as u64 + (inputs as u64 + 1) * u64::from(units);
        if parameters > MAX_PARAMETERS as u64 {
            return Err(SpecError::TooManyParameters { layer, inputs, units, parameters });
        }
        let outputs = units as usize;
        let start = Start::Weights { fan_in: inputs, fan_out: outputs, activation };
        let weight = self.push_block(place, "weight", vec![inputs, outputs], start);
        let bias = self.push_block(place, "bias", vec![outputs], Start::Zero);
        let in_place = if activation.needs_sums() { Activation::None } else { activation };
        let dense = Dense { inputs, outputs, activation: in_place, weight, bias };
        self.steps.push(Step { layer: Layer::Dense(dense), inputs, outputs });
        if activation.needs_sums() {
            self.steps.push(Step { layer: Layer::Activation(activation), inputs: outputs, outputs });
        }
        Ok(Shape::Vector(outputs))
    }

    /// Gives a block of parameters the next place in the flat vector.
    fn push_block(&mut self, place: &Place, part: &str, shape: Vec<usize>, start: Start) -> Range<usize> {
        let first = self.parameters();
        let range = first..first + shape.iter().product::<usize>();
        self.layout.push(ParameterBlock {
            name: format!("{}.{part}", place.name),
            shape,
            range: range.clone(),
            is_weight: part == "weight",
        });
        self.starts.push(start);
        range
    }

    fn parameters(&self) -> usize {
        self.layout.last().map_or(0, |block| block.range.end)
    }
}

fn input_shape(spec: &NetworkSpec, features: usize) -> Result<Shape, SpecError> {
    let Some(shape) = spec.input else { return Ok(Shape::Vector(features)) };
    let values = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size as usize));
    if values != Some(features) {
        return Err(SpecError::Input { shape, features });
    }
    let [channels, height, width] = shape.map(|size| size as usize);
    Ok(Shape::Image { channels, height, width })
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
