//! What a column holds, told from all of its cells.
//!
//! [`Facts`] are gathered cell by cell, in parts that are joined in order, in bounded memory; [`Facts::kind`]
//! judges them.

use std::{
    collections::HashSet, fmt, hash::BuildHasherDefault, hash::DefaultHasher, hash::Hasher as _, str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    csv::number::{Point, Style, Styles},
    date::{DateFormat, DateFormats},
    limits,
};

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Numbers.
    Number,
    /// One of two: true or false, yes or no, t or f, y or n.
    Boolean,
    /// One of several texts.
    Category,
    /// Dates or times.
    Date,
    /// Text that is no category.
    Text,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Category => "category",
            Self::Date => "date",
            Self::Text => "text",
        })
    }
}

impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "number" => Ok(Self::Number),
            "boolean" => Ok(Self::Boolean),
            "category" => Ok(Self::Category),
            "date" => Ok(Self::Date),
            "text" => Ok(Self::Text),
            _ => Err("a column is read as number, boolean, category, date or text"),
        }
    }
}

/// Why a column is not learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// The user said so.
    Asked,
    /// Every example has a value of its own there.
    Identifier,
    /// Every example has the same value there.
    Constant,
    /// No example has a value there.
    Empty,
    /// Texts with too many different values to be categories.
    Text,
    /// Lists and structures, of which no input is made.
    Nested,
    /// Days and months that could be either way round.
    AmbiguousDate,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Asked => "left out as asked",
            Self::Identifier => "identifier",
            Self::Constant => "constant",
            Self::Empty => "empty",
            Self::Text => "free text",
            Self::Nested => "lists or structures",
            Self::AmbiguousDate => "ambiguous date",
        })
    }
}

/// Pairs of texts that are true and false, in lower case.
const BOOLEANS: [(&str, &str); 4] = [("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n")];
/// The pairs that a column may mix, in bits: the words and their first letters.
const MIXED_BOOLEANS: [u8; 2] = [0b0101, 0b1010];

/// Whether a cell is true or false, and in which pairs of [`BOOLEANS`] the others of its column may be.
fn boolean_pairs(cell: &[u8]) -> u8 {
    const LONGEST: usize = 5;
    if cell.len() > LONGEST {
        return 0;
    }
    let is = |text: &str| cell.eq_ignore_ascii_case(text.as_bytes());
    BOOLEANS
        .iter()
        .enumerate()
        .filter(|(_, (yes, no))| is(yes) || is(no))
        .fold(0, |pairs, (at, _)| pairs | MIXED_BOOLEANS[at % 2])
}

/// 1 for true, 0 for false.
pub(crate) fn boolean(cell: &[u8]) -> Option<f64> {
    let is = |text: &str| cell.eq_ignore_ascii_case(text.as_bytes());
    BOOLEANS.iter().find_map(|(yes, no)| {
        if is(yes) {
            Some(1.0)
        } else if is(no) {
            Some(0.0)
        } else {
            None
        }
    })
}

/// A number of different values that was counted up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distinct {
    /// Exactly so many.
    Exactly(usize),
    /// More than so many.
    MoreThan(usize),
}

impl Distinct {
    /// The count, or the bound that it exceeds.
    pub fn at_least(self) -> usize {
        match self {
            Self::Exactly(count) | Self::MoreThan(count) => count,
        }
    }
}

impl fmt::Display for Distinct {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(count) => write!(formatter, "{count}"),
            Self::MoreThan(bound) => write!(formatter, "over {bound}"),
        }
    }
}

/// A cell named in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Line in its file; while a part is read, from 0 and counted from the part's start.
    pub(crate) line: u64,
    pub(crate) cell: Vec<u8>,
}

impl Seen {
    const KEPT_BYTES: usize = 256;

    fn new(line: u64, cell: &[u8]) -> Self {
        Self { line, cell: cell[..cell.len().min(Self::KEPT_BYTES)].to_vec() }
    }

    /// Whether more of the cell may have been there.
    fn is_cut(&self) -> bool {
        self.cell.len() == Self::KEPT_BYTES
    }
}

type Hashes = HashSet<u64, BuildHasherDefault<DefaultHasher>>;

/// All that is told of a column by its cells.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The kind, where the file's format says it.
    known: Option<Kind>,
    /// Whether the cells are lists or structures.
    nested: bool,
    /// Cells of each sort.
    pub(crate) missing: usize,
    pub(crate) numbers: usize,
    pub(crate) texts: usize,
    /// Of the numbers, in the style that the column turns out to have where it is plain.
    pub(crate) least: f64,
    pub(crate) greatest: f64,
    pub(crate) integers: bool,
    pub(crate) infinite: Option<Seen>,
    /// First and last value as long as each is one more than that before.
    run: Option<(f64, f64)>,
    distinct_numbers: SmallSet,
    pub(crate) styles: Styles,
    /// Whether a cell is a number only in another style than plain.
    pub(crate) styled: usize,
    booleans: u8,
    dates: DateFormats,
    distinct_texts: Hashes,
    too_many_texts: bool,
    text_bytes: usize,
    pub(crate) first_text: Option<Seen>,
    pub(crate) first_number: Option<u64>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            known: None,
            nested: false,
            missing: 0,
            numbers: 0,
            texts: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            integers: true,
            infinite: None,
            run: None,
            distinct_numbers: SmallSet::default(),
            styles: Styles::ALL,
            styled: 0,
            booleans: u8::MAX,
            dates: DateFormats::ALL,
            distinct_texts: Hashes::default(),
            too_many_texts: false,
            text_bytes: 0,
            first_text: None,
            first_number: None,
        }
    }
}

/// Ends a run of consecutive integers for good.
const BROKEN: (f64, f64) = (f64::NAN, f64::NAN);

impl Facts {
    /// Takes a plain number.
    #[inline]
    pub(crate) fn number(&mut self, value: f64, point: Point, line: u64) {
        if self.numbers == 0 {
            self.first_number = Some(line);
            self.run = Some((value, value - 1.0));
        }
        self.numbers += 1;
        if !value.is_finite() {
            if self.infinite.is_none() {
                self.infinite = Some(Seen::new(line, value.to_string().as_bytes()));
            }
            return;
        }
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        if point != Point::None {
            self.styles = self.styles.and(Styles::of_plain(point));
            self.integers = self.integers && value.fract() == 0.0;
        }
        if let Some((_, last)) = &mut self.run {
            // Compares false for a run that is broken, which is NaN.
            if *last + 1.0 == value {
                *last = value;
            } else {
                self.run = Some(BROKEN);
            }
        }
        self.distinct_numbers.insert(value);
    }

    /// Takes a cell that is neither a plain number nor missing.
    pub(crate) fn text(&mut self, cell: &[u8], line: u64) {
        self.texts += 1;
        if self.first_text.is_none() {
            self.first_text = Some(Seen::new(line, cell));
        }
        if !self.styles.is_empty() {
            let styles = Styles::of_cell(cell);
            self.styled += usize::from(!styles.is_empty());
            self.styles = self.styles.and(styles);
        }
        if self.booleans != 0 {
            self.booleans &= boolean_pairs(cell);
        }
        if !self.dates.is_empty() {
            self.dates = self.dates.fitting(cell);
        }
        if !self.too_many_texts {
            let mut hasher = DefaultHasher::new();
            hasher.write(cell);
            if self.distinct_texts.insert(hasher.finish()) {
                self.text_bytes += cell.len();
            }
            self.give_up_texts();
        }
    }

    fn give_up_texts(&mut self) {
        if self.distinct_texts.len() > limits::TEXTS_MAX || self.text_bytes > limits::DICTIONARY_BYTES_MAX {
            self.too_many_texts = true;
            self.distinct_texts = Hashes::default();
        }
    }

    /// Takes the facts of the cells that follow, in a part that begins at this line.
    pub(crate) fn join(&mut self, next: Self, line: u64) {
        let later = |seen: Option<Seen>| seen.map(|seen| Seen { line: seen.line + line, ..seen });
        let first_number = next.first_number.map(|first| first + line);
        self.run = match (self.run, next.run) {
            (Some((first, last)), Some((next_first, next_last))) if last + 1.0 == next_first => {
                Some((first, next_last))
            }
            (None, run) | (run, None) => run,
            _ => Some(BROKEN),
        };
        self.missing += next.missing;
        self.numbers += next.numbers;
        self.texts += next.texts;
        self.least = self.least.min(next.least);
        self.greatest = self.greatest.max(next.greatest);
        self.integers &= next.integers;
        self.infinite = self.infinite.take().or_else(|| later(next.infinite));
        self.distinct_numbers.join(&next.distinct_numbers);
        self.styles = self.styles.and(next.styles);
        self.styled += next.styled;
        self.booleans &= next.booleans;
        self.dates = self.dates.and(next.dates);
        self.too_many_texts |= next.too_many_texts;
        if self.too_many_texts {
            self.distinct_texts = Hashes::default();
        } else {
            // A text of both parts is counted twice in bytes, which only makes prose of a column a little
            // sooner.
            self.text_bytes += next.text_bytes;
            self.distinct_texts.extend(next.distinct_texts);
            self.give_up_texts();
        }
        self.first_text = self.first_text.take().or_else(|| later(next.first_text));
        self.first_number = self.first_number.or(first_number);
    }

    /// Facts of a further part of a column. Where there are too many different numbers already, nobody counts
    /// any more.
    pub(crate) fn after(many_numbers: bool) -> Self {
        let mut facts = Self::default();
        if many_numbers {
            facts.distinct_numbers.len = SmallSet::FULL;
        }
        facts
    }

    /// Facts of a column whose format says its kind.
    pub(crate) fn of_kind(known: Option<Kind>) -> Self {
        Self { known, ..Self::default() }
    }

    /// Facts of a column that nothing can be made of: lists and structures, or very many texts.
    pub(crate) fn of_free_text(nested: bool) -> Self {
        Self {
            known: Some(Kind::Text),
            nested,
            texts: 1,
            too_many_texts: true,
            styles: Styles::of(&[]),
            ..Self::default()
        }
    }

    /// Whether there are too many different numbers to be counted.
    pub(crate) fn has_many_numbers(&self) -> bool {
        self.distinct_numbers.len().is_none()
    }

    /// Whether there are too many different texts to be told apart.
    pub(crate) fn has_many_texts(&self) -> bool {
        self.too_many_texts
    }

    /// Cells that are not missing.
    pub(crate) fn present(&self) -> usize {
        self.numbers + self.texts
    }

    /// Different values, missing ones aside.
    pub(crate) fn distinct(&self) -> Distinct {
        if self.too_many_texts {
            return Distinct::MoreThan(limits::TEXTS_MAX);
        }
        match self.distinct_numbers.len() {
            Some(numbers) => Distinct::Exactly(numbers + self.distinct_texts.len()),
            None => Distinct::MoreThan(limits::DISTINCT_NUMBERS_MAX),
        }
    }

    /// Whether the numbers are consecutive integers, as row numbers are.
    fn counts_rows(&self) -> bool {
        let whole = self.texts == 0 && self.missing == 0 && self.integers;
        whole && self.run.is_some_and(|(first, last)| last >= first) && self.numbers >= ROWS_TOLD_MIN
    }

    /// The kind of the column, and how its cells are written where that is needed to read them.
    /// `decimal_comma` says whether other columns write one.
    pub(crate) fn kind(&self, decimal_comma: Option<bool>) -> (Kind, Style, Option<DateFormat>) {
        let plain = |kind| (kind, Style::Plain, None);
        if let Some(known) = self.known {
            return (known, Style::Plain, (known == Kind::Date).then_some(DateFormat::ISO));
        }
        if self.present() == 0 {
            return plain(Kind::Number);
        }
        if let Some(style) = self.style(decimal_comma) {
            return (Kind::Number, style, None);
        }
        if self.numbers == 0 {
            if self.booleans != 0 {
                return plain(Kind::Boolean);
            }
            if let Some((format, _)) = self.dates.choose() {
                return (Kind::Date, Style::Plain, Some(format));
            }
        } else if self.booleans != 0 && self.texts > 0 && self.has_zeros_and_ones() {
            return plain(Kind::Boolean);
        } else if self.mostly_numbers() {
            return plain(Kind::Number);
        }
        plain(if self.too_many_texts { Kind::Text } else { Kind::Category })
    }

    /// Whether all numbers are 0 or 1.
    fn has_zeros_and_ones(&self) -> bool {
        self.integers && self.least >= 0.0 && self.greatest <= 1.0
    }

    /// The text in a column of plain numbers that stands for a missing one, where it says so itself: it is the only
    /// text, it recurs, and the numbers are too many, or too broken, for categories.
    pub(crate) fn marker(&self) -> Option<String> {
        const RECURS_MIN: usize = 3;
        const DIFFERENT_MIN: usize = 20;
        let different = self.distinct_numbers.len().is_none_or(|count| count > DIFFERENT_MIN);
        let is_one = !self.too_many_texts && self.distinct_texts.len() == 1 && self.texts >= RECURS_MIN;
        let found =
            is_one && different && !self.integers && self.texts < self.numbers && self.style(None).is_none();
        let text = self.first_text.as_ref().filter(|seen| found && !seen.is_cut())?;
        String::from_utf8(text.cell.clone()).ok()
    }

    /// Whether some cells have a sign of per cent and others, of which one is not zero, have none.
    pub(crate) fn mixes_percent(&self, style: Style) -> bool {
        matches!(style, Style::Percent | Style::PercentDecimalComma)
            && self.styled > 0
            && self.numbers > 0
            && (self.least < 0.0 || self.greatest > 0.0)
    }

    /// Whether the column is one of numbers with a few wrong cells in it, rather than of categories some of
    /// which are numbers.
    pub(crate) fn mostly_numbers(&self) -> bool {
        const WRONG_ONE_IN: usize = 20;
        const DIFFERENT_MIN: usize = 20;
        let different = self.distinct_numbers.len().is_none_or(|count| count > DIFFERENT_MIN);
        // Several texts among integers are codes, as of stations or parts.
        let codes = self.integers && self.distinct_texts.len() > 1;
        different && !codes && self.texts * WRONG_ONE_IN <= self.present()
    }

    /// The dates' format where days and months may be either way round.
    pub(crate) fn ambiguous_date(&self) -> bool {
        self.numbers == 0 && self.texts > 0 && self.dates.choose().is_some_and(|(_, either)| either)
    }

    pub(crate) fn date_format(&self) -> Option<DateFormat> {
        self.dates.choose().map(|(format, _)| format)
    }

    /// The style in which every cell is a number.
    pub(crate) fn style(&self, decimal_comma: Option<bool>) -> Option<Style> {
        if self.present() == 0 || self.styles.is_empty() {
            return None;
        }
        if self.texts == 0
            && !(decimal_comma == Some(true) && self.styles.has(Style::PointGroups) && !self.integers)
        {
            return Some(Style::Plain);
        }
        let commas = [Style::DecimalComma, Style::PointGroups, Style::SpaceGroupsDecimalComma];
        let points = [Style::Plain, Style::CommaGroups, Style::SpaceGroups];
        let comma_signs = [Style::PercentDecimalComma, Style::CurrencyDecimalComma];
        let signs = [Style::Percent, Style::Currency];
        let (order, signs) = match decimal_comma {
            Some(true) => ([commas, points], [comma_signs, signs]),
            _ => ([points, commas], [signs, comma_signs]),
        };
        order.into_iter().flatten().chain(signs.into_iter().flatten()).find(|&style| self.styles.has(style))
    }

    /// Whether the column's decimal mark is a comma, where its cells tell.
    pub(crate) fn tells_decimal_comma(&self) -> Option<bool> {
        if self.known.is_some() || self.present() == 0 || self.styles.is_empty() {
            return None;
        }
        let has = |styles: &[Style]| styles.iter().any(|&style| self.styles.has(style));
        let commas = has(&[
            Style::DecimalComma,
            Style::PointGroups,
            Style::SpaceGroupsDecimalComma,
            Style::PercentDecimalComma,
            Style::CurrencyDecimalComma,
        ]);
        let points =
            has(&[Style::Plain, Style::CommaGroups, Style::SpaceGroups, Style::Percent, Style::Currency]);
        match (commas, points) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    /// Why a column of this name and kind is left out, if it is.
    pub(crate) fn left_out(&self, name: &str, kind: Kind) -> Option<LeftOut> {
        if self.present() == 0 {
            return Some(LeftOut::Empty);
        }
        let distinct = self.distinct();
        if self.missing == 0 && distinct == Distinct::Exactly(1) {
            return Some(LeftOut::Constant);
        }
        // As pandas calls an index that has no name; what it counted may have been shuffled since.
        let is_index = name.starts_with("__index_level_");
        if kind == Kind::Number && (is_index || (self.counts_rows() && is_row_name(name))) {
            return Some(LeftOut::Identifier);
        }
        let texts = matches!(kind, Kind::Category | Kind::Text) && self.numbers == 0;
        // Nine in ten are different.
        if texts && self.present() >= ROWS_TOLD_MIN && 10 * distinct.at_least() > 9 * self.present() {
            return Some(LeftOut::Identifier);
        }
        if kind == Kind::Date && self.ambiguous_date() {
            return Some(LeftOut::AmbiguousDate);
        }
        (kind == Kind::Text).then_some(if self.nested { LeftOut::Nested } else { LeftOut::Text })
    }
}

/// With fewer rows, values that are all different say nothing.
const ROWS_TOLD_MIN: usize = 10;

/// Names that programs give a column of row numbers.
fn is_row_name(name: &str) -> bool {
    const NAMES: [&str; 9] =
        ["", "unnamed: 0", "index", "id", "rownames", "row.names", "row", "rowid", "row_id"];
    NAMES.contains(&name.trim().to_ascii_lowercase().as_str())
}

/// Different numbers, up to a bound; a table of a fixed size, so that a column of many costs nothing once it
/// is full.
#[derive(Clone, Debug, Default)]
struct SmallSet {
    /// Bits of the values, plus one; 0 is an empty place. Empty until the first value.
    places: Vec<u64>,
    len: usize,
    last: u64,
}

impl SmallSet {
    const FULL: usize = limits::DISTINCT_NUMBERS_MAX + 1;

    #[inline]
    fn insert(&mut self, value: f64) {
        if self.len == Self::FULL {
            return;
        }
        // Zero has two signs and is one value. No finite number has all bits set.
        let key = if value == 0.0 { 1 } else { value.to_bits() + 1 };
        if key != self.last {
            self.last = key;
            self.insert_key(key);
        }
    }

    fn insert_key(&mut self, key: u64) {
        if self.places.len() < 2 * (self.len + 1) {
            let old = std::mem::take(&mut self.places);
            self.places = vec![0; (4 * old.len()).max(16)];
            self.len = 0;
            for key in old.into_iter().filter(|&key| key != 0) {
                self.insert_key(key);
            }
        }
        let mask = self.places.len() - 1;
        // Fibonacci hashing; a file that makes its values collide costs itself at most a walk over the table.
        let mut place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
        while self.places[place] != 0 {
            if self.places[place] == key {
                return;
            }
            place = (place + 1) & mask;
        }
        self.places[place] = key;
        self.len += 1;
    }

    fn join(&mut self, other: &Self) {
        if other.len == Self::FULL {
            self.len = Self::FULL;
        }
        for &key in other.places.iter().filter(|&&key| key != 0) {
            if self.len == Self::FULL {
                self.places = Vec::new();
                return;
            }
            self.insert_key(key);
        }
    }

    /// `None`: more than [`limits::DISTINCT_NUMBERS_MAX`].
    fn len(&self) -> Option<usize> {
        (self.len < Self::FULL).then_some(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::number;

    fn facts(cells: &[&str]) -> Facts {
        let mut facts = Facts::default();
        for (cell, line) in cells.iter().zip(0..) {
            match number::whole(cell.as_bytes()) {
                _ if cell.is_empty() => facts.missing += 1,
                Some(scanned) => facts.number(scanned.value, scanned.point, line),
                None => facts.text(cell.as_bytes(), line),
            }
        }
        facts
    }

    #[test]
    fn kinds_of_columns() {
        let cases: [(&[&str], Kind); 10] = [
            (&["1", "", "2.5"], Kind::Number),
            (&["TRUE", "false", ""], Kind::Boolean),
            (&["yes", "No"], Kind::Boolean),
            (&["t", "f"], Kind::Boolean),
            (&["f", "m"], Kind::Category),
            (&["yes", "f"], Kind::Category),
            (&["2024-01-01", "2024-01-02"], Kind::Date),
            (&["1", "2", "3+"], Kind::Category),
            (&["1,234", "1,234,567"], Kind::Number),
            (&["", ""], Kind::Number),
        ];
        for (cells, kind) in cases {
            assert_eq!(facts(cells).kind(None).0, kind, "{cells:?}");
        }
    }

    #[test]
    fn one_column_tells_the_decimal_mark_of_another() {
        let either = facts(&["1,234", "5,678"]);
        assert_eq!(either.kind(None).1, Style::CommaGroups);
        assert_eq!(either.kind(Some(true)).1, Style::DecimalComma);
        let point = facts(&["1.234", "5.678"]);
        assert_eq!(point.kind(None).1, Style::Plain);
        assert_eq!(point.kind(Some(true)).1, Style::PointGroups);
        assert_eq!(facts(&["1,5", "1234,25"]).tells_decimal_comma(), Some(true));
        assert_eq!(facts(&["1.5"]).tells_decimal_comma(), Some(false));
        assert_eq!(facts(&["15"]).tells_decimal_comma(), None);
    }

    #[test]
    fn what_is_left_out() {
        let rows: Vec<String> = (5..25).map(|row| row.to_string()).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let of = |name: &str, cells: &[&str]| {
            let facts = facts(cells);
            facts.left_out(name, facts.kind(None).0)
        };
        assert_eq!(of("", &rows), Some(LeftOut::Identifier));
        assert_eq!(of("Id", &rows), Some(LeftOut::Identifier));
        assert_eq!(of("year", &rows), None);
        assert_eq!(of("x", &["7", "7.0"]), Some(LeftOut::Constant));
        assert_eq!(of("x", &["a", "a"]), Some(LeftOut::Constant));
        assert_eq!(of("x", &["a", ""]), None);
        assert_eq!(of("x", &["", ""]), Some(LeftOut::Empty));
        let names: Vec<String> = (0..20).map(|row| format!("name {row}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(of("x", &names), Some(LeftOut::Identifier));
        assert_eq!(of("x", &["1/2/2024", "3/4/2024"]), Some(LeftOut::AmbiguousDate));
    }

    #[test]
    fn parts_join_to_the_whole() {
        let cells: Vec<String> = (0..9000).map(|row| (row / 2).to_string()).chain(["x".to_owned()]).collect();
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        for cut in [0, 1, 4000, 8999, 9001] {
            let mut joined = facts(&cells[..cut]);
            joined.join(facts(&cells[cut..]), cut as u64);
            let whole = facts(&cells);
            assert_eq!(joined.distinct(), whole.distinct());
            assert_eq!(joined.first_text, whole.first_text);
            assert_eq!(
                (joined.least, joined.greatest, joined.numbers),
                (whole.least, whole.greatest, whole.numbers)
            );
        }
        let mut run = facts(&["1", "2"]);
        run.join(facts(&["3", "4"]), 2);
        assert_eq!(run.run, Some((1.0, 4.0)));
        run.join(facts(&["6"]), 4);
        assert!(run.run.unwrap().0.is_nan());
    }
}
