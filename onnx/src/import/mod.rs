//! A network out of an ONNX file, as PyTorch, Keras and Shoal write it for inference.
//!
//! [`read`] walks from the graph's input to its answer and takes each node for the layer that it is. Weights
//! change their orientation where Shoal's differs. What is not there is refused with the node's name. A network
//! that is read computes what the file's network computes. Only what stands around the network is left out, and
//! said: what prepares the inputs before the first layer, or brings the answers to their units after the last. The
//! training data's own take their place.
//!
//! Nothing in a file is trusted. Numbers of nodes and of values are checked before memory is taken for them.

mod blocks;
mod constants;
mod error;
mod head;
mod layers;
mod scan;
mod walk;
mod way;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{NetworkSpec, Shape};
use prost::Message as _;

pub use error::ImportError;

use self::constants::{Constants, external_entry};
use self::error::shown;
use crate::NETWORK_INPUT;
use crate::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};

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

/// The contents of the files with values beside a graph's, by the names that the graph gives them.
pub type External = BTreeMap<String, Bytes>;

/// Files beside a graph's, at most. PyTorch writes one.
const EXTERNAL_FILES_MAX: usize = 64;
/// Bytes of a file's name, at most.
const FILE_NAME_MAX: usize = 255;

/// A file that has been taken apart, but not yet understood.
#[derive(Clone, Debug)]
pub struct File {
    graph: GraphProto,
    metadata: Vec<StringStringEntryProto>,
}

impl File {
    /// Takes a file apart.
    ///
    /// # Errors
    /// When it is too large, or no complete ONNX file.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<File, ImportError> {
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
        let graph =
            model.graph.ok_or_else(|| ImportError::file("it has no graph; export it again".to_owned()))?;
        Ok(File { graph, metadata: model.metadata_props })
    }

    /// An entry of the file's metadata. Shoal's own files have the names of classes as a list in JSON, under
    /// `classes`.
    pub fn entry(&self, key: &str) -> Option<&str> {
        let entry = self.metadata.iter().find(|entry| entry.key.as_deref() == Some(key))?;
        entry.value.as_deref()
    }

    /// The names of the files that hold values of this one's constants. They lie in the same folder.
    ///
    /// # Errors
    /// When a name is that of another folder, or when they are too many.
    pub fn external_files(&self) -> Result<BTreeSet<&str>, ImportError> {
        let in_nodes = self.graph.node.iter().flat_map(|node| &node.attribute).filter_map(|of| of.t.as_ref());
        let tensors = self.graph.initializer.iter().chain(in_nodes);
        let location = |tensor: &&TensorProto| !tensor.external_data.is_empty();
        let mut files = BTreeSet::new();
        for tensor in tensors.filter(location) {
            let name = external_entry(tensor, "location").unwrap_or_default();
            if !is_in_the_same_folder(name) {
                let constant = tensor.name.as_deref().unwrap_or_default();
                let problem = format!(
                    "its values are in {}, which is no file in the same folder; export the network into one file",
                    shown(name)
                );
                return Err(ImportError::constant(constant, problem));
            }
            files.insert(name);
            if files.len() > EXTERNAL_FILES_MAX {
                let problem =
                    format!("its values are in more than {EXTERNAL_FILES_MAX} files; export them into one");
                return Err(ImportError::file(problem));
            }
        }
        Ok(files)
    }

    /// Reads the network.
    ///
    /// # Errors
    /// The first thing that is not what it should be, with its place.
    pub fn network(&self, external: &External) -> Result<Imported, ImportError> {
        // The value at which the network begins, if the file names one.
        let network_input = self.entry(NETWORK_INPUT);
        walk::walk(&self.graph, Constants::of(&self.graph, external), network_input)
    }
}

/// Reads a network from a file that holds all of it.
///
/// # Errors
/// The first thing that is not what it should be, with its place.
pub fn read(bytes: impl Into<Bytes>) -> Result<Imported, ImportError> {
    File::parse(bytes)?.network(&External::new())
}

/// Whether a name is that of a file and has no folders.
fn is_in_the_same_folder(name: &str) -> bool {
    let name = name.strip_prefix("./").unwrap_or(name);
    !matches!(name, "" | "." | "..") && name.len() <= FILE_NAME_MAX && !name.contains(['/', '\\', ':', '\0'])
}

/// The values of one example in a shape.
fn lengths(shape: Shape) -> Vec<usize> {
    match shape {
        Shape::Vector(values) => vec![values],
        Shape::Image { channels, height, width } => vec![channels, height, width],
    }
}
