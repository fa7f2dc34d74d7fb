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
use crate::scale::{Archive, Pieces};

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
    /// the term that this one leads. The store has the directory's metrics as far as they are in these pieces.
    pub(super) fn start(
        directory: Arc<RunDirectory>,
        mut shared: Option<(Term, Archive, Pieces)>,
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
                if let Some((term, archive, pieces)) = &mut shared {
                    let shared = share(archive, *term, sequence, &directory, bytes, pieces);
                    let shared = runtime.block_on(shared);
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

    /// Accepts no more. The checkpoint under way is being written yet, and an older one must not overtake a newer one: wait
    /// for it where waiting is no harm.
    pub(super) fn finish(&mut self) -> Unwritten {
        self.work = None;
        self.busy = false;
        let (_, nothing) = sync_channel(1);
        Unwritten(std::mem::replace(&mut self.done, nothing))
    }

    /// The result of writing the last checkpoint, reported once.
    pub(super) fn take_written(&mut self) -> Option<io::Result<()>> {
        self.written.take()
    }
}

/// A checkpoint that may be under way to the disk and to the store.
#[derive(Debug)]
pub struct Unwritten(Receiver<(Duration, io::Result<()>)>);

impl Unwritten {
    /// Blocks until it is there, or has failed.
    pub fn wait(self) {
        for (_, written) in self.0 {
            if let Err(error) = written {
                tracing::warn!("the checkpoint before the last cannot be written: {error}");
            }
        }
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
    pieces: &mut Pieces,
) -> io::Result<()> {
    let metrics = directory.metrics_from(|unchanged| pieces.cut(unchanged)).map_err(io::Error::other)?;
    archive.save(term, sequence, checkpoint, &metrics, pieces).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use engine::Figures;
    use engine::optimizers::Method;

    use super::*;
    use crate::report::progress::IterationReport;
    use crate::store::Store;

    /// So many lines that fill several pieces.
    const LINES: u64 = 2_000;

    #[tokio::test]
    async fn the_store_has_the_lines_of_the_directory_however_often_the_training_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let directory = RunDirectory::create(&run, "").unwrap();
        let archive = Archive::new(Store::in_memory());
        let (term, mut pieces) = (Term { number: 1, nonce: 9 }, Pieces::default());
        let (mut sequence, mut iteration) = (0, 0);
        // The training goes back after each of these iterations; some of them are in pieces.
        for (last, back) in [(LINES, LINES - 1), (LINES + 5, 300), (LINES, 0), (LINES / 2, LINES / 2)] {
            while iteration <= last {
                directory.append_metrics(&report(iteration, sequence)).unwrap();
                iteration += 1;
                if iteration % 400 == 0 || iteration > last {
                    sequence += 1;
                    share(&archive, term, sequence, &directory, vec![1], &mut pieces).await.unwrap();
                    let state = archive.newest_state().await.unwrap().unwrap();
                    let lines = std::fs::read(run.join("metrics.jsonl")).unwrap();
                    assert!(state.metrics == lines, "after iteration {iteration} and {sequence} states");
                    assert!(iteration < LINES || pieces.count() > 1, "this must happen to be tested");
                }
            }
            directory.cut_metrics(Some(back)).unwrap();
            iteration = back + 1;
        }
    }

    fn report(iteration: u64, rounds: u64) -> IterationReport {
        IterationReport {
            iteration,
            iterations_max: LINES,
            rounds,
            epochs: 1.0,
            figures: Figures { train_loss: 0.5, ..Figures::UNKNOWN },
            gradient_norm: 1.0,
            step: 1.0,
            volunteers: 2,
            cores: 8,
            examples_per_second: 1e6,
            seconds: 1.5,
            eta_seconds: None,
            method: Method::Lbfgs,
            resumed: false,
        }
    }
}
