//! Line charts as inline SVG. They look like those of the pages (`web/chart.js`).

use std::fmt::Write;

use super::marks::Mark;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 92.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 34.0;
/// Labels on an axis, about.
const TICKS: f64 = 4.0;
/// Two names at the ends of lines keep this distance.
const NAME_HEIGHT: f64 = 18.0;
/// The room that the label of a mark takes.
const MARK_WIDTH: f64 = 70.0;

/// A line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    /// Its name, which stands at its end.
    pub(super) name: &'static str,
    /// A class of the style sheet.
    pub(super) style: &'static str,
    /// Its points (iteration, value), in order.
    pub(super) points: Vec<(f64, f64)>,
}

/// Draws the lines that have at least two points, and the marks at their iterations; `None` if no line has. `format`
/// writes a value of the vertical axis.
pub(super) fn chart(lines: &[Line], marks: &[Mark], format: impl Fn(f64) -> String) -> Option<String> {
    let lines: Vec<&Line> = lines.iter().filter(|line| line.points.len() > 1).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (first, last) = range(&mut points().map(|point| point.0));
    let (low, high) = range(&mut points().map(|point| point.1));
    if lines.is_empty() || last <= first {
        return None;
    }
    let margin = (0.08 * (high - low)).max(1e-3 * high.abs()).max(f64::EPSILON);
    let (low, high) = (if low >= 0.0 { (low - margin).max(0.0) } else { low - margin }, high + margin);
    let across = |value: f64| LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT);
    let up = |value: f64| TOP + (1.0 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
    let names: Vec<&str> = lines.iter().map(|line| line.name).collect();
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", names.join(", "));
    for value in ticks(low, high) {
        let (y, right) = (up(value), WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            format(value)
        );
    }
    for value in ticks(first, last).filter(|value| value.fract() == 0.0) {
        let _ = writeln!(
            svg,
            "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{value}</text>",
            across(value),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let mut label_from = LEFT;
    for mark in marks.iter().filter(|mark| (first..=last).contains(&(mark.iteration as f64))) {
        let x = across(mark.iteration as f64);
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
            HEIGHT - BOTTOM
        );
        // A label that would cover the one before it is left out; the line says where.
        if x >= label_from {
            let _ = writeln!(
                svg,
                "<text class=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                TOP - 4.0,
                mark.label
            );
            label_from = x + MARK_WIDTH;
        }
    }
    let mut ends: Vec<(f64, &Line)> =
        lines.iter().map(|line| (up(line.points[line.points.len() - 1].1), *line)).collect();
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut above = f64::NEG_INFINITY;
    for (y, line) in ends {
        let path: Vec<String> =
            line.points.iter().map(|(x, value)| format!("{:.1},{:.1}", across(*x), up(*value))).collect();
        let y = y.max(above + NAME_HEIGHT);
        above = y;
        let style = line.style;
        let _ = writeln!(
            svg,
            "<path class=\"line {style}\" d=\"M{}\"/><text class=\"name {style}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            path.join("L"),
            across(line.points[line.points.len() - 1].0) + 8.0,
            y + 4.0,
            line.name
        );
    }
    svg += "</svg>\n";
    Some(svg)
}

/// Round numbers between two values.
fn ticks(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let rough = (high - low) / TICKS;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let begin = (low / step).ceil();
    // Binary fractions do not add up to round numbers; their multiples are nearer.
    (0..=3 * TICKS as u32)
        .map(move |index| (begin + f64::from(index)) * step)
        .take_while(move |value| *value <= high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_the_lines_that_have_points() {
        let line = |name, points: &[(f64, f64)]| Line { name, style: "test", points: points.to_vec() };
        let lines = [line("one", &[(0.0, 1.0), (10.0, 3.0)]), line("other", &[(0.0, 1.0)])];
        let marks =
            [4, 5, 20].map(|iteration| Mark { iteration, seconds: None, label: format!("from {iteration}") });
        let svg = chart(&lines, &marks, |value| format!("{value}")).unwrap();
        assert!(svg.contains(">one</text>") && !svg.contains("other"), "{svg}");
        assert!(svg.contains(">10</text>") && svg.contains(">2</text>"), "{svg}");
        assert_eq!((svg.matches("class=\"mark\"").count(), svg.matches(">from ").count()), (2, 1), "{svg}");
        assert_eq!(chart(&[line("alone", &[(0.0, 1.0)])], &[], |value| format!("{value}")), None);
    }
}
