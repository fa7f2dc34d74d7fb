//! The figures of the saved weights, measured once these are final exactly as `shoal evaluate` does, so that
//! a training and an evaluation of its model agree.

use engine::{Figures, StopReason};

use crate::data::{DataError, Examples, Prepared};
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
/// Bytes of a test set outside of memory that is brought into it for the figures beside loss and accuracy.
const JUDGED_BYTES_MAX: usize = 256 << 20;

/// Replaces the figures measured on the way by the figures of the saved weights. Gives the worst mistakes on the test
/// examples.
pub(super) fn measure(summary: &mut Summary, model: &SavedModel, data: &Prepared) -> Vec<ShownMistake> {
    let trained = Trained::of(model);
    let operations_max = match summary.stop_reason {
        StopReason::Time(_) => OPERATIONS_AFTER_TIME_MAX,
        _ => OPERATIONS_MAX,
    };
    let is_quick = |examples: &&Examples| {
        let layers = model.network.layers().iter().map(|layer| layer.flops as f64).sum::<f64>();
        layers * examples.len() as f64 <= operations_max
    };
    // Without what cannot be read, the figures of the training stand.
    let measure = |examples: &Examples| {
        let found = trained.measure_all(examples).inspect_err(unread).ok()?;
        let count = examples.len() as f64;
        Some((found.loss_sum / count, data.class_names().map(|_| found.correct as f64 / count)))
    };
    let figures = summary.figures.get_or_insert(Figures::UNKNOWN);
    if let Some((loss, _)) = Some(&data.train).filter(is_quick).and_then(measure) {
        figures.training_set_loss = Some(loss);
    }
    if let Some((loss, accuracy)) = data.validation.as_ref().filter(is_quick).and_then(measure) {
        (figures.validation_loss, figures.validation_accuracy) = (Some(loss), accuracy);
    }
    let Some(test) = data.test.as_ref().filter(is_quick) else { return Vec::new() };
    let Some((loss, accuracy)) = measure(test) else { return Vec::new() };
    (figures.test_loss, figures.test_accuracy) = (Some(loss), accuracy);
    let Some(table) = test.within(JUDGED_BYTES_MAX).inspect_err(unread).ok().flatten() else {
        return Vec::new();
    };
    let (quality, worst) = quality::judge(model, &table, loss);
    summary.test_quality = Some(quality);
    show_mistakes(&worst, &table, &data.preparation, data.target_scaling.as_ref())
}

fn unread(error: &DataError) {
    tracing::warn!("the final figures are those of the training: {error}");
}
