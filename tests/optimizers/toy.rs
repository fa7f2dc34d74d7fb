//! A training set small enough to reason about. Each example pulls the weights toward its own target, in
//! directions with very different curvature. The whole loss is a quadratic with a known minimum; single
//! examples disagree about it.

use std::sync::Arc;

use engine::optimizers::{Ask, Batch, Optimizer, Segment, Tell};
use model::trial_point;

pub(crate) const EXAMPLES: usize = 240;
pub(crate) const UNIT: usize = 10;
const MINIBATCH: usize = 4;
/// The curvatures; the largest is 100 times the smallest.
pub(crate) const CURVATURES: [f64; 5] = [0.02, 0.06, 0.2, 0.6, 2.0];

/// The target of an example whose loss is 1 + half the sum of curvature * (w - target)^2.
pub(crate) fn target(example: usize, index: usize) -> f64 {
    // Fractional parts of multiples of the golden ratio: evenly spread from -1/4 to 1/4 around 1.
    let spread = (example as f64 + 1.0) * (index as f64 + 1.0) * 0.618_033_988_749_895;
    0.75 + 0.5 * spread.fract()
}

pub(crate) fn start() -> Vec<f32> {
    vec![-4.0; CURVATURES.len()]
}

/// Mean loss and gradient over some examples.
pub(crate) fn mean(weights: &[f32], examples: impl Iterator<Item = usize> + Clone) -> (f64, Vec<f64>) {
    let count = examples.clone().count() as f64;
    let mut loss = 1.0;
    let mut gradient = vec![0.0; weights.len()];
    for example in examples {
        for (index, curvature) in CURVATURES.iter().enumerate() {
            let miss = f64::from(weights[index]) - target(example, index);
            loss += 0.5 * curvature * miss * miss / count;
            gradient[index] += curvature * miss / count;
        }
    }
    (loss, gradient)
}

/// The lowest mean loss over all examples.
pub(crate) fn least_loss() -> f64 {
    let means: Vec<f32> = (0..CURVATURES.len())
        .map(|index| (0..EXAMPLES).map(|example| target(example, index)).sum::<f64>() / EXAMPLES as f64)
        .map(|mean| mean as f32)
        .collect();
    mean(&means, 0..EXAMPLES).0
}

/// The true answer to a request; `None` if the optimizer has stopped.
pub(crate) fn answer(ask: &Ask<f32>) -> Option<Tell<f32>> {
    let narrow = |gradient: Vec<f64>| gradient.iter().map(|value| *value as f32).collect::<Arc<[f32]>>();
    Some(match ask {
        Ask::Gradient { point, batch: Batch::Full, .. } => {
            let (loss, gradient) = mean(point, 0..EXAMPLES);
            Tell::Gradient { loss, gradient: narrow(gradient) }
        }
        Ask::Gradient { point, batch: Batch::Segments(segments), .. } => {
            let answer = |segment: &Segment| {
                let (loss, gradient) = mean(point, examples_of(*segment));
                (loss, narrow(gradient))
            };
            Tell::Segments(segments.iter().map(answer).collect())
        }
        Ask::Losses { base, direction, steps, batch, .. } => {
            let examples: Vec<usize> = match batch {
                Batch::Full => (0..EXAMPLES).collect(),
                Batch::Segments(segments) => segments.iter().flat_map(|s| examples_of(*s)).collect(),
            };
            let loss = |step: &f32| {
                let point: Vec<f32> = trial_point(base, direction, *step).collect();
                mean(&point, examples.iter().copied()).0
            };
            Tell::Losses(steps.iter().map(loss).collect())
        }
        Ask::Local { point, replicas, steps, learning_rate, draw } => {
            local(point, *replicas as usize, *steps as usize, *learning_rate, *draw)
        }
        Ask::Stopped(_) => return None,
    })
}

/// Examples of a segment, without a different permutation for each epoch.
fn examples_of(segment: Segment) -> impl Iterator<Item = usize> + Clone {
    let units = segment.first..segment.first + u64::from(segment.units);
    let scattered = |position: u64| (position * 7 % (EXAMPLES / UNIT) as u64) as usize;
    units.flat_map(move |position| (0..UNIT).map(move |i| scattered(position) * UNIT + i))
}

fn local(point: &[f32], replicas: usize, steps: usize, learning_rate: f32, draw: u64) -> Tell<f32> {
    let (mut losses, mut moved) = (0.0, vec![0.0; point.len()]);
    for replica in 0..replicas {
        let pool = replica * EXAMPLES / replicas..(replica + 1) * EXAMPLES / replicas;
        let mut weights = point.to_vec();
        for step in 0..steps {
            // A different path through the pool for each draw.
            let stride = 1 + 2 * (draw as usize % 5);
            let pick = |i: usize| pool.start + ((step * MINIBATCH + i) * stride + replica) % pool.len();
            let (loss, gradient) = mean(&weights, (0..MINIBATCH).map(pick));
            losses += loss;
            for (weight, slope) in weights.iter_mut().zip(gradient) {
                *weight -= learning_rate * slope as f32;
            }
        }
        for (moved, (there, here)) in moved.iter_mut().zip(weights.iter().zip(point)) {
            *moved += (f64::from(*there) - f64::from(*here)) / replicas as f64;
        }
    }
    let displacement = moved.iter().map(|value| *value as f32).collect();
    Tell::Local { loss: losses / (replicas * steps) as f64, displacement }
}

/// The course of an optimizer's run.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) asked: Vec<Ask<f32>>,
    pub(crate) notes: Vec<String>,
    /// Mean loss over all examples at the end.
    pub(crate) loss: f64,
    pub(crate) stopped: Option<String>,
}

/// Answers an optimizer until it stops or has had `limit` answers.
pub(crate) fn run(optimizer: &mut Optimizer, limit: usize) -> Course {
    let mut course = Course::default();
    while course.asked.len() < limit {
        let ask = optimizer.ask();
        let Some(told) = answer(&ask) else {
            let Ask::Stopped(reason) = ask else { unreachable!() };
            course.stopped = Some(reason.to_string());
            break;
        };
        let before = optimizer.iteration();
        let progress = optimizer.tell(told).expect("the answer matches the request");
        assert_eq!(optimizer.iteration(), before + u64::from(progress.accepted.is_some()));
        course.notes.extend(progress.note);
        course.asked.push(ask);
    }
    course.loss = mean(optimizer.weights(), 0..EXAMPLES).0;
    course
}
