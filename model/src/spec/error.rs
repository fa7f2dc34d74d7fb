//! Everything that can be wrong with what a person writes to describe a network.

use crate::shape::Shape;
use crate::spec::{
    DEPTH_MAX, FEATURES_MAX, LAYERS_MAX, LossSpec, MINIBATCH_VALUES_MAX, PARAMETERS_MAX, Position, UNITS_MAX,
    VALUES_MAX,
};

/// What is wrong with a specification, where, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
        /// Where it stands.
        layer: Position,
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
    /// More hidden layers than [`LAYERS_MAX`].
    #[error("{layers} hidden layers are too many: use at most {LAYERS_MAX}")]
    TooManyLayers {
        /// How many there are.
        layers: usize,
    },
    /// A layer without units or with more than [`UNITS_MAX`].
    #[error("layer {layer}: {units} units do not work; use 1 to {UNITS_MAX}")]
    Units {
        /// Where it stands.
        layer: Position,
        /// How many it asks for.
        units: u32,
    },
    /// More parameters than [`PARAMETERS_MAX`].
    #[error(
        "layer {layer}: {inputs} inputs times {units} units bring the network to {parameters} parameters, more than \
         {PARAMETERS_MAX}; use fewer units"
    )]
    TooManyParameters {
        /// Where the layer stands that goes over the limit.
        layer: Position,
        /// Its inputs.
        inputs: usize,
        /// Its units.
        units: u32,
        /// Parameters up to and including this layer.
        parameters: u64,
    },
    /// No feature at all, or more than [`FEATURES_MAX`].
    #[error("the data has {features} features; a network needs 1 to {FEATURES_MAX}")]
    Features {
        /// How many the data has.
        features: usize,
    },
    /// An input shape that does not hold the data's features.
    #[error(
        "input: {shape:?} does not hold the {features} features of the data; use channels, height and width with \
         that product"
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
    /// No target column, or more than [`UNITS_MAX`].
    #[error("the data has {columns} target columns; a network needs 1 to {UNITS_MAX}")]
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
    #[error(
        "class_weights must be one positive number (or 0, but not all of them) for each of the {classes} classes"
    )]
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
        "layer {layer}: orthogonal weights for {inputs} inputs and {units} units take too long; use another initializer"
    )]
    Orthogonal {
        /// Where it stands.
        layer: Position,
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
        /// Where it stands.
        layer: Position,
        /// What the layer is.
        kind: &'static str,
        /// How many values it gets.
        values: usize,
    },
    /// A setting of a layer out of its range.
    #[error("layer {layer}: {setting} = {value} does not work; use {least} to {most}")]
    Setting {
        /// Where it stands.
        layer: Position,
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
        /// Where it stands.
        layer: Position,
        /// Height and width of the window.
        size: u32,
        /// The image.
        shape: Shape,
    },
    /// Groups into which the channels do not fall.
    #[error(
        "layer {layer}: {inputs} channels in and {channels} out do not fall into {groups} equal groups; choose a number that divides both"
    )]
    Groups {
        /// Where it stands.
        layer: Position,
        /// What was written.
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
        /// Where it stands.
        layer: Position,
        /// How many there would be.
        values: u128,
    },
    /// A residual block inside too many others.
    #[error(
        "layer {layer}: residual blocks go at most {DEPTH_MAX} deep into each other; put some of them side by side"
    )]
    TooDeep {
        /// Where it stands.
        layer: Position,
    },
    /// A residual block without layers.
    #[error("layer {layer}: a residual block needs at least one layer")]
    EmptyBlock {
        /// Where it stands.
        layer: Position,
    },
    /// A shortcut between shapes that do not fit.
    #[error("layer {layer}: the block makes {output} of {input}, which {shortcut}")]
    Shortcut {
        /// Where the residual block stands.
        layer: Position,
        /// What the block sees.
        input: Shape,
        /// What its last layer answers.
        output: Shape,
        /// Which shortcut does not fit, and what to do.
        shortcut: &'static str,
    },
    /// A dropout rate outside its range.
    #[error("layer {layer}: rate = {rate} does not work; use 0 to 0.9999, for example 0.5")]
    Rate {
        /// Where it stands.
        layer: Position,
        /// What was written.
        rate: f32,
    },
    /// An embedding that does not see the columns of the data.
    #[error(
        "layer {layer}: an embedding can only be the first layer, because it looks the columns of the data up; move \
         it there"
    )]
    EmbeddingNotFirst {
        /// Where it stands.
        layer: Position,
    },
    /// A minibatch whose activations and derivatives take more than [`MINIBATCH_VALUES_MAX`].
    #[error(
        "batch normalization needs a minibatch at once: {minibatch} examples of {values} values are more than \
         {MINIBATCH_VALUES_MAX} values; use a smaller minibatch"
    )]
    Minibatch {
        /// How many examples.
        minibatch: usize,
        /// The values of an example, over all layers.
        values: u64,
    },
    /// Batch normalization of one example at a time.
    #[error(
        "batch normalization learns nothing from minibatches of one example, which has no variance; use a larger \
         minibatch, or layer-norm"
    )]
    MinibatchOfOne,
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
