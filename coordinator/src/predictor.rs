//! A trained model for other Rust programs, and for `shoal serve`.

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;

use model::likeliest;
use serde::Serialize;
use table::TableError;

use crate::choice::{self, Weights};
use crate::data::{self, DataError, FeatureRows, FeatureValues, Labels, ReadOptions, TargetSchema};
use crate::inference::Trained;
use crate::run_directory::{RunError, SavedModel};
use crate::trial::{self, Compressed};

/// Most rows of a call.
pub const ROWS_MAX: usize = 1 << 16;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

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
        let title = match preparation.label_in_words() {
            Some(label) => format!("a network that predicts {label}"),
            None => format!("the network {}", network.outline()),
        };
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
        self.predict_written(&csv)
    }

    /// Predicts rows that this program wrote as CSV, with the columns' names in the first line if they have any. A
    /// problem names the row, because whoever gave the rows has seen no line.
    pub(crate) fn predict_written(&self, csv: &[u8]) -> Result<Vec<Prediction>, PredictError> {
        self.read_and_predict(csv, |line| format!("row {}", self.row_at(csv, line)))
    }

    /// Predicts the rows of a CSV file, as `shoal predict` does. With names in its first line, its columns may come
    /// in any order.
    ///
    /// # Errors
    /// When it does not have the model's columns.
    pub fn predict_csv(&self, csv: &[u8]) -> Result<Vec<Prediction>, PredictError> {
        let rows = lines(csv);
        if rows > ROWS_MAX + 1 {
            return Err(PredictError::TooManyRows(rows));
        }
        if [GZIP_MAGIC, ZSTD_MAGIC].iter().any(|magic| csv.starts_with(magic)) {
            return Err(PredictError::Rows {
                problem: "the rows are compressed; send them as plain text".to_owned(),
            });
        }
        self.read_and_predict(csv, |line| format!("line {line}"))
    }

    /// The number of the row that begins on that line. A row has several lines if a cell has.
    fn row_at(&self, csv: &[u8], line: u64) -> usize {
        let named = self.model.preparation.named;
        let table = csv::ReaderBuilder::new().has_headers(named).flexible(true).from_reader(csv);
        let rows = table.into_records().map_while(Result::ok);
        rows.take_while(|row| row.position().is_some_and(|start| start.line() <= line)).count()
    }

    /// The values of a row.
    pub(crate) fn width(&self) -> usize {
        let preparation = &self.model.preparation;
        if preparation.pixels.is_some() { preparation.inputs() } else { preparation.columns.len() }
    }

    /// Reads rows as files of the training's kind are read, so that they mean the same. `place` names the place of a
    /// line.
    fn read_and_predict(
        &self,
        csv: &[u8],
        place: impl Fn(u64) -> String,
    ) -> Result<Vec<Prediction>, PredictError> {
        let preparation = &self.model.preparation;
        let features = if preparation.pixels.is_some() {
            self.pixels(csv)?
        } else {
            let mut file = tempfile::Builder::new().prefix("rows").suffix(".csv").tempfile()?;
            file.write_all(csv)?;
            file.flush()?;
            let header = Some(preparation.named);
            let options = ReadOptions { header, text_only: true, ..ReadOptions::default() };
            data::load_matching(file.path(), preparation, &options, Labels::Ignored)
                .map_err(|error| PredictError::Rows { problem: in_words(&error, file.path(), place) })?
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

/// The ends of lines of every kind, which are at least as many as the rows.
fn lines(csv: &[u8]) -> usize {
    let breaks = csv.iter().filter(|&&byte| matches!(byte, b'\n' | b'\r')).count();
    breaks - csv.windows(2).filter(|pair| pair == b"\r\n").count()
}

/// What is wrong with a file that only ever was temporary. `place` names the place of a line.
fn in_words(error: &DataError, path: &Path, place: impl Fn(u64) -> String) -> String {
    match error {
        DataError::Table(TableError::Row { line, problem, .. }) => format!("{}: {problem}", place(*line)),
        DataError::Table(TableError::Cell { line, column, problem, .. }) => {
            format!("{}, {column}: {problem}", place(*line))
        }
        other => other.to_string().replace(&path.display().to_string(), "the rows"),
    }
}
