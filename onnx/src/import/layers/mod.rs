//! One node, or a few that belong together, as a layer.

mod arithmetic;
mod dense;
mod images;
mod norms;
mod parts;
mod shapes;

use model::{Activation, DropoutSpec, LayerSpec, Slope};

use super::ImportError;
use super::constants::{attribute, float, int, text};
use super::error::operator;
use super::walk::{Walk, output_of};
use super::way::Way;
use crate::proto::NodeProto;

/// The operators that are read, for the message about one that is not.
const OPERATORS: &str = "Gemm, MatMul, Add, Conv, BatchNormalization, LayerNormalization, Relu, LeakyRelu, Tanh, \
                         Sigmoid, Gelu, Softplus, MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, ReduceMean, \
                         ReduceMax, Pad, Flatten, Reshape, Squeeze, Unsqueeze, Transpose, Dropout, Identity, Cast, \
                         Gather and Softmax";

impl<'a> Walk<'a> {
    /// Takes a node, and those that belong to it, for the way's next layer.
    pub(super) fn layer(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        self.mark(node)?;
        if node.domain.as_deref().is_some_and(|domain| !matches!(domain, "" | "ai.onnx")) {
            return Err(ImportError::node(node, "it is not one of ONNX's standard operators"));
        }
        let function = match operator(node) {
            "Gemm" => return self.gemm(node, way),
            "MatMul" => return self.matmul(node, way),
            "Conv" => return self.conv(node, way),
            "BatchNormalization" => return self.batch_norm(node, way),
            "LayerNormalization" => return self.layer_norm(node, way),
            "MaxPool" => return self.pool(node, way, LayerSpec::MaxPool),
            "AveragePool" => return self.pool(node, way, LayerSpec::AveragePool),
            "GlobalAveragePool" => return self.global_pool(node, way, LayerSpec::GlobalAveragePool),
            "GlobalMaxPool" => return self.global_pool(node, way, LayerSpec::GlobalMaxPool),
            "ReduceMean" => return self.reduce(node, way, LayerSpec::GlobalAveragePool),
            "ReduceMax" => return self.reduce(node, way, LayerSpec::GlobalMaxPool),
            "Flatten" => return self.flatten(node, way),
            "Reshape" => return self.reshape(node, way),
            "Transpose" => return self.transpose(node, way),
            "Gather" => return self.gather(node, way),
            "Dropout" => {
                let rate = self.dropout_rate(node)?;
                self.push(way, LayerSpec::Dropout(DropoutSpec { rate }))?;
                way.go(output_of(node)?);
                return Ok(());
            }
            "Squeeze" => return self.squeeze(node, way),
            "Unsqueeze" => return self.unsqueeze(node, way),
            "Pad" => return self.pad(node, way),
            "Identity" | "Cast" => {
                way.go(output_of(node)?);
                return Ok(());
            }
            "Add" | "Sub" | "Mul" | "Div" => return self.arithmetic(node, way),
            "Relu" => Activation::Relu,
            "LeakyRelu" => leaky_relu(node)?,
            "Tanh" => Activation::Tanh,
            "Sigmoid" => Activation::Sigmoid,
            "Softplus" => Activation::Softplus,
            "Gelu" if matches!(text(node, "approximate"), b"" | b"none") => Activation::Gelu,
            "Gelu" => {
                let problem = "it is the approximate form; Shoal's gelu is the exact one";
                return Err(ImportError::node(node, problem));
            }
            _ => {
                let problem =
                    format!("there is no such layer; the operators that can be read are {OPERATORS}");
                return Err(ImportError::node(node, problem));
            }
        };
        self.push_activation(way, function)?;
        way.go(output_of(node)?);
        Ok(())
    }

    fn gather(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        if int(node, "axis", 0) != 0 || input(node, 1)? != way.flow.value {
            let problem = "it picks something else than the vectors of an embedding";
            return Err(ImportError::node(node, problem));
        }
        let weight = self.constants.floats(input(node, 0)?)?;
        self.embedding(node, way, weight)
    }

    fn dropout_rate(&self, node: &NodeProto) -> Result<f32, ImportError> {
        if let Some(ratio) = attribute(node, "ratio").and_then(|attribute| attribute.f) {
            return Ok(ratio);
        }
        match node.input.get(1).filter(|ratio| !ratio.is_empty()) {
            Some(ratio) => Ok(self.constants.floats(ratio)?.values.first().copied().unwrap_or(0.5)),
            None => Ok(0.5),
        }
    }
}

fn leaky_relu(node: &NodeProto) -> Result<Activation, ImportError> {
    match float(node, "alpha", Slope::USUAL.get()) {
        0.0 => Ok(Activation::Relu),
        alpha => Slope::new(alpha).map(Activation::LeakyRelu).ok_or_else(|| {
            let problem =
                format!("its alpha is {alpha}; a slope of Shoal's leaky-relu is above 0, at most 1000");
            ImportError::node(node, problem)
        }),
    }
}

/// An input of a node, which must be there.
fn input(node: &NodeProto, at: usize) -> Result<&str, ImportError> {
    match node.input.get(at).map(String::as_str) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(ImportError::node(node, format!("it has no input {}", at + 1))),
    }
}
