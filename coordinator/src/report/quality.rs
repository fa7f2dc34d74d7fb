//! Rows of the summary beside the accuracy or loss on the test examples, because either alone may mislead.

use super::words::{loss, percent};
use crate::quality::{ClassQuality, ColumnQuality, Quality};

/// Rows for people, under the accuracy or loss.
pub(super) fn rows(quality: &Quality) -> Vec<(&'static str, String)> {
    match quality {
        Quality::Classes(quality) => of_classes(quality),
        Quality::Numbers { columns } => of_numbers(columns),
    }
}

fn of_classes(quality: &ClassQuality) -> Vec<(&'static str, String)> {
    let ClassQuality { balanced_accuracy, macro_mean, roc_auc, most_frequent, .. } = quality;
    // Volunteers count probabilities in steps.
    let within = quality
        .roc_auc_within
        .map_or_else(String::new, |within| format!(" (to {:.6} or better)", (within * 1e6).ceil() / 1e6));
    let area = roc_auc.map_or_else(String::new, |area| format!(", ROC AUC {}{within}", score(area)));
    vec![
        (
            "  by class",
            format!(
                "{} of each class recognized, on average; macro F1 {}{area}",
                percent(*balanced_accuracy),
                score(macro_mean.f1)
            ),
        ),
        (
            "  calibration",
            format!("expected error {} of the probabilities", percent(quality.expected_calibration_error)),
        ),
        (
            "  to beat",
            format!(
                "{} by always naming the most frequent class; loss {} with the classes' shares",
                percent(most_frequent.accuracy),
                loss(most_frequent.log_loss)
            ),
        ),
    ]
}

fn of_numbers(columns: &[ColumnQuality]) -> Vec<(&'static str, String)> {
    let list =
        |figure: &dyn Fn(&ColumnQuality) -> String| columns.iter().map(figure).collect::<Vec<_>>().join(", ");
    let r2 = |column: &ColumnQuality| column.r2.map_or_else(|| "unknown".to_owned(), score);
    vec![
        (
            "test error",
            format!(
                "{} (root mean square), {} (mean absolute), in the label's units",
                list(&|column| loss(column.rmse)),
                list(&|column| loss(column.mae))
            ),
        ),
        ("  R²", format!("{} of the variance explained, where 1 is all", list(&r2))),
        (
            "  to beat",
            format!(
                "{} (root mean square), {} (mean absolute) by always naming the mean",
                list(&|column| loss(column.mean.rmse)),
                list(&|column| loss(column.mean.mae))
            ),
        ),
    ]
}

/// A share or coefficient with four decimals: `0.9873`.
pub(crate) fn score(score: f64) -> String {
    format!("{score:.4}")
}
