//! From tables to examples ready to be cut into shards.
//!
//! The walk of the data: a source ([`mnist`], or [`load`], which leaves reading to the crate `table`) gives a
//! [`Dataset`]; [`prepare_sets`] splits off the test and the validation part, shuffles the training part and
//! fits the preparation of its columns; [`Prepared`] then hands out contiguous ranges of rows, which
//! [`ShardStore`] cuts and serves. A second file for a trained model goes through [`load_matching`], which
//! reads it by the saved [`Preparation`].
//!
//! Everything here is a function of the files, the options and the seed. Nothing depends on the machine.

mod cabinet;
mod columns;
mod cutting;
mod dataset;
mod error;
mod examples;
mod mnist;
mod prepared;
mod random;
mod shards;
mod split;
mod standardize;
mod terms;
#[cfg(test)]
mod tests;
mod warnings;

use std::path::Path;

pub use table::{Labels, Preparation, ReadOptions, Scratch, TableError, TargetSchema, Targets, TaskKind};

pub use self::{
    cabinet::Cabinet,
    cutting::cut_into,
    dataset::{Dataset, FeatureRows, FeatureValues},
    error::DataError,
    examples::{Examples, Piece},
    mnist::mnist,
    prepared::{ExampleTable, HeldBack, Prepared, TargetValues, prepare, prepare_sets},
    shards::ShardStore,
    standardize::TargetScaling,
    terms::{preprocessing_of, task_of},
    warnings::{alike_classes, rare_classes, repeated_examples, telling_columns},
};

/// The data of a source.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Examples to train on, or to split.
    pub train: Dataset,
    /// The test part, where the source has one of its own.
    pub test: Option<Dataset>,
}

/// Examples of a file that was read for a trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Matched {
    /// Features as the network's preprocessing takes them.
    pub features: FeatureRows,
    /// Targets, where they were required: class ids of the model, or numbers in the user's units.
    pub targets: Option<Targets>,
    /// Sentences about the file that the user should know of.
    pub notices: Vec<String>,
}

/// Reads a source: a file, files that fit a pattern, a directory, or `-` for standard input.
///
/// # Errors
/// [`DataError::Table`], which names the place and the remedy.
pub fn load(path: &Path, options: &ReadOptions) -> Result<Loaded, DataError> {
    let data = table::read(&[path.to_owned()], options)?;
    let train = Dataset { missing: data.missing, ..Dataset::new(data.train) };
    Ok(Loaded { train, test: data.test.map(Dataset::new) })
}

/// Reads a file for a trained model: one to evaluate or predict.
///
/// # Errors
/// [`DataError::Table`], which names the place and the remedy.
pub fn load_matching(
    path: &Path,
    preparation: &Preparation,
    options: &ReadOptions,
    labels: Labels,
) -> Result<Matched, DataError> {
    matched(table::read_matching(&[path.to_owned()], preparation, options, labels)?, preparation)
}

/// A table that was read for a trained model, prepared.
fn matched(mut table: table::Table, preparation: &Preparation) -> Result<Matched, DataError> {
    let targets = table.targets.take();
    let mut notices = std::mem::take(&mut table.notices);
    let stored = preparation.store(table)?;
    notices.extend(stored.notices.iter().cloned());
    let rows: Vec<u32> = (0..stored.len() as u32).collect();
    let as_bytes = stored.fits_bytes(preparation);
    Ok(Matched { features: stored.inputs(preparation, &rows, as_bytes).into(), targets, notices })
}

/// A data set that is in memory, prepared for a trained model; `None` if it is another kind of data.
pub(crate) fn matched_dataset(data: Dataset, preparation: &Preparation) -> Option<Matched> {
    let shape = |pixels: Option<&[usize]>| pixels.map(<[usize]>::to_vec);
    let there = shape(data.pixels().map(|pixels| pixels.shape.as_slice()));
    let wanted = shape(preparation.pixels.as_ref().map(|pixels| pixels.shape.as_slice()));
    let fits = there.is_some() && there == wanted && data.table.target_schema() == preparation.targets;
    fits.then(|| matched(data.table, preparation).ok()).flatten()
}

/// Reads a test or validation file as `train` was read.
///
/// # Errors
/// [`DataError::Table`], which names the place and the remedy.
pub fn load_test(path: &Path, train: &Dataset, options: &ReadOptions) -> Result<Dataset, DataError> {
    let options = ReadOptions { missing: train.missing.clone(), ..options.clone() };
    let table = table::read_like(&[path.to_owned()], &train.table, &options)?;
    Ok(Dataset { table, vocabulary: train.vocabulary, missing: train.missing.clone() })
}
