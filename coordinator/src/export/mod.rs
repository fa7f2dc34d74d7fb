//! A trained model as a file for other programs.
//!
//! | format | what it is for |
//! | --- | --- |
//! | ONNX | a graph that takes the user's values and answers in the user's terms, in any ONNX runtime |
//! | safetensors | the weights by the names, shapes and orientation of PyTorch's modules |
//! | NPZ | the weights by the names and shapes of Shoal's own layout, for NumPy |

mod npz;
pub(crate) mod torch;

use onnx::export::{Answers, Export, Inputs, TooLarge};
use serde_json::json;

use crate::data::TargetSchema;
use crate::run_directory::SavedModel;

/// The format of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A graph for any ONNX runtime, with the preparation of the data inside
    Onnx,
    /// The weights for PyTorch
    Safetensors,
    /// The weights for NumPy
    Npz,
}

impl Format {
    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Onnx => "onnx",
            Format::Safetensors => "safetensors",
            Format::Npz => "npz",
        }
    }
}

/// What goes into a file beside the weights.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Leaves the preparation of the data out of a graph.
    pub without_preparation: bool,
    /// The terms under which others may use the model, for the metadata.
    pub license: Option<String>,
}

/// A model that cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It is too large for the format.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The library that writes the format refused.
    #[error("the model cannot be written as {format}: {problem}")]
    Unwritable {
        /// The format.
        format: &'static str,
        /// What the library said.
        problem: String,
    },
}

/// The whole file.
///
/// # Errors
/// When the model does not fit the format.
pub fn export(model: &SavedModel, format: Format, options: &Options) -> Result<Vec<u8>, ExportError> {
    match format {
        Format::Onnx => to_onnx(model, options),
        Format::Safetensors => torch::to_safetensors(model, described(model, options)),
        Format::Npz => npz::to_npz(&model.network, &model.weights),
    }
}

fn to_onnx(model: &SavedModel, options: &Options) -> Result<Vec<u8>, ExportError> {
    let inputs = match options.without_preparation {
        true => Inputs::Prepared,
        false => Inputs::Table(&model.preparation),
    };
    let answers = match (&model.preparation.targets, &model.target_scaling) {
        (TargetSchema::Classes(names), _) => Answers::Classes(names),
        (TargetSchema::Numbers(_), Some(scaling)) => {
            Answers::Numbers { mean: &scaling.mean, deviation: &scaling.deviation }
        }
        (TargetSchema::Numbers(_), None) => unreachable!("a saved model of numbers has a scaling"),
    };
    let metadata = described(model, options);
    let export = Export { network: &model.network, weights: &model.weights, inputs, answers, metadata };
    Ok(export.to_bytes()?)
}

/// Entries of a file's metadata: `classes` or `targets` and `columns` (those the graph takes, in order) are lists in JSON, `network` is a
/// specification in JSON, `digest` is the BLAKE3 of the little-endian weights in Shoal's own layout.
fn described(model: &SavedModel, options: &Options) -> Vec<(String, String)> {
    let mut entries = vec![match &model.preparation.targets {
        TargetSchema::Classes(names) => ("classes", json!(names).to_string()),
        TargetSchema::Numbers(names) => ("targets", json!(names).to_string()),
    }];
    if model.preparation.pixels.is_none() {
        let names: Vec<String> = model.preparation.columns.iter().map(onnx::export::input_name).collect();
        entries.push(("columns", json!(names).to_string()));
    }
    let digest = blake3::Hash::from_bytes(model::weights_digest(&model.weights));
    entries.push(("network", model.network.spec().to_json()));
    entries.push(("digest", digest.to_hex().to_string()));
    entries.extend(options.license.clone().map(|license| ("license", license)));
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
