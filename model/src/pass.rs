//! A training pass: everything that it depends on besides weights and examples.

/// The conditions of a training pass. They matter only to networks with dropout or batch normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// The number of consecutive examples, counted from the first example of the call, that share the
    /// statistics of a batch normalization; at least 1. The last minibatch has the rest.
    pub minibatch: usize,
    /// The seed of all dropout masks of the run.
    pub mask_seed: u64,
    /// Selects the masks. An optimizer keeps the same value while it compares points, because the loss is a
    /// smooth function of the weights only under fixed masks.
    pub mask_epoch: u64,
    /// The index of the call's first example in the training set; the others follow. An example's masks
    /// depend on its index, and not on the examples with which it shares a call.
    pub first_example: u64,
}

impl Pass {
    /// A pass with minibatches of this many examples, and 0 for everything else.
    pub const fn new(minibatch: usize) -> Pass {
        Pass { minibatch, mask_seed: 0, mask_epoch: 0, first_example: 0 }
    }
}

/// How a sub-batch goes through the layers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode<'a> {
    /// Without dropout, and with the running statistics of batch normalization.
    Inference,
    /// As in a training pass.
    Training(Masks<'a>),
}

/// The values from which the masks of a sub-batch are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masks<'a> {
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    /// Counts the steps of local training, so that no two steps have the same masks; 0 in any other pass.
    pub(crate) step: u64,
    pub(crate) examples: Numbers<'a>,
}

/// The numbers of a sub-batch's examples in the training set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbers<'a> {
    /// Consecutive numbers from this one on.
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

    /// The masks of the sub-batch that begins `skipped` examples after the start of the pass.
    pub(crate) fn of(pass: &Pass, skipped: usize) -> Masks<'static> {
        let examples = Numbers::From(pass.first_example.wrapping_add(skipped as u64));
        Masks { seed: pass.mask_seed, epoch: pass.mask_epoch, step: 0, examples }
    }
}
