//! From a specification to the steps of a network: every shape is followed from layer to layer, every parameter gets its
//! place, and whatever does not fit is found.

use std::ops::Range;

use crate::initialise::{self, Start};
use crate::layers::conv2d::Conv2d;
use crate::layers::dense::Dense;
use crate::layers::layer_norm::LayerNorm;
use crate::layers::pool::{Pool, PoolKind};
use crate::layers::window::{Axis, Windows};
use crate::layers::{Layer, Step};
use crate::loss::Loss;
use crate::network::{ParameterBlock, ParameterKind};
use crate::shape::Shape;
use crate::spec::{
    Activation, Conv2dSpec, DenseSpec, Initialiser, LayerSpec, LossSpec, MAX_FEATURES, MAX_LAYERS,
    MAX_PARAMETERS, MAX_UNITS, MAX_VALUES, MAX_WINDOW, NetworkSpec, Padding, PoolSpec, SpecError, Task,
};

/// What a layer's blocks are called, and what they are.
type Part = (&'static str, ParameterKind);
const WEIGHT: Part = ("weight", ParameterKind::Weight);
const BIAS: Part = ("bias", ParameterKind::Bias);
const GAIN: Part = ("gain", ParameterKind::Gain);

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
            LayerSpec::Conv2d(conv2d) => compiled.push_conv2d(&place, conv2d)?,
            LayerSpec::MaxPool(pool) => compiled.push_pool(&place, PoolKind::Largest, pool)?,
            LayerSpec::AveragePool(pool) => compiled.push_pool(&place, PoolKind::Mean, pool)?,
            LayerSpec::GlobalMaxPool => compiled.push_global_pool(&place, PoolKind::Largest)?,
            LayerSpec::GlobalAveragePool => compiled.push_global_pool(&place, PoolKind::Mean)?,
            LayerSpec::LayerNorm => compiled.push_layer_norm(&place)?,
            LayerSpec::Flatten => Shape::Vector(place.input.len()),
            LayerSpec::Activation(spec) => {
                compiled.push_step(Layer::Activation(spec.function), place.input, place.input)
            }
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

impl Place {
    /// Channels, height and width of what the layer sees, which must be an image.
    fn image(&self, kind: &'static str) -> Result<(usize, usize, usize), SpecError> {
        match self.input {
            Shape::Image { channels, height, width } => Ok((channels, height, width)),
            Shape::Vector(values) => Err(SpecError::NoImage { layer: self.position, kind, values }),
        }
    }

    /// What weights of `rows` by `columns` start with: the layer's own choice, the network's, or what suits the
    /// activation.
    fn initialiser(
        &self,
        own: Option<Initialiser>,
        activation: Activation,
        (rows, columns): (usize, usize),
    ) -> Result<Initialiser, SpecError> {
        let suitable = if activation.is_like_relu() { Initialiser::He } else { Initialiser::Glorot };
        let initialiser = own.or(self.initialiser).unwrap_or(suitable);
        if initialiser == Initialiser::Orthogonal && !initialise::orthogonal_is_quick(rows, columns) {
            return Err(SpecError::Orthogonal { layer: self.position, inputs: rows, units: columns });
        }
        Ok(initialiser)
    }
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
        let initialiser = place.initialiser(initialiser, activation, (inputs, outputs))?;
        let start = Start::Weights { initialiser, fan_in: inputs, fan_out: outputs, columns: outputs };
        let weight = self.push_block(place, WEIGHT, vec![inputs, outputs], start);
        let bias = self.push_block(place, BIAS, vec![outputs], Start::Constant(0.0));
        let in_place = if activation.needs_sums() { Activation::None } else { activation };
        let dense = Dense { inputs, outputs, activation: in_place, weight, bias };
        let shape = self.push_step(Layer::Dense(dense), place.input, Shape::Vector(outputs));
        self.push_activation_apart(activation, shape);
        Ok(shape)
    }

    fn push_conv2d(&mut self, place: &Place, spec: &Conv2dSpec) -> Result<Shape, SpecError> {
        let &Conv2dSpec { channels, kernel, stride, padding, groups, activation, initialiser } = spec;
        let layer = place.position;
        let (channels_in, height, width) = place.image("conv2d")?;
        check_setting(layer, "channels", channels, 1, MAX_UNITS)?;
        check_setting(layer, "kernel", kernel, 1, MAX_WINDOW)?;
        check_setting(layer, "stride", stride, 1, MAX_WINDOW)?;
        if let Padding::Number(places) = padding {
            check_setting(layer, "padding", places, 0, kernel - 1)?;
        }
        let (channels, groups) = (channels as usize, groups as usize);
        if groups == 0 || !channels_in.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            return Err(SpecError::Groups { layer, groups, inputs: channels_in, channels });
        }
        let axis = |length| axis(length, kernel as usize, stride as usize, padding);
        let (Some(rows), Some(columns)) = (axis(height), axis(width)) else {
            return Err(SpecError::Window { layer, size: kernel, shape: place.input });
        };
        let windows = Windows { rows, columns };
        let shape = Shape::Image { channels, height: rows.count, width: columns.count };
        let taps = (channels_in / groups) as u128 * windows.size() as u128;
        let values = taps.max(channels as u128) * windows.count() as u128;
        if values > u128::from(MAX_VALUES) {
            return Err(SpecError::TooManyValues { layer, values });
        }
        let parameters = self.parameters() as u128 + (taps + 1) * channels as u128;
        // Now it is known to fit.
        let taps = taps as usize;
        if parameters > MAX_PARAMETERS as u128 {
            let parameters = u64::try_from(parameters).unwrap_or(u64::MAX);
            return Err(SpecError::TooManyParameters {
                layer,
                inputs: taps,
                units: spec.channels,
                parameters,
            });
        }
        let start = Start::Weights {
            initialiser: place.initialiser(initialiser, activation, (channels, taps))?,
            fan_in: taps,
            fan_out: channels / groups * windows.size(),
            columns: taps,
        };
        let weight_shape = vec![channels, channels_in / groups, kernel as usize, kernel as usize];
        let weight = self.push_block(place, WEIGHT, weight_shape, start);
        let bias = self.push_block(place, BIAS, vec![channels], Start::Constant(0.0));
        let in_place = if activation.needs_sums() { Activation::None } else { activation };
        let conv2d = Conv2d { channels_in, channels, groups, windows, activation: in_place, weight, bias };
        self.push_step(Layer::Conv2d(conv2d), place.input, shape);
        self.push_activation_apart(activation, shape);
        Ok(shape)
    }

    fn push_layer_norm(&mut self, place: &Place) -> Result<Shape, SpecError> {
        let values = place.input.len();
        let parameters = self.parameters() as u64 + 2 * values as u64;
        if parameters > MAX_PARAMETERS as u64 {
            return Err(SpecError::TooManyParameters {
                layer: place.position,
                inputs: 1,
                units: u32::try_from(2 * values).unwrap_or(u32::MAX),
                parameters,
            });
        }
        let gain = self.push_block(place, GAIN, vec![values], Start::Constant(1.0));
        let bias = self.push_block(place, BIAS, vec![values], Start::Constant(0.0));
        let layer = Layer::LayerNorm(LayerNorm { values, gain, bias });
        Ok(self.push_step(layer, place.input, place.input))
    }

    fn push_pool(&mut self, place: &Place, kind: PoolKind, spec: &PoolSpec) -> Result<Shape, SpecError> {
        let (layer, size) = (place.position, spec.size);
        let stride = spec.stride.unwrap_or(size);
        let (channels, height, width) = place.image("pooling")?;
        check_setting(layer, "size", size, 1, MAX_WINDOW)?;
        check_setting(layer, "stride", stride, 1, MAX_WINDOW)?;
        let axis = |length| axis(length, size as usize, stride as usize, Padding::Valid);
        let (Some(rows), Some(columns)) = (axis(height), axis(width)) else {
            return Err(SpecError::Window { layer, size, shape: place.input });
        };
        let shape = Shape::Image { channels, height: rows.count, width: columns.count };
        let pool = Pool { kind, windows: Windows { rows, columns } };
        Ok(self.push_step(Layer::Pool(pool), place.input, shape))
    }

    fn push_global_pool(&mut self, place: &Place, kind: PoolKind) -> Result<Shape, SpecError> {
        let (channels, height, width) = place.image("global pooling")?;
        let whole = |length| Axis { length, size: length, stride: 1, before: 0, count: 1 };
        let pool = Pool { kind, windows: Windows { rows: whole(height), columns: whole(width) } };
        Ok(self.push_step(Layer::Pool(pool), place.input, Shape::Vector(channels)))
    }

    /// A step of its own for an activation that cannot be applied in place.
    fn push_activation_apart(&mut self, activation: Activation, shape: Shape) {
        if activation.needs_sums() {
            self.push_step(Layer::Activation(activation), shape, shape);
        }
    }

    fn push_step(&mut self, layer: Layer, input: Shape, output: Shape) -> Shape {
        self.steps.push(Step { layer, inputs: input.len(), outputs: output.len() });
        output
    }

    /// Gives a block of parameters the next place in the flat vector.
    fn push_block(
        &mut self,
        place: &Place,
        (part, kind): Part,
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
        });
        self.starts.push(start);
        range
    }

    fn parameters(&self) -> usize {
        self.layout.last().map_or(0, |block| block.range.end)
    }
}

/// The shape of an example: as the specification says; otherwise without an arrangement, or, if a layer sees an image, a
/// square if there is one.
fn input_shape(spec: &NetworkSpec, features: usize) -> Result<Shape, SpecError> {
    let Some(shape) = spec.input else {
        let sees_images = spec.layers.iter().any(LayerSpec::sees_an_image);
        return Ok(square(features).filter(|_| sees_images).unwrap_or(Shape::Vector(features)));
    };
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

/// The square image, grey or of three colours, that has this many values.
fn square(values: usize) -> Option<Shape> {
    [1, 3].into_iter().find_map(|channels| {
        let side = (values / channels).isqrt();
        let shape = Shape::Image { channels, height: side, width: side };
        (shape.len() == values).then_some(shape)
    })
}

/// The windows of this size over `length` places; none if not one fits.
fn axis(length: usize, size: usize, stride: usize, padding: Padding) -> Option<Axis> {
    let (before, both) = match padding {
        Padding::Valid => (0, 0),
        Padding::Number(places) => (places as usize, 2 * places as usize),
        Padding::Same => {
            let both = ((length.div_ceil(stride) - 1) * stride + size).saturating_sub(length);
            (both / 2, both)
        }
    };
    let count = (length + both).checked_sub(size)? / stride + 1;
    Some(Axis { length, size, stride, before, count })
}

fn check_setting(
    layer: usize,
    setting: &'static str,
    value: u32,
    least: u32,
    most: u32,
) -> Result<(), SpecError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(SpecError::Setting { layer, setting, value, least, most })
    }
}
