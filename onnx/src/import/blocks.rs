//! Residual blocks: ways that begin at one value and meet in a sum.
//!
//! The outermost block at a value ends in the first node that all ways from there go through. One input of that
//! sum is the shortcut: the value itself, or a projection of it. What is left is the block's body, which may begin
//! with another block or with an activation in parts.

use std::collections::BTreeSet;

use model::{
    Activation, Conv2dSpec, DEPTH_MAX, DropoutSpec, LayerSpec, Padding, ResidualSpec, Shape, Shortcut,
    WINDOW_MAX,
};

use super::error::operator;
use super::walk::{Ended, Walk, output_of};
use super::way::Way;
use super::{ImportError, Parameter};
use crate::proto::NodeProto;

/// Nodes of a projection: a flatten, a product, a bias, a batch normalization, and copies between them.
const PROJECTION_NODES_MAX: usize = 8;

const NO_SHORTCUT: &str = "neither of its inputs is a shortcut: the block's own input, a dense layer of it, or a \
                           convolution of one place";

/// A way that is a shortcut: one dense layer, or one convolution of one place.
struct Projection {
    /// `None` for a dense layer.
    conv: Option<Conv2dSpec>,
    weight: Parameter,
    bias: Parameter,
    /// What it comes to.
    shape: Shape,
}

impl<'a> Walk<'a> {
    /// Takes the outermost block that begins where the way stands.
    pub(super) fn residual(&mut self, way: &mut Way<'a>, takers: &[usize]) -> Result<(), ImportError> {
        let first = &self.graph.node[takers[0]];
        let Some(at) = self.meeting(takers) else {
            let problem =
                "the ways that begin at its input do not meet again; Shoal's residual blocks end in a sum";
            return Err(ImportError::node(first, problem));
        };
        let sum = &self.graph.node[at];
        if !self.is_sum(sum) {
            let problem = "ways that begin at one value meet here, in no layer that Shoal has; residual blocks meet in an Add";
            return Err(ImportError::node(sum, problem));
        }
        if way.depth == DEPTH_MAX {
            let problem = format!("it is more than {DEPTH_MAX} residual blocks deep");
            return Err(ImportError::node(first, problem));
        }
        if way.flow.turned.is_some() {
            return Err(ImportError::node(first, "it begins a residual block with an image that was turned"));
        }
        let (body, projection) = if sum.input.iter().any(|input| input == way.flow.value) {
            (self.body(way, at, sum)?, None)
        } else {
            let straight: Vec<usize> =
                takers.iter().copied().filter(|&taker| self.is_straight(taker, sum)).collect();
            self.with_projection(way, &straight, sum)?
        };
        let (from, to) = (way.flow.shape, body.flow.shape);
        if let Some(conv) = projection.as_ref().and_then(|projection| projection.conv.as_ref())
            && !is_smallest_stride(from, to, conv)
        {
            let problem = "its shortcut is a convolution with padding, or with a stride larger than needed";
            return Err(ImportError::node(sum, problem));
        }
        if body.pads != [0; 4] {
            return Err(ImportError::node(sum, "it adds an image with zeros around it (Pad)"));
        }
        if body.flow.turned.is_some() {
            return Err(ImportError::node(sum, "it adds an image that was turned"));
        }
        if projection.as_ref().map_or(from, |projection| projection.shape) != to {
            return Err(ImportError::node(sum, "its two inputs have different shapes"));
        }
        // [channels, 1, 1] and [channels] add up to channels x channels values.
        if projection.is_none() && way.flow.lengths != body.flow.lengths {
            return Err(ImportError::node(sum, "its two inputs do not lie along the same axes"));
        }
        let block = way.next_name();
        way.parameters.extend(body.parameters);
        let shortcut = match projection {
            None => Shortcut::Identity,
            Some(Projection { weight, bias, .. }) => {
                way.parameters.insert(format!("{block}.shortcut.weight"), weight);
                way.parameters.insert(format!("{block}.shortcut.bias"), bias);
                Shortcut::Projection
            }
        };
        self.block(way, body.layers, shortcut)?;
        self.mark(sum)?;
        way.go_to(output_of(sum)?, to);
        way.flow.lengths = body.flow.lengths;
        Ok(())
    }

    /// A block whose body changes nothing in inference: `x + x`.
    pub(super) fn empty_block(&mut self, way: &mut Way<'a>, sum: &'a NodeProto) -> Result<(), ImportError> {
        self.mark(sum)?;
        self.block(way, Vec::new(), Shortcut::Identity)?;
        way.go(output_of(sum)?);
        Ok(())
    }

    fn block(
        &mut self,
        way: &mut Way<'a>,
        mut layers: Vec<LayerSpec>,
        shortcut: Shortcut,
    ) -> Result<(), ImportError> {
        if layers.is_empty() {
            layers.push(LayerSpec::Dropout(DropoutSpec { rate: 0.0 }));
        }
        self.push(way, LayerSpec::Residual(ResidualSpec { layers, shortcut, activation: Activation::None }))
    }

    /// The first node that all ways from these nodes go through; `None` if one of them ends before.
    fn meeting(&self, takers: &[usize]) -> Option<usize> {
        let mut open: BTreeSet<usize> = takers.iter().copied().collect();
        while let Some(first) = open.pop_first() {
            if open.is_empty() {
                return Some(first);
            }
            let outputs = &self.graph.node[first].output;
            let next: Vec<usize> = outputs.iter().flat_map(|output| self.takers(output)).collect();
            // ONNX has each node after those whose values it takes, so that this comes to an end.
            if next.is_empty() || next.iter().any(|&node| node <= first) {
                return None;
            }
            open.extend(next);
        }
        None
    }

    /// Whether nothing but a projection can lie between a node and the sum that it leads to.
    fn is_straight(&self, taker: usize, sum: &NodeProto) -> bool {
        let mut node = &self.graph.node[taker];
        for _ in 0..PROJECTION_NODES_MAX {
            let is_part = match operator(node) {
                "Conv" | "Gemm" | "MatMul" | "BatchNormalization" | "Flatten" | "Reshape" | "Identity" => {
                    true
                }
                "Add" | "Sub" | "Mul" | "Div" => self.has_constant(node),
                _ => false,
            };
            let next = node.output.first().filter(|_| is_part).and_then(|output| self.only_taker(output));
            match next {
                Some(next) if std::ptr::eq(next, sum) => return true,
                Some(next) => node = next,
                None => return false,
            }
        }
        false
    }

    /// The body of a block, of whose first value one taker is the shortcut's: the sum itself, or a projection.
    fn body(&mut self, way: &Way<'a>, shortcut: usize, sum: &NodeProto) -> Result<Way<'a>, ImportError> {
        let edge = (way.flow.value, shortcut);
        self.hidden.insert(edge);
        let mut body = way.inside_block();
        let ended = self.layers(&mut body);
        self.hidden.remove(&edge);
        require_sum(ended?, sum)?;
        Ok(body)
    }

    /// The body and the projection. `straight` are the nodes that lead straight to the sum.
    fn with_projection(
        &mut self,
        way: &Way<'a>,
        straight: &[usize],
        sum: &NodeProto,
    ) -> Result<(Way<'a>, Option<Projection>), ImportError> {
        match *straight {
            [only] => {
                let side = self.alone(way, only, sum)?;
                let projection = projection(&side).ok_or_else(|| ImportError::node(sum, NO_SHORTCUT))?;
                Ok((self.body(way, only, sum)?, Some(projection)))
            }
            // Either may be the shortcut.
            [one, other] => {
                let (one, other) = (self.alone(way, one, sum)?, self.alone(way, other, sum)?);
                match (projection(&one), projection(&other)) {
                    (Some(projection), None) => Ok((other, Some(projection))),
                    (_, Some(projection)) => Ok((one, Some(projection))),
                    (None, None) => Err(ImportError::node(sum, NO_SHORTCUT)),
                }
            }
            _ => Err(ImportError::node(sum, NO_SHORTCUT)),
        }
    }

    /// The way that begins with a node and leads straight to the sum.
    fn alone(&mut self, way: &Way<'a>, taker: usize, sum: &NodeProto) -> Result<Way<'a>, ImportError> {
        let mut alone = way.inside_block();
        self.layer(&self.graph.node[taker], &mut alone)?;
        require_sum(self.layers(&mut alone)?, sum)?;
        Ok(alone)
    }
}

/// Whether a way inside a block ended where the block does.
fn require_sum(ended: Ended<'_>, sum: &NodeProto) -> Result<(), ImportError> {
    match ended {
        Ended::Sum(other) if std::ptr::eq(other, sum) => Ok(()),
        _ => Err(ImportError::node(sum, "the ways that lead to it do not begin at one value")),
    }
}

/// Whether a projection's stride is the one that Shoal gives it.
fn is_smallest_stride(from: Shape, to: Shape, conv: &Conv2dSpec) -> bool {
    let (Shape::Image { height, width, .. }, Shape::Image { height: rows, width: columns, .. }) = (from, to)
    else {
        return false;
    };
    let fits = |stride: &usize| height.div_ceil(*stride) == rows && width.div_ceil(*stride) == columns;
    let smallest = (1..=WINDOW_MAX as usize).find(fits);
    conv.padding == Padding::Valid && smallest == Some(conv.stride as usize)
}

/// A way as a projection, if it is one. A batch normalization behind it becomes a part of it:
/// `g (W x + b - m) / sqrt(v + e) + c`.
fn projection(way: &Way<'_>) -> Option<Projection> {
    let layers = match &way.layers[..] {
        [LayerSpec::Flatten, layers @ ..] => layers,
        layers => layers,
    };
    let (first, norm) = match layers {
        [first] => (first, None),
        [first, LayerSpec::BatchNorm(norm)] => (first, Some(norm)),
        _ => return None,
    };
    let conv = match first {
        LayerSpec::Dense(dense) if dense.activation == Activation::None => None,
        LayerSpec::Conv2d(conv)
            if (conv.kernel, conv.groups, conv.activation) == (1, 1, Activation::None) =>
        {
            Some(conv.clone())
        }
        _ => return None,
    };
    let at = way.layers.len() - layers.len();
    let of = |index: usize, part: &str| way.parameters.get(&format!("{}.{part}", way.name(at + index)));
    let (mut weight, mut bias) = (of(0, "weight")?.clone(), of(0, "bias")?.clone());
    if let Some(norm) = norm {
        let parts = ["gain", "bias", "running_mean", "running_variance"].map(|part| of(1, part));
        let [Some(gain), Some(shift), Some(mean), Some(variance)] = parts else { return None };
        let factors = gain.values.iter().zip(&variance.values);
        let factors: Vec<f32> =
            factors.map(|(gain, variance)| gain / (variance + norm.epsilon).sqrt()).collect();
        let (channels, values) = (factors.len(), weight.values.len());
        for (i, value) in weight.values.iter_mut().enumerate() {
            // [inputs, outputs] or [channels, ...].
            let channel = if conv.is_none() { i % channels } else { i * channels / values };
            *value *= factors[channel];
        }
        for (channel, value) in bias.values.iter_mut().enumerate() {
            *value = (*value - mean.values[channel]) * factors[channel] + shift.values[channel];
        }
    }
    Some(Projection { conv, weight, bias, shape: way.flow.shape })
}
