//! The settings that define a run for the engine.

use std::sync::Arc;

use model::Network;
use protocol::plan::{Part, RoundPlan, Selection, Set, SetPlan, SetPlans, UnitLayout, Work};

use super::floor::{Audit, FloorSettings};
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
    /// Whether volunteers [examine](super::Examination) the saved weights on the test set when the training has ended.
    pub examines: bool,
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

/// What becomes of earlier rounds when a volunteer is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLie {
    /// The training goes back to the last kept state before the first round with a result of that volunteer that
    /// nobody has checked.
    Rewind,
    /// The training goes on from where it is.
    Continue,
}

impl Settings {
    /// What a floor must know of the run.
    pub fn floor(&self) -> FloorSettings {
        FloorSettings {
            run: self.run,
            network: self.network.clone(),
            sets: self.sets.clone(),
            seed: self.seed,
            minibatch: self.minibatch,
            local_help: self.local_help,
            audit: self.audit,
        }
    }

    /// Whether the training goes back for a liar whose results were counted unchecked. Full audits leave no such
    /// results.
    pub(super) fn rewinds(&self) -> bool {
        self.on_lie == OnLie::Rewind && matches!(self.audit, Audit::Sample(_))
    }

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

/// How the examples of a run are cut and drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunPlan<'a> {
    pub(crate) sets: &'a SetPlans,
    /// Keys the run's random orders.
    pub(crate) seed: u64,
    /// Examples of one gradient step.
    pub(crate) minibatch: u32,
}

impl<'a> RunPlan<'a> {
    pub(crate) fn of(&self, set: Set) -> &'a SetPlan {
        self.sets.of(set)
    }

    /// The examples and shards of the units of each part.
    pub(crate) fn lay_out(&self, plan: &RoundPlan) -> Arc<[UnitLayout]> {
        plan.parts.iter().map(|part| part.lay_out(self.of(part.set), self.seed)).collect()
    }

    /// How many losses a part sums, each use of an example counted, and of how many minibatches.
    pub(crate) fn size(&self, part: &Part, layout: &UnitLayout) -> (u64, u64) {
        let minibatch = u64::from(self.minibatch);
        let set = self.of(part.set);
        let lengths = (0..part.units).map(|unit| layout.examples_of(set, unit).len() as u64);
        match part.work {
            Work::Local { steps, .. } => {
                let steps = u64::from(steps);
                (lengths.map(|pool| steps * minibatch.min(pool)).sum(), steps * u64::from(part.units))
            }
            Work::Gradient | Work::Losses { .. } | Work::Evaluation | Work::Examination => {
                let minibatches = lengths.clone().map(|length| length.div_ceil(minibatch)).sum();
                (lengths.sum(), minibatches)
            }
        }
    }
}
