//! The second pass over text: the values of the columns that are wanted.

use std::collections::HashMap;

use rayon::prelude::*;

use super::{
    blocks::{self, Blocks},
    cells::{Sink, Trouble},
    number::{Scanned, Style, styled},
    survey::{Kept, Survey, SurveyedFile, error, ragged, walk},
};
use crate::{
    TableError,
    column::{MISSING_CODE, SpilledValues, Texts, Values},
    date::{DateFormat, seconds},
    encoding,
    error::quoted,
    kind::boolean,
    limits,
    lines::Lines,
    missing::MissingTexts,
    numbers::Numbers,
    scratch::{Scratch, Spilled, WAITING_BYTES_MAX},
};

/// How a column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Not at all.
    Skip,
    Numbers(Style),
    Booleans,
    Dates(DateFormat),
    /// As it is written.
    Texts,
    /// Integers as texts, where each value is one however it is written.
    Integers,
}

/// Values of all columns, and rows left out because they are bad.
pub(crate) struct Read {
    pub(crate) values: Vec<Values>,
    pub(crate) rows: usize,
    pub(crate) bad_rows: usize,
    /// What is wrong with the first bad row.
    pub(crate) first_bad: Option<String>,
    /// The place of each row in its file.
    pub(crate) lines: Lines,
}

/// Reads the columns of all files.
pub(crate) fn read(
    survey: &mut Survey,
    readings: &[Reading],
    skip_bad_rows: bool,
    block_bytes: usize,
) -> Result<Read, TableError> {
    let kept: Vec<Kept> =
        survey.files.iter_mut().map(|surveyed| std::mem::take(&mut surveyed.kept)).collect();
    let survey = &*survey;
    let columns = readings.iter().map(|&reading| Whole::new(reading)).collect();
    let mut columns = Columns { whole: columns, spilled: readings.iter().map(|_| None).collect() };
    let mut whole =
        Read { values: Vec::new(), rows: 0, bad_rows: 0, first_bad: None, lines: Lines::default() };
    for (surveyed, kept) in survey.files.iter().zip(kept) {
        let rest = take_kept(survey, surveyed, kept, readings, &mut columns.whole, &mut whole);
        if let Some(rest) = rest {
            read_file(survey, surveyed, &rest, skip_bad_rows, block_bytes, &mut columns, &mut whole)?;
        }
    }
    let Read { rows, bad_rows, .. } = whole;
    if bad_rows * limits::BAD_ROWS_ONE_IN > rows + bad_rows {
        let path = survey.files.first().map(|surveyed| surveyed.file.path.clone()).unwrap_or_default();
        let first = whole.first_bad.unwrap_or_default();
        return Err(TableError::TooManyBadRows { path, bad: bad_rows, rows: rows + bad_rows, first });
    }
    whole.values = columns.into_values(survey.scratch.as_ref())?;
    Ok(whole)
}

/// Takes the values that the first pass has read. Answers with the readings of the other columns; `None` if there
/// are none, so that the file need not be read again.
fn take_kept(
    survey: &Survey,
    surveyed: &SurveyedFile,
    kept: Kept,
    readings: &[Reading],
    columns: &mut [Whole],
    whole: &mut Read,
) -> Option<Vec<Reading>> {
    const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0; // 2^53
    let mut rest = readings.to_vec();
    let mut taken: Vec<Option<Numbers>> = readings.iter().map(|_| None).collect();
    for (column, values) in surveyed.columns.iter().zip(kept.columns) {
        let (Some(column), Some(values)) = (*column, values) else { continue };
        let facts = &survey.facts[column];
        let most = facts.greatest.abs().max(facts.least.abs());
        let fits = match readings[column] {
            Reading::Numbers(Style::Plain) => {
                facts.infinite.is_none() && (facts.numbers == 0 || most <= MAGNITUDE_MAX)
            }
            Reading::Integers => facts.integers && facts.texts == 0 && most < EXACT_INTEGERS,
            _ => false,
        };
        if fits {
            taken[column] = Some(values);
            rest[column] = Reading::Skip;
        }
    }
    columns.par_iter_mut().zip(taken).for_each(|(column, values)| {
        if let Some(values) = values {
            column.append_numbers(values);
        }
    });
    if rest.iter().any(|reading| *reading != Reading::Skip) {
        return Some(rest);
    }
    whole.lines.begin_file(&surveyed.file.path);
    whole.lines.append(kept.lines, whole.rows, 0);
    whole.rows += kept.rows;
    None
}

fn read_file(
    survey: &Survey,
    surveyed: &SurveyedFile,
    readings: &[Reading],
    skip_bad_rows: bool,
    block_bytes: usize,
    columns: &mut Columns,
    whole: &mut Read,
) -> Result<(), TableError> {
    let SurveyedFile { file, encoding, layout, columns: map, .. } = surveyed;
    let readings: Vec<Reading> =
        map.iter().map(|column| column.map_or(Reading::Skip, |column| readings[column])).collect();
    let reader = encoding::decoding(file.open()?, encoding);
    let blocks = Blocks::new(reader, layout.separator, block_bytes);
    let mut lines = 0;
    let work = |index, block: &[u8]| {
        // Cells of at least a digit and a separator: a guess that is never far too large.
        let rows = block.len() / (8 * layout.width.max(1)) + 1;
        let mut sink = ReadSink {
            columns: readings.iter().map(|&reading| Builder::new(reading, rows)).collect(),
            missing: &survey.missing,
            skip: if index == 0 { layout.skipped_rows } else { 0 },
            rows: 0,
            line: 0,
            surplus: false,
            bad: None,
            forgiving: skip_bad_rows,
            bad_rows: 0,
            first_bad: None,
            lines: Lines::default(),
        };
        let walked = walk(block, layout.separator, &mut sink);
        (sink.columns, sink.rows, sink.bad_rows, sink.first_bad, sink.lines, walked)
    };
    whole.lines.begin_file(&file.path);
    blocks::each(file, blocks, work, |parts| {
        let mut builders: Vec<Vec<(Builder, u64)>> =
            map.iter().map(|_| Vec::with_capacity(parts.len())).collect();
        for (part, rows, bad_rows, first_bad, part_lines, walked) in parts {
            for (builders, builder) in builders.iter_mut().zip(part) {
                builders.push((builder, lines));
            }
            whole.lines.append(part_lines, whole.rows, lines);
            whole.rows += rows;
            whole.bad_rows += bad_rows;
            if let (None, Some(bad)) = (&whole.first_bad, first_bad) {
                whole.first_bad = Some(error(surveyed, bad, lines).to_string());
            }
            lines += walked.map_err(|trouble| error(surveyed, trouble, lines))?;
        }
        let mut targets: Vec<Option<&mut Whole>> = columns.whole.iter_mut().map(Some).collect();
        let pairs: Vec<(&mut Whole, Vec<(Builder, u64)>)> = map
            .iter()
            .zip(builders)
            .filter_map(|(column, parts)| Some((targets[(*column)?].take()?, parts)))
            .collect();
        pairs
            .into_par_iter()
            .try_for_each(|(target, parts)| {
                parts.into_iter().try_for_each(|(part, line)| target.append(part, line))
            })
            .map_err(|()| TableError::TooManyClasses { path: file.path.clone() })?;
        match &survey.scratch {
            Some(scratch) if columns.waiting_bytes() > WAITING_BYTES_MAX => columns.spill(scratch),
            _ => Ok(()),
        }
    })
}

/// All columns while they are read.
struct Columns {
    whole: Vec<Whole>,
    /// The cells of each column that are not in memory any more.
    spilled: Vec<Option<SpilledCells>>,
}

enum SpilledCells {
    Numbers(Spilled<f64>),
    Codes(Spilled<u32>),
}

impl Columns {
    fn waiting_bytes(&self) -> usize {
        self.whole.iter().map(Whole::bytes).sum()
    }

    /// Moves the cells of all columns out of memory.
    fn spill(&mut self, scratch: &Scratch) -> Result<(), TableError> {
        self.whole.par_iter_mut().zip(&mut self.spilled).try_for_each(|(column, spilled)| {
            match column {
                Whole::Skip => {}
                Whole::Numbers(values) => {
                    let cells = spilled.get_or_insert_with(|| SpilledCells::Numbers(Spilled::new(scratch)));
                    if let SpilledCells::Numbers(cells) = cells {
                        cells.push_numbers(values)?;
                    }
                    values.clear();
                }
                Whole::Texts(texts) => {
                    let cells = spilled.get_or_insert_with(|| SpilledCells::Codes(Spilled::new(scratch)));
                    if let SpilledCells::Codes(cells) = cells {
                        cells.push(&texts.codes)?;
                    }
                    texts.codes.clear();
                }
            }
            Ok(())
        })
    }

    fn into_values(mut self, scratch: Option<&Scratch>) -> Result<Vec<Values>, TableError> {
        if let Some(scratch) = scratch {
            self.spill(scratch)?;
        }
        let values = |(column, spilled): (Whole, Option<SpilledCells>)| match (column.into_values(), spilled)
        {
            (_, Some(SpilledCells::Numbers(cells))) => Values::Spilled(SpilledValues::of_numbers(cells)),
            (Values::Texts(texts), Some(SpilledCells::Codes(cells))) => {
                Values::Spilled(SpilledValues::of_texts(cells, texts))
            }
            (values, _) => values,
        };
        Ok(self.whole.into_iter().zip(self.spilled).map(values).collect())
    }
}

/// A column's values in a part of a file.
enum Builder {
    Skip,
    Numbers { reading: Reading, values: Vec<f64> },
    Texts(TextsBuilder),
}

#[derive(Default)]
struct TextsBuilder {
    codes: Vec<u32>,
    code_of: HashMap<Box<[u8]>, u32>,
    texts: Vec<Box<[u8]>>,
    first_lines: Vec<u64>,
}

impl Builder {
    fn new(reading: Reading, rows: usize) -> Self {
        match reading {
            Reading::Skip => Self::Skip,
            Reading::Texts | Reading::Integers => {
                Self::Texts(TextsBuilder { codes: Vec::with_capacity(rows), ..TextsBuilder::default() })
            }
            reading => Self::Numbers { reading, values: Vec::with_capacity(rows) },
        }
    }

    fn push_missing(&mut self) {
        match self {
            Self::Skip => {}
            Self::Numbers { values, .. } => values.push(f64::NAN),
            Self::Texts(texts) => texts.codes.push(MISSING_CODE),
        }
    }

    /// Takes back what came after so many rows.
    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Skip => {}
            Self::Numbers { values, .. } => values.truncate(rows),
            Self::Texts(texts) => texts.codes.truncate(rows),
        }
    }
}

/// A column's values in all files.
enum Whole {
    Skip,
    Numbers(Numbers),
    Texts(TextsBuilder),
}

impl Whole {
    fn new(reading: Reading) -> Self {
        match reading {
            Reading::Skip => Self::Skip,
            Reading::Texts | Reading::Integers => Self::Texts(TextsBuilder::default()),
            _ => Self::Numbers(Numbers::new()),
        }
    }

    /// Bytes of the cells.
    fn bytes(&self) -> usize {
        match self {
            Self::Skip => 0,
            Self::Numbers(values) => values.bytes_of_memory(),
            Self::Texts(texts) => size_of_val(texts.codes.as_slice()),
        }
    }

    /// Appends numbers that were read already.
    fn append_numbers(&mut self, numbers: Numbers) {
        match self {
            Self::Skip => {}
            Self::Numbers(values) => values.append(numbers),
            Self::Texts(texts) => {
                let mut code_of: HashMap<i64, u32> = HashMap::new();
                for number in numbers.iter() {
                    let code = if number.is_nan() {
                        MISSING_CODE
                    } else {
                        let integer = number as i64;
                        *code_of
                            .entry(integer)
                            .or_insert_with(|| texts.code(integer.to_string().as_bytes(), 0))
                    };
                    texts.codes.push(code);
                }
            }
        }
    }

    /// Appends the values of a part that begins after so many lines. Fails where there are too many texts.
    fn append(&mut self, part: Builder, line: u64) -> Result<(), ()> {
        match (self, part) {
            (Self::Numbers(values), Builder::Numbers { values: part, .. }) => values.extend(&part),
            (Self::Texts(texts), Builder::Texts(part)) => {
                let code_of: Vec<u32> = part
                    .texts
                    .into_iter()
                    .zip(part.first_lines)
                    .map(|(text, first)| texts.code(&text, first + line))
                    .collect();
                if texts.texts.len() > limits::TEXTS_MAX {
                    return Err(());
                }
                let codes = part.codes.into_iter();
                texts.codes.extend(
                    codes.map(|code| if code == MISSING_CODE { code } else { code_of[code as usize] }),
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn into_values(self) -> Values {
        match self {
            Self::Skip => Values::Unread,
            Self::Numbers(values) => Values::Numbers(values),
            Self::Texts(TextsBuilder { codes, texts, first_lines, .. }) => {
                let texts = texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
                let first_lines = first_lines.into_iter().map(|line| line + 1).collect();
                Values::Texts(Texts::new(codes, texts, first_lines))
            }
        }
    }
}

impl TextsBuilder {
    fn code(&mut self, text: &[u8], line: u64) -> u32 {
        if let Some(&code) = self.code_of.get(text) {
            return code;
        }
        let code = self.texts.len() as u32;
        self.code_of.insert(text.into(), code);
        self.texts.push(text.into());
        self.first_lines.push(line);
        code
    }
}

struct ReadSink<'a> {
    columns: Vec<Builder>,
    missing: &'a MissingTexts,
    skip: usize,
    rows: usize,
    line: u64,
    surplus: bool,
    /// The first cell of the row that cannot be used.
    bad: Option<(usize, String)>,
    forgiving: bool,
    bad_rows: usize,
    first_bad: Option<Trouble>,
    lines: Lines,
}

impl ReadSink<'_> {
    fn bad_cell(&mut self, column: usize, problem: String) {
        // The row needs a value in every column until it is taken back.
        self.columns[column].push_missing();
        if self.bad.is_none() {
            self.bad = Some((column, problem));
        }
    }
}

/// Beyond it, squares are not finite any more.
pub(crate) const MAGNITUDE_MAX: f64 = 1e150;

/// What is wrong with a number's size, if anything is.
pub(crate) fn wrong_size(value: f64, written: &[u8]) -> Option<String> {
    // NaN is missing, and not wrong.
    if value.is_nan() || value.abs() <= MAGNITUDE_MAX {
        return None;
    }
    Some(if value.is_finite() {
        format!("{} is too large, the limit is {MAGNITUDE_MAX:e}; correct it", quoted(written))
    } else {
        format!(
            "{} is not a finite number; correct it, or say --missing {} if it stands for a missing value",
            quoted(written),
            String::from_utf8_lossy(written)
        )
    })
}

impl Sink for ReadSink<'_> {
    fn begin_row(&mut self, line: u64) {
        self.line = line;
    }

    #[inline]
    fn wants(&self, column: usize) -> bool {
        !matches!(self.columns.get(column), Some(Builder::Skip))
    }

    #[inline]
    fn number(&mut self, column: usize, scanned: Scanned, written: &[u8]) {
        if self.missing.has_number(written) {
            return self.text(column, b"");
        }
        let Some(builder) = self.columns.get_mut(column) else {
            self.surplus = true;
            return;
        };
        match builder {
            Builder::Numbers { reading: Reading::Numbers(Style::Plain), values }
                if scanned.value.abs() <= MAGNITUDE_MAX =>
            {
                values.push(scanned.value);
            }
            Builder::Numbers { reading: Reading::Booleans, values }
                if scanned.value == 0.0 || scanned.value == 1.0 =>
            {
                values.push(scanned.value);
            }
            Builder::Skip => {}
            _ => self.other(column, written),
        }
    }

    fn text(&mut self, column: usize, cell: &[u8]) {
        match self.columns.get_mut(column) {
            None => self.surplus |= !cell.is_empty(),
            Some(builder) if self.missing.has(cell) => builder.push_missing(),
            Some(_) => self.other(column, cell),
        }
    }

    fn end_row(&mut self, cells: usize) -> Result<(), Trouble> {
        let line = self.line;
        let surplus = std::mem::take(&mut self.surplus);
        let bad = self.bad.take();
        if self.skip > 0 {
            self.skip -= 1;
            self.columns.iter_mut().for_each(|column| column.truncate(0));
            return Ok(());
        }
        let width = self.columns.len();
        let trouble = if cells < width || (cells > width && surplus) {
            Some(Trouble { line, column: None, problem: ragged(cells, width) })
        } else {
            bad.map(|(column, problem)| Trouble { line, column: Some(column), problem })
        };
        match trouble {
            None => {
                self.lines.push(self.rows, line);
                self.rows += 1;
            }
            Some(trouble) if self.forgiving => {
                let rows = self.rows;
                self.columns.iter_mut().for_each(|column| column.truncate(rows));
                self.bad_rows += 1;
                self.first_bad.get_or_insert(trouble);
            }
            Some(trouble) => return Err(trouble),
        }
        Ok(())
    }
}

impl ReadSink<'_> {
    /// A cell that is neither missing nor a plain number where one is expected.
    fn other(&mut self, column: usize, cell: &[u8]) {
        if self.skip > 0 {
            return self.columns[column].push_missing();
        }
        let value = match &mut self.columns[column] {
            Builder::Skip => return,
            Builder::Texts(texts) => {
                let code = texts.code(cell, self.line);
                texts.codes.push(code);
                return;
            }
            Builder::Numbers { reading, .. } => match reading {
                Reading::Numbers(style) => styled(cell, *style).ok_or_else(|| {
                    format!(
                        "{} is not a number; correct it, say --missing TEXT if it stands for a missing value, or have \
                         the column read as a category (--as COLUMN=category)",
                        quoted(cell)
                    )
                }),
                Reading::Booleans => boolean(cell).ok_or_else(|| {
                    format!("{} is neither true nor false, as the rest of the column is; correct it", quoted(cell))
                }),
                Reading::Dates(format) => seconds(cell, *format).ok_or_else(|| {
                    format!("{} is not a date like {}; write all dates in one way", quoted(cell), format.example())
                }),
                Reading::Skip | Reading::Texts | Reading::Integers => return,
            },
        };
        match value.and_then(|value| wrong_size(value, cell).map_or(Ok(value), Err)) {
            Ok(value) => {
                if let Builder::Numbers { values, .. } = &mut self.columns[column] {
                    values.push(value);
                }
            }
            Err(problem) => self.bad_cell(column, problem),
        }
    }
}
