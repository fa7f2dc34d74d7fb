//! What the integers of a completed round mean: losses, gradients and the like, as the optimizer and people
//! want them.

use std::borrow::Cow;
use std::sync::Arc;

use model::{Task, exact, trial_point};
use protocol::measure::Measure;
use protocol::plan::{Part, RoundPlan, Set, Work};
use protocol::scales::Scales;

use super::aggregator::{PartSums, mean, mean_gradient, mix_statistics};
use super::figures::Figures;
use super::rounds::OpenRound;
use super::scales::{self, Found};
use super::settings::Settings;

/// The sums of a completed round.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    settings: &'a Settings,
    plan: &'a RoundPlan,
    vectors: &'a [Arc<[f32]>],
    /// The parts that train.
    training: Vec<TrainingPart<'a>>,
    evaluations: Vec<(&'a Part, &'a PartSums)>,
    /// Training examples that the round went through, those of local steps as often as they were used.
    pub(super) examples: u64,
}

#[derive(Debug)]
struct TrainingPart<'a> {
    part: &'a Part,
    sums: &'a PartSums,
    /// Losses that its sum adds up.
    examples: u64,
    /// Minibatches that its batch statistics add up.
    minibatches: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(round: &'a OpenRound, settings: &'a Settings) -> Tally<'a> {
        let (plan, run) = (&round.plan, settings.run_plan());
        let (mut training, mut evaluations) = (Vec::new(), Vec::new());
        let parts = plan.parts.iter().zip(&round.ledger.sums().parts);
        for (layout, (part, sums)) in round.layouts.iter().zip(parts) {
            if part.work == Work::Evaluation {
                evaluations.push((part, sums));
                continue;
            }
            let (examples, minibatches) = run.size(part, layout);
            training.push(TrainingPart { part, sums, examples, minibatches });
        }
        Tally {
            settings,
            plan,
            vectors: &round.vectors,
            evaluations,
            examples: training.iter().map(|part| part.examples).sum(),
            training,
        }
    }

    /// How good the round's point is.
    pub(super) fn figures(&self) -> Figures {
        let (validation, test) = (self.evaluation(Set::Validation), self.evaluation(Set::Test));
        Figures {
            train_loss: self.train_loss(),
            objective: self.objective(),
            training_set_loss: self.training_set_loss(),
            validation_loss: validation.map(|found| found.loss),
            validation_accuracy: validation.and_then(|found| found.accuracy),
            test_loss: test.map(|found| found.loss),
            test_accuracy: test.and_then(|found| found.accuracy),
        }
    }

    /// Mean loss over the training examples of the round.
    fn train_loss(&self) -> f64 {
        self.mean_loss(0, &self.training)
    }

    /// The same with the penalty.
    pub(super) fn objective(&self) -> f64 {
        self.train_loss() + self.settings.network.penalty(&self.vectors[0])
    }

    /// The objective at each step length of a scalars-only round; infinite where a unit did not fit.
    pub(super) fn losses_along(&self, steps: &[f32]) -> Vec<f64> {
        let objective = |(index, &step): (usize, &f32)| {
            if self.training.iter().any(|part| part.sums.unfit_steps >> index & 1 == 1) {
                return f64::INFINITY;
            }
            let point: Vec<f32> = trial_point(&self.vectors[0], &self.vectors[1], step).collect();
            self.mean_loss(index, &self.training) + self.settings.network.penalty(&point)
        };
        steps.iter().enumerate().map(objective).collect()
    }

    /// The objective's gradient over the examples of one part.
    pub(super) fn gradient(&self, index: usize) -> Arc<[f32]> {
        let TrainingPart { sums, examples, .. } = &self.training[index];
        let network = &self.settings.network;
        let trainable = network.trainable();
        let (weights, sum) = (&self.vectors[0][..trainable], &sums.vector[..trainable]);
        mean_gradient(network, weights, sum, self.plan.scales.vector_exponent, *examples)
    }

    /// The objective and its gradient over the examples of each part.
    pub(super) fn segments(&self) -> Vec<(f64, Arc<[f32]>)> {
        let penalty = self.settings.network.penalty(&self.vectors[0]);
        let segment = |index: usize| {
            let loss = self.mean_loss(0, &self.training[index..=index]);
            (loss + penalty, self.gradient(index))
        };
        (0..self.training.len()).map(segment).collect()
    }

    /// The mean displacement of the replicas.
    pub(super) fn mean_displacement(&self) -> Arc<[f32]> {
        let TrainingPart { part, sums, .. } = &self.training[0];
        let sum = &sums.vector[..self.settings.network.trainable()];
        mean(sum, self.plan.scales.vector_exponent, part.units.into())
    }

    /// Running statistics after the round.
    pub(super) fn statistics(&self, running: &Arc<[f32]>) -> Arc<[f32]> {
        if running.is_empty() {
            return Arc::clone(running);
        }
        let minibatches = self.training.iter().map(|part| part.minibatches).sum();
        let sum = &self.vector()[self.settings.network.trainable()..];
        mix_statistics(running, sum, self.plan.scales.statistics_exponent, minibatches)
    }

    /// What an evaluation of the set found out about the point, if there was one.
    fn evaluation(&self, set: Set) -> Option<Evaluation> {
        let (_, sums) = self.evaluations.iter().find(|(part, _)| part.set == set)?;
        let examples = f64::from(self.settings.sets.of(set).examples);
        let classes = matches!(self.settings.network.task(), Task::Classes(_));
        Some(Evaluation {
            loss: exact::to_f64(sums.losses[0], self.plan.scales.evaluation_exponent) / examples,
            accuracy: classes.then(|| sums.correct as f64 / examples),
        })
    }

    /// Mean loss over the training set at the point itself: from an evaluation, or where that is what the
    /// round summed anyway.
    fn training_set_loss(&self) -> Option<f64> {
        let evaluated = self.evaluation(Set::Training).map(|found| found.loss);
        evaluated.or_else(|| self.settings.measures_training_set(&self.plan.parts).then(|| self.train_loss()))
    }

    /// Scales for the rounds after this one, which began with `first`, if its point is accepted. An
    /// evaluation that was not due leaves no trace.
    pub(super) fn scales(&self, first: Scales, evaluation_was_due: bool) -> Scales {
        let vector = self.vector();
        let found = self.found(&vector);
        let evaluation = found.evaluation.filter(|_| evaluation_was_due);
        scales::after(first, self.plan.scales, &Found { evaluation, ..found })
    }

    /// Whether something vanished in the rounding to the round's scales.
    pub(super) fn has_vanished(&self) -> bool {
        self.found(&self.vector()).vanished().any()
    }

    /// Scales for the round once more, as the referee has measured a unit of it; see [`scales::refined`].
    pub(super) fn refined(&self, measured: &Measure) -> Option<Scales> {
        scales::refined(self.plan.scales, measured, &self.found(&self.vector()))
    }

    /// What the round summed to, with the sum of its vectors.
    fn found<'b>(&self, vector: &'b [i64]) -> Found<'b> {
        let (vector, statistics) = vector.split_at(self.settings.network.trainable());
        let summed = self.evaluations.iter().map(|(part, sums)| (sums.losses[0], part.units));
        let evaluation = summed.reduce(|(loss, units), other| (loss + other.0, units + other.1));
        Found {
            vector,
            statistics,
            loss: self.training.iter().map(|part| part.sums.losses[0]).sum(),
            units: self.training.iter().map(|part| part.part.units).sum(),
            evaluation,
        }
    }

    /// The sum over all training parts, tail included.
    fn vector(&self) -> Cow<'a, [i64]> {
        let mut sum = Cow::Borrowed(&self.training[0].sums.vector[..]);
        for part in &self.training[1..] {
            let merged = exact::merge(sum.to_mut(), &part.sums.vector);
            merged.expect("a round's units are few enough for their sum");
        }
        sum
    }

    fn mean_loss(&self, index: usize, parts: &[TrainingPart<'_>]) -> f64 {
        let sum: i64 = parts.iter().map(|part| part.sums.losses[index]).sum();
        let examples: u64 = parts.iter().map(|part| part.examples).sum();
        exact::to_f64(sum, self.plan.scales.loss_exponent) / examples as f64
    }
}

/// How good a point is on one set.
#[derive(Debug, Clone, Copy)]
struct Evaluation {
    /// Mean loss.
    loss: f64,
    /// Share predicted correctly, for classes.
    accuracy: Option<f64>,
}
