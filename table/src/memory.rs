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
};

/// A table in memory.
#[derive(Debug)]
pub(crate) struct MemoryTable {
    pub(crate) path: PathBuf,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) rows: usize,
    pub(crate) columns: Vec<Raw>,
}

/// A column as its format gives it. Numbers are NaN where missing.
#[derive(Debug)]
pub(crate) enum Raw {
    Numbers(Vec<f64>),
    /// Integers some of which no f64 holds, so that labels stay what they are; [`NO_INTEGER`] where missing.
    Integers(Vec<i128>),
    Booleans(Vec<f64>),
    /// Seconds since 1970.
    Moments(Vec<f64>),
    Texts(Texts),
    /// Texts, more of them than are told apart.
    ManyTexts,
    /// Lists, structures, bytes: what no input is made of.
    Other,
}

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

    pub(crate) fn facts(&self, missing: &MissingTexts) -> Facts {
        match self {
            Self::Numbers(values) => of_numbers(values, None, missing),
            Self::Integers(values) => of_numbers(&as_numbers(values), None, missing),
            Self::Booleans(values) => of_numbers(values, Some(Kind::Boolean), missing),
            Self::Moments(values) => of_numbers(values, Some(Kind::Date), missing),
            Self::Texts(texts) => of_texts(texts, missing),
            Self::ManyTexts => Facts::of_free_text(false),
            Self::Other => Facts::of_free_text(true),
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
            | (Self::Moments(values), Self::Moments(more)) => values.extend(more),
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

fn as_numbers(values: &[i128]) -> Vec<f64> {
    values.iter().map(|&value| if value == NO_INTEGER { f64::NAN } else { value as f64 }).collect()
}

fn as_integers(values: &[f64]) -> Vec<i128> {
    values.iter().map(|&value| if value.is_nan() { NO_INTEGER } else { value as i128 }).collect()
}

fn of_numbers(values: &[f64], known: Option<Kind>, missing: &MissingTexts) -> Facts {
    let mut facts = Facts::of_kind(known);
    let own = missing.own_numbers();
    for &value in values {
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
        let values = self
            .columns
            .into_par_iter()
            .zip(readings)
            .enumerate()
            .map(|(index, (column, &reading))| {
                convert(column, reading, missing, &own).map_err(|(row, problem)| TableError::Cell {
                    path: path.clone(),
                    line: row as u64 + 1,
                    column: place(index),
                    problem: format!("{problem} (the line is that of the row, counted from 1)"),
                })
            })
            .collect::<Result<_, _>>()?;
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
        (_, Reading::Skip) | (Raw::ManyTexts | Raw::Other, _) => Ok(Values::Unread),
        (column, Reading::Integers) => convert(column, Reading::Texts, missing, own),
        (Raw::Booleans(values), Reading::Texts) => {
            let written = |value: f64| if value == 0.0 { "false".to_owned() } else { "true".to_owned() };
            Ok(Values::Texts(as_texts(&values, written)))
        }
        (Raw::Moments(values), Reading::Texts) => Ok(Values::Texts(as_texts(&values, crate::date::written))),
        (Raw::Numbers(values), Reading::Texts) => {
            Ok(Values::Texts(as_texts(&values, |value| value.to_string())))
        }
        (Raw::Integers(values), Reading::Texts) => {
            let written = values.iter().map(|&value| (value != NO_INTEGER).then(|| value.to_string()));
            Ok(Values::Texts(Texts::of_written(written).without_numbers(own)))
        }
        (Raw::Integers(values), reading) => convert(Raw::Numbers(as_numbers(&values)), reading, missing, own),
        (Raw::Numbers(mut values) | Raw::Booleans(mut values) | Raw::Moments(mut values), _) => {
            for (row, value) in values.iter_mut().enumerate() {
                if own.contains(value) {
                    *value = f64::NAN;
                } else if value.abs() > MAGNITUDE_MAX
                    && let Some(problem) = wrong_size(*value, value.to_string().as_bytes())
                {
                    return Err((row, problem));
                }
            }
            Ok(Values::Numbers(values))
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
            let mut values = Vec::with_capacity(texts.len());
            for (row, &code) in texts.codes().iter().enumerate() {
                match parsed.get(code as usize) {
                    None => values.push(f64::NAN),
                    Some(Ok(value)) => values.push(*value),
                    Some(Err(problem)) => return Err((row, problem.clone())),
                }
            }
            Ok(Values::Numbers(values))
        }
    }
}

/// Numbers as texts, in order of appearance.
pub(crate) fn as_texts(values: &[f64], written: impl Fn(f64) -> String) -> Texts {
    let mut code_of = BTreeMap::new();
    let mut texts = Vec::new();
    let codes = values
        .iter()
        .map(|&value| {
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
