//! The same training as one plain loop: no engine, no scheduler, no volunteers. What the simulation
//! must come to, bit for bit.

use std::sync::Arc;

use coordinator::engine::aggregator::{self, Scales};
use coordinator::engine::optimisers::{Ask, Tell};
use coordinator::engine::{Accepted, StopReason};
use model::exact::{self, Fit, UNIT_LIMIT};
use model::{Pass, Scratch, Task};
use protocol::plan::Set;

use crate::problem::Problem;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) iterations: u64,
    pub(crate) accuracy: Option<f64>,
}

/// What training comes to.
pub(crate) struct Reference {
    pub(crate) digest: [u8; 32],
    /// The accepted points; the first is the start point, unless that one is not finite.
    pub(crate) points: Vec<Accepted>,
    pub(crate) reason: StopReason,
    pub(crate) events: Events,
}

/// How often the unusual happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Events {
    /// Rounds, restarts not counted.
    pub(crate) rounds: u64,
    /// Scales moved within a round.
    pub(crate) rescales: u64,
    /// Points without a value.
    pub(crate) valueless: u64,
    /// Rounds that had to leave the test set out.
    pub(crate) without_test: u64,
    /// Scalars-only rounds.
    pub(crate) line_searches: u64,
    /// Step lengths found out of range.
    pub(crate) unfit_steps: u64,
}

pub(crate) fn train(problem: &Problem, limits: Limits) -> Reference {
    let mut trainer = Trainer { problem, scratch: Scratch::new(), events: Events::default() };
    let mut optimiser = problem.start().optimiser;
    let mut scales = trainer.first_scales(optimiser.weights());
    let (mut points, mut epochs): (Vec<Accepted>, u64) = (Vec::new(), 0);
    let reason = loop {
        if let Some(last) = points.last() {
            if let (Some(target), Some(accuracy)) = (limits.accuracy, last.test_accuracy)
                && accuracy >= target
            {
                break StopReason::TargetAccuracy(target);
            }
            if last.iteration >= limits.iterations {
                break StopReason::Iterations(limits.iterations);
            }
        }
        trainer.events.rounds += 1;
        match optimiser.ask() {
            Ask::Local { .. } => unreachable!("full-batch L-BFGS asks for no local steps"),
            Ask::Stopped(reason) => {
                trainer.events.rounds -= 1;
                break StopReason::Optimiser(reason);
            }
            Ask::Losses { base, direction, steps, .. } => {
                epochs += steps.len() as u64;
                trainer.events.line_searches += 1;
                let point = |step: &f32| -> Vec<f32> {
                    base.iter().zip(&*direction).map(|(base, slope)| base + step * slope).collect()
                };
                let losses = steps.iter().map(|step| trainer.loss(&point(step), scales)).collect();
                optimiser.tell(Tell::Losses(losses)).unwrap();
            }
            Ask::Gradient { point, .. } => {
                epochs += 1;
                let Some(found) = trainer.gradient(&point, scales) else {
                    trainer.events.valueless += 1;
                    let gradient = vec![f32::NAN; point.len()].into();
                    optimiser.tell(Tell::Gradient { loss: f64::INFINITY, gradient }).unwrap();
                    continue;
                };
                let is_start = optimiser.loss().is_none();
                let squares = found.gradient.iter().map(|value| f64::from(*value) * f64::from(*value));
                let norm_at_start = squares.sum::<f64>().sqrt();
                let answer = Tell::Gradient { loss: found.objective, gradient: found.gradient };
                let accepted = optimiser.tell(answer).unwrap().accepted;
                if is_start || accepted.is_some() {
                    scales = found.scales;
                    let accepted = accepted.map_or((norm_at_start, 0.0), |one| (one.gradient_norm, one.step));
                    points.push(Accepted {
                        iteration: optimiser.iteration(),
                        rounds: trainer.events.rounds,
                        epochs,
                        train_loss: found.train_loss,
                        objective: found.objective,
                        test_loss: found.test.map(|(loss, _)| loss),
                        test_accuracy: found.test.and_then(|(_, accuracy)| accuracy),
                        gradient_norm: accepted.0,
                        step: accepted.1,
                    });
                }
            }
        }
    };
    Reference { digest: model::weights_digest(optimiser.weights()), points, reason, events: trainer.events }
}

struct Trainer<'a> {
    problem: &'a Problem,
    scratch: Scratch,
    events: Events,
}

/// What a gradient round finds.
struct Found {
    scales: Scales,
    gradient: Arc<[f32]>,
    train_loss: f64,
    objective: f64,
    test: Option<(f64, Option<f64>)>,
}

/// Why a set has no sums.
#[derive(Default)]
struct Misfit {
    infinite: bool,
    gradient: bool,
    loss: bool,
}

impl Misfit {
    fn is_none(&self) -> bool {
        !(self.infinite || self.gradient || self.loss)
    }

    fn note(&mut self, gradient: Fit, loss: Fit) {
        self.infinite |= gradient == Fit::NonFinite || loss == Fit::NonFinite;
        self.gradient |= gradient == Fit::Overflow;
        self.loss |= loss == Fit::Overflow;
    }
}

impl Trainer<'_> {
    fn first_scales(&mut self, weights: &[f32]) -> Scales {
        let (_, losses, gradient) = self.unit(Set::Training, 0, weights, true);
        let largest = gradient.iter().fold(0.0, |largest: f64, value| largest.max(f64::from(value.abs())));
        Scales::for_unit(largest, losses.iter().map(|loss| f64::from(*loss)).sum())
    }

    /// A unit's correct predictions, its examples' losses, and its gradient if wanted.
    fn unit(&mut self, set: Set, unit: u32, weights: &[f32], gradient: bool) -> (u32, Vec<f32>, Vec<f32>) {
        let Problem { network, arithmetic, .. } = self.problem;
        let examples = self.problem.unit(set, unit);
        let mut losses = vec![0.0; examples.len()];
        let mut sum = vec![0.0; if gradient { network.parameters() } else { 0 }];
        let scratch = &mut self.scratch;
        let correct = if gradient {
            network.gradient(*arithmetic, scratch, weights, &Pass::new(1), &examples, &mut sum, &mut losses)
        } else {
            network.evaluate(*arithmetic, scratch, weights, &examples, &mut losses)
        };
        (correct, losses, sum)
    }

    /// The objective at a point of a line; infinite where it does not fit.
    fn loss(&mut self, point: &[f32], scales: Scales) -> f64 {
        let mut sum = 0;
        for unit in 0..self.problem.training.units() {
            let (_, losses, _) = self.unit(Set::Training, unit, point, false);
            match add_losses(&losses, scales.loss_exponent) {
                Ok(loss) => sum += loss,
                Err(_) => {
                    self.events.unfit_steps += 1;
                    return f64::INFINITY;
                }
            }
        }
        self.mean(sum, scales, Set::Training) + self.problem.network.penalty(point)
    }

    /// A gradient round. Scales move until everything fits; the test set is left out if it never
    /// does; without the training set there is no value.
    fn gradient(&mut self, point: &[f32], first: Scales) -> Option<Found> {
        let mut scales = first;
        let mut with_test = self.problem.test.examples > 0;
        loop {
            let mut gradient = vec![0; point.len()];
            let (mut loss, mut misfit) = (0, Misfit::default());
            for unit in 0..self.problem.training.units() {
                let (_, losses, vector) = self.unit(Set::Training, unit, point, true);
                let fit = exact::fit(&vector, scales.gradient_exponent);
                let unit_loss = add_losses(&losses, scales.loss_exponent);
                misfit.note(fit, unit_loss.err().unwrap_or(Fit::Fits));
                if let (Fit::Fits, Ok(unit_loss)) = (fit, unit_loss) {
                    exact::add(&mut gradient, &vector, scales.gradient_exponent);
                    loss += unit_loss;
                }
            }
            let (mut test_loss, mut correct, mut test_misfit) = (0, 0, Misfit::default());
            for unit in 0..if with_test { self.problem.test.units() } else { 0 } {
                let (unit_correct, losses, _) = self.unit(Set::Test, unit, point, false);
                correct += unit_correct;
                match add_losses(&losses, scales.evaluation_exponent) {
                    Ok(unit_loss) => test_loss += unit_loss,
                    Err(fit) => test_misfit.note(Fit::Fits, fit),
                }
            }
            if misfit.infinite {
                return None;
            }
            if misfit.is_none() && test_misfit.is_none() {
                let examples = f64::from(self.problem.training.examples);
                let unscale = exact::to_f64(1, scales.gradient_exponent);
                let mut mean: Vec<f64> =
                    gradient.iter().map(|sum| *sum as f64 * unscale / examples).collect();
                self.problem.network.add_penalty_gradient(point, &mut mean);
                let train_loss = self.mean(loss, scales, Set::Training);
                let test = with_test.then(|| {
                    let accuracy = f64::from(correct) / f64::from(self.problem.test.examples);
                    let classes = matches!(self.problem.network.task(), Task::Classes(_));
                    (self.mean(test_loss, scales, Set::Test), classes.then_some(accuracy))
                });
                let evaluated = with_test.then(|| (test_loss, self.problem.test.units()));
                return Some(Found {
                    scales: scales.after(&gradient, loss, self.problem.training.units(), evaluated),
                    gradient: mean.iter().map(|value| *value as f32).collect(),
                    train_loss,
                    objective: train_loss + self.problem.network.penalty(point),
                    test,
                });
            }
            // The training set alone decides whether there is a value.
            let mut wanted =
                aggregator::Misfit { gradient: misfit.gradient, loss: misfit.loss, evaluation: false };
            first.widened(scales, wanted)?;
            wanted.evaluation = test_misfit.loss;
            match first.widened(scales, wanted) {
                Some(wider) if !test_misfit.infinite => {
                    self.events.rescales += 1;
                    scales = wider;
                }
                _ => {
                    self.events.without_test += 1;
                    with_test = false;
                    scales = first;
                }
            }
        }
    }

    fn mean(&self, sum: i64, scales: Scales, set: Set) -> f64 {
        let exponent = match set {
            Set::Training => scales.loss_exponent,
            Set::Test => scales.evaluation_exponent,
        };
        exact::to_f64(sum, exponent) / f64::from(self.problem.cut(set).examples)
    }
}

/// The sum of a unit's losses as an integer, or why there is none.
fn add_losses(losses: &[f32], exponent: i32) -> Result<i64, Fit> {
    let fit = exact::fit(losses, exponent);
    if fit != Fit::Fits {
        return Err(fit);
    }
    let mut integers = vec![0; losses.len()];
    exact::add(&mut integers, losses, exponent);
    let sum: i64 = integers.iter().sum();
    if sum < UNIT_LIMIT { Ok(sum) } else { Err(Fit::Overflow) }
}
