//! The rules that end a training.

use std::fmt;

use serde::{Serialize, Serializer};

use super::course::Course;
use super::figures::{Accepted, Counters};
use super::optimizers::Halt;

/// When to stop. The first rule that holds ends the training between two rounds. `None` means no such rule.
#[derive(Debug, Clone, PartialEq)]
pub struct StopRules {
    /// Most iterations.
    pub iterations: u64,
    /// Most rounds, those of line searches included.
    pub rounds: Option<u64>,
    /// Most passes over the training examples.
    pub epochs: Option<f64>,
    /// Stop once this share of the test examples is predicted correctly.
    pub target_accuracy: Option<f64>,
    /// Stop once the mean loss over the training set
    /// ([`Figures::training_set_loss`](super::Figures::training_set_loss)) is no larger.
    pub target_loss: Option<f64>,
    /// Stop once the norm of the objective's gradient is no larger. Rounds of local steps measure none.
    pub gradient_tolerance: Option<f64>,
    /// Stop once the mean objective has fallen by no larger a share of itself within [`Course::SPAN`]
    /// accepted points.
    pub relative_decrease: Option<f64>,
    /// Stop once so many evaluations in a row have found no lower validation loss.
    pub patience: Option<u64>,
}

impl StopRules {
    /// A limit on iterations alone.
    pub fn iterations(iterations: u64) -> StopRules {
        StopRules {
            iterations,
            rounds: None,
            epochs: None,
            target_accuracy: None,
            target_loss: None,
            gradient_tolerance: None,
            relative_decrease: None,
            patience: None,
        }
    }

    /// Why to stop here, if so; `examples` are those of the training set.
    pub(super) fn reason(
        &self,
        accepted: Option<&Accepted>,
        course: &Course,
        counters: Counters,
        examples: u32,
    ) -> Option<StopReason> {
        // Goals before limits: a training that reaches both has reached the goal.
        let at_most = |limit: Option<f64>, found: Option<f64>| {
            limit.filter(|limit| found.is_some_and(|found| found <= *limit))
        };
        let accuracy = accepted.and_then(|accepted| accepted.figures.test_accuracy);
        if let Some(target) =
            self.target_accuracy.filter(|target| accuracy.is_some_and(|share| share >= *target))
        {
            return Some(StopReason::TargetAccuracy(target));
        }
        let loss = accepted.and_then(|accepted| accepted.figures.training_set_loss);
        if let Some(target) = at_most(self.target_loss, loss) {
            return Some(StopReason::TargetLoss(target));
        }
        if let Some(tolerance) = at_most(self.gradient_tolerance, course.gradient_norm()) {
            return Some(StopReason::GradientTolerance(tolerance));
        }
        if let Some(least) = at_most(self.relative_decrease, course.relative_decrease()) {
            return Some(StopReason::RelativeDecrease(least));
        }
        if let Some(patience) = self.patience.filter(|patience| course.worse() >= *patience) {
            return Some(StopReason::Patience(patience));
        }
        if accepted.is_some_and(|accepted| accepted.iteration >= self.iterations) {
            return Some(StopReason::Iterations(self.iterations));
        }
        if let Some(rounds) = self.rounds.filter(|rounds| counters.rounds >= *rounds) {
            return Some(StopReason::Rounds(rounds));
        }
        self.epochs.filter(|epochs| counters.epochs(examples) >= *epochs).map(StopReason::Epochs)
    }

    /// Whether a limit may end the training with the round that is to begin, in `iteration` (that of the last
    /// accepted point) and with the counters as they will then be.
    pub(super) fn may_end(&self, iteration: u64, counters: Counters, examples: u32) -> bool {
        iteration + 1 >= self.iterations
            || self.rounds.is_some_and(|rounds| counters.rounds >= rounds)
            || self.epochs.is_some_and(|epochs| counters.epochs(examples) >= epochs)
    }
}

/// Why a training ended. Displayed, it is a clause with the figures; serialized, it is its
/// [name](StopReason::name).
#[derive(Debug, Clone, PartialEq)]
pub enum StopReason {
    /// The limit on iterations was reached.
    Iterations(u64),
    /// The limit on rounds was reached.
    Rounds(u64),
    /// The limit on passes over the training examples was reached.
    Epochs(f64),
    /// The time given to the training, in seconds, is over.
    Time(u64),
    /// The target accuracy was reached.
    TargetAccuracy(f64),
    /// The target loss was reached.
    TargetLoss(f64),
    /// The gradient is small enough.
    GradientTolerance(f64),
    /// The objective hardly falls any more.
    RelativeDecrease(f64),
    /// The validation loss has not fallen for so many evaluations.
    Patience(u64),
    /// The optimizer has nothing more to try.
    Optimizer(Halt),
    /// Whoever runs the training wanted it to end.
    Interrupted,
}

impl StopReason {
    /// Its name in JSON: that of the command line's flag, where there is one.
    pub fn name(&self) -> &'static str {
        match self {
            StopReason::Iterations(_) => "iterations",
            StopReason::Rounds(_) => "rounds",
            StopReason::Epochs(_) => "epochs",
            StopReason::Time(_) => "max-seconds",
            StopReason::TargetAccuracy(_) => "target-accuracy",
            StopReason::TargetLoss(_) => "target-loss",
            StopReason::GradientTolerance(_) => "gradient-tolerance",
            StopReason::RelativeDecrease(_) => "relative-decrease",
            StopReason::Patience(_) => "patience",
            StopReason::Optimizer(Halt::Converged { .. }) => "converged",
            StopReason::Optimizer(Halt::NoProgress { .. } | Halt::Flat { .. }) => "no-progress",
            StopReason::Optimizer(Halt::Diverged { .. }) => "diverged",
            StopReason::Optimizer(Halt::NonFiniteStart { .. }) => "non-finite",
            StopReason::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limit = |number: f64, noun: &str| {
            let ending = if number == 1.0 { "" } else { "s" };
            write!(f, "the limit of {number} {noun}{ending} is reached")
        };
        match self {
            StopReason::Iterations(count) => limit(*count as f64, "iteration"),
            StopReason::Rounds(count) => limit(*count as f64, "round"),
            StopReason::Epochs(count) => limit(*count, "epoch"),
            StopReason::Time(seconds) => limit(*seconds as f64, "second"),
            StopReason::TargetAccuracy(target) => {
                write!(f, "the target test accuracy of {target} is reached")
            }
            StopReason::TargetLoss(target) => write!(f, "the target training loss of {target} is reached"),
            StopReason::GradientTolerance(tolerance) => {
                write!(f, "the gradient's norm is no larger than {tolerance}")
            }
            StopReason::RelativeDecrease(least) => {
                write!(f, "the loss fell by less than {least} of itself in {} iterations", Course::SPAN)
            }
            StopReason::Patience(count) => {
                let ending = if *count == 1 { "" } else { "s" };
                write!(f, "early stopping: the validation loss has not fallen in {count} evaluation{ending}")
            }
            StopReason::Optimizer(halt) => halt.fmt(f),
            StopReason::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl Serialize for StopReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
