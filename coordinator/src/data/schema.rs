//! What a model expects of data: columns, classes, and where the label was. It is saved with the model, so that a test
//! file, and later `evaluate` and `predict`, are read the same way as the training file was.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::limits;

/// The shape of the training data, for reading other files alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Number of features.
    pub features: usize,
    /// Names of the features, where the training file had a header.
    pub feature_names: Option<Vec<String>>,
    /// What is predicted.
    pub targets: TargetSchema,
    /// Names of the target columns, where the training file had a header.
    pub label_names: Option<Vec<String>>,
    /// Positions of the target columns in the training file, from 0; empty for images.
    pub label_columns: Vec<usize>,
    /// Shape of one image, where the features are pixels.
    pub image_shape: Option<Vec<usize>>,
}

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSchema {
    /// Names of the classes, in id order.
    Classes(Vec<String>),
    /// Names of the number columns.
    Numbers(Vec<String>),
}

impl Schema {
    /// The task as the model crate names it.
    pub fn task(&self) -> model::Task {
        // The readers keep both counts far below u32 (`limits`), and a model file is checked when it is loaded.
        let count = |names: &[String]| u32::try_from(names.len()).unwrap_or(u32::MAX);
        match &self.targets {
            TargetSchema::Classes(names) => model::Task::Classes(count(names)),
            TargetSchema::Numbers(names) => model::Task::Numbers(count(names)),
        }
    }

    /// The classes in id order; `None` when numbers are predicted.
    pub fn class_names(&self) -> Option<&[String]> {
        match &self.targets {
            TargetSchema::Classes(names) => Some(names),
            TargetSchema::Numbers(_) => None,
        }
    }

    /// The label as a person would call it, such as `price` or `column 4`; `None` for images, whose
    /// labels have no name.
    pub fn label_in_words(&self) -> Option<String> {
        const NAMED_MAX: usize = 3;
        let names: Vec<String> = match &self.label_names {
            Some(names) => names.clone(),
            None => self.label_columns.iter().map(|column| format!("column {column}")).collect(),
        };
        match names.len() {
            0 => None,
            count if count > NAMED_MAX => {
                Some(format!("{} and {} more", names[..NAMED_MAX].join(", "), count - NAMED_MAX))
            }
            _ => Some(names.join(", ")),
        }
    }

    /// Whether the parts fit together, as they do unless a model file was tampered with; else what does not.
    pub fn check(&self) -> Result<(), &'static str> {
        let named =
            |names: &Option<Vec<String>>, count| names.as_ref().is_none_or(|names| names.len() == count);
        let distinct: BTreeSet<usize> = self.label_columns.iter().copied().collect();
        let images = self.label_columns.is_empty() && self.label_count() == 1;
        let (targets, most_targets) = match &self.targets {
            TargetSchema::Classes(names) => (names.len(), limits::MAX_CLASSES),
            TargetSchema::Numbers(names) => (names.len(), limits::MAX_TARGETS),
        };
        if self.features == 0 || self.features > limits::MAX_COLUMNS {
            Err("the number of features is out of range")
        } else if targets == 0 || targets > most_targets {
            Err("the number of targets is out of range")
        } else if !named(&self.feature_names, self.features) {
            Err("there must be one name for each feature")
        } else if !named(&self.label_names, self.label_count()) {
            Err("there must be one name for each label column")
        } else if self.feature_names.is_some() != self.label_names.is_some() {
            Err("features and labels must both have names, or neither")
        } else if !images && distinct.len() != self.label_count() {
            Err("there must be one position for each label column")
        } else if distinct.last().is_some_and(|&last| last >= self.features + self.label_count()) {
            Err("a label column stands outside the file")
        } else {
            Ok(())
        }
    }

    /// Number of target columns in a CSV file.
    pub(super) fn label_count(&self) -> usize {
        match &self.targets {
            TargetSchema::Classes(_) => 1,
            TargetSchema::Numbers(names) => names.len(),
        }
    }

    /// Where the targets stand in a CSV file without names: as in the training file, or in the last column when that
    /// was images.
    pub(super) fn label_positions(&self) -> Vec<usize> {
        if self.label_columns.is_empty() { vec![self.features] } else { self.label_columns.clone() }
    }
}
