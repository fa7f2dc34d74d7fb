//! Turns typed columns into the row-major inputs that volunteers get.

use std::{collections::BTreeMap, ops::Range};

use rayon::prelude::*;

use super::{Becomes, DAY, Preparation, PreparedColumn, Standardized};
use crate::{
    Kind, PixelValues, Scratch, SpilledPixels, Table, TableError, Values, date,
    error::counted,
    lines::Lines,
    numbers::Numbers,
    scratch::{Spilled, columns_at_once},
};

/// A table's columns, each in the narrowest type, from which rows are assembled in any order.
#[derive(Clone, Debug)]
pub struct Stored {
    rows: usize,
    columns: Vec<StoredColumn>,
    pixels: Option<(usize, PixelValues)>,
    /// The rows of the pixels in their order here, where that is another.
    order: Option<Vec<u32>>,
    /// Notices about cells unlike any in the training rows.
    pub notices: Vec<String>,
}

#[derive(Clone, Debug)]
enum StoredColumn {
    /// Stored numbers, all of which 32 bits hold; NaN where missing.
    Numbers(Numbers),
    /// Which of a category's inputs is 1; [`NONE`] for none.
    Codes(Vec<u16>),
    /// Seconds; NaN where missing.
    Moments(Numbers),
    /// The same, outside of memory, and whether all values are bytes.
    Spilled(SpilledColumn, bool),
}

/// A column outside of memory.
#[derive(Clone, Debug)]
enum SpilledColumn {
    Numbers(Spilled<f64>),
    Codes(Spilled<u16>),
    Moments(Spilled<f64>),
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
    ///
    /// # Errors
    /// [`TableError::Scratch`] when columns outside of memory cannot be read or written.
    pub fn store(&self, table: Table) -> Result<Stored, TableError> {
        self.store_in_order(table, None)
    }

    /// The same with the rows named by `order` alone, in that order, and outside of memory where the table is:
    /// [`Stored::piece`] gives some at a time. Panics on a row number out of range.
    ///
    /// # Errors
    /// [`TableError::Scratch`] when columns outside of memory cannot be read or written.
    pub fn store_ordered(&self, table: Table, order: Vec<u32>) -> Result<Stored, TableError> {
        self.store_in_order(table, Some(order))
    }

    fn store_in_order(&self, table: Table, order: Option<Vec<u32>>) -> Result<Stored, TableError> {
        let at_once = if table.is_outside() { columns_at_once(table.rows, STORE_BYTES) } else { 1 };
        let mut notices = Vec::new();
        let mut by_position: BTreeMap<usize, Values> =
            table.columns.into_iter().map(|column| (column.position, column.values)).collect();
        let one = |(column, values): (&PreparedColumn, Values)| {
            let scratch = match &values {
                Values::Spilled(spilled) => Some(spilled.scratch().clone()),
                _ => None,
            };
            let mut told = Vec::new();
            let mut stored = store(column, values.into_memory()?, &table.lines, table.rows, &mut told);
            if let Some(order) = &order {
                stored = stored.ordered(order);
            }
            if let Some(scratch) = scratch {
                stored = stored.spilled(&column.becomes, &scratch)?;
            }
            Ok((stored, told))
        };
        let mut columns = Vec::with_capacity(self.columns.len());
        for some in self.columns.chunks(at_once) {
            let values =
                |column: &PreparedColumn| by_position.remove(&column.position).unwrap_or(Values::Unread);
            let pairs: Vec<(&PreparedColumn, Values)> =
                some.iter().zip(some.iter().map(values).collect::<Vec<_>>()).collect();
            let some: Result<Vec<(StoredColumn, Vec<String>)>, TableError> =
                pairs.into_par_iter().map(one).collect();
            for (stored, told) in some? {
                columns.push(stored);
                notices.extend(told);
            }
        }
        let pixels = table.pixels.map(|pixels| (pixels.width(), pixels.values));
        let rows = order.as_ref().map_or(table.rows, Vec::len);
        Ok(Stored { rows, columns, order: order.filter(|_| pixels.is_some()), pixels, notices })
    }
}

/// Bytes of memory that a row of a column takes while it is stored: the cell and what is stored of it, twice.
const STORE_BYTES: usize = 16;

impl StoredColumn {
    /// The rows named by `order`, in that order.
    fn ordered(self, order: &[u32]) -> Self {
        fn ordered<T: Copy + Send + Sync>(values: &[T], order: &[u32]) -> Vec<T> {
            order.par_iter().map(|&row| values[row as usize]).collect()
        }
        match self {
            Self::Numbers(values) => Self::Numbers(values.ordered(order)),
            Self::Codes(values) => Self::Codes(ordered(&values, order)),
            Self::Moments(values) => Self::Moments(values.ordered(order)),
            column @ Self::Spilled(..) => column,
        }
    }

    fn spilled(self, becomes: &Becomes, scratch: &Scratch) -> Result<Self, TableError> {
        let fits = self.fits_bytes(becomes);
        let column = match self {
            Self::Numbers(values) => SpilledColumn::Numbers(Spilled::of_numbers(scratch, &values)?),
            Self::Codes(values) => SpilledColumn::Codes(Spilled::of(scratch, &values)?),
            Self::Moments(values) => SpilledColumn::Moments(Spilled::of_numbers(scratch, &values)?),
            column @ Self::Spilled(..) => return Ok(column),
        };
        Ok(Self::Spilled(column, fits))
    }

    /// Some rows of a column that is outside of memory.
    fn piece(&self, range: Range<usize>) -> Result<Self, TableError> {
        Ok(match self {
            Self::Spilled(SpilledColumn::Numbers(values), _) => Self::Numbers(values.read(range)?.into()),
            Self::Spilled(SpilledColumn::Codes(values), _) => Self::Codes(values.read(range)?),
            Self::Spilled(SpilledColumn::Moments(values), _) => Self::Moments(values.read(range)?.into()),
            Self::Numbers(values) => Self::Numbers(values.slice(range)),
            Self::Codes(values) => Self::Codes(values[range].to_vec()),
            Self::Moments(values) => Self::Moments(values.slice(range)),
        })
    }

    /// Whether every value is an integer from 0 to 255.
    fn fits_bytes(&self, becomes: &Becomes) -> bool {
        match (becomes, self) {
            (_, Self::Spilled(_, fits)) => *fits,
            (Becomes::Number { number: Some(number), missing: false }, Self::Numbers(values)) => {
                let is_byte = |value: f64| (0.0..=255.0).contains(&value) && value.fract() == 0.0;
                number.is_plain() && (values.bytes().is_some() || values.par_iter().all(is_byte))
            }
            _ => false,
        }
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
            StoredColumn::Numbers(values.narrowed(store))
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
        (_, _) => StoredColumn::Numbers(std::iter::repeat_n(f64::NAN, rows).collect()),
    }
}

/// A notice about the values that are clipped, in `unit`s of what the bounds are in.
fn clipped_in_words(
    column: &PreparedColumn,
    number: &Standardized,
    values: &Numbers,
    unit: f64,
    lines: &Lines,
) -> Option<String> {
    let is_clipped = |value: f64| !value.is_nan() && number.clip(value / unit) != value / unit;
    let clipped = values.par_iter().enumerate().filter(|(_, value)| is_clipped(*value));
    // The first of the farthest, whatever the threads do.
    let (count, value, row) = clipped.map(|(row, value)| (1, value, row)).reduce_with(|a, b| {
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
            return matches!(values, PixelValues::U8(_) | PixelValues::Spilled(_));
        }
        preparation
            .columns
            .iter()
            .zip(&self.columns)
            .all(|(column, values)| values.fits_bytes(&column.becomes))
    }

    /// The rows of a range, in the order that they were stored in. `as_bytes` requires [`Stored::fits_bytes`].
    /// Panics on a range outside of the rows.
    ///
    /// # Errors
    /// [`TableError::Scratch`] when they cannot be read back.
    pub fn piece(
        &self,
        preparation: &Preparation,
        range: Range<usize>,
        as_bytes: bool,
    ) -> Result<Inputs, TableError> {
        let rows = range.len();
        let pixels = match &self.pixels {
            None => None,
            Some((width, values)) => {
                let row = |row: usize| self.order.as_ref().map_or(row, |order| order[row] as usize);
                Some((*width, pixels(values, *width, range.clone().map(row))?))
            }
        };
        let columns: Result<Vec<StoredColumn>, TableError> =
            self.columns.par_iter().map(|column| column.piece(range.clone())).collect();
        let piece = Self { rows, columns: columns?, pixels, order: None, notices: Vec::new() };
        let order: Vec<u32> = (0..rows as u32).collect();
        Ok(piece.inputs(preparation, &order, as_bytes))
    }

    /// The rows named by `order`, in that order. `as_bytes` requires [`Stored::fits_bytes`]. Panics on a
    /// row number out of range, and where the rows are outside of memory.
    pub fn inputs(&self, preparation: &Preparation, order: &[u32], as_bytes: bool) -> Inputs {
        let width = preparation.inputs();
        if let Some((_, values)) = &self.pixels {
            let values = match values {
                PixelValues::U8(values) if as_bytes => InputValues::U8(gather(values, width, order)),
                PixelValues::U8(values) => {
                    InputValues::F32(gather(values, width, order).into_iter().map(f32::from).collect())
                }
                PixelValues::F32(values) => InputValues::F32(gather(values, width, order)),
                PixelValues::Spilled(_) => panic!("pixels outside of memory are read in pieces"),
            };
            return Inputs { width, values };
        }
        // Some rows at a time, so that what a column writes is still in the cache when the next one comes.
        const ROWS_AT_A_TIME: usize = 256;
        if as_bytes {
            let mut rows = vec![0_u8; width * order.len()];
            let parts = rows.par_chunks_mut(width * ROWS_AT_A_TIME).zip(order.par_chunks(ROWS_AT_A_TIME));
            parts.for_each(|(inputs, order)| {
                for (place, column) in self.columns.iter().enumerate() {
                    let StoredColumn::Numbers(values) = column else { continue };
                    for (row, &from) in inputs.chunks_exact_mut(width).zip(order) {
                        row[place] = values.get(from as usize) as u8;
                    }
                }
            });
            return Inputs { width, values: InputValues::U8(rows) };
        }
        let mut rows = vec![0.0_f32; width * order.len()];
        let parts = rows.par_chunks_mut(width * ROWS_AT_A_TIME).zip(order.par_chunks(ROWS_AT_A_TIME));
        parts.for_each(|(inputs, order)| {
            let mut first = 0;
            for (column, values) in preparation.columns.iter().zip(&self.columns) {
                fill(&column.becomes, values, order, inputs, width, first);
                first += column.becomes.inputs();
            }
        });
        Inputs { width, values: InputValues::F32(rows) }
    }
}

/// Writes the inputs of a column, which begin at `first` in each row.
fn fill(
    becomes: &Becomes,
    values: &StoredColumn,
    order: &[u32],
    inputs: &mut [f32],
    width: usize,
    first: usize,
) {
    let rows = inputs.chunks_exact_mut(width).map(|row| &mut row[first..first + becomes.inputs()]).zip(order);
    match (becomes, values) {
        (Becomes::Number { number, missing }, StoredColumn::Numbers(values)) => {
            for (row, &from) in rows {
                let value = values.get(from as usize) as f32;
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
                if let Some(input) = row.get_mut(usize::from(codes[from as usize])) {
                    *input = 1.0;
                }
            }
        }
        (Becomes::Date { days, year, week, day, missing }, StoredColumn::Moments(values)) => {
            for (row, &from) in rows {
                let seconds = values.get(from as usize);
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
        (_, StoredColumn::Spilled(..)) => panic!("columns outside of memory are read in pieces"),
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

/// Some examples, one after the other.
fn pixels(
    values: &PixelValues,
    width: usize,
    rows: impl Iterator<Item = usize>,
) -> Result<PixelValues, TableError> {
    let of = |row: usize| row * width..(row + 1) * width;
    Ok(match values {
        PixelValues::U8(values) => PixelValues::U8(rows.flat_map(|row| &values[of(row)]).copied().collect()),
        PixelValues::F32(values) => {
            PixelValues::F32(rows.flat_map(|row| &values[of(row)]).copied().collect())
        }
        PixelValues::Spilled(SpilledPixels(values)) => {
            let mut bytes = Vec::new();
            for row in rows {
                values.each(of(row), |value| bytes.push(value))?;
            }
            PixelValues::U8(bytes)
        }
    })
}

fn gather<T: Copy + Send + Sync>(values: &[T], width: usize, order: &[u32]) -> Vec<T> {
    let mut gathered = Vec::with_capacity(order.len() * width);
    for row in order.iter().map(|&row| row as usize) {
        gathered.extend_from_slice(&values[row * width..(row + 1) * width]);
    }
    gathered
}
