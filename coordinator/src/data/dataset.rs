//! A data set as it was read: raw features, targets as the user wrote them, nothing shuffled, split or scaled yet.

use super::DataError;
use super::schema::{Schema, TargetSchema};

/// Examples in file order. Features and targets always have the same number of rows, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Raw features.
    pub features: FeatureRows,
    /// Names of the feature columns, where the file had a header.
    pub feature_names: Option<Vec<String>>,
    /// What is to be predicted.
    pub targets: TargetColumn,
    /// Names of the target columns, where the file had a header.
    pub label_names: Option<Vec<String>>,
    /// Positions of the target columns in the file, from 0; empty for images.
    pub label_columns: Vec<usize>,
    /// What the features are.
    pub kind: DatasetKind,
}

impl Dataset {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there is no example; a reader never returns such a data set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same data for a network that looks every value up among `vocabulary` integers.
    ///
    /// # Errors
    /// [`DataError::NotInVocabulary`] for a value that is none of them.
    pub fn into_integers(self, vocabulary: u32) -> Result<Self, DataError> {
        self.features.check_integers(vocabulary, self.feature_names.as_deref())?;
        Ok(Self { kind: DatasetKind::Integers, ..self })
    }

    /// Whether all targets are numbers from 0 to 1.
    pub fn has_shares(&self) -> bool {
        match &self.targets {
            TargetColumn::Numbers { values, .. } => values.iter().all(|value| (0.0..=1.0).contains(value)),
            TargetColumn::Classes { .. } => false,
        }
    }

    /// What another file must have to be used with a model trained on this one.
    pub fn schema(&self) -> Schema {
        Schema {
            features: self.features.columns(),
            feature_names: self.feature_names.clone(),
            targets: match &self.targets {
                TargetColumn::Classes { names, .. } => TargetSchema::Classes(names.clone()),
                TargetColumn::Numbers { names, .. } => TargetSchema::Numbers(names.clone()),
            },
            label_names: self.label_names.clone(),
            label_columns: self.label_columns.clone(),
            image_shape: match &self.kind {
                DatasetKind::Images { shape } => Some(shape.clone()),
                DatasetKind::Table | DatasetKind::Integers => None,
            },
        }
    }
}

/// What the features of a data set are, which decides how they are scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetKind {
    /// Pixels of one range, flattened from this shape (for MNIST `[28, 28]`).
    Images {
        /// Trailing dimensions of the IDX file.
        shape: Vec<usize>,
    },
    /// Columns with ranges of their own.
    Table,
    /// Integers that stand for something each: they are looked up and never scaled.
    Integers,
}

/// A row-major matrix of raw features, shape `[examples, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRows {
    columns: usize,
    values: FeatureValues,
}

/// The values of [`FeatureRows`]. Bytes stay bytes, all the way to the volunteers.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureValues {
    /// Every value is an integer from 0 to 255.
    U8(Vec<u8>),
    /// Anything else; finite.
    F32(Vec<f32>),
}

impl FeatureRows {
    /// Takes row-major values; their number must be a multiple of `columns`, which must not be 0.
    pub fn new(columns: usize, values: FeatureValues) -> Self {
        assert!(columns > 0, "a feature matrix needs a column");
        let rows = Self { columns, values };
        assert_eq!(rows.len() * columns, rows.values.len(), "values must fill whole rows");
        rows
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.values.len() == 0
    }

    /// Number of features.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values, row by row.
    pub fn values(&self) -> &FeatureValues {
        &self.values
    }

    /// The rows named by `order`, in that order.
    pub fn gather(&self, order: &[usize]) -> Self {
        let values = match &self.values {
            FeatureValues::U8(values) => FeatureValues::U8(gather(values, self.columns, order)),
            FeatureValues::F32(values) => FeatureValues::F32(gather(values, self.columns, order)),
        };
        Self { columns: self.columns, values }
    }

    /// Checks that every value is an integer from 0 to below `vocabulary`. `names` are those of the columns.
    ///
    /// # Errors
    /// [`DataError::NotInVocabulary`] for the first value that is not.
    pub fn check_integers(&self, vocabulary: u32, names: Option<&[String]>) -> Result<(), DataError> {
        let fits = |value: f32| value.fract() == 0.0 && (0.0..vocabulary as f32).contains(&value);
        let position = match &self.values {
            FeatureValues::U8(values) => values.iter().position(|&value| !fits(f32::from(value))),
            FeatureValues::F32(values) => values.iter().position(|&value| !fits(value)),
        };
        let Some(position) = position else { return Ok(()) };
        let column = position % self.columns;
        Err(DataError::NotInVocabulary {
            example: position / self.columns + 1,
            column: match names.and_then(|names| names.get(column)) {
                Some(name) => format!("{column} ({name})"),
                None => column.to_string(),
            },
            value: match &self.values {
                FeatureValues::U8(values) => f32::from(values[position]),
                FeatureValues::F32(values) => values[position],
            },
            vocabulary,
        })
    }

    /// The same values as f32 (exact).
    pub fn into_f32(self) -> Self {
        let values = match self.values {
            FeatureValues::U8(values) => values.into_iter().map(f32::from).collect(),
            FeatureValues::F32(values) => values,
        };
        Self { columns: self.columns, values: FeatureValues::F32(values) }
    }
}

impl FeatureValues {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a finite value, and turns bytes into f32 at the first value that is not one.
    pub(super) fn push(&mut self, value: f32) {
        if let Self::U8(bytes) = self {
            if (0.0..=255.0).contains(&value) && value.fract() == 0.0 {
                bytes.push(value as u8);
                return;
            }
            *self = Self::F32(bytes.iter().copied().map(f32::from).collect());
        }
        if let Self::F32(values) = self {
            values.push(value);
        }
    }
}

/// What is to be predicted, one entry (or row) an example.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetColumn {
    /// One of several classes.
    Classes {
        /// Class of each example, an index into `names`.
        ids: Vec<u16>,
        /// The classes as the user wrote them, in id order.
        names: Vec<String>,
    },
    /// One or more real numbers, in the user's units.
    Numbers {
        /// Row-major, shape `[examples, names.len()]`.
        values: Vec<f32>,
        /// Names of the columns.
        names: Vec<String>,
    },
}

impl TargetColumn {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { ids, .. } => ids.len(),
            Self::Numbers { values, names } => values.len() / names.len(),
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The examples named by `order`, in that order.
    pub fn gather(&self, order: &[usize]) -> Self {
        match self {
            Self::Classes { ids, names } => {
                Self::Classes { ids: gather(ids, 1, order), names: names.clone() }
            }
            Self::Numbers { values, names } => {
                Self::Numbers { values: gather(values, names.len(), order), names: names.clone() }
            }
        }
    }
}

fn gather<T: Copy>(values: &[T], columns: usize, order: &[usize]) -> Vec<T> {
    let mut gathered = Vec::with_capacity(order.len() * columns);
    for &row in order {
        gathered.extend_from_slice(&values[row * columns..(row + 1) * columns]);
    }
    gathered
}
