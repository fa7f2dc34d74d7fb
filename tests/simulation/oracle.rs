//! Trainings by the textbook, which share nothing with the engine: no scale, sum, optimizer or trial point of its own
//! crates. [`reference`](crate::reference) holds the engine to the same bits whatever goes wrong, but takes its sums,
//! scales and optimizers from production; a mistake in one of these shows here.
//!
//! The gradients of single units come from `model`, which has references of its own.

use std::ops::Range;

use model::{GradientResults, ParameterKind, Pass, Scratch};
use protocol::plan::{Set, Work};

use crate::problem::{Method, Problem, ProblemPlan, SEED};
use crate::scenario::{Guest, Scenario};
use crate::world::{Report, run};

/// An exponent for sums without any rounding: each f32 from 2^-66 to 2^20 is so many whole 2^-90.
const WHOLE: i32 = 90;

/// Of gradient descent. No power of two, so that products are rounded.
const RATE: f32 = 0.3;

/// How far a weight of the textbook's training may be from that of the engine's, as a part of the largest. The two round
/// at different places: the engine rounds gradients to 24 bits of the largest element and curvature pairs to f32. Every
/// iteration magnifies the first difference, of 6e-8; after [`ITERATIONS`] the worst of all seeds is 5e-6.
const TOLERANCE: f64 = 1e-5;

/// Twice as many as there are pairs in memory.
const ITERATIONS: u64 = 10;

#[test]
fn descent_along_the_gradient_goes_through_the_same_bits_as_plain_sums() {
    for seed in 0..10 {
        let plan = ProblemPlan { seed, method: Method::Sgd { learning_rate: RATE }, ..problem() };
        let (problem, report) = train(&plan, 12);
        assert!(report.opened.len() > 12, "a start and twelve steps");
        let mut weights = problem.network.initialize(seed);
        for (plan, vectors) in &report.opened {
            assert_eq!(*vectors[0], weights, "round {}", plan.round);
            let part = &plan.parts[0];
            let set = problem.set(Set::Training);
            let layout = part.lay_out(set, SEED);
            let units = (0..part.units).map(|unit| layout.examples_of(set, unit));
            let sums = Sums::of(&problem, &weights, units, plan.scales.vector_exponent);
            // Each element of the mean is rounded to f32 once, and so is each weight.
            let gradient = sums.mean_gradient(&problem, &weights).into_iter().map(|g| f64::from(g as f32));
            weights = weights
                .iter()
                .zip(gradient)
                .map(|(w, g)| (f64::from(*w) - f64::from(RATE) * g) as f32)
                .collect();
        }
    }
}

#[test]
fn full_batch_training_goes_where_textbook_l_bfgs_goes() {
    let (mut searches, mut damped) = (0, 0);
    for seed in 0..20 {
        let plan = ProblemPlan { seed, ..problem() };
        let (problem, report) = train(&plan, ITERATIONS);
        let textbook = Textbook::train(&problem, problem.network.initialize(seed), plan.memory, ITERATIONS);
        let gradients = report.opened.iter().filter(|(plan, _)| plan.parts[0].work == Work::Gradient);
        let tried: Vec<_> = gradients.map(|(_, vectors)| &vectors[0]).collect();
        assert_eq!(tried.len(), textbook.tried.len(), "seed {seed}: another number of trial points");
        for (found, expected) in tried.iter().zip(&textbook.tried) {
            let largest = expected.iter().fold(0.0, |largest: f64, w| largest.max(f64::from(w.abs())));
            for (found, expected) in found.iter().zip(expected) {
                let miss = f64::from((found - expected).abs()) / largest;
                assert!(miss <= TOLERANCE, "seed {seed}: {found} should be {expected}, of {largest} at most");
            }
        }
        searches += textbook.searches;
        damped += textbook.damped;
    }
    assert!(searches > 0 && damped > 0, "{searches} line searches, {damped} damped pairs: too easy");
}

/// Its last unit is smaller than the others.
fn problem() -> ProblemPlan {
    ProblemPlan { training: 4 * 12 - 1, l2: 0.01, ..ProblemPlan::plain(12) }
}

/// Trains with three volunteers of different speeds and no mishap.
fn train(plan: &ProblemPlan, iterations: u64) -> (Problem, Report) {
    let guests = [5, 7, 30].map(Guest::steady).to_vec();
    let mut scenario = Scenario::calm(plan.clone(), guests);
    scenario.limits.stop.iterations = iterations;
    let report = run(&scenario);
    assert_eq!(report.points as u64, iterations + 1);
    assert_eq!(report.counts.rounds, report.reference.rounds, "a round was opened twice");
    (Problem::new(plan), report)
}

/// Loss and gradient, summed as integers.
struct Sums {
    exponent: i32,
    loss: i128,
    gradient: Vec<i128>,
    examples: f64,
}

impl Sums {
    /// Over units of these examples each; a gradient's integers are whole 2^-`exponent`.
    fn of(
        problem: &Problem,
        weights: &[f32],
        units: impl Iterator<Item = Range<u32>>,
        exponent: i32,
    ) -> Sums {
        let parameters = problem.network.parameters();
        let mut sums = Sums { exponent, loss: 0, gradient: vec![0; parameters], examples: 0.0 };
        for range in units {
            let (mut gradient, mut losses) = (vec![0.0; parameters], vec![0.0; range.len()]);
            let examples = problem.examples(Set::Training, range.clone());
            let pass = Pass::new(problem.minibatch as usize);
            let (network, scratch) = (&problem.network, &mut Scratch::new());
            let results = GradientResults { gradient: &mut gradient, losses: &mut losses };
            network.gradient(problem.arithmetic, scratch, weights, &pass, &examples, results);
            for (sum, value) in sums.gradient.iter_mut().zip(&gradient) {
                *sum += integer(*value, exponent);
            }
            sums.loss += losses.iter().map(|loss| integer(*loss, WHOLE)).sum::<i128>();
            sums.examples += losses.len() as f64;
        }
        sums
    }

    /// Over all of the training set, exactly.
    fn of_all(problem: &Problem, weights: &[f32]) -> Sums {
        let set = problem.set(Set::Training);
        Sums::of(problem, weights, (0..set.units()).map(|unit| set.examples_of(unit)), WHOLE)
    }

    /// Mean loss with the penalty.
    fn objective(&self, problem: &Problem, weights: &[f32]) -> f64 {
        let squares = penalized(problem).map(|index| f64::from(weights[index]) * f64::from(weights[index]));
        value(self.loss, WHOLE) / self.examples + 0.5 * f64::from(problem.network.l2()) * squares.sum::<f64>()
    }

    /// Mean gradient with the penalty's.
    fn mean_gradient(&self, problem: &Problem, weights: &[f32]) -> Vec<f64> {
        let mean = |sum: &i128| value(*sum, self.exponent) / self.examples;
        let mut gradient: Vec<f64> = self.gradient.iter().map(mean).collect();
        for index in penalized(problem) {
            gradient[index] += f64::from(problem.network.l2()) * f64::from(weights[index]);
        }
        gradient
    }
}

/// Indices of the weights that the penalty is for: all but biases.
fn penalized(problem: &Problem) -> impl Iterator<Item = usize> {
    let weights = problem.network.layout().iter().filter(|block| block.kind == ParameterKind::Weight);
    weights.flat_map(|block| block.range.clone())
}

/// The integer nearest to `value` * 2^`exponent`, ties to even, from the bits of the f32.
fn integer(value: f32, exponent: i32) -> i128 {
    assert!(value.is_finite());
    let bits = value.to_bits();
    let (biased, fraction) = (bits >> 23 & 0xff, i128::from(bits & 0x7f_ffff));
    // The value is mantissa * 2^power.
    let (mantissa, power) =
        if biased == 0 { (fraction, -149) } else { (fraction | 1 << 23, biased as i32 - 150) };
    let magnitude = match power + exponent {
        left @ 0..=100 => mantissa << left,
        right @ -30..0 => {
            let (floor, rest, half) = (mantissa >> -right, mantissa & ((1 << -right) - 1), 1 << (-right - 1));
            floor + i128::from(rest > half || (rest == half && floor % 2 == 1))
        }
        // Less than a quarter.
        ..-30 => 0,
        _ => panic!("{value} is too large for an exponent of {exponent}"),
    };
    if value < 0.0 { -magnitude } else { magnitude }
}

/// `sum` * 2^-`exponent`.
fn value(sum: i128, exponent: i32) -> f64 {
    sum as f64 * 2f64.powi(-exponent)
}

/// L-BFGS by Nocedal and Wright, Numerical Optimization, 2nd edition: Algorithm 7.4 for the direction, one operation after
/// another on f64 vectors; Procedure 18.2 (Powell, 1978) for pairs with too little curvature; backtracking by halves until
/// condition (3.4), of Armijo, holds.
struct Textbook {
    /// The points at which the gradient was evaluated.
    tried: Vec<Vec<f32>>,
    /// Line searches beyond the first step length.
    searches: u32,
    damped: u32,
}

/// A point with its objective and gradient.
struct Point {
    weights: Vec<f32>,
    objective: f64,
    gradient: Vec<f64>,
}

impl Textbook {
    fn train(problem: &Problem, start: Vec<f32>, memory: usize, iterations: u64) -> Textbook {
        let mut textbook = Textbook { tried: Vec::new(), searches: 0, damped: 0 };
        let mut here = textbook.evaluate(problem, start);
        let mut pairs: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        for _ in 0..iterations {
            let direction = two_loops(&pairs, &here.gradient);
            let slope = dot(&direction, &here.gradient);
            assert!(slope < 0.0, "damping keeps the matrix positive definite");
            // Without curvature, no longer than one.
            let first = if pairs.is_empty() { (1.0 / norm(&here.gradient)).min(1.0) } else { 1.0 };
            let is_enough = |step: f64, objective: f64| objective <= here.objective + 1e-4 * step * slope;
            let ahead = |step: f64| -> Vec<f32> {
                let moved = here.weights.iter().zip(&direction).map(|(w, d)| f64::from(*w) + step * d);
                moved.map(|w| w as f32).collect()
            };
            let mut step = first;
            let mut there = textbook.evaluate(problem, ahead(step));
            if !is_enough(step, there.objective) {
                textbook.searches += 1;
                let steps = (1..=8).map(|halvings| first * 0.5f64.powi(halvings));
                let measured = steps.map(|step| {
                    let point = ahead(step);
                    (step, Sums::of_all(problem, &point).objective(problem, &point))
                });
                let passing = measured.filter(|(step, objective)| is_enough(*step, *objective));
                let lowest = passing.min_by(|one, other| one.1.total_cmp(&other.1));
                step = lowest.expect("one of the steps is short enough").0;
                there = textbook.evaluate(problem, ahead(step));
            }
            let s = subtract(&wide(&there.weights), &wide(&here.weights));
            let mut y = subtract(&there.gradient, &here.gradient);
            // As the direction is -H g, B s is -step g.
            let bs: Vec<f64> = here.gradient.iter().map(|g| -step * g).collect();
            let (sy, sbs) = (dot(&s, &y), dot(&s, &bs));
            if sy < 0.2 * sbs {
                textbook.damped += 1;
                let theta = 0.8 * sbs / (sbs - sy);
                y = y.iter().zip(&bs).map(|(y, bs)| theta * y + (1.0 - theta) * bs).collect();
            }
            pairs.push((s, y));
            if pairs.len() > memory {
                pairs.remove(0);
            }
            here = there;
        }
        textbook
    }

    fn evaluate(&mut self, problem: &Problem, weights: Vec<f32>) -> Point {
        let sums = Sums::of_all(problem, &weights);
        let objective = sums.objective(problem, &weights);
        let gradient = sums.mean_gradient(problem, &weights);
        self.tried.push(weights.clone());
        Point { weights, objective, gradient }
    }
}

/// Algorithm 7.4: -H g from the pairs (s, y), oldest first.
fn two_loops(pairs: &[(Vec<f64>, Vec<f64>)], gradient: &[f64]) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut alphas = Vec::new();
    for (s, y) in pairs.iter().rev() {
        let alpha = dot(s, &q) / dot(s, y);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    // (7.20), or the identity.
    let gamma = pairs.last().map_or(1.0, |(s, y)| dot(s, y) / dot(y, y));
    let mut r: Vec<f64> = q.iter().map(|q| gamma * q).collect();
    for ((s, y), alpha) in pairs.iter().zip(alphas.iter().rev()) {
        let beta = dot(y, &r) / dot(s, y);
        r.iter_mut().zip(s).for_each(|(r, s)| *r += (alpha - beta) * s);
    }
    r.iter().map(|r| -r).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn subtract(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn wide(a: &[f32]) -> Vec<f64> {
    a.iter().map(|a| f64::from(*a)).collect()
}
