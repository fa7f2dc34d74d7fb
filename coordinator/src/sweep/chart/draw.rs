//! From curves to SVG.

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::curve::Curve;
use super::palette::{self, Swatch};

/// Size of a chart in pixels, without the rows of the legend above it.
const WIDTH: i32 = 960;
const PLOT_HEIGHT: i32 = 380;
/// The library draws on whole pixels. To make lines smooth, this many of its pixels fit into one of the
/// page's.
const FINE: i32 = 8;

const EDGE: i32 = 14;
const TITLE_HEIGHT: i32 = 30;
const LEGEND_ROW: i32 = 20;
const SWATCH: i32 = 24;
const FONT: &str = "system-ui, sans-serif";
const FONT_SIZE: i32 = 13;
/// Approximate width of a letter. The reader's font is unknown.
const LETTER: i32 = 7;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// A line of the legend.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
}

/// A plot with its axes and a curve for every line of the legend.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) along: Axis,
    pub(super) up: Axis,
    pub(super) curves: Vec<Curve>,
}

/// The chart: a title, the legend, and the panels side by side.
pub(super) fn svg(title: &str, lines: &[Line], panels: &[Panel]) -> String {
    let places = legend(lines);
    let rows = places.last().map_or(0, |place| place.1 + 1);
    let top = EDGE / 2 + TITLE_HEIGHT + rows * LEGEND_ROW;
    let height = top + PLOT_HEIGHT;
    let mut svg = String::new();
    {
        let size = ((WIDTH * FINE) as u32, (height * FINE) as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = head(&root, title, lines, &places).and_then(|()| {
            let (_, plots) = root.split_vertically(top * FINE);
            let areas = plots.split_evenly((1, panels.len().max(1)));
            areas.iter().zip(panels).try_for_each(|(area, panel)| draw(area, panel))
        });
        drawn.and_then(|()| root.present()).expect("a string takes everything");
    }
    finish(&svg, title, height)
}

/// Sets the size in the page's pixels, and adds the dark colors and the title for screen readers.
fn finish(svg: &str, title: &str, height: i32) -> String {
    let (tag, rest) = svg.split_once('>').expect("it begins with a tag");
    let tag = tag
        .replacen(&format!("width=\"{}\"", WIDTH * FINE), &format!("width=\"{WIDTH}\""), 1)
        .replacen(&format!("height=\"{}\"", height * FINE), &format!("height=\"{height}\""), 1);
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("{tag} role=\"img\"><title>{title}</title>{}{rest}", palette::style())
}

/// Position of every line in the legend: pixels from the left, and row.
fn legend(lines: &[Line]) -> Vec<(i32, i32)> {
    let (mut left, mut row) = (EDGE, 0);
    let place = |line: &Line| {
        let letters = i32::try_from(line.name.chars().count()).unwrap_or(WIDTH);
        let width = SWATCH + 8 + letters.saturating_mul(LETTER) + 18;
        if left > EDGE && left + width > WIDTH - EDGE {
            (left, row) = (EDGE, row + 1);
        }
        let place = (left, row);
        left += width;
        place
    };
    lines.iter().map(place).collect()
}

/// Background, title and legend.
fn head<'a>(root: &Area<'a>, title: &str, lines: &[Line], places: &[(i32, i32)]) -> Drawn<'a> {
    root.fill(&palette::BACKGROUND.light)?;
    let (x, y) = (EDGE * FINE, (EDGE / 2 + TITLE_HEIGHT / 2) * FINE);
    root.draw(&Text::new(title.to_owned(), (x, y), text(FONT_SIZE + 1, &palette::TEXT)))?;
    for (index, (line, &(left, row))) in lines.iter().zip(places).enumerate() {
        let middle = (EDGE / 2 + TITLE_HEIGHT + row * LEGEND_ROW + LEGEND_ROW / 2) * FINE;
        let (start, end) = (left * FINE, (left + SWATCH) * FINE);
        let swatch = vec![(start, middle), (end, middle)];
        match stroke(index) {
            Stroke::Solid(style) => root.draw(&PathElement::new(swatch, style))?,
            Stroke::Dashed(style) => {
                root.draw(&DashedPathElement::new(swatch, DASH * FINE, GAP * FINE, style))?;
            }
        }
        let beside = (end + 6 * FINE, middle);
        root.draw(&Text::new(line.name.clone(), beside, text(FONT_SIZE, &palette::TEXT)))?;
    }
    Ok(())
}

const DASH: i32 = 6;
const GAP: i32 = 4;

/// The second half of the lines repeats the first half's colors, dashed.
enum Stroke {
    Solid(ShapeStyle),
    Dashed(ShapeStyle),
}

fn stroke(index: usize) -> Stroke {
    let color = palette::SERIES[index % palette::SERIES.len()].light;
    let style = color.stroke_width(2 * FINE as u32);
    if index < palette::SERIES.len() { Stroke::Solid(style) } else { Stroke::Dashed(style) }
}

fn text(size: i32, color: &'static Swatch) -> TextStyle<'static> {
    let style = TextStyle::from((FONT, size * FINE)).color(&color.light);
    style.pos(Pos::new(HPos::Left, VPos::Center))
}

fn draw<'a>(area: &Area<'a>, panel: &Panel) -> Drawn<'a> {
    let Panel { along, up, curves } = panel;
    let fine = |pixels: i32| pixels * FINE;
    let (title, plot) = area.split_vertically(fine(34));
    let above = (fine(EDGE), fine(22));
    title.draw(&Text::new(up.title.clone(), above, text(FONT_SIZE, &palette::QUIET_TEXT)))?;
    let mut chart = ChartBuilder::on(&plot)
        .margin_right(fine(EDGE + 6))
        .margin_bottom(fine(EDGE / 2))
        .x_label_area_size(fine(46))
        .y_label_area_size(fine(62))
        .build_cartesian_2d(along.clone(), up.clone())?;
    let label = TextStyle::from((FONT, fine(FONT_SIZE - 1))).color(&palette::QUIET_TEXT.light);
    chart
        .configure_mesh()
        .bold_line_style(palette::GRID.light.stroke_width(FINE as u32))
        .light_line_style(TRANSPARENT)
        .axis_style(palette::AXIS.light.stroke_width(FINE as u32))
        .label_style(label.clone())
        .axis_desc_style(label)
        .set_all_tick_mark_size(fine(4))
        .x_desc(along.title.clone())
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let color = palette::SERIES[index % palette::SERIES.len()].light;
        let lower = curve.band.iter().map(|&(x, low, _)| (x, low));
        let upper = curve.band.iter().rev().map(|&(x, _, high)| (x, high));
        let outline: Vec<(f64, f64)> = lower.chain(upper).collect();
        if !outline.is_empty() {
            chart.plotting_area().draw(&Polygon::new(outline, color.mix(0.14)))?;
        }
    }
    // Lines are drawn above all bands.
    for (index, curve) in curves.iter().enumerate() {
        let line = curve.line.iter().copied();
        match stroke(index) {
            Stroke::Solid(style) => {
                chart.draw_series(LineSeries::new(line, style))?;
            }
            Stroke::Dashed(style) => {
                chart.draw_series(DashedLineSeries::new(
                    line,
                    (DASH * FINE) as u32,
                    (GAP * FINE) as u32,
                    style,
                ))?;
            }
        }
    }
    Ok(())
}
