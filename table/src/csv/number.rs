//! Numbers as people write them, read to the nearest f64.
//!
//! [`scan`] is the fast way for plain numbers; [`styled`] reads the other ways to write one: grouped digits
//! and the decimal comma. A style is a property of a column, because `1,234` alone says nothing.

use serde::{Deserialize, Serialize};

/// Powers of ten that an f64 holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Integers up to this are f64 exactly.
const EXACT_INTEGERS: u64 = 1 << 53;
/// Digits that always fit a u64.
const DIGITS_MAX: usize = 19;

/// A plain number at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scanned {
    /// The nearest f64; infinite if it is too large for one.
    pub(crate) value: f64,
    /// Where it ends.
    pub(crate) end: usize,
    /// Whether a decimal point or an exponent was written.
    pub(crate) point: Point,
}

/// What the decimal point of a plain number could also be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// There is none.
    None,
    /// As in 1.234: it may group digits by three.
    Grouping,
    /// As in 1.5: it cannot be anything else.
    Decimal,
}

/// Reads the longest plain number that starts at `start`: sign, digits, point, exponent. `None` if none does.
#[inline]
pub(crate) fn scan(bytes: &[u8], start: usize) -> Option<Scanned> {
    let mut at = start;
    let negative = match bytes.get(at) {
        Some(b'-') => {
            at += 1;
            true
        }
        Some(b'+') => {
            at += 1;
            false
        }
        _ => false,
    };
    let whole_start = at;
    let mut mantissa = 0;
    let whole = digits_at(bytes, at, &mut mantissa);
    at += whole;
    let mut digits = whole;
    let mut point = Point::None;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits_at(bytes, at + 1, &mut mantissa);
        at += 1 + fraction;
        digits += fraction;
        let groups = fraction == 3 && (1..=3).contains(&whole) && bytes[whole_start] != b'0';
        point = if groups { Point::Grouping } else { Point::Decimal };
    }
    if digits == 0 {
        return None;
    }
    let mut exponent = -((digits - whole) as i32);
    if let Some(b'e' | b'E') = bytes.get(at) {
        let mut after = at + 1;
        let down = match bytes.get(after) {
            Some(b'-') => {
                after += 1;
                true
            }
            Some(b'+') => {
                after += 1;
                false
            }
            _ => false,
        };
        let first = after;
        let mut written: i32 = 0;
        while let Some(digit) =
            bytes.get(after).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
        {
            written = written.saturating_mul(10).saturating_add(i32::from(digit));
            after += 1;
        }
        if after > first {
            at = after;
            exponent = exponent.saturating_add(if down { -written } else { written });
            point = Point::Decimal;
        }
    }
    // Clinger's fast path: both factors are exact, so that one operation rounds once.
    let exact = digits <= DIGITS_MAX && mantissa <= EXACT_INTEGERS && (-22..=22).contains(&exponent);
    let value = if exact {
        let power = EXACT_POWERS[exponent.unsigned_abs() as usize];
        let size = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
        if negative { -size } else { size }
    } else {
        std::str::from_utf8(&bytes[start..at]).ok()?.parse().ok()?
    };
    Some(Scanned { value, end: at, point })
}

/// Counts the digits from `at` on and appends them to `mantissa` (modulo 2^64). Eight at a time, without a
/// branch on how many there are: their number changes from cell to cell, so that a processor guesses it
/// wrong.
#[inline(always)]
fn digits_at(bytes: &[u8], at: usize, mantissa: &mut u64) -> usize {
    const POWERS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut count = 0;
    while let Some(&eight) = bytes.get(at + count..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(eight);
        // The high bit of a byte that is no digit; what carries spill into comes after the first of them.
        let others =
            (word.wrapping_add(0x4646_4646_4646_4646) | word.wrapping_sub(0x3030_3030_3030_3030)) & HIGH_BITS;
        let digits = (others.trailing_zeros() / 8) as usize;
        if digits == 0 {
            return count;
        }
        // Zeros take the places before the first digit; then pairs, fours and eights are put together.
        let ones = (word << (64 - 8 * digits)) & 0x0f0f_0f0f_0f0f_0f0f;
        let pairs = (ones.wrapping_mul(10 * 256 + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs.wrapping_mul(100 * 65_536 + 1) >> 16) & 0x0000_ffff_0000_ffff;
        let value = fours.wrapping_mul(10_000 * 4_294_967_296 + 1) >> 32;
        *mantissa = mantissa.wrapping_mul(POWERS[digits]).wrapping_add(value);
        count += digits;
        if digits < 8 {
            return count;
        }
    }
    while let Some(digit) =
        bytes.get(at + count).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
    {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    count
}

/// A whole cell as a plain number.
pub(crate) fn whole(cell: &[u8]) -> Option<Scanned> {
    scan(cell, 0).filter(|scanned| scanned.end == cell.len())
}

/// How a column writes its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// 1234.5
    #[default]
    Plain,
    /// 1,234.5
    CommaGroups,
    /// 1234,5
    DecimalComma,
    /// 1.234,5
    PointGroups,
    /// 1 234.5 or 1'234.5
    SpaceGroups,
    /// 1 234,5 or 1'234,5
    SpaceGroupsDecimalComma,
    /// 50% or 50 %, which is read as 50
    Percent,
    /// $1,234.5, €5, 5 USD, or (5) for -5
    Currency,
    /// 7,5 %
    PercentDecimalComma,
    /// 1.234,50 € or 1 234,50 €
    CurrencyDecimalComma,
}

/// All styles, in the order in which one is preferred where several fit.
pub(crate) const STYLES: [Style; 10] = [
    Style::Plain,
    Style::CommaGroups,
    Style::DecimalComma,
    Style::PointGroups,
    Style::SpaceGroups,
    Style::SpaceGroupsDecimalComma,
    Style::Percent,
    Style::Currency,
    Style::PercentDecimalComma,
    Style::CurrencyDecimalComma,
];

/// A set of styles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Styles(u16);

impl Styles {
    pub(crate) const ALL: Self = Self(u16::MAX);

    /// The styles under which a plain number reads as the same cell, if not as the same value.
    pub(crate) fn of_plain(point: Point) -> Self {
        match point {
            Point::None => Self::ALL,
            Point::Grouping => Self::of(&[Style::PointGroups, Style::CurrencyDecimalComma])
                .or(Self::of_plain(Point::Decimal)),
            Point::Decimal => Self::of(&[
                Style::Plain,
                Style::CommaGroups,
                Style::SpaceGroups,
                Style::Percent,
                Style::Currency,
            ]),
        }
    }

    /// The styles under which any cell is a number.
    pub(crate) fn of_cell(cell: &[u8]) -> Self {
        Self(
            STYLES
                .iter()
                .filter(|&&style| styled(cell, style).is_some())
                .fold(0, |set, &style| set | bit(style)),
        )
    }

    pub(crate) fn of(styles: &[Style]) -> Self {
        Self(styles.iter().fold(0, |set, &style| set | bit(style)))
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn has(self, style: Style) -> bool {
        self.0 & bit(style) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn bit(style: Style) -> u16 {
    1 << style as u8
}

/// A cell as a number of that style.
pub(crate) fn styled(cell: &[u8], style: Style) -> Option<f64> {
    let (group, decimal): (&[&str], char) = match style {
        Style::Plain => return whole(cell).map(|scanned| scanned.value),
        Style::Percent => return styled(without_percent(cell)?, Style::Plain),
        Style::PercentDecimalComma => return styled(without_percent(cell)?, Style::DecimalComma),
        Style::Currency => return amount(cell, &[Style::CommaGroups, Style::SpaceGroups]),
        Style::CurrencyDecimalComma => {
            return amount(cell, &[Style::PointGroups, Style::SpaceGroupsDecimalComma]);
        }
        Style::CommaGroups => (&[","], '.'),
        Style::DecimalComma => (&[], ','),
        Style::PointGroups => (&["."], ','),
        // A space, a no-break space, a narrow no-break space, two apostrophes.
        Style::SpaceGroups => (&[" ", "\u{a0}", "\u{202f}", "'", "\u{2019}"], '.'),
        Style::SpaceGroupsDecimalComma => (&[" ", "\u{a0}", "\u{202f}", "'", "\u{2019}"], ','),
    };
    const CELL_BYTES_MAX: usize = 64;
    let text = std::str::from_utf8(cell).ok().filter(|text| text.len() <= CELL_BYTES_MAX)?;
    // The second is the minus sign of mathematics, as texts and web pages have it.
    let (sign, text) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole_part, fraction) = match text.split_once(decimal) {
        Some((whole_part, fraction)) => (whole_part, Some(fraction)),
        None => (text, None),
    };
    let mark = group.iter().find(|mark| whole_part.contains(**mark));
    let digits = match mark {
        None => whole_part.to_owned(),
        Some(mark) => {
            let parts: Vec<&str> = whole_part.split(mark).collect();
            let right = parts.iter().enumerate().all(|(index, part)| {
                part.bytes().all(|byte| byte.is_ascii_digit())
                    && if index == 0 { (1..=3).contains(&part.len()) } else { part.len() == 3 }
            });
            // 0,123 is no group: nobody writes a leading zero.
            if !right || parts[0].starts_with('0') {
                return None;
            }
            parts.concat()
        }
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let plain = match fraction {
        Some(fraction) => format!("{sign}{digits}.{fraction}"),
        None => format!("{sign}{digits}"),
    };
    whole(plain.as_bytes()).map(|scanned| scanned.value)
}

fn without_percent(cell: &[u8]) -> Option<&[u8]> {
    let number = cell.strip_suffix(b"%").map_or(cell, trim_end);
    (!number.is_empty()).then_some(number)
}

/// An amount of money, its sign or code before or behind it. Bookkeepers put what is negative in parentheses.
fn amount(cell: &[u8], styles: &[Style]) -> Option<f64> {
    const SIGNS: [&str; 15] =
        ["$", "€", "£", "¥", "₹", "USD", "EUR", "GBP", "JPY", "CNY", "INR", "CHF", "CAD", "AUD", "kr"];
    let inside = cell.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")")).map(trim);
    let written = inside.unwrap_or(cell);
    let minus = written.strip_prefix(b"-").or_else(|| written.strip_prefix("\u{2212}".as_bytes()));
    let (minus, text) = match minus {
        Some(rest) => (true, trim(rest)),
        None => (false, written),
    };
    let first = SIGNS.iter().find_map(|sign| text.strip_prefix(sign.as_bytes()));
    let last = || SIGNS.iter().find_map(|sign| text.strip_suffix(sign.as_bytes()));
    let bare = first.or_else(last).map_or(text, trim);
    // Nobody knows what two signs mean, as in (-5) or --5.
    let is_signed = ["-", "+", "\u{2212}"].iter().any(|sign| bare.starts_with(sign.as_bytes()));
    let signs = [minus, inside.is_some(), is_signed].into_iter().filter(|&is_there| is_there).count();
    if signs > 1 {
        return None;
    }
    let value = styles.iter().find_map(|&style| styled(bare, style))?;
    Some(if minus || inside.is_some() { -value } else { value })
}

const NO_BREAK: [&[u8]; 2] = ["\u{a0}".as_bytes(), "\u{202f}".as_bytes()];

/// Without spaces around it, no-break spaces included.
fn trim(text: &[u8]) -> &[u8] {
    let mut text = trim_end(text).trim_ascii_start();
    while let Some(rest) = NO_BREAK.iter().find_map(|space| text.strip_prefix(*space)) {
        text = rest.trim_ascii_start();
    }
    text
}

fn trim_end(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii_end();
    while let Some(rest) = NO_BREAK.iter().find_map(|space| text.strip_suffix(*space)) {
        text = rest.trim_ascii_end();
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_a_plain_number() {
        for (text, value) in [
            ("0", 0.0),
            ("-0.5", -0.5),
            ("+7", 7.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1.5E-3", 0.0015),
            ("16777217", 16_777_217.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("0.1234567890123456789012345", 0.123_456_789_012_345_68),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(whole(text.as_bytes()).map(|scanned| scanned.value), Some(value), "{text}");
        }
        for text in ["", "-", ".", "e5", "1e", "1 2", "0x10", "NaN", "inf", "1,5", "--1", "1.2.3"] {
            assert_eq!(whole(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn grouped_digits_and_decimal_commas() {
        let cases = [
            ("1,234.5", Style::CommaGroups, Some(1234.5)),
            ("1,234,567", Style::CommaGroups, Some(1_234_567.0)),
            ("12,34", Style::CommaGroups, None),
            ("0,123", Style::CommaGroups, None),
            ("12,34", Style::DecimalComma, Some(12.34)),
            ("-0,5e3", Style::DecimalComma, Some(-500.0)),
            ("1.234,5", Style::PointGroups, Some(1234.5)),
            ("1.234.567", Style::PointGroups, Some(1_234_567.0)),
            ("1.5", Style::PointGroups, None),
            ("1 234,5", Style::SpaceGroupsDecimalComma, Some(1234.5)),
            ("1\u{202f}234", Style::SpaceGroups, Some(1234.0)),
            ("1'234'567.25", Style::SpaceGroups, Some(1_234_567.25)),
            ("1 23", Style::SpaceGroups, None),
            ("a,5", Style::DecimalComma, None),
            (",", Style::DecimalComma, None),
            ("50%", Style::Percent, Some(50.0)),
            ("-1.5 %", Style::Percent, Some(-1.5)),
            ("%", Style::Percent, None),
            ("$1,234.50", Style::Currency, Some(1234.5)),
            ("-€5", Style::Currency, Some(-5.0)),
            ("\u{2212}$5", Style::Currency, Some(-5.0)),
            ("CHF 1'234.50", Style::Currency, Some(1234.5)),
            ("1 234.50 kr", Style::Currency, Some(1234.5)),
            ("$", Style::Currency, None),
            ("(1,234.50)", Style::Currency, Some(-1234.5)),
            ("-$ 5", Style::Currency, Some(-5.0)),
            ("$-5", Style::Currency, Some(-5.0)),
            ("1,234.50 USD", Style::Currency, Some(1234.5)),
            ("EUR 5", Style::Currency, Some(5.0)),
            ("()", Style::Currency, None),
            ("(-5)", Style::Currency, None),
            ("--5", Style::Currency, None),
            ("-$-5", Style::CurrencyDecimalComma, None),
            ("1.234,50 €", Style::CurrencyDecimalComma, Some(1234.5)),
            ("1\u{202f}234,50\u{a0}€", Style::CurrencyDecimalComma, Some(1234.5)),
            ("1.234,50 €", Style::Currency, None),
            ("7,5\u{a0}%", Style::PercentDecimalComma, Some(7.5)),
            ("7,5 %", Style::Percent, None),
            ("\u{2212}0.5", Style::CommaGroups, Some(-0.5)),
            ("\u{2212}0,5", Style::DecimalComma, Some(-0.5)),
        ];
        for (text, style, value) in cases {
            assert_eq!(styled(text.as_bytes(), style), value, "{text} {style:?}");
        }
    }

    proptest! {
        #[test]
        fn every_f64_reads_back_the_same(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value}"), format!("{value:e}"), format!("{value:.3}"), format!("{value:.17e}")] {
                let read = whole(text.as_bytes()).map(|scanned| scanned.value.to_bits());
                prop_assert_eq!(read, text.parse::<f64>().ok().map(f64::to_bits));
            }
        }
    }
}
