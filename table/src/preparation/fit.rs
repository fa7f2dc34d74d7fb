//! Learning from the training rows what each column becomes.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{
    Becomes, CATEGORY_VALUES_MAX, DAY, Preparation, PreparedColumn, PreparedPixels, RARE_VALUES_MAX,
    Standardized, VERSION,
};
use crate::{
    Column, Kind, PixelScaling, PixelValues, Pixels, Table, TableError, Texts, Values, date, error::listed,
    numbers::Numbers, scratch::columns_at_once,
};

/// Below this a standard deviation is taken for zero, because its inverse would not be a useful f32.
const SMALLEST_DEVIATION: f64 = 1e-30;
/// A column whose values exceed this many standard deviations is stored as the distance from its mean.
/// 32 bits hold every other column to a ten-thousandth of a deviation.
const FAR_FROM_ZERO: f64 = 1024.0;
/// A deviation outside of this range is brought to 1 before 32 bits have to hold it.
const ORDINARY_DEVIATION: std::ops::Range<f64> = 1e-15..1e15;
/// A value this many deviations from the mean is examined: it may dominate the deviation.
const SUSPICIOUS_DEVIATIONS: f64 = 8.0;
/// Values farther from the quartiles than this many interquartile ranges are clipped to that distance.
const CLIP_RANGES: f64 = 10.0;
/// If more than one value in this many lies there, the values are the data's tail and not outliers.
const OUTLIERS_ONE_IN: usize = 100;
/// Times that a value of a category must occur in training to have an input of its own.
const CATEGORY_COUNT_MIN: usize = 2;

impl Preparation {
    /// Learns from these rows of a table, in this order, on which the sums' last bits depend. Also returns
    /// notices for the user.
    ///
    /// # Errors When there is no column left to learn from.
    pub fn fit(table: &Table, rows: &[u32], missing: &[String]) -> Result<(Self, Vec<String>), TableError> {
        let fit = |column: &Column| {
            (column.left_out.is_none() && !table.labels.contains(&column.position))
                .then(|| Ok(fit_column(column, column.values.loaded()?, rows)))
                .transpose()
        };
        // However many cores there are, what is copied for this stays far below what the columns of a large table
        // themselves take.
        let at_once = match table.is_outside() {
            true => columns_at_once(table.rows, FIT_BYTES),
            false => columns_at_once(table.rows, 4 * FIT_BYTES)
                .max(table.bytes() / FITTED_ONE_IN / (FIT_BYTES * table.rows).max(1)),
        };
        let mut fitted: Vec<Option<Becomes>> = Vec::with_capacity(table.columns.len());
        for columns in table.columns.chunks(at_once) {
            let some: Result<Vec<Option<Becomes>>, TableError> = columns.par_iter().map(fit).collect();
            fitted.extend(some?);
        }
        let mut columns = Vec::new();
        let mut notices = Vec::new();
        let mut constant = Vec::new();
        for (column, fitted) in table.columns.iter().zip(fitted) {
            let Some(becomes) = fitted else { continue };
            if becomes.inputs() == 0 {
                constant.push(column.place().to_string());
            } else {
                columns.push(PreparedColumn {
                    name: column.name.clone(),
                    position: column.position,
                    kind: column.kind,
                    date_format: column.date_format,
                    becomes,
                });
            }
        }
        if !constant.is_empty() {
            notices.push(format!(
                "left out {}, which cannot be learned from: it is the same, or different, in all training rows (--keep \
                 COLUMN keeps one)",
                listed(&constant)
            ));
        }
        let pixels = table.pixels.as_ref().map(|pixels| fit_pixels(pixels, rows));
        let preparation = Self {
            version: VERSION,
            width: table.columns.len(),
            named: table.named,
            missing: missing.to_vec(),
            columns,
            pixels,
            labels: table.labels.iter().map(|&label| table.columns[label].described()).collect(),
            targets: table.target_schema(),
        };
        if preparation.inputs() == 0 {
            // What was left out, and why, is the answer to the question that follows.
            let left_out: Vec<String> = table
                .columns
                .iter()
                .filter_map(|column| Some(format!("{} ({})", column.shown(), column.left_out?)))
                .take(NAMED_MAX)
                .collect();
            let problem = match left_out.as_slice() {
                [] => "apart from the label it has no column to learn from; add one".to_owned(),
                some => format!(
                    "apart from the label it has no column to learn from; left out: {}; keep one with --keep COLUMN, or \
                     say what it is with --as COLUMN=category|number|date",
                    some.join(", ")
                ),
            };
            return Err(TableError::Label { path: table.path.clone(), problem });
        }
        Ok((preparation, notices))
    }
}

impl Preparation {
    /// The preparation of integers that a network looks up: every column is an input as it is.
    ///
    /// # Errors
    /// When a column has a cell that is not a number.
    pub fn of_integers(table: &Table, missing: &[String]) -> Result<Self, TableError> {
        let all: Vec<u32> = (0..table.rows as u32).collect();
        let (mut preparation, _) = Self::fit(table, &all, missing)?;
        for column in &mut preparation.columns {
            let Becomes::Number { number: Some(number), missing: false } = &mut column.becomes else {
                return Err(TableError::Label {
                    path: table.path.clone(),
                    problem: format!(
                        "{} has cells that are no numbers, but the model looks up integers; fill them in or leave \
                         the column out with --drop",
                        column.place()
                    ),
                });
            };
            *number = Standardized {
                median: 0.0,
                shift: 0.0,
                unit: 1.0,
                low: None,
                high: None,
                offset: 0.0,
                scale: 1.0,
            };
        }
        if let Some(pixels) = &mut preparation.pixels {
            (pixels.offset, pixels.scale) = (vec![0.0], vec![1.0]);
        }
        Ok(preparation)
    }
}

/// Columns that an error names.
const NAMED_MAX: usize = 5;

/// Bytes of memory that a row of a column takes while it is fitted: the cell in the order of the rows, and once more
/// for the median.
const FIT_BYTES: usize = 16;

/// At least so many columns are fitted at a time that it takes this share of what the columns themselves do.
const FITTED_ONE_IN: usize = 4;

fn fit_column(column: &Column, values: Cow<'_, Values>, rows: &[u32]) -> Becomes {
    match &*values {
        Values::Unread | Values::Spilled(_) => Becomes::Number { number: None, missing: false },
        Values::Texts(texts) => category(texts, rows),
        Values::Numbers(values) if column.kind == Kind::Date => {
            let is_time = column.date_format.is_some_and(crate::DateFormat::is_time);
            date_parts(values, rows, is_time, column.kept)
        }
        Values::Numbers(numbers) => {
            let ordered = numbers.gathered(rows);
            // One that came into memory for this need not stay.
            drop(values);
            let values = ordered;
            let missing = values.iter().any(|value| value.is_nan());
            Becomes::Number { number: standardized(&values, column.kept), missing }
        }
    }
}

/// How numbers (NaN where missing) become an input. `None` if they are all the same and not kept on purpose.
fn standardized(values: &[f64], kept: bool) -> Option<Standardized> {
    let mut present: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let plain =
        Standardized { median: 0.0, shift: 0.0, unit: 1.0, low: None, high: None, offset: 0.0, scale: 0.0 };
    if present.is_empty() {
        return kept.then_some(plain);
    }
    let wide = moments(present.iter().copied());
    let Some(deviation) = wide.deviation else {
        let median = f64::from(plain.store(present[0]));
        return kept.then_some(Standardized { median, offset: median, ..plain });
    };
    let mut number = plain;
    let magnitude = present.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let farthest = present.iter().fold(0.0_f64, |most, value| most.max((value - wide.mean).abs()));
    let middle = (present.len() - 1) / 2;
    let needs_median = present.len() < values.len();
    let mut far = (wide.mean, deviation, magnitude);
    let may_clip = farthest > SUSPICIOUS_DEVIATIONS * deviation;
    let (low, high) = bounds(&mut present, deviation, may_clip);
    (number.low, number.high) = (Some(low), Some(high));
    if present.iter().any(|value| !(low..=high).contains(value)) {
        let clipped =
            moments(values.iter().filter(|value| !value.is_nan()).map(|value| value.clamp(low, high)));
        far =
            (clipped.mean, clipped.deviation.unwrap_or(deviation), low.abs().max(high.abs()).min(magnitude));
    }
    let (mean, deviation, magnitude) = far;
    if magnitude > FAR_FROM_ZERO * deviation || !ORDINARY_DEVIATION.contains(&deviation) {
        (number.shift, number.unit) = (mean, deviation);
    }
    // Prediction needs a median too: cells may be missing there that were never missing in training.
    let (_, median, _) = present.select_nth_unstable_by(middle, f64::total_cmp);
    number.median = f64::from(number.store(*median));
    // The stored values in the rows' order, so that the bits of their sums are the same everywhere.
    let fill = if needs_median { number.median } else { 0.0 };
    let stored =
        || values.iter().map(|&value| if value.is_nan() { fill } else { f64::from(number.store(value)) });
    let narrow = moments(stored());
    number.offset = f64::from(narrow.mean as f32);
    number.scale = match narrow.deviation {
        Some(deviation) => f64::from((1.0 / deviation) as f32),
        // Different in 64 bits only, which the shift rules out but for rounding.
        None => 0.0,
    };
    (number.scale > 0.0 || kept).then_some(number)
}

/// The least and the greatest value that an input takes, on both sides [`CLIP_RANGES`] interquartile ranges from
/// the quartiles. They are farther out where training values lie beyond them that are not few or must not be
/// clipped, so that any other training value stays as it is. `deviation` takes the place of a range of zero.
fn bounds(present: &mut [f64], deviation: f64, may_clip: bool) -> (f64, f64) {
    let last = present.len() - 1;
    let mut quartile = |quarter: usize| *present.select_nth_unstable_by(last * quarter / 4, f64::total_cmp).1;
    let (first, third) = (quartile(1), quartile(3));
    let range = if third > first { third - first } else { deviation };
    let (low, high) = (first - CLIP_RANGES * range, third + CLIP_RANGES * range);
    let few = |count: usize| may_clip && third > first && count * OUTLIERS_ONE_IN <= present.len();
    let below = present.iter().filter(|value| **value < low);
    let above = present.iter().filter(|value| **value > high);
    let least = below.clone().copied().fold(low, f64::min);
    let most = above.clone().copied().fold(high, f64::max);
    (
        if few(below.count()) { low } else { least - CLIP_RANGES * range * f64::from(least < low) },
        if few(above.count()) { high } else { most + CLIP_RANGES * range * f64::from(most > high) },
    )
}

fn category(texts: &Texts, rows: &[u32]) -> Becomes {
    let counts = texts.counts(rows.iter().map(|&row| row as usize));
    let present: usize = counts.iter().sum();
    let mut values: Vec<(usize, &String)> =
        counts.iter().copied().zip(texts.texts()).filter(|&(count, _)| count > 0).collect();
    // The most frequent first; by text where equal, so that nothing depends on the order of rows.
    values.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let own =
        values.iter().take_while(|(count, _)| *count >= CATEGORY_COUNT_MIN).take(CATEGORY_VALUES_MAX).count();
    let rare = values.split_off(own);
    let sorted = |values: Vec<(usize, &String)>| {
        let mut values: Vec<String> = values.into_iter().map(|(_, value)| value.clone()).collect();
        values.sort();
        values
    };
    let (other, missing) = (!rare.is_empty(), present < rows.len());
    // One input that is always 1 tells nothing.
    if values.len() + usize::from(other) + usize::from(missing) < 2 {
        return Becomes::Category { values: Vec::new(), rare: None, other: false, missing: false };
    }
    let rare = (rare.len() <= RARE_VALUES_MAX).then(|| sorted(rare));
    Becomes::Category { values: sorted(values), rare, other, missing }
}

fn date_parts(seconds: &Numbers, rows: &[u32], is_time: bool, kept: bool) -> Becomes {
    const YEAR_DAYS: f64 = 365.0;
    const WEEK_DAYS: f64 = 7.0;
    let days: Vec<f64> = rows.iter().map(|&row| seconds.get(row as usize) / DAY).collect();
    let missing = days.iter().any(|day| day.is_nan());
    let present = || days.iter().copied().filter(|day| !day.is_nan());
    let (least, most) = present()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), day| (least.min(day), most.max(day)));
    let span = most - least;
    let different = |part: fn(date::Parts) -> f64| {
        let mut parts = rows.iter().filter_map(|&row| date::parts(seconds.get(row as usize))).map(part);
        let first = parts.next();
        parts.any(|part| Some(part) != first)
    };
    Becomes::Date {
        days: standardized(&days, kept),
        // Within a year no day recurs, so that the days alone suffice.
        year: !is_time && span >= YEAR_DAYS && different(|parts| parts.year),
        week: !is_time && span >= WEEK_DAYS && different(|parts| parts.week),
        day: present().any(|day| day.fract() != 0.0) && different(|parts| parts.day),
        missing,
    }
}

fn fit_pixels(pixels: &Pixels, rows: &[u32]) -> PreparedPixels {
    let width = pixels.width();
    let value = |row: usize, column: usize| match &pixels.values {
        PixelValues::U8(values) => f64::from(values[row * width + column]),
        PixelValues::F32(values) => f64::from(values[row * width + column]),
        // Bytes, whose scaling does not look at them.
        PixelValues::Spilled(_) => 0.0,
    };
    let (offset, scale) = match pixels.scaling {
        PixelScaling::Bytes => (vec![0.0], vec![f64::from(1.0_f32 / 255.0)]),
        PixelScaling::Common => {
            let all = moments(
                rows.iter().flat_map(|&row| (0..width).map(move |column| value(row as usize, column))),
            );
            (vec![f64::from(all.mean as f32)], vec![f64::from((1.0 / all.deviation.unwrap_or(1.0)) as f32)])
        }
        PixelScaling::Magnitude => {
            let mut most = vec![0.0_f64; width];
            for &row in rows {
                most.iter_mut()
                    .enumerate()
                    .for_each(|(column, most)| *most = most.max(value(row as usize, column).abs()));
            }
            // A column that is 0 in all training rows decides nothing.
            let scale = most
                .iter()
                .map(|&most| if most > SMALLEST_DEVIATION { f64::from((1.0 / most) as f32) } else { 0.0 });
            (vec![0.0; width], scale.collect())
        }
    };
    PreparedPixels { shape: pixels.shape.clone(), scaling: pixels.scaling, offset, scale }
}

pub(crate) struct Moments {
    pub(crate) mean: f64,
    /// `None` if all values are the same.
    pub(crate) deviation: Option<f64>,
}

/// Mean and deviation (of the population: divided by n) in two passes, in 64 bits and in order, so that the
/// bits are the same everywhere.
pub(crate) fn moments(values: impl Iterator<Item = f64> + Clone) -> Moments {
    let (mut sum, mut count, mut same) = (0.0, 0.0, true);
    let first = values.clone().next().unwrap_or(0.0);
    for value in values.clone() {
        sum += value;
        count += 1.0;
        same &= value == first;
    }
    let mean = if count > 0.0 { sum / count } else { 0.0 };
    let squares = values.fold(0.0, |squares, value| squares + (value - mean) * (value - mean));
    let deviation = (squares / count).sqrt();
    Moments { mean, deviation: (!same && deviation >= SMALLEST_DEVIATION).then_some(deviation) }
}
