//! A trained network applied to many examples, on all cores of this machine.
//!
//! Threads take chunks of a fixed size, and each chunk's result has a fixed place, so neither the number of
//! threads nor their order changes a bit.

use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use model::{Arithmetic, Examples, Features, Network, Preprocessing, Scratch};

use crate::data::{self, DataError, ExampleTable, FeatureRows};
use crate::run_directory::SavedModel;

/// Examples that a thread takes at a time.
const CHUNK: usize = 1024;
/// Bytes of examples that are read at a time where memory does not hold them.
const PIECE_BYTES: usize = 32 << 20;
/// Most threads.
const THREADS_MAX: usize = 256;

/// A network with its weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trained<'a> {
    pub(crate) network: &'a Network,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) weights: &'a [f32],
    pub(crate) preprocessing: &'a Preprocessing,
}

/// The network's loss over some examples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Measured {
    /// Sum over the examples, without the L2 penalty.
    pub(crate) loss_sum: f64,
    /// Correct predictions; 0 for numbers.
    pub(crate) correct: u64,
}

impl Measured {
    /// The sum of parts, in their order.
    fn sum(parts: Vec<Self>) -> Self {
        parts.into_iter().fold(Self::default(), |sum, part| Self {
            loss_sum: sum.loss_sum + part.loss_sum,
            correct: sum.correct + part.correct,
        })
    }
}

impl<'a> Trained<'a> {
    /// The network of a saved model.
    pub(crate) fn of(model: &'a SavedModel) -> Self {
        Self {
            network: &model.network,
            arithmetic: model.arithmetic,
            weights: &model.weights,
            preprocessing: &model.preprocessing,
        }
    }

    /// Loss and correct predictions over all examples.
    pub(crate) fn measure(&self, table: &ExampleTable) -> Measured {
        Measured::sum(self.measure_chunks(table, 0..table.len()))
    }

    /// The same, to the bit, over examples that memory need not hold.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn measure_all(&self, examples: &data::Examples) -> Result<Measured, DataError> {
        if let Some(table) = examples.in_memory() {
            return Ok(self.measure(table));
        }
        // Whole chunks, so that the sums have the same terms.
        let chunks = (PIECE_BYTES / (4 * CHUNK * examples.columns().max(1))).max(1);
        let mut parts = Vec::new();
        for first in (0..examples.len()).step_by(chunks * CHUNK) {
            let piece = examples.piece(first..examples.len().min(first + chunks * CHUNK))?;
            let (table, range) = piece.of();
            parts.extend(self.measure_chunks(table, range));
        }
        Ok(Measured::sum(parts))
    }

    fn measure_chunks(&self, table: &ExampleTable, range: Range<usize>) -> Vec<Measured> {
        in_chunks(range, |scratch, range| {
            let features = Features::new(table.rows(range.clone()), self.preprocessing);
            let examples = Examples { features, targets: table.targets(range.clone()) };
            let mut losses = vec![0.0; range.len()];
            let correct =
                self.network.evaluate(self.arithmetic, scratch, self.weights, &examples, &mut losses);
            Measured { loss_sum: losses.iter().copied().map(f64::from).sum(), correct: u64::from(correct) }
        })
    }

    /// The network's answers to a range of examples, row-major: probabilities of the classes, or
    /// standardized numbers.
    pub(crate) fn answers(&self, rows: &FeatureRows, range: Range<usize>) -> Vec<f32> {
        let parts = in_chunks(range, |scratch, range| {
            let mut outputs = vec![0.0; range.len() * self.network.outputs()];
            let features = Features::new(rows.rows(range), self.preprocessing);
            self.network.predict(self.arithmetic, scratch, self.weights, &features, &mut outputs);
            outputs
        });
        parts.concat()
    }
}

/// Ranges of `examples` to work on one after the other, so that memory need not hold all results.
pub(crate) fn batches(examples: usize) -> impl Iterator<Item = Range<usize>> {
    let batch = 4 * CHUNK * threads();
    (0..examples).step_by(batch).map(move |first| first..examples.min(first + batch))
}

/// Calls `work` for all chunks of `range` on all cores. Results are in the order of the chunks.
fn in_chunks<T: Send>(range: Range<usize>, work: impl Fn(&mut Scratch, Range<usize>) -> T + Sync) -> Vec<T> {
    in_order(range.len().div_ceil(CHUNK), |scratch, chunk| {
        let first = range.start + chunk * CHUNK;
        work(scratch, first..range.end.min(first + CHUNK))
    })
}

/// Calls `work` for 0, 1, ... `jobs` - 1 on all cores. Results are in this order.
pub(crate) fn in_order<T: Send>(jobs: usize, work: impl Fn(&mut Scratch, usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take_jobs = || {
        let (mut scratch, mut done) = (Scratch::new(), Vec::new());
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= jobs {
                return done;
            }
            done.push((job, work(&mut scratch, job)));
        }
    };
    let mut results: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads().min(jobs)).map(|_| scope.spawn(take_jobs)).collect();
        let done =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.flatten().collect()
    });
    results.sort_by_key(|&(job, _)| job);
    results.into_iter().map(|(_, result)| result).collect()
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_worked_on_once_and_in_order() {
        let ranges = in_chunks(3..3 + 5 * CHUNK + 1, |_, range| range);
        let all: Vec<usize> = ranges.into_iter().flatten().collect();
        assert_eq!(all, (3..3 + 5 * CHUNK + 1).collect::<Vec<_>>());
        assert!(in_chunks(7..7, |_, range| range).is_empty());
    }
}
