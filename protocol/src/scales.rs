//! The powers of two that turn a round's `f32` values into integers, so that sums do not depend on their
//! order.

use model::exact::EXPONENTS;
use serde::{Deserialize, Serialize};

use crate::plan::Work;

/// The exponents of a round: an integer is `round(value * 2^exponent)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scales {
    /// For vectors: gradients and displacements. An [examination](crate::examination) has its own use for it and the next.
    pub vector_exponent: i32,
    /// For batch statistics, the tail of a vector.
    pub statistics_exponent: i32,
    /// For losses of training examples.
    pub loss_exponent: i32,
    /// For losses of an evaluation, whose size may differ greatly from the training losses.
    pub evaluation_exponent: i32,
}

impl Scales {
    /// One exponent for all values.
    pub const fn uniform(exponent: i32) -> Scales {
        Scales {
            vector_exponent: exponent,
            statistics_exponent: exponent,
            loss_exponent: exponent,
            evaluation_exponent: exponent,
        }
    }

    /// The exponent for the losses that `work` computes.
    pub fn loss_exponent_of(&self, work: &Work) -> i32 {
        match work {
            Work::Gradient | Work::Losses { .. } | Work::Local { .. } => self.loss_exponent,
            Work::Evaluation | Work::Examination => self.evaluation_exponent,
        }
    }

    /// Whether each exponent is one of [`EXPONENTS`].
    pub fn are_in_range(&self) -> bool {
        let &Scales { vector_exponent, statistics_exponent, loss_exponent, evaluation_exponent } = self;
        [vector_exponent, statistics_exponent, loss_exponent, evaluation_exponent]
            .iter()
            .all(|exponent| EXPONENTS.contains(exponent))
    }
}
