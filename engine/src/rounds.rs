//! Opens the rounds that the optimizer asks for, and ends the training.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use protocol::plan::{Part, RoundPlan, Selection, Set, UnitLayout, Work};
use protocol::scales::Scales;

use super::completion::Scope;
use super::figures::Counters;
use super::ledger::{Ledger, OWN_FLOOR, Owner};
use super::misfits::Report;
use super::optimizers::{Ask, Batch, Segment};
use super::settings::Settings;
use super::snapshot::{Statistics, with_tail};
use super::stopping::StopReason;
use super::{Engine, Output, Stage};

/// A round under way.
#[derive(Debug)]
pub(super) struct OpenRound {
    pub(super) plan: RoundPlan,
    /// The weights, and for a scalars-only round the direction.
    pub(super) vectors: Vec<Arc<[f32]>>,
    /// The examples and shards of the units of each part.
    pub(super) layouts: Arc<[UnitLayout]>,
    pub(super) ledger: Ledger,
    /// Units that are reported not to fit, the one that the referee looks into first.
    pub(super) reports: VecDeque<Report>,
    /// Whether advice was given on the time that it took.
    pub(super) is_timed: bool,
    /// Whether it was opened again because something had vanished at the scales of before.
    pub(super) refined: bool,
    /// Whether the referee has found that what vanished is nothing.
    pub(super) is_nothing: bool,
    /// What other floors are asked to confirm, and what they have confirmed of all that they have handed in.
    pub(super) asked_to_confirm: BTreeMap<Owner, Scope>,
    pub(super) confirmed: BTreeMap<Owner, Scope>,
    /// What is to be confirmed before the round is concluded, and at which change of the ledger that was found.
    pub(super) to_be_confirmed: Option<(Scope, u64)>,
    /// Floors that were here and are gone.
    pub(super) gone: BTreeSet<Owner>,
}

impl OpenRound {
    /// A floor is gone, or so it must be supposed.
    pub(super) fn expel(&mut self, owner: Owner) {
        self.ledger.expel(owner);
        self.asked_to_confirm.remove(&owner);
        self.gone.insert(owner);
    }
}

impl Engine {
    /// Ends the training if a rule says so, otherwise opens the round that the optimizer asks for;
    /// before the first, has the referee find the scales.
    pub(super) fn go_on(&mut self, now_ms: u64) {
        if let Some(reason) = self.stop_rule() {
            return self.end(now_ms, reason);
        }
        let state = self.snapshot();
        self.ring.push(state);
        let ask = self.optimizer.ask();
        if let Ask::Local { replicas, .. } = ask {
            self.outputs.extend(self.advice.of_replicas(self.floor.cores(), replicas).map(Output::Note));
        }
        let training = |work: Work, batch: Batch| match batch {
            Batch::Full => vec![Part::in_turn(work, Set::Training, self.settings.sets.training.units())],
            Batch::Segments(segments) => {
                let drawn = |Segment { first, units }| Part {
                    selection: Selection::Drawn { first },
                    ..Part::in_turn(work.clone(), Set::Training, units)
                };
                segments.into_iter().map(drawn).collect()
            }
        };
        let tail = self.statistics_to_send();
        let (mut parts, vectors, mask_epoch) = match ask {
            Ask::Gradient { point, batch, mask_epoch } => {
                (training(Work::Gradient, batch), vec![with_tail(&point, tail)], mask_epoch)
            }
            Ask::Losses { base, direction, steps, batch, mask_epoch } => {
                let no_change: Arc<[f32]> = vec![0.0; tail.len()].into();
                let vectors = vec![with_tail(&base, tail), with_tail(&direction, &no_change)];
                (training(Work::Losses { steps }, batch), vectors, mask_epoch)
            }
            Ask::Local { point, replicas, steps, learning_rate, draw } => {
                let work = Work::Local { steps, learning_rate, draw };
                (vec![Part::in_turn(work, Set::Training, replicas)], vec![with_tail(&point, tail)], draw)
            }
            Ask::Stopped(reason) => return self.end(now_ms, StopReason::Optimizer(reason)),
        };
        let finds_a_point = parts.iter().any(|part| part.work.has_vector());
        if finds_a_point {
            parts.extend(self.evaluations(&parts));
        }
        self.counters.version += 1;
        if let Some(scales) = *self.scales.of(&parts[0].work) {
            return self.open(now_ms, parts, vectors, mask_epoch, scales);
        }
        self.find_scales(parts, vectors, mask_epoch);
    }

    /// Has the referee find the scales of a round before it is opened.
    pub(super) fn find_scales(&mut self, parts: Vec<Part>, vectors: Vec<Arc<[f32]>>, mask_epoch: u64) {
        let plan = self.plan(parts, mask_epoch, Scales::default());
        self.outputs.push_back(Output::Measure { plan: plan.clone(), unit: 0, vectors: vectors.clone() });
        self.stage = Stage::Scaling { plan, vectors };
    }

    /// Batch statistics that go out with the next point: as long as it is the start, the first.
    pub(super) fn statistics_to_send(&self) -> &Arc<[f32]> {
        let Statistics { accepted, running, .. } = &self.statistics;
        if self.optimizer.has_set_out() { running } else { accepted }
    }

    fn plan(&mut self, parts: Vec<Part>, mask_epoch: u64, scales: Scales) -> RoundPlan {
        self.counters.round += 1;
        let Counters { round, version, .. } = self.counters;
        RoundPlan { round, version, scales, mask_epoch, parts }
    }

    pub(super) fn open(
        &mut self,
        now_ms: u64,
        parts: Vec<Part>,
        vectors: Vec<Arc<[f32]>>,
        mask_epoch: u64,
        scales: Scales,
    ) {
        self.opened_ms = now_ms;
        let plan = self.plan(parts, mask_epoch, scales);
        self.outputs.push_back(Output::OpenRound { plan: plan.clone(), vectors: vectors.clone() });
        let layouts = self.settings.run_plan().lay_out(&plan);
        self.watch_the_end();
        self.floor.open(now_ms, plan.clone(), &layouts, self.is_wary());
        let ledger = Ledger::new(&plan, self.settings.network.parameters());
        let ledger = if self.checks_owners { ledger } else { ledger.without_check_of_owners() };
        let mut ledger = match self.partials_max {
            Some(partials) => ledger.with_room_for(partials),
            None => ledger,
        };
        // A floor that is alone has all there is to do.
        while !self.has_many_floors && ledger.free() > 0 {
            self.floor.grant(&ledger.lease(OWN_FLOOR, u32::MAX));
        }
        self.stage = Stage::Open(Box::new(OpenRound {
            plan,
            vectors,
            layouts,
            ledger,
            reports: VecDeque::new(),
            is_timed: false,
            refined: false,
            is_nothing: false,
            asked_to_confirm: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            to_be_confirmed: None,
            gone: BTreeSet::new(),
        }));
    }

    /// Opens the round once more under a new number, all of its results forgotten.
    pub(super) fn reopen(&mut self, now_ms: u64, parts: Vec<Part>, scales: Scales) {
        if let Stage::Open(round) | Stage::Vanished(round) = &mut self.stage {
            let (vectors, mask_epoch) = (std::mem::take(&mut round.vectors), round.plan.mask_epoch);
            let refined = round.refined;
            self.open(now_ms, parts, vectors, mask_epoch, scales);
            self.set_refined(refined);
        }
    }

    /// Notes whether the open round has scales that were refined: once is enough.
    pub(super) fn set_refined(&mut self, refined: bool) {
        if let Stage::Open(round) = &mut self.stage {
            round.refined = refined;
        }
    }

    pub(super) fn stop_rule(&self) -> Option<StopReason> {
        let examples = self.settings.sets.training.examples;
        self.settings.stop.reason(self.accepted.as_ref(), &self.course, self.counters, examples)
    }

    /// Evaluations that ride along with a round of these parts: they cost no round of their own. Besides
    /// those that are due there are those of a round that may be the last, so that it ends with figures.
    fn evaluations(&self, parts: &[Part]) -> Vec<Part> {
        let Settings { sets, stop, .. } = &self.settings;
        let may_end = || {
            let run = self.settings.run_plan();
            let examples = |part: &Part| run.size(part, &part.lay_out(run.of(part.set), run.seed)).0;
            let examples = self.counters.examples + parts.iter().map(examples).sum::<u64>();
            let then = Counters { rounds: self.counters.rounds + 1, examples, ..self.counters };
            stop.may_end(self.optimizer.iteration(), then, sets.training.examples)
        };
        if !self.evaluation_is_due() && !may_end() {
            return Vec::new();
        }
        let measured = !self.settings.evaluate_training || self.settings.measures_training_set(parts);
        let wanted = [Set::Test, Set::Validation].into_iter().chain((!measured).then_some(Set::Training));
        let part = |set: Set| Part::in_turn(Work::Evaluation, set, sets.of(set).units());
        wanted.map(part).filter(|part| part.units > 0).collect()
    }

    /// The same until the next round is told of.
    pub(super) fn evaluation_is_due(&self) -> bool {
        let Settings { evaluate_every, sets, .. } = &self.settings;
        // Of several rounds at the start point the first that has a value evaluates it.
        let is_known = self.accepted.is_some() && !self.optimizer.has_set_out();
        !is_known && self.course.evaluation_is_due(*evaluate_every, self.counters, sets.training.examples)
    }

    /// Ends the training wherever it is. A round under way is lost, and the weights are those of before it. A training
    /// that had ended, and whose weights are still examined, has ended for the reason it had.
    pub(super) fn break_off(&mut self, now_ms: u64, reason: StopReason) {
        if !matches!(self.stage, Stage::Finished(_)) {
            let reason = self.examining.take().map_or(reason, |examining| examining.reason);
            self.finish(now_ms, reason);
        }
    }

    pub(super) fn finish(&mut self, now_ms: u64, reason: StopReason) {
        if !self.optimizer.has_set_out() {
            self.outputs.extend(self.accepted.map(Output::Accepted));
        }
        self.floor.finish(now_ms, self.counters.round + 1);
        self.stage = Stage::Finished(reason.clone());
        self.outputs.push_back(Output::Finished(reason));
    }
}
