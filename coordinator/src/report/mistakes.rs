//! The worst mistakes of a model, as pictures or rows of a report.

use std::fmt::Write;

use table::{Becomes, DateFormat, Kind, PixelScaling, PreparedPixels, moment_in_words};

use super::words::{brief, percent};
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

/// Names and texts of the first cells of a row, as far as they can be told from its inputs.
pub(crate) fn cells(values: &[f32], preparation: &Preparation) -> Vec<(String, String)> {
    let mut first = 0;
    let mut cells = Vec::new();
    for column in preparation.columns.iter().take(COLUMNS_MAX) {
        let inputs = &values[first..first + column.becomes.inputs()];
        first += inputs.len();
        let text = match &column.becomes {
            Becomes::Number { number: Some(number), missing } => match inputs {
                [_, absent] if *missing && *absent == 1.0 => "missing".to_owned(),
                _ => {
                    let value = f64::from(inputs[0]) * number.unit + number.shift;
                    if column.kind == Kind::Boolean { (value >= 0.5).to_string() } else { brief(value) }
                }
            },
            Becomes::Date { days: Some(number), missing, .. } => match inputs.last() {
                Some(absent) if *missing && *absent == 1.0 => "missing".to_owned(),
                _ => {
                    let days = f64::from(inputs[0]) * number.unit + number.shift;
                    let is_time = column.date_format.is_some_and(DateFormat::is_time);
                    moment_in_words(if is_time { days } else { at_midnight(days) }, column.date_format)
                }
            },
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

/// A day's beginning, if the moment lies as near to it as 32 bits can tell; otherwise the moment itself.
fn at_midnight(days: f64) -> f64 {
    // Half the distance of two numbers of 32 bits, for days until the year 2149.
    const NEAR: f64 = 0.002;
    let midnight = days.round();
    if (days - midnight).abs() <= NEAR { midnight } else { days }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_as_the_file_had_them() {
        let number = serde_json::json!({
            "median": 0.0, "shift": 0.0, "unit": 1.0, "low": null, "high": null, "offset": 0.0, "scale": 1.0,
        });
        let column = |name: &str, kind: &str, format: Option<u32>, becomes: serde_json::Value| {
            serde_json::json!({
                "name": name, "position": 0, "kind": kind, "date-format": format, "becomes": becomes,
            })
        };
        let of_number = |missing| serde_json::json!({ "number": { "number": number, "missing": missing } });
        let days = serde_json::json!({
            "date": { "days": number, "year": false, "week": false, "day": false, "missing": true },
        });
        let preparation: Preparation = serde_json::from_value(serde_json::json!({
            "version": 1, "width": 5, "named": true, "missing": [], "pixels": null, "labels": [],
            "targets": { "numbers": ["price"] },
            "columns": [
                column("area", "number", None, of_number(true)),
                column("garden", "boolean", None, of_number(false)),
                column("sold", "date", Some(0), days.clone()),
                column("at", "date", Some(2), days),
            ],
        }))
        .unwrap();
        let texts = |values: &[f32]| -> Vec<String> {
            cells(values, &preparation).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(
            texts(&[99.5, 0.0, 1.0, 18_620.0, 0.0, 0.75, 0.0]),
            ["99.5", "true", "2020-12-24", "18:00"]
        );
        // A quarter to midnight, and a midnight as 32 bits hold it.
        for stored in [18_620.99, 18_619.999] {
            assert_eq!(texts(&[0.0, 0.0, 0.0, stored, 0.0, 0.0, 0.0])[2], "2020-12-24");
        }
        assert_eq!(texts(&[0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]), ["missing", "false", "missing", "missing"]);
    }

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
}
