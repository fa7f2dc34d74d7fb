//! Charts of a sweep as SVG: loss and accuracy over rounds, epochs and seconds. Each case is one line, the
//! median over its seeds, in a band from the lowest to the highest seed.
//!
//! The charts have their own background, so that they can be read on any page, and follow the reader's choice
//! of light or dark colors.

mod axis;
mod curve;
mod draw;
mod palette;

use self::axis::{Axis, Scale};
use self::curve::Curve;
use self::draw::{Line, Panel};
use super::comparison::median;
use super::course::{Course, Unit};
use super::results::{Ending, Results};
use super::targets::Measure;
use crate::report::words::counted;

/// Most cases that a reader can tell apart in one chart.
const LINES_MAX: usize = 2 * palette::SERIES.len();
/// An axis of rounds, epochs or seconds is logarithmic if the longest run is at least this many times the
/// shortest. Otherwise the short runs could not be seen.
const LOG_SPREAD: f64 = 15.0;
/// A loss may rise to this many times the highest start before it leaves the chart.
const RISE_MAX: f64 = 2.0;

/// Draws the charts, each with its file name. There are none before the first run has ended.
pub(super) fn draw(results: &Results) -> Vec<(String, String)> {
    let courses: Vec<(&str, Vec<&Course>)> = courses(results).take(LINES_MAX).collect();
    if courses.iter().all(|(_, courses)| courses.is_empty()) {
        return Vec::new();
    }
    let lines: Vec<Line> = courses.iter().map(|(name, _)| Line { name: (*name).to_owned() }).collect();
    let chart = |unit: Unit| {
        let panels: Vec<Panel> = measures(&courses)
            .into_iter()
            .filter_map(|(measure, title)| panel(&courses, measure, title, unit))
            .collect();
        (format!("{}.svg", unit.name()), draw::svg(&title(results), &lines, &panels))
    };
    Unit::ALL.into_iter().map(chart).collect()
}

/// `MNIST: minibatch · medians over 3 seeds`, with an explanation of the band.
fn title(results: &Results) -> String {
    let seeds = results.runs.iter().filter(|run| run.case == 0).count();
    let mut title = match seeds {
        1 => results.title.clone(),
        _ => format!("{} · median of {}, band from lowest to highest", results.title, counted(seeds, "seed")),
    };
    if results.cases.len() > LINES_MAX {
        title += &format!(" · the first {LINES_MAX} of {} cases", results.cases.len());
    }
    title
}

fn courses(results: &Results) -> impl Iterator<Item = (&str, Vec<&Course>)> {
    results.cases.iter().enumerate().map(|(index, case)| {
        let runs = results.runs.iter().filter(move |run| run.case == index);
        let finished = runs.filter_map(|run| match &run.ending {
            Ending::Finished(_, course) => Some(course),
            Ending::Failed(_) | Ending::NotRun => None,
        });
        (case.name.as_str(), finished.collect())
    })
}

/// The training loss, and the test accuracy or test loss if it is known.
fn measures(courses: &[(&str, Vec<&Course>)]) -> Vec<(Measure, &'static str)> {
    let is_known = |measure| {
        courses.iter().flat_map(|(_, courses)| courses).any(|course| course.last(measure).is_some())
    };
    let mut measures = vec![(Measure::Loss, "training loss")];
    if is_known(Measure::Accuracy) {
        measures.push((Measure::Accuracy, "test accuracy"));
    } else if is_known(Measure::TestLoss) {
        measures.push((Measure::TestLoss, "test loss"));
    }
    measures
}

/// One measure over one unit of effort. `None` when there is nothing to draw.
fn panel(courses: &[(&str, Vec<&Course>)], measure: Measure, title: &str, unit: Unit) -> Option<Panel> {
    let raw = |course: &Course| -> Vec<(f64, f64)> {
        let point = |point: &super::course::Point| {
            point
                .value(measure)
                .filter(|value| value.is_finite())
                .map(|value| (point.effort.part(unit), value))
        };
        course.points.iter().filter_map(point).collect()
    };
    let runs: Vec<Vec<Vec<(f64, f64)>>> =
        courses.iter().map(|(_, courses)| courses.iter().map(|course| raw(course)).collect()).collect();
    // Lines end where the median run of a case ends.
    let ends =
        runs.iter().filter_map(|runs| median(runs.iter().filter_map(|run| run.last()).map(|point| point.0)));
    let end = ends.fold(0.0, f64::max);
    let places = runs.iter().flatten().flatten().map(|point| point.0);
    let along = Axis::fit(along(&runs), places.filter(|&place| place <= end).chain([end]), unit.name())?;
    let starts = runs.iter().flatten().filter_map(|run| run.first()).map(|point| point.1);
    let ceiling = match measure {
        Measure::Accuracy => 1.0,
        Measure::Loss | Measure::TestLoss => RISE_MAX * starts.fold(0.0, f64::max),
    };
    let scale = match measure {
        Measure::Accuracy => Scale::error(runs.iter().flatten().flatten().map(|point| point.1)),
        Measure::Loss | Measure::TestLoss => Scale::Log,
    };
    let values = runs.iter().flatten().flatten().map(|point| point.1.min(ceiling));
    let up = Axis::fit(scale, values, title)?;
    let curves = runs.iter().map(|runs| {
        let placed = runs.iter().map(|run| {
            let place = |&(x, y): &(f64, f64)| Some((along.position(x)?, up.position(y.min(ceiling))?));
            run.iter().filter_map(place).collect::<Vec<_>>()
        });
        Curve::over(&placed.filter(|run| !run.is_empty()).collect::<Vec<_>>())
    });
    let curves = curves.collect();
    Some(Panel { along, up, curves })
}

/// The scale along the axis: logarithmic if the longest case would leave no room for the shortest.
fn along(runs: &[Vec<Vec<(f64, f64)>>]) -> Scale {
    let end = |runs: &Vec<Vec<(f64, f64)>>| {
        runs.iter().filter_map(|run| run.last()).map(|point| point.0).reduce(f64::max)
    };
    let ends: Vec<f64> = runs.iter().filter_map(end).filter(|&end| end > 0.0).collect();
    let (shortest, longest) =
        (ends.iter().copied().fold(f64::INFINITY, f64::min), ends.iter().copied().fold(0.0, f64::max));
    if longest > LOG_SPREAD * shortest { Scale::Log } else { Scale::Linear }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use engine::Figures;

    use super::*;
    use crate::config::ConfigFile;
    use crate::sweep::{Case, Effort, Point, Run, RunOutcome};

    /// Two cases, two seeds; the loss falls with the round, the accuracy rises.
    fn results(accuracy: bool) -> Results {
        let case =
            |name: &str| Case { name: name.to_owned(), settings: Vec::new(), config: ConfigFile::default() };
        let point = |round: u32, seed: u64| {
            let rounds = f64::from(round);
            Point {
                effort: Effort { rounds, epochs: rounds / 2.0, seconds: rounds / 10.0 },
                loss: Some((2.3 + seed as f64 / 10.0) / (1.0 + rounds)),
                test_loss: None,
                accuracy: accuracy.then(|| 1.0 - 0.9 / (1.0 + rounds)),
            }
        };
        let outcome = || RunOutcome {
            stop_reason: "iterations".to_owned(),
            iterations: 20,
            rounds: 20.0,
            epochs: 10.0,
            seconds: 2.0,
            figures: Figures::UNKNOWN,
            weights_digest: String::new(),
        };
        let run = |case, seed| Run {
            case,
            seed,
            directory: PathBuf::new(),
            ending: Ending::Finished(
                outcome(),
                Course { points: (0..=20).map(|round| point(round, seed)).collect() },
            ),
        };
        Results {
            title: "a title".to_owned(),
            cases: vec![case("few & <small>"), case("many")],
            targets: Vec::new(),
            runs: vec![run(0, 1), run(0, 2), run(1, 1), run(1, 2)],
        }
    }

    #[test]
    fn a_chart_names_every_case_and_draws_a_line_and_a_band_for_each() {
        let charts = draw(&results(true));
        assert_eq!(
            charts.iter().map(|chart| chart.0.as_str()).collect::<Vec<_>>(),
            ["rounds.svg", "epochs.svg", "seconds.svg"]
        );
        for (_, svg) in charts {
            for part in ["few &amp; &lt;small&gt;", "many", "training loss", "test accuracy", "a title"] {
                assert!(svg.contains(part), "{part}: {svg}");
            }
            // Two cases in two panels.
            assert_eq!(svg.matches("<polygon").count(), 4, "{svg}");
        }
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let charts = draw(&results(false));
        assert!(!charts[0].1.contains("test accuracy"));
        let nothing = Results { runs: Vec::new(), ..results(true) };
        assert!(draw(&nothing).is_empty());
    }
}
