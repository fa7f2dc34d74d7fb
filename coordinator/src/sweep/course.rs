//! The course of one training, read from its metrics.

use std::path::Path;

use engine::Figures;
use serde::Deserialize;

use super::targets::{Measure, Target};
use crate::run_directory::{self, RunError};

/// The effort to reach a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Rounds over the volunteers. The round that measures the last point does not count: every method has
    /// it, and the round that follows the point measures it anyway.
    pub rounds: f64,
    /// Passes over the training data, counted like the rounds.
    pub epochs: f64,
    /// Seconds of training.
    pub seconds: f64,
}

/// A part of an [`Effort`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// [`Effort::rounds`].
    Rounds,
    /// [`Effort::epochs`].
    Epochs,
    /// [`Effort::seconds`].
    Seconds,
}

impl Unit {
    /// All of them, in the order of tables and charts.
    pub const ALL: [Self; 3] = [Self::Rounds, Self::Epochs, Self::Seconds];

    /// Its name in tables, charts and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rounds => "rounds",
            Self::Epochs => "epochs",
            Self::Seconds => "seconds",
        }
    }
}

impl Effort {
    /// One part of it.
    pub fn part(self, unit: Unit) -> f64 {
        match unit {
            Unit::Rounds => self.rounds,
            Unit::Epochs => self.epochs,
            Unit::Seconds => self.seconds,
        }
    }
}

/// The weights at one moment of a training, and how good they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The effort to get there.
    pub effort: Effort,
    /// Mean loss over the training examples; `None` if it was not measured or is not finite.
    pub loss: Option<f64>,
    /// Mean loss over the test examples.
    pub test_loss: Option<f64>,
    /// Share of the test examples predicted correctly.
    pub accuracy: Option<f64>,
}

/// The points of a training, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// The points.
    pub points: Vec<Point>,
}

/// The fields of a line of metrics that a sweep reads.
#[derive(Debug, Deserialize)]
struct Row {
    /// That led to the point.
    rounds: f64,
    epochs: f64,
    seconds: f64,
    #[serde(flatten)]
    figures: Figures,
}

impl Course {
    /// Reads the metrics of a run.
    ///
    /// # Errors
    /// When the metrics cannot be read.
    pub fn load(run: &Path) -> Result<Self, RunError> {
        Ok(Self::of(&run_directory::load_metrics::<Row>(run)?))
    }

    fn of(rows: &[Row]) -> Self {
        // One kind of loss for the whole run, because the two kinds are different numbers.
        let separately = rows.iter().any(|row| row.figures.training_set_loss.is_some());
        let point = |row: &Row| Point {
            effort: Effort { rounds: row.rounds, epochs: row.epochs, seconds: row.seconds },
            loss: if separately {
                row.figures.training_set_loss
            } else {
                Some(row.figures.train_loss).filter(|loss| loss.is_finite())
            },
            test_loss: row.figures.test_loss,
            accuracy: row.figures.test_accuracy,
        };
        Self { points: rows.iter().map(point).collect() }
    }

    /// The effort until the run first reached a target; `None` if it never did.
    pub fn reached(&self, target: Target) -> Option<Effort> {
        let met = |point: &&Point| point.value(target.measure).is_some_and(|value| target.is_met(value));
        self.points.iter().find(met).map(|point| point.effort)
    }

    /// The last value of a measure.
    pub fn last(&self, measure: Measure) -> Option<f64> {
        self.points.iter().rev().find_map(|point| point.value(measure))
    }
}

impl Point {
    /// The value of a measure here.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Accuracy => self.accuracy,
            Measure::Loss => self.loss,
            Measure::TestLoss => self.test_loss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(lines: &str) -> Course {
        let rows: Vec<Row> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Course::of(&rows)
    }

    const ACCURACY: Target = Target { measure: Measure::Accuracy, value: 0.9 };
    const LOSS: Target = Target { measure: Measure::Loss, value: 0.5 };

    #[test]
    fn effort_is_all_that_led_to_a_point_and_the_first_time_counts() {
        let course = course(
            r#"{"iteration":0,"rounds":0,"epochs":0.0,"seconds":0.5,"train_loss":2.3,"test_accuracy":0.1}
{"iteration":1,"rounds":4,"epochs":2.0,"seconds":1.0,"train_loss":0.4,"test_accuracy":0.9}
{"iteration":2,"rounds":5,"epochs":3.0,"seconds":1.5,"train_loss":null,"test_accuracy":0.8}"#,
        );
        let effort = Effort { rounds: 4.0, epochs: 2.0, seconds: 1.0 };
        assert_eq!(course.reached(ACCURACY), Some(effort));
        assert_eq!(course.reached(LOSS), Some(effort));
        assert_eq!(course.reached(Target { value: 0.3, ..LOSS }), None);
        assert_eq!(course.last(Measure::Loss), Some(0.4));
        assert_eq!(course.last(Measure::TestLoss), None);
    }

    #[test]
    fn the_loss_of_the_whole_training_set_is_preferred_where_it_is_measured() {
        let course = course(
            r#"{"iteration":1,"rounds":1,"epochs":1,"seconds":1,"train_loss":0.4}
{"iteration":2,"rounds":2,"epochs":2,"seconds":2,"train_loss":0.3,"training_set_loss":0.45}"#,
        );
        assert_eq!(course.reached(LOSS).unwrap().rounds, 2.0);
        assert_eq!(course.points[0].loss, None);
    }
}
