//! Dates and times as people write them, in seconds.
//!
//! A column has the formats that all of its cells fit. If day and month could be swapped in every cell, the
//! order stays unknown: such a column is not a date unless the user says so.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    fmt::strtime::BrokenDownTime,
};
use serde::{Deserialize, Serialize};

/// Formats of a date without a time, as `strtime` writes them. Behind each, a time may follow.
const DATES: [&str; 16] = [
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%B %d %Y",
    "%Y-%b-%d",
    "%d%b%Y",
    "%a, %d %b %Y",
];
const TIMES: [&str; 5] = ["%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H:%M:%S%.f %z"];
const ISO: u32 = 0;
const YEAR_MONTH: u32 = 1;
const TIME: u32 = 2;
const FIRST_DATE: u32 = 3;
const SECONDS_IN_DAY: f64 = 86_400.0;
/// Longer than any date in these formats.
const CELL_BYTES_MAX: usize = 40;

/// One way to write a date or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DateFormat(u32);

impl TryFrom<u32> for DateFormat {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if number < FIRST_DATE + DATES.len() as u32 {
            Ok(Self(number))
        } else {
            Err("there is no such date format")
        }
    }
}

impl From<DateFormat> for u32 {
    fn from(format: DateFormat) -> Self {
        format.0
    }
}

impl DateFormat {
    /// ISO 8601, as databases write it.
    pub(crate) const ISO: Self = Self(ISO);

    /// Whether it is the time of a day without the day.
    pub fn is_time(self) -> bool {
        self.0 == TIME
    }

    /// The format as an example.
    pub fn example(self) -> &'static str {
        match self.0 {
            ISO => "2024-12-31 23:59",
            YEAR_MONTH => "2024-12",
            TIME => "23:59",
            other => match DATES[(other - FIRST_DATE) as usize] {
                "%Y/%m/%d" => "2024/12/31",
                "%d.%m.%Y" => "31.12.2024",
                "%m/%d/%Y" => "12/31/2024",
                "%d/%m/%Y" => "31/12/2024",
                "%m-%d-%Y" => "12-31-2024",
                "%d-%m-%Y" => "31-12-2024",
                _ => "31 Dec 2024",
            },
        }
    }
}

/// A set of formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateFormats(u32);

impl DateFormats {
    pub(crate) const ALL: Self = Self((1 << (FIRST_DATE + DATES.len() as u32)) - 1);

    /// The formats among `self` that a cell fits.
    pub(crate) fn fitting(self, cell: &[u8]) -> Self {
        let Some(text) = plausible(cell) else { return Self(0) };
        let mut fitting = 0;
        let mut left = self.0;
        while left != 0 {
            let format = left.trailing_zeros();
            left &= left - 1;
            if seconds_of(text, DateFormat(format)).is_some() {
                fitting |= 1 << format;
            }
        }
        Self(fitting)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The format, and whether another reads the same cells as other days.
    pub(crate) fn choose(self) -> Option<(DateFormat, bool)> {
        if self.is_empty() {
            return None;
        }
        let date = |text: &str| {
            DATES.iter().position(|&format| format == text).map_or(0, |at| 1 << (FIRST_DATE as usize + at))
        };
        let ways = [("%m/%d/%Y", "%d/%m/%Y"), ("%m-%d-%Y", "%d-%m-%Y")];
        let either = ways.iter().any(|&(a, b)| self.0 & date(a) != 0 && self.0 & date(b) != 0);
        Some((DateFormat(self.0.trailing_zeros()), either))
    }
}

/// A moment as ISO 8601 writes it.
pub(crate) fn written(seconds: f64) -> String {
    let whole = seconds.floor();
    let nanoseconds = ((seconds - whole) * 1e9) as i32;
    match Timestamp::new(whole as i64, nanoseconds) {
        Ok(moment) => moment.to_string(),
        Err(_) => seconds.to_string(),
    }
}

/// A moment as a person reads it, in days since the beginning of 1970: its date, as ISO 8601 writes it. If the column
/// has times without dates, the hour and the minute.
pub fn moment_in_words(days: f64, format: Option<DateFormat>) -> String {
    let is_time = format.is_some_and(DateFormat::is_time);
    // A time of day may lie a little before its minute, because it is a fraction of a day.
    let slack = if is_time { 0.5 / SECONDS_IN_DAY } else { 0.0 };
    let text = written(((days + slack) * SECONDS_IN_DAY).floor());
    match text.split_once('T') {
        Some((_, time)) if is_time => time.get(..5).unwrap_or(time).to_owned(),
        Some((date, _)) => date.to_owned(),
        None => text,
    }
}

fn plausible(cell: &[u8]) -> Option<&str> {
    let digits = cell.len() <= CELL_BYTES_MAX && cell.iter().any(u8::is_ascii_digit);
    let marks =
        cell.iter().skip(1).any(|byte| matches!(byte, b'-' | b'/' | b'.' | b':' | b' ')) || cell.len() == 9;
    if digits && marks { std::str::from_utf8(cell).ok() } else { None }
}

/// Seconds since the beginning of 1970, or since midnight for the time of a day. A time zone that is given is
/// taken off.
pub(crate) fn seconds(cell: &[u8], format: DateFormat) -> Option<f64> {
    seconds_of(plausible(cell)?, format)
}

fn seconds_of(text: &str, format: DateFormat) -> Option<f64> {
    let bytes = text.as_bytes();
    match format.0 {
        ISO => {
            // YYYY-MM-DD first, so that cells without a date cost nothing.
            let shape = bytes.len() >= 10
                && bytes[..4].iter().all(u8::is_ascii_digit)
                && bytes[4] == b'-'
                && bytes[7] == b'-';
            if !shape {
                return None;
            }
            if bytes.len() == 10 {
                return text.parse().ok().map(|date: Date| of_date(date));
            }
            if let Ok(moment) = text.parse::<Timestamp>() {
                return Some(moment.as_nanosecond() as f64 / 1e9);
            }
            // A space before the time zone, as R and pandas print it.
            if let Some((front, zone)) = text.rsplit_once(' ')
                && let Some(moment) = match zone {
                    "UTC" | "GMT" | "Z" => format!("{front}Z").parse::<Timestamp>().ok(),
                    zone if zone.starts_with(['+', '-']) => format!("{front}{zone}").parse().ok(),
                    _ => None,
                }
            {
                return Some(moment.as_nanosecond() as f64 / 1e9);
            }
            text.parse().ok().map(of_date_time)
        }
        YEAR_MONTH => {
            let shape = bytes.len() == 7 && bytes[4] == b'-' && bytes[..4].iter().all(u8::is_ascii_digit);
            if !shape {
                return None;
            }
            format!("{text}-01").parse().ok().map(|date: Date| of_date(date))
        }
        TIME => time(text).map(|(seconds, _)| seconds),
        other => {
            let date = DATES[(other - FIRST_DATE) as usize];
            if !begins_like(bytes, date) {
                return None;
            }
            if let Some(date) = parse(date, text).and_then(|parsed| parsed.to_date().ok()) {
                return Some(of_date(date));
            }
            if !bytes.contains(&b':') {
                return None;
            }
            // The date ends before the last space that has no colon before it.
            let colon = text.find(':')?;
            let space = text[..colon].rfind([' ', 'T'])?;
            let date =
                parse(date, text[..space].trim_end_matches(',')).and_then(|parsed| parsed.to_date().ok())?;
            let (seconds, offset) = time(&text[space + 1..])?;
            Some(of_date(date) + seconds - offset)
        }
    }
}

/// Seconds since midnight and the offset from UTC.
fn time(text: &str) -> Option<(f64, f64)> {
    if !text.as_bytes().first().is_some_and(u8::is_ascii_digit) || !text.contains(':') {
        return None;
    }
    TIMES.iter().find_map(|format| {
        let parsed = parse(format, text)?;
        let offset = parsed.offset().map_or(0.0, |offset| f64::from(offset.seconds()));
        Some((of_time(parsed.to_time().ok()?), offset))
    })
}

/// Whether a date in this format can begin with this byte, which rules most formats out.
fn begins_like(bytes: &[u8], format: &str) -> bool {
    let letter = matches!(&format[..2], "%b" | "%B" | "%a");
    bytes.first().is_some_and(|byte| if letter { byte.is_ascii_alphabetic() } else { byte.is_ascii_digit() })
}

fn parse(format: &str, text: &str) -> Option<BrokenDownTime> {
    // A year has at least this many digits: 1-2-3 is no date.
    const LEAST_YEAR: i16 = 1000;
    let parsed = BrokenDownTime::parse(format, text).ok()?;
    parsed.year().is_none_or(|year| year >= LEAST_YEAR).then_some(parsed)
}

fn of_date(date: Date) -> f64 {
    of_date_time(date.to_datetime(Time::midnight()))
}

fn of_date_time(moment: DateTime) -> f64 {
    let since = moment.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    since.as_secs() as f64 + f64::from(since.subsec_nanos()) / 1e9
}

fn of_time(time: Time) -> f64 {
    let since = time.duration_since(Time::midnight());
    since.as_secs() as f64 + f64::from(since.subsec_nanos()) / 1e9
}

/// The recurring parts of a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parts {
    /// Days since 1970, with the time as a fraction.
    pub(crate) days: f64,
    /// Turn of the year, of the week (from Monday) and of the day, each from 0 to below 1.
    pub(crate) year: f64,
    pub(crate) week: f64,
    pub(crate) day: f64,
}

/// The parts of a number of seconds since 1970 (or midnight). `None` outside the years that a calendar has
/// here.
pub(crate) fn parts(seconds: f64) -> Option<Parts> {
    let whole_days = (seconds / SECONDS_IN_DAY).floor();
    // Monday is the day 4 after the first of 1970, a Thursday.
    let week = (whole_days - 4.0).rem_euclid(7.0) / 7.0;
    let day = (seconds - whole_days * SECONDS_IN_DAY) / SECONDS_IN_DAY;
    const DAYS_MAX: f64 = 2_900_000.0;
    if whole_days.is_nan() || whole_days.abs() > DAYS_MAX {
        return None;
    }
    let date =
        Date::constant(1970, 1, 1).checked_add(jiff::Span::new().try_days(whole_days as i64).ok()?).ok()?;
    let year = f64::from(date.day_of_year() - 1) / f64::from(date.days_in_year());
    Some(Parts { days: seconds / SECONDS_IN_DAY, year, week, day })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days since 1970 of cells that are all in one format.
    fn days(cells: &[&str]) -> Vec<f64> {
        let formats = cells.iter().fold(DateFormats::ALL, |formats, cell| formats.fitting(cell.as_bytes()));
        let (format, either) = formats.choose().unwrap_or_else(|| panic!("{cells:?} are no dates"));
        assert!(!either, "{cells:?} are ambiguous");
        cells.iter().map(|cell| seconds(cell.as_bytes(), format).unwrap() / SECONDS_IN_DAY).collect()
    }

    #[test]
    fn forms_of_one_day() {
        for text in [
            "2024-02-29",
            "2024/02/29",
            "29.02.2024",
            "2/29/2024",
            "29/2/2024",
            "02-29-2024",
            "29-02-2024",
            "29-Feb-2024",
            "29 Feb 2024",
            "29 February 2024",
            "Feb 29, 2024",
            "February 29, 2024",
            "29Feb2024",
            "2024-02-29T00:00:00Z",
            "2024-02-29 00:00",
            "2024-02-29 01:00:00+01:00",
            "2024-02-29 00:00:00 UTC",
            "29.02.2024 00:00",
            "2/29/2024 12:00 AM",
        ] {
            assert_eq!(days(&[text]), [19_782.0], "{text}");
        }
        assert_eq!(days(&["2024-02-29 12:00:00.5"]), [19_782.5 + 0.5 / SECONDS_IN_DAY]);
        assert_eq!(days(&["1969-12", "1970-02"]), [-31.0, 31.0]);
        assert_eq!(days(&["06:00", "23:59:59"]), [0.25, 1.0 - 1.0 / SECONDS_IN_DAY]);
        assert_eq!(days(&["1900-01-01"]), [-25_567.0]);
    }

    #[test]
    fn one_cell_tells_for_the_whole_column_which_way_round_it_is() {
        assert_eq!(days(&["1/2/1970", "1/31/1970"]), [1.0, 30.0]);
        assert_eq!(days(&["1/2/1970", "31/1/1970"]), [31.0, 30.0]);
        let both = DateFormats::ALL.fitting(b"1/2/1970").fitting(b"3/4/1970");
        assert!(both.choose().unwrap().1);
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "2024",
            "2024-13-01",
            "2024-02-30",
            "1.5",
            "12:60",
            "3-4",
            "red 1",
            "1960 Q1",
            "1-2-3",
            "v1.2.3",
        ] {
            assert!(DateFormats::ALL.fitting(text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_moment_has_parts() {
        // 1970-01-05 was a Monday, 2000-12-31 a Sunday and the last day of a leap year.
        assert_eq!(parts(4.0 * SECONDS_IN_DAY).unwrap().week, 0.0);
        let last = parts(11_322.0 * SECONDS_IN_DAY + 21_600.0).unwrap();
        assert_eq!((last.week, last.day), (6.0 / 7.0, 0.25));
        assert_eq!(last.year, 365.0 / 366.0);
        assert_eq!(parts(f64::NAN), None);
        assert_eq!(parts(1e300), None);
    }
}
