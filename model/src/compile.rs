//! From a specification to the steps of a network: every shape is followed from layer to layer, every parameter gets its
//! place, and whatever does not fit is found.

use std::ops::Range;

use crate::initialise::{self, Start};
use crate::layers::dense::Dense;
use crate::layers::{Layer, Step};
use crate::loss::Loss;
use crate::network::ParameterBlock;
use crate::shape::Shape;
use crate::spec::{
    Activation, DenseSpec, Initialiser, LayerSpec, LossSpec, MAX_FEATURES, MAX_LAYERS, MAX_PARAMETERS,
    MAX_UNITS, NetworkSpec, SpecError, Task,
};

/// What [`Network`](crate::Network) is made of.
pub(crate) struct Compiled {
    /// The shape of an example, then of each layer's answer.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) steps: Vec<Step>,
    pub(crate) layout: Vec<ParameterBlock>,
    /// How each block of the layout starts.
    pub(crate) starts: Vec<Start>,
    pub(crate) loss: Loss,
}

/// Follows the layers of `spec` and the output layer: dense, without an activation, as wide as the task asks.
pub(crate) fn compile(spec: &NetworkSpec, features: usize, task: Task) -> Result<Compiled, SpecError> {
    check_ends(spec, features, task)?;
    let loss = compile_loss(spec, task)?;
    let input = input_shape(spec, features)?;
    let mut compiled =
        Compiled { shapes: vec![input], steps: Vec::new(), layout: Vec::new(), starts: Vec::new(), loss };
    let output = LayerSpec::Dense(DenseSpec {
        units: task.outputs(),
        activation: Activation::None,
        initialiser: None,
    });
    for (i, layer) in spec.layers.iter().chain([&output]).enumerate() {
        let place = Place {
            position: i + 1,
            name: format!("layers.{i}"),
            input: compiled.shape(),
            initialiser: spec.initialiser,
        };
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
    /// What its weights start with unless it says so itself.
    initialiser: Option<Initialiser>,
}

impl Compiled {
    /// The shape after the last layer so far.
    fn shape(&self) -> Shape {
        self.shapes.last().copied().expect("the input has a shape")
    }

    fn push_dense(&mut self, place: &Place, spec: &DenseSpec) -> Result<Shape, SpecError> {
        let &DenseSpec { units, activation, initialiser } = spec;
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
        let initialiser = initialiser.or(place.initialiser).unwrap_or(if activation.is_like_relu() {
            Initialiser::He
        } else {
            Initialiser::Glorot
        });
        if initialiser == Initialiser::Orthogonal && !initialise::orthogonal_is_quick(inputs, outputs) {
            return Err(SpecError::Orthogonal { layer, inputs, units: outputs });
        }
        let start = Start { initialiser, fan_in: inputs, fan_out: outputs };
        let weight = self.push_block(place, "weight", vec![inputs, outputs], start);
        let bias = self.push_block(place, "bias", vec![outputs], Start::ZERO);
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
    if !(spec.l1.is_finite() && spec.l1 >= 0.0) {
        return Err(SpecError::L1 { l1: spec.l1 });
    }
    Ok(())
}

fn compile_loss(spec: &NetworkSpec, task: Task) -> Result<Loss, SpecError> {
    let loss = spec.loss.unwrap_or(task.loss());
    let suits = match task {
        Task::Classes(_) => loss == LossSpec::SoftmaxCrossEntropy,
        Task::Numbers(_) => loss != LossSpec::SoftmaxCrossEntropy,
    };
    if !suits {
        return Err(SpecError::Loss { written: loss, suitable: task.loss() });
    }
    let settings = [
        ("label_smoothing", spec.label_smoothing != 0.0, LossSpec::SoftmaxCrossEntropy),
        ("class_weights", !spec.class_weights.is_empty(), LossSpec::SoftmaxCrossEntropy),
        ("huber_delta", spec.huber_delta.is_some(), LossSpec::Huber),
    ];
    for (setting, is_set, its_loss) in settings {
        if is_set && its_loss != loss {
            return Err(SpecError::LossSetting { setting, loss });
        }
    }
    Ok(match loss {
        LossSpec::SoftmaxCrossEntropy => {
            let (smoothing, weights) = (spec.label_smoothing, &spec.class_weights);
            if !(0.0..1.0).contains(&smoothing) {
                return Err(SpecError::LabelSmoothing { smoothing });
            }
            let right = |weight: &f32| weight.is_finite() && *weight >= 0.0;
            let fits = weights.len() == task.outputs() as usize && weights.iter().all(right);
            if !(weights.is_empty() || fits) {
                return Err(SpecError::ClassWeights { classes: task.outputs() });
            }
            Loss::SoftmaxCrossEntropy { smoothing, weights: weights.clone() }
        }
        LossSpec::MeanSquaredError => Loss::MeanSquaredError,
        LossSpec::BinaryCrossEntropy => Loss::BinaryCrossEntropy,
        LossSpec::Huber => {
            let delta = spec.huber_delta.unwrap_or(1.0);
            if !(delta.is_finite() && delta > 0.0) {
                return Err(SpecError::HuberDelta { delta });
            }
            Loss::Huber { delta }
        }
    })
}
