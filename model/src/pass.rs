//! What a training pass depends on besides weights and examples.

/// How examples go through a network while it is trained. Nothing here matters to a network without dropout and batch
/// normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// How many consecutive examples share the statistics of a batch normalization, counted from the first example of
    /// the call; the last minibatch has what remains. At least 1.
    pub minibatch: usize,
    /// The seed of all dropout masks of a run.
    pub mask_seed: u64,
    /// What changes to draw new masks. An optimizer keeps it while it compares points: with fixed masks the loss is a
    /// smooth function of the weights.
    pub mask_epoch: u64,
    /// The number, in the training set, of the first example of the call; the others follow. An example's masks go by
    /// its number, so that they do not depend on which examples it shares a call with.
    pub first_example: u64,
}

impl Pass {
    /// Minibatches of this many examples, and all else 0.
    pub const fn new(minibatch: usize) -> Pass {
        Pass { minibatch, mask_seed: 0, mask_epoch: 0, first_example: 0 }
    }
}

/// How a sub-batch goes through the layers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode<'a> {
    /// Without dropout, batch normalization by its running statistics.
    Inference,
    /// As in a training pass.
    Training(Masks<'a>),
}

/// What the masks of a sub-batch are drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masks<'a> {
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    /// Counts the steps of local training, which never see the same masks twice; 0 in any other pass.
    pub(crate) step: u64,
    pub(crate) examples: Numbers<'a>,
}

/// The numbers, in the training set, of the examples of a sub-batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbers<'a> {
    /// The first, then those that follow.
    From(u64),
    /// Picked from a pool whose first example has number `first`.
    Picked { first: u64, indices: &'a [u32] },
}

impl Masks<'_> {
    /// The number of the example in this row of the sub-batch.
    pub(crate) fn example(&self, row: usize) -> u64 {
        match self.examples {
            Numbers::From(first) => first.wrapping_add(row as u64),
            Numbers::Picked { first, indices } => first.wrapping_add(u64::from(indices[row])),
        }
    }

    /// Of the sub-batch of a pass that begins `skipped` examples after the pass itself.
    pub(crate) fn of(pass: &Pass, skipped: usize) -> Masks<'static> {
        let examples = Numbers::From(pass.first_example.wrapping_add(skipped as u64));
        Masks { seed: pass.mask_seed, epoch: pass.mask_epoch, step: 0, examples }
    }
}
