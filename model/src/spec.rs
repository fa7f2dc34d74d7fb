//! What a person writes to describe a network, and everything that can be wrong with it.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// The most hidden layers a network may have.
pub const MAX_LAYERS: usize = 64;

/// The most units a layer may have.
pub const MAX_UNITS: u32 = 1 << 20;

/// The most input features a network may have.
pub const MAX_FEATURES: usize = 1 << 24;

/// The most parameters a network may have: 1 GiB of `f32`.
pub const MAX_PARAMETERS: usize = 1 << 28;

/// The largest side of a window, and the largest step from one window to the next.
pub const MAX_WINDOW: u32 = 1024;

/// The most values that a convolution may make of one example, unfolded windows included: 256 MiB of `f32`.
pub const MAX_VALUES: u64 = 1 << 26;

/// A network as described in a configuration, without the output layer, which follows from the [`Task`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// The shape of an example, `[channels, height, width]`, for layers that see images; its values lie in row-major
    /// order. By default the features have no arrangement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<[u32; 3]>,
    /// The hidden layers, first to last.
    #[serde(default)]
    pub layers: Vec<LayerSpec>,
    /// Weight decay: `l2 / 2` times the sum of the squared weights (not biases) is added to the mean loss.
    #[serde(default)]
    pub l2: f32,
    /// `l1` times the sum of the sizes of the weights (not biases) is added to the mean loss.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub l1: f32,
    /// The loss; by default the one that suits the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossSpec>,
    /// For softmax cross-entropy: how much of the target, from 0 to below 1, is spread evenly over all classes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub label_smoothing: f32,
    /// For softmax cross-entropy: what an example's loss is multiplied by, one number a class; empty for 1. The mean is
    /// still over the number of examples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_weights: Vec<f32>,
    /// For the Huber loss: the difference up to which it is quadratic, by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub huber_delta: Option<f32>,
    /// How the weights of layers start that do not say it themselves, the output layer among them; by default as suits
    /// each layer's activation: He before relu and those like it, Glorot otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialiser: Option<Initialiser>,
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

/// One hidden layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LayerSpec {
    /// Every unit sees every input.
    Dense(DenseSpec),
    /// Every output sees a window of an image.
    Conv2d(Conv2dSpec),
    /// The largest value of each window of a channel.
    MaxPool(PoolSpec),
    /// The mean of each window of a channel.
    AveragePool(PoolSpec),
    /// The largest value of each channel, a vector.
    GlobalMaxPool,
    /// The mean of each channel, a vector.
    GlobalAveragePool,
    /// The values of each example shifted and scaled to mean 0 and variance 1, then by a learnt gain and bias a value.
    LayerNorm,
    /// An image as a vector, in row-major order. Dense layers do so on their own.
    Flatten,
    /// One function for every value.
    Activation(ActivationSpec),
}

impl LayerSpec {
    fn dense(units: u32, activation: Activation) -> LayerSpec {
        LayerSpec::Dense(DenseSpec { units, activation, initialiser: None })
    }

    fn conv2d(channels: u32, kernel: u32, padding: Padding, activation: Activation) -> LayerSpec {
        let (stride, groups, initialiser) = (1, 1, None);
        LayerSpec::Conv2d(Conv2dSpec { channels, kernel, stride, padding, groups, activation, initialiser })
    }

    fn max_pool(size: u32) -> LayerSpec {
        LayerSpec::MaxPool(PoolSpec { size, stride: None })
    }

    /// Whether it needs an image.
    pub(crate) fn sees_an_image(&self) -> bool {
        match self {
            LayerSpec::Conv2d(_)
            | LayerSpec::MaxPool(_)
            | LayerSpec::AveragePool(_)
            | LayerSpec::GlobalMaxPool
            | LayerSpec::GlobalAveragePool => true,
            LayerSpec::Dense(_) | LayerSpec::LayerNorm | LayerSpec::Flatten | LayerSpec::Activation(_) => {
                false
            }
        }
    }
}

/// A dense layer: `activation(x W + b)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseSpec {
    /// How many units, that is outputs.
    pub units: u32,
    /// What each unit applies to its sum.
    #[serde(default)]
    pub activation: Activation,
    /// How the weights start, if not as [`NetworkSpec::initialiser`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialiser: Option<Initialiser>,
}

/// A convolution of an image `[channels in, height, width]`: `activation(conv(x, W) + b)`, an image with `channels`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2dSpec {
    /// How many channels it answers with.
    pub channels: u32,
    /// Height and width of a window.
    pub kernel: u32,
    /// Places from one window to the next, along both axes.
    #[serde(default = "one")]
    pub stride: u32,
    /// What is added around the image.
    #[serde(default)]
    pub padding: Padding,
    /// Into how many parts the channels fall that do not see each other.
    #[serde(default = "one")]
    pub groups: u32,
    /// What is applied to each sum.
    #[serde(default)]
    pub activation: Activation,
    /// How the weights start, if not as [`NetworkSpec::initialiser`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialiser: Option<Initialiser>,
}

/// How many zeros are added around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// None.
    #[default]
    Valid,
    /// As many as make the number of windows along an axis the image's length divided by the stride, rounded up. If it is
    /// odd, the end gets one more than the beginning.
    Same,
    /// So many on each side.
    #[serde(untagged)]
    Number(u32),
}

/// Pooling: each window of a channel becomes one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// Height and width of a window.
    pub size: u32,
    /// Places from one window to the next; by default as many as a window has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<u32>,
}

/// An activation as a layer of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationSpec {
    /// What is applied.
    pub function: Activation,
}

fn one() -> u32 {
    1
}

/// The function a unit applies to its weighted sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `max(z, 0)`.
    #[default]
    Relu,
    /// `z` from 0 on, `0.01 z` below.
    LeakyRelu,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-z))`.
    Sigmoid,
    /// `z` times the normal distribution function of `z`.
    Gelu,
    /// `z / (1 + exp(-z))`.
    Silu,
    /// `ln(1 + exp(z))`.
    Softplus,
    /// The sum itself.
    None,
}

impl Activation {
    fn from_name(name: &str) -> Option<Activation> {
        Some(match name {
            "relu" => Activation::Relu,
            "leaky-relu" => Activation::LeakyRelu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            "gelu" => Activation::Gelu,
            "silu" => Activation::Silu,
            "softplus" => Activation::Softplus,
            "none" => Activation::None,
            _ => return None,
        })
    }
}

/// How the weights of a layer start. Biases always start at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initialiser {
    /// Uniform, with variance `2 / fan_in`.
    He,
    /// Uniform, with variance `2 / (fan_in + fan_out)`.
    Glorot,
    /// Uniform, with variance `1 / fan_in`.
    LeCun,
    /// The columns of the matrix, or its rows if these are fewer, are orthogonal to each other and of length 1.
    Orthogonal,
    /// 0 everywhere. The units of a layer that starts so stay alike unless they are told apart from the other side.
    Zero,
}

/// How an answer is compared with its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossSpec {
    /// `ln(sum(exp(z))) - z[class]`, for classes.
    SoftmaxCrossEntropy,
    /// The mean over target columns of `(output - target)^2`, for numbers.
    MeanSquaredError,
    /// The mean over target columns of `ln(1 + exp(z)) - z target`, for targets from 0 to 1; predictions are
    /// `1 / (1 + exp(-z))`.
    BinaryCrossEntropy,
    /// The mean over target columns of half the squared difference, where that is larger than
    /// [`NetworkSpec::huber_delta`] of `delta (|difference| - delta / 2)`, for numbers.
    Huber,
}

/// What is learnt, which decides the output layer and the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One of this many classes.
    Classes(u32),
    /// This many numbers.
    Numbers(u32),
}

impl Task {
    /// The width of the output layer.
    pub fn outputs(self) -> u32 {
        match self {
            Task::Classes(classes) => classes,
            Task::Numbers(columns) => columns,
        }
    }

    /// The loss a network for this task has.
    pub fn loss(self) -> LossSpec {
        match self {
            Task::Classes(_) => LossSpec::SoftmaxCrossEntropy,
            Task::Numbers(_) => LossSpec::MeanSquaredError,
        }
    }
}

impl NetworkSpec {
    /// Reads the shorthand: `mlp:128,64` for two dense layers with relu, `linear` (or `mlp:`) for no hidden layer,
    /// `cnn:8,16` for two convolutions (5 x 5 windows, padding `same`, relu) of 8 and 16 channels, each followed by
    /// max-pooling by 2, and `lenet`, after LeCun, Bottou, Bengio and Haffner (1998), "Gradient-Based Learning Applied to
    /// Document Recognition", with relu and max-pooling. `mlp:128,64:tanh` and `cnn:8:tanh` have another activation.
    pub fn from_shorthand(shorthand: &str) -> Result<NetworkSpec, SpecError> {
        let layers = match shorthand.split_once(':') {
            None if shorthand == "linear" => Vec::new(),
            None if shorthand == "lenet" => lenet(),
            Some(("mlp", rest)) => {
                let (widths, activation) = widths(rest, "units; write for example mlp:128,64", 1)?;
                widths.into_iter().map(|units| LayerSpec::dense(units, activation)).collect()
            }
            Some(("cnn", rest)) => {
                let (widths, activation) = widths(rest, "channels; write for example cnn:8,16", 2)?;
                let conv2d = |channels| LayerSpec::conv2d(channels, 5, Padding::Same, activation);
                widths.into_iter().flat_map(|channels| [conv2d(channels), LayerSpec::max_pool(2)]).collect()
            }
            _ => return Err(SpecError::Shorthand { shorthand: shorthand.to_owned() }),
        };
        Ok(NetworkSpec { layers, ..NetworkSpec::default() })
    }

    /// Reads the JSON form. Whether the layers make sense is checked by [`Network::new`](crate::Network::new).
    pub fn from_json(json: &str) -> Result<NetworkSpec, SpecError> {
        serde_json::from_str(json).map_err(|error| SpecError::Json { message: error.to_string() })
    }

    /// The JSON form on one line; [`NetworkSpec::from_json`] gives an equal specification back.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a specification is plain data")
    }
}

/// Takes apart `8,16:tanh`: numbers of `unit`, each for `layers` layers, and an activation.
fn widths(text: &str, unit: &'static str, layers: usize) -> Result<(Vec<u32>, Activation), SpecError> {
    let (numbers, activation) = match text.split_once(':') {
        None => (text, Activation::default()),
        Some((numbers, name)) => {
            let name = name.trim();
            let unknown = || SpecError::UnknownActivation { name: name.to_owned() };
            (numbers, Activation::from_name(name).ok_or_else(unknown)?)
        }
    };
    let count = if numbers.trim().is_empty() { 0 } else { numbers.split(',').count() };
    if count * layers > MAX_LAYERS {
        return Err(SpecError::TooManyLayers { layers: count * layers });
    }
    let number = |(i, text): (usize, &str)| {
        let wrong = |_| SpecError::NotAWidth { layer: i * layers + 1, text: text.trim().to_owned(), unit };
        text.trim().parse().map_err(wrong)
    };
    let widths = numbers.split(',').take(count).enumerate().map(number).collect::<Result<_, _>>()?;
    Ok((widths, activation))
}

fn lenet() -> Vec<LayerSpec> {
    let relu = Activation::Relu;
    vec![
        LayerSpec::conv2d(6, 5, Padding::Same, relu),
        LayerSpec::max_pool(2),
        LayerSpec::conv2d(16, 5, Padding::Valid, relu),
        LayerSpec::max_pool(2),
        LayerSpec::dense(120, relu),
        LayerSpec::dense(84, relu),
    ]
}

/// What is wrong with a specification, where, and what to do. Layers are counted from 1; the last is the output.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// Not one of the shorthands.
    #[error(
        "unknown model \"{shorthand}\": write mlp:128,64 (or mlp:128,64:tanh), cnn:8,16, lenet, linear, or name a .toml \
         or .json file"
    )]
    Shorthand {
        /// What was written.
        shorthand: String,
    },
    /// A width in the shorthand that is not a number.
    #[error("layer {layer}: \"{text}\" is not a number of {unit}")]
    NotAWidth {
        /// Position, counted from 1.
        layer: usize,
        /// What was written.
        text: String,
        /// What is counted, and an example.
        unit: &'static str,
    },
    /// An activation in the shorthand that does not exist.
    #[error(
        "unknown activation \"{name}\": use relu, leaky-relu, tanh, sigmoid, gelu, silu, softplus or none"
    )]
    UnknownActivation {
        /// What was written.
        name: String,
    },
    /// Text that is not the JSON form of a specification.
    #[error("the model specification is not valid: {message}")]
    Json {
        /// The parser's message, with line and column.
        message: String,
    },
    /// More hidden layers than [`MAX_LAYERS`].
    #[error("{layers} hidden layers are too many: use at most {MAX_LAYERS}")]
    TooManyLayers {
        /// How many there are.
        layers: usize,
    },
    /// A layer without units or with more than [`MAX_UNITS`].
    #[error("layer {layer}: {units} units do not work; use 1 to {MAX_UNITS}")]
    Units {
        /// Position, counted from 1.
        layer: usize,
        /// How many it asks for.
        units: u32,
    },
    /// More parameters than [`MAX_PARAMETERS`].
    #[error(
        "layer {layer}: {inputs} inputs times {units} units bring the network to {parameters} parameters, more than \
         {MAX_PARAMETERS}; use fewer units"
    )]
    TooManyParameters {
        /// Position of the layer that goes over the limit, counted from 1.
        layer: usize,
        /// Its inputs.
        inputs: usize,
        /// Its units.
        units: u32,
        /// Parameters up to and including this layer.
        parameters: u64,
    },
    /// No feature at all, or more than [`MAX_FEATURES`].
    #[error("the data has {features} features; a network needs 1 to {MAX_FEATURES}")]
    Features {
        /// How many the data has.
        features: usize,
    },
    /// An input shape that does not hold the data's features.
    #[error(
        "input: {shape:?} does not hold the {features} features of the data; channels x height x width must"
    )]
    Input {
        /// What was written: channels, height, width.
        shape: [u32; 3],
        /// How many features the data has.
        features: usize,
    },
    /// A number of classes that is no choice, or does not fit a label.
    #[error("the data has {classes} classes; classification needs 2 to 65536 (is the label column right?)")]
    Classes {
        /// How many the data has.
        classes: u32,
    },
    /// No target column, or more than [`MAX_UNITS`].
    #[error("the data has {columns} target columns; a network needs 1 to {MAX_UNITS}")]
    TargetColumns {
        /// How many the data has.
        columns: u32,
    },
    /// A weight decay that is negative or not finite.
    #[error("l2 = {l2} does not work; use 0 or a small positive number such as 0.0001")]
    L2 {
        /// What was written.
        l2: f32,
    },
    /// An L1 penalty that is negative or not finite.
    #[error("l1 = {l1} does not work; use 0 or a small positive number such as 0.0001")]
    L1 {
        /// What was written.
        l1: f32,
    },
    /// A label smoothing outside its range.
    #[error("label_smoothing = {smoothing} does not work; use 0 or a number below 1 such as 0.1")]
    LabelSmoothing {
        /// What was written.
        smoothing: f32,
    },
    /// Class weights that do not fit the classes.
    #[error("class_weights must be one positive number (or 0) for each of the {classes} classes")]
    ClassWeights {
        /// How many classes there are.
        classes: u32,
    },
    /// A Huber delta that is not positive.
    #[error("huber_delta = {delta} does not work; use a positive number such as 1")]
    HuberDelta {
        /// What was written.
        delta: f32,
    },
    /// A setting that another loss has.
    #[error("{setting} belongs to another loss than {loss}; leave it out", loss = loss_name(*.loss))]
    LossSetting {
        /// Its name.
        setting: &'static str,
        /// The loss of this network.
        loss: LossSpec,
    },
    /// A layer too large for orthogonal weights.
    #[error(
        "layer {layer}: orthogonal weights for {inputs} inputs and {units} units take too long; use another initialiser"
    )]
    Orthogonal {
        /// Position, counted from 1.
        layer: usize,
        /// Its inputs.
        inputs: usize,
        /// Its units.
        units: usize,
    },
    /// A layer that needs an image and gets a vector.
    #[error(
        "layer {layer}: {kind} needs an image but gets {values} values without an arrangement; write input = [channels, \
         height, width], and put dense, global and flatten layers after it"
    )]
    NoImage {
        /// Position, counted from 1.
        layer: usize,
        /// What the layer is.
        kind: &'static str,
        /// How many values it gets.
        values: usize,
    },
    /// A setting of a layer out of its range.
    #[error("layer {layer}: {setting} = {value} does not work; use {least} to {most}")]
    Setting {
        /// Position, counted from 1.
        layer: usize,
        /// Its name.
        setting: &'static str,
        /// What was written.
        value: u32,
        /// The least that works.
        least: u32,
        /// The most that works.
        most: u32,
    },
    /// Windows larger than the image.
    #[error(
        "layer {layer}: a window of {size}x{size} does not fit into the image of {shape}; use a smaller one"
    )]
    Window {
        /// Position, counted from 1.
        layer: usize,
        /// Height and width of the window.
        size: u32,
        /// The image.
        shape: Shape,
    },
    /// Groups into which the channels do not fall.
    #[error("layer {layer}: {inputs} channels in and {channels} out do not fall into {groups} equal groups")]
    Groups {
        /// Position, counted from 1.
        layer: usize,
        /// What was written.
        groups: usize,
        /// Channels in.
        inputs: usize,
        /// Channels out.
        channels: usize,
    },
    /// More values than [`MAX_VALUES`].
    #[error(
        "layer {layer}: {values} values for each example are more than {MAX_VALUES}; use fewer channels, a smaller \
         window or a larger stride"
    )]
    TooManyValues {
        /// Position, counted from 1.
        layer: usize,
        /// How many there would be.
        values: u128,
    },
    /// A loss that the task cannot have.
    #[error("loss {written} does not suit these targets; leave it out or write {suitable}", written = loss_name(*.written), suitable = loss_name(*.suitable))]
    Loss {
        /// What was written.
        written: LossSpec,
        /// What the task needs.
        suitable: LossSpec,
    },
}

fn loss_name(loss: LossSpec) -> &'static str {
    match loss {
        LossSpec::SoftmaxCrossEntropy => "softmax-cross-entropy",
        LossSpec::MeanSquaredError => "mean-squared-error",
        LossSpec::BinaryCrossEntropy => "binary-cross-entropy",
        LossSpec::Huber => "huber",
    }
}
