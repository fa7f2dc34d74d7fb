//! Optimizers as ask/tell state machines: an optimizer asks for what it needs next and is told the answer. It
//! can therefore wait for a network in the middle of a step, and be saved there.
//!
//! Optimizers know nothing about rounds, volunteers or time. The weights are a function of the start point,
//! the settings and the answers alone.

mod auto;
mod averaged;
mod curvature;
mod lbfgs;
mod learning_rate;
mod memory;
mod pair;
mod stochastic;
mod vectors;

use std::fmt;
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
    /// Averaged local steps, followed by an outer step.
    Averaged(Averaged),
    /// Limited-memory BFGS on the full batch or on samples.
    Lbfgs(Lbfgs<f32>),
    /// SGD, Nesterov momentum, Adam and AdamW: one gradient per round.
    Stochastic(Stochastic),
}

/// What an optimizer does at present, as people tell methods apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Local steps of replicas, averaged.
    LocalSteps,
    /// L-BFGS on gradients.
    Lbfgs,
    /// A step along each gradient: SGD, momentum, Adam, AdamW.
    Gradients,
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LocalSteps => "local steps",
            Self::Lbfgs => "L-BFGS",
            Self::Gradients => "gradient steps",
        })
    }
}

/// Calls the same method on the optimizer of any variant.
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
    /// The next request; it stays the same until the next successful [`Optimizer::tell`].
    pub fn ask(&self) -> Ask<f32> {
        delegate!(self, optimizer => optimizer.ask())
    }

    /// Takes the answer to the last [`Optimizer::ask`].
    ///
    /// # Errors
    /// [`TellError`] if the answer does not match the request; the optimizer is then unchanged.
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

    /// Whether the optimizer has set out, or sets out next, from the start point with the loss in
    /// [`Optimizer::loss`]. It has not while it tries learning rates there.
    pub fn has_set_out(&self) -> bool {
        let is_searching = match self {
            Self::Auto(auto) => auto.is_searching_at_start(),
            Self::Averaged(averaged) => averaged.is_searching_at_start(),
            Self::Lbfgs(_) | Self::Stochastic(_) => false,
        };
        self.loss().is_some() && !is_searching
    }

    /// The most curvature pairs that it remembers at a time.
    pub(crate) fn pairs_max(&self) -> usize {
        delegate!(self, optimizer => optimizer.pairs_max())
    }

    /// Number of iterations (accepted steps) so far.
    pub fn iteration(&self) -> u64 {
        delegate!(self, optimizer => optimizer.iteration())
    }

    /// The method by which it goes on from [`Optimizer::weights`].
    pub fn method(&self) -> Method {
        match self {
            Self::Auto(auto) => auto.method(),
            Self::Averaged(_) => Method::LocalSteps,
            Self::Lbfgs(_) => Method::Lbfgs,
            Self::Stochastic(_) => Method::Gradients,
        }
    }
}

/// An optimizer's next request. Vectors are shared, not copied; they hold trainable parameters only.
///
/// `mask_epoch` (for local steps, `draw`) selects the dropout masks. An optimizer uses the same value for all
/// requests whose answers it compares or subtracts.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask<T> {
    /// Loss and gradient at one point: one round. Answer with [`Tell::Gradient`] for
    /// [`Batch::Full`] and with [`Tell::Segments`] for [`Batch::Segments`].
    Gradient {
        /// The point, one value per parameter.
        point: Arc<[T]>,
        /// The examples.
        batch: Batch,
        /// Selects the dropout masks.
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
        /// The examples on which the gradient at `base` was asked for.
        batch: Batch,
        /// Selects the dropout masks.
        mask_epoch: u64,
    },
    /// Local minibatch steps: each of `replicas` replicas starts at the same point and walks through its own
    /// part of the training examples. One round; answer with [`Tell::Local`].
    Local {
        /// Where all replicas start.
        point: Arc<[T]>,
        /// Number of replicas (R); each is a work unit.
        replicas: u32,
        /// Minibatch steps per replica (K).
        steps: u32,
        /// Step length, as a multiple of the minibatch's mean gradient.
        learning_rate: f32,
        /// Selects the order of the examples and the dropout masks. It counts the optimizer's own rounds, so
        /// it never depends on restarts.
        draw: u64,
    },
    /// Nothing: the optimizer is done and its weights are final.
    Stopped(Halt),
}

/// The training examples for a gradient or for losses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Batch {
    /// All of them, once.
    Full,
    /// Some of them. Each segment has its own answer.
    Segments(Vec<Segment>),
}

/// Consecutive positions in the endless sequence of permutations of the training set's units. Positions e*U
/// .. (e+1)*U hold each of the set's U units once, in the order of epoch e.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The first position.
    pub first: u64,
    /// Number of positions, at least 1.
    pub units: u32,
}

/// The answer to an [`Ask`].
///
/// An infinite or NaN loss or vector is a valid answer: the network overflowed at the point, or the values do
/// not fit the fixed point. The optimizer then rejects the trial point, as it rejects any point whose loss is
/// too high.
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
    /// The result of the replicas' local steps.
    Local {
        /// Mean loss over the examples of all minibatches of the round, plus the penalty at the round's
        /// point. Each minibatch counts at its replica's weights before the step.
        loss: f64,
        /// Mean over the replicas of the last weights less the first.
        displacement: Arc<[T]>,
    },
}

impl<T> Tell<T> {
    /// Names the kind of answer for [`TellError::WrongKind`].
    fn kind(&self) -> &'static str {
        match self {
            Self::Gradient { .. } => "a gradient",
            Self::Segments(_) => "gradients of segments",
            Self::Losses(_) => "losses",
            Self::Local { .. } => "a displacement",
        }
    }
}

/// The effect of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The iteration this answer completed. `None` for the start point, for a rejected trial point
    /// and for the losses of a line search.
    pub accepted: Option<Iteration>,
    /// One sentence for whoever follows the training.
    pub note: Option<String>,
    /// Whether this answer says nothing about the size of the next one: its learning rate may have been far
    /// too high, and the optimizer tries a lower one.
    pub starts_afresh: bool,
    /// Whether the accepted point is one to go back to if the run diverges.
    pub is_good: bool,
    /// Whether the optimizer gave up accepted points and went back to the last good one.
    pub went_back: bool,
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

/// Why an optimizer has stopped.
#[derive(Debug, Clone, PartialEq, Error, Serialize, Deserialize)]
pub enum Halt {
    /// The gradient is zero or within the tolerance.
    #[error("converged: the gradient has vanished (norm {gradient_norm:.3e})")]
    Converged {
        /// Euclidean norm of the gradient at the final point.
        gradient_norm: f64,
    },
    /// No step lowers the loss any further, not even along the steepest descent. At the precision of the
    /// weights, this is usually a minimum.
    #[error(
        "no further progress: no step along the search direction or the steepest descent lowers \
         the loss (gradient norm {gradient_norm:.3e})"
    )]
    NoProgress {
        /// Euclidean norm of the gradient at the final point.
        gradient_norm: f64,
    },
    /// The optimizer still accepts steps, but the loss no longer changes.
    #[error(
        "no further progress: the loss did not change in {iterations} iterations \
         (gradient norm {gradient_norm:.3e})"
    )]
    Flat {
        /// Iterations in a row with the same loss.
        iterations: u32,
        /// Euclidean norm of the gradient at the final point.
        gradient_norm: f64,
    },
    /// The loss rises or is not finite, and no remedy helped.
    #[error(
        "diverged: the loss rises or is not a finite number with a learning rate of {learning_rate:.3e}; \
         give a lower one"
    )]
    Diverged {
        /// The learning rate of the last step.
        learning_rate: f64,
    },
    /// The loss or the gradient is not finite at the start point, so there is nothing to improve.
    #[error(
        "the loss or its gradient is not a finite number at the start point (loss {loss}); \
         check the data for huge or missing values, or start from other weights"
    )]
    NonFiniteStart {
        /// The loss told for the start point.
        loss: f64,
    },
}

/// An answer that does not match the request. The optimizer is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TellError {
    /// The answer is of another kind than the request.
    #[error("the optimizer asked for {asked} and was told {told}")]
    WrongKind {
        /// What was asked for.
        asked: &'static str,
        /// What was told.
        told: &'static str,
    },
    /// The answer is of the right kind but has the wrong number of values.
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
