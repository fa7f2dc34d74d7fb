//! Optimisers as ask/tell state machines: an optimiser says what it wants to know next and is told
//! the answer, so that it can wait for a network in the middle of a step and be saved there.
//!
//! Nothing here knows about rounds, volunteers or time. The weights an optimiser arrives at are a
//! function of the start point, its settings and the answers it was told, and of nothing else.

mod curvature;
mod lbfgs;
mod memory;
mod vectors;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use lbfgs::{BACKTRACKS, Lbfgs, Settings};
pub use vectors::Scalar;

/// The optimiser of a run: one variant per method, all asked and told in the same way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Optimiser {
    /// Limited-memory BFGS on the full batch.
    Lbfgs(Lbfgs<f32>),
}

impl Optimiser {
    /// What to compute next; the same until the next successful [`Optimiser::tell`].
    pub fn ask(&self) -> Ask<f32> {
        match self {
            Self::Lbfgs(lbfgs) => lbfgs.ask(),
        }
    }

    /// Takes the answer to the last [`Optimiser::ask`].
    ///
    /// # Errors
    /// [`TellError`] when this is not an answer to what was asked; the optimiser is unchanged.
    pub fn tell(&mut self, answer: Tell<f32>) -> Result<Progress, TellError> {
        match self {
            Self::Lbfgs(lbfgs) => lbfgs.tell(answer),
        }
    }

    /// The last accepted point (the start point until one is accepted).
    pub fn weights(&self) -> &Arc<[f32]> {
        match self {
            Self::Lbfgs(lbfgs) => lbfgs.weights(),
        }
    }

    /// Loss at [`Optimiser::weights`]; `None` until the first answer.
    pub fn loss(&self) -> Option<f64> {
        match self {
            Self::Lbfgs(lbfgs) => lbfgs.loss(),
        }
    }

    /// How many iterations (accepted steps) were taken.
    pub fn iteration(&self) -> u64 {
        match self {
            Self::Lbfgs(lbfgs) => lbfgs.iteration(),
        }
    }
}

/// What an optimiser wants to know next. Vectors are shared, not copied.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask<T> {
    /// Loss and gradient at one point: one round. Answer with [`Tell::Gradient`].
    Gradient {
        /// The point, one value per parameter.
        point: Arc<[T]>,
    },
    /// Losses alone at the points [`model::trial_point`]`(base, direction, step)`: one scalars-only round.
    /// Answer with [`Tell::Losses`], one loss per step in the same order.
    Losses {
        /// Where the line starts: the last accepted point.
        base: Arc<[T]>,
        /// The direction, one value per parameter.
        direction: Arc<[T]>,
        /// The step lengths, positive.
        steps: Vec<T>,
    },
    /// Nothing: the optimiser is done and its weights are final.
    Stopped(StopReason),
}

/// The answer to an [`Ask`].
///
/// A loss or gradient that is infinite or not a number is a valid answer (the point does not fit,
/// or the network overflowed there): the trial point is then rejected like any that is too high.
#[derive(Clone, Debug)]
pub enum Tell<T> {
    /// Loss and gradient at the point asked for.
    Gradient {
        /// The loss.
        loss: f64,
        /// Its gradient, one value per parameter.
        gradient: Arc<[T]>,
    },
    /// Losses at the steps asked for, in the same order.
    Losses(Vec<f64>),
}

/// What an answer changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The iteration this answer completed. `None` for the start point, for a rejected trial point
    /// and for the losses of a line search.
    pub accepted: Option<Accepted>,
}

/// One iteration: a trial point that became the accepted point.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// Its number; the first is 1.
    pub iteration: u64,
    /// Loss at the new point.
    pub loss: f64,
    /// Euclidean norm of the gradient at the new point.
    pub gradient_norm: f64,
    /// The step length along the direction.
    pub step: f64,
    /// Whether the first step length was too long and a shorter one was taken.
    pub backtracked: bool,
    /// Whether the new curvature pair was damped.
    pub damped: bool,
    /// Curvature pairs in memory, the new one included if it was kept.
    pub memory: usize,
}

/// Why an optimiser asks for nothing more.
#[derive(Clone, Debug, PartialEq, Error, Serialize, Deserialize)]
pub enum StopReason {
    /// The gradient is zero, or smaller than the tolerance asks.
    #[error("converged: the gradient has vanished (norm {gradient_norm:.3e})")]
    Converged {
        /// Euclidean norm of the gradient at the final point.
        gradient_norm: f64,
    },
    /// No step lowers the loss any further, not even along the steepest descent. At the precision
    /// of the weights this is usually a minimum.
    #[error(
        "no further progress: no step along the search direction or the steepest descent lowers \
         the loss (gradient norm {gradient_norm:.3e})"
    )]
    NoProgress {
        /// Euclidean norm of the gradient at the final point.
        gradient_norm: f64,
    },
    /// Steps are still accepted but the loss has not changed for several of them.
    #[error(
        "no further progress: the loss did not change in {iterations} iterations \
         (gradient norm {gradient_norm:.3e})"
    )]
    Flat {
        /// Iterations in a row that left the loss as it was.
        iterations: u32,
        /// Euclidean norm of the gradient at the final point.
        gradient_norm: f64,
    },
    /// The loss or the gradient is not finite where the run starts, so there is nothing to improve.
    #[error(
        "the loss or its gradient is not a finite number at the start point (loss {loss}); \
         check the data for huge or missing values, or start from other weights"
    )]
    NonFiniteStart {
        /// The loss told for the start point.
        loss: f64,
    },
}

/// An answer that does not fit what was asked. The optimiser is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TellError {
    /// A gradient was told where losses were asked for, or the other way round.
    #[error("the optimiser asked for {asked} and was told {told}")]
    WrongKind {
        /// What was asked for.
        asked: &'static str,
        /// What was told.
        told: &'static str,
    },
    /// The right kind of answer with the wrong number of values.
    #[error("the optimiser expects {expected} values and was told {told}")]
    WrongLength {
        /// Values asked for.
        expected: usize,
        /// Values told.
        told: usize,
    },
    /// The optimiser has stopped and asked for nothing.
    #[error("the optimiser has stopped and expects no answer")]
    Stopped,
}
