//! Saves what a training has made. A model that cannot be saved is kept in memory and tried again: nobody wants
//! to train it once more.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::driver::{Checkpoint, Order};
use crate::operator::Unsaved;
use crate::run_directory::{RunDirectory, RunError, SavedModel};

/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(5);

/// Saves the model and the last checkpoint, the latter in place of both that are there if `both`. While there is no room
/// for the model anywhere, says so and tries again for `patience`, or until `stop` turns true.
///
/// # Errors
/// When the model is saved nowhere, or not in its place.
pub(super) async fn save(
    directory: &Arc<RunDirectory>,
    model: &Arc<SavedModel>,
    (checkpoint, both): (Checkpoint, bool),
    patience: Duration,
    orders: &mpsc::Sender<Order>,
    unsaved: &Unsaved,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    let until = Instant::now() + patience;
    let mut checkpoint = Some(checkpoint);
    let mut has_told = false;
    loop {
        let (place, trained, state) = (Arc::clone(directory), Arc::clone(model), checkpoint.take());
        let (saved, state) = spawn_blocking(move || once(&place, &trained, state, both)).await?;
        checkpoint = state;
        match saved {
            Err(error @ RunError::NotSaved { .. })
                if Instant::now() < until && !has_to_stop(&stop, has_told) =>
            {
                if !std::mem::replace(&mut has_told, true) {
                    let seconds = patience.as_secs();
                    let text = format!(
                        "{error}. The model stays in memory: saving is tried again for {seconds} s, and the dashboard \
                         offers it for download. Ctrl-C ends that."
                    );
                    let _ = orders.send(Order::Tell(text)).await;
                    unsaved.set(Some(Arc::clone(model)));
                }
                sleep(PAUSE).await;
            }
            saved => {
                unsaved.set(None);
                return Ok(saved?);
            }
        }
    }
}

/// Whether the user wants this to end. A wish from before the first failure concerned the training.
fn has_to_stop(stop: &watch::Receiver<bool>, has_told: bool) -> bool {
    has_told && *stop.borrow()
}

/// One try. Returns the checkpoint if it is not written.
fn once(
    directory: &RunDirectory,
    model: &SavedModel,
    checkpoint: Option<Checkpoint>,
    both: bool,
) -> (Result<(), RunError>, Option<Checkpoint>) {
    let saved = directory.save_trained_model(model);
    // Whatever became of the model: without this checkpoint the run goes on from the one before, to the same
    // bits.
    let Some(checkpoint) = checkpoint else { return (saved, None) };
    let (bytes, rounds) = (checkpoint.to_bytes(), checkpoint.snapshot.counters.rounds);
    let written = match both {
        true => directory.replace_checkpoints(Checkpoint::VERSION, &bytes, rounds),
        false => directory.save_checkpoint(Checkpoint::VERSION, &bytes, rounds),
    };
    match written {
        Ok(()) => (saved, None),
        Err(error) => {
            tracing::warn!("the last checkpoint cannot be written: {error}");
            (saved, Some(checkpoint))
        }
    }
}
