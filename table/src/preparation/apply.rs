//! Turns typed columns into the row-major inputs that volunteers get.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Becomes, DAY, Preparation, PreparedColumn, Standardized};
use crate::{Kind, PixelValues, Table, Values, date, error::counted, lines::Lines};

/// A table's columns, each in the narrowest type, from which rows are assembled in any order.
#[derive(Clone, Debug)]
pub struct Stored {
    rows: usize,
    columns: Vec<StoredColumn>,
    pixels: Option<(usize, PixelValues)>,
    /// Notices about cells unlike any in the training rows.
    pub notices: Vec<String>,
}

#[derive(Clone, Debug)]
enum StoredColumn {
    /// Stored numbers; NaN where missing.
    Numbers(Vec<f32>),
    /// Which of a category's inputs is 1; [`NONE`] for none.
    Codes(Vec<u16>),
    /// Seconds; NaN where missing.
    Moments(Vec<f64>),
}

const NONE: u16 = u16::MAX;

/// Row-major values of examples, before the standardization that volunteers apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// Values of one example.
    pub width: usize,
    /// The values.
    pub values: InputValues,
}

/// Values of [`Inputs`]. Bytes stay bytes, all the way to the volunteers.
#[derive(Clone, Debug, PartialEq)]
pub enum InputValues {
    /// Every value is an integer from 0 to 255.
    U8(Vec<u8>),
    /// Anything else; finite.
    F32(Vec<f32>),
}

impl Preparation {
    /// Takes the values out of a table that has this preparation's columns in its order ([`Table::columns`]
    /// that are not learned from aside), as [`Preparation::fit`] saw it or
    /// [`read_matching`](crate::read_matching) gives it.
    pub fn store(&self, table: Table) -> Stored {
        let mut notices = Vec::new();
        let mut by_position: BTreeMap<usize, Values> =
            table.columns.into_iter().map(|column| (column.position, column.values)).collect();
        let columns = self
            .columns
            .iter()
            .map(|column| {
                let values = by_position.remove(&column.position).unwrap_or(Values::Unread);
                store(column, values, &table.lines, table.rows, &mut notices)
            })
            .collect();
        let pixels = table.pixels.map(|pixels| (pixels.width(), pixels.values));
        Stored { rows: table.rows, columns, pixels, notices }
    }
}

fn store(
    column: &PreparedColumn,
    values: Values,
    lines: &Lines,
    rows: usize,
    notices: &mut Vec<String>,
) -> StoredColumn {
    match (&column.becomes, values) {
        (Becomes::Date { days, .. }, Values::Numbers(values)) => {
            let clipped = |days: &Standardized| clipped_in_words(column, days, &values, DAY, lines);
            notices.extend(days.as_ref().and_then(clipped));
            StoredColumn::Moments(values)
        }
        (Becomes::Number { number, .. }, Values::Numbers(values)) => {
            let clipped = |number: &Standardized| clipped_in_words(column, number, &values, 1.0, lines);
            notices.extend(number.as_ref().and_then(clipped));
            let store = |value: f64| match number {
                Some(number) => number.store(value),
                None if value.is_nan() => f32::NAN,
                None => 0.0,
            };
            StoredColumn::Numbers(values.into_par_iter().map(store).collect())
        }
        (Becomes::Category { values: known, rare, other, missing }, Values::Texts(texts)) => {
            let place_of: BTreeMap<&str, u16> = known.iter().map(String::as_str).zip(0..).collect();
            let other_place = if *other { known.len() as u16 } else { NONE };
            let missing_place = if *missing { known.len() as u16 + u16::from(*other) } else { NONE };
            let places: Vec<u16> = texts
                .texts()
                .iter()
                .map(|text| place_of.get(text.as_str()).copied().unwrap_or(other_place))
                .collect();
            if let Some(rare) = rare {
                let seen =
                    |text: &String| place_of.contains_key(text.as_str()) || rare.binary_search(text).is_ok();
                let counts = texts.counts(0..texts.len()).into_iter().zip(texts.texts());
                let unseen: usize = counts.filter(|(_, text)| !seen(text)).map(|(count, _)| count).sum();
                notices.extend((unseen > 0).then(|| notice_unseen(column, unseen, *other)));
            }
            let place = |code: &u32| places.get(*code as usize).copied().unwrap_or(missing_place);
            StoredColumn::Codes(texts.codes().iter().map(place).collect())
        }
        (Becomes::Category { .. }, _) => StoredColumn::Codes(vec![NONE; rows]),
        (_, _) => StoredColumn::Numbers(vec![f32::NAN; rows]),
    }
}

/// A notice about the values that are clipped, in `unit`s of what the bounds are in.
fn clipped_in_words(
    column: &PreparedColumn,
    number: &Standardized,
    values: &[f64],
    unit: f64,
    lines: &Lines,
) -> Option<String> {
    let is_clipped = |value: f64| !value.is_nan() && number.clip(value / unit) != value / unit;
    let clipped = values.par_iter().enumerate().filter(|(_, value)| is_clipped(**value));
    // The first of the farthest, whatever the threads do.
    let (count, value, row) = clipped.map(|(row, value)| (1, *value, row)).reduce_with(|a, b| {
        let order = a.1.abs().total_cmp(&b.1.abs()).then(b.2.cmp(&a.2));
        let farther = if order.is_lt() { b } else { a };
        (a.0 + b.0, farther.1, farther.2)
    })?;
    let in_words =
        |value: f64| if column.kind == Kind::Date { date::written(value) } else { value.to_string() };
    let (place, line, bound) = (column.place(), lines.place(row), in_words(number.clip(value / unit) * unit));
    let value = in_words(value);
    Some(match count {
        1 => format!(
            "1 value of {place} lies far outside the usual range, {value} {line}; it counts as {bound} (correct it \
             if it is wrong)"
        ),
        count => format!(
            "{count} values of {place} lie far outside the usual range, such as {value} {line}; they count as the \
             bound, here {bound} (correct them if they are wrong)"
        ),
    })
}

fn notice_unseen(column: &PreparedColumn, cells: usize, other: bool) -> String {
    let have = if cells == 1 { "has" } else { "have" };
    let effect = if other { "the rare values of the column" } else { "none of its values" };
    format!(
        "{} of {} {have} a value that did not occur in training; such a cell counts as {effect}",
        counted(cells, "cell"),
        column.place()
    )
}

impl Stored {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether every value is an integer from 0 to 255.
    pub fn fits_bytes(&self, preparation: &Preparation) -> bool {
        if let Some((_, values)) = &self.pixels {
            return matches!(values, PixelValues::U8(_));
        }
        preparation.columns.iter().zip(&self.columns).all(|(column, values)| {
            match (&column.becomes, values) {
                (Becomes::Number { number: Some(number), missing: false }, StoredColumn::Numbers(values)) => {
                    number.is_plain()
                        && values
                            .par_iter()
                            .all(|&value| (0.0..=255.0).contains(&value) && value.fract() == 0.0)
                }
                _ => false,
            }
        })
    }

    /// The rows named by `order`, in that order. `as_bytes` requires [`Stored::fits_bytes`]. Panics on a
    /// row number out of range.
    pub fn inputs(&self, preparation: &Preparation, order: &[usize], as_bytes: bool) -> Inputs {
        let width = preparation.inputs();
        if let Some((_, values)) = &self.pixels {
            let values = match values {
                PixelValues::U8(values) if as_bytes => InputValues::U8(gather(values, width, order)),
                PixelValues::U8(values) => {
                    InputValues::F32(gather(values, width, order).into_iter().map(f32::from).collect())
                }
                PixelValues::F32(values) => InputValues::F32(gather(values, width, order)),
            };
            return Inputs { width, values };
        }
        let mut rows = vec![0.0_f32; width * order.len()];
        // Some rows at a time, so that what a column writes is still in the cache when the next one comes.
        const ROWS_AT_A_TIME: usize = 256;
        let parts = rows.par_chunks_mut(width * ROWS_AT_A_TIME).zip(order.par_chunks(ROWS_AT_A_TIME));
        parts.for_each(|(inputs, order)| {
            let mut first = 0;
            for (column, values) in preparation.columns.iter().zip(&self.columns) {
                fill(&column.becomes, values, order, inputs, width, first);
                first += column.becomes.inputs();
            }
        });
        let values = if as_bytes {
            InputValues::U8(rows.into_iter().map(|value| value as u8).collect())
        } else {
            InputValues::F32(rows)
        };
        Inputs { width, values }
    }
}

/// Writes the inputs of a column, which begin at `first` in each row.
fn fill(
    becomes: &Becomes,
    values: &StoredColumn,
    order: &[usize],
    inputs: &mut [f32],
    width: usize,
    first: usize,
) {
    let rows = inputs.chunks_exact_mut(width).map(|row| &mut row[first..first + becomes.inputs()]).zip(order);
    match (becomes, values) {
        (Becomes::Number { number, missing }, StoredColumn::Numbers(values)) => {
            for (row, &from) in rows {
                let value = values[from];
                if let Some(number) = number {
                    row[0] = or_median(value, number);
                }
                if *missing {
                    row[usize::from(number.is_some())] = f32::from(value.is_nan());
                }
            }
        }
        (Becomes::Category { .. }, StoredColumn::Codes(codes)) => {
            for (row, &from) in rows {
                if let Some(input) = row.get_mut(usize::from(codes[from])) {
                    *input = 1.0;
                }
            }
        }
        (Becomes::Date { days, year, week, day, missing }, StoredColumn::Moments(values)) => {
            for (row, &from) in rows {
                let seconds = values[from];
                let mut place = 0;
                if let Some(days) = days {
                    row[0] = or_median(days.store(seconds / DAY), days);
                    place = 1;
                }
                let parts = date::parts(seconds);
                for (turn, part) in [
                    (year, parts.map(|parts| parts.year)),
                    (week, parts.map(|parts| parts.week)),
                    (day, parts.map(|parts| parts.day)),
                ] {
                    if *turn {
                        // Nowhere on the circle if the cell is missing.
                        if let Some(part) = part {
                            (row[place], row[place + 1]) = circle(part);
                        }
                        place += 2;
                    }
                }
                if *missing {
                    row[place] = f32::from(seconds.is_nan());
                }
            }
        }
        _ => {}
    }
}

fn or_median(value: f32, number: &Standardized) -> f32 {
    if value.is_nan() { number.median as f32 } else { value }
}

/// Sine and cosine of a turn from 0 to 1. `libm`'s, not the platform's, whose last bits differ from machine
/// to machine.
fn circle(part: f64) -> (f32, f32) {
    let angle = part * std::f64::consts::TAU;
    (libm::sin(angle) as f32, libm::cos(angle) as f32)
}

fn gather<T: Copy + Send + Sync>(values: &[T], width: usize, order: &[usize]) -> Vec<T> {
    let mut gathered = Vec::with_capacity(order.len() * width);
    for &row in order {
        gathered.extend_from_slice(&values[row * width..(row + 1) * width]);
    }
    gathered
}
