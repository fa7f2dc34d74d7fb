//! CSV files: which columns are features and which the label, and the cells as numbers.
//!
//! Cells may be separated by comma, semicolon or tab, and quoted. Blank lines are skipped, spaces around cells ignored.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::{Path, PathBuf},
};

use csv::ByteRecord;

use super::{
    DataError, Dataset, DatasetKind, FeatureRows, FeatureValues, Labels, LoadOptions, Matched, Schema,
    TargetColumn, TargetSchema, TaskKind,
    error::quoted,
    file,
    first_rows::{self, FirstRow},
    label::LabelColumn,
    limits,
};

/// Column names that are taken for the label when the user does not say which column it is.
const USUAL_LABEL_NAMES: [&str; 3] = ["label", "class", "target"];

/// Reads a training file.
pub(super) fn load(path: &Path, options: &LoadOptions) -> Result<Dataset, DataError> {
    let names: Vec<&str> = options.labels.iter().map(String::as_str).collect();
    let table = Table::open(path, options.header, &names)?;
    if let Some(header) = &table.header {
        refuse_duplicates(path, header)?;
    }
    let label_columns = table.label_columns(&options.labels)?;
    let feature_columns: Vec<usize> =
        (0..table.width).filter(|column| !label_columns.contains(column)).collect();
    if feature_columns.is_empty() {
        return Err(DataError::Label {
            path: path.to_owned(),
            problem: "apart from the label it has no column to learn from".to_owned(),
        });
    }
    let name_of = |&column: &usize| match &table.header {
        Some(header) => header[column].clone(),
        None => format!("column {column}"),
    };
    let target_names: Vec<String> = label_columns.iter().map(name_of).collect();
    let label_names = table.header.is_some().then(|| target_names.clone());
    let feature_names =
        table.header.is_some().then(|| feature_columns.iter().map(name_of).collect::<Vec<_>>());
    let (features, mut labels) = table.read(&feature_columns, &label_columns)?;
    let targets = match (labels.len(), options.task) {
        (1, task) => labels.remove(0).into_targets(path, target_names[0].clone(), task)?,
        (_, Some(TaskKind::Classes)) => {
            return Err(DataError::Label {
                path: path.to_owned(),
                problem: "several label columns can only be numbers, not classes".to_owned(),
            });
        }
        _ => numbers(path, labels, target_names)?,
    };
    Ok(Dataset { features, feature_names, targets, label_names, label_columns, kind: DatasetKind::Table })
}

/// Reads a file for a trained model; see [`super::load_matching`].
pub(super) fn load_matching(
    path: &Path,
    schema: &Schema,
    options: &LoadOptions,
    labels: Labels,
) -> Result<Matched, DataError> {
    let known = options.labels.iter().chain(schema.feature_names.iter().flatten());
    let names: Vec<&str> = known.chain(schema.label_names.iter().flatten()).map(String::as_str).collect();
    let table = Table::open(path, options.header, &names)?;
    let asked = match options.labels.as_slice() {
        [] => None,
        labels => Some(table.label_columns(labels)?),
    };
    let feature_columns = table.matching_features(schema, asked.as_deref())?;
    let label_columns = match (labels, asked) {
        (Labels::Ignored, _) => Vec::new(),
        (Labels::Required, Some(asked)) => asked,
        (Labels::Required, None) => table.matching_labels(schema)?,
    };
    let (features, columns) = table.read(&feature_columns, &label_columns)?;
    let targets = match (&schema.targets, labels) {
        (_, Labels::Ignored) => None,
        (TargetSchema::Classes(names), _) => {
            let ids = columns[0].class_ids(path, names)?;
            Some(TargetColumn::Classes { ids, names: names.clone() })
        }
        (TargetSchema::Numbers(names), _) => Some(numbers(path, columns, names.clone())?),
    };
    Ok(Matched { features, targets })
}

/// An open file whose first rows have been read, and their meaning told.
struct Table {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read>>,
    /// Examples among the first rows.
    first_examples: Vec<ByteRecord>,
    /// Columns.
    width: usize,
    header: Option<Vec<String>>,
    /// The number of examples and the classes that the first line gives.
    counts: Option<(usize, Vec<String>)>,
}

impl Table {
    fn open(path: &Path, header: Option<bool>, names: &[&str]) -> Result<Self, DataError> {
        let content = file::open(path)?;
        refuse_other_formats(path, &content.head)?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .delimiter(first_rows::delimiter(&content.head))
            .from_reader(content.reader);
        let mut rows = Vec::new();
        for _ in 0..2 {
            let mut row = ByteRecord::new();
            if reader.read_byte_record(&mut row).map_err(|error| csv_error(path, error))? {
                rows.push(row);
            }
        }
        let Some(first) = rows.first() else {
            return Err(DataError::Empty { path: path.to_owned() });
        };
        let meaning = match header {
            Some(true) => FirstRow::Header,
            Some(false) => FirstRow::Example,
            None => first_rows::first_row(first, rows.get(1), names),
        };
        let mut table = Self {
            path: path.to_owned(),
            reader,
            first_examples: Vec::new(),
            width: first.len(),
            header: None,
            counts: None,
        };
        if meaning != FirstRow::Example {
            table.refuse_other_encodings(&rows[0])?;
        }
        match meaning {
            FirstRow::Example => {}
            FirstRow::Header => {
                let header = rows.remove(0);
                table.header =
                    Some(header.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect());
            }
            FirstRow::Counts { examples, classes } => {
                rows.remove(0);
                table.width = rows[0].len();
                table.counts = Some((examples, classes));
            }
        }
        table.first_examples = rows;
        if table.width > limits::MAX_COLUMNS {
            return Err(table.too_large("columns", limits::MAX_COLUMNS));
        }
        Ok(table)
    }

    /// Different names in another encoding would become the same.
    fn refuse_other_encodings(&self, names: &ByteRecord) -> Result<(), DataError> {
        let line = names.position().map_or(0, csv::Position::line);
        for (cell, column) in names.iter().zip(0..) {
            utf8(cell).map_err(|problem| DataError::Cell {
                path: self.path.clone(),
                line,
                column: format!("{column}"),
                problem,
            })?;
        }
        Ok(())
    }

    /// The columns that the user asked to predict, or the usual one; each once.
    fn label_columns(&self, labels: &[String]) -> Result<Vec<usize>, DataError> {
        if labels.len() > limits::MAX_TARGETS {
            return Err(self.too_large("columns to predict", limits::MAX_TARGETS));
        }
        let mut columns = Vec::with_capacity(labels.len());
        for label in labels {
            let column = self.column(label)?;
            if columns.contains(&column) {
                return Err(self.label_error(format!(
                    "the label {} is column {column}, which is named twice",
                    quoted(label.as_bytes())
                )));
            }
            columns.push(column);
        }
        if columns.is_empty() {
            let usual = |name: &String| USUAL_LABEL_NAMES.contains(&name.to_ascii_lowercase().as_str());
            let header = self.header.as_deref().unwrap_or_default();
            let mut named = (0..header.len()).filter(|&column| usual(&header[column]));
            columns.push(match (named.next(), named.next()) {
                (Some(column), None) => column,
                _ => self.width - 1,
            });
        }
        Ok(columns)
    }

    /// A column by its name, or by its index from 0, or from the end with -1 for the last.
    fn column(&self, label: &str) -> Result<usize, DataError> {
        if let Some(column) = self.header.as_deref().and_then(|header| position(header, label)) {
            return Ok(column);
        }
        let width = self.width as i64;
        match label.parse::<i64>() {
            Ok(index) if (0..width).contains(&index) => Ok(index as usize),
            Ok(index) if (-width..0).contains(&index) => Ok((index + width) as usize),
            Ok(index) => Err(self.label_error(format!(
                "there is no column {index}; the {width} columns are 0 to {}, or -{width} to -1",
                width - 1
            ))),
            Err(_) => {
                let label = quoted(label.as_bytes());
                Err(self.label_error(match &self.header {
                    Some(header) => {
                        format!("there is no column {label}; the columns are {}", listed(header))
                    }
                    None => format!(
                        "there is no column {label}, for the file has no header; give the column's index, from 0, or \
                         -1 for the last"
                    ),
                }))
            }
        }
    }

    /// The columns of a model's features in this file, in the model's order. `labels` are the label columns, where the
    /// user said which.
    fn matching_features(&self, schema: &Schema, labels: Option<&[usize]>) -> Result<Vec<usize>, DataError> {
        if let Some(labels) = labels.filter(|labels| labels.len() != schema.label_count()) {
            return Err(self.mismatch(format!(
                "{} label columns are named, the model predicts {}",
                labels.len(),
                schema.label_count()
            )));
        }
        if let (Some(header), Some(names)) = (&self.header, &schema.feature_names) {
            let position_of: BTreeMap<&String, usize> = header.iter().zip(0..).collect();
            let missing: Vec<String> =
                names.iter().filter(|name| !position_of.contains_key(name)).cloned().collect();
            if !missing.is_empty() {
                return Err(self.mismatch(format!("it has no column {}", listed(&missing))));
            }
            refuse_duplicates(&self.path, header)?;
            return Ok(names.iter().map(|name| position_of[name]).collect());
        }
        let with_labels = schema.features + schema.label_count();
        if self.width == schema.features && labels.is_none() {
            return Ok((0..self.width).collect());
        }
        if self.width != with_labels {
            return Err(self.mismatch(format!(
                "it has {} columns where {} features, or {with_labels} columns with the label, are needed",
                self.width, schema.features
            )));
        }
        let labels = labels.map_or_else(|| schema.label_positions(), <[usize]>::to_vec);
        Ok((0..self.width).filter(|column| !labels.contains(column)).collect())
    }

    /// The columns of a model's targets in this file.
    fn matching_labels(&self, schema: &Schema) -> Result<Vec<usize>, DataError> {
        if let (Some(header), Some(names)) = (&self.header, &schema.label_names) {
            let columns: Vec<usize> = names.iter().filter_map(|name| position(header, name)).collect();
            if columns.len() != names.len() {
                return Err(self.mismatch(format!("it has no label column {}", listed(names))));
            }
            return Ok(columns);
        }
        if self.width == schema.features {
            return Err(DataError::NoLabels { path: self.path.clone() });
        }
        Ok(schema.label_positions())
    }

    /// Reads all examples: the features, and the labels column by column.
    fn read(
        mut self,
        feature_columns: &[usize],
        label_columns: &[usize],
    ) -> Result<(FeatureRows, Vec<LabelColumn>), DataError> {
        let mut values = FeatureValues::U8(Vec::new());
        let mut labels: Vec<LabelColumn> = label_columns
            .iter()
            .map(|&column| {
                let last = column + 1 == self.width;
                let class_names = self.counts.as_ref().filter(|_| last).map(|(_, names)| names.clone());
                LabelColumn::new(class_names)
            })
            .collect();
        let mut examples = 0;
        let mut first_examples = std::mem::take(&mut self.first_examples).into_iter();
        let mut row = ByteRecord::new();
        loop {
            if let Some(first) = first_examples.next() {
                row = first;
            } else if !self.reader.read_byte_record(&mut row).map_err(|error| csv_error(&self.path, error))? {
                break;
            }
            let line = row.position().map_or(0, csv::Position::line);
            if row.len() != self.width {
                return Err(DataError::Ragged {
                    path: self.path,
                    line,
                    cells: row.len(),
                    expected: self.width,
                });
            }
            examples += 1;
            if examples > limits::MAX_EXAMPLES {
                return Err(self.too_large("examples", limits::MAX_EXAMPLES));
            }
            if values.len() + feature_columns.len() > limits::MAX_VALUES {
                return Err(self.too_large("values", limits::MAX_VALUES));
            }
            let place = |column| Place { path: &self.path, line, column, header: self.header.as_deref() };
            for &column in feature_columns {
                values.push(number(&row[column]).map_err(|problem| place(column).error(problem))?);
            }
            for (label, &column) in labels.iter_mut().zip(label_columns) {
                label.push(&row[column], &place(column))?;
            }
        }
        match self.counts {
            _ if examples == 0 => Err(DataError::Empty { path: self.path }),
            Some((promised, _)) if promised != examples => Err(DataError::UnknownFormat {
                path: self.path,
                hint: format!(
                    "its first line says {promised} examples, but {examples} follow; correct or remove that line"
                ),
            }),
            _ => Ok((FeatureRows::new(feature_columns.len(), values), labels)),
        }
    }

    fn too_large(&self, what: &'static str, limit: usize) -> DataError {
        DataError::TooLarge { path: self.path.clone(), what, limit: limit as u64 }
    }

    fn label_error(&self, problem: String) -> DataError {
        DataError::Label { path: self.path.clone(), problem }
    }

    fn mismatch(&self, problem: String) -> DataError {
        DataError::Mismatch { path: self.path.clone(), problem }
    }
}

/// Where a cell stands, for errors.
pub(super) struct Place<'a> {
    path: &'a Path,
    /// Line in the file, from 1.
    pub(super) line: u64,
    column: usize,
    header: Option<&'a [String]>,
}

impl Place<'_> {
    /// An error about this cell.
    pub(super) fn error(&self, mut problem: String) -> DataError {
        let column = match self.header {
            Some(header) => format!("{} ({})", self.column, header[self.column]),
            None => self.column.to_string(),
        };
        if self.header.is_none() && self.line == 1 {
            problem += " (if this line is a header, say so)";
        }
        DataError::Cell { path: self.path.to_owned(), line: self.line, column, problem }
    }
}

/// A cell as text, or what is wrong with it.
pub(super) fn utf8(cell: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(cell).map_err(|_| format!("{} is not in UTF-8; save the file as UTF-8", quoted(cell)))
}

/// A cell as a number, or what is wrong with it.
pub(super) fn number(cell: &[u8]) -> Result<f32, String> {
    if cell.is_empty() {
        return Err("the cell is empty; fill it in or remove the row".to_owned());
    }
    let value = std::str::from_utf8(cell).ok().and_then(|text| text.parse::<f32>().ok());
    match value {
        None => {
            Err(format!("{} is not a number; write numbers like 1.5, or remove the column", quoted(cell)))
        }
        Some(value) if value.abs() <= limits::MAX_MAGNITUDE => Ok(value),
        Some(value) if value.is_finite() => {
            Err(format!("{} is too large, the limit is {:e}", quoted(cell), limits::MAX_MAGNITUDE))
        }
        Some(_) => Err(format!("{} is not a finite number; fill it in or remove the row", quoted(cell))),
    }
}

/// Several label columns as one row-major matrix of numbers.
fn numbers(path: &Path, columns: Vec<LabelColumn>, names: Vec<String>) -> Result<TargetColumn, DataError> {
    let columns: Vec<Vec<f32>> =
        columns.into_iter().map(|column| column.into_numbers(path)).collect::<Result<_, _>>()?;
    let examples = columns.first().map_or(0, Vec::len);
    let mut values = Vec::with_capacity(examples * columns.len());
    for example in 0..examples {
        values.extend(columns.iter().map(|column| column[example]));
    }
    Ok(TargetColumn::Numbers { values, names })
}

/// Tells apart, before it is parsed, what is clearly not CSV.
fn refuse_other_formats(path: &Path, head: &[u8]) -> Result<(), DataError> {
    let hint = if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        "it is text in UTF-16; save it as UTF-8"
    } else if head.starts_with(b"PK\x03\x04") {
        "it is a zip archive or a spreadsheet; unpack it, or save it as CSV"
    } else if head.starts_with(b"PAR1") {
        "it is a Parquet file; save it as CSV"
    } else if head.starts_with(&[0, 0, 8]) {
        "it is a single IDX file; give the directory that holds images and labels"
    } else if head.contains(&0) {
        "it is binary, neither CSV nor a directory of IDX files"
    } else {
        return Ok(());
    };
    Err(DataError::UnknownFormat { path: path.to_owned(), hint: hint.to_owned() })
}

fn refuse_duplicates(path: &Path, names: &[String]) -> Result<(), DataError> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(DataError::UnknownFormat {
            path: path.to_owned(),
            hint: format!("two columns are called {}; rename one", quoted(name.as_bytes())),
        }),
    }
}

fn position(header: &[String], name: &str) -> Option<usize> {
    header.iter().position(|column| column == name)
}

/// Names for a message: the first few, and how many more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| quoted(name.as_bytes())).collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => file::read_error(path, source),
        // No other kind occurs with byte records of flexible length.
        kind => file::read_error(path, io::Error::other(format!("{kind:?}"))),
    }
}
