//! Gradients by finite differences, directions by the textbook recursion.

use engine::optimizers::{Ask, Lbfgs, LbfgsSettings, Scalar, Tell};

use crate::problems::{
    LogisticRegression, Problem, answer, chained_rosenbrock, quadratic, rosenbrock_pairs, rosenbrock_start,
};

#[test]
fn gradients_match_finite_differences() {
    let start = rosenbrock_start(10);
    assert_gradient(&chained_rosenbrock, &start);
    assert_gradient(&rosenbrock_pairs, &start);
    assert_gradient(&quadratic(2.0), &start);
    let regression = LogisticRegression::breast_cancer();
    let point: Vec<f64> = (0..regression.parameters()).map(|i| (i as f64 * 0.7).sin()).collect();
    assert_gradient(&|x| regression.evaluate(x), &point);
}

fn assert_gradient(problem: Problem, point: &[f64]) {
    let (_, gradient) = problem(point);
    for i in 0..point.len() {
        let loss_at = |offset: f64| {
            let mut moved = point.to_vec();
            moved[i] += offset;
            problem(&moved).0
        };
        let h = 1e-6;
        let difference = (loss_at(h) - loss_at(-h)) / (2.0 * h);
        let tolerance = 1e-6 * (1.0 + gradient[i].abs());
        assert!((difference - gradient[i]).abs() < tolerance, "{i}: {difference} {}", gradient[i]);
    }
}

/// Longer than two blocks of the sums, and not a multiple of any size in use.
const LONG: usize = 2 * 65_536 + 1237;

#[test]
fn directions_are_those_of_the_two_loop_recursion() {
    // The second case differs from the first only in rounding the direction to f32.
    assert_directions::<f64>(1e-11);
    assert_directions::<f32>(1e-6);
}

/// On a convex quadratic, no pair is damped, so the pairs in memory are plain differences, which the test can
/// compute itself. The memory overflows several times.
fn assert_directions<T: Scalar>(tolerance: f64) {
    const MEMORY: usize = 4;
    let problem = quadratic(3.0);
    let start: Vec<T> = (0..LONG).map(|i| T::from_f64((i as f64 * 0.37).sin())).collect();
    let mut optimizer = Lbfgs::new(start, LbfgsSettings { memory: MEMORY, gradient_tolerance: None });
    let mut pairs: Vec<(Vec<T>, Vec<T>)> = Vec::new();
    let mut last: Option<(Vec<T>, Vec<T>)> = None;
    let mut compared = 0;
    while optimizer.iteration() < 15 {
        let ask = optimizer.ask();
        let Some(reply) = answer(&problem, ask.clone()) else { panic!("stopped at {ask:?}") };
        let told = reply.clone();
        let accepted = optimizer.tell(reply).expect("the answer matches the request").accepted;
        let (Ask::Gradient { point, .. }, Tell::Gradient { gradient, .. }) = (ask, told) else { continue };
        let started = last.is_none();
        if let (Some((weights, before)), Some(accepted)) = (&last, &accepted) {
            assert!(!accepted.damped);
            pairs.push((subtract(&point, weights), subtract(&gradient, before)));
            pairs.drain(..pairs.len().saturating_sub(MEMORY));
            assert_eq!(accepted.memory, pairs.len());
        }
        if accepted.is_none() && !started {
            continue;
        }
        if let Ask::Gradient { point: trial, .. } = optimizer.ask()
            && !started
        {
            let expected = two_loop(&pairs, &gradient);
            let tried: Vec<f64> = trial.iter().zip(&*point).map(|(a, b)| a.to_f64() - b.to_f64()).collect();
            let miss: Vec<f64> = tried.iter().zip(&expected).map(|(a, b)| a - b).collect();
            // Differences of rounded weights determine the direction only to the precision of the weights.
            let scale = dot(&expected, &expected).sqrt() + 0.1 * dot64(&point, &point).sqrt();
            assert!(dot(&miss, &miss).sqrt() <= tolerance * scale, "iteration {}", optimizer.iteration());
            compared += 1;
        }
        last = Some((point.to_vec(), gradient.to_vec()));
    }
    assert_eq!(compared, 15);
}

/// Nocedal and Wright, Numerical Optimization, 2nd ed., Algorithm 7.4, in f64.
fn two_loop<T: Scalar>(pairs: &[(Vec<T>, Vec<T>)], gradient: &[T]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g.to_f64()).collect();
    let mut alphas = Vec::new();
    for (s, y) in pairs.iter().rev() {
        let alpha = dot(&wide(s), &q) / dot64(s, y);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y.to_f64());
        alphas.push(alpha);
    }
    if let Some((s, y)) = pairs.last() {
        let gamma = dot64(s, y) / dot64(y, y);
        q.iter_mut().for_each(|q| *q *= gamma);
    }
    for ((s, y), alpha) in pairs.iter().zip(alphas.iter().rev()) {
        let beta = dot(&wide(y), &q) / dot64(s, y);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (alpha - beta) * s.to_f64());
    }
    q
}

fn subtract<T: Scalar>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().zip(b).map(|(&a, &b)| a - b).collect()
}

fn wide<T: Scalar>(a: &[T]) -> Vec<f64> {
    a.iter().map(|a| a.to_f64()).collect()
}

fn dot64<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    dot(&wide(a), &wide(b))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
