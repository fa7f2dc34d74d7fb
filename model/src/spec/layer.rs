//! The specification of a layer, as a person writes it.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SpecError;

const LEAKY_RELU: &str = "leaky-relu";

/// One hidden layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    #[serde(deserialize_with = "plain::global_max_pool")]
    GlobalMaxPool,
    /// The mean of each channel, a vector.
    #[serde(deserialize_with = "plain::global_average_pool")]
    GlobalAveragePool,
    /// Layer normalization: shifts and scales the values of each example to mean 0 and variance 1, then
    /// applies a learned gain and bias to each value.
    LayerNorm(NormSpec),
    /// Batch normalization: shifts and scales the values of each feature, or of each channel of images, to
    /// mean 0 and variance 1 over the minibatch, then applies a learned gain and bias to each feature or
    /// channel.
    BatchNorm(NormSpec),
    /// Dropout: in training some values of each example become 0.
    Dropout(DropoutSpec),
    /// Flattens an image to a vector, in row-major order. Dense layers do this themselves.
    #[serde(deserialize_with = "plain::flatten")]
    Flatten,
    /// Applies one function to every value.
    Activation(ActivationSpec),
    /// A residual block: layers whose outputs are added to their inputs.
    Residual(ResidualSpec),
    /// A learned vector for each integer.
    Embedding(EmbeddingSpec),
}

/// Deserializers of layers without settings, which reject unknown settings as other layers do.
mod plain {
    use std::fmt;

    use serde::Deserializer;
    use serde::de::{Error as _, MapAccess, Visitor};

    macro_rules! readers {
        ($($function:ident: $kind:literal),*) => {$(
            pub(super) fn $function<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_map(Plain($kind))
            }
        )*};
    }

    readers!(
        global_max_pool: "global-max-pool",
        global_average_pool: "global-average-pool",
        flatten: "flatten"
    );

    struct Plain(&'static str);

    impl<'de> Visitor<'de> for Plain {
        type Value = ();

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "{} without settings", self.0)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            match map.next_key::<String>()? {
                Some(key) => Err(A::Error::custom(format!("{} has no settings; leave `{key}` out", self.0))),
                None => Ok(()),
            }
        }
    }
}

impl LayerSpec {
    /// The layers inside a residual block, first to last; none for other layers.
    pub fn body(&self) -> &[LayerSpec] {
        match self {
            LayerSpec::Residual(residual) => &residual.layers,
            _ => &[],
        }
    }

    /// Whether the layer, or a layer inside it, needs an image.
    pub(crate) fn sees_an_image(&self) -> bool {
        match self {
            LayerSpec::Conv2d(_)
            | LayerSpec::MaxPool(_)
            | LayerSpec::AveragePool(_)
            | LayerSpec::GlobalMaxPool
            | LayerSpec::GlobalAveragePool => true,
            LayerSpec::Residual(residual) => residual.layers.iter().any(LayerSpec::sees_an_image),
            LayerSpec::Dense(_)
            | LayerSpec::LayerNorm(_)
            | LayerSpec::BatchNorm(_)
            | LayerSpec::Dropout(_)
            | LayerSpec::Flatten
            | LayerSpec::Activation(_)
            | LayerSpec::Embedding(_) => false,
        }
    }
}

/// The layer's kind and settings, without its width: `conv2d 5x5, relu`.
impl fmt::Display for LayerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let square = |name, size| format!("{name} {size}x{size}");
        let then = |text: String, activation: Activation| match activation {
            Activation::None => text,
            function => format!("{text}, {function}"),
        };
        let norm = |name: &str, spec: &NormSpec| match spec.has_usual_epsilon() {
            true => name.to_owned(),
            false => format!("{name}, epsilon {}", spec.epsilon),
        };
        f.pad(&match self {
            LayerSpec::Dense(spec) => then("dense".to_owned(), spec.activation),
            LayerSpec::Conv2d(spec) => {
                let mut text = square("conv2d", spec.kernel);
                if spec.stride > 1 {
                    text = format!("{text}, stride {}", spec.stride);
                }
                if spec.groups > 1 {
                    text = format!("{text}, {} groups", spec.groups);
                }
                then(text, spec.activation)
            }
            LayerSpec::MaxPool(spec) => square("max-pool", spec.size),
            LayerSpec::AveragePool(spec) => square("average-pool", spec.size),
            LayerSpec::GlobalMaxPool => "global-max-pool".to_owned(),
            LayerSpec::GlobalAveragePool => "global-average-pool".to_owned(),
            LayerSpec::LayerNorm(spec) => norm("layer-norm", spec),
            LayerSpec::BatchNorm(spec) => norm("batch-norm", spec),
            LayerSpec::Dropout(spec) => format!("dropout {}", spec.rate),
            LayerSpec::Flatten => "flatten".to_owned(),
            LayerSpec::Activation(spec) => spec.function.to_string(),
            LayerSpec::Residual(spec) => then("residual".to_owned(), spec.activation),
            LayerSpec::Embedding(spec) => format!("embedding of {}", spec.vocabulary),
        })
    }
}

/// A dense layer: `activation(x W + b)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseSpec {
    /// The number of units, which is the number of outputs.
    pub units: u32,
    /// The function that each unit applies to its sum.
    #[serde(default)]
    pub activation: Activation,
    /// The initializer of the weights; by default
    /// [`NetworkSpec::initializer`](super::NetworkSpec::initializer).
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "initialiser")]
    pub initializer: Option<Initializer>,
}

/// A convolution of an image `[channels in, height, width]`: `activation(conv(x, W) + b)`, an image with
/// `channels` channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2dSpec {
    /// The number of output channels.
    pub channels: u32,
    /// Height and width of a window.
    pub kernel: u32,
    /// The distance from one window to the next, along both axes.
    #[serde(default = "one")]
    pub stride: u32,
    /// The zeros added around the image.
    #[serde(default)]
    pub padding: Padding,
    /// The number of groups of channels. An output channel sees only the input channels of its group.
    #[serde(default = "one")]
    pub groups: u32,
    /// The function applied to each sum.
    #[serde(default)]
    pub activation: Activation,
    /// The initializer of the weights; by default
    /// [`NetworkSpec::initializer`](super::NetworkSpec::initializer).
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "initialiser")]
    pub initializer: Option<Initializer>,
}

/// The number of places added around an image, for a convolution zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "expected \"same\", \"valid\" or a whole number")]
pub enum Padding {
    /// No padding.
    #[default]
    Valid,
    /// Enough places that the number of windows along an axis is the image's length divided by the stride,
    /// rounded up. If their number is odd, the end gets one more than the beginning.
    Same,
    /// This many on each side.
    #[serde(untagged)]
    Number(u32),
}

impl Padding {
    fn is_valid(&self) -> bool {
        *self == Padding::Valid
    }
}

/// Pooling: each window of a channel becomes one value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// Height and width of a window.
    pub size: u32,
    /// The distance from one window to the next; by default the size of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<u32>,
    /// The places added around the image, so that windows may begin before it and end behind it. They have no value:
    /// the maximum or mean of a window is that of its places in the image.
    #[serde(default, skip_serializing_if = "Padding::is_valid")]
    pub padding: Padding,
}

/// A normalization: `y = g (x - mean) / sqrt(variance + epsilon) + b`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormSpec {
    /// What is added to the variance, so that the quotient stays finite if all values are equal; by default
    /// 1e-5.
    #[serde(default = "usual_epsilon", skip_serializing_if = "is_usual_epsilon")]
    pub epsilon: f32,
}

impl NormSpec {
    /// The default of [`NormSpec::epsilon`].
    pub const EPSILON: f32 = 1e-5;

    fn has_usual_epsilon(&self) -> bool {
        is_usual_epsilon(&self.epsilon)
    }
}

impl Default for NormSpec {
    fn default() -> Self {
        NormSpec { epsilon: NormSpec::EPSILON }
    }
}

/// An activation as a layer of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationSpec {
    /// The function.
    pub function: Activation,
}

/// Dropout: in training, each value becomes 0 with probability `rate`, and the others are divided by `1 -
/// rate`, so that inference needs no change. Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov
/// (2014), "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropoutSpec {
    /// The probability, from 0 to below 1, to the nearest multiple of 2^-16.
    pub rate: f32,
}

/// A residual block, `activation(F(x) + S(x))`, where F are the layers and S is the shortcut: He, Zhang, Ren
/// and Sun (2015), "Deep Residual Learning for Image Recognition", equations 1 and 2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualSpec {
    /// F, first to last.
    pub layers: Vec<LayerSpec>,
    /// S.
    #[serde(default)]
    pub shortcut: Shortcut,
    /// The function applied to each sum; by default none.
    #[serde(default = "none")]
    pub activation: Activation,
}

/// The term that a residual block adds to the outputs of its layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// The block's inputs, which must have the shape of the layers' outputs.
    #[default]
    Identity,
    /// A learned linear function with a bias, of that shape: between images, a 1 x 1 convolution with the
    /// smallest stride that fits; to a vector, a dense layer.
    Projection,
}

/// An embedding: each column of the data is an integer from 0 to below `vocabulary`, and is replaced by the
/// integer's learned vector of `width` numbers. All columns share the vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSpec {
    /// The number of integers.
    pub vocabulary: u32,
    /// The number of elements of each vector.
    pub width: u32,
    /// The initializer of the vectors; by default
    /// [`NetworkSpec::initializer`](super::NetworkSpec::initializer).
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "initialiser")]
    pub initializer: Option<Initializer>,
}

fn none() -> Activation {
    Activation::None
}

fn usual_epsilon() -> f32 {
    NormSpec::EPSILON
}

fn is_usual_epsilon(epsilon: &f32) -> bool {
    *epsilon == NormSpec::EPSILON
}

fn one() -> u32 {
    1
}

/// The function that a unit applies to its sum. In a specification it is [`Activation::name`], such as `relu`; the
/// slope of a leaky relu may follow it, as in `leaky-relu:0.3`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// `max(z, 0)`.
    #[default]
    Relu,
    /// `z` from 0 on, `slope z` below.
    LeakyRelu(Slope),
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
    const ALL: [Activation; 8] = [
        Activation::Relu,
        Activation::LeakyRelu(Slope::USUAL),
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Gelu,
        Activation::Silu,
        Activation::Softplus,
        Activation::None,
    ];

    /// The names in a specification.
    const NAMES: [&str; Activation::ALL.len()] = {
        let mut names = [""; Activation::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Activation::ALL[at].name();
            at += 1;
        }
        names
    };

    /// Its name in a specification, without a slope.
    pub const fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => LEAKY_RELU,
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Gelu => "gelu",
            Activation::Silu => "silu",
            Activation::Softplus => "softplus",
            Activation::None => "none",
        }
    }

    /// The activation that a specification names: `leaky-relu`, or `leaky-relu:0.3`.
    pub(super) fn from_name(name: &str) -> Result<Activation, SpecError> {
        if let Some((LEAKY_RELU, slope)) = name.split_once(':') {
            let wrong = || SpecError::Slope { slope: slope.to_owned() };
            // As JSON's numbers are read. The standard library's way has tables of ten kilobytes, which each tab would load.
            let slope = serde_json::from_str(slope).ok().and_then(Slope::new).ok_or_else(wrong)?;
            return Ok(Activation::LeakyRelu(slope));
        }
        let named = Activation::ALL.into_iter().find(|activation| activation.name() == name);
        named.ok_or_else(|| SpecError::UnknownActivation { name: name.to_owned() })
    }
}

/// As in a specification.
impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Activation::LeakyRelu(slope) if *slope != Slope::USUAL => write!(f, "{LEAKY_RELU}:{}", slope.0),
            activation => f.write_str(activation.name()),
        }
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Activation, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Activation;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name in quotes")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Activation, E> {
                Activation::from_name(name).map_err(|error| match error {
                    SpecError::UnknownActivation { .. } => E::unknown_variant(name, &Activation::NAMES),
                    error => E::custom(error),
                })
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// What a leaky relu multiplies negative sums by: a number above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope(f32);

impl Slope {
    /// The slope if none is given.
    pub const USUAL: Slope = Slope(0.01);

    /// The largest slope.
    const MAX: f32 = 1000.0;

    /// The slope, if it is allowed. Below the least one, or at 0, the derivative at a negative sum could not be told
    /// from the result.
    pub fn new(slope: f32) -> Option<Slope> {
        (f32::MIN_POSITIVE..=Slope::MAX).contains(&slope).then_some(Slope(slope))
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// No slope is NaN.
impl Eq for Slope {}

/// The initial weights of a layer. Biases always start at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initializer {
    /// Uniform, with variance `2 / fan_in`.
    He,
    /// Uniform, with variance `2 / (fan_in + fan_out)`.
    Glorot,
    /// Uniform, with variance `1 / fan_in`.
    LeCun,
    /// Orthogonal columns of length 1, or rows if these are fewer.
    Orthogonal,
    /// 0 everywhere. The units of such a layer stay alike unless the layers around it tell them apart.
    Zero,
}
