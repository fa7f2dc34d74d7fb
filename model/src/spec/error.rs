//! The possible errors of a specification.

use crate::shape::Shape;
use crate::spec::{
    DEPTH_MAX, FEATURES_MAX, LAYERS_MAX, LossSpec, MINIBATCH_VALUES_MAX, PARAMETERS_MAX, Position, UNITS_MAX,
    VALUES_MAX,
};

/// An error in a specification, with its place and its remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// An unknown shorthand.
    #[error(
        "unknown model \"{shorthand}\": write mlp:128,64 (or mlp:128,64:tanh), cnn:8,16, lenet, linear, or name a .toml \
         or .json file"
    )]
    Shorthand {
        /// The value found in the specification.
        shorthand: String,
    },
    /// A width in the shorthand that is not a number.
    #[error("layer {layer}: \"{text}\" is not a number of {unit}")]
    NotAWidth {
        /// Its position.
        layer: Position,
        /// The value found in the specification.
        text: String,
        /// The unit of the width, with an example.
        unit: &'static str,
    },
    /// An unknown activation in the shorthand.
    #[error(
        "unknown activation \"{name}\": use relu, leaky-relu, tanh, sigmoid, gelu, silu, softplus or none"
    )]
    UnknownActivation {
        /// The value found in the specification.
        name: String,
    },
    /// A slope of a leaky relu that is not above 0.
    #[error("leaky-relu:{slope} is not allowed; use a slope above 0, at most 1000, such as leaky-relu:0.3")]
    Slope {
        /// The text found in the specification.
        slope: String,
    },
    /// Text that is not the JSON form of a specification.
    #[error("the model specification is not valid: {message}")]
    Json {
        /// The parser's message, with line and column.
        message: String,
    },
    /// More hidden layers than [`LAYERS_MAX`].
    #[error("{layers} hidden layers are too many: use at most {LAYERS_MAX}")]
    TooManyLayers {
        /// Their number.
        layers: usize,
    },
    /// A layer without units or with more than [`UNITS_MAX`].
    #[error("layer {layer}: {units} units are not allowed; use 1 to {UNITS_MAX}")]
    Units {
        /// Its position.
        layer: Position,
        /// The number of units in the specification.
        units: u32,
    },
    /// More parameters than [`PARAMETERS_MAX`].
    #[error(
        "layer {layer}: {inputs} inputs times {units} units bring the network to {parameters} parameters, more than \
         {PARAMETERS_MAX}; use fewer units"
    )]
    TooManyParameters {
        /// The position of the layer that exceeds the limit.
        layer: Position,
        /// Its inputs.
        inputs: usize,
        /// Its units.
        units: u32,
        /// Parameters up to and including this layer.
        parameters: u64,
    },
    /// No features, or more than [`FEATURES_MAX`].
    #[error("the data has {features} features; a network needs 1 to {FEATURES_MAX}")]
    Features {
        /// The number in the data.
        features: usize,
    },
    /// An input shape that does not hold the data's features.
    #[error(
        "input: {shape:?} does not hold the {features} features of the data; use channels, height and width with \
         that product"
    )]
    Input {
        /// The shape in the specification: channels, height, width.
        shape: [u32; 3],
        /// The number of features in the data.
        features: usize,
    },
    /// Fewer than two classes, or more than a label can number.
    #[error("the data has {classes} classes; classification needs 2 to 65536 (is the label column right?)")]
    Classes {
        /// The number in the data.
        classes: u32,
    },
    /// No target column, or more than [`UNITS_MAX`].
    #[error("the data has {columns} target columns; a network needs 1 to {UNITS_MAX}")]
    TargetColumns {
        /// The number in the data.
        columns: u32,
    },
    /// A weight decay that is negative or not finite.
    #[error("l2 = {l2} is not allowed; use 0 or a small positive number such as 0.0001")]
    L2 {
        /// The value found in the specification.
        l2: f32,
    },
    /// An L1 penalty that is negative or not finite.
    #[error("l1 = {l1} is not allowed; use 0 or a small positive number such as 0.0001")]
    L1 {
        /// The value found in the specification.
        l1: f32,
    },
    /// A label smoothing outside its range.
    #[error("label-smoothing = {smoothing} is not allowed; use 0 or a number below 1 such as 0.1")]
    LabelSmoothing {
        /// The value found in the specification.
        smoothing: f32,
    },
    /// Class weights that do not match the classes.
    #[error(
        "class-weights must be one positive number (or 0, but not all of them) for each of the {classes} classes"
    )]
    ClassWeights {
        /// The number of classes.
        classes: u32,
    },
    /// A Huber delta that is not positive.
    #[error("huber-delta = {delta} is not allowed; use a positive number such as 1")]
    HuberDelta {
        /// The value found in the specification.
        delta: f32,
    },
    /// A setting that belongs to another loss.
    #[error("{setting} does not apply to the loss {loss}; leave it out", loss = loss_name(*.loss))]
    LossSetting {
        /// Its name.
        setting: &'static str,
        /// The loss of this network.
        loss: LossSpec,
    },
    /// A normalization's epsilon that is not above 0, or large.
    #[error(
        "layer {layer}: epsilon = {epsilon} is not allowed; use a number above 0, at most 1, such as 0.001"
    )]
    Epsilon {
        /// Its position.
        layer: Position,
        /// The value found in the specification.
        epsilon: f32,
    },
    /// A layer too large for orthogonal weights.
    #[error(
        "layer {layer}: orthogonal weights for {inputs} inputs and {units} units take too long; use another initializer"
    )]
    Orthogonal {
        /// Its position.
        layer: Position,
        /// Its inputs.
        inputs: usize,
        /// Its units.
        units: usize,
    },
    /// A layer that needs an image and gets a vector.
    #[error(
        "layer {layer}: {kind} needs an image but gets {values} values without a shape; write input = [channels, \
         height, width], and put dense, global and flatten layers after it"
    )]
    NoImage {
        /// Its position.
        layer: Position,
        /// The layer's kind.
        kind: &'static str,
        /// The number of values it gets.
        values: usize,
    },
    /// A layer's setting that is out of range.
    #[error("layer {layer}: {setting} = {value} is not allowed; use {least} to {most}")]
    Setting {
        /// Its position.
        layer: Position,
        /// Its name.
        setting: &'static str,
        /// The value found in the specification.
        value: u32,
        /// The least possible value.
        least: u32,
        /// The largest possible value.
        most: u32,
    },
    /// Windows larger than the image.
    #[error("layer {layer}: a window of {size}x{size} does not fit the image of {shape}; use a smaller one")]
    Window {
        /// Its position.
        layer: Position,
        /// Height and width of the window.
        size: u32,
        /// The image.
        shape: Shape,
    },
    /// A number of groups that does not divide the channels.
    #[error(
        "layer {layer}: {inputs} channels in and {channels} out cannot be split into {groups} equal groups; choose a number that divides both"
    )]
    Groups {
        /// Its position.
        layer: Position,
        /// The value found in the specification.
        groups: usize,
        /// Channels in.
        inputs: usize,
        /// Channels out.
        channels: usize,
    },
    /// More values than [`VALUES_MAX`].
    #[error(
        "layer {layer}: {values} values for each example are more than {VALUES_MAX}; use fewer channels, a smaller \
         window or a larger stride"
    )]
    TooManyValues {
        /// Its position.
        layer: Position,
        /// Their number.
        values: u128,
    },
    /// A residual block inside too many others.
    #[error(
        "layer {layer}: residual blocks can be nested at most {DEPTH_MAX} deep; put some of them side by side"
    )]
    TooDeep {
        /// Its position.
        layer: Position,
    },
    /// A residual block without layers.
    #[error("layer {layer}: a residual block needs at least one layer")]
    EmptyBlock {
        /// Its position.
        layer: Position,
    },
    /// A shortcut between shapes that do not match.
    #[error("layer {layer}: the block turns {input} into {output}, and {shortcut}")]
    Shortcut {
        /// The position of the residual block.
        layer: Position,
        /// The shape of the block's inputs.
        input: Shape,
        /// The shape of its last layer's outputs.
        output: Shape,
        /// The shortcut that does not fit, and what to do.
        shortcut: &'static str,
    },
    /// A dropout rate outside its range.
    #[error("layer {layer}: rate = {rate} is not allowed; use 0 to 0.9999, for example 0.5")]
    Rate {
        /// Its position.
        layer: Position,
        /// The value found in the specification.
        rate: f32,
    },
    /// An embedding that is not the first layer.
    #[error(
        "layer {layer}: an embedding can only be the first layer, because it looks up the columns of the data; move \
         it there"
    )]
    EmbeddingNotFirst {
        /// Its position.
        layer: Position,
    },
    /// A minibatch whose activations and derivatives take more than [`MINIBATCH_VALUES_MAX`].
    #[error(
        "batch normalization needs the whole minibatch at once: {minibatch} examples of {values} values are more than \
         {MINIBATCH_VALUES_MAX} values; use a smaller minibatch"
    )]
    Minibatch {
        /// Its number of examples.
        minibatch: usize,
        /// The values of an example, over all layers.
        values: u64,
    },
    /// Batch normalization of one example at a time.
    #[error(
        "batch normalization learns nothing from minibatches of one example, which have no variance; use a larger \
         minibatch, or layer-norm"
    )]
    MinibatchOfOne,
    /// A position to freeze at which there is no layer.
    #[error("freeze: there is no layer {position}; give a position that `shoal inspect` shows")]
    NoSuchLayer {
        /// The value found in the specification.
        position: String,
    },
    /// All weights are frozen.
    #[error(
        "freeze: with {frozen} parameters frozen no layer is left to learn; leave out one that has weights"
    )]
    AllFrozen {
        /// Their number.
        frozen: usize,
    },
    /// A loss that does not suit the task.
    #[error("loss {written} does not suit these targets; leave it out or write {suitable}", written = loss_name(*.written), suitable = loss_name(*.suitable))]
    Loss {
        /// The value found in the specification.
        written: LossSpec,
        /// The loss that suits the task.
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
