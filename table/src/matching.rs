//! Reading further files as the training data was read: a test part, or one to evaluate or predict with a
//! trained model.

use std::path::PathBuf;

use crate::{
    Column, Kind, LabelColumn, Preparation, ReadOptions, Style, Table, TableError, TargetSchema, TaskKind,
    Values,
    csv::{self, read::Reading},
    date::DateFormat,
    error::{ColumnPlace, counted, listed},
    formats::{self, Examples, Found},
    kind::Facts,
    lines::Lines,
    load::{Opened, known_names, notice_bad_rows, numbers, reading, targets},
    memory::MemoryTable,
    missing::MissingTexts,
    target::{self, Targets},
};

/// How to treat labels in a file for a trained model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Testing needs them: a file without is an error, and so is a label that the training data does not
    /// have.
    Required,
    /// Predicting does not: a label column may be present and is ignored.
    Ignored,
}

/// Reads further files for a model trained on data of this preparation. Where both have names, columns are
/// found by name, in any order, and others are ignored; otherwise by position.
///
/// # Errors A [`TableError`] that names the place and the remedy.
pub fn read_matching(
    paths: &[PathBuf],
    preparation: &Preparation,
    options: &ReadOptions,
    labels: Labels,
) -> Result<Table, TableError> {
    read_as(paths, &Expected::of_preparation(preparation), options, labels)
}

/// Reads further files, with labels, as `train` was read: a test or validation part.
///
/// # Errors
/// A [`TableError`] that names the place and the remedy.
pub fn read_like(paths: &[PathBuf], train: &Table, options: &ReadOptions) -> Result<Table, TableError> {
    // Labels that the user named by position may stand elsewhere here; `train` knows their names.
    let options = ReadOptions { labels: Vec::new(), ..options.clone() };
    read_as(paths, &Expected::of_table(train, &options.missing), &options, Labels::Required)
}

fn read_as(
    paths: &[PathBuf],
    expected: &Expected,
    options: &ReadOptions,
    labels: Labels,
) -> Result<Table, TableError> {
    let options = ReadOptions {
        missing: options.missing.iter().chain(&expected.missing).cloned().collect(),
        ..options.clone()
    };
    let known: Vec<String> = known_names(&options).into_iter().chain(expected.names()).collect();
    let needed = labels == Labels::Required;
    match formats::open(paths, &options, expected.shape.as_deref(), needed)? {
        Found::Text(files) => {
            columns(Opened::open(&files, &options, &known, csv::BLOCK_BYTES)?, expected, &options, labels)
        }
        // Of a source that has parts the test part is meant.
        Found::Columns { train, test } => {
            columns(Opened::of_memory(test.unwrap_or(train), &options)?, expected, &options, labels)
        }
        Found::Examples { train, test } => examples(test.unwrap_or(train), Some(expected), &options, labels),
    }
}

/// Requirements on a further file.
pub(crate) struct Expected {
    width: usize,
    named: bool,
    columns: Vec<LabelColumn>,
    labels: Vec<LabelColumn>,
    targets: TargetSchema,
    missing: Vec<String>,
    /// Of one example, where the columns have no names.
    shape: Option<Vec<usize>>,
}

impl Expected {
    fn of_preparation(preparation: &Preparation) -> Self {
        let columns = preparation.columns.iter();
        Self {
            width: preparation.width,
            named: preparation.named,
            columns: columns
                .map(|column| LabelColumn {
                    name: column.name.clone(),
                    position: column.position,
                    kind: column.kind,
                    date_format: column.date_format,
                })
                .collect(),
            labels: preparation.labels.clone(),
            targets: preparation.targets.clone(),
            missing: preparation.missing.clone(),
            shape: preparation.pixels.as_ref().map(|pixels| pixels.shape.clone()),
        }
    }

    pub(crate) fn of_table(table: &Table, missing: &[String]) -> Self {
        let learned =
            |column: &&Column| column.left_out.is_none() && !table.labels.contains(&column.position);
        Self {
            width: table.columns.len(),
            named: table.named,
            columns: table.columns.iter().filter(learned).map(Column::described).collect(),
            labels: table.labels.iter().map(|&label| table.columns[label].described()).collect(),
            targets: table.target_schema(),
            missing: missing.to_vec(),
            shape: table.pixels.as_ref().map(|pixels| pixels.shape.clone()),
        }
    }

    fn names(&self) -> Vec<String> {
        let columns = self.columns.iter().chain(&self.labels);
        columns.map(|column| &column.name).filter(|name| !name.is_empty()).cloned().collect()
    }
}

/// Examples whose values have no names, with their labels.
pub(crate) fn examples(
    examples: Examples,
    expected: Option<&Expected>,
    options: &ReadOptions,
    wanted_labels: Labels,
) -> Result<Table, TableError> {
    let Examples { path, pixels, labels, are_classes, notices } = examples;
    let each = pixels.width();
    let rows = pixels.values.len() / each.max(1);
    if let Some(expected) = expected.filter(|expected| expected.shape.as_ref() != Some(&pixels.shape)) {
        let problem = match &expected.shape {
            Some(shape) => format!(
                "its examples have the shape {:?}, but those to train on {shape:?}; make them alike",
                pixels.shape
            ),
            None => "it has images, but the training data has columns; give data like it".to_owned(),
        };
        return Err(TableError::Mismatch { path, problem });
    }
    let mut table = Table {
        path,
        rows,
        named: false,
        columns: Vec::new(),
        pixels: Some(pixels),
        labels: Vec::new(),
        targets: None,
        notices,
        lines: Lines::default(),
    };
    if wanted_labels == Labels::Ignored {
        return Ok(table);
    }
    let Some(labels) = labels else { return Err(TableError::NoLabels { path: table.path }) };
    let missing = MissingTexts::with(&options.missing);
    let reading = match expected.map(|expected| &expected.targets) {
        Some(TargetSchema::Classes(_)) => Reading::Texts,
        Some(TargetSchema::Numbers(_)) => Reading::Numbers(Style::Plain),
        None => {
            let facts = labels.facts(&missing)?;
            let place = ColumnPlace { index: 0, name: Some("label".to_owned()) };
            let told = are_classes.then_some(TaskKind::Classes);
            target::reading(&table.path, &place, &facts, facts.kind(None), options.task.or(told), false)?
        }
    };
    let memory =
        MemoryTable { path: table.path.clone(), names: None, rows, columns: vec![labels], scratch: None };
    let values = memory.read(&[reading], &missing)?.values;
    let (targets, wanted) = match (expected.map(|expected| &expected.targets), values.as_slice()) {
        (Some(TargetSchema::Classes(names)), [Values::Texts(texts)]) => {
            let ids = target::class_ids(&table.path, texts, names)?;
            let wanted = ids.iter().map(Option::is_some).collect();
            (Targets::Classes { ids: ids.into_iter().flatten().collect(), names: names.clone() }, wanted)
        }
        _ => targets(&table.path, &values, options.task, None, vec!["label".to_owned()])?,
    };
    table.targets = Some(targets);
    table.leave_out_unlabeled(&wanted)?;
    Ok(table)
}

/// Reads columns for a trained model.
pub(crate) fn columns(
    opened: Opened,
    expected: &Expected,
    options: &ReadOptions,
    labels: Labels,
) -> Result<Table, TableError> {
    let found = find_columns(&opened, expected, options, labels)?;
    let decimal_comma = opened.decimal_comma();
    let mut readings = vec![Reading::Skip; opened.facts.len()];
    let of = |index: usize, kind: Kind, date: Option<DateFormat>| {
        let facts: &Facts = &opened.facts[index];
        let style = facts.style(decimal_comma).unwrap_or_default();
        // The file's own way to write dates where it is plain; else that of the training data.
        let own = if facts.ambiguous_date() { None } else { facts.date_format() };
        reading(kind, style, own.or(date))
    };
    for (column, &index) in expected.columns.iter().zip(&found.columns) {
        readings[index] = of(index, column.kind, column.date_format);
    }
    for (label, &index) in expected.labels.iter().zip(&found.labels) {
        readings[index] = match expected.targets {
            TargetSchema::Classes(_) => Reading::Texts,
            TargetSchema::Numbers(_) => match of(index, label.kind, label.date_format) {
                Reading::Texts => Reading::Numbers(Style::Plain),
                reading => reading,
            },
        };
    }
    let mut notices = opened.notices.clone();
    let (path, named) = (opened.path.clone(), opened.names.is_some());
    let facts = opened.facts.clone();
    let read = opened.read(&readings, options.skip_bad_rows)?;
    notice_bad_rows(&read, &mut notices);
    let rows = read.rows;
    let mut values: Vec<Option<Values>> = read.values.into_iter().map(Some).collect();
    let label_values = found.labels.iter().filter_map(|&index| values[index].take());
    let label_values = label_values.map(Values::into_memory).collect::<Result<Vec<Values>, _>>()?;
    let columns = expected
        .columns
        .iter()
        .zip(&found.columns)
        .map(|(column, &index)| Column {
            name: column.name.clone(),
            position: column.position,
            kind: column.kind,
            left_out: None,
            kept: false,
            date_format: column.date_format,
            missing: facts[index].missing,
            distinct: facts[index].distinct(),
            range: (facts[index].texts == 0 && facts[index].numbers > 0)
                .then_some((facts[index].least, facts[index].greatest)),
            values: values[index].take().unwrap_or(Values::Unread),
        })
        .collect();
    let mut table = Table {
        path,
        rows,
        named,
        columns,
        pixels: None,
        labels: Vec::new(),
        targets: None,
        notices,
        lines: read.lines,
    };
    if labels == Labels::Required {
        let (targets, wanted) = match (&expected.targets, label_values.as_slice()) {
            (TargetSchema::Classes(names), [Values::Texts(texts)]) => {
                let ids = target::class_ids(&table.path, texts, names)?;
                let wanted = ids.iter().map(Option::is_some).collect();
                (Targets::Classes { ids: ids.into_iter().flatten().collect(), names: names.clone() }, wanted)
            }
            (TargetSchema::Numbers(names), values) => numbers(values, names.clone()),
            _ => return Err(TableError::NoLabels { path: table.path }),
        };
        table.targets = Some(targets);
        table.leave_out_unlabeled(&wanted)?;
    }
    Ok(table)
}

/// Where a preparation's columns stand in a file.
struct Positions {
    columns: Vec<usize>,
    labels: Vec<usize>,
}

fn find_columns(
    opened: &Opened,
    expected: &Expected,
    options: &ReadOptions,
    labels: Labels,
) -> Result<Positions, TableError> {
    let mismatch = |problem: String| Err(TableError::Mismatch { path: opened.path.clone(), problem });
    let asked = match options.labels.as_slice() {
        [] => None,
        wanted => Some(opened.names().labels(wanted)?),
    };
    if let Some(asked) = asked.as_ref().filter(|asked| asked.len() != expected.labels.len()) {
        return mismatch(format!(
            "{} named with --label, but the model predicts {}; name as many",
            counted(asked.len(), "column"),
            expected.labels.len()
        ));
    }
    let width = opened.facts.len();
    if let (Some(names), true) = (&opened.names, expected.named) {
        let position = |name: &str, position: usize| {
            if name.is_empty() {
                // A column without a name is where it was, or else the first without one.
                let there = names.get(position).is_some_and(String::is_empty).then_some(position);
                return there.or_else(|| names.iter().position(String::is_empty));
            }
            names.iter().position(|other| other == name)
        };
        let columns: Vec<Option<usize>> =
            expected.columns.iter().map(|column| position(&column.name, column.position)).collect();
        let absent: Vec<&str> = expected
            .columns
            .iter()
            .zip(&columns)
            .filter(|(_, found)| found.is_none())
            .map(|(column, _)| column.name.as_str())
            .collect();
        if !absent.is_empty() {
            return mismatch(format!(
                "it has no column {}; its columns are {}",
                listed(&absent),
                listed(names)
            ));
        }
        let labels = match (labels, asked) {
            (Labels::Ignored, _) => Vec::new(),
            (Labels::Required, Some(asked)) => asked,
            (Labels::Required, None) => {
                let found: Vec<usize> = expected
                    .labels
                    .iter()
                    .filter_map(|label| position(&label.name, label.position))
                    .collect();
                if found.len() != expected.labels.len() {
                    let names: Vec<&str> = expected.labels.iter().map(|label| label.name.as_str()).collect();
                    return mismatch(format!(
                        "it has no label column {}; name it with --label",
                        listed(&names)
                    ));
                }
                found
            }
        };
        return Ok(Positions { columns: columns.into_iter().flatten().collect(), labels });
    }
    // By position: as the training file was, or that without its labels.
    let trained: Vec<usize> = expected.labels.iter().map(|label| label.position).collect();
    let bare = expected.width - trained.len();
    if width == bare && asked.is_none() {
        if labels == Labels::Required {
            return Err(TableError::NoLabels { path: opened.path.clone() });
        }
        let before = |position: usize| trained.iter().filter(|&&label| label < position).count();
        let columns =
            expected.columns.iter().map(|column| column.position - before(column.position)).collect();
        return Ok(Positions { columns, labels: Vec::new() });
    }
    if width != expected.width {
        return mismatch(format!(
            "it has {}, but the training file had {}, or {bare} without the label; give a file with the same columns, or \
             name the columns in a header",
            counted(width, "column"),
            expected.width
        ));
    }
    let labels_there = asked.clone().unwrap_or_else(|| trained.clone());
    // Where the labels stand elsewhere, the other columns keep their order.
    let others: Vec<usize> = (0..width).filter(|index| !labels_there.contains(index)).collect();
    let before = |position: usize| trained.iter().filter(|&&label| label < position).count();
    let columns =
        expected.columns.iter().map(|column| others[column.position - before(column.position)]).collect();
    let labels = if labels == Labels::Required { labels_there } else { Vec::new() };
    Ok(Positions { columns, labels })
}
