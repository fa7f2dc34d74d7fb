//! Units that do not fit the round's fixed point. The referee checks a report before the engine believes it.

use std::collections::VecDeque;

use protocol::measure::Measure;
use protocol::message::Unfit;
use protocol::plan::{Set, Work};

use super::round::Group;
use super::scales::{self, Misfit};
use super::tally::Tally;
use super::{Engine, Output, Stage};

/// Reported units that wait for the referee. A report of a further unit is not looked into: its units go to
/// somebody else, who will report them again if it was true.
const SUSPICIONS_MAX: usize = 64;

/// Reports of the open round, the one that the referee looks into first.
pub(super) type Suspicions = VecDeque<Suspicion>;

/// A unit that is reported not to fit.
#[derive(Debug)]
pub(super) struct Suspicion {
    unit: u32,
    /// All who reported it.
    sessions: Vec<u64>,
    /// What nobody is given until the referee has answered.
    withdrawn: Vec<Group>,
}

impl Engine {
    pub(super) fn unfit(&mut self, now_ms: u64, session: u64, unfit: Unfit) {
        let (round, suspicions) = match &mut self.stage {
            Stage::Open { round, suspicions } => (round, suspicions),
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
            return self.convict(now_ms, session, "a report on a unit that it was not asked for");
        }
        if matches!(round.plan.parts[group.part].work, Work::Losses { .. }) {
            // Such units always have a result: it marks the step lengths that do not fit.
            return self.convict(now_ms, session, FALSE_REPORT);
        }
        // A newcomer's report holds nothing up: strangers that follow one another would hold it up for ever.
        let is_known = self.volunteers.get(session).is_some_and(|volunteer| !volunteer.is_newcomer());
        let withdrawn = if is_known { round.withdraw(unfit.assignment) } else { None };
        if !is_known {
            round.take_back(unfit.assignment);
        }
        self.volunteers.gave_up(session, unfit.assignment);
        let known = suspicions.iter().position(|suspicion| suspicion.unit == unfit.unit);
        match known {
            Some(index) => {
                let suspicion = &mut suspicions[index];
                suspicion.sessions.push(session);
                suspicion.withdrawn.extend(withdrawn);
            }
            None if suspicions.len() < SUSPICIONS_MAX => {
                let (sessions, withdrawn) = (vec![session], withdrawn.into_iter().collect());
                suspicions.push_back(Suspicion { unit: unfit.unit, sessions, withdrawn });
                if suspicions.len() == 1 {
                    self.look_into_next();
                }
            }
            None => withdrawn.into_iter().for_each(|group| round.restore(group)),
        }
    }

    /// Has the referee look into the report that is first.
    fn look_into_next(&mut self) {
        let Stage::Open { round, suspicions } = &self.stage else { return };
        if let Some(Suspicion { unit, .. }) = suspicions.front() {
            let (plan, vectors) = (round.plan.clone(), round.vectors.clone());
            self.outputs.push_back(Output::Measure { plan, unit: *unit, vectors });
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
            Stage::Open { round, suspicions } if round.plan.round == number => {
                if let Some(suspicion) = suspicions.pop_front() {
                    self.rule_on(now_ms, suspicion, measure);
                }
            }
            Stage::Vanished { round } if round.plan.round == number => self.refine(now_ms, &measure),
            _ => {}
        }
    }

    /// The referee has measured a unit that was reported not to fit.
    fn rule_on(&mut self, now_ms: u64, suspicion: Suspicion, measure: Measure) {
        let Suspicion { unit, sessions, withdrawn } = suspicion;
        if measure.fits() {
            if let Stage::Open { round, .. } = &mut self.stage {
                withdrawn.into_iter().for_each(|group| round.restore(group));
            }
            sessions.into_iter().for_each(|session| self.convict(now_ms, session, FALSE_REPORT));
            return self.look_into_next();
        }
        let Stage::Open { round, .. } = &self.stage else { return };
        if let Some(session) = round.who_did(unit) {
            self.convict(now_ms, session, "a result for a unit that has none");
        }
        let Stage::Open { round, .. } = &self.stage else { return };
        let Some(first) = *self.scales.of(&round.plan.parts[0].work) else { return };
        let (index, _) = round.plan.locate(unit).expect("checked when it was reported");
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
            self.conclude(now_ms, round);
        }
    }

    fn note(&mut self, text: &str) {
        self.outputs.push_back(Output::Note(text.into()));
    }
}

const FALSE_REPORT: &str = "a false report that a unit does not fit";
