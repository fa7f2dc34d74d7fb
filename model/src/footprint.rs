//! The memory that a computation takes besides its weights and gradient, known before anything is computed.

use crate::kernels::LANES_MAX;
use crate::layers::{Layer, Step};
use crate::network::Network;
use crate::spec::{DEPTH_MAX, MINIBATCH_VALUES_MAX, SpecError};

const BYTES: usize = size_of::<f32>();

impl Network {
    /// Maximum bytes of a [`Scratch`](crate::Scratch) in training with minibatches of `minibatch` examples,
    /// whatever the number of examples. It covers the activations of one sub-batch (a whole minibatch with
    /// batch normalization), derivatives as wide as its widest layer, its inputs without their zeros, one
    /// gradient for local steps, and the repacked operands of products.
    pub fn scratch_bytes(&self, minibatch: usize) -> u64 {
        let examples = self.sub_batch().max(self.training_batch(minibatch.max(1)));
        let steps = || self.steps().iter();
        // Places and values, ordered by example and by place, in buffers that grow by doubling.
        let lists = if self.first_dense().is_some() { 8 * self.features() } else { 0 };
        let repacked: u64 =
            steps().map(|step| Repacked::by(step, examples)).fold(Repacked::default(), Repacked::max).total();
        let gradient_and_statistics = 2 * self.parameters() - self.trainable();
        // In 64 bits and saturating, because the result decides on a 32-bit machine whether there is room.
        let of_examples =
            self.values_of_example().saturating_add(lists as u64).saturating_mul(examples as u64);
        of_examples
            .saturating_add(repacked)
            .saturating_add(gradient_and_statistics as u64)
            .saturating_mul(BYTES as u64)
    }

    /// Checks that minibatches of this size fit the memory limit. Only batch normalization needs a whole
    /// minibatch at once.
    ///
    /// # Errors
    /// [`SpecError::Minibatch`] if they do not.
    pub fn check_minibatch(&self, minibatch: usize) -> Result<(), SpecError> {
        let values = self.values_of_example();
        if self.has_statistics() && values.saturating_mul(minibatch as u64) > MINIBATCH_VALUES_MAX {
            return Err(SpecError::Minibatch { minibatch, values });
        }
        Ok(())
    }

    /// The number of values of each example of a sub-batch in training: activations, two derivatives, and the
    /// shortcuts' derivatives.
    pub(crate) fn values_of_example(&self) -> u64 {
        let steps = || self.steps().iter();
        let widest = steps().map(|step| step.outputs).max().unwrap_or(0);
        let activations = self.features() + steps().map(|step| step.outputs).sum::<usize>() + 2 * widest;
        let shortcuts = steps().filter_map(|step| step.layer.shortcut_from());
        let shortcut = shortcuts.map(|from| self.steps()[from].inputs).max().unwrap_or(0);
        activations as u64 + DEPTH_MAX as u64 * shortcut as u64
    }
}

/// The number of values in each of the buffers that all steps share for repacked operands.
#[derive(Debug, Clone, Copy, Default)]
struct Repacked {
    unfolded: u64,
    transposed: u64,
    result: u64,
    packed: u64,
}

impl Repacked {
    fn by(step: &Step, examples: usize) -> Repacked {
        let padded = |count: usize| (count + LANES_MAX) as u64;
        match &step.layer {
            // The largest of W, the derivatives by the outputs, and the inputs.
            Layer::Dense(dense) => {
                let rows = padded(examples).saturating_mul(padded(dense.inputs.max(dense.outputs)));
                let any =
                    (dense.weight.len() as u64).max(rows).saturating_add((LANES_MAX * dense.inputs) as u64);
                Repacked { unfolded: dense.outputs as u64, transposed: any, result: rows, packed: any }
            }
            Layer::Conv2d(conv2d) => {
                let (taps, windows) = (padded(conv2d.taps()), padded(conv2d.windows.count()));
                let packed = windows.saturating_mul(taps.max(padded(conv2d.channels)));
                // The buffer also holds the taps' positions, each in the space of two values.
                Repacked {
                    unfolded: u64::try_from(conv2d.buffered()).unwrap_or(u64::MAX).saturating_add(2 * taps),
                    packed,
                    ..Repacked::default()
                }
            }
            Layer::Sum(sum) => {
                sum.projection.as_ref().map_or(Repacked::default(), |step| Repacked::by(step, examples))
            }
            _ => Repacked { unfolded: 3 * step.inputs as u64, ..Repacked::default() },
        }
    }

    fn max(self, other: Repacked) -> Repacked {
        Repacked {
            unfolded: self.unfolded.max(other.unfolded),
            transposed: self.transposed.max(other.transposed),
            result: self.result.max(other.result),
            packed: self.packed.max(other.packed),
        }
    }

    fn total(self) -> u64 {
        let parts = [self.unfolded, self.transposed, self.result, self.packed];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}
