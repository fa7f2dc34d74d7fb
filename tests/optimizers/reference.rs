//! The number of steps on the standard problems. The expected counts come from an independent implementation
//! of the same rules in f64 with ten pairs. A run stops at ||g|| / max(1, ||x||) <= 1e-8, and the losses
//! along a line count as one evaluation. Other good L-BFGS codes (scipy's L-BFGS-B, liblbfgs) need similar
//! counts: 38/46, 78/96, 37/49, 60/65.

use engine::optimizers::{Halt, Lbfgs, LbfgsSettings};

use crate::problems::{
    LogisticRegression, Outcome, Problem, chained_rosenbrock, rosenbrock_pairs, rosenbrock_start, run,
};

const SETTINGS: LbfgsSettings = LbfgsSettings { memory: 10, gradient_tolerance: Some(1e-8) };

#[test]
fn rosenbrock() {
    let outcome = solve(&chained_rosenbrock, &rosenbrock_start(2));
    assert_counts(&outcome, 41, 56);
    assert!(outcome.loss < 1e-15, "{}", outcome.loss);
}

#[test]
fn chained_rosenbrock_of_ten() {
    let outcome = solve(&chained_rosenbrock, &rosenbrock_start(10));
    assert_counts(&outcome, 81, 110);
    assert!(outcome.loss < 1e-15, "{}", outcome.loss);
}

#[test]
fn fifty_rosenbrock_pairs() {
    let outcome = solve(&rosenbrock_pairs, &rosenbrock_start(100));
    assert_counts(&outcome, 39, 54);
    assert!(outcome.loss < 1e-15, "{}", outcome.loss);
}

#[test]
fn breast_cancer_logistic_regression() {
    let regression = LogisticRegression::breast_cancer();
    let outcome = solve(&|x| regression.evaluate(x), &vec![0.0; regression.parameters()]);
    assert_counts(&outcome, 58, 63);
    assert!((outcome.loss - 0.0598294718818).abs() < 1e-12, "{}", outcome.loss);
}

fn solve(problem: Problem, start: &[f64]) -> Outcome {
    let outcome = run(problem, &mut Lbfgs::new(start, SETTINGS), 1000);
    assert!(matches!(outcome.stopped, Some(Halt::Converged { .. })), "{:?}", outcome.stopped);
    outcome
}

/// Asserts that the counts are within 10 % of the expected iterations and evaluations.
fn assert_counts(outcome: &Outcome, iterations: usize, evaluations: usize) {
    let close = |reached: usize, expected: usize| 10 * reached.abs_diff(expected) <= expected;
    let reached = (outcome.accepted.len(), outcome.evaluations);
    assert!(
        close(reached.0, iterations) && close(reached.1, evaluations),
        "iterations and evaluations {reached:?}, expected about {:?}",
        (iterations, evaluations)
    );
}
