//! From files to examples ready to be cut into shards.
//!
//! The walk of the data: a source ([`mnist`], or [`load`] for a directory of IDX files or a CSV file) gives a
//! [`Dataset`]; [`prepare_sets`] splits off the test and the validation part, shuffles the training part and works out the preprocessing;
//! [`Prepared`] then hands out contiguous ranges of rows, which [`ShardStore`] cuts and serves. A second file for a trained model goes through
//! [`load_matching`], which reads it by the saved [`Schema`].
//!
//! Everything here is a function of the files, the options and the seed. Nothing depends on the machine.

mod csv_file;
mod dataset;
mod error;
mod file;
mod first_rows;
mod idx;
mod label;
pub mod limits;
mod mnist;
mod prepared;
mod random;
mod schema;
mod shards;
mod split;
mod standardize;
#[cfg(test)]
mod tests;

use std::{fs, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    dataset::{Dataset, DatasetKind, FeatureRows, FeatureValues, TargetColumn},
    error::DataError,
    mnist::mnist,
    prepared::{ExampleTable, HeldBack, Prepared, TargetValues, prepare, prepare_sets},
    schema::{Schema, TargetSchema},
    shards::ShardStore,
    standardize::TargetScaling,
};

/// What a source holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Examples to train on, or to split.
    pub train: Dataset,
    /// The test part, where the source has one of its own.
    pub test: Option<Dataset>,
}

/// How to read a source, as far as it does not say so itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The columns of a CSV file to predict, each by its name in the header or by its index: from 0, or from the end
    /// with -1 for the last. A name wins over an index. Several columns are numbers. None: the one column that is
    /// called label, class or target, else the last one.
    pub labels: Vec<String>,
    /// Whether the label is a class or a number. None: a class when a value is not a number, or when all are integers
    /// with at most [`limits::MAX_INFERRED_CLASSES`] different values that occur twice or more on average.
    pub task: Option<TaskKind>,
    /// Whether a CSV file starts with a header. None: it does when one of the labels asked for by name stands in its
    /// first row, or when in some column the first row has text and the second row a number.
    pub header: Option<bool>,
}

/// What kind of target a model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// One of several classes.
    Classes,
    /// Real numbers.
    Numbers,
}

impl FromStr for TaskKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "classes" => Ok(Self::Classes),
            "numbers" => Ok(Self::Numbers),
            _ => Err("the task must be classes or numbers"),
        }
    }
}

/// Examples of a file that was read for a trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Matched {
    /// Raw features in the columns' order of the training data.
    pub features: FeatureRows,
    /// Targets, where they were required: class ids of the model, or numbers in the user's units.
    pub targets: Option<TargetColumn>,
}

/// What to do about labels in a file for a trained model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Testing needs them: a file without is an error.
    Required,
    /// Predicting does not: a label column may be there and hold anything, it is not looked at.
    Ignored,
}

/// Reads a source: a directory of IDX files, or a CSV file; each file plain or gzip.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Loaded, DataError> {
    if !is_directory(path)? {
        return Ok(Loaded { train: csv_file::load(path, options)?, test: None });
    }
    if !options.labels.is_empty() || options.task == Some(TaskKind::Numbers) {
        return Err(DataError::Label {
            path: path.to_owned(),
            problem: "a directory of IDX files has label files of its own, with classes; leave out the label column \
                      and the task"
                .to_owned(),
        });
    }
    idx::load(path)
}

/// Reads a file for a model trained on data of this `schema`: a test file, or one to evaluate or predict. Where both
/// files have a header, columns are found by name and others are ignored; otherwise by position. Of a directory of IDX
/// files the test part is read if there is one. `options.task` plays no part.
pub fn load_matching(
    path: &Path,
    schema: &Schema,
    options: &LoadOptions,
    labels: Labels,
) -> Result<Matched, DataError> {
    if is_directory(path)? {
        idx::load_matching(path, schema, labels)
    } else {
        csv_file::load_matching(path, schema, options, labels)
    }
}

/// Reads a test or validation file for `train` (see [`load_matching`]). Its label column is found as `train`'s schema says; of the
/// options only `header` counts, for an index that was right for one file may be wrong for the other.
pub fn load_test(path: &Path, train: &Dataset, options: &LoadOptions) -> Result<Dataset, DataError> {
    let options = LoadOptions { header: options.header, ..LoadOptions::default() };
    let matched = load_matching(path, &train.schema(), &options, Labels::Required)?;
    let Some(targets) = matched.targets else { unreachable!("labels were required") };
    Ok(Dataset {
        features: matched.features,
        feature_names: train.feature_names.clone(),
        targets,
        label_names: train.label_names.clone(),
        label_columns: train.label_columns.clone(),
        kind: train.kind.clone(),
    })
}

fn is_directory(path: &Path) -> Result<bool, DataError> {
    let metadata = fs::metadata(path).map_err(|source| file::read_error(path, source))?;
    Ok(metadata.is_dir())
}
