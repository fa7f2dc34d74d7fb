//! How good a trained model is on examples with known answers: the figures that people expect, each beside
//! that of the best answer that ignores the example, because alone it may mislead.
//!
//! Counts are integers and sums run in the order of the examples, so the figures do not depend on threads.
//! `reference/generate.py` makes the tests' expected values with scikit-learn.

mod classes;
mod numbers;
mod ranking;
mod worst;

use engine::Examination;
use model::exact::to_f64;
use model::{LossSpec, Network, NetworkSpec};
use protocol::examination::Layout;
use serde::Serialize;

use self::worst::Worst;
use crate::data::{DataError, ExampleTable, Examples, TargetSchema, TargetValues};
use crate::inference::{Trained, batches};
use crate::run_directory::SavedModel;

pub(crate) use self::classes::ClassTally;
pub use self::classes::{ClassFigures, ClassQuality, Means, NamingClass};
pub use self::numbers::{ColumnQuality, NamingMean};
pub(crate) use self::worst::{Mistake, Wrong};

/// Bytes of examples outside of memory that are read at a time for their truth alone.
const TRUTH_BYTES: usize = 64 << 20;

/// See the module's description. Field names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Quality {
    /// Of predicted classes.
    Classes(Box<ClassQuality>),
    /// Of predicted numbers.
    Numbers {
        /// One for each label column.
        columns: Vec<ColumnQuality>,
    },
}

/// Measures a model on examples. `mean_loss` is its loss on them, as [`Trained::measure`] gives it.
pub(crate) fn of(model: &SavedModel, table: &ExampleTable, mean_loss: f64) -> Quality {
    judge(model, table, mean_loss).0
}

/// The same with the worst mistakes, the worst first.
pub(crate) fn judge(model: &SavedModel, table: &ExampleTable, mean_loss: f64) -> (Quality, Vec<Mistake>) {
    let mut worst = Worst::default();
    let trained = Trained::of(model);
    let outputs = model.network.outputs();
    let answers = batches(table.len()).map(|range| (range.clone(), trained.answers(table.features(), range)));
    let quality = match (table.target_values(), &model.preparation.targets) {
        (TargetValues::Classes(truth), TargetSchema::Classes(names)) => {
            let mut tally = ClassTally::new(names.len(), truth.len());
            for (range, answers) in answers {
                tally.add(&truth[range.clone()], &answers);
                for (example, probabilities) in range.zip(answers.chunks_exact(outputs)) {
                    worst.class(example, truth[example].into(), probabilities);
                }
            }
            let log_loss = match plain(&model.network) {
                Some(network) => {
                    let trained = Trained { network: &network, ..trained };
                    trained.measure(table).loss_sum / table.len() as f64
                }
                None => mean_loss,
            };
            Quality::Classes(Box::new(tally.finish(names, log_loss)))
        }
        (TargetValues::Numbers { values, .. }, TargetSchema::Numbers(names)) => {
            let mut tallies = numbers::tallies(values, outputs);
            for (range, answers) in answers {
                let truth = &values[range.start * outputs..range.end * outputs];
                let rows = truth.chunks_exact(outputs).zip(answers.chunks_exact(outputs));
                range.zip(rows).for_each(|(example, (truth, answer))| worst.numbers(example, truth, answer));
                for (index, (truth, answer)) in truth.iter().zip(&answers).enumerate() {
                    tallies[index % outputs].add(f64::from(*truth), f64::from(*answer));
                }
            }
            of_columns(model, &tallies, names)
        }
        _ => unreachable!("the examples were read by the model's preparation"),
    };
    (quality, worst.finish())
}

/// The quality of a model on examples as volunteers have counted it. `None` if these counts cannot be those of such
/// examples.
///
/// # Errors
/// When the examples cannot be read.
pub(crate) fn of_examination(
    model: &SavedModel,
    examples: &Examples,
    found: &Examination,
) -> Result<Option<Quality>, DataError> {
    let Some(layout) = Layout::of(model.network.task(), model.network.parameters()) else { return Ok(None) };
    let Examination { scales, vector, .. } = found;
    if examples.is_empty() || !layout.is_possible(vector, examples.len() as u64) {
        return Ok(None);
    }
    let real = |real: usize| to_f64(vector[real], layout.exponent_of(real, scales));
    match (layout, &model.preparation.targets) {
        (Layout::Classes { classes, .. }, TargetSchema::Classes(names)) if names.len() == classes => {
            let log_loss = real(0) / examples.len() as f64;
            Ok(Some(Quality::Classes(Box::new(classes::counted(layout, vector, names, log_loss)))))
        }
        (Layout::Numbers { columns }, TargetSchema::Numbers(names)) if names.len() == columns => {
            // What the examples are does not depend on the network: it costs nothing.
            let truth = |see: &mut dyn FnMut(&[f32])| {
                examples.each_piece(TRUTH_BYTES, |table, range| {
                    if let TargetValues::Numbers { values, .. } = table.target_values() {
                        see(&values[range.start * columns..range.end * columns]);
                    }
                })
            };
            let mut tallies = numbers::tallies_of(columns, examples.len(), truth)?;
            for (column, tally) in tallies.iter_mut().enumerate() {
                tally.add_sums(real(column), real(columns + column));
            }
            Ok(Some(of_columns(model, &tallies, names)))
        }
        _ => Ok(None),
    }
}

fn of_columns(model: &SavedModel, tallies: &[numbers::Tally], names: &[String]) -> Quality {
    let deviations = model.target_scaling.as_ref().map(|scaling| &scaling.deviation[..]);
    let unit = |column: usize| deviations.map_or(1.0, |of| of[column]);
    let columns = tallies.iter().zip(names).enumerate();
    Quality::Numbers {
        columns: columns.map(|(at, (tally, name))| tally.finish(name.clone(), unit(at))).collect(),
    }
}

/// The network with cross-entropy alone as its loss; `None` if that is its loss already.
fn plain(network: &Network) -> Option<Network> {
    let spec = network.spec();
    if spec.label_smoothing == 0.0 && spec.class_weights.is_empty() {
        return None;
    }
    let spec = NetworkSpec {
        loss: Some(LossSpec::SoftmaxCrossEntropy),
        label_smoothing: 0.0,
        class_weights: Vec::new(),
        ..spec.clone()
    };
    let network = Network::new(&spec, network.features(), network.task());
    Some(network.expect("a simpler loss fits wherever the network's own does"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Reference {
        classes: Vec<ClassesCase>,
        numbers: Vec<NumbersCase>,
    }

    #[derive(Deserialize)]
    struct ClassesCase {
        truth: Vec<u16>,
        probabilities: Vec<Vec<f32>>,
        accuracy: f64,
        balanced_accuracy: f64,
        roc_auc: Option<f64>,
        roc_auc_weighted: Option<f64>,
        expected_calibration_error: f64,
        #[serde(rename = "macro")]
        macro_mean: [f64; 3],
        weighted: [f64; 3],
        by_class: Vec<[Option<f64>; 4]>,
        trivial_accuracy: f64,
        trivial_log_loss: f64,
        confusion: Vec<Vec<u64>>,
    }

    #[derive(Deserialize)]
    struct NumbersCase {
        truth: Vec<f32>,
        answers: Vec<f32>,
        rmse: f64,
        mae: f64,
        r2: f64,
        mean_rmse: f64,
        mean_mae: f64,
    }

    fn reference() -> Reference {
        serde_json::from_str(include_str!("reference/figures.json")).unwrap()
    }

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12, "{found}, but scikit-learn has {expected}");
    }

    #[track_caller]
    fn close_if_known(found: Option<f64>, expected: Option<f64>) {
        assert_eq!(found.is_some(), expected.is_some(), "{found:?}, but scikit-learn has {expected:?}");
        close(found.unwrap_or(0.0), expected.unwrap_or(0.0));
    }

    #[test]
    fn figures_of_classes_are_scikit_learns() {
        for case in reference().classes {
            let classes = case.probabilities[0].len();
            let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
            let mut tally = ClassTally::new(classes, case.truth.len());
            // In two parts, as a large set comes.
            let (first, second) = case.truth.split_at(3);
            tally.add(first, &case.probabilities[..3].concat());
            tally.add(second, &case.probabilities[3..].concat());
            let found = tally.finish(&names, 0.5);
            close(found.accuracy, case.accuracy);
            close(found.balanced_accuracy, case.balanced_accuracy);
            close_if_known(found.roc_auc, case.roc_auc);
            close_if_known(found.roc_auc_weighted, case.roc_auc_weighted);
            close(found.expected_calibration_error, case.expected_calibration_error);
            for (means, expected) in
                [(found.macro_mean, case.macro_mean), (found.weighted_mean, case.weighted)]
            {
                close(means.precision, expected[0]);
                close(means.recall, expected[1]);
                close(means.f1, expected[2]);
            }
            for (class, [precision, recall, f1, roc_auc]) in found.by_class.iter().zip(&case.by_class) {
                close_if_known(Some(class.precision), *precision);
                close_if_known(Some(class.recall), *recall);
                close_if_known(Some(class.f1), *f1);
                close_if_known(class.roc_auc, *roc_auc);
            }
            close(found.most_frequent.accuracy, case.trivial_accuracy);
            close(found.most_frequent.log_loss, case.trivial_log_loss);
            assert_eq!(found.confusion, Some(case.confusion));
        }
    }

    #[test]
    fn figures_of_numbers_are_scikit_learns_in_the_labels_unit() {
        const UNIT: f64 = 1000.0;
        for case in reference().numbers {
            let mut tally = numbers::tallies(&case.truth, 1).remove(0);
            for (truth, answer) in case.truth.iter().zip(&case.answers) {
                tally.add(f64::from(*truth), f64::from(*answer));
            }
            let found = tally.finish("price".to_owned(), UNIT);
            close(found.rmse / UNIT, case.rmse);
            close(found.mae / UNIT, case.mae);
            close_if_known(found.r2, Some(case.r2));
            close(found.mean.rmse / UNIT, case.mean_rmse);
            close(found.mean.mae / UNIT, case.mean_mae);
        }
    }
}
