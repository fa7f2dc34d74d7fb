//! The examination of the saved weights on the test set, a last round for sets that are too large for the coordinator
//! alone: it counts what figures such as F1, ROC AUC and the expected calibration error need.
//!
//! It begins when a rule has ended the training, and changes nothing of its state: a checkpoint knows nothing of it. So
//! a coordinator that was killed during it, or whoever takes over from it, examines anew. Whoever wants an end, or the
//! clock, has it at once, for the reason that ended the training.

use std::sync::Arc;

use protocol::examination::Layout;
use protocol::plan::{Part, Set, Work};
use protocol::scales::Scales;

use super::completion::Scope;
use super::rounds::OpenRound;
use super::stopping::StopReason;
use super::{Engine, Output, Stage};

/// What the units of the test set sum to, at the saved weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// How values became integers.
    pub scales: Scales,
    /// The network's loss.
    pub loss: i64,
    /// Correct predictions.
    pub correct: u64,
    /// The sums and counts, as their [layout](protocol::examination) has them.
    pub vector: Vec<i64>,
}

/// An examination under way.
#[derive(Debug)]
pub(super) struct Examining {
    /// Why the training has ended.
    pub(super) reason: StopReason,
    /// The scales that it began with.
    pub(super) scales: Scales,
}

impl Engine {
    /// Ends the training for this reason, after the examination if there is to be one.
    pub(super) fn end(&mut self, now_ms: u64, reason: StopReason) {
        let (network, units) = (&self.settings.network, self.settings.sets.test.units());
        let is_possible = units > 0
            && self.accepted.is_some()
            && Layout::of(network.task(), network.parameters()).is_some();
        if !self.settings.examines || !is_possible {
            return self.finish(now_ms, reason);
        }
        let weights = match self.best() {
            Some(best) => Arc::clone(&best.weights),
            None => self.weights(),
        };
        self.outputs.push_back(Output::Note(format!(
            "the training has ended ({reason}); now all test examples go through the saved network once more"
        )));
        self.examination = None;
        self.examining = Some(Examining { reason, scales: Scales::default() });
        self.counters.version += 1;
        let parts = vec![Part::in_turn(Work::Examination, Set::Test, units)];
        self.find_scales(parts, vec![weights], 0);
    }

    /// All units are accounted for. Nobody computes them again later, so all results are confirmed.
    pub(super) fn examined(&mut self, now_ms: u64, round: Box<OpenRound>) {
        let is_doubtful = self.floor.is_doubtful() || self.has_many_floors;
        self.stage = Stage::Open(round);
        if is_doubtful && !self.is_confirmed(Scope::All) {
            return;
        }
        let Stage::Open(round) = std::mem::replace(&mut self.stage, Stage::Waiting) else { return };
        let sums = &round.ledger.sums().parts[0];
        self.examination = Some(Arc::new(Examination {
            scales: round.plan.scales,
            loss: sums.losses[0],
            correct: sums.correct,
            vector: sums.vector.clone(),
        }));
        self.floor.close(now_ms, true);
        self.finish_examining(now_ms);
    }

    /// A unit has no result at any scale.
    pub(super) fn cannot_examine(&mut self, now_ms: u64) {
        let text = "the saved network has no further figures on the test examples, because its loss on them is not finite";
        self.outputs.push_back(Output::Note(text.into()));
        self.finish_examining(now_ms);
    }

    fn finish_examining(&mut self, now_ms: u64) {
        if let Some(Examining { reason, .. }) = self.examining.take() {
            self.finish(now_ms, reason);
        }
    }
}
