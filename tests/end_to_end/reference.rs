//! The run as a plain loop in one thread: the model over all units, L-BFGS, nothing else.

use coordinator::data;
use coordinator::training::examples_per_unit;
use engine::Measure;
use engine::aggregator::mean_gradient;
use engine::optimizers::{Ask, Lbfgs, LbfgsSettings, Tell};
use engine::scales::{self, Found};
use model::{
    Arithmetic, Examples, Features, GradientResults, Network, NetworkSpec, Pass, Scratch, exact, trial_point,
};
use protocol::scales::Scales;

use crate::problem::{ITERATIONS, MINIBATCH, Problem, SEED};

/// BLAKE3 of the weights that the problem's run must arrive at, in hexadecimal.
pub(crate) fn weights_digest(problem: &Problem, arithmetic: Arithmetic) -> String {
    let loaded = data::load(&problem.csv(), &data::ReadOptions::default()).unwrap();
    let data = data::prepare(loaded.train, None, 0.2, SEED).unwrap();
    let spec = NetworkSpec::from_json(&std::fs::read_to_string(problem.network()).unwrap()).unwrap();
    let network = Network::new(&spec, data.preprocessing.offset.len(), data.task()).unwrap();
    let unit_size = examples_per_unit(data.train.len(), MINIBATCH) as usize;
    let count = u32::try_from(data.train.len()).unwrap();
    let train = data.train.in_memory().unwrap();
    let mut optimizer =
        Lbfgs::new(network.initialize(SEED)[..network.trainable()].to_vec(), LbfgsSettings::default());
    let mut scratch = Scratch::new();
    let mut scales: Option<Scales> = None;
    let units = || {
        (0..data.train.len()).step_by(unit_size).map(|start| start..(start + unit_size).min(data.train.len()))
    };
    // Loss of each example and, if asked for, the gradient of one unit.
    let mut unit = |weights: &[f32], range: std::ops::Range<usize>| {
        let features = Features::new(train.rows(range.clone()), &data.preprocessing);
        let examples = Examples { features, targets: train.targets(range.clone()) };
        let (mut gradient, mut losses) = (vec![0.0; network.parameters()], vec![0.0; range.len()]);
        network.gradient(
            arithmetic,
            &mut scratch,
            weights,
            &Pass::new(1),
            &examples,
            GradientResults { gradient: &mut gradient, losses: &mut losses },
        );
        (gradient, losses)
    };
    while optimizer.iteration() < ITERATIONS {
        let (answer, next) = match optimizer.ask() {
            Ask::Gradient { point, .. } => {
                let scale = *scales.get_or_insert_with(|| {
                    let (gradient, losses) = unit(&point, units().next().unwrap());
                    let largest = gradient.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                    let loss = losses.iter().map(|&loss| f64::from(loss)).sum();
                    scales::for_unit(&Measure { largest: largest.into(), loss, ..Measure::fitting() })
                });
                let (mut gradient_sum, mut loss_sum) = (vec![0; network.parameters()], [0]);
                for range in units() {
                    let (gradient, losses) = unit(&point, range);
                    exact::add(&mut gradient_sum, &gradient, scale.vector_exponent);
                    losses.iter().for_each(|loss| exact::add(&mut loss_sum, &[*loss], scale.loss_exponent));
                }
                let (vector, loss, units) = (&gradient_sum[..], loss_sum[0], units().count() as u32);
                let next = scales::after(
                    scale,
                    scale,
                    &Found { vector, statistics: &[], loss, units, evaluation: None },
                );
                let loss = exact::to_f64(loss_sum[0], scale.loss_exponent) / f64::from(count);
                let gradient =
                    mean_gradient(&network, &point, &gradient_sum, scale.vector_exponent, count.into());
                (Tell::Gradient { loss: loss + network.penalty(&point), gradient }, Some(next))
            }
            Ask::Losses { base, direction, steps, .. } => {
                let scale = scales.unwrap();
                let loss_at = |&step: &f32| {
                    let point: Vec<f32> = trial_point(&base, &direction, step).collect();
                    let mut sum = [0];
                    for range in units() {
                        let (_, losses) = unit(&point, range);
                        losses.iter().for_each(|loss| exact::add(&mut sum, &[*loss], scale.loss_exponent));
                    }
                    exact::to_f64(sum[0], scale.loss_exponent) / f64::from(count) + network.penalty(&point)
                };
                (Tell::Losses(steps.iter().map(loss_at).collect()), None)
            }
            Ask::Local { .. } => unreachable!("full-batch L-BFGS asks for no local steps"),
            Ask::Stopped(reason) => panic!("the problem is harder than that: {reason}"),
        };
        let is_start = optimizer.loss().is_none();
        let accepted = optimizer.tell(answer).unwrap().accepted.is_some();
        if is_start || accepted {
            scales = next.or(scales);
        }
    }
    blake3::Hash::from_bytes(model::weights_digest(optimizer.weights())).to_hex().to_string()
}
