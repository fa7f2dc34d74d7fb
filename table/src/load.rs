//! Reading a data set to train on: what its columns are, which are learned from, and what is predicted.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::{
    Column, Kind, LabelColumn, LeftOut, ReadOptions, Separator, Style, Table, TableError, TargetSchema,
    TaskKind, Values,
    csv::{
        self,
        read::{Read, Reading},
        survey::{Survey, survey},
    },
    date::DateFormat,
    error::{ColumnPlace, counted, listed, plain},
    formats::{self, Found},
    kind::Facts,
    matching::{self, Expected, Labels},
    memory::{MemoryTable, RAW_BYTES},
    missing::MissingTexts,
    numbers::Numbers,
    scratch::columns_at_once,
    source::DataFile,
    target::{self, Names, Targets},
};

/// What a source holds.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// Examples to train on, or to split.
    pub train: Table,
    /// The test part, where the source has one of its own.
    pub test: Option<Table>,
    /// Texts that stand for a missing value in it, beside the usual ones: the user's, and those that a column of
    /// numbers gave away.
    pub missing: Vec<String>,
}

/// Reads a data set to train on.
///
/// # Errors
/// A [`TableError`] that names the place and the remedy.
pub fn read(paths: &[PathBuf], options: &ReadOptions) -> Result<DataSet, TableError> {
    match formats::open(paths, options, None, true)? {
        Found::Text(files) => {
            let open = |options: &ReadOptions| {
                Opened::open(&files, options, &known_names(options), csv::BLOCK_BYTES)
            };
            let opened = open(options)?;
            let (markers, notices) = opened.markers(options)?;
            if markers.is_empty() {
                return Ok(DataSet {
                    train: train(opened, options)?,
                    test: None,
                    missing: options.missing.clone(),
                });
            }
            drop(opened);
            let mut options = options.clone();
            options.missing.extend(markers);
            let mut train = train(open(&options)?, &options)?;
            train.notices.extend(notices);
            Ok(DataSet { train, test: None, missing: options.missing })
        }
        Found::Columns { train: columns, test } => {
            let train = train(Opened::of_memory(columns, options)?, options)?;
            let expected = Expected::of_table(&train, &options.missing);
            let like = |test| {
                matching::columns(Opened::of_memory(test, options)?, &expected, options, Labels::Required)
            };
            let test = test.map(like).transpose()?;
            Ok(DataSet { train, test, missing: options.missing.clone() })
        }
        Found::Examples { train, test } => {
            let train = matching::examples(train, None, options, Labels::Required)?;
            let expected = Expected::of_table(&train, &[]);
            let test = test
                .map(|test| matching::examples(test, Some(&expected), options, Labels::Required))
                .transpose()?;
            Ok(DataSet { train, test, missing: options.missing.clone() })
        }
    }
}

/// Reads images and labels of two IDX files; with `train`, as a part that must fit it.
///
/// # Errors
/// A [`TableError`] that names the place and the remedy.
pub fn read_idx(images: &DataFile, labels: &DataFile, train: Option<&Table>) -> Result<Table, TableError> {
    let examples = formats::idx::examples(images, Some(labels))?;
    let expected = train.map(|train| Expected::of_table(train, &[]));
    matching::examples(examples, expected.as_ref(), &ReadOptions::default(), Labels::Required)
}

/// Names of columns that the user named.
pub(crate) fn known_names(options: &ReadOptions) -> Vec<String> {
    let kinds = options.kinds.iter().map(|kind| &kind.column);
    options.labels.iter().chain(&options.drop).chain(&options.keep).chain(kinds).cloned().collect()
}

/// Files whose columns are known and whose values are not read yet.
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) facts: Vec<Facts>,
    pub(crate) notices: Vec<String>,
    /// Classes of the last column, where the first line has them.
    counts: Option<Vec<String>>,
    /// Whether a comma is no separator, and so perhaps a decimal mark.
    semicolons: bool,
    missing: MissingTexts,
    content: Content,
}

enum Content {
    Text(Box<Survey>, usize),
    Memory(MemoryTable),
}

impl Opened {
    pub(crate) fn open(
        files: &[DataFile],
        options: &ReadOptions,
        known: &[String],
        block_bytes: usize,
    ) -> Result<Self, TableError> {
        Ok(Self::of_text(survey(files, options, known, block_bytes)?, block_bytes))
    }

    fn of_text(survey: Survey, block_bytes: usize) -> Self {
        let first = &survey.files[0];
        Self {
            path: first.file.path.clone(),
            names: survey.names.clone(),
            facts: survey.facts.clone(),
            notices: survey.notices.clone(),
            counts: first.layout.counts.as_ref().map(|(_, names)| names.clone()),
            semicolons: survey.files.iter().any(|file| file.layout.separator == Separator::Byte(b';')),
            missing: survey.missing.clone(),
            content: Content::Text(Box::new(survey), block_bytes),
        }
    }

    /// # Errors
    /// [`TableError::Scratch`] when columns outside of memory cannot be read.
    pub(crate) fn of_memory(table: MemoryTable, options: &ReadOptions) -> Result<Self, TableError> {
        let missing = MissingTexts::with(&options.missing);
        let at_once = match &table.scratch {
            Some(_) => columns_at_once(table.rows, RAW_BYTES),
            None => table.columns.len().max(1),
        };
        let mut facts = Vec::with_capacity(table.columns.len());
        for columns in table.columns.chunks(at_once) {
            let some: Result<Vec<Facts>, TableError> =
                columns.par_iter().map(|column| column.facts(&missing)).collect();
            facts.extend(some?);
        }
        Ok(Self {
            path: table.path.clone(),
            names: table.names.clone(),
            facts,
            notices: Vec::new(),
            counts: None,
            semicolons: false,
            missing,
            content: Content::Memory(table),
        })
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names { path: &self.path, names: self.names.as_deref(), width: self.facts.len() }
    }

    pub(crate) fn place(&self, index: usize) -> ColumnPlace {
        ColumnPlace { index, name: self.names.as_ref().map(|names| names[index].clone()) }
    }

    /// Texts of columns of numbers that stand for a missing one ([`Facts::marker`]), each once, with a notice for each
    /// column.
    fn markers(&self, options: &ReadOptions) -> Result<(Vec<String>, Vec<String>), TableError> {
        let names = self.names();
        let mut decided = names.labels(&options.labels)?;
        for kind in &options.kinds {
            decided.push(names.find("as", &kind.column)?);
        }
        for dropped in &options.drop {
            decided.push(names.find("drop", dropped)?);
        }
        let (mut markers, mut notices) = (Vec::new(), Vec::new());
        for (index, facts) in self.facts.iter().enumerate().filter(|(index, _)| !decided.contains(index)) {
            let Some(marker) = facts.marker() else { continue };
            notices.push(format!(
                "{} of {} have {}, which counts as missing there and everywhere (--as COLUMN=category if it is a category)",
                counted(facts.texts, "cell"),
                self.place(index),
                crate::error::quoted(marker.as_bytes())
            ));
            if !markers.contains(&marker) {
                markers.push(marker);
            }
        }
        Ok((markers, notices))
    }

    /// Whether the decimal mark is a comma: columns tell each other; where none does, the separator does.
    pub(crate) fn decimal_comma(&self) -> Option<bool> {
        let told: Vec<bool> = self.facts.iter().filter_map(Facts::tells_decimal_comma).collect();
        match (told.contains(&true), told.contains(&false)) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            (false, false) => self.semicolons.then_some(true),
            (true, true) => None,
        }
    }

    pub(crate) fn read(self, readings: &[Reading], skip_bad_rows: bool) -> Result<Read, TableError> {
        match self.content {
            Content::Text(mut survey, block_bytes) => {
                csv::read::read(&mut survey, readings, skip_bad_rows, block_bytes)
            }
            Content::Memory(table) => table.read(readings, &self.missing),
        }
    }
}

/// What is done with one column.
#[derive(Clone, Debug)]
struct Judged {
    kind: Kind,
    style: Style,
    date: Option<DateFormat>,
    left_out: Option<LeftOut>,
    kept: bool,
}

impl Judged {
    fn reading(&self) -> Reading {
        match (self.left_out, self.kind) {
            (Some(_), _) | (None, Kind::Text) => Reading::Skip,
            (None, kind) => reading(kind, self.style, self.date),
        }
    }
}

pub(crate) fn reading(kind: Kind, style: Style, date: Option<DateFormat>) -> Reading {
    match kind {
        Kind::Number => Reading::Numbers(style),
        Kind::Boolean => Reading::Booleans,
        Kind::Category | Kind::Text => Reading::Texts,
        Kind::Date => Reading::Dates(date.unwrap_or(DateFormat::ISO)),
    }
}

/// Reads columns to train on.
pub(crate) fn train(opened: Opened, options: &ReadOptions) -> Result<Table, TableError> {
    let labels = opened.names().labels(&options.labels)?;
    let judged = judge(&opened, &labels, options)?;
    let mut readings: Vec<Reading> = judged.iter().map(Judged::reading).collect();
    for &label in &labels {
        let Judged { kind, style, date, .. } = judged[label];
        let counts = opened.counts.is_some() && label + 1 == opened.facts.len();
        let task = if counts { Some(TaskKind::Classes) } else { options.task };
        let (facts, place) = (&opened.facts[label], opened.place(label));
        readings[label] =
            target::reading(&opened.path, &place, facts, (kind, style, date), task, labels.len() > 1)?;
    }
    let mut notices = opened.notices.clone();
    let mut columns: Vec<Column> = opened
        .facts
        .iter()
        .zip(judged)
        .enumerate()
        .map(|(index, (facts, judged))| column(&opened, index, facts, judged))
        .collect();
    for ((column, facts), reading) in columns.iter().zip(&opened.facts).zip(&readings) {
        if let Reading::Numbers(style) = reading
            && facts.mixes_percent(*style)
        {
            notices.push(format!(
                "{} has numbers with and without a sign of per cent; 5% and 5 count as the same there (correct the \
                 column if they are not)",
                column.place()
            ));
        }
        if column.left_out.is_none() && column.kind == Kind::Category && facts.numbers > 0 && facts.texts > 0
        {
            let example =
                facts.first_text.as_ref().map_or(String::new(), |seen| crate::error::quoted(&seen.cell));
            notices.push(format!(
                "{} has numbers and text such as {example}; it was read as categories (--missing TEXT if the text stands \
                 for a missing number)",
                column.place()
            ));
        }
    }
    let (path, named, counts) = (opened.path.clone(), opened.names.is_some(), opened.counts.clone());
    let read = opened.read(&readings, options.skip_bad_rows)?;
    notice_bad_rows(&read, &mut notices);
    let rows = read.rows;
    for (column, values) in columns.iter_mut().zip(read.values) {
        column.values = values;
    }
    let lines = read.lines;
    let mut table = Table { path, rows, named, columns, pixels: None, labels, targets: None, notices, lines };
    notice_left_out(&mut table);
    let values = table.take_labels()?;
    let counts = counts.filter(|_| table.labels.contains(&(table.columns.len() - 1)));
    let (targets, wanted) = targets(&table.path, &values, options.task, counts, table.label_names())?;
    table.targets = Some(targets);
    table.leave_out_unlabeled(&wanted)?;
    Ok(table)
}

fn column(opened: &Opened, index: usize, facts: &Facts, judged: Judged) -> Column {
    Column {
        name: opened.names.as_ref().map_or_else(String::new, |names| names[index].clone()),
        position: index,
        kind: judged.kind,
        left_out: judged.left_out,
        kept: judged.kept,
        date_format: judged.date,
        missing: facts.missing,
        distinct: facts.distinct(),
        range: (facts.texts == 0 && facts.numbers > 0).then_some((facts.least, facts.greatest)),
        values: Values::Unread,
    }
}

/// What each column is, told from its cells, with the user's word above it.
fn judge(opened: &Opened, labels: &[usize], options: &ReadOptions) -> Result<Vec<Judged>, TableError> {
    let names = opened.names();
    let decimal_comma = opened.decimal_comma();
    let mut judged: Vec<Judged> = Vec::with_capacity(opened.facts.len());
    for (index, facts) in opened.facts.iter().enumerate() {
        let (kind, style, date) = facts.kind(decimal_comma);
        // In a file without names nobody knows of a column that it numbers rows.
        let name = opened.names.as_ref().map_or("x", |names| names[index].as_str());
        let left_out = if labels.contains(&index) || (options.keep_all && kind != Kind::Text) {
            None
        } else {
            facts.left_out(name, kind)
        };
        judged.push(Judged { kind, style, date, left_out, kept: options.keep_all });
    }
    for asked in &options.kinds {
        let index = names.find("as", &asked.column)?;
        let facts = &opened.facts[index];
        let judged = &mut judged[index];
        let refuse = |problem: &str| {
            Err(TableError::Flag { flag: "as", problem: format!("{}: {problem}", plain(&asked.column)) })
        };
        match asked.kind {
            Kind::Date => match facts.date_format() {
                Some(format) if facts.numbers == 0 && facts.texts > 0 => judged.date = Some(format),
                _ if judged.kind == Kind::Date => {}
                _ => return refuse("its cells are not all dates of one form; write them like 2024-12-31"),
            },
            Kind::Category if facts.has_many_texts() => {
                return refuse("it has too many different texts for a category; leave it out");
            }
            _ => {}
        }
        judged.kind = asked.kind;
        judged.left_out = (asked.kind == Kind::Text).then_some(LeftOut::Text);
    }
    for wanted in &options.keep {
        let judged = &mut judged[names.find("keep", wanted)?];
        if judged.kind == Kind::Text {
            let problem = format!(
                "{} is free text, which nothing can be learned from here; leave it out",
                plain(wanted)
            );
            return Err(TableError::Flag { flag: "keep", problem });
        }
        judged.left_out = None;
        judged.kept = true;
    }
    for wanted in &options.drop {
        let index = names.find("drop", wanted)?;
        if labels.contains(&index) {
            let problem = format!("{} is to be predicted; it cannot be dropped, too", plain(wanted));
            return Err(TableError::Flag { flag: "drop", problem });
        }
        judged[index].left_out = Some(LeftOut::Asked);
    }
    Ok(judged)
}

pub(crate) fn notice_bad_rows(read: &Read, notices: &mut Vec<String>) {
    if read.bad_rows > 0 {
        notices.push(format!(
            "{} could not be read and {} left out; the first: {}",
            counted(read.bad_rows, "row"),
            if read.bad_rows == 1 { "was" } else { "were" },
            read.first_bad.clone().unwrap_or_default()
        ));
    }
}

/// Says which columns are not learned from, and how to keep them.
fn notice_left_out(table: &mut Table) {
    let reasons = [
        LeftOut::Identifier,
        LeftOut::Constant,
        LeftOut::Empty,
        LeftOut::Text,
        LeftOut::Nested,
        LeftOut::AmbiguousDate,
    ];
    for reason in reasons {
        let names: Vec<String> = table
            .columns
            .iter()
            .filter(|column| column.left_out == Some(reason))
            .map(Column::shown)
            .collect();
        if names.is_empty() {
            continue;
        }
        let (why, remedy) = match reason {
            LeftOut::Identifier => {
                ("tells each row from every other", "--keep COLUMN to learn from it all the same")
            }
            LeftOut::Constant => ("has the same value in every row", "--keep COLUMN keeps it"),
            LeftOut::Empty => ("has no value in any row", "--keep COLUMN keeps it"),
            LeftOut::Text => {
                ("is text with too many different values", "--as COLUMN=category if it is a category")
            }
            LeftOut::Nested => {
                ("has lists or structures in its cells", "give each of their elements a column of its own")
            }
            _ => (
                "has dates whose day and month could be either way round",
                "--as COLUMN=date reads the month first",
            ),
        };
        let which = if names.len() > 1 { "each of which" } else { "which" };
        table.notices.push(format!("left out {}, {which} {why} ({remedy})", listed(&names)));
    }
}

/// Targets of the label columns' values, and which rows have one.
pub(crate) fn targets(
    path: &Path,
    values: &[Values],
    task: Option<TaskKind>,
    counts: Option<Vec<String>>,
    names: Vec<String>,
) -> Result<(Targets, Vec<bool>), TableError> {
    if let [Values::Texts(texts)] = values {
        let (ids, names) = match counts {
            None => {
                let names = target::classes(path, texts, task.is_none())?;
                (target::class_ids(path, texts, &names)?, names)
            }
            Some(names) => {
                let indices: Vec<String> = (0..names.len()).map(|index| index.to_string()).collect();
                (target::class_ids(path, texts, &indices)?, names)
            }
        };
        let wanted = ids.iter().map(Option::is_some).collect();
        return Ok((Targets::Classes { ids: ids.into_iter().flatten().collect(), names }, wanted));
    }
    Ok(numbers(values, names))
}

pub(crate) fn numbers(values: &[Values], names: Vec<String>) -> (Targets, Vec<bool>) {
    let columns: Vec<&Numbers> = values
        .iter()
        .filter_map(|values| if let Values::Numbers(values) = values { Some(values) } else { None })
        .collect();
    let rows = columns.first().map_or(0, |column| column.len());
    let wanted: Vec<bool> =
        (0..rows).map(|row| columns.iter().all(|column| !column.get(row).is_nan())).collect();
    let rows = (0..rows).filter(|&row| wanted[row]);
    let values = rows.flat_map(|row| columns.iter().map(move |column| column.get(row))).collect();
    (Targets::Numbers { values, names }, wanted)
}

impl Table {
    /// What is predicted.
    pub fn target_schema(&self) -> TargetSchema {
        match &self.targets {
            Some(Targets::Classes { names, .. }) => TargetSchema::Classes(names.clone()),
            Some(Targets::Numbers { names, .. }) => TargetSchema::Numbers(names.clone()),
            None => TargetSchema::Numbers(Vec::new()),
        }
    }

    /// The values of the columns to predict; they are not there any more.
    fn take_labels(&mut self) -> Result<Vec<Values>, TableError> {
        let labels = self.labels.iter();
        labels
            .map(|&label| std::mem::replace(&mut self.columns[label].values, Values::Unread).into_memory())
            .collect()
    }

    fn label_names(&self) -> Vec<String> {
        self.labels.iter().map(|&label| self.columns[label].shown()).collect()
    }

    /// Leaves out the rows that have no label.
    pub(crate) fn leave_out_unlabeled(&mut self, wanted: &[bool]) -> Result<(), TableError> {
        let without = wanted.iter().filter(|wanted| !**wanted).count();
        if without == 0 {
            return Ok(());
        }
        if without == wanted.len() {
            return Err(TableError::NoLabels { path: self.path.clone() });
        }
        for column in &mut self.columns {
            column.values.retain(wanted)?;
        }
        if let Some(pixels) = &mut self.pixels {
            pixels.retain(wanted)?;
        }
        self.lines.retain(wanted);
        self.rows = wanted.len() - without;
        self.notices.push(format!(
            "{} without a label {} left out",
            counted(without, "row"),
            if without == 1 { "was" } else { "were" }
        ));
        Ok(())
    }
}

impl Column {
    /// The column without its cells.
    pub(crate) fn described(&self) -> LabelColumn {
        LabelColumn {
            name: self.name.clone(),
            position: self.position,
            kind: self.kind,
            date_format: self.date_format,
        }
    }

    /// The column without its cells.
    pub fn without_values(&self) -> Self {
        Self { values: Values::Unread, name: self.name.clone(), ..*self }
    }

    /// The name, or for a column without one its number.
    pub fn shown(&self) -> String {
        if self.name.is_empty() { format!("column {}", self.position + 1) } else { self.name.clone() }
    }
}
