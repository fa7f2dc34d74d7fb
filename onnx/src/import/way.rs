//! A way through the graph, as far as it has been walked.

use std::collections::BTreeMap;

use model::{Activation, ActivationSpec, LayerSpec, Shape};

use super::{ImportError, Parameter, lengths};
use crate::proto::NodeProto;

/// Where a way stands: at a value of the graph.
#[derive(Clone, Debug)]
pub(super) struct Flow<'a> {
    /// The value's name.
    pub(super) value: &'a str,
    /// The shape of one example in Shoal.
    pub(super) shape: Shape,
    /// The lengths of one example's axes in the file. Some may be 1 that Shoal's shape has not, as `[channels, 1, 1]`
    /// behind a global pool.
    pub(super) lengths: Vec<usize>,
    /// Channels, height and width of an image whose values lie as height, width, channels in the file, because it was
    /// turned; also after it became a vector.
    pub(super) turned: Option<[usize; 3]>,
}

/// `factor * x + summand`, for each value of a vector.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub(super) factors: Vec<f32>,
    pub(super) summands: Vec<f32>,
}

/// The layers from the graph's input, or from the beginning of a residual block, to a value.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    pub(super) flow: Flow<'a>,
    pub(super) layers: Vec<LayerSpec>,
    /// Their parameters, by name.
    pub(super) parameters: BTreeMap<String, Parameter>,
    /// A factor and a summand for each value of a vector, which become a part of the next dense layer.
    pub(super) pending: Option<Affine>,
    /// Zeros around the image, which the next convolution or pool takes: above, left, below, right.
    pub(super) pads: [usize; 4],
    /// Whether the last layer is a convolution with one window, which covers the whole image.
    pub(super) sees_all: bool,
    /// The beginning of the layers' names.
    prefix: String,
    /// The residual blocks around it.
    pub(super) depth: usize,
}

impl<'a> Way<'a> {
    /// From the graph's input on.
    pub(super) fn from_input(flow: Flow<'a>) -> Way<'a> {
        Way {
            flow,
            layers: Vec::new(),
            parameters: BTreeMap::new(),
            pending: None,
            pads: [0; 4],
            sees_all: false,
            prefix: "layers".to_owned(),
            depth: 0,
        }
    }

    /// From here on, inside the block that is to be this way's next layer.
    pub(super) fn inside_block(&self) -> Way<'a> {
        Way {
            flow: self.flow.clone(),
            layers: Vec::new(),
            parameters: BTreeMap::new(),
            pending: None,
            pads: [0; 4],
            sees_all: false,
            prefix: format!("{}.body", self.next_name()),
            depth: self.depth + 1,
        }
    }

    /// Whether no layer of the network comes before it.
    pub(super) fn is_at_the_beginning(&self) -> bool {
        self.depth == 0 && self.layers.is_empty()
    }

    /// The name of the next layer.
    pub(super) fn next_name(&self) -> String {
        self.name(self.layers.len())
    }

    /// The name of the layer at an index.
    pub(super) fn name(&self, index: usize) -> String {
        format!("{}.{index}", self.prefix)
    }

    /// The parameters of the last layer, if it has this one.
    pub(super) fn last_parameter(&mut self, part: &str) -> Option<&mut Parameter> {
        let name = self.name(self.layers.len().checked_sub(1)?);
        self.parameters.get_mut(&format!("{name}.{part}"))
    }

    /// Goes on to a value of the same shape.
    pub(super) fn go(&mut self, value: &'a str) {
        self.flow.value = value;
    }

    /// Goes on to a value of another shape.
    pub(super) fn go_to(&mut self, value: &'a str, shape: Shape) {
        self.flow = Flow { value, shape, lengths: lengths(shape), turned: None };
    }

    /// Channels, height and width of the image that a node sees, which lies as Shoal's images do.
    pub(super) fn image(&self, node: &NodeProto) -> Result<[usize; 3], ImportError> {
        match self.flow.shape {
            Shape::Image { channels, height, width }
                if self.flow.turned.is_none() && self.flow.lengths == [channels, height, width] =>
            {
                Ok([channels, height, width])
            }
            Shape::Image { .. } => {
                Err(ImportError::node(node, "it sees an image whose first axis is not that of the channels"))
            }
            Shape::Vector(_) => Err(ImportError::node(node, "it sees no image")),
        }
    }

    /// Whether no value is below 0 where the way stands.
    pub(super) fn is_nonnegative(&self) -> bool {
        let activation = match self.layers.last() {
            Some(LayerSpec::Dense(dense)) => dense.activation,
            Some(LayerSpec::Conv2d(conv)) => conv.activation,
            Some(LayerSpec::Residual(residual)) => residual.activation,
            Some(LayerSpec::Activation(activation)) => activation.function,
            _ => return false,
        };
        matches!(activation, Activation::Relu | Activation::Sigmoid | Activation::Softplus)
    }

    /// The layer that an activation can become a part of.
    pub(super) fn open_activation(&mut self) -> Option<&mut Activation> {
        let activation = match self.layers.last_mut()? {
            LayerSpec::Dense(dense) => &mut dense.activation,
            LayerSpec::Conv2d(conv) => &mut conv.activation,
            LayerSpec::Residual(residual) => &mut residual.activation,
            _ => return None,
        };
        (*activation == Activation::None).then_some(activation)
    }

    /// Rows of `width` values, one for each value of an image that was turned, in Shoal's order: channels,
    /// height, width.
    pub(super) fn unturned(&self, values: Vec<f32>, width: usize) -> Vec<f32> {
        let Some([channels, height, of_width]) = self.flow.turned else { return values };
        let mut ordered = Vec::with_capacity(values.len());
        for channel in 0..channels {
            for place in 0..height * of_width {
                let row = place * channels + channel;
                ordered.extend_from_slice(&values[row * width..(row + 1) * width]);
            }
        }
        ordered
    }
}

/// An activation as a layer of its own.
pub(super) fn activation_layer(function: Activation) -> LayerSpec {
    LayerSpec::Activation(ActivationSpec { function })
}
