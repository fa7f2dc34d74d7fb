//! A data set as it was read, and the matrices that are made of it.

use std::path::PathBuf;

use table::{InputValues, Inputs, Pixels, Table, Targets};

use super::DataError;

/// Examples in file order, nothing split or scaled yet.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Columns or pixels, and the targets.
    pub(super) table: Table,
    /// The size of the vocabulary, if the network looks integers up.
    pub(super) vocabulary: Option<u32>,
    /// Texts for a missing value, beside the usual ones.
    pub(super) missing: Vec<String>,
}

impl Dataset {
    /// Takes a table with its targets.
    pub fn new(table: Table) -> Self {
        assert!(table.targets.is_some(), "a data set has targets");
        Self { table, vocabulary: None, missing: Vec::new() }
    }

    /// A table of bytes without names, row-major, whose last column are classes.
    pub fn of_bytes(columns: usize, values: &[u8], ids: Vec<u16>, names: Vec<String>) -> Self {
        Self::new(Table::of_bytes(PathBuf::from("memory"), columns, values, Targets::Classes { ids, names }))
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.table.rows
    }

    /// Whether there is no example; a reader never returns such a data set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        self.table.targets.as_ref().expect("a data set has targets")
    }

    /// Whether the columns are outside of memory.
    pub(crate) fn is_outside(&self) -> bool {
        self.table.is_outside()
    }

    /// The same with its columns in memory.
    pub(crate) fn into_memory(self) -> Result<Self, DataError> {
        Ok(Self { table: self.table.into_memory()?, ..self })
    }

    /// The pixels, where the examples are images.
    pub fn pixels(&self) -> Option<&Pixels> {
        self.table.pixels.as_ref()
    }

    /// The same data for a network that looks every value up among `vocabulary` integers.
    pub fn into_integers(self, vocabulary: u32) -> Self {
        Self { vocabulary: Some(vocabulary), ..self }
    }

    /// Whether all targets are numbers from 0 to 1.
    pub fn has_shares(&self) -> bool {
        match self.targets() {
            Targets::Numbers { values, .. } => values.iter().all(|value| (0.0..=1.0).contains(value)),
            Targets::Classes { .. } => false,
        }
    }
}

/// A row-major matrix of features as volunteers get them, shape `[examples, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRows {
    columns: usize,
    values: FeatureValues,
}

/// The values of [`FeatureRows`]. Bytes stay bytes, all the way to the volunteers.
pub type FeatureValues = InputValues;

impl FeatureRows {
    /// Takes row-major values; their number must be a multiple of `columns`, which must not be 0.
    pub fn new(columns: usize, values: FeatureValues) -> Self {
        assert!(columns > 0, "a feature matrix needs a column");
        let rows = Self { columns, values };
        assert_eq!(rows.len() * columns, rows.count(), "values must fill whole rows");
        rows
    }

    fn count(&self) -> usize {
        match &self.values {
            FeatureValues::U8(values) => values.len(),
            FeatureValues::F32(values) => values.len(),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.count() / self.columns
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Number of features.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values, row by row, without the matrix.
    pub(super) fn into_values(self) -> FeatureValues {
        self.values
    }

    /// The values, row by row.
    pub fn values(&self) -> &FeatureValues {
        &self.values
    }

    /// Checks that every value is an integer from 0 to below `vocabulary`. `places` say where each
    /// column stands; `first` is the number of the first example, from 0.
    ///
    /// # Errors
    /// [`DataError::NotInVocabulary`] for the first value that is not.
    pub fn check_integers(&self, vocabulary: u32, places: &[String], first: usize) -> Result<(), DataError> {
        let fits = |value: f32| value.fract() == 0.0 && (0.0..vocabulary as f32).contains(&value);
        let position = match &self.values {
            FeatureValues::U8(values) => values.iter().position(|&value| !fits(f32::from(value))),
            FeatureValues::F32(values) => values.iter().position(|&value| !fits(value)),
        };
        let Some(position) = position else { return Ok(()) };
        let column = position % self.columns;
        Err(DataError::NotInVocabulary {
            example: first + position / self.columns + 1,
            column: places.get(column).cloned().unwrap_or_default(),
            value: match &self.values {
                FeatureValues::U8(values) => f32::from(values[position]),
                FeatureValues::F32(values) => values[position],
            },
            vocabulary,
        })
    }
}

impl From<Inputs> for FeatureRows {
    fn from(inputs: Inputs) -> Self {
        Self::new(inputs.width, inputs.values)
    }
}

/// The targets named by `order`, in that order.
pub(super) fn gather(targets: &Targets, order: &[u32]) -> Targets {
    let order = || order.iter().map(|&row| row as usize);
    match targets {
        Targets::Classes { ids, names } => {
            Targets::Classes { ids: order().map(|row| ids[row]).collect(), names: names.clone() }
        }
        Targets::Numbers { values, names } => {
            let width = names.len();
            let rows = order().flat_map(|row| &values[row * width..(row + 1) * width]);
            Targets::Numbers { values: rows.copied().collect(), names: names.clone() }
        }
    }
}
