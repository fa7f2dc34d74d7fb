//! The shapes and parameters of each kind of layer.

use super::{BIAS, Compiled, GAIN, MEAN, Place, VARIANCE, WEIGHT};
use crate::initialize::Start;
use crate::layers::batch_norm::BatchNorm;
use crate::layers::conv2d::{self, Conv2d};
use crate::layers::dense::Dense;
use crate::layers::dropout::Dropout;
use crate::layers::embedding::Embedding;
use crate::layers::layer_norm::LayerNorm;
use crate::layers::pool::{Pool, PoolKind};
use crate::layers::residual::Sum;
use crate::layers::window::{Axis, Windows};
use crate::layers::{Layer, Step};
use crate::shape::Shape;
use crate::spec::{
    Activation, Conv2dSpec, DenseSpec, DropoutSpec, EmbeddingSpec, NormSpec, PARAMETERS_MAX, Padding,
    PoolSpec, Position, ResidualSpec, Shortcut, SpecError, UNITS_MAX, VALUES_MAX, WINDOW_MAX,
};

/// The largest epsilon of a normalization, which is far from one already.
const EPSILON_MAX: f32 = 1.0;

impl Compiled {
    pub(super) fn push_dense(&mut self, place: &Place, spec: &DenseSpec) -> Result<Shape, SpecError> {
        let &DenseSpec { units, activation, initializer } = spec;
        let (layer, inputs) = (place.position, place.input.len());
        if units == 0 || units > UNITS_MAX {
            return Err(SpecError::Units { layer, units });
        }
        // At most 2^24 * 2^20 + 2^20 + 2^28: far from overflowing.
        let parameters = self.all_parameters() as u64 + (inputs as u64 + 1) * u64::from(units);
        if parameters > PARAMETERS_MAX as u64 {
            return Err(SpecError::TooManyParameters { layer, inputs, units, parameters });
        }
        let outputs = units as usize;
        let initializer = self.initializer(place, initializer, activation, (inputs, outputs))?;
        let start = Start::Weights { initializer, fan_in: inputs, fan_out: outputs, columns: outputs };
        let weight = self.push_block(place, WEIGHT, vec![inputs, outputs], start);
        let bias = self.push_block(place, BIAS, vec![outputs], Start::Constant(0.0));
        let in_place = if activation.needs_sums() { Activation::None } else { activation };
        let dense = Dense { inputs, outputs, activation: in_place, weight, bias };
        let shape = self.push_step(Layer::Dense(dense), place.input, Shape::Vector(outputs));
        self.push_activation_apart(activation, shape);
        Ok(shape)
    }

    pub(super) fn push_conv2d(&mut self, place: &Place, spec: &Conv2dSpec) -> Result<Shape, SpecError> {
        let &Conv2dSpec { channels, kernel, stride, padding, groups, activation, initializer } = spec;
        let layer = place.position;
        let (channels_in, height, width) = place.image("conv2d")?;
        check_setting(layer, "channels", channels, 1, UNITS_MAX)?;
        check_setting(layer, "kernel", kernel, 1, WINDOW_MAX)?;
        check_setting(layer, "stride", stride, 1, WINDOW_MAX)?;
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
        let buffered = conv2d::buffered((channels_in / groups, channels / groups), groups, windows);
        let values = buffered.max(taps.max(channels as u128) * windows.count() as u128);
        if values > u128::from(VALUES_MAX) {
            return Err(SpecError::TooManyValues { layer, values });
        }
        let parameters = self.all_parameters() as u128 + (taps + 1) * channels as u128;
        // The check above ensures that it fits.
        let taps = taps as usize;
        if parameters > PARAMETERS_MAX as u128 {
            let parameters = u64::try_from(parameters).unwrap_or(u64::MAX);
            return Err(SpecError::TooManyParameters {
                layer,
                inputs: taps,
                units: spec.channels,
                parameters,
            });
        }
        let start = Start::Weights {
            initializer: self.initializer(place, initializer, activation, (channels, taps))?,
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

    pub(super) fn push_layer_norm(&mut self, place: &Place, spec: &NormSpec) -> Result<Shape, SpecError> {
        let epsilon = epsilon(place, spec)?;
        let values = place.input.len();
        self.check_room(place, 2, values)?;
        let gain = self.push_block(place, GAIN, vec![values], Start::Constant(1.0));
        let bias = self.push_block(place, BIAS, vec![values], Start::Constant(0.0));
        let layer = Layer::LayerNorm(LayerNorm { values, epsilon, gain, bias });
        Ok(self.push_step(layer, place.input, place.input))
    }

    pub(super) fn push_pool(
        &mut self,
        place: &Place,
        kind: PoolKind,
        spec: &PoolSpec,
    ) -> Result<Shape, SpecError> {
        let (layer, size) = (place.position, spec.size);
        let stride = spec.stride.unwrap_or(size);
        let (channels, height, width) = place.image("pooling")?;
        check_setting(layer, "size", size, 1, WINDOW_MAX)?;
        check_setting(layer, "stride", stride, 1, WINDOW_MAX)?;
        if let Padding::Number(places) = spec.padding {
            check_setting(layer, "padding", places, 0, size - 1)?;
        }
        let axis = |length| axis(length, size as usize, stride as usize, spec.padding);
        let (Some(rows), Some(columns)) = (axis(height), axis(width)) else {
            return Err(SpecError::Window { layer, size, shape: place.input });
        };
        let shape = Shape::Image { channels, height: rows.count, width: columns.count };
        // Padding can make an image larger.
        let values = [channels, rows.count, columns.count].into_iter().map(|length| length as u128).product();
        if values > u128::from(VALUES_MAX).max(place.input.len() as u128) {
            return Err(SpecError::TooManyValues { layer, values });
        }
        let pool = Pool { kind, windows: Windows { rows, columns } };
        Ok(self.push_step(Layer::Pool(pool), place.input, shape))
    }

    pub(super) fn push_global_pool(&mut self, place: &Place, kind: PoolKind) -> Result<Shape, SpecError> {
        let (channels, height, width) = place.image("global pooling")?;
        let whole = |length| Axis { length, size: length, stride: 1, before: 0, count: 1 };
        let pool = Pool { kind, windows: Windows { rows: whole(height), columns: whole(width) } };
        Ok(self.push_step(Layer::Pool(pool), place.input, Shape::Vector(channels)))
    }

    /// Normalizes the channels of images, or the features of vectors.
    pub(super) fn push_batch_norm(&mut self, place: &Place, spec: &NormSpec) -> Result<Shape, SpecError> {
        let epsilon = epsilon(place, spec)?;
        let (channels, places) = match place.input {
            Shape::Vector(values) => (values, 1),
            Shape::Image { channels, height, width } => (channels, height * width),
        };
        self.check_room(place, 4, channels)?;
        let gain = self.push_block(place, GAIN, vec![channels], Start::Constant(1.0));
        let bias = self.push_block(place, BIAS, vec![channels], Start::Constant(0.0));
        // What is frozen observes nothing: its statistics are parameters like others, which stay as they are.
        let frozen = self.frozen;
        let (mean, variance) = if frozen {
            let mean = self.push_block(place, MEAN, vec![channels], Start::Constant(0.0));
            (mean, self.push_block(place, VARIANCE, vec![channels], Start::Constant(1.0)))
        } else {
            let mean = self.push_statistic(place, "running_mean", channels, 0.0);
            (mean, self.push_statistic(place, "running_variance", channels, 1.0))
        };
        let layer =
            Layer::BatchNorm(BatchNorm { channels, places, epsilon, gain, bias, mean, variance, frozen });
        Ok(self.push_step(layer, place.input, place.input))
    }

    pub(super) fn push_dropout(&mut self, place: &Place, spec: &DropoutSpec) -> Result<Shape, SpecError> {
        let steps_before = self.steps.iter().filter(|step| matches!(step.layer, Layer::Dropout(_))).count();
        let number = u32::try_from(steps_before).expect("at most as many as layers");
        let wrong = SpecError::Rate { layer: place.position, rate: spec.rate };
        let dropout = Dropout::new(spec.rate, place.input.len(), number).ok_or(wrong)?;
        Ok(self.push_step(Layer::Dropout(dropout), place.input, place.input))
    }

    pub(super) fn push_embedding(&mut self, place: &Place, spec: &EmbeddingSpec) -> Result<Shape, SpecError> {
        let (layer, columns) = (place.position, place.input.len());
        if !self.steps.is_empty() || layer != Position::top(1) {
            return Err(SpecError::EmbeddingNotFirst { layer });
        }
        check_setting(layer, "vocabulary", spec.vocabulary, 1, UNITS_MAX)?;
        check_setting(layer, "width", spec.width, 1, UNITS_MAX)?;
        let (vocabulary, width) = (spec.vocabulary as usize, spec.width as usize);
        self.check_room(place, vocabulary, width)?;
        let values = columns as u128 * width as u128;
        if values > u128::from(VALUES_MAX) {
            return Err(SpecError::TooManyValues { layer, values });
        }
        // One input, 1 at its integer and 0 elsewhere, reaches a vector, so each sum has one term.
        let start = Start::Weights {
            initializer: self.initializer(place, spec.initializer, Activation::None, (vocabulary, width))?,
            fan_in: 1,
            fan_out: width,
            columns: width,
        };
        let weight = self.push_block(place, WEIGHT, vec![vocabulary, width], start);
        let embedding = Embedding { vocabulary, width, weight };
        Ok(self.push_step(Layer::Embedding(embedding), place.input, Shape::Vector(columns * width)))
    }

    pub(super) fn push_residual(&mut self, place: &Place, spec: &ResidualSpec) -> Result<Shape, SpecError> {
        let layer = place.position;
        if spec.layers.is_empty() {
            return Err(SpecError::EmptyBlock { layer });
        }
        let from = self.steps.len();
        let mut shape = place.input;
        for (i, inner) in spec.layers.iter().enumerate() {
            let position = layer.inside(i + 1).ok_or(SpecError::TooDeep { layer })?;
            let name = format!("{}.body.{i}", place.name);
            shape = self.push_layer(&Place { position, name, input: shape, ..*place }, inner)?;
        }
        let projection = match spec.shortcut {
            Shortcut::Identity if place.input == shape => None,
            Shortcut::Identity => {
                let shortcut = "the two cannot be added; write shortcut = \"projection\"";
                return Err(SpecError::Shortcut { layer, input: place.input, output: shape, shortcut });
            }
            Shortcut::Projection => Some(Box::new(self.projection(place, shape)?)),
        };
        self.push_step(Layer::Sum(Sum { from, projection }), shape, shape);
        if spec.activation != Activation::None {
            self.push_step(Layer::Activation(spec.activation), shape, shape);
        }
        Ok(shape)
    }

    /// The step that turns the inputs of a residual block into `output`.
    fn projection(&mut self, place: &Place, output: Shape) -> Result<Step, SpecError> {
        let name = format!("{}.shortcut", place.name);
        let place = Place { name, ..*place };
        let (number, description) = (format!("{}.shortcut", place.position), "projection".to_owned());
        self.summarized(&place, (number, description), |compiled| compiled.push_projection(&place, output))?;
        let summary = self.layers.last_mut().expect("the projection was just summarized");
        summary.depth += 1;
        // The projection writes straight into the sum, so it keeps no values.
        summary.values = 0;
        Ok(self.steps.pop().expect("the projection was just pushed"))
    }

    fn push_projection(&mut self, place: &Place, output: Shape) -> Result<Shape, SpecError> {
        let (activation, initializer) = (Activation::None, None);
        match (place.input, output) {
            (Shape::Image { height, width, .. }, Shape::Image { channels, height: rows, width: columns }) => {
                let fits =
                    |stride: &usize| height.div_ceil(*stride) == rows && width.div_ceil(*stride) == columns;
                let Some(stride) = (1..=WINDOW_MAX as usize).find(fits) else {
                    let shortcut =
                        "no stride of the shortcut does the same; give its convolutions padding = \"same\"";
                    let layer = place.position;
                    return Err(SpecError::Shortcut { layer, input: place.input, output, shortcut });
                };
                let (channels, stride) = (channels as u32, stride as u32);
                let (kernel, groups, padding) = (1, 1, Padding::Valid);
                let spec = Conv2dSpec { channels, kernel, stride, padding, groups, activation, initializer };
                self.push_conv2d(place, &spec)
            }
            _ => {
                let units = u32::try_from(output.len()).unwrap_or(u32::MAX);
                self.push_dense(place, &DenseSpec { units, activation, initializer })
            }
        }
    }

    /// Checks that `inputs` times `units` more parameters stay within the limit.
    fn check_room(&self, place: &Place, inputs: usize, units: usize) -> Result<(), SpecError> {
        // At most 2^28 + 2^24 * 2^24: far from overflowing.
        let parameters = self.all_parameters() as u64 + inputs as u64 * units as u64;
        if parameters > PARAMETERS_MAX as u64 {
            let (layer, units) = (place.position, u32::try_from(units).unwrap_or(u32::MAX));
            return Err(SpecError::TooManyParameters { layer, inputs, units, parameters });
        }
        Ok(())
    }
}

/// What a normalization adds to a variance, if it keeps the quotient finite and leaves it a normalization.
fn epsilon(place: &Place, spec: &NormSpec) -> Result<f32, SpecError> {
    let epsilon = spec.epsilon;
    let allowed = f32::MIN_POSITIVE..=EPSILON_MAX;
    match allowed.contains(&epsilon) {
        true => Ok(epsilon),
        false => Err(SpecError::Epsilon { layer: place.position, epsilon }),
    }
}

/// The windows of this size over `length` places; `None` if not even one fits.
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
    layer: Position,
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
