//! The figures of the saved weights, measured once these are final exactly as `shoal evaluate` does, so that
//! a training and an evaluation of its model agree.

use engine::Figures;

use crate::data::{ExampleTable, Prepared, TargetValues};
use crate::inference::{Trained, batches, likeliest};
use crate::report::{Summary, TestQuality};
use crate::run_directory::SavedModel;

/// Most floating-point operations for measuring a set once more: some seconds on one core. A larger set keeps
/// the figures that the training last measured.
const OPERATIONS_MAX: f64 = 3e11;

/// Replaces the figures measured on the way by the figures of the saved weights.
pub(super) fn measure(summary: &mut Summary, model: &SavedModel, data: &Prepared) {
    let trained = trained(model);
    // Each parameter is used at least once, by a multiplication and an addition.
    let is_quick = |table: &&ExampleTable| {
        2.0 * model.network.parameters() as f64 * table.len() as f64 <= OPERATIONS_MAX
    };
    let measure = |table: &ExampleTable| {
        let (found, examples) = (trained.measure(table), table.len() as f64);
        let accuracy = data.class_names().map(|_| found.correct as f64 / examples);
        (found.loss_sum / examples, accuracy)
    };
    let figures = summary.figures.get_or_insert(Figures::UNKNOWN);
    if let Some(table) = Some(&data.train).filter(is_quick) {
        figures.training_set_loss = Some(measure(table).0);
    }
    if let Some(table) = data.validation.as_ref().filter(is_quick) {
        let (loss, accuracy) = measure(table);
        (figures.validation_loss, figures.validation_accuracy) = (Some(loss), accuracy);
    }
    if let Some(table) = data.test.as_ref().filter(is_quick) {
        let (loss, accuracy) = measure(table);
        (figures.test_loss, figures.test_accuracy) = (Some(loss), accuracy);
        summary.quality = Some(quality(model, data, table));
    }
}

/// The figures beside loss and accuracy that keep them from misleading.
fn quality(model: &SavedModel, data: &Prepared, table: &ExampleTable) -> TestQuality {
    let trained = trained(model);
    let outputs = model.network.outputs();
    let answers = batches(table.len()).map(|range| (range.clone(), trained.answers(table.features(), range)));
    match table.target_values() {
        TargetValues::Classes(truth) => {
            let classes = data.class_names().map_or(outputs, <[String]>::len);
            let (mut right, mut all) = (vec![0_u64; classes], vec![0_u64; classes]);
            for (range, answers) in answers {
                for (&class, probabilities) in truth[range].iter().zip(answers.chunks_exact(outputs)) {
                    all[usize::from(class)] += 1;
                    right[usize::from(class)] += u64::from(likeliest(probabilities) == usize::from(class));
                }
            }
            TestQuality::of_classes(&right, &all)
        }
        TargetValues::Numbers { values, .. } => {
            let (mut squares, mut absolute) = (vec![0.0; outputs], vec![0.0; outputs]);
            for (range, answers) in answers {
                let truth = &values[range.start * outputs..range.end * outputs];
                for (index, (truth, answer)) in truth.iter().zip(&answers).enumerate() {
                    let off = f64::from(*answer) - f64::from(*truth);
                    squares[index % outputs] += off * off;
                    absolute[index % outputs] += off.abs();
                }
            }
            let deviations = model.target_scaling.as_ref().map(|scaling| &scaling.deviation[..]);
            let examples = table.len() as f64;
            let unit = |column: usize| deviations.map_or(1.0, |of| f64::from(of[column]));
            TestQuality::Numbers {
                rmse: (0..outputs).map(|at| unit(at) * (squares[at] / examples).sqrt()).collect(),
                mae: (0..outputs).map(|at| unit(at) * absolute[at] / examples).collect(),
            }
        }
    }
}

fn trained(model: &SavedModel) -> Trained<'_> {
    Trained {
        network: &model.network,
        arithmetic: model.arithmetic,
        weights: &model.weights,
        preprocessing: &model.preprocessing,
    }
}
