//! The runs of one case as one line: the median over the seeds, with a band from the lowest to the highest.

use crate::sweep::comparison::median;

/// Most points of a line. More would enlarge the file, and nobody would see them.
const POINTS_MAX: usize = 300;

/// A line and its band, in positions on the axes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Curve {
    /// The medians.
    pub(super) line: Vec<(f64, f64)>,
    /// Position along the axis, lowest and highest value; empty for a single run.
    pub(super) band: Vec<(f64, f64, f64)>,
}

impl Curve {
    /// The curve of some runs. Each has at least one point, in increasing order along the axis.
    ///
    /// A finished run keeps its last value, as its model does. Before its first measurement a run has its
    /// first value. The line ends where the median run ends.
    pub(super) fn over(runs: &[Vec<(f64, f64)>]) -> Self {
        let lasts = runs.iter().filter_map(|run| run.last()).map(|point| point.0);
        let Some(end) = median(lasts) else { return Self::default() };
        let mut curve = Self::default();
        for x in places(runs, end) {
            let values: Vec<f64> = runs.iter().map(|run| at(run, x)).collect();
            let Some(middle) = median(values.iter().copied()) else { continue };
            curve.line.push((x, middle));
            if runs.len() > 1 {
                let (low, high) =
                    values.iter().fold((middle, middle), |(low, high), y| (low.min(*y), high.max(*y)));
                curve.band.push((x, low, high));
            }
        }
        curve
    }
}

/// The places of the medians: every point of every run, or evenly spaced places if these are too many.
fn places(runs: &[Vec<(f64, f64)>], end: f64) -> Vec<f64> {
    let mut places: Vec<f64> = runs.iter().flatten().map(|point| point.0).filter(|&x| x <= end).collect();
    places.push(end);
    places.sort_by(f64::total_cmp);
    places.dedup();
    if places.len() <= POINTS_MAX {
        return places;
    }
    let (first, steps) = (places[0], (POINTS_MAX - 1) as f64);
    (0..POINTS_MAX).map(|step| first + (end - first) * step as f64 / steps).collect()
}

/// The value of a run at a place: on the straight line between its points, and the nearest point's value
/// beyond its ends.
fn at(run: &[(f64, f64)], x: f64) -> f64 {
    let after = run.partition_point(|point| point.0 <= x);
    match (run[..after].last(), run.get(after)) {
        (Some(&(x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        (Some(&(_, y)), None) | (None, Some(&(_, y))) => y,
        (None, None) => unreachable!("every run has a point"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_median_and_the_band_holds_all() {
        let runs = [vec![(0.0, 1.0), (2.0, 3.0)], vec![(0.0, 5.0), (2.0, 5.0)], vec![(0.0, 2.0), (1.0, 0.0)]];
        let curve = Curve::over(&runs);
        assert_eq!(curve.line, [(0.0, 2.0), (1.0, 2.0), (2.0, 3.0)]);
        assert_eq!(curve.band, [(0.0, 1.0, 5.0), (1.0, 0.0, 5.0), (2.0, 0.0, 5.0)]);
    }

    #[test]
    fn a_single_run_is_drawn_as_it_is_and_long_ones_are_thinned() {
        let run: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), f64::from(x))).collect();
        let short = Curve::over(&[run[..9].to_vec()]);
        assert_eq!((short.line, short.band), (run[..9].to_vec(), Vec::new()));
        let long = Curve::over(&[run]);
        assert_eq!(long.line.len(), POINTS_MAX);
        assert_eq!(long.line[POINTS_MAX - 1], (9_999.0, 9_999.0));
        assert_eq!(Curve::over(&[]), Curve::default());
    }
}
