//! A network out of an ONNX file, as PyTorch, Keras and Shoal write it for inference.
//!
//! [`read`] walks from the graph's input to its answer and takes each node for the layer that it is. Weights
//! change their orientation where Shoal's differs. What is not there is refused with the node's name. A network
//! that is read computes what the file's network computes. Only what stands around the network is left out, and
//! said: constants that standardize the inputs before the first layer, or that bring the answers to their units
//! after the last. The training data's own take their place.
//!
//! Nothing in a file is trusted. Numbers of nodes and of values are checked before memory is taken for them.

mod constants;
mod error;
mod layers;
mod scan;
mod walk;

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{NetworkSpec, Shape};
use prost::Message as _;

pub use error::ImportError;

use crate::proto::ModelProto;

/// The largest file: the weights of the largest network, and some.
pub const BYTES_MAX: usize = (1 << 30) + (1 << 24);

/// A network as a file has it.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The hidden layers, and the shape of an image. The output layer is not among them.
    pub spec: NetworkSpec,
    /// The number of the network's inputs.
    pub features: usize,
    /// The width of the output layer.
    pub outputs: usize,
    /// What comes after the output layer.
    pub end: End,
    /// The parameters, by the names that [`model::Network::layout`] gives them, with their shapes.
    pub parameters: BTreeMap<String, Parameter>,
    /// Sentences about what a user should know of the import.
    pub notes: Vec<String>,
}

/// What comes after the output layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A softmax: the outputs are classes.
    Softmax,
    /// A sigmoid: the outputs are shares.
    Sigmoid,
    /// Nothing: the outputs are numbers, or the sums of classes.
    Sums,
}

/// A block of parameters, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// As in [`model::ParameterBlock::shape`].
    pub shape: Vec<usize>,
    /// The values.
    pub values: Vec<f32>,
}

/// Reads a file.
///
/// # Errors
/// The first thing that is not what it should be, with its place.
pub fn read(bytes: impl Into<Bytes>) -> Result<Imported, ImportError> {
    let bytes = bytes.into();
    if bytes.len() > BYTES_MAX {
        return Err(ImportError::file(format!(
            "it has {} bytes, more than the {BYTES_MAX} of the largest network",
            bytes.len()
        )));
    }
    scan::check(&bytes)?;
    let broken = |error: prost::DecodeError| {
        ImportError::file(format!("it is not a complete ONNX file ({error}); export it again"))
    };
    let model = ModelProto::decode(bytes).map_err(broken)?;
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| ImportError::file("it has no graph; export it again".to_owned()))?;
    walk::walk(graph)
}

/// The values of one example in a shape.
fn lengths(shape: Shape) -> Vec<usize> {
    match shape {
        Shape::Vector(values) => vec![values],
        Shape::Image { channels, height, width } => vec![channels, height, width],
    }
}
