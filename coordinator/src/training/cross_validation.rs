//! Chooses network, L2 penalty and number of iterations for a small table by cross-validation, before the
//! training begins.
//!
//! The training examples are cut into folds. For each candidate and fold, L-BFGS trains on the other folds
//! and the loss on the fold is noted after each iteration. The candidate and the iteration with the lowest
//! mean loss win. They then train on all examples: few as they are, none is set aside for validation. A limit
//! on iterations that is given changes nothing of the choice, so that a run can go on beyond its limit.
//!
//! It is computed here, not by volunteers, because it is small: [`OPERATIONS_MAX`] bounds it. Each of the
//! trainings is a sequence of operations in one fixed order, so the choice is a function of data and settings
//! alone, on whatever machine and however many cores.

use std::ops::Range;
use std::sync::Arc;

use engine::optimizers::{Ask, Lbfgs, LbfgsSettings, Tell};
use model::{
    Arithmetic, Examples, Features, GradientResults, Network, Pass, Preprocessing, Scratch, trial_point,
};

use crate::data::ExampleTable;
use crate::inference::in_order;

/// Folds that the examples are cut into.
pub(super) const FOLDS: u32 = 5;
/// Floating-point operations of all trainings together: ten seconds of one core, and as a rule less than half
/// of that, because most trainings end early.
const OPERATIONS_MAX: f64 = 5e10;
/// Most iterations that are tried.
const ITERATIONS_MAX: u64 = 200;
/// Iterations without a lower loss on the fold after which a training ends: what comes after is held to be as
/// bad as the last.
const PATIENCE: usize = 15;
/// Operations of a training pass on an example for each parameter.
const OPERATIONS_PER_PARAMETER: f64 = 6.0;

/// What to choose from.
pub(super) struct Trial<'a> {
    /// The candidates in order: of equally good ones the first wins. All have the same inputs and outputs.
    pub(super) candidates: &'a [Network],
    pub(super) folds: Folds,
    pub(super) arithmetic: Arithmetic,
    pub(super) seed: u64,
    /// Curvature pairs of L-BFGS.
    pub(super) memory: usize,
}

/// How the examples are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Folds {
    /// Folds that they are cut into.
    pub(super) all: u32,
    /// How many of these, from the first on, are held back once: with more examples fewer tell as much.
    pub(super) tried: u32,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// Its place among the candidates.
    pub(super) candidate: usize,
    pub(super) iterations: u64,
    /// The mean loss on the folds.
    pub(super) loss: f64,
}

/// As many of the folds as are not too much to compute; `None` if not even one is. The networks must infer as
/// they train, or the losses on folds would be of another function.
pub(super) fn affordable_folds(candidates: &[Network], examples: usize, folds: u32) -> Option<Folds> {
    let passes: f64 = candidates.iter().map(|network| network.trainable() as f64).sum();
    let operations = OPERATIONS_PER_PARAMETER * passes * examples as f64 * ITERATIONS_MAX as f64;
    let tried = folds.min((OPERATIONS_MAX / operations.max(1.0)) as u32);
    let fits = tried > 0 && candidates.iter().all(Network::infers_as_it_trains);
    fits.then_some(Folds { all: folds, tried })
}

/// Tries all candidates. `None` if no loss was finite.
pub(super) fn choose(
    trial: &Trial<'_>,
    table: &ExampleTable,
    preprocessing: &Preprocessing,
) -> Option<Choice> {
    let (folds, tried) = (trial.folds.all as usize, trial.folds.tried as usize);
    let bound = |fold: usize| table.len() * fold / folds;
    let jobs = trial.candidates.len() * tried;
    let curves = in_order(jobs, |scratch, job| {
        let (candidate, fold) = (job / tried, job % tried);
        let data = Data { table, preprocessing, arithmetic: trial.arithmetic };
        let fit =
            Fit { network: &trial.candidates[candidate], data, held_back: bound(fold)..bound(fold + 1) };
        fit.curve(scratch, trial)
    });
    let mut best: Option<Choice> = None;
    for (candidate, curves) in curves.chunks(tried).enumerate() {
        let longest = curves.iter().map(Vec::len).max().unwrap_or(0);
        let last = |curve: &Vec<f64>| curve.last().copied().unwrap_or(f64::INFINITY);
        let at = |iteration: usize| {
            let losses =
                curves.iter().map(|curve| curve.get(iteration).copied().unwrap_or_else(|| last(curve)));
            losses.sum::<f64>() / bound(tried) as f64
        };
        for iteration in 1..longest {
            let loss = at(iteration);
            if loss.is_finite() && best.as_ref().is_none_or(|best| loss < best.loss) {
                best = Some(Choice { candidate, iterations: iteration as u64, loss });
            }
        }
    }
    best
}

#[derive(Clone, Copy)]
struct Data<'a> {
    table: &'a ExampleTable,
    preprocessing: &'a Preprocessing,
    arithmetic: Arithmetic,
}

/// One training on all examples but those held back.
struct Fit<'a> {
    network: &'a Network,
    data: Data<'a>,
    held_back: Range<usize>,
}

impl Fit<'_> {
    /// The summed loss on the examples held back after 0, 1, 2, ... iterations.
    fn curve(&self, scratch: &mut Scratch, trial: &Trial<'_>) -> Vec<f64> {
        let settings = LbfgsSettings { memory: trial.memory, gradient_tolerance: None };
        let mut lbfgs: Lbfgs<f32> = Lbfgs::new(self.network.initialize(trial.seed), settings);
        let mut curve = Vec::new();
        let (mut lowest, mut since) = (f64::INFINITY, 0);
        loop {
            let answer = match lbfgs.ask() {
                Ask::Gradient { point, .. } => self.gradient(scratch, &point),
                Ask::Losses { base, direction, steps, .. } => {
                    let loss = |&step: &f32| {
                        let point: Vec<f32> = trial_point(&base, &direction, step).collect();
                        self.objective(scratch, &point)
                    };
                    Tell::Losses(steps.iter().map(loss).collect())
                }
                Ask::Local { .. } | Ask::Stopped(_) => return curve,
            };
            let Ok(progress) = lbfgs.tell(answer) else { return curve };
            if curve.is_empty() || progress.accepted.is_some() {
                let loss = self.loss(scratch, lbfgs.weights(), self.held_back.clone());
                curve.push(loss);
                since = if loss < lowest { 0 } else { since + 1 };
                lowest = lowest.min(loss);
                if curve.len() as u64 > ITERATIONS_MAX || since >= PATIENCE || !loss.is_finite() {
                    return curve;
                }
            }
        }
    }

    /// The examples to train on, in order.
    fn kept(&self) -> impl Iterator<Item = Range<usize>> {
        let parts = [0..self.held_back.start, self.held_back.end..self.data.table.len()];
        parts.into_iter().filter(|part| !part.is_empty())
    }

    fn examples(&self) -> f64 {
        (self.data.table.len() - self.held_back.len()) as f64
    }

    fn part(&self, range: Range<usize>) -> Examples<'_> {
        let Data { table, preprocessing, .. } = self.data;
        Examples {
            features: Features::new(table.rows(range.clone()), preprocessing),
            targets: table.targets(range),
        }
    }

    /// The objective and its gradient.
    fn gradient(&self, scratch: &mut Scratch, weights: &[f32]) -> Tell<f32> {
        let mut sum = vec![0.0_f32; weights.len()];
        let mut loss = 0.0;
        for range in self.kept() {
            let mut losses = vec![0.0; range.len()];
            let results = GradientResults { gradient: &mut sum, losses: &mut losses };
            let pass = Pass::new(range.len());
            self.network.gradient(self.data.arithmetic, scratch, weights, &pass, &self.part(range), results);
            loss += losses.into_iter().map(f64::from).sum::<f64>();
        }
        let mut mean: Vec<f64> = sum.into_iter().map(|value| f64::from(value) / self.examples()).collect();
        self.network.add_penalty_gradient(weights, &mut mean);
        let gradient: Arc<[f32]> = mean.into_iter().map(|value| value as f32).collect();
        Tell::Gradient { loss: loss / self.examples() + self.network.penalty(weights), gradient }
    }

    fn objective(&self, scratch: &mut Scratch, weights: &[f32]) -> f64 {
        let loss: f64 = self.kept().map(|range| self.loss(scratch, weights, range)).sum();
        loss / self.examples() + self.network.penalty(weights)
    }

    /// The summed loss, without the penalty.
    fn loss(&self, scratch: &mut Scratch, weights: &[f32], range: Range<usize>) -> f64 {
        let mut losses = vec![0.0; range.len()];
        self.network.evaluate(self.data.arithmetic, scratch, weights, &self.part(range), &mut losses);
        losses.into_iter().map(f64::from).sum()
    }
}

#[cfg(test)]
mod tests {
    use model::NetworkSpec;

    use super::*;
    use crate::data::{Dataset, Prepared, prepare};

    /// Two columns of bytes and a class.
    fn data(class: impl Fn(u8, u8, usize) -> u16) -> Prepared {
        const EXAMPLES: usize = 240;
        let noise = |example: usize| example.wrapping_mul(2_654_435_761) >> 7;
        let cells = |example: usize| [(noise(example) % 19) as u8, (noise(example) / 19 % 23) as u8];
        let values: Vec<u8> = (0..EXAMPLES).flat_map(cells).collect();
        let ids = (0..EXAMPLES).map(|example| {
            let [x, y] = cells(example);
            class(x, y, noise(example) / 437)
        });
        let names = vec!["no".to_owned(), "yes".to_owned()];
        prepare(Dataset::of_bytes(2, &values, ids.collect(), names), None, 0.0, 1).unwrap()
    }

    fn network(shorthand: &str, l2: f32, data: &Prepared) -> Network {
        let spec = NetworkSpec { l2, ..NetworkSpec::from_shorthand(shorthand).unwrap() };
        Network::new(&spec, 2, data.task()).unwrap()
    }

    fn chosen(candidates: &[Network], data: &Prepared) -> Choice {
        let folds = Folds { all: 4, tried: 4 };
        let arithmetic = Arithmetic::Portable;
        let trial = Trial { candidates, folds, arithmetic, seed: 3, memory: 10 };
        choose(&trial, data.train.in_memory().unwrap(), &data.preprocessing).unwrap()
    }

    #[test]
    fn the_network_and_the_penalty_that_suit_unseen_examples_are_chosen() {
        let corners = data(|x, y, _| u16::from((x > 9) != (y > 11)));
        let networks = [network("linear", 1e-3, &corners), network("mlp:16", 1e-3, &corners)];
        let choice = chosen(&networks, &corners);
        assert!(choice.candidate == 1 && choice.iterations > 1 && choice.loss < 0.3, "{choice:?}");

        let noise = data(|_, _, rest| (rest % 2) as u16);
        let networks = [network("mlp:16", 1.0, &noise), network("mlp:16", 1e-6, &noise)];
        let choice = chosen(&networks, &noise);
        assert!(choice.candidate == 0 && choice.loss < 0.71, "{choice:?}");
    }

    #[test]
    fn what_is_too_much_to_compute_is_tried_on_fewer_folds_or_not_at_all() {
        let data = data(|x, _, _| u16::from(x > 9));
        let one = [network("mlp:16", 0.0, &data)];
        let all = |tried| Some(Folds { all: 5, tried });
        assert_eq!(affordable_folds(&one, 1000, 5), all(5));
        let fewer = affordable_folds(&one, 200_000, 5).unwrap();
        assert!((1..5).contains(&fewer.tried), "{fewer:?}");
        assert_eq!(affordable_folds(&one, 10_000_000, 5), None);
    }
}
