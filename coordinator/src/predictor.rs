//! A trained model for other Rust programs, and for `shoal serve`.

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::choice::{self, Weights};
use crate::data::{self, FeatureRows, FeatureValues, Labels, ReadOptions, TargetSchema};
use crate::inference::{Trained, likeliest};
use crate::run_directory::{RunError, SavedModel};
use crate::trial::{self, Compressed};

/// Most rows of a call.
pub const ROWS_MAX: usize = 1 << 16;

/// A trained model, ready for use.
///
/// ```no_run
/// # fn main() -> Result<(), coordinator::PredictError> {
/// let model = coordinator::Model::open("runs/flowers")?;
/// for prediction in model.predict(&[[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]])? {
///     println!("{prediction:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Model {
    model: SavedModel,
}

/// The answer to one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// One of the classes.
    Class {
        /// The name of the likeliest class.
        label: String,
        /// The probability of each class, in the order of [`Model::targets`].
        probabilities: Vec<f32>,
    },
    /// Numbers in their own units, in the order of [`Model::targets`].
    Numbers(Vec<f64>),
}

/// Rows that cannot be predicted, or a model that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The run has no usable model.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The rows are not what the model was trained on.
    #[error("{problem}")]
    Rows {
        /// What is wrong, with its place.
        problem: String,
    },
    /// A row has another number of cells than the model has columns.
    #[error("row {row} has {cells} cells, but the model takes {columns}; give one for each column")]
    Width {
        /// The row, from 1.
        row: usize,
        /// Its cells.
        cells: usize,
        /// The model's columns.
        columns: usize,
    },
    /// More rows than [`ROWS_MAX`].
    #[error("{0} rows are too many at once; give at most {ROWS_MAX}")]
    TooManyRows(usize),
    /// The rows could not be kept while they are read.
    #[error(
        "the rows cannot be kept in a temporary file while they are read: {0}; make room there, or name another folder in TMPDIR"
    )]
    Io(#[from] std::io::Error),
}

/// What a model is made for.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// The network in words.
    pub network: String,
    /// Names of the columns, where the training data had names.
    pub columns: Option<Vec<String>>,
    /// The classes; `None` where numbers are predicted.
    pub classes: Option<Vec<String>>,
    /// The names of the predicted numbers; `None` for classes.
    pub numbers: Option<Vec<String>>,
    /// Parameters.
    pub parameters: usize,
    /// BLAKE3 of the weights, in hexadecimal.
    pub digest: String,
}

impl Model {
    /// Opens the model of a run directory: the weights with the lowest validation loss, or the last ones without
    /// validation examples.
    ///
    /// # Errors
    /// When the directory has no model, or a damaged one.
    pub fn open(run: impl AsRef<Path>) -> Result<Model, PredictError> {
        Self::open_with(run, Weights::Best)
    }

    /// The same, with a choice of the run's weights.
    ///
    /// # Errors
    /// As [`Model::open`], and when the run's checkpoint, which has the last weights, cannot be used.
    pub fn open_with(run: impl AsRef<Path>, weights: Weights) -> Result<Model, PredictError> {
        Ok(Model { model: choice::load(run.as_ref(), weights)? })
    }

    /// The names of the columns that the model takes; `None` where its data had none.
    pub fn columns(&self) -> Option<Vec<&str>> {
        let preparation = &self.model.preparation;
        let names = || preparation.columns.iter().map(|column| column.name.as_str()).collect();
        (preparation.named && preparation.pixels.is_none()).then(names)
    }

    /// The names of the classes, or of the numbers.
    pub fn targets(&self) -> &[String] {
        match &self.model.preparation.targets {
            TargetSchema::Classes(names) | TargetSchema::Numbers(names) => names,
        }
    }

    /// Whether it answers with a class.
    pub fn is_classifier(&self) -> bool {
        self.model.preparation.class_names().is_some()
    }

    /// What it is made for.
    pub fn description(&self) -> Description {
        let (classes, numbers) = match &self.model.preparation.targets {
            TargetSchema::Classes(names) => (Some(names.clone()), None),
            TargetSchema::Numbers(names) => (None, Some(names.clone())),
        };
        let digest = blake3::Hash::from_bytes(model::weights_digest(&self.model.weights));
        Description {
            network: self.model.network.outline(),
            columns: self.columns().map(|names| names.into_iter().map(str::to_owned).collect()),
            classes,
            numbers,
            parameters: self.model.network.parameters(),
            digest: digest.to_hex().to_string(),
        }
    }

    /// What the page `/try` is told of it, in JSON.
    pub(crate) fn trial(&self) -> Compressed {
        let SavedModel { network, arithmetic, preparation, preprocessing, target_scaling, .. } = &self.model;
        let title = format!("the network {}", network.outline());
        let network = (network, *arithmetic);
        let scaling = target_scaling.as_ref();
        Compressed::of(&trial::Description::new(&title, network, preparation, preprocessing, scaling))
    }

    /// Predicts rows of cells, numbers or texts as the training file has them, in its columns' order without the
    /// label.
    ///
    /// # Errors
    /// When a row does not have the model's columns.
    pub fn predict<R: AsRef<[C]>, C: Display>(&self, rows: &[R]) -> Result<Vec<Prediction>, PredictError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if rows.len() > ROWS_MAX {
            return Err(PredictError::TooManyRows(rows.len()));
        }
        let columns = self.width();
        let mut table = csv::Writer::from_writer(Vec::new());
        let written = |error: csv::Error| std::io::Error::other(error);
        if let Some(names) = self.columns() {
            table.write_record(names).map_err(written)?;
        }
        for (row, cells) in rows.iter().enumerate() {
            let cells = cells.as_ref();
            if cells.len() != columns {
                return Err(PredictError::Width { row: row + 1, cells: cells.len(), columns });
            }
            table.write_record(cells.iter().map(C::to_string)).map_err(written)?;
        }
        let csv = table.into_inner().map_err(|error| error.into_error())?;
        self.read_and_predict(&csv)
    }

    /// Predicts the rows of a CSV file, as `shoal predict` does. With names in its first line, its columns may come
    /// in any order.
    ///
    /// # Errors
    /// When it does not have the model's columns.
    pub fn predict_csv(&self, csv: &[u8]) -> Result<Vec<Prediction>, PredictError> {
        let rows = csv.iter().filter(|&&byte| byte == b'\n').count();
        if rows > ROWS_MAX + 1 {
            return Err(PredictError::TooManyRows(rows));
        }
        self.read_and_predict(csv)
    }

    /// The values of a row.
    fn width(&self) -> usize {
        let preparation = &self.model.preparation;
        if preparation.pixels.is_some() { preparation.inputs() } else { preparation.columns.len() }
    }

    /// Reads rows as files of the training's kind are read, so that they mean the same.
    fn read_and_predict(&self, csv: &[u8]) -> Result<Vec<Prediction>, PredictError> {
        let preparation = &self.model.preparation;
        let features = if preparation.pixels.is_some() {
            self.pixels(csv)?
        } else {
            let mut file = tempfile::Builder::new().prefix("rows").suffix(".csv").tempfile()?;
            file.write_all(csv)?;
            file.flush()?;
            let options = ReadOptions { header: Some(preparation.named), ..ReadOptions::default() };
            data::load_matching(file.path(), preparation, &options, Labels::Ignored)
                .map_err(|error| PredictError::Rows {
                    problem: without_path(&error.to_string(), file.path()),
                })?
                .features
        };
        if let Some(vocabulary) = self.model.network.spec().vocabulary() {
            features
                .check_integers(vocabulary, &preparation.input_places(), 0)
                .map_err(|error| PredictError::Rows { problem: error.to_string() })?;
        }
        let answers = Trained::of(&self.model).answers(&features, 0..features.len());
        let answers = match &self.model.target_scaling {
            Some(scaling) => scaling.restore(&answers),
            None => answers.into_iter().map(f64::from).collect(),
        };
        let rows = answers.chunks_exact(self.model.network.outputs());
        Ok(rows.map(|row| self.prediction(row)).collect())
    }

    /// Values of images, a line each.
    fn pixels(&self, csv: &[u8]) -> Result<FeatureRows, PredictError> {
        let width = self.width();
        let mut table = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(csv);
        let mut values = Vec::new();
        for (i, record) in table.records().enumerate() {
            let record = record.map_err(|error| PredictError::Rows { problem: error.to_string() })?;
            if record.len() != width {
                return Err(PredictError::Width { row: i + 1, cells: record.len(), columns: width });
            }
            for cell in &record {
                let value = cell.trim().parse::<f32>().ok().filter(|value| value.is_finite());
                values.push(value.ok_or_else(|| PredictError::Rows {
                    problem: format!("row {} has a value that is no number; give the image's values", i + 1),
                })?);
            }
        }
        Ok(FeatureRows::new(width, FeatureValues::F32(values)))
    }

    fn prediction(&self, row: &[f64]) -> Prediction {
        match &self.model.preparation.targets {
            TargetSchema::Classes(names) => {
                let probabilities: Vec<f32> = row.iter().map(|&probability| probability as f32).collect();
                Prediction::Class { label: names[likeliest(&probabilities)].clone(), probabilities }
            }
            TargetSchema::Numbers(_) => Prediction::Numbers(row.to_vec()),
        }
    }
}

/// A sentence about a file that only ever was temporary.
fn without_path(sentence: &str, path: &Path) -> String {
    sentence.replace(&path.display().to_string(), "the rows")
}
