//! Writes checkpoints beside the rounds: in a thread of its own, one at a time, and no more often than every
//! second or ten times the time that one takes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use gateway::Term;
use tokio::runtime::Handle;

use super::Checkpoint;
use crate::report::helpers::Helpers;
use crate::run_directory::RunDirectory;
use crate::scale::{Archive, SavedState};

const EVERY_MIN: Duration = Duration::from_secs(1);
const COST_FACTOR: u32 = 10;

/// The driver's end of the writer.
pub(super) struct CheckpointWriter {
    /// `None` once it is finished.
    work: Option<SyncSender<(Checkpoint, Helpers)>>,
    done: Receiver<(Duration, io::Result<()>)>,
    busy: bool,
    began: Instant,
    cost: Duration,
    /// The result of writing the last checkpoint, until it is asked for.
    written: Option<io::Result<()>>,
}

impl CheckpointWriter {
    /// Writes into the run's directory and, in a training of several processes, into the store that they share, under
    /// the term that this one leads.
    pub(super) fn start(
        directory: Arc<RunDirectory>,
        shared: Option<(Term, Archive)>,
        runtime: Handle,
    ) -> io::Result<CheckpointWriter> {
        let (work, requests) = sync_channel::<(Checkpoint, Helpers)>(1);
        let (done_sender, done) = sync_channel(1);
        std::thread::Builder::new().name("checkpoints".into()).spawn(move || {
            for (sequence, (checkpoint, helpers)) in (1..).zip(requests) {
                let began = Instant::now();
                let bytes = checkpoint.to_bytes();
                drop(checkpoint);
                let mut written = write(&directory, &bytes, &helpers);
                if let Some((term, archive)) = &shared {
                    let shared = runtime.block_on(share(archive, *term, sequence, &directory, bytes));
                    written = written.and(shared);
                }
                if done_sender.send((began.elapsed(), written)).is_err() {
                    return;
                }
            }
        })?;
        // The first is due at once, so that a run that dies early can be resumed.
        let began = Instant::now().checked_sub(EVERY_MIN).unwrap_or_else(Instant::now);
        Ok(CheckpointWriter {
            work: Some(work),
            done,
            busy: false,
            began,
            cost: Duration::ZERO,
            written: None,
        })
    }

    /// Whether a checkpoint should be written now.
    pub(super) fn is_due(&mut self) -> bool {
        self.is_free() && self.began.elapsed() >= EVERY_MIN.max(self.cost * COST_FACTOR)
    }

    /// Whether a checkpoint can be written now.
    pub(super) fn is_free(&mut self) -> bool {
        match self.done.try_recv() {
            Ok((cost, written)) => {
                self.busy = false;
                self.cost = cost;
                self.written = Some(written);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                if self.work.take().is_some() {
                    self.written = Some(Err(io::Error::other("the thread that writes them has ended")));
                }
            }
        }
        self.work.is_some() && !self.busy
    }

    /// Hands a checkpoint to the writer, with the account of who helped so far. Call this only when [`CheckpointWriter::is_free`].
    pub(super) fn write(&mut self, checkpoint: Checkpoint, helpers: Helpers) {
        self.began = Instant::now();
        self.busy = self.work.as_ref().is_some_and(|work| work.try_send((checkpoint, helpers)).is_ok());
    }

    /// Waits for the checkpoint under way and accepts no more.
    pub(super) fn finish(&mut self) {
        self.work = None;
        if self.busy {
            self.written = self.done.recv().ok().map(|(_, written)| written);
            self.busy = false;
        }
    }

    /// The result of writing the last checkpoint, reported once.
    pub(super) fn take_written(&mut self) -> Option<io::Result<()>> {
        self.written.take()
    }
}

fn write(directory: &RunDirectory, checkpoint: &[u8], helpers: &Helpers) -> io::Result<()> {
    directory.save_checkpoint(Checkpoint::VERSION, checkpoint).map_err(io::Error::other)?;
    directory.save_helpers(helpers).map_err(io::Error::other)
}

/// Saves a checkpoint where the other processes find it. The rounds of a term may count backward, after a lie; the
/// sequence of its checkpoints does not.
async fn share(
    archive: &Archive,
    term: Term,
    sequence: u64,
    directory: &RunDirectory,
    checkpoint: Vec<u8>,
) -> io::Result<()> {
    let metrics = directory.metrics().map_err(io::Error::other)?;
    archive.save(term, sequence, &SavedState { checkpoint, metrics }).await.map_err(io::Error::other)
}
