//! The default optimizer: L-BFGS on averaged displacements, then full-batch L-BFGS as a deterministic
//! finisher once the first stage has stalled.
//!
//! The replicas' small minibatches make progress fast but never exact: at a constant learning rate, their
//! noise keeps the loss above its minimum. So the first stage goes on for as long as it lowers the loss. The
//! second stage begins from the last good weights once [`STALLED_ROUNDS`] rounds in a row have not brought
//! the loss below [`WORTH_A_ROUND`] times its previous lowest. It begins no earlier, because full-batch
//! iterations are slower while the first stage still moves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::averaged::{Averaged, AveragedSettings};
use super::lbfgs::{Lbfgs, LbfgsSettings};
use super::{Ask, Halt, Method, Progress, Tell, TellError};

/// Rounds in a row without progress that count as a stall.
const STALLED_ROUNDS: u32 = 5;
/// A round makes no progress if it leaves the loss above this multiple of the lowest so far.
const WORTH_A_ROUND: f64 = 0.99;

/// The complete state. Cloning is cheap: vectors are shared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Auto {
    finisher: LbfgsSettings,
    stage: Stage,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Stage {
    Averaged {
        averaged: Averaged,
        /// The lowest loss of an accepted point.
        lowest: Option<f64>,
        /// Rounds in a row that did not lower it below [`WORTH_A_ROUND`] times that.
        stalled_rounds: u32,
    },
    Finisher {
        lbfgs: Lbfgs<f32>,
        /// The first stage's iterations and last loss.
        iterations: u64,
        loss: Option<f64>,
    },
}

impl Auto {
    /// An optimizer that begins at `start`, one value per parameter, with `settings` for its first
    /// stage and `finisher` for its second.
    pub fn new(start: impl Into<Arc<[f32]>>, settings: AveragedSettings, finisher: LbfgsSettings) -> Self {
        let averaged = Averaged::new(start, settings);
        Self { finisher, stage: Stage::Averaged { averaged, lowest: None, stalled_rounds: 0 } }
    }

    /// The next request; it stays the same until the next successful [`Auto::tell`].
    pub fn ask(&self) -> Ask<f32> {
        match &self.stage {
            Stage::Averaged { averaged, .. } => averaged.ask(),
            Stage::Finisher { lbfgs, .. } => lbfgs.ask(),
        }
    }

    /// Takes the answer to the last [`Auto::ask`].
    ///
    /// # Errors
    /// [`TellError`] if the answer does not match the request; the optimizer is then unchanged.
    pub fn tell(&mut self, answer: Tell<f32>) -> Result<Progress, TellError> {
        match &mut self.stage {
            Stage::Averaged { averaged, lowest, stalled_rounds } => {
                let was_searching = averaged.is_searching();
                let mut progress = averaged.tell(answer)?;
                if let Some(accepted) = &progress.accepted
                    && lowest.is_none_or(|lowest| accepted.loss < WORTH_A_ROUND * lowest)
                {
                    *lowest = Some(accepted.loss);
                    *stalled_rounds = 0;
                } else if averaged.iteration() > 0 && !was_searching && !averaged.is_searching() {
                    *stalled_rounds += 1;
                }
                let why = match averaged.ask() {
                    _ if *stalled_rounds >= STALLED_ROUNDS => {
                        Some(format!("the loss has stalled for {STALLED_ROUNDS} rounds"))
                    }
                    Ask::Stopped(reason @ Halt::Diverged { .. }) => Some(reason.to_string()),
                    Ask::Stopped(Halt::Flat { .. }) => {
                        Some("local steps lower the loss no further".to_owned())
                    }
                    _ => None,
                };
                if let Some(why) = why {
                    let (iterations, loss) = (averaged.iteration(), averaged.loss());
                    let lbfgs = Lbfgs::new(Arc::clone(averaged.weights()), self.finisher);
                    self.stage = Stage::Finisher { lbfgs, iterations, loss };
                    let what = "full-batch L-BFGS finishes from here";
                    progress.note = Some(match progress.note {
                        Some(note) => format!("{note}; {why}: {what}"),
                        None => format!("{why}: {what}"),
                    });
                }
                Ok(progress)
            }
            Stage::Finisher { lbfgs, iterations, .. } => {
                let mut progress = lbfgs.tell(answer)?;
                if let Some(accepted) = &mut progress.accepted {
                    accepted.iteration += *iterations;
                }
                Ok(progress)
            }
        }
    }

    pub(super) fn is_searching_at_start(&self) -> bool {
        matches!(&self.stage, Stage::Averaged { averaged, .. } if averaged.is_searching_at_start())
    }

    pub(super) fn method(&self) -> Method {
        match self.stage {
            Stage::Averaged { .. } => Method::LocalSteps,
            Stage::Finisher { .. } => Method::Lbfgs,
        }
    }

    /// The last accepted point (the start point until one is accepted).
    pub fn weights(&self) -> &Arc<[f32]> {
        match &self.stage {
            Stage::Averaged { averaged, .. } => averaged.weights(),
            Stage::Finisher { lbfgs, .. } => lbfgs.weights(),
        }
    }

    /// Loss at [`Auto::weights`]; `None` until the first answer.
    pub fn loss(&self) -> Option<f64> {
        match &self.stage {
            Stage::Averaged { averaged, .. } => averaged.loss(),
            Stage::Finisher { lbfgs, loss, .. } => lbfgs.loss().or(*loss),
        }
    }

    /// The most curvature pairs that it remembers at a time.
    pub(super) fn pairs_max(&self) -> usize {
        let finisher = self.finisher.memory.max(1);
        match &self.stage {
            Stage::Averaged { averaged, .. } => averaged.pairs_max().max(finisher),
            Stage::Finisher { .. } => finisher,
        }
    }

    /// Number of iterations (accepted steps) so far.
    pub fn iteration(&self) -> u64 {
        match &self.stage {
            Stage::Averaged { averaged, .. } => averaged.iteration(),
            Stage::Finisher { lbfgs, iterations, .. } => iterations + lbfgs.iteration(),
        }
    }
}
