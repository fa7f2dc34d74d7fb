//! The choice between the weights that a run has: those it saved as its model, and the last ones.
//!
//! The saved model is the accepted point with the lowest validation loss, or the last point without validation
//! examples. The last weights stand in the checkpoint. Everything else that a model needs is in the saved model.

use std::path::Path;

use crate::driver::{Checkpoint, CheckpointError};
use crate::run_directory::{self, RunError, SavedModel};

/// Which of a run's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Those with the lowest validation loss; without validation examples, the last ones.
    #[default]
    Best,
    /// Those of the last iteration.
    Last,
}

/// A run's model with the weights that are wanted.
///
/// # Errors
/// When the run has no model yet, or when a file is damaged or of another version.
pub(crate) fn load(run: &Path, which: Weights) -> Result<SavedModel, RunError> {
    let model = run_directory::load_model(run)?;
    match which {
        Weights::Best => Ok(model),
        Weights::Last => with_last_weights(run, model),
    }
}

fn with_last_weights(run: &Path, model: SavedModel) -> Result<SavedModel, RunError> {
    let none = |problem: String| RunError::NoLastWeights { path: run.to_owned(), problem };
    let loaded = match run_directory::look_at_checkpoint(run, Checkpoint::VERSION) {
        Err(RunError::OtherVersion { found, expected, .. }) => {
            return Err(none(format!(
                "another version of shoal wrote its checkpoint (file version {found}, this shoal reads {expected})"
            )));
        }
        loaded => loaded?.ok_or_else(|| none("it has no checkpoint".to_owned()))?,
    };
    let checkpoint = Checkpoint::from_bytes(&loaded.state).map_err(|error| {
        none(match error {
            CheckpointError::Malformed(_) => "its checkpoint does not have the layout of one".to_owned(),
            CheckpointError::OtherProtocol(found) => {
                let expected = protocol::PROTOCOL_VERSION;
                format!(
                    "another version of shoal wrote its checkpoint (protocol version {found}, this shoal has {expected})"
                )
            }
        })
    })?;
    let weights = checkpoint.snapshot.weights();
    if weights.len() != model.network.parameters() {
        return Err(none("its checkpoint belongs to another network".to_owned()));
    }
    Ok(SavedModel { weights, ..model })
}
