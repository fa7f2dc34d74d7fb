//! The specification of a network, as a person writes it, and its possible errors.

mod error;
mod layer;
mod position;
mod shorthand;

use serde::{Deserialize, Serialize};

pub use error::SpecError;
pub use layer::{
    Activation, ActivationSpec, Conv2dSpec, DenseSpec, DropoutSpec, EmbeddingSpec, Initializer, LayerSpec,
    NormSpec, Padding, PoolSpec, ResidualSpec, Shortcut, Slope,
};
pub use position::Position;

/// Maximum hidden layers of a network, including layers inside residual blocks.
pub const LAYERS_MAX: usize = 256;

/// Maximum nesting depth of residual blocks.
pub const DEPTH_MAX: usize = 4;

/// Maximum units of a layer.
pub const UNITS_MAX: u32 = 1 << 20;

/// Maximum input features of a network.
pub const FEATURES_MAX: usize = 1 << 24;

/// Maximum parameters of a network: 1 GiB of `f32`.
pub const PARAMETERS_MAX: usize = 1 << 28;

/// Maximum side of a window, and maximum stride.
pub const WINDOW_MAX: u32 = 1024;

/// Maximum values of a convolution for one example, including padding, unfolded windows and copies of its
/// weights: 256 MiB of `f32`.
pub const VALUES_MAX: u64 = 1 << 26;

/// Maximum values of a minibatch over all layers, with its derivatives, if it must pass through them at once:
/// 1 GiB of `f32`.
pub const MINIBATCH_VALUES_MAX: u64 = 1 << 28;

/// A network as described in a configuration. The output layer is not part of it; it follows from the
/// [`Task`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NetworkSpec {
    /// The shape of an example, `[channels, height, width]`, for layers that see images; its values are in
    /// row-major order. By default, the features have no spatial structure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<[u32; 3]>,
    /// The hidden layers, first to last.
    #[serde(default)]
    pub layers: Vec<LayerSpec>,
    /// Weight decay: `l2 / 2` times the sum of the squared weights (not biases) is added to the mean loss.
    #[serde(default)]
    pub l2: f32,
    /// `l1` times the sum of the weights' magnitudes (not the biases') is added to the mean loss.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub l1: f32,
    /// The loss; by default the one that suits the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossSpec>,
    /// For softmax cross-entropy: the share of the target, from 0 to below 1, that is spread evenly over all
    /// classes.
    #[serde(default, skip_serializing_if = "is_zero", alias = "label_smoothing")]
    pub label_smoothing: f32,
    /// For softmax cross-entropy: the factor of an example's loss, one number for each class; empty if all
    /// are 1. The mean still divides by the number of examples.
    #[serde(default, skip_serializing_if = "Vec::is_empty", alias = "class_weights")]
    pub class_weights: Vec<f32>,
    /// For the Huber loss: the difference up to which it is quadratic, by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "huber_delta")]
    pub huber_delta: Option<f32>,
    /// The initializer of layers without their own, and of the output layer. The default suits each layer's
    /// activation: He before relu and similar ones, Glorot otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "initialiser")]
    pub initializer: Option<Initializer>,
    /// Positions of layers that keep their weights in training, such as `1`, or `3.2` for the second layer of a
    /// residual block. A block's own position stands for all of its layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

/// How an output is compared with its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossSpec {
    /// `ln(sum(exp(z))) - z[class]`, for classes.
    SoftmaxCrossEntropy,
    /// The mean over target columns of `(output - target)^2`, for numbers.
    MeanSquaredError,
    /// The mean over target columns of `ln(1 + exp(z)) - z target`, for targets from 0 to 1; predictions are
    /// `1 / (1 + exp(-z))`.
    BinaryCrossEntropy,
    /// The mean over target columns, for numbers, of half the squared difference up to a difference of
    /// [`NetworkSpec::huber_delta`], and of `delta (|difference| - delta / 2)` beyond.
    Huber,
}

/// The kind of targets, which determines the output layer and the default loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The default loss.
    pub fn loss(self) -> LossSpec {
        match self {
            Task::Classes(_) => LossSpec::SoftmaxCrossEntropy,
            Task::Numbers(_) => LossSpec::MeanSquaredError,
        }
    }
}

impl NetworkSpec {
    /// Reads the JSON form. [`Network::new`](crate::Network::new) checks whether the layers make sense.
    ///
    /// # Errors
    /// The parser's message, with line and column.
    pub fn from_json(json: &str) -> Result<NetworkSpec, SpecError> {
        serde_json::from_str(json).map_err(|error| SpecError::Json { message: error.to_string() })
    }

    /// The vocabulary of an embedding that is the first layer; `None` if the columns of the data are
    /// quantities.
    pub fn vocabulary(&self) -> Option<u32> {
        match self.layers.first() {
            Some(LayerSpec::Embedding(embedding)) => Some(embedding.vocabulary),
            _ => None,
        }
    }

    /// Whether the network says itself what its inputs are: an image of some shape, or integers that it looks
    /// up. No column of the data may be left out then.
    pub fn fixes_inputs(&self) -> bool {
        self.vocabulary().is_some() || self.sees_images()
    }

    /// Whether the network takes images: it has their shape, or a layer that needs one.
    pub fn sees_images(&self) -> bool {
        let image = |layer: &LayerSpec| {
            use LayerSpec::{AveragePool, Conv2d, GlobalAveragePool, GlobalMaxPool, MaxPool};
            matches!(layer, Conv2d(_) | MaxPool(_) | AveragePool(_) | GlobalMaxPool | GlobalAveragePool)
        };
        let somewhere = |layer: &LayerSpec| image(layer) || layer.body().iter().any(image);
        self.input.is_some() || self.layers.iter().any(somewhere)
    }

    /// The number of hidden layers, including layers inside residual blocks.
    pub fn count_layers(&self) -> usize {
        fn count(layers: &[LayerSpec]) -> usize {
            layers.iter().map(|layer| 1 + count(layer.body())).sum()
        }
        count(&self.layers)
    }

    /// The JSON form on one line; [`NetworkSpec::from_json`] reads it back to an equal specification.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a specification is plain data")
    }
}
