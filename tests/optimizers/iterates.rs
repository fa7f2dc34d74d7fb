//! The first ten accepted points on the reference problems, compared with an independent NumPy
//! implementation: `reference_lbfgs.py` wrote `iterates.json`. It uses the two-loop recursion, so the
//! comparison covers two different ways to compute the same mathematics.

use std::collections::BTreeMap;

use engine::optimizers::{Lbfgs, LbfgsSettings};
use serde::Deserialize;

use crate::problems::{
    LogisticRegression, Problem, answer, chained_rosenbrock, rosenbrock_pairs, rosenbrock_start,
};

/// Maximum relative difference of an element.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Reference {
    iterates: Vec<Vec<f64>>,
}

#[test]
fn ten_iterates_are_those_of_an_independent_implementation() {
    let references: BTreeMap<String, Reference> =
        serde_json::from_str(include_str!("iterates.json")).unwrap();
    let regression = LogisticRegression::breast_cancer();
    let logistic = |x: &[f64]| regression.evaluate(x);
    let problems: [(&str, Problem, Vec<f64>); 4] = [
        ("rosenbrock", &chained_rosenbrock, rosenbrock_start(2).to_vec()),
        ("chained rosenbrock of ten", &chained_rosenbrock, rosenbrock_start(10).to_vec()),
        ("fifty rosenbrock pairs", &rosenbrock_pairs, rosenbrock_start(100).to_vec()),
        ("breast cancer logistic regression", &logistic, vec![0.0; regression.parameters()]),
    ];
    assert_eq!(references.len(), problems.len());
    for (name, problem, start) in problems {
        let expected = &references[name].iterates;
        assert_eq!(expected.len(), 10, "{name}");
        for (number, (point, expected)) in accepted_points(problem, start).zip(expected).enumerate() {
            assert_eq!(point.len(), expected.len(), "{name}");
            for (reached, expected) in point.iter().zip(expected) {
                let miss = (reached - expected).abs();
                assert!(
                    miss <= TOLERANCE * expected.abs(),
                    "{name}, iterate {}: {reached} instead of {expected}",
                    number + 1
                );
            }
        }
    }
}

/// The points that L-BFGS with ten pairs accepts until it stops.
fn accepted_points(problem: Problem<'_>, start: Vec<f64>) -> impl Iterator<Item = Vec<f64>> {
    let mut optimizer = Lbfgs::new(start, LbfgsSettings::default());
    std::iter::from_fn(move || {
        loop {
            let reply = answer(problem, optimizer.ask()).expect("the optimizer goes on");
            if optimizer.tell(reply).expect("the answer matches the request").accepted.is_some() {
                return Some(optimizer.weights().to_vec());
            }
        }
    })
}
