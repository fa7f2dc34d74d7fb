//! The worst mistakes of a model, as pictures or rows of a report.

use std::fmt::Write;

use table::{Becomes, PixelScaling, PreparedPixels};

use super::words::percent;
use crate::data::{ExampleTable, FeatureValues, Preparation, TargetScaling};
use crate::quality::{Mistake, Wrong};

/// Pixels of a drawn picture, along its longer side. Larger ones are drawn smaller.
const SIDE_MAX: usize = 48;
/// Shades of a color in a drawn picture.
const SHADES: u32 = 8;
/// Columns of a row that are shown.
const COLUMNS_MAX: usize = 8;

/// One mistake, as HTML parts that need no escaping yet: plain texts and a picture.
#[derive(Debug)]
pub(crate) struct ShownMistake {
    /// A picture as SVG, where the examples are pictures.
    pub(crate) picture: Option<String>,
    /// Names and values of the first columns, where they are rows.
    pub(crate) cells: Vec<(String, String)>,
    /// What is true.
    pub(crate) truth: String,
    /// What the model said.
    pub(crate) said: String,
}

/// Shows mistakes that were made on the examples of `table`.
pub(crate) fn show(
    mistakes: &[Mistake],
    table: &ExampleTable,
    preparation: &Preparation,
    scaling: Option<&TargetScaling>,
) -> Vec<ShownMistake> {
    let name = |class: usize| {
        preparation.class_names().and_then(|names| names.get(class)).cloned().unwrap_or_default()
    };
    let numbers = |values: &[f32]| {
        let own: Vec<f64> = match scaling {
            Some(scaling) => scaling.restore(values),
            None => values.iter().copied().map(f64::from).collect(),
        };
        own.into_iter().map(brief).collect::<Vec<_>>().join(", ")
    };
    let one = |mistake: &Mistake| {
        let values = values_of(table, mistake.example);
        let (truth, said) = match &mistake.what {
            Wrong::Class { truth, named: (named, probability), given } => (
                format!("{} (given {})", name(*truth), percent(f64::from(*given))),
                format!("{} ({})", name(*named), percent(f64::from(*probability))),
            ),
            Wrong::Numbers { truth, answer } => (numbers(truth), numbers(answer)),
        };
        let picture = preparation.pixels.as_ref().and_then(|pixels| picture(&values, pixels));
        let cells = if preparation.pixels.is_none() { cells(&values, preparation) } else { Vec::new() };
        ShownMistake { picture, cells, truth, said }
    };
    mistakes.iter().map(one).collect()
}

fn values_of(table: &ExampleTable, example: usize) -> Vec<f32> {
    let width = table.features().columns();
    let range = example * width..(example + 1) * width;
    match table.features().values() {
        FeatureValues::U8(values) => values[range].iter().copied().map(f32::from).collect(),
        FeatureValues::F32(values) => values[range].to_vec(),
    }
}

/// A picture of one or three channels as SVG; `None` if the values are no such picture.
fn picture(values: &[f32], pixels: &PreparedPixels) -> Option<String> {
    let (channels, height, width) = match pixels.shape[..] {
        [height, width] => (1, height, width),
        [channels @ (1 | 3), height, width] => (channels, height, width),
        _ => return None,
    };
    let (low, high) = match pixels.scaling {
        PixelScaling::Bytes => (0.0, 255.0),
        _ => values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        }),
    };
    let step = height.max(width).div_ceil(SIDE_MAX).max(1);
    let (rows, columns) = (height.div_ceil(step), width.div_ceil(step));
    let shade = |row: usize, column: usize| {
        let mut color = 0;
        for channel in 0..3 {
            let plane = if channels == 3 { channel } else { 0 };
            let value = values[(plane * height + row * step) * width + column * step];
            let share = if high > low { (value - low) / (high - low) } else { 0.0 };
            color = color * SHADES + (share.clamp(0.0, 1.0) * (SHADES - 1) as f32).round() as u32;
        }
        color
    };
    // One path for each color, a rectangle for each run of it.
    let mut paths = std::collections::BTreeMap::<u32, String>::new();
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let color = shade(row, column);
            let length = (column..columns).take_while(|&next| shade(row, next) == color).count();
            let _ = write!(paths.entry(color).or_default(), "M{column} {row}h{length}v1h-{length}z");
            column += length;
        }
    }
    let mut svg = format!("<svg class=\"picture\" viewBox=\"0 0 {columns} {rows}\" aria-hidden=\"true\">");
    for (color, path) in paths {
        let part = |power: u32| color / SHADES.pow(power) % SHADES * 255 / (SHADES - 1);
        let _ = write!(svg, "<path fill=\"rgb({},{},{})\" d=\"{path}\"/>", part(2), part(1), part(0));
    }
    Some(svg + "</svg>")
}

/// The first cells of a row, as far as they can be told from its inputs.
fn cells(values: &[f32], preparation: &Preparation) -> Vec<(String, String)> {
    let mut first = 0;
    let mut cells = Vec::new();
    for column in preparation.columns.iter().take(COLUMNS_MAX) {
        let inputs = &values[first..first + column.becomes.inputs()];
        first += inputs.len();
        let text = match &column.becomes {
            Becomes::Number { number: Some(number), missing } => match inputs {
                [_, absent] if *missing && *absent == 1.0 => "missing".to_owned(),
                _ => brief(f64::from(inputs[0]) * number.unit + number.shift),
            },
            Becomes::Date { days: Some(number), .. } => {
                let days = f64::from(inputs[0]) * number.unit + number.shift;
                format!("day {} since 1970", brief(days))
            }
            Becomes::Category { values: known, other, .. } => {
                match inputs.iter().position(|&input| input == 1.0) {
                    Some(place) if place < known.len() => known[place].clone(),
                    Some(place) if *other && place == known.len() => "another value".to_owned(),
                    Some(_) => "missing".to_owned(),
                    None => "a value unseen in training".to_owned(),
                }
            }
            Becomes::Number { number: None, .. } | Becomes::Date { days: None, .. } => continue,
        };
        let name = if column.name.is_empty() {
            format!("column {}", column.position + 1)
        } else {
            column.name.clone()
        };
        cells.push((name, text));
    }
    cells
}

/// Six significant digits.
fn brief(value: f64) -> String {
    const DIGITS: i32 = 6;
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let places = (DIGITS - 1 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_in_runs_of_one_color() {
        let pixels = PreparedPixels {
            shape: vec![1, 2, 3],
            scaling: PixelScaling::Bytes,
            offset: vec![0.0],
            scale: vec![1.0],
        };
        let svg = picture(&[0.0, 0.0, 255.0, 255.0, 255.0, 255.0], &pixels).unwrap();
        assert!(svg.contains("<path fill=\"rgb(0,0,0)\" d=\"M0 0h2v1h-2z\"/>"), "{svg}");
        assert!(svg.contains("<path fill=\"rgb(255,255,255)\" d=\"M2 0h1v1h-1zM0 1h3v1h-3z\"/>"), "{svg}");
        assert!(picture(&[0.0; 4], &PreparedPixels { shape: vec![4], ..pixels }).is_none());
    }

    #[test]
    fn numbers_are_brief() {
        for (value, text) in
            [(0.0, "0"), (1_234_567.8, "1234568"), (0.000_123_456_78, "0.000123457"), (-2.5, "-2.5")]
        {
            assert_eq!(brief(value), text);
        }
    }
}
