//! The figures of the saved weights, measured once these are final exactly as `shoal evaluate` does, so that
//! a training and an evaluation of its model agree.

use engine::{Figures, StopReason};

use crate::data::{ExampleTable, Prepared};
use crate::inference::Trained;
use crate::quality;
use crate::report::{ShownMistake, Summary, show_mistakes};
use crate::run_directory::SavedModel;

/// Most floating-point operations for measuring a set once more: some seconds on one core. A larger set keeps
/// the loss and accuracy that volunteers last measured during the training, exactly but in another order of
/// additions, and has no other figures: `shoal evaluate` measures them.
const OPERATIONS_MAX: f64 = 3e11;
/// The same after a limit on the time: whoever gave one does not want to wait long after it.
const OPERATIONS_AFTER_TIME_MAX: f64 = 3e10;

/// Replaces the figures measured on the way by the figures of the saved weights. Gives the worst mistakes on the test
/// examples.
pub(super) fn measure(summary: &mut Summary, model: &SavedModel, data: &Prepared) -> Vec<ShownMistake> {
    let trained = Trained::of(model);
    let operations_max = match summary.stop_reason {
        StopReason::Time(_) => OPERATIONS_AFTER_TIME_MAX,
        _ => OPERATIONS_MAX,
    };
    let is_quick = |table: &&ExampleTable| {
        let layers = model.network.layers().iter().map(|layer| layer.flops as f64).sum::<f64>();
        layers * table.len() as f64 <= operations_max
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
        let (quality, worst) = quality::judge(model, table, loss);
        summary.test_quality = Some(quality);
        return show_mistakes(&worst, table, &data.preparation, data.target_scaling.as_ref());
    }
    Vec::new()
}
