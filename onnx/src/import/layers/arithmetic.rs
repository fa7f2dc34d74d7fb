//! Arithmetic with constants. Before the first layer and after the last it is left out. Anywhere else it is what
//! TensorFlow makes of a batch normalization: a factor and a summand for each channel, whose statistics are gone.
//!
//! It does not come back as a batch normalization. That one would normalize by statistics that nobody knows, so
//! that training would begin at another function than the file's. Instead the constants become a part of the weights
//! next to them, which compute the same: those of the dense layer or convolution before or, in
//! a vector, of the dense layer behind. Otherwise they become the weights of a convolution of one place by channel.

use model::{Activation, Conv2dSpec, LayerSpec, Padding, Shape};

use super::super::ImportError;
use super::super::constants::Floats;
use super::super::error::operator;
use super::super::walk::{Walk, output_of};
use super::super::way::{Affine, Way};
use crate::proto::NodeProto;

/// Nodes that may stand between the last layer and the answer.
const ANSWER_NODES_MAX: usize = 8;

const INPUTS: &str = "the file's standardization of the inputs is left out; the data's own takes its place";
const UNITS: &str = "the file's units of the answers are left out; the data's own take their place";
const NO_LAYER: &str = "it computes with a constant that has not one number for each channel or value; export the \
                        network without it";
const NO_DENSE: &str = "it follows factors or summands of a vector, which can only become a part of one dense layer (Gemm, \
                        or MatMul and Add) right behind; export the network without the batch normalization there";
const NO_WINDOWS: &str = "it follows zeros around an image (Pad), which can only become a part of a convolution or \
                          max pooling right behind";
const BY_CHANNEL: &str = "the file's batch normalizations have lost their statistics; those that follow an activation or a \
                          pool became convolutions of one place by channel, which compute the same";
const DIVIDED: &str =
    "it subtracts from a constant or divides one, which is no layer; export the network without it";

impl<'a> Walk<'a> {
    pub(super) fn arithmetic(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let constant = node.input.iter().find(|input| self.constants.has(input));
        let constant =
            constant.ok_or_else(|| ImportError::node(node, "it computes with two values of the graph"))?;
        let value = output_of(node)?;
        let note = if way.is_at_the_beginning() {
            Some(INPUTS)
        } else if matches!(way.flow.shape, Shape::Vector(_)) && self.is_at_the_end(value) {
            Some(UNITS)
        } else {
            None
        };
        match note {
            None => self.rescale(node, way, constant)?,
            Some(note) if !self.notes.iter().any(|other| other == note) => self.notes.push(note.to_owned()),
            Some(_) => {}
        }
        way.go(value);
        Ok(())
    }

    /// Makes it a part of the weights around it, or a layer.
    fn rescale(&mut self, node: &NodeProto, way: &mut Way<'a>, constant: &str) -> Result<(), ImportError> {
        let comes_first = node.input.first().is_some_and(|input| input == constant);
        if comes_first && matches!(operator(node), "Sub" | "Div") {
            return Err(ImportError::node(node, DIVIDED));
        }
        let numbers = self.constants.floats(constant)?;
        let numbers = each(numbers, way).ok_or_else(|| ImportError::node(node, NO_LAYER))?;
        let function: fn(f32, f32) -> f32 = match operator(node) {
            "Mul" => |value, by| value * by,
            "Div" => |value, by| value / by,
            "Sub" => |value, by| value - by,
            _ => |value, by| value + by,
        };
        let is_factor = matches!(operator(node), "Mul" | "Div");
        match (way.layers.last(), way.flow.shape) {
            (Some(LayerSpec::Dense(dense)), _) if dense.activation == Activation::None => {}
            (Some(LayerSpec::Conv2d(conv)), _) if conv.activation == Activation::None => {}
            (_, Shape::Image { channels, .. }) => self.push_by_channel(way, channels)?,
            (_, Shape::Vector(values)) => {
                let numbers = &way.unturned(numbers, 1);
                let affine = way.pending.get_or_insert_with(|| Affine {
                    factors: vec![1.0; values],
                    summands: vec![0.0; values],
                });
                let parts = [Some(&mut affine.summands), is_factor.then_some(&mut affine.factors)];
                for part in parts.into_iter().flatten() {
                    part.iter_mut().zip(numbers).for_each(|(value, &by)| *value = function(*value, by));
                }
                return Ok(());
            }
        }
        let is_dense = matches!(way.layers.last(), Some(LayerSpec::Dense(_)));
        let parts: &[&str] = if is_factor { &["weight", "bias"] } else { &["bias"] };
        for part in parts {
            let Some(parameter) = way.last_parameter(part) else { continue };
            let values = parameter.values.len();
            for (i, value) in parameter.values.iter_mut().enumerate() {
                // Weights are [inputs, outputs], or [channels, ...].
                let channel = if is_dense { i % numbers.len() } else { i * numbers.len() / values };
                *value = function(*value, numbers[channel]);
            }
        }
        Ok(())
    }

    /// Appends a convolution of one place that sees one channel, and changes nothing yet.
    fn push_by_channel(&mut self, way: &mut Way<'a>, channels: usize) -> Result<(), ImportError> {
        let weight = Floats { shape: vec![channels, 1, 1, 1], values: vec![1.0; channels] };
        let bias = Floats { shape: vec![channels], values: vec![0.0; channels] };
        self.keep(way, [("weight", weight), ("bias", bias)])?;
        let channels = u32::try_from(channels).unwrap_or(u32::MAX);
        let spec = Conv2dSpec {
            channels,
            kernel: 1,
            stride: 1,
            padding: Padding::Valid,
            groups: channels,
            activation: Activation::None,
            initializer: None,
        };
        self.push(way, LayerSpec::Conv2d(spec))?;
        if !self.notes.iter().any(|note| note == BY_CHANNEL) {
            self.notes.push(BY_CHANNEL.to_owned());
        }
        Ok(())
    }

    /// Refuses what a way with [`Way::pending`] factors cannot go through: another node than a dense layer or one
    /// that leads to it, and several nodes, of whose weights only one layer's would take the factors.
    pub(in super::super) fn require_settled(
        &self,
        takers: &[usize],
        way: &Way<'a>,
    ) -> Result<(), ImportError> {
        let Some(&first) = takers.first() else { return Ok(()) };
        let node = &self.graph.node[first];
        let takes_zeros =
            matches!(operator(node), "Conv" | "MaxPool" | "AveragePool" | "Pad" | "Transpose" | "Identity");
        if way.pads != [0; 4] && !(takes_zeros && takers.len() == 1) {
            return Err(ImportError::node(node, NO_WINDOWS));
        }
        if way.pending.is_none() {
            return Ok(());
        }
        let passes = match operator(node) {
            "Gemm" | "MatMul" | "Dropout" | "Identity" | "Cast" => true,
            "Add" | "Sub" | "Mul" | "Div" => self.has_constant(node),
            _ => false,
        };
        if passes && takers.len() == 1 { Ok(()) } else { Err(ImportError::node(node, NO_DENSE)) }
    }

    /// Whether nothing but arithmetic with constants follows a value.
    fn is_at_the_end(&self, value: &'a str) -> bool {
        let mut value = value;
        for _ in 0..ANSWER_NODES_MAX {
            let takers = self.takers(value);
            let &[only] = &takers[..] else { return takers.is_empty() };
            let node = &self.graph.node[only];
            let goes_on = matches!(operator(node), "Add" | "Sub" | "Mul" | "Div") && self.has_constant(node)
                || matches!(operator(node), "Identity" | "Cast");
            match node.output.first().filter(|_| goes_on) {
                Some(output) => value = output,
                None => return false,
            }
        }
        false
    }
}

/// The numbers of a constant, one for each channel of an image or for each value of a vector; `None` if it has others.
fn each(constant: Floats, way: &Way<'_>) -> Option<Vec<f32>> {
    let Floats { shape, values } = constant;
    let count = match way.flow.shape {
        Shape::Vector(values) => values,
        Shape::Image { channels, .. } => channels,
    };
    if let [number] = values[..] {
        return Some(vec![number; count]);
    }
    let fits = match (way.flow.shape, &shape[..]) {
        // Behind a global pool, the channels may still have axes of height and width.
        (Shape::Vector(_), [length] | [1, length]) => {
            *length == count && way.flow.lengths.last() == Some(&count)
        }
        (Shape::Vector(_), [length, 1, 1] | [1, length, 1, 1]) => {
            *length == count && way.flow.lengths == [count, 1, 1]
        }
        (Shape::Image { .. }, [length, 1, 1] | [1, length, 1, 1]) => {
            *length == count && way.flow.turned.is_none() && way.flow.lengths.len() == 3
        }
        (Shape::Image { .. }, [length] | [1, 1, length] | [1, 1, 1, length]) => {
            *length == count && way.flow.turned.is_some() && way.flow.lengths.len() == 3
        }
        _ => false,
    };
    fits.then_some(values)
}
