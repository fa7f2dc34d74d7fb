//! A network's input: raw rows as stored in a shard, their preprocessing, and the targets.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::nonzeros::NonZeroRows;

/// Some examples, with as many rows of features as targets.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// The inputs, one row per example.
    pub features: Features<'a>,
    /// The targets, one per example.
    pub targets: Targets<'a>,
}

impl Examples<'_> {
    /// The number of examples.
    ///
    /// # Panics
    /// If the numbers of targets and rows differ.
    pub fn len(&self) -> usize {
        let targets = match &self.targets {
            Targets::Classes(classes) => classes.len(),
            Targets::Numbers(numbers) => numbers.nrows(),
        };
        assert_eq!(self.features.len(), targets, "one target per row");
        targets
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Raw rows, with the preprocessing that turns them into a network's input.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    /// The values as stored, shape `[examples, features]`.
    pub rows: Rows<'a>,
    /// One offset and scale per feature.
    pub preprocessing: &'a Preprocessing,
    /// The places that are not zero after this preprocessing, if they are listed. The list makes computations
    /// faster and changes no result.
    pub nonzeros: Option<NonZeroRows<'a>>,
}

impl<'a> Features<'a> {
    /// Rows without a list of their nonzero places.
    pub fn new(rows: Rows<'a>, preprocessing: &'a Preprocessing) -> Features<'a> {
        Features { rows, preprocessing, nonzeros: None }
    }
    /// The number of rows.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::U8(rows) => rows.nrows(),
            Rows::F32(rows) => rows.nrows(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of features of a row.
    pub fn width(&self) -> usize {
        match &self.rows {
            Rows::U8(rows) => rows.ncols(),
            Rows::F32(rows) => rows.ncols(),
        }
    }
}

/// Feature values as stored, shape `[examples, features]`.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Bytes, for example pixels.
    U8(ArrayView2<'a, u8>),
    /// Numbers.
    F32(ArrayView2<'a, f32>),
}

/// The targets that the network learns to predict.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a> {
    /// The class of each example, smaller than the task's number of classes.
    Classes(&'a [u16]),
    /// Target columns, shape `[examples, columns]`.
    Numbers(ArrayView2<'a, f32>),
}

/// One offset and scale per feature: `x = (raw - offset) * scale`, a subtraction, then a multiplication, each
/// rounded, in both arithmetics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// The number subtracted from each feature.
    pub offset: Vec<f32>,
    /// The factor of each difference.
    pub scale: Vec<f32>,
}

impl Preprocessing {
    /// Leaves `features` values as they are.
    pub fn identity(features: usize) -> Preprocessing {
        Preprocessing::uniform(features, 0.0, 1.0)
    }

    /// The same offset and scale for each of `features` values, for example 0 and 1/255 for pixels.
    pub fn uniform(features: usize, offset: f32, scale: f32) -> Preprocessing {
        Preprocessing { offset: vec![offset; features], scale: vec![scale; features] }
    }

    /// The number of features.
    ///
    /// # Panics
    /// If the numbers of offsets and scales differ.
    pub fn len(&self) -> usize {
        assert_eq!(self.offset.len(), self.scale.len(), "one scale per offset");
        self.offset.len()
    }

    /// Whether there are no features.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes examples `first .. first + inputs.len() / width` of `rows`, preprocessed and row-major, to
    /// `inputs`.
    pub(crate) fn apply(&self, rows: &Rows<'_>, first: usize, inputs: &mut [f32]) {
        for (i, inputs) in inputs.chunks_exact_mut(self.len()).enumerate() {
            match rows {
                Rows::U8(rows) => {
                    let row = rows.row(first + i);
                    match row.to_slice() {
                        Some(row) => self.apply_row(row.iter().map(|&raw| f32::from(raw)), inputs),
                        None => self.apply_row(row.iter().map(|&raw| f32::from(raw)), inputs),
                    }
                }
                Rows::F32(rows) => {
                    let row = rows.row(first + i);
                    match row.to_slice() {
                        Some(row) => self.apply_row(row.iter().copied(), inputs),
                        None => self.apply_row(row.iter().copied(), inputs),
                    }
                }
            }
        }
    }

    fn apply_row(&self, raw: impl Iterator<Item = f32>, inputs: &mut [f32]) {
        for (((input, raw), offset), scale) in inputs.iter_mut().zip(raw).zip(&self.offset).zip(&self.scale) {
            *input = (raw - offset) * scale;
        }
    }
}
