//! Weights to begin with, from elsewhere: a run, a safetensors file (as PyTorch writes it, too) or an ONNX file.
//!
//! Every parameter of the network gets the values of the one that has its name and shape. The rest starts as
//! the run's seed has it, and is named, as is what the file has beyond the network.

mod named;
mod torch;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use model::{Network, NetworkSpec};
use onnx::import::{External, Imported};

use self::named::Named;
use crate::run_directory::{self, RunError, SavedModel};

/// Bytes of the largest file: the weights of the largest network, and some.
const FILE_BYTES_MAX: u64 = onnx::import::BYTES_MAX as u64;
/// Names that a sentence lists.
const LISTED_MAX: usize = 6;

/// Weights from elsewhere.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A run's model, in Shoal's own layout.
    Model(Box<SavedModel>),
    /// A graph, of which the layers are known.
    Graph(Box<Imported>),
    /// Tensors by name, in the orientation of PyTorch.
    Tensors(Vec<torch::Found>),
}

/// Weights to begin with.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// In the order of [`Network::layout`].
    pub weights: Vec<f32>,
    /// Sentences about what did not fit.
    pub notes: Vec<String>,
}

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system refused.
    #[error("cannot read {}: {source}; check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A run's own file is wrong.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Source {
    /// Reads a run directory or a file. Which kind of file it is, its ending tells.
    ///
    /// # Errors
    /// [`StartError`] with the path and what is wrong.
    pub fn read(path: &Path) -> Result<Source, StartError> {
        let failed = |source| StartError::Read { path: path.to_owned(), source };
        let content = if fs::metadata(path).map_err(failed)?.is_dir() {
            Content::Model(Box::new(run_directory::load_model(path)?))
        } else {
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            match ending.to_str() {
                Some("onnx") => Content::Graph(Box::new(read_onnx(path)?)),
                Some("safetensors") => Self::safetensors(path, &read_file(path)?)?,
                _ => {
                    let problem = "weights come from a run directory, a .safetensors file or an .onnx file; give one \
                                   of these";
                    return Err(unusable(path, problem));
                }
            }
        };
        Ok(Source { path: path.to_owned(), content })
    }

    fn safetensors(path: &Path, bytes: &[u8]) -> Result<Content, StartError> {
        if SavedModel::is_own(bytes) {
            return Ok(Content::Model(Box::new(SavedModel::from_bytes(path, bytes)?)));
        }
        let found = torch::read(bytes).map_err(|problem| unusable(path, problem))?;
        Ok(Content::Tensors(found))
    }

    /// The network that the source describes; `None` for tensors alone.
    pub fn network(&self) -> Option<&NetworkSpec> {
        match &self.content {
            Content::Model(model) => Some(model.network.spec()),
            Content::Graph(imported) => Some(&imported.spec),
            Content::Tensors(_) => None,
        }
    }

    /// The start weights of a network: the source's as far as they fit, others as `seed` has them.
    ///
    /// # Errors
    /// When nothing fits.
    pub fn weights(&self, network: &Network, seed: u64) -> Result<Start, StartError> {
        let mut weights = network.initialize(seed);
        let mut notes = Vec::new();
        let named = match &self.content {
            Content::Model(model) => Named::of_model(model),
            Content::Graph(imported) => {
                notes.extend(imported.notes.iter().cloned());
                Named::of_graph(imported)
            }
            Content::Tensors(found) => {
                let (named, note) =
                    torch::matched(found, network).map_err(|problem| unusable(&self.path, problem))?;
                notes.extend(note);
                named
            }
        };
        let (missing, unused) = named.fill(network, &mut weights);
        let blocks = network.layout().len();
        if missing.len() == blocks {
            let problem = format!(
                "none of its weights fit the network, whose first are {}; give the network that they belong to with \
                 --model",
                network
                    .layout()
                    .first()
                    .map_or(String::new(), |block| format!("{} {:?}", block.name, block.shape))
            );
            return Err(unusable(&self.path, problem));
        }
        if !missing.is_empty() {
            notes.push(format!("{} not in {} and start at random", are(&missing), self.path.display()));
        }
        if !unused.is_empty() {
            notes.push(format!("{} in {} and in no layer of the network", are(&unused), self.path.display()));
        }
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Err(unusable(&self.path, "it has weights that are infinite or not numbers"));
        }
        Ok(Start { weights, notes })
    }
}

/// The network in an ONNX file.
///
/// # Errors
/// [`StartError`] with the path and what is wrong.
pub fn read_onnx(path: &Path) -> Result<Imported, StartError> {
    let wrong = |error: onnx::import::ImportError| unusable(path, error.to_string());
    let file = onnx::import::File::parse(read_file(path)?).map_err(wrong)?;
    let mut external = External::new();
    let mut left = FILE_BYTES_MAX;
    for name in file.external_files().map_err(wrong)? {
        let bytes = read_up_to(&path.with_file_name(name), left)?;
        left -= bytes.len() as u64;
        external.insert(name.to_owned(), bytes.into());
    }
    file.network(&external).map_err(wrong)
}

fn unusable(path: &Path, problem: impl Into<String>) -> StartError {
    StartError::Unusable { path: path.to_owned(), problem: problem.into() }
}

/// A whole file, unless it is too large.
fn read_file(path: &Path) -> Result<Vec<u8>, StartError> {
    read_up_to(path, FILE_BYTES_MAX)
}

fn read_up_to(path: &Path, bytes_max: u64) -> Result<Vec<u8>, StartError> {
    let failed = |source| StartError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(unusable(path, "it is larger than the weights of the largest network"));
    }
    Ok(bytes)
}

/// `layers.0.weight is`, `layers.0.weight and layers.0.bias are`.
fn are(names: &[String]) -> String {
    let shown = &names[..names.len().min(LISTED_MAX)];
    match (shown, names.len() - shown.len()) {
        ([one], 0) => format!("{one} is"),
        ([rest @ .., last], 0) => format!("{} and {last} are", rest.join(", ")),
        (shown, more) => format!("{} and {more} more are", shown.join(", ")),
    }
}
