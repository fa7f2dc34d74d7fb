//! From bytes to rows and cells: separators, quotes and line ends of every kind.
//!
//! A row ends with LF, CRLF or CR, whichever comes. Blank lines are skipped, spaces around cells ignored. A
//! quote counts only at the beginning of a cell; inside, two stand for one.

use memchr::{memchr, memchr3};
use serde::{Deserialize, Serialize};

use super::number::{self, Scanned};

/// What stands between the cells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Separator {
    /// One such byte.
    Byte(u8),
    /// One or more spaces or tabs.
    Spaces,
}

/// What is made of rows and cells.
pub(super) trait Sink {
    /// Whether the cells of this column matter; others are only passed over.
    fn wants(&self, _column: usize) -> bool {
        true
    }
    /// A row begins in this line (from 0, counted from the start of the bytes).
    fn begin_row(&mut self, line: u64);
    /// A cell that is a plain number, and as it was written.
    fn number(&mut self, column: usize, scanned: Scanned, written: &[u8]);
    /// Any other cell; trimmed, unquoted.
    fn text(&mut self, column: usize, cell: &[u8]);
    /// The row had so many cells. The error is the end of the walk.
    fn end_row(&mut self, cells: usize) -> Result<(), Trouble>;
}

/// What ends a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The row's line, from 0, counted from the start of the bytes.
    pub(super) line: u64,
    /// The cell's column, from 0.
    pub(super) column: Option<usize>,
    /// What is wrong and what to do.
    pub(super) problem: String,
}

/// Hands every cell of whole rows to `sink`, in order, and returns how many lines there are.
pub(super) fn walk<S: Sink>(bytes: &[u8], separator: Separator, sink: &mut S) -> Result<u64, Trouble> {
    match separator {
        Separator::Byte(byte) => walk_as::<false, S>(bytes, byte, sink),
        Separator::Spaces => walk_as::<true, S>(bytes, b' ', sink),
    }
}

#[inline(always)]
fn is_blank<const SPACES: bool>(byte: u8, separator: u8) -> bool {
    byte == b' ' || (byte == b'\t' && (SPACES || separator != b'\t'))
}

#[inline(always)]
fn ends_line(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// Behind the end of a line at `at`.
#[inline(always)]
fn after_line(bytes: &[u8], at: usize) -> usize {
    if bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n') { at + 2 } else { at + 1 }
}

fn walk_as<const SPACES: bool, S: Sink>(bytes: &[u8], separator: u8, sink: &mut S) -> Result<u64, Trouble> {
    let end = bytes.len();
    let skip_blanks = |mut at: usize| {
        while at < end && is_blank::<SPACES>(bytes[at], separator) {
            at += 1;
        }
        at
    };
    let ends_cell = |at: usize| {
        at == end
            || ends_line(bytes[at])
            || if SPACES { bytes[at] == b' ' || bytes[at] == b'\t' } else { bytes[at] == separator }
    };
    let mut unquoted = Vec::new();
    let mut at = 0;
    let mut line = 0;
    while at < end {
        let row_line = line;
        at = skip_blanks(at);
        if at == end {
            break;
        }
        if ends_line(bytes[at]) {
            at = after_line(bytes, at);
            line += 1;
            continue;
        }
        let mut column = 0;
        sink.begin_row(row_line);
        loop {
            at = skip_blanks(at);
            if at < end && bytes[at] == b'"' {
                let (content, doubled, after) = quoted_cell(bytes, at).ok_or_else(|| Trouble {
                    line,
                    column: Some(column),
                    problem: "the quote that opens here is never closed; close it, or remove it".to_owned(),
                })?;
                line += lines_in(content);
                let after_blanks = skip_blanks(after);
                let closed = ends_cell(after) || ends_cell(after_blanks);
                if !closed {
                    return Err(Trouble {
                        line: row_line,
                        column: Some(column),
                        problem: "text follows the quote that closes the cell; write a quote inside a cell twice, and \
                                  look whether one before is never closed"
                            .to_owned(),
                    });
                }
                at = if SPACES { after } else { after_blanks };
                if sink.wants(column) {
                    let cell = if doubled {
                        unquoted.clear();
                        let mut quote_before = false;
                        for &byte in content {
                            quote_before = byte == b'"' && !quote_before;
                            if !quote_before {
                                unquoted.push(byte);
                            }
                        }
                        &unquoted
                    } else {
                        content
                    }
                    .trim_ascii();
                    match number::whole(cell) {
                        Some(scanned) => sink.number(column, scanned, cell),
                        None => sink.text(column, cell),
                    }
                }
            } else {
                let start = at;
                let scanned = if sink.wants(column) { number::scan(bytes, start) } else { None };
                let scanned =
                    scanned.filter(|scanned| ends_cell(scanned.end) || ends_cell(skip_blanks(scanned.end)));
                match scanned {
                    Some(scanned) => {
                        at = if SPACES { scanned.end } else { skip_blanks(scanned.end) };
                        sink.number(column, scanned, &bytes[start..scanned.end]);
                    }
                    None => {
                        at = if SPACES {
                            bytes[start..]
                                .iter()
                                .position(|&byte| byte == b' ' || byte == b'\t' || ends_line(byte))
                                .map_or(end, |length| start + length)
                        } else {
                            memchr3(separator, b'\n', b'\r', &bytes[start..])
                                .map_or(end, |length| start + length)
                        };
                        if sink.wants(column) {
                            sink.text(column, bytes[start..at].trim_ascii_end());
                        }
                    }
                }
            }
            column += 1;
            if SPACES {
                at = skip_blanks(at);
            }
            if at == end {
                break;
            }
            if ends_line(bytes[at]) {
                at = after_line(bytes, at);
                line += 1;
                break;
            }
            if !SPACES {
                at += 1;
            }
        }
        sink.end_row(column)?;
    }
    Ok(line)
}

/// A quoted cell that opens at `at`: its content, whether a quote in it is doubled, and where it ends.
#[inline]
fn quoted_cell(bytes: &[u8], at: usize) -> Option<(&[u8], bool, usize)> {
    let start = at + 1;
    let mut doubled = false;
    let mut from = start;
    loop {
        let quote = from + memchr(b'"', &bytes[from..])?;
        if bytes.get(quote + 1) == Some(&b'"') {
            doubled = true;
            from = quote + 2;
        } else {
            return Some((&bytes[start..quote], doubled, quote + 1));
        }
    }
}

/// Ends of lines inside a quoted cell.
fn lines_in(content: &[u8]) -> u64 {
    let mut lines = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &content[at..]) {
        at = after_line(content, at + found);
        lines += 1;
    }
    lines
}

/// Where the last whole row of `bytes` ends, so that what comes before can be read without what follows.
/// `None`: the first row is not at its end yet.
pub(super) fn last_row_end(bytes: &[u8], separator: Separator) -> Option<usize> {
    if memchr(b'"', bytes).is_none() {
        // A CR at the very end may be half of a CRLF.
        let whole = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        return memchr::memrchr2(b'\n', b'\r', whole).map(|at| at + 1);
    }
    let is_separator = |byte: u8| match separator {
        Separator::Byte(separator) => byte == separator,
        Separator::Spaces => byte == b' ' || byte == b'\t',
    };
    let mut last = None;
    let mut at = 0;
    let mut cell_begins = true;
    while at < bytes.len() {
        let byte = bytes[at];
        if cell_begins && byte == b'"' {
            let Some((_, _, after)) = quoted_cell(bytes, at) else { return last };
            if after == bytes.len() {
                // The next byte may double the quote.
                return last;
            }
            at = after;
            cell_begins = false;
        } else if ends_line(byte) {
            let after = after_line(bytes, at);
            if byte == b'\r' && at + 1 == bytes.len() {
                return last;
            }
            last = Some(after);
            at = after;
            cell_begins = true;
        } else {
            cell_begins = is_separator(byte) || (cell_begins && (byte == b' ' || byte == b'\t'));
            at += 1;
        }
    }
    last
}

/// Rows as lists of texts, for looking at a few.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<(u64, Vec<Vec<u8>>)>,
    row: Vec<Vec<u8>>,
    line: u64,
    /// Rows after which the walk ends.
    pub(super) most: usize,
}

impl Rows {
    pub(super) fn at_most(most: usize) -> Self {
        Self { most, ..Self::default() }
    }
}

impl Sink for Rows {
    fn begin_row(&mut self, line: u64) {
        self.line = line;
    }

    fn number(&mut self, _: usize, _: Scanned, written: &[u8]) {
        self.row.push(written.to_vec());
    }

    fn text(&mut self, _: usize, cell: &[u8]) {
        self.row.push(cell.to_vec());
    }

    fn end_row(&mut self, _: usize) -> Result<(), Trouble> {
        let line = self.line;
        self.rows.push((line, std::mem::take(&mut self.row)));
        if self.rows.len() < self.most {
            return Ok(());
        }
        Err(Trouble { line, column: None, problem: String::new() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str, separator: Separator) -> Vec<(u64, Vec<String>)> {
        let mut rows = Rows::at_most(usize::MAX);
        walk(text.as_bytes(), separator, &mut rows).unwrap();
        let text = |cell: Vec<u8>| String::from_utf8(cell).unwrap();
        rows.rows.into_iter().map(|(line, row)| (line, row.into_iter().map(text).collect())).collect()
    }

    fn row(line: u64, cells: &[&str]) -> (u64, Vec<String>) {
        (line, cells.iter().map(|&cell| cell.to_owned()).collect())
    }

    #[test]
    fn line_ends_of_every_kind_are_one_line_each() {
        for text in
            ["a,b\nc,d\n\ne,f", "a,b\r\nc,d\r\n\r\ne,f\r\n", "a,b\rc,d\r\re,f\r", "a,b\nc,d\r\n  \re,f\n"]
        {
            let expected = [row(0, &["a", "b"]), row(1, &["c", "d"]), row(3, &["e", "f"])];
            assert_eq!(rows(text, Separator::Byte(b',')), expected, "{text:?}");
        }
    }

    #[test]
    fn quotes_hold_separators_line_ends_and_quotes() {
        let text = "\"a, b\",\"c\r\nd\"\n\"say \"\"hi\"\"\", 5 , \"6\" \nx\"y,\"\"\n";
        let expected =
            [row(0, &["a, b", "c\r\nd"]), row(2, &["say \"hi\"", "5", "6"]), row(3, &["x\"y", ""])];
        assert_eq!(rows(text, Separator::Byte(b',')), expected);
    }

    #[test]
    fn empty_cells_at_the_ends_count() {
        let expected = [row(0, &["", "1", ""]), row(1, &["", "", ""])];
        assert_eq!(rows(",1,\n,,", Separator::Byte(b',')), expected);
    }

    #[test]
    fn runs_of_spaces_and_tabs_separate() {
        let expected = [row(0, &["1", "2.5", "a b"]), row(1, &["3", "x", "4"])];
        assert_eq!(rows("  1   2.5 \"a b\" \n3\t x 4", Separator::Spaces), expected);
    }

    #[test]
    fn a_quote_that_is_not_closed_is_named_where_it_opens() {
        let trouble =
            |text: &str| walk(text.as_bytes(), Separator::Byte(b','), &mut Rows::at_most(9)).unwrap_err();
        let open = trouble("a,b\n1,\"c\nd,e\n");
        assert_eq!((open.line, open.column), (1, Some(1)));
        let junk = trouble("a,b\n1,\"c\n\"d\",e\n");
        assert_eq!((junk.line, junk.column), (1, Some(1)));
        assert!(junk.problem.contains("twice"), "{}", junk.problem);
    }

    proptest! {
        /// Cutting anywhere at the end of a row and reading both pieces is reading the whole.
        #[test]
        fn whole_rows_can_be_read_apart(text in "[a1,\" \r\n]{0,40}", cut in 0_usize..40) {
            for separator in [Separator::Byte(b','), Separator::Spaces] {
                let bytes = text.as_bytes();
                let Some(end) = last_row_end(&bytes[..cut.min(bytes.len())], separator) else { continue };
                let read = |bytes: &[u8]| {
                    let mut rows = Rows::at_most(usize::MAX);
                    let lines = walk(bytes, separator, &mut rows);
                    (rows.rows, lines)
                };
                let (mut first, lines) = read(&bytes[..end]);
                let (second, _) = read(&bytes[end..]);
                let (whole, _) = read(bytes);
                if let Ok(lines) = lines {
                    first.extend(second.into_iter().map(|(line, row)| (line + lines, row)));
                    prop_assert_eq!(first, whole);
                }
            }
        }
    }
}
