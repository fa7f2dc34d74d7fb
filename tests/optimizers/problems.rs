//! The functions to minimize, and the driver that answers an optimizer with them.

use std::sync::Arc;

use engine::optimizers::{Ask, Halt, Iteration, Lbfgs, Scalar, Tell};
use model::trial_point;

/// A function of n variables: its value and gradient at a point.
pub(crate) type Problem<'a> = &'a dyn Fn(&[f64]) -> (f64, Vec<f64>);

/// The outcome of a run of an optimizer.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) accepted: Vec<Iteration>,
    /// Number of answers; losses along a line count as one.
    pub(crate) evaluations: usize,
    pub(crate) loss: f64,
    /// `None` if the allowed number of answers ran out first.
    pub(crate) stopped: Option<Halt>,
}

/// Answers an optimizer until it stops or has had `limit` answers.
pub(crate) fn run<T: Scalar>(problem: Problem, optimizer: &mut Lbfgs<T>, limit: usize) -> Outcome {
    let mut accepted = Vec::new();
    let mut evaluations = 0;
    let stopped = loop {
        let Some(answer) = answer(problem, optimizer.ask()) else {
            let Ask::Stopped(reason) = optimizer.ask() else { unreachable!() };
            break Some(reason);
        };
        if evaluations == limit {
            break None;
        }
        evaluations += 1;
        let before = optimizer.iteration();
        let progress = optimizer.tell(answer).expect("the answer matches the request");
        assert_eq!(optimizer.iteration(), before + u64::from(progress.accepted.is_some()));
        accepted.extend(progress.accepted);
    };
    Outcome { accepted, evaluations, loss: optimizer.loss().expect("an answer was given"), stopped }
}

/// The true answer to a request; `None` if the optimizer has stopped.
pub(crate) fn answer<T: Scalar>(problem: Problem, ask: Ask<T>) -> Option<Tell<T>> {
    match ask {
        Ask::Gradient { point, .. } => {
            let (loss, gradient) = problem(&widen(&point));
            Some(Tell::Gradient { loss, gradient: gradient.into_iter().map(T::from_f64).collect() })
        }
        Ask::Losses { base, direction, steps, .. } => {
            let loss =
                |&step: &T| problem(&widen(&trial_point(&base, &direction, step).collect::<Vec<T>>())).0;
            Some(Tell::Losses(steps.iter().map(loss).collect()))
        }
        Ask::Local { .. } => unreachable!("full-batch L-BFGS asks for no local steps"),
        Ask::Stopped(_) => None,
    }
}

pub(crate) fn widen<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

/// The start of the Rosenbrock problems: -1.2, 1, -1.2, 1, ...
pub(crate) fn rosenbrock_start(length: usize) -> Arc<[f64]> {
    [-1.2, 1.0].into_iter().cycle().take(length).collect()
}

/// Sum over i of 100 (x_(i+1) - x_i^2)^2 + (1 - x_i)^2; minimum 0 at 1, ..., 1.
pub(crate) fn chained_rosenbrock(x: &[f64]) -> (f64, Vec<f64>) {
    let mut loss = 0.0;
    let mut gradient = vec![0.0; x.len()];
    for i in 0..x.len() - 1 {
        let (valley, slope) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        loss += 100.0 * valley * valley + slope * slope;
        gradient[i] += -400.0 * x[i] * valley - 2.0 * slope;
        gradient[i + 1] += 200.0 * valley;
    }
    (loss, gradient)
}

/// The sum of independent two-dimensional Rosenbrock functions.
pub(crate) fn rosenbrock_pairs(x: &[f64]) -> (f64, Vec<f64>) {
    let pairs: Vec<_> = x.chunks_exact(2).map(chained_rosenbrock).collect();
    let loss = pairs.iter().map(|(loss, _)| loss).sum();
    (loss, pairs.into_iter().flat_map(|(_, gradient)| gradient).collect())
}

/// Sum over i of lambda_i (x_i - 1)^2 / 2, with lambda from 1 to 10^`decades` in a geometric sequence.
pub(crate) fn quadratic(decades: f64) -> impl Fn(&[f64]) -> (f64, Vec<f64>) {
    move |x| {
        let last = (x.len() - 1) as f64;
        let curvature = |i: usize| 10f64.powf(decades * i as f64 / last);
        let gradient: Vec<f64> = x.iter().enumerate().map(|(i, x)| curvature(i) * (x - 1.0)).collect();
        (x.iter().zip(&gradient).map(|(x, g)| 0.5 * g * (x - 1.0)).sum(), gradient)
    }
}

/// Logistic regression of benign against malignant, on standardized features and a constant: mean of ln(1 +
/// exp(-b a'x)) + 0.0005 ||x||^2.
pub(crate) struct LogisticRegression {
    /// The rows a, with the constant 1 last.
    features: Vec<Vec<f64>>,
    /// The labels b: 1 or -1.
    labels: Vec<f64>,
}

impl LogisticRegression {
    /// The Wisconsin breast cancer data: 569 rows of 30 numbers and a label. The first line of the file gives
    /// counts and class names.
    pub(crate) fn breast_cancer() -> Self {
        let text = include_str!("../data/breast_cancer.csv");
        let rows = text.lines().skip(1).map(|line| {
            line.split(',').map(|field| field.parse::<f64>().expect("a number")).collect::<Vec<_>>()
        });
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        for mut row in rows {
            let label = row.pop().expect("a label");
            labels.push(if label == 1.0 { 1.0 } else { -1.0 });
            features.push(row);
        }
        standardize(&mut features);
        features.iter_mut().for_each(|row| row.push(1.0));
        Self { features, labels }
    }

    pub(crate) fn parameters(&self) -> usize {
        self.features[0].len()
    }

    pub(crate) fn evaluate(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let count = self.labels.len() as f64;
        let mut loss = 0.0;
        let mut gradient = vec![0.0; x.len()];
        for (row, label) in self.features.iter().zip(&self.labels) {
            let margin = label * row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>();
            // ln(1 + exp(-margin)) without overflow.
            loss += (-margin.abs()).exp().ln_1p() + (-margin).max(0.0);
            let weight = -label / (1.0 + margin.exp());
            gradient.iter_mut().zip(row).for_each(|(g, a)| *g += weight * a);
        }
        gradient.iter_mut().zip(x).for_each(|(g, x)| *g = *g / count + 1e-3 * x);
        (loss / count + 0.5e-3 * x.iter().map(|x| x * x).sum::<f64>(), gradient)
    }
}

/// Gives every column mean 0 and (population) standard deviation 1.
fn standardize(rows: &mut [Vec<f64>]) {
    let count = rows.len() as f64;
    for column in 0..rows[0].len() {
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / count;
        let variance = rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        rows.iter_mut().for_each(|row| row[column] = (row[column] - mean) / deviation);
    }
}
