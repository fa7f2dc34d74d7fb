//! Columns that a format gives with their types, such as Parquet's: the same questions are asked of them as
//! of text.

use std::{collections::BTreeMap, path::PathBuf};

use rayon::prelude::*;

use crate::{
    Kind, TableError, Texts, Values,
    column::MISSING_CODE,
    csv::{
        number::{Point, styled, whole},
        read::{MAGNITUDE_MAX, Read, Reading, wrong_size},
    },
    date::seconds,
    error::{ColumnPlace, quoted},
    kind::{Facts, boolean},
    lines::Lines,
    missing::MissingTexts,
    numbers::Numbers,
    scratch::{Scratch, Spilled, columns_at_once},
};

/// A table in memory.
#[derive(Debug)]
pub(crate) struct MemoryTable {
    pub(crate) path: PathBuf,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) rows: usize,
    pub(crate) columns: Vec<Raw>,
    /// Where the columns are kept, if not in memory.
    pub(crate) scratch: Option<Scratch>,
}

/// A column as its format gives it. Numbers are NaN where missing.
#[derive(Debug)]
pub(crate) enum Raw {
    Numbers(Numbers),
    /// Integers some of which no f64 holds, so that labels stay what they are; [`NO_INTEGER`] where missing.
    Integers(Vec<i128>),
    Booleans(Numbers),
    /// Seconds since 1970.
    Moments(Numbers),
    Texts(Texts),
    /// Texts, more of them than are told apart.
    ManyTexts,
    /// Lists, structures, bytes: what no input is made of.
    Other,
    /// One of the first five, outside of memory.
    Spilled(SpilledRaw),
}

/// A column outside of memory.
#[derive(Debug)]
pub(crate) enum SpilledRaw {
    Numbers(Spilled<f64>),
    Integers(Spilled<i128>),
    Booleans(Spilled<f64>),
    Moments(Spilled<f64>),
    Texts { codes: Spilled<u32>, texts: Texts },
}

/// Bytes of memory that a row of a column takes while it is looked at.
pub(crate) const RAW_BYTES: usize = 16;

/// Stands for a missing integer; no format has it.
pub(crate) const NO_INTEGER: i128 = i128::MIN;
/// Integers up to this are f64 exactly.
const EXACT_INTEGERS: i128 = 1 << 53;

impl Raw {
    /// Integers ([`NO_INTEGER`] where missing), as numbers if these hold all of them.
    pub(crate) fn of_integers(values: Vec<i128>) -> Self {
        let is_exact = |&value: &i128| value == NO_INTEGER || value.abs() <= EXACT_INTEGERS;
        if values.iter().all(is_exact) { Self::Numbers(as_numbers(&values)) } else { Self::Integers(values) }
    }

    /// The column outside of memory.
    pub(crate) fn spilled(self, scratch: &Scratch) -> Result<Self, TableError> {
        Ok(Self::Spilled(match self {
            Self::Numbers(values) => SpilledRaw::Numbers(Spilled::of_numbers(scratch, &values)?),
            Self::Integers(values) => SpilledRaw::Integers(Spilled::of(scratch, &values)?),
            Self::Booleans(values) => SpilledRaw::Booleans(Spilled::of_numbers(scratch, &values)?),
            Self::Moments(values) => SpilledRaw::Moments(Spilled::of_numbers(scratch, &values)?),
            Self::Texts(texts) => SpilledRaw::Texts {
                codes: Spilled::of(scratch, texts.codes())?,
                texts: texts.without_codes(),
            },
            column => return Ok(column),
        }))
    }

    /// The column in memory.
    pub(crate) fn into_memory(self) -> Result<Self, TableError> {
        match self {
            Self::Spilled(column) => column.load(),
            column => Ok(column),
        }
    }

    /// # Errors
    /// [`TableError::Scratch`] when a column outside of memory cannot be read.
    pub(crate) fn facts(&self, missing: &MissingTexts) -> Result<Facts, TableError> {
        Ok(match self {
            Self::Spilled(column) => column.load()?.facts(missing)?,
            Self::Numbers(values) => of_numbers(values, None, missing),
            Self::Integers(values) => of_numbers(&as_numbers(values), None, missing),
            Self::Booleans(values) => of_numbers(values, Some(Kind::Boolean), missing),
            Self::Moments(values) => of_numbers(values, Some(Kind::Date), missing),
            Self::Texts(texts) => of_texts(texts, missing),
            Self::ManyTexts => Facts::of_free_text(false),
            Self::Other => Facts::of_free_text(true),
        })
    }

    /// Appends the rows of a further file where both columns are outside of memory and can stay there. Otherwise
    /// gives them back.
    pub(crate) fn concatenate(&mut self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Spilled(SpilledRaw::Numbers(values)), Self::Spilled(SpilledRaw::Numbers(more)))
            | (Self::Spilled(SpilledRaw::Booleans(values)), Self::Spilled(SpilledRaw::Booleans(more)))
            | (Self::Spilled(SpilledRaw::Moments(values)), Self::Spilled(SpilledRaw::Moments(more))) => {
                values.append(more);
                None
            }
            (Self::Spilled(SpilledRaw::Integers(values)), Self::Spilled(SpilledRaw::Integers(more))) => {
                values.append(more);
                None
            }
            (_, other) => Some(other),
        }
    }

    /// Appends the rows of a further file. Nothing is done about another type: the names say which column
    /// that is.
    pub(crate) fn append(&mut self, other: Self) -> Result<(), &'static str> {
        match (self, other) {
            (Self::Integers(values), Self::Integers(more)) => values.extend(more),
            (Self::Integers(values), Self::Numbers(more)) => values.extend(as_integers(&more)),
            (this @ Self::Numbers(_), Self::Integers(more)) => {
                let Self::Numbers(values) = &*this else { unreachable!("it was matched") };
                let mut values = as_integers(values);
                values.extend(more);
                *this = Self::Integers(values);
            }
            (Self::Numbers(values), Self::Numbers(more))
            | (Self::Booleans(values), Self::Booleans(more))
            | (Self::Moments(values), Self::Moments(more)) => values.append(more),
            (Self::Texts(texts), Self::Texts(more)) => texts.append(&more),
            (Self::ManyTexts, Self::ManyTexts | Self::Texts(_)) | (Self::Other, Self::Other) => {}
            (this @ Self::Texts(_), Self::ManyTexts) => *this = Self::ManyTexts,
            _ => {
                return Err(
                    "it has another type here than in the first file; write all files with the same types",
                );
            }
        }
        Ok(())
    }
}

impl SpilledRaw {
    fn load(&self) -> Result<Raw, TableError> {
        Ok(match self {
            Self::Numbers(values) => Raw::Numbers(values.all()?.into()),
            Self::Integers(values) => Raw::Integers(values.all()?),
            Self::Booleans(values) => Raw::Booleans(values.all()?.into()),
            Self::Moments(values) => Raw::Moments(values.all()?.into()),
            Self::Texts { codes, texts } => Raw::Texts(texts.clone().with_codes(codes.all()?)),
        })
    }
}

fn as_numbers(values: &[i128]) -> Numbers {
    values.iter().map(|&value| if value == NO_INTEGER { f64::NAN } else { value as f64 }).collect()
}

/// Whole numbers as integers.
pub(crate) fn as_integers(values: &Numbers) -> Vec<i128> {
    values.iter().map(|value| if value.is_nan() { NO_INTEGER } else { value as i128 }).collect()
}

fn of_numbers(values: &Numbers, known: Option<Kind>, missing: &MissingTexts) -> Facts {
    let mut facts = Facts::of_kind(known);
    let own = missing.own_numbers();
    for value in values.iter() {
        if value.is_nan() || own.contains(&value) {
            facts.missing += 1;
        } else {
            let point = if value.fract() == 0.0 { Point::None } else { Point::Decimal };
            facts.number(value, point, 0);
        }
    }
    facts
}

fn of_texts(texts: &Texts, missing: &MissingTexts) -> Facts {
    let mut facts = Facts::default();
    let counts = texts.counts(0..texts.len());
    let mut present = 0;
    for (text, count) in texts.texts().iter().zip(counts) {
        let cell = text.trim().as_bytes();
        if count == 0 || missing.has(cell) {
            continue;
        }
        present += count;
        match whole(cell) {
            Some(scanned) => {
                facts.number(scanned.value, scanned.point, 0);
                facts.numbers += count - 1;
            }
            None => {
                facts.text(cell, 0);
                facts.texts += count - 1;
            }
        }
    }
    facts.missing = texts.len() - present;
    facts
}

impl MemoryTable {
    /// The columns as they are wanted.
    pub(crate) fn read(self, readings: &[Reading], missing: &MissingTexts) -> Result<Read, TableError> {
        let own = missing.own_numbers();
        let place =
            |index: usize| ColumnPlace { index, name: self.names.as_ref().map(|names| names[index].clone()) };
        let path = &self.path;
        let read = |(index, column, reading): (usize, Raw, Reading)| {
            // A column that is not read need not come into memory.
            if reading == Reading::Skip {
                return Ok(Values::Unread);
            }
            let converted = convert(column.into_memory()?, reading, missing, &own);
            let values = converted.map_err(|(row, problem)| TableError::Cell {
                path: path.clone(),
                line: row as u64 + 1,
                column: place(index),
                problem: format!("{problem} (the line is that of the row, counted from 1)"),
            })?;
            match &self.scratch {
                Some(scratch) => values.spilled(scratch),
                None => Ok(values),
            }
        };
        let at_once = match &self.scratch {
            Some(_) => columns_at_once(self.rows, RAW_BYTES),
            None => self.columns.len().max(1),
        };
        let mut columns = self.columns.into_iter().zip(readings).enumerate();
        let mut values = Vec::with_capacity(readings.len());
        loop {
            let some =
                columns.by_ref().take(at_once).map(|(index, (column, &reading))| (index, column, reading));
            let some: Vec<(usize, Raw, Reading)> = some.collect();
            if some.is_empty() {
                break;
            }
            let some: Result<Vec<Values>, TableError> = some.into_par_iter().map(read).collect();
            values.extend(some?);
        }
        Ok(Read { values, rows: self.rows, bad_rows: 0, first_bad: None, lines: Lines::default() })
    }
}

/// The values, or the row of a cell that is none and what is wrong with it.
fn convert(
    column: Raw,
    reading: Reading,
    missing: &MissingTexts,
    own: &[f64],
) -> Result<Values, (usize, String)> {
    match (column, reading) {
        (_, Reading::Skip) | (Raw::ManyTexts | Raw::Other | Raw::Spilled(_), _) => Ok(Values::Unread),
        (column, Reading::Integers) => convert(column, Reading::Texts, missing, own),
        (Raw::Booleans(values), Reading::Texts) => {
            let written = |value: f64| if value == 0.0 { "false".to_owned() } else { "true".to_owned() };
            Ok(Values::Texts(as_texts(values.iter(), written)))
        }
        (Raw::Moments(values), Reading::Texts) => {
            Ok(Values::Texts(as_texts(values.iter(), crate::date::written)))
        }
        (Raw::Numbers(values), Reading::Texts) => {
            Ok(Values::Texts(as_texts(values.iter(), |value| value.to_string())))
        }
        (Raw::Integers(values), Reading::Texts) => {
            let written = values.iter().map(|&value| (value != NO_INTEGER).then(|| value.to_string()));
            Ok(Values::Texts(Texts::of_written(written).without_numbers(own)))
        }
        (Raw::Integers(values), reading) => convert(Raw::Numbers(as_numbers(&values)), reading, missing, own),
        (Raw::Numbers(values) | Raw::Booleans(values) | Raw::Moments(values), _) => {
            for (row, value) in values.iter().enumerate().filter(|(_, value)| value.abs() > MAGNITUDE_MAX) {
                if !own.contains(&value)
                    && let Some(problem) = wrong_size(value, value.to_string().as_bytes())
                {
                    return Err((row, problem));
                }
            }
            let or_missing = |value: f64| if own.contains(&value) { f64::NAN } else { value };
            Ok(Values::Numbers(match own {
                [] => values,
                _ => values.iter().map(or_missing).collect(),
            }))
        }
        (Raw::Texts(texts), Reading::Texts) => {
            let gone: Vec<bool> =
                texts.texts().iter().map(|text| missing.has(text.trim().as_bytes())).collect();
            Ok(Values::Texts(texts.without(&gone)))
        }
        (Raw::Texts(texts), reading) => {
            let parsed: Vec<Result<f64, String>> = texts
                .texts()
                .iter()
                .map(|text| {
                    let cell = text.trim().as_bytes();
                    if missing.has(cell) {
                        return Ok(f64::NAN);
                    }
                    let value = match reading {
                        Reading::Numbers(style) => styled(cell, style),
                        Reading::Dates(format) => seconds(cell, format),
                        _ => boolean(cell).or_else(|| whole(cell).map(|scanned| scanned.value)),
                    };
                    let value = value.ok_or_else(|| {
                        format!("{} is not what the rest of the column is; correct it", quoted(cell))
                    })?;
                    wrong_size(value, cell).map_or(Ok(value), Err)
                })
                .collect();
            let value = |(row, code): (usize, &u32)| match parsed.get(*code as usize) {
                None => Ok(f64::NAN),
                Some(Ok(value)) => Ok(*value),
                Some(Err(problem)) => Err((row, problem.clone())),
            };
            let values: Result<Numbers, _> = texts.codes().iter().enumerate().map(value).collect();
            values.map(Values::Numbers)
        }
    }
}

/// Numbers as texts, in order of appearance.
pub(crate) fn as_texts(values: impl Iterator<Item = f64>, written: impl Fn(f64) -> String) -> Texts {
    let mut code_of = BTreeMap::new();
    let mut texts = Vec::new();
    let codes = values
        .map(|value| {
            if value.is_nan() {
                return MISSING_CODE;
            }
            // Zero has two signs and is one value.
            let bits = (value + 0.0).to_bits();
            *code_of.entry(bits).or_insert_with(|| {
                texts.push(written(value));
                texts.len() as u32 - 1
            })
        })
        .collect();
    Texts::new(codes, texts, Vec::new())
}
