//! The first pass over text: encoding, layout, and the facts of every column.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
};

use encoding_rs::{Encoding, UTF_8};
use rayon::prelude::*;

use super::{
    blocks::{self, Blocks},
    cells::{self, Separator, Sink, Trouble},
    dialect::{self, Asked, Layout},
    number::Scanned,
};
use crate::{
    ReadOptions, Scratch, TableError, encoding,
    error::{ColumnPlace, counted, listed},
    kind::Facts,
    limits,
    lines::Lines,
    missing::MissingTexts,
    numbers::Numbers,
    source::DataFile,
};

/// Bytes looked at to tell a file's layout.
const HEAD_BYTES: usize = 1 << 20;

/// All that is known of some files of text before their values are read.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) files: Vec<SurveyedFile>,
    /// Names of the columns, where the first file has a header.
    pub(crate) names: Option<Vec<String>>,
    pub(crate) facts: Vec<Facts>,
    /// Rows that are examples; those that are bad in their number of cells are not among them.
    pub(crate) rows: usize,
    pub(crate) notices: Vec<String>,
    pub(crate) missing: MissingTexts,
    /// Where the columns are kept, if not in memory.
    pub(crate) scratch: Option<Scratch>,
}

#[derive(Debug)]
pub(crate) struct SurveyedFile {
    pub(crate) file: DataFile,
    pub(crate) encoding: &'static Encoding,
    pub(crate) layout: Layout,
    /// Which of the first file's columns each column is; `None` for one that only this file has.
    pub(crate) columns: Vec<Option<usize>>,
    /// The values that the first pass has read already.
    pub(crate) kept: Kept,
}

/// Values of columns that have plain numbers and missing cells only, so that no second pass is needed for them.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// For each column its values, NaN where missing; `None` for other columns.
    pub(crate) columns: Vec<Option<Numbers>>,
    pub(crate) rows: usize,
    pub(crate) lines: Lines,
}

/// Looks through all files. `names` are columns that are known from elsewhere.
pub(crate) fn survey(
    files: &[DataFile],
    options: &ReadOptions,
    names: &[String],
    block_bytes: usize,
) -> Result<Survey, TableError> {
    let mut survey = Survey {
        files: Vec::new(),
        names: None,
        facts: Vec::new(),
        rows: 0,
        notices: Vec::new(),
        missing: MissingTexts::with(&options.missing),
        scratch: options.scratch.clone(),
    };
    for file in files {
        survey.add(file, options, names, block_bytes)?;
    }
    if survey.rows == 0 {
        let path = files.first().map(|file| file.path.clone()).unwrap_or_default();
        return Err(TableError::Empty { path });
    }
    Ok(survey)
}

/// The facts of a file's columns and its rows; or some of its bytes, if they are not UTF-8 as it was thought.
type Looked = ControlFlow<Vec<u8>, (Vec<Facts>, Kept)>;

impl Survey {
    fn add(
        &mut self,
        file: &DataFile,
        options: &ReadOptions,
        names: &[String],
        block_bytes: usize,
    ) -> Result<(), TableError> {
        let head = file.head(HEAD_BYTES)?;
        refuse_other_formats(file, &head)?;
        let asked = options.encoding.map(|encoding| encoding.0);
        let mut encoding = asked.unwrap_or_else(|| encoding::of_head(&head));
        loop {
            let surveyed = self.lay_out(file, encoding, options, names)?;
            match self.look_through(&surveyed, options, asked.is_some(), block_bytes)? {
                ControlFlow::Continue((facts, kept)) => {
                    if encoding != UTF_8 && asked.is_none() {
                        self.notices.push(format!(
                            "{} is not in UTF-8; it was read as {} (--encoding decides otherwise)",
                            crate::error::Shown(&file.path),
                            encoding.name()
                        ));
                    }
                    if surveyed.layout.numbers_as_names {
                        self.notices.push(format!(
                            "the first row of {} was taken for a header although its names are whole numbers (--header false if it is an example)",
                            crate::error::Shown(&file.path)
                        ));
                    }
                    if surveyed.layout.titles > 0 {
                        self.notices.push(format!(
                            "{} above the table in {} taken for a title and left out",
                            counted(surveyed.layout.titles, "row"),
                            format_args!(
                                "{} {}",
                                crate::error::Shown(&file.path),
                                if surveyed.layout.titles == 1 { "was" } else { "were" }
                            ),
                        ));
                    }
                    self.join(SurveyedFile { kept, ..surveyed }, facts)?;
                    return Ok(());
                }
                // Text that is not UTF-8: once more, with an encoding that it may have.
                ControlFlow::Break(sample) => {
                    encoding = encoding::of_other(&sample);
                    if encoding == UTF_8 {
                        let damaged = self.lay_out(file, encoding, options, names)?;
                        let ControlFlow::Continue((facts, kept)) =
                            self.look_through(&damaged, options, true, block_bytes)?
                        else {
                            unreachable!("an encoding that was asked for is kept")
                        };
                        self.notices.push(format!(
                            "{} has a few bytes that are not UTF-8; they were read as U+FFFD (--encoding decides otherwise)",
                            crate::error::Shown(&file.path)
                        ));
                        return self.join(SurveyedFile { kept, ..damaged }, facts);
                    }
                }
            }
        }
    }

    fn lay_out(
        &self,
        file: &DataFile,
        encoding: &'static Encoding,
        options: &ReadOptions,
        names: &[String],
    ) -> Result<SurveyedFile, TableError> {
        let reader = encoding::decoding(file.open()?, encoding);
        let head = crate::source::read_up_to(reader, HEAD_BYTES).map_err(|error| file.error(error))?;
        let first = self.names.as_deref().unwrap_or_default();
        let known: Vec<String> = names.iter().chain(first).cloned().collect();
        let asked = Asked { separator: options.separator, header: options.header, names: &known };
        let whole = head.len() < HEAD_BYTES;
        let Some(mut layout) = dialect::layout(&head, whole, asked, &self.missing) else {
            return Err(TableError::Empty { path: file.path.clone() });
        };
        if layout.width > limits::COLUMNS_MAX {
            return Err(TableError::TooLarge {
                path: file.path.clone(),
                what: "columns",
                limit: limits::COLUMNS_MAX as u64,
            });
        }
        if let Some(names) = &mut layout.names {
            refuse_duplicates(file, names)?;
        }
        let columns = self.columns(file, &layout)?;
        Ok(SurveyedFile { file: file.clone(), encoding, layout, columns, kept: Kept::default() })
    }

    /// Which of the first file's columns those of a further one are: by name, else by position.
    fn columns(&self, file: &DataFile, layout: &Layout) -> Result<Vec<Option<usize>>, TableError> {
        let Some(first) = self.files.first() else { return Ok((0..layout.width).map(Some).collect()) };
        let first_path = crate::error::Shown(&first.file.path).to_string();
        let wrong = |problem: String| TableError::Format { path: file.path.clone(), problem };
        match (&self.names, &layout.names) {
            (Some(wanted), Some(names)) => {
                let absent: Vec<&String> = wanted.iter().filter(|name| !names.contains(name)).collect();
                if !absent.is_empty() {
                    return Err(wrong(format!(
                        "it has no column {}, which {first_path} has; files of one data set need the same columns",
                        listed(&absent)
                    )));
                }
                Ok(names.iter().map(|name| wanted.iter().position(|wanted| wanted == name)).collect())
            }
            _ if layout.width == self.facts.len() => Ok((0..layout.width).map(Some).collect()),
            _ => Err(wrong(format!(
                "it has {}, but {first_path} has {}; files of one data set need the same columns",
                counted(layout.width, "column"),
                self.facts.len()
            ))),
        }
    }

    /// Facts of a file's columns, or some of its bytes if they are not UTF-8 as it was thought.
    fn look_through(
        &self,
        surveyed: &SurveyedFile,
        options: &ReadOptions,
        sure_of_encoding: bool,
        block_bytes: usize,
    ) -> Result<Looked, TableError> {
        let SurveyedFile { file, encoding, layout, .. } = surveyed;
        let check = *encoding == UTF_8 && !sure_of_encoding;
        let reader = encoding::decoding(file.open()?, encoding);
        let blocks = Blocks::new(reader, layout.separator, block_bytes);
        let mut facts: Vec<Facts> = vec![Facts::default(); layout.width];
        // Outside of memory they would be written only to be given up at the first text.
        let keeps = !options.skip_bad_rows && options.scratch.is_none();
        let mut kept =
            Kept { columns: vec![keeps.then(Numbers::new); layout.width], rows: 0, lines: Lines::default() };
        kept.lines.begin_file(&file.path);
        let mut lines = 0;
        let mut other = None;
        // Columns that have other cells than plain numbers; it only saves time to know of them.
        let texts: Vec<AtomicBool> = facts.iter().map(|_| AtomicBool::new(!keeps)).collect();
        // Columns with too many different numbers to be counted; it only saves time to know of them.
        let many: Vec<AtomicBool> = facts.iter().map(|_| AtomicBool::new(false)).collect();
        let work = |index, block: &[u8]| -> Part {
            if check && let Err(error) = std::str::from_utf8(block) {
                return Part::Other(around(block, error.valid_up_to()));
            }
            let skip = if index == 0 { layout.skipped_rows } else { 0 };
            // Cells of at least some digits and a separator: a guess that is never far too large.
            let rows = block.len() / (8 * layout.width.max(1)) + 1;
            let mut sink = SurveySink {
                facts: many.iter().map(|many| Facts::after(many.load(Ordering::Relaxed))).collect(),
                missing: &self.missing,
                width: layout.width,
                skip,
                rows: 0,
                surplus: false,
                line: 0,
                forgiving: options.skip_bad_rows,
                held: Vec::new(),
                values: texts
                    .iter()
                    .map(|text| (!text.load(Ordering::Relaxed)).then(|| Vec::with_capacity(rows)))
                    .collect(),
                lines: Lines::default(),
            };
            let walked = walk(block, layout.separator, &mut sink);
            Part::Facts { facts: sink.facts, rows: sink.rows, values: sink.values, lines: sink.lines, walked }
        };
        let result = blocks::each(file, blocks, work, |parts| {
            for part in parts {
                match part {
                    Part::Other(sample) => {
                        other = Some(sample);
                        // Any error ends the pass; this one is never seen.
                        return Err(TableError::Empty { path: file.path.clone() });
                    }
                    Part::Facts { facts: part, rows, values, lines: part_lines, walked } => {
                        for (facts, part) in facts.iter_mut().zip(part) {
                            facts.join(part, lines);
                        }
                        for (many, facts) in many.iter().zip(&facts) {
                            many.store(facts.has_many_numbers(), Ordering::Relaxed);
                        }
                        kept.columns.par_iter_mut().zip(values).zip(&texts).for_each(
                            |((kept, values), text)| {
                                match (kept.as_mut(), values) {
                                    (Some(kept), Some(values)) => kept.extend(&values),
                                    _ => *kept = None,
                                }
                                text.store(kept.is_none(), Ordering::Relaxed);
                            },
                        );
                        kept.lines.append(part_lines, kept.rows, lines);
                        kept.rows += rows;
                        lines += walked.map_err(|trouble| error(surveyed, trouble, lines))?;
                    }
                }
            }
            if self.rows + kept.rows > limits::EXAMPLES_MAX {
                let limit = limits::EXAMPLES_MAX as u64;
                return Err(TableError::TooLarge { path: file.path.clone(), what: "examples", limit });
            }
            Ok(())
        });
        match other {
            Some(sample) => Ok(ControlFlow::Break(sample)),
            None => result.map(|()| ControlFlow::Continue((facts, kept))),
        }
    }

    fn join(&mut self, surveyed: SurveyedFile, facts: Vec<Facts>) -> Result<(), TableError> {
        let rows = surveyed.kept.rows;
        if let Some((promised, _)) = surveyed.layout.counts.as_ref().filter(|(promised, _)| *promised != rows)
        {
            return Err(TableError::Format {
                path: surveyed.file.path,
                problem: format!(
                    "its first line says {promised} examples, but {rows} follow; correct or remove that line"
                ),
            });
        }
        self.rows += rows;
        if self.files.is_empty() {
            self.names.clone_from(&surveyed.layout.names);
            self.facts = facts;
        } else {
            for (part, column) in facts.into_iter().zip(&surveyed.columns) {
                if let Some(column) = column {
                    self.facts[*column].join(part, 0);
                }
            }
        }
        self.files.push(surveyed);
        Ok(())
    }
}

/// [`cells::walk`], and a row that is too long is an error.
pub(super) fn walk(block: &[u8], separator: Separator, sink: &mut impl Sink) -> Result<u64, Trouble> {
    if block.len() > 2 * limits::ROW_BYTES_MAX && cells::last_row_end(block, separator).is_none() {
        // A quote that is never closed is the likelier reason, and named by the walk.
        cells::walk(block, separator, sink)?;
        let problem = format!("the row is longer than {} bytes; is this a table?", limits::ROW_BYTES_MAX);
        return Err(Trouble { line: 0, column: None, problem });
    }
    cells::walk(block, separator, sink)
}

enum Part {
    Facts {
        facts: Vec<Facts>,
        rows: usize,
        values: Vec<Option<Vec<f64>>>,
        lines: Lines,
        walked: Result<u64, Trouble>,
    },
    /// Bytes that are not UTF-8, among others.
    Other(Vec<u8>),
}

fn around(block: &[u8], at: usize) -> Vec<u8> {
    const BEFORE: usize = 16 << 10;
    const AFTER: usize = 256 << 10;
    block[at.saturating_sub(BEFORE)..block.len().min(at + AFTER)].to_vec()
}

/// The error of a file for trouble in a part that begins after so many lines.
pub(super) fn error(surveyed: &SurveyedFile, trouble: Trouble, lines: u64) -> TableError {
    let path = surveyed.file.path.clone();
    let line = lines + trouble.line + 1;
    match trouble.column {
        None => TableError::Row { path, line, problem: trouble.problem },
        Some(index) => {
            let name = surveyed.layout.names.as_ref().and_then(|names| names.get(index).cloned());
            let mut problem = trouble.problem;
            if surveyed.layout.names.is_none() && line == 1 {
                problem += " (if this line is a header, say --header)";
            }
            TableError::Cell { path, line, column: ColumnPlace { index, name }, problem }
        }
    }
}

/// What is wrong with a row of another number of cells.
pub(super) fn ragged(cells: usize, width: usize) -> String {
    format!(
        "{} where the first row has {width}; complete the row, put quotes around a cell that has a separator in it, or \
         leave such rows out with --skip-bad-rows",
        counted(cells, "cell")
    )
}

struct SurveySink<'a> {
    facts: Vec<Facts>,
    missing: &'a MissingTexts,
    width: usize,
    /// Rows before the first example.
    skip: usize,
    rows: usize,
    /// Whether the row has a cell too many that is not empty.
    surplus: bool,
    /// Of the row.
    line: u64,
    /// Bad rows are left out; so a row's cells must wait until it is whole.
    forgiving: bool,
    held: Vec<(usize, Held)>,
    /// The values of each column as long as they are plain numbers or missing.
    values: Vec<Option<Vec<f64>>>,
    lines: Lines,
}

enum Held {
    Number(Scanned),
    Missing,
    Text(Vec<u8>),
}

impl SurveySink<'_> {
    #[inline]
    fn missing(&mut self, column: usize) {
        self.facts[column].missing += 1;
        if let Some(values) = &mut self.values[column] {
            values.push(f64::NAN);
        }
    }

    fn take(&mut self, column: usize, held: Held) {
        let line = self.line;
        let facts = &mut self.facts[column];
        match held {
            Held::Number(scanned) => facts.number(scanned.value, scanned.point, line),
            Held::Missing => facts.missing += 1,
            Held::Text(cell) => facts.text(&cell, line),
        }
    }
}

impl Sink for SurveySink<'_> {
    fn begin_row(&mut self, line: u64) {
        self.line = line;
    }

    #[inline]
    fn number(&mut self, column: usize, scanned: Scanned, written: &[u8]) {
        if column >= self.width {
            self.surplus = true;
        } else if self.skip > 0 {
        } else if self.forgiving {
            let missing = self.missing.has_number(written);
            self.held.push((column, if missing { Held::Missing } else { Held::Number(scanned) }));
        } else if self.missing.has_number(written) {
            self.missing(column);
        } else {
            self.facts[column].number(scanned.value, scanned.point, self.line);
            if let Some(values) = &mut self.values[column] {
                values.push(scanned.value);
            }
        }
    }

    fn text(&mut self, column: usize, cell: &[u8]) {
        if column >= self.width {
            self.surplus |= !cell.is_empty();
        } else if self.skip > 0 {
        } else if self.forgiving {
            let missing = self.missing.has(cell);
            self.held.push((column, if missing { Held::Missing } else { Held::Text(cell.to_vec()) }));
        } else if self.missing.has(cell) {
            self.missing(column);
        } else {
            self.facts[column].text(cell, self.line);
            self.values[column] = None;
        }
    }

    fn end_row(&mut self, cells: usize) -> Result<(), Trouble> {
        let surplus = std::mem::take(&mut self.surplus);
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        let fits = cells == self.width || (cells > self.width && !surplus);
        if self.forgiving {
            let held = std::mem::take(&mut self.held);
            if fits {
                self.rows += 1;
                held.into_iter().for_each(|(column, held)| self.take(column, held));
            }
            return Ok(());
        }
        if !fits {
            return Err(Trouble { line: self.line, column: None, problem: ragged(cells, self.width) });
        }
        self.lines.push(self.rows, self.line);
        self.rows += 1;
        Ok(())
    }
}

/// Tells apart, before it is parsed, what is clearly no text.
fn refuse_other_formats(file: &DataFile, head: &[u8]) -> Result<(), TableError> {
    let utf16 = encoding::of_head(head) != UTF_8;
    let utf32 = head.starts_with(&[0xff, 0xfe, 0, 0]) || head.starts_with(&[0, 0, 0xfe, 0xff]);
    let begins = |word: &[u8]| {
        head.trim_ascii_start().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let problem = if utf32 {
        "it is in UTF-32; save it in UTF-8"
    } else if begins(b"@relation") {
        "it is ARFF; save it as CSV"
    } else if head.starts_with(b"PK\x03\x04") {
        "it is a zip archive or a spreadsheet; unpack it, or save it as CSV"
    } else if head.starts_with(b"\xd0\xcf\x11\xe0") {
        "it is an old spreadsheet; save it as CSV"
    } else if head.starts_with(&[0, 0, 8]) {
        "it is a single IDX file; give the directory that holds images and labels"
    } else if head.contains(&0) && !utf16 {
        "it is binary and of no known format; give CSV, Parquet, NPY, NPZ, svmlight or a directory of images"
    } else if head.trim_ascii_start().starts_with(b"{") || head.trim_ascii_start().starts_with(b"[{") {
        "it is JSON; save it as CSV or Parquet"
    } else if head.trim_ascii_start().starts_with(b"<") {
        "it is a web page or XML; fetch the data itself, or save it as CSV"
    } else {
        return Ok(());
    };
    Err(TableError::Format { path: file.path.clone(), problem: problem.to_owned() })
}

/// Two columns of one name cannot be told apart; columns without a name can, by their position.
fn refuse_duplicates(file: &DataFile, names: &[String]) -> Result<(), TableError> {
    let mut seen = std::collections::BTreeSet::new();
    match names.iter().find(|name| !name.is_empty() && !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(TableError::Format {
            path: file.path.clone(),
            problem: format!("two columns are called {}; rename one", crate::error::quoted(name.as_bytes())),
        }),
    }
}
