//! How a file of text is laid out, told from its first rows as wholes: what separates cells, whether the
//! first row is a header, a line of counts or an example, and whether separators trail.

use std::collections::BTreeMap;

use super::{
    cells::{Rows, Separator, walk},
    number,
};
use crate::{date::DateFormats, kind, missing::MissingTexts};

/// Rows that are looked at.
const ROWS_MAX: usize = 1000;
/// The separators that are tried, the likelier first.
const SEPARATORS: [Separator; 5] = [
    Separator::Byte(b','),
    Separator::Byte(b';'),
    Separator::Byte(b'\t'),
    Separator::Byte(b'|'),
    Separator::Spaces,
];

/// A file's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) separator: Separator,
    /// Rows before the first example: comments, a line `sep=;`, the header or the line of counts.
    pub(crate) skipped_rows: usize,
    /// How many of these are taken for a title.
    pub(crate) titles: usize,
    /// Names of the columns, where there is a header; one each, an empty one for a column that has none.
    pub(crate) names: Option<Vec<String>>,
    /// Columns.
    pub(crate) width: usize,
    /// A first line such as `569,30,malignant,benign`, as scikit-learn's bundled files have it: the number of
    /// examples, of features, then the classes that the labels 0, 1, ... in the last column stand for.
    pub(crate) counts: Option<(usize, Vec<String>)>,
    /// Whether it was told, not said, that names of whole numbers are a header.
    pub(crate) numbers_as_names: bool,
}

type Row = Vec<Vec<u8>>;

/// What the user said of the layout.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) separator: Option<Separator>,
    pub(crate) header: Option<bool>,
    /// Names of columns that are known from elsewhere.
    pub(crate) names: &'a [String],
}

/// Tells the layout from a file's first bytes. `whole`: they are all of it. `None`: there is no row.
pub(crate) fn layout(head: &[u8], whole: bool, asked: Asked<'_>, missing: &MissingTexts) -> Option<Layout> {
    let mut head = head;
    let mut said = asked.separator;
    let mut sep_line = 0;
    if let Some((separator, rest)) = sep_line_of(head) {
        said = said.or(Some(separator));
        head = rest;
        sep_line = 1;
    }
    let separator = said.unwrap_or_else(|| separator(head, whole, missing));
    let rows = first_rows(head, whole, separator);
    if rows.is_empty() {
        return None;
    }
    let width = usual_width(&rows);
    let comments = rows.iter().take_while(|row| row[0].starts_with(b"#") && row.len() != width).count();
    let comments = if comments < rows.len() { comments } else { 0 };
    // Where the examples begin at once, one of which only the first cell is known is no title.
    let titles = match asked.header {
        Some(false) => 0,
        _ => titles(&rows[comments..], width, asked.names),
    };
    let rows = &rows[comments + titles..];
    let mut layout = Layout {
        separator,
        // The rows of a `sep=` line depend on the separator: `sep=,` is one row all the same.
        skipped_rows: sep_line + comments + titles,
        titles,
        names: None,
        width,
        counts: None,
        numbers_as_names: false,
    };
    let first = match asked.header {
        Some(true) => FirstRow::Header { numbers: false },
        Some(false) => FirstRow::Example,
        None => first_row(rows, asked.names, missing),
    };
    match first {
        FirstRow::Example => layout.width = trimmed_width(rows, width),
        FirstRow::Counts { examples, classes } => {
            layout.skipped_rows += 1;
            layout.width = rows[1].len();
            layout.counts = Some((examples, classes));
        }
        FirstRow::Header { numbers } => {
            layout.skipped_rows += 1;
            layout.numbers_as_names = numbers;
            let mut names: Vec<String> = rows[0].iter().map(|name| text(name)).collect();
            if comments + titles == 0 && names[0].starts_with('#') && names.len() == width {
                names[0] = names[0].trim_start_matches('#').trim_start().to_owned();
            }
            let examples = &rows[1..];
            let data_width = if examples.is_empty() { names.len() } else { usual_width(examples) };
            let used = trimmed_width(examples, data_width);
            let nameless_end = names.last().is_some_and(String::is_empty);
            if names.len() + 1 == data_width && used == data_width {
                // As R writes it: the names of the rows have no name.
                names.insert(0, String::new());
            } else if nameless_end && (used < names.len() || names.len() == data_width + 1) {
                names.pop();
            }
            layout.width = names.len();
            layout.names = Some(names);
        }
    }
    Some(layout)
}

/// How many of the first rows are a title, as reports have it above their table: text in the first cell alone, perhaps
/// empty rows, and then rows of the usual width.
fn titles(rows: &[Row], width: usize, known: &[String]) -> usize {
    const TITLES_MAX: usize = 20;
    let is_title =
        |row: &&Row| row.len() <= width && row[1..].iter().all(Vec::is_empty) && !is_value(&row[0]);
    if rows.first().is_none_or(|row| row[0].is_empty()) {
        return 0;
    }
    let count = rows.iter().take_while(is_title).count();
    let [header, below, ..] = &rows[count..] else { return 0 };
    // The names of two columns of which the first has none are as narrow as a title, and a single name is as wide as
    // one that a spreadsheet fills up: the rows below tell.
    let may_be_names = width <= 2 || rows[..count].iter().any(|row| row.len() > 1);
    let named = !header.iter().any(|cell| is_value(cell)) && below.iter().any(|cell| is_value(cell));
    let begins = header.len() == width && header.iter().all(|cell| !cell.is_empty());
    let is_known = rows[..count].iter().any(|row| known.iter().any(|name| name.as_bytes() == row[0]));
    let fits = begins && !is_known && (named || !may_be_names);
    if width > 1 && count <= TITLES_MAX && fits { count } else { 0 }
}

/// `sep=;` in the first line, as Excel takes it, and what follows.
fn sep_line_of(head: &[u8]) -> Option<(Separator, &[u8])> {
    let end = head.iter().position(|&byte| byte == b'\n' || byte == b'\r')?;
    let line = head[..end].trim_ascii();
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let separator = match line.strip_prefix(b"sep=")? {
        [byte] => *byte,
        // A tab was trimmed.
        [] => b'\t',
        _ => return None,
    };
    Some((Separator::Byte(separator), &head[end..]))
}

fn first_rows(head: &[u8], whole: bool, separator: Separator) -> Vec<Row> {
    let mut rows = Rows::at_most(ROWS_MAX);
    // The end of the head cuts a row in two, which may look like a quote that is never closed.
    let end = if whole { Some(head.len()) } else { super::cells::last_row_end(head, separator) };
    let head = end.map_or(head, |end| &head[..end]);
    let _ = walk(head, separator, &mut rows);
    rows.rows.into_iter().map(|(_, row)| row).collect()
}

/// The commonest width, the larger of two that are equally common.
fn usual_width(rows: &[Row]) -> usize {
    let mut widths = BTreeMap::new();
    for row in rows {
        *widths.entry(row.len()).or_insert(0) += 1;
    }
    widths.into_iter().max_by_key(|&(width, count)| (count, width)).map_or(0, |(width, _)| width)
}

/// The width without a last column that is empty throughout.
fn trimmed_width(rows: &[Row], width: usize) -> usize {
    let full = || rows.iter().filter(|row| row.len() == width);
    let empty = width > 1 && full().count() > 0 && full().all(|row| row[width - 1].is_empty());
    if empty { width - 1 } else { width }
}

fn text(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell).into_owned()
}

/// The separator by which the first rows are most alike and their cells most like values.
fn separator(head: &[u8], whole: bool, missing: &MissingTexts) -> Separator {
    let mut best = (0.0, Separator::Byte(b','));
    for candidate in SEPARATORS {
        let score = score(head, whole, candidate, missing);
        // Spaces stand inside texts as well: they count only where nothing else separates.
        if score > best.0 && (candidate != Separator::Spaces || best.0 == 0.0) {
            best = (score, candidate);
        }
    }
    best.1
}

/// From 0, for no sign of this separator, to 1.
fn score(head: &[u8], whole: bool, candidate: Separator, missing: &MissingTexts) -> f64 {
    const ALIKE_MIN: f64 = 0.5;
    const SPACES_ALIKE_MIN: f64 = 0.95;
    let mut rows = Rows::at_most(ROWS_MAX);
    let end = if whole { Some(head.len()) } else { super::cells::last_row_end(head, candidate) };
    let head = end.map_or(head, |end| &head[..end]);
    // Text behind a closing quote ends the walk with a column; the last of the wanted rows without one.
    let broken = matches!(walk(head, candidate, &mut rows), Err(trouble) if trouble.column.is_some());
    let rows: Vec<Row> = rows.rows.into_iter().map(|(_, row)| row).collect();
    if rows.is_empty() {
        return 0.0;
    }
    // A header may have a cell more or less; it is judged like any row otherwise.
    let data = if rows.len() > 1 { &rows[1..] } else { &rows[..] };
    let width = usual_width(data);
    if width < 2 {
        return 0.0;
    }
    let alike = data.iter().filter(|row| row.len() == width).count() as f64 / data.len() as f64;
    let header_fits = (width - 1..=width + 1).contains(&rows[0].len());
    let least = if candidate == Separator::Spaces { SPACES_ALIKE_MIN } else { ALIKE_MIN };
    if alike < least {
        return 0.0;
    }
    let mut sum = 0.0;
    let mut cells = 0.0;
    for row in data.iter().filter(|row| row.len() == width) {
        for cell in row {
            sum += likeness(cell, missing);
            cells += 1.0;
        }
    }
    let broken_share = if broken { 0.5 } else { 1.0 };
    let header_share = if header_fits { 1.0 } else { 0.5 };
    alike * alike * header_share * broken_share * sum / cells
}

/// How much a cell looks like one value.
fn likeness(cell: &[u8], missing: &MissingTexts) -> f64 {
    if missing.has(cell) {
        return 0.8;
    }
    if is_value(cell) {
        return 1.0;
    }
    // Text with other separators in it may be several cells.
    if cell.iter().any(|byte| matches!(byte, b';' | b',' | b'\t' | b'|')) { 0.3 } else { 0.9 }
}

/// Whether a cell is a number in any style, a date, or true or false; single letters may be anything.
fn is_value(cell: &[u8]) -> bool {
    is_number(cell)
        || (cell.len() > 1 && kind::boolean(cell).is_some())
        || !DateFormats::ALL.fitting(cell).is_empty()
}

fn is_number(cell: &[u8]) -> bool {
    number::whole(cell).is_some() || !number::Styles::of_cell(cell).is_empty()
}

/// What the first row is.
#[derive(Debug, PartialEq, Eq)]
enum FirstRow {
    /// Column names; `numbers` if they are told from examples by being whole numbers in order.
    Header {
        numbers: bool,
    },
    Counts {
        examples: usize,
        classes: Vec<String>,
    },
    Example,
}

fn first_row(rows: &[Row], known: &[String], missing: &MissingTexts) -> FirstRow {
    let (first, below) = (&rows[0], &rows[1..]);
    if let Some(counts) = below.first().and_then(|second| counts(first, second)) {
        return counts;
    }
    let header = FirstRow::Header { numbers: false };
    let named = |cell: &Vec<u8>| !is_number(cell) && known.iter().any(|name| name.as_bytes() == cell);
    if first.iter().any(named) {
        return header;
    }
    if below.is_empty() {
        return if first.iter().any(|cell| is_number(cell)) { FirstRow::Example } else { header };
    }
    // R leaves out the name of the first column, so that names stand one to the left of their columns.
    let shift = usize::from(usual_width(below) == first.len() + 1);
    let column = |index: usize| {
        below.iter().filter_map(move |row| row.get(index + shift)).filter(|cell| !missing.has(cell))
    };
    for (index, cell) in first.iter().enumerate() {
        let text = !missing.has(cell) && !is_value(cell);
        if text && column(index).next().is_some() && column(index).all(|cell| is_value(cell)) {
            return header;
        }
        // The second row as before: a wrong cell further down does not make an example of a header.
        let second_is_number = below[0].get(index + shift).is_some_and(|cell| is_number(cell));
        let mostly = 10 * column(index).filter(|cell| is_value(cell)).count() > 9 * column(index).count();
        if text && second_is_number && mostly {
            return header;
        }
    }
    // Row names have no name of their own: no cell below the first is empty.
    const ROW_NAMES_MIN: usize = 3;
    let named_rows = below.len() >= ROW_NAMES_MIN
        && below.iter().all(|row| row.first().is_some_and(|cell| !missing.has(cell)));
    if first[0].is_empty() && first.len() > 1 && named_rows && first[1..].iter().all(|cell| !cell.is_empty())
    {
        return FirstRow::Header { numbers: first[1..].iter().any(|cell| is_number(cell)) };
    }
    let absent = |index: usize| !column(index).any(|cell| cell == &first[index]);
    let texts: Vec<usize> =
        (0..first.len()).filter(|&index| !first[index].is_empty() && !is_number(&first[index])).collect();
    let texts_are_names = texts.iter().all(|&index| absent(index));
    let numbers: Vec<(usize, f64)> = first
        .iter()
        .enumerate()
        .filter_map(|(index, cell)| Some((index, number::whole(cell)?.value)))
        .collect();
    if numbers.is_empty() {
        // Only text, here and below: names are those that never come again where others do.
        const BELOW_MIN: usize = 3;
        let mut seen = std::collections::BTreeSet::new();
        let different = first.iter().all(|cell| seen.insert(cell));
        let repeats = (0..first.len()).any(|index| {
            let mut seen = std::collections::BTreeSet::new();
            column(index).any(|cell| !seen.insert(cell))
        });
        let is_header = below.len() >= BELOW_MIN && different && texts_are_names && repeats;
        return if is_header { header } else { FirstRow::Example };
    }
    // Whole numbers in order: the positions of columns, as pandas writes them, or the years of a wide table.
    const NUMBERS_MIN: usize = 2;
    const ALONE_MIN: usize = 4;
    const FIRST_YEAR: f64 = 1000.0;
    let in_order =
        numbers.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1.0) && numbers.len() >= NUMBERS_MIN;
    let positions = in_order && numbers[0].1 == 0.0;
    let years = in_order && numbers[0].1 >= FIRST_YEAR && numbers[0].1.fract() == 0.0;
    let beside_names = !texts.is_empty() && texts_are_names && below.len() > 1;
    let beside_nothing = texts.is_empty() && (first[0].is_empty() || numbers.len() >= ALONE_MIN);
    let is_header = (positions && (beside_names || beside_nothing)) || (years && beside_names);
    if is_header { FirstRow::Header { numbers: true } } else { FirstRow::Example }
}

fn counts(first: &Row, second: &Row) -> Option<FirstRow> {
    let integer = |index: usize| std::str::from_utf8(first.get(index)?).ok()?.parse::<usize>().ok();
    let (examples, features) = (integer(0)?, integer(1)?);
    let classes: Vec<String> = first.iter().skip(2).map(|cell| text(cell)).collect();
    let plausible = features.checked_add(1) == Some(second.len())
        && classes.len() >= 2
        && !classes.iter().any(|class| class.is_empty() || is_number(class.as_bytes()));
    plausible.then_some(FirstRow::Counts { examples, classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Layout {
        layout(text.as_bytes(), true, Asked::default(), &MissingTexts::default()).unwrap()
    }

    fn names(text: &str) -> Option<Vec<String>> {
        of(text).names
    }

    #[test]
    fn separators_are_told_from_whole_rows() {
        let cases = [
            ("\"size, cm\";\"weight, g\";kind\n1,5;2,5;a\n2,5;3,5;b\n", Separator::Byte(b';')),
            ("1,5;2,5;a\n2,5;3,5;b\n", Separator::Byte(b';')),
            ("a,b,c\n1,x;y,2\n3,z;w,4\n", Separator::Byte(b',')),
            ("a|b\n1|x, y\n2|z\n", Separator::Byte(b'|')),
            ("a\tb c\n1\tx, y\n2\tz\n", Separator::Byte(b'\t')),
            ("  1  2.5 3\n  4 5.5   6\n", Separator::Spaces),
            ("name,when\nred car,2024-01-01 10:00\nblue car,2024-01-02 11:00\n", Separator::Byte(b',')),
            ("sep=;\na;b,c\n1;2,5\n", Separator::Byte(b';')),
            ("x\n1\n2\n", Separator::Byte(b',')),
        ];
        for (text, separator) in cases {
            assert_eq!(of(text).separator, separator, "{text:?}");
        }
        assert_eq!(of("sep=;\na;b,c\n1;2,5\n").skipped_rows, 2);
    }

    #[test]
    fn a_table_without_a_header_has_no_title() {
        let text = "red,,\nblue,green,a\nred,green,5\n";
        assert_eq!(of(text).titles, 1);
        let asked = Asked { header: Some(false), ..Asked::default() };
        let told = layout(text.as_bytes(), true, asked, &MissingTexts::default()).unwrap();
        assert_eq!((told.titles, told.skipped_rows), (0, 0));
    }

    #[test]
    fn headers_and_examples() {
        let some = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let cases = [
            ("a,b,kind\n1,2,x\n", some(&["a", "b", "kind"])),
            (",a,b\n0,1,2\n", some(&["", "a", "b"])),
            ("1,2,x\n3,4,y\n", None),
            ("0,1,2\n3,4,5\n", None),
            ("0,1,kind\n5.1,3.5,x\n4.9,3,y\n", some(&["0", "1", "kind"])),
            ("0,1,2,3\n5,3,2,1\n4,3,3,3\n", some(&["0", "1", "2", "3"])),
            (",0,1\n0,5,6\n1,5,7\n", some(&["", "0", "1"])),
            ("country,1990,1991\nAT,1,2\nCH,3,4\nAT,3,4\n", some(&["country", "1990", "1991"])),
            ("class,cap\np,x\ne,x\np,b\n", some(&["class", "cap"])),
            ("p,x\ne,x\np,b\n", None),
            ("red,1,a\nblue,2,b\n", None),
            ("x,y\n2024-01-01,TRUE\n2024-01-02,FALSE\n", some(&["x", "y"])),
            ("a,b\n", some(&["a", "b"])),
            (",1940,1945\na,22.2,44.5\nb,10.5,15.5\nc,3,5\n", some(&["", "1940", "1945"])),
            (",1,2\n1,50,19\n2,16,40\n3,12,35\n", some(&["", "1", "2"])),
            ("#a,b\n1,2\n3,4\n", some(&["a", "b"])),
            ("# made by hand, in 2024, twice\na,b\n1,2\n3,4\n", some(&["a", "b"])),
        ];
        for (text, expected) in cases {
            assert_eq!(names(text), expected, "{text:?}");
        }
    }

    #[test]
    fn names_that_are_known_make_a_header() {
        let known = ["kind".to_owned()];
        let asked = Asked { names: &known, ..Asked::default() };
        let layout = layout(b"a,b,kind\nNA,NA,x\n", true, asked, &MissingTexts::default()).unwrap();
        assert_eq!(layout.names.unwrap(), ["a", "b", "kind"]);
    }

    #[test]
    fn trailing_separators_and_rows_names_without_a_name() {
        for text in ["a,b,\n1,2\n3,4\n", "a,b\n1,2,\n3,4,\n", "a,b,\n1,2,\n3,4,\n"] {
            let layout = of(text);
            assert_eq!(
                (layout.width, layout.names.unwrap()),
                (2, vec!["a".to_owned(), "b".to_owned()]),
                "{text:?}"
            );
        }
        assert_eq!(of("1,2,\n3,4,\n").width, 2);
        assert_eq!(names("a b\n1 0.5 x\n2 0.6 y\n").unwrap(), ["", "a", "b"]);
        assert_eq!(names("\"a\",\"b\"\n\"r1\",0.5,x\n\"r2\",0.6,y\n").unwrap(), ["", "a", "b"]);
    }

    #[test]
    fn a_line_of_counts_names_the_classes() {
        let layout = of("150,2,setosa,virginica\n1,2,0\n2,3,1\n");
        assert_eq!(layout.counts, Some((150, vec!["setosa".to_owned(), "virginica".to_owned()])));
        assert_eq!((layout.width, layout.names), (3, None));
        assert!(of("150,7,setosa,virginica\n1,2,3,0\n").counts.is_none());
        assert!(of("150,2,setosa\n1,2,setosa\n").counts.is_none());
    }
}
