//! Optimizers as ask/tell state machines: an optimizer says what it wants to know next and is told
//! the answer, so that it can wait for a network in the middle of a step and be saved there.
//!
//! Nothing here knows about rounds, volunteers or time. The weights an optimizer arrives at are a
//! function of the start point, its settings and the answers it was told, and of nothing else.

mod auto;
mod averaged;
mod curvature;
mod lbfgs;
mod learning_rate;
mod memory;
mod pair;
mod stochastic;
mod vectors;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use auto::Auto;
pub use averaged::{Averaged, AveragedSettings, Outer};
pub use lbfgs::{BACKTRACKS, Lbfgs, LbfgsSettings, Sample};
pub use learning_rate::{LearningRate, Schedule};
pub use memory::{Direction, Memory};
pub use pair::CurvaturePair;
pub use stochastic::{Rule, Stochastic, StochasticSettings};
pub use vectors::Scalar;

/// The optimizer of a run: one variant per method, all asked and told in the same way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Optimizer {
    /// Averaged local steps, then full-batch L-BFGS: the default.
    Auto(Auto),
    /// Averaged local steps, with what the outer step makes of them.
    Averaged(Averaged),
    /// Limited-memory BFGS on the full batch or on samples.
    Lbfgs(Lbfgs<f32>),
    /// SGD and what was made of it, one gradient a round.
    Stochastic(Stochastic),
}

/// Calls the same method of whichever optimizer it is.
macro_rules! delegate {
    ($self:expr, $optimizer:ident => $call:expr) => {
        match $self {
            Optimizer::Auto($optimizer) => $call,
            Optimizer::Averaged($optimizer) => $call,
            Optimizer::Lbfgs($optimizer) => $call,
            Optimizer::Stochastic($optimizer) => $call,
        }
    };
}

impl Optimizer {
    /// What to compute next; the same until the next successful [`Optimizer::tell`].
    pub fn ask(&self) -> Ask<f32> {
        delegate!(self, optimizer => optimizer.ask())
    }

    /// Takes the answer to the last [`Optimizer::ask`].
    ///
    /// # Errors
    /// [`TellError`] when this is not an answer to what was asked; the optimizer is unchanged.
    pub fn tell(&mut self, answer: Tell<f32>) -> Result<Progress, TellError> {
        delegate!(self, optimizer => optimizer.tell(answer))
    }

    /// The last accepted point (the start point until one is accepted).
    pub fn weights(&self) -> &Arc<[f32]> {
        delegate!(self, optimizer => optimizer.weights())
    }

    /// Loss at [`Optimizer::weights`]; `None` until the first answer.
    pub fn loss(&self) -> Option<f64> {
        delegate!(self, optimizer => optimizer.loss())
    }

    /// Whether it sets out from the start point with the loss that [`Optimizer::loss`] says, or has done so;
    /// not as long as learning rates are tried there.
    pub fn has_set_out(&self) -> bool {
        let is_searching = match self {
            Self::Auto(auto) => auto.is_searching_at_start(),
            Self::Averaged(averaged) => averaged.is_searching_at_start(),
            Self::Lbfgs(_) | Self::Stochastic(_) => false,
        };
        self.loss().is_some() && !is_searching
    }

    /// How many iterations (accepted steps) were taken.
    pub fn iteration(&self) -> u64 {
        delegate!(self, optimizer => optimizer.iteration())
    }
}

/// What an optimizer wants to know next. Vectors are shared, not copied; they hold trainable
/// parameters only.
///
/// `mask_epoch` (for local steps `draw`) is the optimizer's choice of the dropout masks: what it
/// compares, or takes differences of, it asks for with the same one.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask<T> {
    /// Loss and gradient at one point: one round. Answer with [`Tell::Gradient`] for
    /// [`Batch::Full`] and with [`Tell::Segments`] for [`Batch::Segments`].
    Gradient {
        /// The point, one value per parameter.
        point: Arc<[T]>,
        /// The examples.
        batch: Batch,
        /// Chooses the dropout masks.
        mask_epoch: u64,
    },
    /// Losses alone at the points [`model::trial_point`]`(base, direction, step)`: one scalars-only round.
    /// Answer with [`Tell::Losses`], one loss per step in the same order, each over the whole batch.
    Losses {
        /// Where the line starts: the last accepted point.
        base: Arc<[T]>,
        /// The direction, one value per parameter.
        direction: Arc<[T]>,
        /// The step lengths, positive.
        steps: Vec<T>,
        /// The examples: those the gradient at `base` was asked for with.
        batch: Batch,
        /// Chooses the dropout masks.
        mask_epoch: u64,
    },
    /// Local minibatch steps: each of `replicas` replicas sets out from one point and walks through
    /// its part of the training examples on its own. One round; answer with [`Tell::Local`].
    Local {
        /// Where all replicas set out.
        point: Arc<[T]>,
        /// How many replicas there are (R); each is a work unit.
        replicas: u32,
        /// Minibatch steps that each replica takes (K).
        steps: u32,
        /// Length of a step, as a multiple of the minibatch's mean gradient.
        learning_rate: f32,
        /// Chooses the order of the examples and the dropout masks. Counts the optimizer's own
        /// rounds, so that it never depends on restarts.
        draw: u64,
    },
    /// Nothing: the optimizer is done and its weights are final.
    Stopped(Halt),
}

/// Which training examples a gradient or losses are asked for on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Batch {
    /// All of them, once.
    Full,
    /// Some of them. Each segment is answered by itself.
    Segments(Vec<Segment>),
}

/// Consecutive positions in the endless sequence of permutations of the training set's units:
/// positions e*U .. (e+1)*U hold each of the set's U units once, in an order of epoch e's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The first position.
    pub first: u64,
    /// How many positions, at least 1.
    pub units: u32,
}

/// The answer to an [`Ask`].
///
/// A loss or vector that is infinite or not a number is a valid answer (the point does not fit,
/// or the network overflowed there): the trial point is then rejected like any that is too high.
#[derive(Debug, Clone)]
pub enum Tell<T> {
    /// Loss and gradient at the point asked for.
    Gradient {
        /// The loss: mean over the examples plus the penalty.
        loss: f64,
        /// Its gradient, one value per parameter.
        gradient: Arc<[T]>,
    },
    /// For each segment, in order: loss and gradient, both the mean over the segment's examples
    /// plus the penalty's share.
    Segments(Vec<(f64, Arc<[T]>)>),
    /// Losses at the steps asked for, in the same order; each the mean over the batch plus the penalty.
    Losses(Vec<f64>),
    /// What the replicas did.
    Local {
        /// Mean loss over the examples of all minibatches of the round, each at its replica's
        /// weights before the step, plus the penalty at the round's point.
        loss: f64,
        /// Mean over the replicas of where each ended less where it set out.
        displacement: Arc<[T]>,
    },
}

impl<T> Tell<T> {
    /// What this is, for [`TellError::WrongKind`].
    fn kind(&self) -> &'static str {
        match self {
            Self::Gradient { .. } => "a gradient",
            Self::Segments(_) => "gradients of segments",
            Self::Losses(_) => "losses",
            Self::Local { .. } => "a displacement",
        }
    }
}

/// What an answer changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The iteration this answer completed. `None` for the start point, for a rejected trial point
    /// and for the losses of a line search.
    pub accepted: Option<Iteration>,
    /// What a person who follows the training should know, in one sentence.
    pub note: Option<String>,
    /// The answer says nothing of the size of the next one: its learning rate may have been far too
    /// high, and a lower one is tried.
    pub starts_afresh: bool,
}

/// One iteration: a trial point that became the accepted point.
#[derive(Debug, Clone, PartialEq)]
pub struct Iteration {
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

/// Why an optimizer asks for nothing more.
#[derive(Debug, Clone, PartialEq, Error, Serialize, Deserialize)]
pub enum Halt {
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
    /// The loss has risen, or is no longer finite, whatever was tried against it.
    #[error(
        "diverged: the loss rises or is not a finite number with a learning rate of {learning_rate:.3e}; \
         give a lower one"
    )]
    Diverged {
        /// The learning rate of the last step.
        learning_rate: f64,
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

/// An answer that does not fit what was asked. The optimizer is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TellError {
    /// A gradient was told where losses were asked for, or the other way round.
    #[error("the optimizer asked for {asked} and was told {told}")]
    WrongKind {
        /// What was asked for.
        asked: &'static str,
        /// What was told.
        told: &'static str,
    },
    /// The right kind of answer with the wrong number of values.
    #[error("the optimizer expects {expected} values and was told {told}")]
    WrongLength {
        /// Values asked for.
        expected: usize,
        /// Values told.
        told: usize,
    },
    /// The optimizer has stopped and asked for nothing.
    #[error("the optimizer has stopped and expects no answer")]
    Stopped,
}

fn check_length(expected: usize, told: usize) -> Result<(), TellError> {
    if expected == told { Ok(()) } else { Err(TellError::WrongLength { expected, told }) }
}

/// Loss and gradient of the one segment that was asked for.
fn only_segment<T>(answer: Tell<T>) -> Result<(f64, Arc<[T]>), TellError> {
    match answer {
        Tell::Segments(segments) => {
            let told = segments.len();
            let mut segments = segments.into_iter();
            match (segments.next(), segments.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(TellError::WrongLength { expected: 1, told }),
            }
        }
        told => Err(TellError::WrongKind { asked: "gradients of segments", told: told.kind() }),
    }
}
