//! Units that do not fit the round's fixed point. The referee checks a report before the engine believes it.

use protocol::measure::Measure;
use protocol::plan::{RoundPlan, Set};

use super::floors::ToFloor;
use super::ledger::{OWN_FLOOR, Owner};
use super::scales::{self, Misfit};
use super::tally::Tally;
use super::{Engine, Output, Stage};

/// Reports that wait for the referee. A floor has one at a time, and repeats one that it hears nothing of.
const REPORTS_MAX: usize = 4096;
/// The referee that could not get at the examples is asked again after this time.
pub(super) const ASK_AGAIN_MS: u64 = 1000;

/// A unit that somebody's volunteer reports not to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) unit: u32,
    pub(super) owner: Owner,
}

impl Engine {
    /// A floor tells of a unit that is reported not to fit.
    pub(super) fn reported(&mut self, owner: Owner, unit: u32) {
        let is_open = matches!(self.stage, Stage::Open(_));
        // What has vanished comes first. If the round goes on after that, the reports are looked into then.
        let (Stage::Open(round) | Stage::Vanished(round)) = &mut self.stage else { return };
        let report = Report { unit, owner };
        if round.reports.len() >= REPORTS_MAX || round.reports.contains(&report) {
            return;
        }
        round.reports.push_back(report);
        if round.reports.len() == 1 && is_open {
            self.look_into_next();
        }
    }

    /// Has the referee look into the report that is first.
    pub(super) fn look_into_next(&mut self) {
        let Stage::Open(round) = &self.stage else { return };
        if let Some(Report { unit, .. }) = round.reports.front() {
            let (plan, vectors) = (round.plan.clone(), round.vectors.clone());
            self.outputs.push_back(Output::Measure { plan, unit: *unit, vectors });
        }
    }

    /// The referee has measured a unit. An answer about another unit than the one that is waited for is to an earlier
    /// question of the same round.
    pub(super) fn measured(&mut self, now_ms: u64, number: u64, unit: u32, measure: Measure) {
        if self.to_be_measured().is_none_or(|(plan, asked)| plan.round != number || asked != unit) {
            return;
        }
        match &mut self.stage {
            Stage::Scaling { plan, vectors } => {
                let (parts, vectors) = (std::mem::take(&mut plan.parts), std::mem::take(vectors));
                let (mask_epoch, scales) = (plan.mask_epoch, scales::for_unit(&measure));
                match &mut self.examining {
                    Some(_) if !measure.finite => return self.cannot_examine(now_ms),
                    // The scales of the training stay: it may go on one day.
                    Some(examining) => examining.scales = scales,
                    None => *self.scales.of(&parts[0].work) = Some(scales),
                }
                self.open(now_ms, parts, vectors, mask_epoch, scales);
            }
            Stage::Open(round) => {
                if let Some(report) = round.reports.pop_front() {
                    self.rule_on(now_ms, number, report, measure);
                }
            }
            Stage::Vanished(_) => self.refine(now_ms, &measure),
            _ => {}
        }
    }

    /// The referee could not measure what it was asked to.
    pub(super) fn not_measured(&mut self, now_ms: u64, number: u64, unit: u32) {
        if self.to_be_measured().is_some_and(|(plan, asked)| plan.round == number && asked == unit) {
            self.to_measure_again = Some((number, unit, now_ms + ASK_AGAIN_MS));
        }
    }

    /// When the referee is asked again for what it could not measure.
    pub(super) fn measure_again_ms(&self) -> Option<u64> {
        self.to_measure_again.map(|(.., at_ms)| at_ms)
    }

    /// Asks the referee again, unless nobody waits for that any more.
    pub(super) fn measure_again_if_due(&mut self, now_ms: u64) {
        let Some((number, unit, _)) = self.to_measure_again.take_if(|(.., at_ms)| *at_ms <= now_ms) else {
            return;
        };
        if self.to_be_measured().is_none_or(|(plan, asked)| plan.round != number || asked != unit) {
            return;
        }
        let (plan, vectors) = match &self.stage {
            Stage::Scaling { plan, vectors } => (plan.clone(), vectors.clone()),
            Stage::Open(round) | Stage::Vanished(round) => (round.plan.clone(), round.vectors.clone()),
            _ => return,
        };
        self.outputs.push_back(Output::Measure { plan, unit, vectors });
    }

    /// The unit that the referee is to measure, and its plan.
    fn to_be_measured(&self) -> Option<(&RoundPlan, u32)> {
        match &self.stage {
            Stage::Scaling { plan, .. } => Some((plan, 0)),
            Stage::Vanished(round) => Some((&round.plan, 0)),
            Stage::Open(round) => round.reports.front().map(|report| (&round.plan, report.unit)),
            _ => None,
        }
    }

    /// The referee has measured a unit that was reported not to fit.
    fn rule_on(&mut self, now_ms: u64, number: u64, Report { unit, owner }: Report, measure: Measure) {
        if measure.fits() {
            self.look_into_next();
        }
        if owner == OWN_FLOOR {
            self.floor.ruled(unit, measure.fits());
        } else {
            self.tell_floor(owner, ToFloor::Ruled { unit, fits: measure.fits() });
        }
        self.heed_floor(now_ms);
        // If somebody was found out, the training may have gone back.
        let Stage::Open(round) = &self.stage else { return };
        if measure.fits() || round.plan.round != number {
            return;
        }
        let first = match &self.examining {
            Some(examining) => examining.scales,
            None => match *self.scales.of(&round.plan.parts[0].work) {
                Some(scales) => scales,
                None => return,
            },
        };
        let (index, _) = round.plan.locate(unit).expect("checked when it was reported");
        let mut parts = round.plan.parts.clone();
        let is_evaluation = round.plan.parts[index].work.judges();
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
        if self.examining.is_some() {
            return self.cannot_examine(now_ms);
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
        let Stage::Vanished(round) = &self.stage else { return };
        let parts = round.plan.parts.clone();
        if let Some(finer) = Tally::new(round, &self.settings).refined(measure) {
            self.note("values have vanished in the round's fixed point: it is repeated with a finer one");
            self.reopen(now_ms, parts, finer);
            return self.set_refined(true);
        }
        if let Stage::Vanished(mut round) = std::mem::replace(&mut self.stage, Stage::Waiting) {
            round.is_nothing = true;
            self.stage = Stage::Open(round);
            self.complete_if_done(now_ms);
            // Unless that was all.
            self.look_into_next();
        }
    }

    fn note(&mut self, text: &str) {
        self.outputs.push_back(Output::Note(text.into()));
    }
}
