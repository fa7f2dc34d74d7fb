//! Figures beside the accuracy or loss on the test examples, because either alone may mislead.

use serde::Serialize;

use super::words::{loss, percent};

/// See the module's description. Field names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TestQuality {
    /// For classes.
    Classes {
        /// The share of the most frequent class: the accuracy of always naming that class.
        test_majority: f64,
        /// The mean over the classes of the share of recognized examples.
        test_balanced_accuracy: f64,
    },
    /// For numbers, in the labels' own units, one for each label column.
    Numbers {
        /// Root of the mean squared error.
        #[serde(rename = "test_rmse")]
        rmse: Vec<f64>,
        /// Mean absolute error.
        #[serde(rename = "test_mae")]
        mae: Vec<f64>,
    },
}

impl TestQuality {
    /// Computes the figures from the recognized examples and all examples of each class. A class without
    /// examples does not count.
    pub(crate) fn of_classes(right: &[u64], all: &[u64]) -> TestQuality {
        let examples: u64 = all.iter().sum();
        let most = all.iter().max().copied().unwrap_or(0);
        let recalls = right.iter().zip(all).filter(|(_, all)| **all > 0);
        let recalls: Vec<f64> = recalls.map(|(right, all)| *right as f64 / *all as f64).collect();
        TestQuality::Classes {
            test_majority: most as f64 / examples.max(1) as f64,
            test_balanced_accuracy: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
        }
    }

    /// Rows for people, under the accuracy or loss.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        match self {
            TestQuality::Classes { test_majority, test_balanced_accuracy } => vec![
                (
                    "  by class",
                    format!("{} of each class recognized, on average", percent(*test_balanced_accuracy)),
                ),
                (
                    "  to beat",
                    format!("{} by always naming the most frequent class", percent(*test_majority)),
                ),
            ],
            TestQuality::Numbers { rmse, mae } => {
                let list =
                    |errors: &[f64]| errors.iter().map(|&error| loss(error)).collect::<Vec<_>>().join(", ");
                vec![(
                    "test error",
                    format!(
                        "{} (root mean square), {} (mean absolute), in the label's units",
                        list(rmse),
                        list(mae)
                    ),
                )]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_the_frequent_class_only_is_seen_through() {
        // 98 of one class, all recognized; 2 of another, none recognized; a third without examples.
        let quality = TestQuality::of_classes(&[98, 0, 0], &[98, 2, 0]);
        assert_eq!(quality, TestQuality::Classes { test_majority: 0.98, test_balanced_accuracy: 0.5 });
        let rows: String = quality.rows().into_iter().map(|(_, text)| text).collect();
        assert!(rows.contains("98.00 %") && rows.contains("50.00 %"), "{rows}");
    }
}
