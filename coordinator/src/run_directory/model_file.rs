//! The trained model as a safetensors file: weights by the names of the network's layout, and one metadata entry,
//! `shoal`, with everything needed to use them as JSON.

use std::{collections::HashMap, path::Path, sync::Arc};

use model::{Arithmetic, Network, NetworkSpec, Preprocessing, Task, weights_digest};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::data::{Preparation, TargetScaling, preprocessing_of, task_of};

const METADATA_KEY: &str = "shoal";
const VERSION: u32 = 2;

/// A trained model with everything needed to use it on new data.
#[derive(Clone, Debug)]
pub struct SavedModel {
    /// The network.
    pub network: Network,
    /// Its parameters, in the order of [`Network::layout`].
    pub weights: Arc<[f32]>,
    /// The arithmetic it was trained in.
    pub arithmetic: Arithmetic,
    /// The run's seed.
    pub seed: u64,
    /// Columns, classes and image shape.
    pub preparation: Preparation,
    /// The conversion of raw features into inputs of the network.
    pub preprocessing: Preprocessing,
    /// The conversion of the network's outputs into the user's units; `None` for classes.
    pub target_scaling: Option<TargetScaling>,
}

impl SavedModel {
    /// The whole file. `path` only names it in errors.
    /// The bytes of the file, for a place that is not on a disk.
    ///
    /// # Errors
    /// Those of [`SavedModel::to_bytes`].
    pub(crate) fn to_download(&self) -> Result<Vec<u8>, RunError> {
        self.to_bytes(Path::new("model.safetensors"))
    }

    pub(super) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, RunError> {
        let unwritable = |problem: String| RunError::Unwritable { path: path.to_owned(), problem };
        self.check().map_err(|problem| unwritable(problem.to_owned()))?;
        let json =
            serde_json::to_string(&Metadata::of(self)).map_err(|error| unwritable(error.to_string()))?;
        let bytes: Vec<u8> = self.weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        let mut tensors = Vec::with_capacity(self.network.layout().len());
        for block in self.network.layout() {
            let data = &bytes[4 * block.range.start..4 * block.range.end];
            let tensor = TensorView::new(Dtype::F32, block.shape.clone(), data)
                .map_err(|error| unwritable(error.to_string()))?;
            tensors.push((block.name.as_str(), tensor));
        }
        // A single entry, because a map of several would be written in random order.
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(|error| unwritable(error.to_string()))
    }

    /// Whether a safetensors file has what makes it a model of Shoal.
    pub(crate) fn is_own(bytes: &[u8]) -> bool {
        SafeTensors::read_metadata(bytes).is_ok_and(|(_, header)| {
            header.metadata().as_ref().is_some_and(|metadata| metadata.contains_key(METADATA_KEY))
        })
    }

    /// Reads a file and trusts nothing in it. `path` only names it in errors.
    pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, RunError> {
        let damaged = |problem: String| RunError::damaged(path, problem);
        let (_, header) = SafeTensors::read_metadata(bytes)
            .map_err(|error| damaged(format!("it is not a complete safetensors file ({error})")))?;
        let json = header
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(METADATA_KEY))
            .ok_or_else(|| damaged("it has no `shoal` metadata; another program wrote it".to_owned()))?;
        let metadata = Metadata::parse(path, json)?;
        let network =
            Network::new(&metadata.network, metadata.preparation.inputs(), task_of(&metadata.preparation))
                .map_err(|error| damaged(format!("its network cannot be built: {error}")))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let weights = weights(&network, &tensors).map_err(damaged)?;
        if hex(&weights_digest(&weights)) != metadata.weights_digest {
            return Err(damaged("its weights do not match their digest".to_owned()));
        }
        let model = Self {
            network,
            weights: weights.into(),
            arithmetic: metadata.arithmetic,
            seed: metadata.seed,
            preprocessing: preprocessing_of(&metadata.preparation),
            preparation: metadata.preparation,
            target_scaling: metadata.target_scaling,
        };
        model.check().map_err(|problem| damaged(problem.to_owned()))?;
        Ok(model)
    }

    /// Checks that the parts fit together. The error names the mismatch.
    fn check(&self) -> Result<(), &'static str> {
        self.preparation.check()?;
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        if self.network.features() != self.preparation.inputs()
            || self.network.task() != task_of(&self.preparation)
        {
            return Err("the network does not fit the data's columns");
        }
        if self.weights.len() != self.network.parameters() {
            return Err("there must be one weight for each parameter of the network");
        }
        if self.preprocessing != preprocessing_of(&self.preparation) {
            return Err("the preprocessing must be that of the data's columns");
        }
        match (self.network.task(), &self.target_scaling) {
            (Task::Classes(_), None) => Ok(()),
            (Task::Classes(_), Some(_)) => Err("classes have no scaling"),
            (Task::Numbers(_), None) => Err("the scaling of the targets is missing"),
            (Task::Numbers(_), Some(TargetScaling { mean, deviation })) => {
                let outputs = self.network.outputs();
                let positive = deviation.iter().all(|&deviation| deviation > 0.0);
                if mean.len() == outputs
                    && deviation.len() == outputs
                    && finite(mean)
                    && finite(deviation)
                    && positive
                {
                    Ok(())
                } else {
                    Err("the scaling of the targets must have one positive deviation for each column")
                }
            }
        }
    }
}

/// The parameter vector from the tensors, which must be exactly the layout's.
fn weights(network: &Network, tensors: &SafeTensors<'_>) -> Result<Vec<f32>, String> {
    if tensors.len() != network.layout().len() {
        return Err(format!(
            "it has {} tensors, but its network has {}",
            tensors.len(),
            network.layout().len()
        ));
    }
    let mut weights = Vec::new();
    for block in network.layout() {
        let tensor =
            tensors.tensor(&block.name).map_err(|_| format!("the tensor {} is missing", block.name))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != block.shape {
            return Err(format!(
                "the tensor {} is {:?} {:?}, but its network needs F32 {:?}",
                block.name,
                tensor.dtype(),
                tensor.shape(),
                block.shape
            ));
        }
        weights.extend(tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
    }
    Ok(weights)
}

/// The metadata as stored in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    version: u32,
    network: NetworkSpec,
    arithmetic: Arithmetic,
    seed: u64,
    preparation: Preparation,
    target_scaling: Option<TargetScaling>,
    /// BLAKE3 of the little-endian weights, in hexadecimal.
    weights_digest: String,
}

/// Read first, so that the error for a file of another version names the version, and not a field that it has
/// or lacks.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Metadata {
    fn of(model: &SavedModel) -> Self {
        Self {
            version: VERSION,
            network: model.network.spec().clone(),
            arithmetic: model.arithmetic,
            seed: model.seed,
            preparation: model.preparation.clone(),
            target_scaling: model.target_scaling.clone(),
            weights_digest: hex(&weights_digest(&model.weights)),
        }
    }

    fn parse(path: &Path, json: &str) -> Result<Self, RunError> {
        let damaged = |error: serde_json::Error| RunError::damaged(path, format!("its metadata: {error}"));
        let Version { version } = serde_json::from_str(json).map_err(damaged)?;
        if version != VERSION {
            return Err(RunError::OtherVersion { path: path.to_owned(), found: version, expected: VERSION });
        }
        let metadata: Self = serde_json::from_str(json).map_err(damaged)?;
        metadata
            .preparation
            .check()
            .map_err(|problem| RunError::damaged(path, format!("its metadata: {problem}")))?;
        Ok(metadata)
    }
}

fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}
