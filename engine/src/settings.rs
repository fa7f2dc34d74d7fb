//! The settings that define a run for the engine.

use model::Network;
use protocol::plan::{Part, Selection, SetPlans, Work};

use super::audits::{Audit, OnLie};
use super::round::RunPlan;
use super::stopping::StopRules;

/// What defines the run for the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names the run; results of other runs are refused.
    pub run: u64,
    /// The network being trained.
    pub network: Network,
    /// How the examples are cut.
    pub sets: SetPlans,
    /// Keys the run's random orders and masks.
    pub seed: u64,
    /// Examples of one gradient step.
    pub minibatch: u32,
    /// When to stop.
    pub stop: StopRules,
    /// Points are evaluated every so many rounds; `None`: see [`Course`](super::Course).
    pub evaluate_every: Option<u64>,
    /// Whether the training set is evaluated too, where no round measures it anyway.
    pub evaluate_training: bool,
    /// When the coordinator's own worker helps.
    pub local_help: LocalHelp,
    /// Which results are computed by somebody else too.
    pub audit: Audit,
    /// What becomes of earlier rounds when a volunteer is found out.
    pub on_lie: OnLie,
}

/// When the coordinator's own worker takes part in ordinary work. As the last resort for units
/// that nobody finishes it always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalHelp {
    /// Only as the last resort.
    Never,
    /// Like any volunteer.
    Always,
    /// Until the volunteers together are faster than it.
    Auto,
}

impl Settings {
    pub(super) fn run_plan(&self) -> RunPlan<'_> {
        let Settings { sets, seed, minibatch, .. } = self;
        RunPlan { sets, seed: *seed, minibatch: *minibatch }
    }

    /// Whether a round of these parts finds out the mean loss over the training set in inference.
    pub(super) fn measures_training_set(&self, parts: &[Part]) -> bool {
        let is_full = |part: &Part| part.work == Work::Gradient && part.selection == Selection::InTurn;
        self.network.infers_as_it_trains() && parts.first().is_some_and(is_full)
    }
}
