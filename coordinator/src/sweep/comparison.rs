//! The medians of a case over its seeds.

use serde::Serialize;

use super::course::{Course, Effort, Unit};
use super::results::{Ending, Results, Run};
use super::targets::{Measure, Target};

/// The results of one case. Numbers are medians over its finished runs, `None` if there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the case.
    pub case: String,
    /// Runs that have ended.
    pub finished: usize,
    /// Runs that failed.
    pub failed: usize,
    /// Rounds over the volunteers.
    pub rounds: Option<f64>,
    /// Passes over the training data.
    pub epochs: Option<f64>,
    /// Seconds of training.
    pub seconds: Option<f64>,
    /// Mean loss over the training examples at the end.
    pub train_loss: Option<f64>,
    /// Mean loss over the test examples at the end.
    pub test_loss: Option<f64>,
    /// Share of test examples predicted correctly at the end.
    pub test_accuracy: Option<f64>,
    /// When the runs first reached each target, in the order in which the targets were given.
    pub targets: Vec<Marked>,
}

/// When a target was reached, as medians. A run that never reached it counts as later than all others. `None`
/// if such a run is the median.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Marked {
    /// The target, in words.
    pub target: String,
    /// Finished runs that reached it.
    pub reached: usize,
    /// As [`Effort::rounds`].
    pub rounds: Option<f64>,
    /// As [`Effort::epochs`].
    pub epochs: Option<f64>,
    /// As [`Effort::seconds`].
    pub seconds: Option<f64>,
}

impl Comparison {
    /// Compares the runs of one case.
    pub(super) fn new(case: &str, runs: &[&Run], targets: &[Target]) -> Self {
        let finished: Vec<_> = runs
            .iter()
            .filter_map(|run| match &run.ending {
                Ending::Finished(outcome, course) => Some((outcome, course)),
                Ending::Failed(_) | Ending::NotRun => None,
            })
            .collect();
        let failed = runs.iter().filter(|run| matches!(run.ending, Ending::Failed(_))).count();
        let courses: Vec<&Course> = finished.iter().map(|(_, course)| *course).collect();
        let of_courses = |measure| median(courses.iter().filter_map(|course| course.last(measure)));
        Self {
            case: case.to_owned(),
            finished: finished.len(),
            failed,
            rounds: median(finished.iter().map(|(outcome, _)| outcome.rounds)),
            epochs: median(finished.iter().map(|(outcome, _)| outcome.epochs)),
            seconds: median(finished.iter().map(|(outcome, _)| outcome.seconds)),
            train_loss: of_courses(Measure::Loss),
            test_loss: median(finished.iter().filter_map(|(outcome, _)| outcome.figures.test_loss)),
            test_accuracy: median(finished.iter().filter_map(|(outcome, _)| outcome.figures.test_accuracy)),
            targets: targets.iter().map(|&target| Marked::new(target, &courses)).collect(),
        }
    }
}

impl Marked {
    /// The median of one part of the effort.
    pub fn median(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Rounds => self.rounds,
            Unit::Epochs => self.epochs,
            Unit::Seconds => self.seconds,
        }
    }

    fn new(target: Target, courses: &[&Course]) -> Self {
        let efforts: Vec<Option<Effort>> = courses.iter().map(|course| course.reached(target)).collect();
        let median_of = |unit| {
            let values =
                efforts.iter().map(|effort| effort.map_or(f64::INFINITY, |effort| effort.part(unit)));
            median(values).filter(|median| median.is_finite())
        };
        Self {
            target: target.to_string(),
            reached: efforts.iter().flatten().count(),
            rounds: median_of(Unit::Rounds),
            epochs: median_of(Unit::Epochs),
            seconds: median_of(Unit::Seconds),
        }
    }
}

impl Results {
    /// All cases, in the order in which they were given.
    pub fn comparisons(&self) -> Vec<Comparison> {
        let of = |index: usize, name: &str| {
            let runs: Vec<&Run> = self.runs.iter().filter(|run| run.case == index).collect();
            Comparison::new(name, &runs, &self.targets)
        };
        self.cases.iter().enumerate().map(|(index, case)| of(index, &case.name)).collect()
    }
}

/// The middle value, or the mean of the two in the middle; `None` without values.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count.is_multiple_of(2) => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::course::Point;

    fn course(rounds_to_target: Option<f64>) -> Course {
        let point = |rounds, accuracy| Point {
            effort: Effort { rounds, epochs: 2.0 * rounds, seconds: 3.0 * rounds },
            loss: None,
            test_loss: None,
            accuracy: Some(accuracy),
        };
        let points = [Some(point(0.0, 0.1)), rounds_to_target.map(|rounds| point(rounds, 0.9))];
        Course { points: points.into_iter().flatten().collect() }
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn never_is_later_than_any_round() {
        let target = Target { measure: Measure::Accuracy, value: 0.9 };
        let marked = |runs: &[Option<f64>]| {
            let courses: Vec<Course> = runs.iter().map(|&run| course(run)).collect();
            let marked = Marked::new(target, &courses.iter().collect::<Vec<_>>());
            (marked.reached, marked.rounds)
        };
        assert_eq!(marked(&[Some(4.0), Some(8.0), Some(6.0)]), (3, Some(6.0)));
        assert_eq!(marked(&[Some(4.0), None, Some(6.0)]), (2, Some(6.0)));
        assert_eq!(marked(&[Some(4.0), None, None]), (1, None));
        assert_eq!(marked(&[Some(4.0), None]), (1, None));
        assert_eq!(marked(&[]), (0, None));
    }
}
