//! Weights to begin with, from elsewhere: a run, a safetensors file (as PyTorch writes it, too) or an ONNX file.
//!
//! Every parameter of the network gets the values of the one that has its name and shape. The rest starts as
//! the run's seed has it, and is named, as is what the file has beyond the network. In the output layer of a
//! classifier, the classes' names decide.

mod classes;
mod named;
mod torch;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use model::{Network, NetworkSpec};
use onnx::import::{External, Imported};

use self::classes::Classes;
use self::named::Named;
use crate::run_directory::{self, RunError, SavedModel};

/// Bytes of the largest file: the weights of the largest network, and some.
const FILE_BYTES_MAX: u64 = onnx::import::BYTES_MAX as u64;
/// The entry of an exported file's metadata with the names of classes.
const CLASSES: &str = "classes";
/// Names that a sentence lists.
const LISTED_MAX: usize = 6;

/// Weights from elsewhere.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    content: Content,
    /// The names of the classes that it tells apart, in the order of its outputs, if it has them.
    classes: Option<Vec<String>>,
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
        let (content, classes) = if fs::metadata(path).map_err(failed)?.is_dir() {
            Self::of_model(run_directory::load_model(path)?)
        } else {
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            match ending.to_str() {
                Some("onnx") => {
                    let (imported, classes) = read_graph(path)?;
                    (Content::Graph(Box::new(imported)), classes)
                }
                Some("safetensors") => Self::safetensors(path, &read_file(path)?)?,
                _ => {
                    let problem = "weights come from a run directory, a .safetensors file or an .onnx file; give one \
                                   of these";
                    return Err(unusable(path, problem));
                }
            }
        };
        Ok(Source { path: path.to_owned(), content, classes })
    }

    fn of_model(model: SavedModel) -> (Content, Option<Vec<String>>) {
        let classes = model.preparation.class_names().map(<[String]>::to_vec);
        (Content::Model(Box::new(model)), classes)
    }

    fn safetensors(path: &Path, bytes: &[u8]) -> Result<(Content, Option<Vec<String>>), StartError> {
        if SavedModel::is_own(bytes) {
            return Ok(Self::of_model(SavedModel::from_bytes(path, bytes)?));
        }
        let found = torch::read(bytes).map_err(|problem| unusable(path, problem))?;
        Ok((Content::Tensors(found), torch::classes(bytes)))
    }

    /// The network that the source describes; `None` for tensors alone.
    pub fn network(&self) -> Option<&NetworkSpec> {
        match &self.content {
            Content::Model(model) => Some(model.network.spec()),
            Content::Graph(imported) => Some(&imported.spec),
            Content::Tensors(_) => None,
        }
    }

    /// The start weights of a network: the source's as far as they fit, others as `seed` has them. `classes` are
    /// the names of its outputs, if they are classes.
    ///
    /// # Errors
    /// When nothing fits.
    pub fn weights(
        &self,
        network: &Network,
        classes: Option<&[String]>,
        seed: u64,
    ) -> Result<Start, StartError> {
        let mut weights = network.initialize(seed);
        let mut notes = Vec::new();
        let mut named = match &self.content {
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
        let source = self.path.display().to_string();
        let mut found = 0;
        if let (Some(ours), Some(theirs)) = (classes, &self.classes)
            && let Some((classes, sentences)) =
                (Classes { ours, theirs }).fill(&mut named, network, &mut weights, &source)
        {
            found += classes;
            notes.extend(sentences);
        }
        let (filled, missing, unused) = named.fill(network, &mut weights);
        found += filled;
        if found == 0 {
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
            notes.push(format!("{} not in {source} and start at random", are(&missing)));
        }
        if let (Some(ours), None) = (classes, &self.classes)
            && !missing.iter().any(|name| name.starts_with(&named::output_layer(network)))
        {
            notes.push(format!(
                "{source} does not name its classes; its outputs are taken for {}, in this order",
                listed(&classes::shown(ours))
            ));
        }
        if !unused.is_empty() {
            notes.push(format!("{} in {source} and in no layer of the network", are(&unused)));
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
    read_graph(path).map(|(imported, _)| imported)
}

/// The network in an ONNX file, and the names of its classes if the file has them.
fn read_graph(path: &Path) -> Result<(Imported, Option<Vec<String>>), StartError> {
    let wrong = |error: onnx::import::ImportError| unusable(path, error.to_string());
    let file = onnx::import::File::parse(read_file(path)?).map_err(wrong)?;
    let mut external = External::new();
    let mut left = FILE_BYTES_MAX;
    for name in file.external_files().map_err(wrong)? {
        let bytes = read_up_to(&path.with_file_name(name), left)?;
        left -= bytes.len() as u64;
        external.insert(name.to_owned(), bytes.into());
    }
    let classes = file.entry(CLASSES).and_then(|names| serde_json::from_str(names).ok());
    Ok((file.network(&external).map_err(wrong)?, classes))
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
    format!("{} {}", listed(names), if names.len() == 1 { "is" } else { "are" })
}

/// `a`, `a and b`, `a, b, c, d, e, f and 3 more`.
fn listed(names: &[String]) -> String {
    let shown = &names[..names.len().min(LISTED_MAX)];
    match (shown, names.len() - shown.len()) {
        ([one], 0) => one.clone(),
        ([rest @ .., last], 0) => format!("{} and {last}", rest.join(", ")),
        (shown, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
