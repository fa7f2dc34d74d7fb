//! Typed columns.

use std::{borrow::Cow, path::PathBuf};

use serde::Serialize;

use crate::{
    TableError,
    date::DateFormat,
    error::ColumnPlace,
    kind::{Distinct, Kind, LeftOut},
    lines::Lines,
    numbers::Numbers,
    scratch::{Scratch, Spilled},
    target::Targets,
};

/// Stands for a missing text.
pub(crate) const MISSING_CODE: u32 = u32::MAX;

/// Examples as they were read: columns of values, or pixels, and targets. All have the same number of
/// rows.
#[derive(Clone, Debug)]
pub struct Table {
    /// The first file, for messages.
    pub path: PathBuf,
    /// Examples.
    pub rows: usize,
    /// Whether the columns have names.
    pub named: bool,
    /// All columns of the file, including targets and columns left out; none for images.
    pub columns: Vec<Column>,
    /// Images, which stand in place of columns.
    pub pixels: Option<Pixels>,
    /// Positions of the targets among `columns`; empty for images.
    pub labels: Vec<usize>,
    /// The targets; `None` if the caller did not ask for them.
    pub targets: Option<Targets>,
    /// Notices about the data for the user.
    pub notices: Vec<String>,
    /// The place of each row in its file.
    pub(crate) lines: Lines,
}

impl Table {
    /// Whether columns or pixels are outside of memory.
    pub fn is_outside(&self) -> bool {
        let pixels = self.pixels.as_ref().map(|pixels| &pixels.values);
        self.columns.iter().any(|column| matches!(column.values, Values::Spilled(_)))
            || matches!(pixels, Some(PixelValues::Spilled(_)))
    }

    /// Bytes of memory that the cells of the columns take.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |column: &Column| match &column.values {
            Values::Unread | Values::Spilled(_) => 0,
            Values::Numbers(values) => values.bytes_of_memory(),
            Values::Texts(texts) => size_of_val(texts.codes()),
        };
        self.columns.iter().map(bytes).sum()
    }

    /// The same with all of it in memory.
    ///
    /// # Errors
    /// [`TableError::Scratch`] when it cannot be read back.
    pub fn into_memory(mut self) -> Result<Self, TableError> {
        for column in &mut self.columns {
            column.values = std::mem::replace(&mut column.values, Values::Unread).into_memory()?;
        }
        if let Some(Pixels { values, .. }) = &mut self.pixels
            && let PixelValues::Spilled(SpilledPixels(spilled)) = values
        {
            *values = PixelValues::U8(spilled.all()?);
        }
        Ok(self)
    }

    /// A table of bytes without names, row-major, with its targets in a last column.
    pub fn of_bytes(path: PathBuf, width: usize, values: &[u8], targets: Targets) -> Self {
        let column = |position: usize, values: Values| Column {
            name: String::new(),
            position,
            kind: Kind::Number,
            left_out: None,
            kept: true,
            date_format: None,
            missing: 0,
            distinct: Distinct::MoreThan(0),
            range: None,
            values,
        };
        let cells = |position: usize| {
            let mut cells = Numbers::new();
            cells.extend_bytes(values.iter().skip(position).step_by(width).copied());
            cells
        };
        let mut columns: Vec<Column> =
            (0..width).map(|position| column(position, Values::Numbers(cells(position)))).collect();
        columns.push(column(width, Values::Unread));
        let (rows, labels) = (targets.len(), vec![width]);
        Self {
            path,
            rows,
            named: false,
            columns,
            pixels: None,
            labels,
            targets: Some(targets),
            notices: Vec::new(),
            lines: Lines::default(),
        }
    }
}

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    /// The name; empty where it has none.
    pub name: String,
    /// Position in the file, from 0.
    pub position: usize,
    /// What its cells are.
    pub kind: Kind,
    /// Why the column is left out, if it is.
    pub left_out: Option<LeftOut>,
    /// Whether the user wants the column kept whatever its values are.
    pub kept: bool,
    /// How its dates are written.
    pub date_format: Option<DateFormat>,
    /// Cells without a value.
    pub missing: usize,
    /// Different values.
    pub distinct: Distinct,
    /// The least and the greatest number.
    pub range: Option<(f64, f64)>,
    /// The cells.
    pub values: Values,
}

/// The cells of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Not kept, because nothing needs them.
    Unread,
    /// Numbers; 0 or 1 for a boolean; seconds since 1970 (or midnight) for a date. NaN where the cell is
    /// missing.
    Numbers(Numbers),
    /// Texts as they are written.
    Texts(Texts),
    /// The same, outside of memory.
    Spilled(SpilledValues),
}

/// The cells of a column that memory does not hold ([`Scratch`]).
#[derive(Clone, Debug)]
pub struct SpilledValues(SpilledCells);

#[derive(Clone, Debug)]
enum SpilledCells {
    Numbers(Spilled<f64>),
    Texts {
        codes: Spilled<u32>,
        /// What the codes stand for.
        texts: Texts,
    },
}

/// Cells outside of memory are equal only to themselves, which nobody asks.
impl PartialEq for SpilledValues {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl SpilledValues {
    pub(crate) fn of_numbers(numbers: Spilled<f64>) -> Self {
        Self(SpilledCells::Numbers(numbers))
    }

    /// `texts` has no codes of its own.
    pub(crate) fn of_texts(codes: Spilled<u32>, texts: Texts) -> Self {
        Self(SpilledCells::Texts { codes, texts })
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        match &self.0 {
            SpilledCells::Numbers(numbers) => numbers.scratch(),
            SpilledCells::Texts { codes, .. } => codes.scratch(),
        }
    }

    /// The cells, in memory.
    ///
    /// # Errors
    /// [`TableError::Scratch`] when they cannot be read back.
    pub fn load(&self) -> Result<Values, TableError> {
        Ok(match &self.0 {
            SpilledCells::Numbers(numbers) => Values::Numbers(numbers.all()?.into()),
            SpilledCells::Texts { codes, texts } => {
                Values::Texts(Texts { codes: codes.all()?, ..texts.clone() })
            }
        })
    }
}

/// Texts by number, so that memory holds each text once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    codes: Vec<u32>,
    texts: Vec<String>,
    first_lines: Vec<u64>,
}

impl Texts {
    /// `codes` are indices into `texts`, or [`MISSING_CODE`]; `first_lines` tell where each text was first
    /// seen.
    pub(crate) fn new(codes: Vec<u32>, texts: Vec<String>, first_lines: Vec<u64>) -> Self {
        Self { codes, texts, first_lines }
    }

    /// Texts in order of appearance; `None` where missing.
    pub(crate) fn of_written(written: impl Iterator<Item = Option<String>>) -> Self {
        let mut code_of = std::collections::BTreeMap::new();
        let mut texts = Vec::new();
        let codes = written
            .map(|text| match text {
                None => MISSING_CODE,
                Some(text) => *code_of.entry(text).or_insert_with_key(|text| {
                    texts.push(text.clone());
                    texts.len() as u32 - 1
                }),
            })
            .collect();
        Self::new(codes, texts, Vec::new())
    }

    /// The same where texts that are one of these numbers count as missing.
    pub(crate) fn without_numbers(self, numbers: &[f64]) -> Self {
        let gone: Vec<bool> = self
            .texts
            .iter()
            .map(|text| text.parse().is_ok_and(|number| numbers.contains(&number)))
            .collect();
        self.without(&gone)
    }

    /// The text of a row.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.texts.get(self.codes[row] as usize).map(String::as_str)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    pub(crate) fn codes(&self) -> &[u32] {
        &self.codes
    }

    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The line on which a text was first seen; 0 where the format has no lines.
    pub(crate) fn first_line(&self, code: usize) -> u64 {
        self.first_lines.get(code).copied().unwrap_or(0)
    }

    /// The texts without the rows that have them.
    pub(crate) fn without_codes(self) -> Self {
        Self { codes: Vec::new(), ..self }
    }

    /// The same texts with rows that have them.
    pub(crate) fn with_codes(self, codes: Vec<u32>) -> Self {
        Self { codes, ..self }
    }

    /// Appends further rows.
    pub(crate) fn append(&mut self, more: &Self) {
        let mut code_of: std::collections::BTreeMap<String, u32> =
            self.texts.iter().cloned().zip(0..).collect();
        let codes: Vec<u32> = more
            .texts
            .iter()
            .map(|text| {
                *code_of.entry(text.clone()).or_insert_with(|| {
                    self.texts.push(text.clone());
                    self.texts.len() as u32 - 1
                })
            })
            .collect();
        let code = |&code: &u32| codes.get(code as usize).copied().unwrap_or(MISSING_CODE);
        self.codes.extend(more.codes.iter().map(code));
    }

    /// Keeps the wanted rows.
    pub(crate) fn retained(mut self, wanted: &[bool]) -> Self {
        let mut wanted = wanted.iter();
        self.codes.retain(|_| wanted.next() == Some(&true));
        self
    }

    /// The same, with some texts counted as missing.
    pub(crate) fn without(mut self, gone: &[bool]) -> Self {
        for code in &mut self.codes {
            if gone.get(*code as usize) == Some(&true) {
                *code = MISSING_CODE;
            }
        }
        self
    }

    /// How often each text occurs in these rows.
    pub(crate) fn counts(&self, rows: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut counts = vec![0; self.texts.len()];
        for row in rows {
            if let Some(count) = counts.get_mut(self.codes[row] as usize) {
                *count += 1;
            }
        }
        counts
    }
}

impl Values {
    /// The cells in memory, for as long as they are looked at.
    ///
    /// # Errors
    /// [`TableError::Scratch`] when they cannot be read back.
    pub fn loaded(&self) -> Result<Cow<'_, Self>, TableError> {
        Ok(match self {
            Self::Spilled(spilled) => Cow::Owned(spilled.load()?),
            values => Cow::Borrowed(values),
        })
    }

    /// The cells in memory.
    pub(crate) fn into_memory(self) -> Result<Self, TableError> {
        match self {
            Self::Spilled(spilled) => spilled.load(),
            values => Ok(values),
        }
    }

    /// The cells outside of memory.
    pub(crate) fn spilled(self, scratch: &Scratch) -> Result<Self, TableError> {
        Ok(match self {
            Self::Numbers(values) => {
                Self::Spilled(SpilledValues::of_numbers(Spilled::of_numbers(scratch, &values)?))
            }
            Self::Texts(Texts { codes, texts, first_lines }) => {
                let codes = Spilled::of(scratch, &codes)?;
                Self::Spilled(SpilledValues::of_texts(codes, Texts::new(Vec::new(), texts, first_lines)))
            }
            values => values,
        })
    }

    /// Leaves out the rows that are not wanted.
    pub(crate) fn retain(&mut self, wanted: &[bool]) -> Result<(), TableError> {
        match self {
            Self::Unread => {}
            Self::Numbers(values) => values.retain(wanted),
            Self::Texts(texts) => {
                let mut wanted = wanted.iter();
                texts.codes.retain(|_| wanted.next() == Some(&true));
            }
            Self::Spilled(spilled) => {
                let scratch = spilled.scratch().clone();
                let mut values = spilled.load()?;
                values.retain(wanted)?;
                *self = values.spilled(&scratch)?;
            }
        }
        Ok(())
    }
}

impl Column {
    /// The name in messages.
    pub fn place(&self) -> ColumnPlace {
        ColumnPlace { index: self.position, name: (!self.name.is_empty()).then(|| self.name.clone()) }
    }
}

/// Images, or other examples whose values have no names, row-major: one example after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// Shape of one example, such as `[28, 28]` or `[3, 32, 32]` (channels first).
    pub shape: Vec<usize>,
    /// The values.
    pub values: PixelValues,
    /// How they become a network's inputs.
    pub scaling: PixelScaling,
}

/// Values of [`Pixels`].
#[derive(Clone, Debug, PartialEq)]
pub enum PixelValues {
    /// Bytes.
    U8(Vec<u8>),
    /// Anything else; finite.
    F32(Vec<f32>),
    /// Bytes outside of memory.
    Spilled(SpilledPixels),
}

/// Bytes of images that memory does not hold ([`Scratch`]).
#[derive(Clone, Debug)]
pub struct SpilledPixels(pub(crate) Spilled<u8>);

/// Pixels outside of memory are equal only to themselves, which nobody asks.
impl PartialEq for SpilledPixels {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl PixelValues {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::Spilled(SpilledPixels(values)) => values.len(),
        }
    }
}

/// The scaling of all values of [`Pixels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PixelScaling {
    /// From 0 to 255 to 0 to 1.
    Bytes,
    /// Each value by its column's largest magnitude: zeros, of which there are many, stay zeros.
    Magnitude,
    /// All values by their common mean and deviation.
    Common,
}

/// Images that are moved in memory at a time.
const RETAINED_AT_A_TIME: usize = 64;

/// The runs of rows that are wanted.
fn wanted_runs(wanted: &[bool]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut row = 0;
    std::iter::from_fn(move || {
        let first = row + wanted[row..].iter().position(|wanted| *wanted)?;
        row = wanted[first..].iter().position(|wanted| !*wanted).map_or(wanted.len(), |run| first + run);
        Some(first..row)
    })
}

impl Pixels {
    /// Values of one example.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// The same with channels that come last put first. Channels are one, three or four.
    pub(crate) fn with_channels_first(self) -> Self {
        const CHANNELS: [usize; 3] = [1, 3, 4];
        fn turned<T: Copy + Default>(values: &[T], area: usize, channels: usize) -> Vec<T> {
            let mut turned = vec![T::default(); values.len()];
            let images = values.chunks_exact(area * channels).zip(turned.chunks_exact_mut(area * channels));
            for (from, to) in images {
                for (place, pixel) in from.chunks_exact(channels).enumerate() {
                    pixel.iter().enumerate().for_each(|(channel, &value)| to[channel * area + place] = value);
                }
            }
            turned
        }
        let [height, width, channels] = self.shape[..] else { return self };
        if !CHANNELS.contains(&channels) || CHANNELS.contains(&height) {
            return self;
        }
        let values = match self.values {
            PixelValues::U8(values) => PixelValues::U8(turned(&values, height * width, channels)),
            PixelValues::F32(values) => PixelValues::F32(turned(&values, height * width, channels)),
            // Images are read with their channels first.
            values @ PixelValues::Spilled(_) => values,
        };
        Self { shape: vec![channels, height, width], values, scaling: self.scaling }
    }

    /// Leaves out the examples that are not wanted.
    pub(crate) fn retain(&mut self, wanted: &[bool]) -> Result<(), TableError> {
        fn retain<T: Copy>(values: &mut Vec<T>, width: usize, wanted: &[bool]) {
            let mut kept = 0;
            for row in (0..wanted.len()).filter(|&row| wanted[row]) {
                values.copy_within(row * width..(row + 1) * width, kept * width);
                kept += 1;
            }
            values.truncate(kept * width);
        }
        let width = self.width();
        match &mut self.values {
            PixelValues::U8(values) => retain(values, width, wanted),
            PixelValues::F32(values) => retain(values, width, wanted),
            PixelValues::Spilled(SpilledPixels(values)) => {
                let mut kept = Spilled::new(values.scratch());
                for rows in wanted_runs(wanted) {
                    // Some images at a time.
                    for first in rows.clone().step_by(RETAINED_AT_A_TIME) {
                        let last = rows.end.min(first + RETAINED_AT_A_TIME);
                        kept.push(&values.read(first * width..last * width)?)?;
                    }
                }
                *values = kept;
            }
        }
        Ok(())
    }
}
