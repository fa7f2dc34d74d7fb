//! Completes a round: tells the optimizer the result, and accepts the point if the optimizer does.

use std::sync::Arc;

use protocol::plan::{Part, RoundPlan, Selection, Set, Work};
use protocol::scales::Scales;

use super::course::Course;
use super::figures::{Accepted, Counters, Figures};
use super::ledger::OWN_FLOOR;
use super::optimizers::{Ask, Progress, Tell};
use super::rounds::OpenRound;
use super::snapshot::{Snapshot, with_tail};
use super::tally::Tally;
use super::{Engine, Output, Stage};

/// A point whose objective is below that of the point before by more than this factor is confirmed.
const PLAUSIBLE_FALL: f64 = 8.0;

/// What of a round is to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Validation,
}

impl Scope {
    /// Whether all of another scope is in this one.
    pub(super) fn includes(self, other: Scope) -> bool {
        self == Scope::All || self == other
    }

    /// The numbers of the parts in it.
    pub(super) fn parts_of(self, plan: &RoundPlan) -> Vec<usize> {
        let is_in_scope = |part: &Part| match self {
            Scope::All => true,
            Scope::Validation => part.work == Work::Evaluation && part.set == Set::Validation,
        };
        let parts = plan.parts.iter().enumerate().filter(|(_, part)| is_in_scope(part));
        parts.map(|(index, _)| index).collect()
    }
}

/// What a round found out about its point, for when it is accepted.
#[derive(Debug, Clone)]
struct Candidate {
    work: Work,
    figures: Figures,
    /// For the rounds after it.
    scales: Scales,
    /// Batch statistics that went out with it.
    statistics_sent: Arc<[f32]>,
    /// Running statistics after it.
    statistics: Arc<[f32]>,
}

impl Engine {
    /// Goes on if all units of the open round are accounted for, and all that was to be checked is.
    pub(super) fn complete_if_done(&mut self, now_ms: u64) {
        let Stage::Open(round) = &mut self.stage else { return };
        if !self.floor.is_drained() {
            return;
        }
        let parameters = self.settings.network.parameters();
        if let Some(partial) = self.floor.take_partial() {
            let added = round.ledger.add(&round.plan, parameters, OWN_FLOOR, partial);
            added.expect("the engine's own floor hands in what it has and what was judged");
        }
        if !round.ledger.is_complete() {
            return;
        }
        // What the partial sums come to and decide is known: inputs that change nothing of that must not cost a pass
        // over all parameters each.
        let awaited = round.to_be_confirmed.filter(|(_, changes)| *changes == round.ledger.changes());
        if awaited.is_none_or(|(scope, _)| self.is_confirmed(scope)) {
            self.complete(now_ms);
        }
    }

    /// All units are accounted for. What came out as zero because a scale was too wide is no result: the
    /// referee is asked for a better scale first.
    fn complete(&mut self, now_ms: u64) {
        let Stage::Open(mut round) = std::mem::replace(&mut self.stage, Stage::Waiting) else {
            return;
        };
        self.conclusions += 1;
        if !std::mem::replace(&mut round.is_timed, true) {
            self.time(now_ms, &round);
        }
        round.ledger.add_up(&round.plan, self.settings.network.parameters());
        if self.examining.is_some() {
            return self.examined(now_ms, round);
        }
        let may_vanish = !round.refined && !round.is_nothing && round.plan.parts[0].work.has_vector();
        if may_vanish && Tally::new(&round, &self.settings).has_vanished() {
            self.stage = Stage::Open(round);
            if self.is_confirmed(Scope::All)
                && let Stage::Open(round) = std::mem::replace(&mut self.stage, Stage::Waiting)
            {
                let (plan, vectors) = (round.plan.clone(), round.vectors.clone());
                self.outputs.push_back(Output::Measure { plan, unit: 0, vectors });
                self.stage = Stage::Vanished(round);
            }
            return;
        }
        self.conclude(now_ms, round);
    }

    /// Takes in what the round came to and goes on, unless that decides something and is not confirmed: then all is
    /// as before, until somebody else has computed the same.
    fn conclude(&mut self, now_ms: u64, round: Box<OpenRound>) {
        let (before, outputs) = (self.snapshot(), self.outputs.len());
        self.take_in(&round);
        let has_point = self.outputs.iter().skip(outputs).any(|output| matches!(output, Output::Accepted(_)));
        let is_doubtful = self.floor.is_doubtful() || self.has_many_floors;
        let is_doubtful = is_doubtful && self.settings.audit.compares();
        let scope = if is_doubtful { self.decides(&before) } else { None };
        let rounds = before.counters.rounds;
        if let Some(scope) = scope {
            let after = self.snapshot();
            let told = self.outputs.split_off(outputs);
            self.restore(before);
            self.stage = Stage::Open(round);
            if !self.is_confirmed(scope) {
                return;
            }
            self.stage = Stage::Waiting;
            self.restore(after);
            self.outputs.extend(told);
        }
        self.floor.note_unchecked(rounds);
        let is_unchecked = self.settings.audit.compares()
            && rounds >= self.wary_until
            && (self.floor.is_doubtful() || self.has_many_floors);
        self.note_round(rounds, is_unchecked, has_point);
        self.floor.close(now_ms, true);
        if !self.repeats_the_end(now_ms) {
            self.go_on(now_ms);
        }
    }

    /// What of a round must be confirmed that led from the state `before` to the present one: all of it, if it ends
    /// the training, if a gradient is nothing, or if the loss fell implausibly; the evaluation, if it chose the
    /// weights to keep, or counts for a rule of patience.
    fn decides(&self, before: &Snapshot) -> Option<Scope> {
        let ends = self.stop_rule().is_some() || matches!(self.optimizer.ask(), Ask::Stopped(_));
        let is_implausible = self.accepted.as_ref().is_some_and(|point| {
            let fell = |earlier: &Accepted| {
                earlier.iteration < point.iteration
                    && point.figures.objective < earlier.figures.objective / PLAUSIBLE_FALL
            };
            point.gradient_norm == 0.0 || before.accepted.as_ref().is_some_and(fell)
        });
        let best = |course: &Course| course.best().map(|best| best.point.iteration);
        // Each evaluation that finds nothing better brings the end nearer.
        let counts_for_patience =
            self.settings.stop.patience.is_some() && self.course.evaluated() != before.course.evaluated();
        if ends || is_implausible {
            Some(Scope::All)
        } else if best(&self.course) != best(&before.course) || counts_for_patience {
            Some(Scope::Validation)
        } else {
            None
        }
    }

    /// Whether all of the open round within the scope is confirmed. Otherwise somebody else is to compute what is not.
    pub(super) fn is_confirmed(&mut self, scope: Scope) -> bool {
        let Stage::Open(round) = &self.stage else { return true };
        if !self.settings.audit.compares() {
            return true;
        }
        let parts = scope.parts_of(&round.plan);
        let by_own = self.floor.confirm(|part| parts.contains(&part));
        let is_confirmed = self.is_confirmed_by_floors(scope, &parts) && by_own;
        if let Stage::Open(round) = &mut self.stage {
            round.to_be_confirmed = (!is_confirmed).then(|| (scope, round.ledger.changes()));
        }
        is_confirmed
    }

    /// Tells the optimizer what the round came to.
    fn take_in(&mut self, round: &OpenRound) {
        let tally = Tally::new(round, &self.settings);
        if let Work::Losses { steps } = &round.plan.parts[0].work {
            let losses = tally.losses_along(steps);
            return self.tell(Tell::Losses(losses), tally.examples * steps.len() as u64, None);
        }
        let answer = match round.plan.parts[0].work {
            Work::Local { .. } => {
                Tell::Local { loss: tally.objective(), displacement: tally.mean_displacement() }
            }
            _ if round.plan.parts[0].selection == Selection::InTurn => {
                Tell::Gradient { loss: tally.objective(), gradient: tally.gradient(0) }
            }
            _ => Tell::Segments(tally.segments()),
        };
        let is_due = self.evaluation_is_due();
        let point = Candidate {
            work: round.plan.parts[0].work.clone(),
            figures: tally.figures(),
            scales: tally.scales(self.scales.of(&round.plan.parts[0].work).unwrap_or_default(), is_due),
            statistics_sent: Arc::clone(self.statistics_to_send()),
            statistics: tally.statistics(self.statistics_to_send()),
        };
        self.tell(answer, tally.examples, Some(point));
    }

    /// Gives advice where a round of local steps is mostly spent on its way.
    fn time(&mut self, now_ms: u64, round: &OpenRound) {
        let Work::Local { steps, .. } = round.plan.parts[0].work else { return };
        let Some((cores, needed_ms)) = self.floor.time_needed() else { return };
        // More cores than replicas is another matter, and told of in other words.
        if cores > round.plan.parts[0].units {
            return;
        }
        let advice = self.advice.of_steps(steps, (now_ms - self.opened_ms) as f64, needed_ms);
        self.outputs.extend(advice.map(Output::Note));
    }

    /// The round's point is confirmed not to be finite (or far out of range): an answer like any
    /// other, which makes the optimizer try something else. The next round's scales are those that
    /// this one began with, so that they do not depend on which unit was reported first.
    pub(super) fn complete_without_value(&mut self, now_ms: u64) {
        let Stage::Open(mut round) = std::mem::replace(&mut self.stage, Stage::Waiting) else {
            return;
        };
        round.ledger.add_up(&round.plan, self.settings.network.parameters());
        self.floor.close(now_ms, false);
        let nothing: Arc<[f32]> = vec![f32::NAN; self.settings.network.trainable()].into();
        let part = &round.plan.parts[0];
        let segments = round.plan.parts.iter().filter(|part| part.work == Work::Gradient).count();
        let answer = match (&part.work, part.selection) {
            (Work::Local { .. }, _) => Tell::Local { loss: f64::INFINITY, displacement: nothing },
            (_, Selection::Drawn { .. }) => Tell::Segments(vec![(f64::INFINITY, nothing); segments]),
            (_, Selection::InTurn) => Tell::Gradient { loss: f64::INFINITY, gradient: nothing },
        };
        let examples = Tally::new(&round, &self.settings).examples;
        self.tell(answer, examples, None);
        self.go_on(now_ms);
    }

    /// Tells the optimizer what came of a round that went through so many training examples.
    fn tell(&mut self, answer: Tell<f32>, examples: u64, point: Option<Candidate>) {
        let (before, evaluation_was_due) = (self.counters, self.evaluation_is_due());
        self.counters.rounds += 1;
        self.counters.examples += examples;
        let (last_loss, had_set_out) = (self.optimizer.loss(), self.optimizer.has_set_out());
        let (has_gradient, norm_at_start) = match &answer {
            Tell::Gradient { gradient, .. } => (true, norm(gradient)),
            Tell::Segments(segments) => (true, segments.first().map_or(0.0, |(_, gradient)| norm(gradient))),
            Tell::Local { displacement, .. } => (false, norm(displacement)),
            Tell::Losses(_) => (false, 0.0),
        };
        let Progress { accepted: step, note, starts_afresh, is_good, went_back } =
            self.optimizer.tell(answer).expect("a round answers what the optimizer asked for");
        self.outputs.extend(note.map(Output::Note));
        if step.is_some() {
            self.step.clone_from(&step);
        }
        let is_start = !had_set_out && self.optimizer.loss() != last_loss;
        if let Some(point) = point.filter(|_| is_start || step.is_some()) {
            let new = Accepted {
                iteration: self.optimizer.iteration(),
                rounds: if is_start { 0 } else { before.rounds },
                epochs: if is_start { 0.0 } else { before.epochs(self.settings.sets.training.examples) },
                figures: point.figures,
                gradient_norm: step.as_ref().map_or(norm_at_start, |step| step.gradient_norm),
                step: step.as_ref().map_or(0.0, |step| step.step),
            };
            let Figures { train_loss, objective, .. } = new.figures;
            self.accepted = Some(match self.accepted.filter(|_| is_start) {
                // Another learning rate there: another way on, from the same point.
                Some(start) => Accepted {
                    figures: Figures { train_loss, objective, ..start.figures },
                    gradient_norm: new.gradient_norm,
                    ..start
                },
                None => new,
            });
            // A rejected point may lie far off: its sums say nothing of the next.
            *self.scales.of(&point.work) = Some(point.scales);
            self.statistics.accept(point.statistics_sent, point.statistics, is_good);
        }
        if went_back {
            self.statistics.go_back();
        }
        if starts_afresh {
            self.scales.local = None;
        }
        let sets_out = !had_set_out && self.optimizer.has_set_out();
        match self.accepted.filter(|_| sets_out || step.is_some()) {
            Some(accepted) => {
                self.course.note(&accepted, has_gradient);
                if sets_out || evaluation_was_due {
                    let validates = self.settings.sets.validation.examples > 0;
                    let weights = || with_tail(self.optimizer.weights(), &self.statistics.accepted);
                    // Nothing led to the start point.
                    let before = if sets_out { Counters::default() } else { before };
                    self.course.note_evaluation(&accepted, before, validates, weights);
                }
                self.outputs.push_back(Output::Accepted(accepted));
            }
            None => self.outputs.push_back(Output::Between),
        }
    }
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}
