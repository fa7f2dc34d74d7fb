//! Units that do not fit the round's fixed point. The referee checks a report before the engine believes it.

use protocol::measure::Measure;
use protocol::message::Unfit;
use protocol::plan::{Set, Work};

use super::scales::{self, Misfit};
use super::tally::Tally;
use super::{Engine, Output, Stage};

/// A report that the referee looks into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspicion {
    session: u64,
    unit: u32,
}

impl Engine {
    pub(super) fn unfit(&mut self, now_ms: u64, session: u64, unfit: Unfit) {
        let (round, referee) = match &mut self.stage {
            Stage::Open { round, referee } => (round, referee),
            // Somebody else was first with all there is.
            Stage::Vanished { .. } => return self.volunteers.gave_up(session, unfit.assignment),
            _ => return,
        };
        if !self.volunteers.owes(session, unfit.assignment) {
            return;
        }
        let Some(group) = round.group_of(unfit.assignment) else {
            // Somebody else's result was believed already.
            return self.volunteers.gave_up(session, unfit.assignment);
        };
        if unfit.round != round.plan.round || !group.units.iter().any(|range| range.contains(&unfit.unit)) {
            return self.dismiss(session, "a report on a unit that it was not asked for");
        }
        if matches!(round.plan.parts[group.part].work, Work::Losses { .. }) {
            // Such units always have a result: it marks the step lengths that do not fit.
            return self.convict(now_ms, session);
        }
        round.withdraw(unfit.assignment);
        self.volunteers.gave_up(session, unfit.assignment);
        if referee.is_none() {
            *referee = Some(Suspicion { session, unit: unfit.unit });
            let (plan, vectors) = (round.plan.clone(), round.vectors.clone());
            self.outputs.push_back(Output::Measure { plan, unit: unfit.unit, vectors });
        }
    }

    pub(super) fn measured(&mut self, now_ms: u64, number: u64, measure: Measure) {
        match &mut self.stage {
            Stage::Scaling { plan, vectors } if plan.round == number => {
                let (parts, vectors) = (std::mem::take(&mut plan.parts), std::mem::take(vectors));
                let (mask_epoch, scales) = (plan.mask_epoch, scales::for_unit(&measure));
                *self.scales.of(&parts[0].work) = Some(scales);
                self.open(now_ms, parts, vectors, mask_epoch, scales);
            }
            Stage::Open { round, referee } if round.plan.round == number => {
                if let Some(suspicion) = referee.take() {
                    self.rule_on(now_ms, suspicion, measure);
                }
            }
            Stage::Vanished { round } if round.plan.round == number => self.refine(now_ms, &measure),
            _ => {}
        }
    }

    /// Whatever the referee has found out about a unit, the round cannot go on as it is.
    fn rule_on(&mut self, now_ms: u64, suspicion: Suspicion, measure: Measure) {
        if measure.fits() {
            return self.convict(now_ms, suspicion.session);
        }
        let Stage::Open { round, .. } = &self.stage else { return };
        let Some(first) = *self.scales.of(&round.plan.parts[0].work) else { return };
        let (index, _) = round.plan.locate(suspicion.unit).expect("checked when it was reported");
        let mut parts = round.plan.parts.clone();
        let is_evaluation = round.plan.parts[index].work == Work::Evaluation;
        let misfit = Misfit {
            vector: !measure.vector_fits,
            statistics: !measure.statistics_fit,
            loss: !measure.loss_fits && !is_evaluation,
            evaluation: !measure.loss_fits && is_evaluation,
        };
        let wider = scales::widened(first, round.plan.scales, misfit);
        if let Some(wider) = wider.filter(|_| measure.finite) {
            self.note(
                "values have outgrown the round's fixed point: it is repeated with a wider one, which changes no result",
            );
            return self.reopen(now_ms, parts, wider);
        }
        if is_evaluation {
            // Such examples judge the model, they do not train it: go on without them, and as if
            // they had never been there.
            self.note(match parts.remove(index).set {
                Set::Training => "the loss of the training examples is not finite in inference at this point",
                Set::Validation => "the loss of the validation examples is not finite at this point",
                Set::Test => "the loss of the test examples is not finite at this point",
            });
            self.reopen(now_ms, parts, first);
            return self.set_refined(false);
        }
        self.complete_without_value(now_ms);
    }

    /// The referee has measured a unit of a round in which something vanished: the round is repeated at a finer
    /// scale, or else zero it is.
    fn refine(&mut self, now_ms: u64, measure: &Measure) {
        let Stage::Vanished { round } = &self.stage else { return };
        let parts = round.plan.parts.clone();
        if let Some(finer) = Tally::new(round, &self.settings).refined(measure) {
            self.note("values have vanished in the round's fixed point: it is repeated with a finer one");
            self.reopen(now_ms, parts, finer);
            return self.set_refined(true);
        }
        if let Stage::Vanished { round } = std::mem::replace(&mut self.stage, Stage::Waiting) {
            self.conclude(now_ms, &round);
        }
    }

    /// Dismisses the sender of a false report that a unit does not fit. Its other results cannot be trusted
    /// either, so a round that has counted any begins again. Otherwise only the reported units are computed
    /// after all, so that a volunteer that comes back again and again does not hold up the round.
    fn convict(&mut self, now_ms: u64, session: u64) {
        self.dismiss(session, "a false report that a unit does not fit");
        let Stage::Open { round, .. } = &mut self.stage else { return };
        if round.counts_results_of(session) {
            let (parts, scales) = (round.plan.parts.clone(), round.plan.scales);
            self.reopen(now_ms, parts, scales);
        } else {
            round.restore();
        }
    }

    fn note(&mut self, text: &str) {
        self.outputs.push_back(Output::Note(text.into()));
    }
}
