//! The memory of a training's course: for the rules that end it, for the times to evaluate, and for the
//! weights to keep.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::figures::{Accepted, Counters};

/// Points whose mean objective is compared with that of as many before them. One alone would say little where
/// each is measured on other examples.
const DECREASE_POINTS: usize = 5;

/// Without a number of rounds given, points are evaluated when the training has gone through a tenth of an
/// epoch.
const EVALUATIONS_PER_EPOCH: u64 = 10;

/// See the module's description. A function of the accepted points, and so the same whoever helped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Of the last accepted points, the newest last.
    objectives: Vec<f64>,
    /// Of the last accepted point, if its round took one.
    gradient_norm: Option<f64>,
    /// The counters before the round of the last accepted point whose evaluation was due.
    evaluated: Option<Counters>,
    best: Option<Best>,
    /// Evaluations since the best.
    worse: u64,
}

/// The accepted point with the lowest validation loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// How good it is.
    pub point: Accepted,
    /// Its weights, with the statistics it was evaluated with.
    pub weights: Arc<[f32]>,
    validation_loss: f64,
}

impl Course {
    /// Accepted points whose objectives decide the relative decrease: the mean of the second half against
    /// that of the first.
    pub const SPAN: usize = 2 * DECREASE_POINTS;

    /// Whether the point of the next round is to be evaluated: every so many rounds; or else in every round
    /// that goes through at least a tenth of the training examples, and about every tenth of an epoch where
    /// rounds are shorter.
    pub(super) fn evaluation_is_due(&self, every: Option<u64>, counters: Counters, examples: u32) -> bool {
        let Some(last) = self.evaluated else { return true };
        match every {
            Some(rounds) => counters.rounds - last.rounds >= rounds,
            None => (counters.examples - last.examples) * EVALUATIONS_PER_EPOCH >= u64::from(examples),
        }
    }

    /// The counters before the round of the last accepted point whose evaluation was due.
    pub(super) fn evaluated(&self) -> Option<Counters> {
        self.evaluated
    }

    /// Notes an accepted point; whether its round took a gradient there.
    pub(super) fn note(&mut self, point: &Accepted, has_gradient: bool) {
        if self.objectives.len() == Course::SPAN {
            self.objectives.remove(0);
        }
        self.objectives.push(point.figures.objective);
        self.gradient_norm = has_gradient.then_some(point.gradient_norm);
    }

    /// Notes that the evaluation of the point noted last was due, in a round that began with these counters.
    /// With a validation set, a point that it says nothing good of (or that is not finite there) counts as no
    /// better.
    pub(super) fn note_evaluation(
        &mut self,
        point: &Accepted,
        before: Counters,
        validates: bool,
        weights: impl FnOnce() -> Arc<[f32]>,
    ) {
        self.evaluated = Some(before);
        if !validates {
            return;
        }
        let lowest = self.best.as_ref().map_or(f64::INFINITY, |best| best.validation_loss);
        match point.figures.validation_loss.filter(|loss| *loss < lowest) {
            Some(validation_loss) => {
                self.best = Some(Best { point: *point, weights: weights(), validation_loss });
                self.worse = 0;
            }
            None => self.worse += 1,
        }
    }

    /// The best point; `None` without a validation set.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// Evaluations in a row that found no lower validation loss.
    pub(super) fn worse(&self) -> u64 {
        self.worse
    }

    pub(super) fn gradient_norm(&self) -> Option<f64> {
        self.gradient_norm
    }

    /// By which share of itself the mean objective of [`DECREASE_POINTS`] accepted points is below that of
    /// the points before them; `None` as long as there are too few.
    pub(super) fn relative_decrease(&self) -> Option<f64> {
        if self.objectives.len() < Course::SPAN {
            return None;
        }
        let (earlier, later) = self.objectives.split_at(DECREASE_POINTS);
        let (earlier, later) = (earlier.iter().sum::<f64>(), later.iter().sum::<f64>());
        Some((earlier - later) / earlier.abs().max(f64::MIN_POSITIVE))
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::*;

    fn point(objective: f64, validation_loss: Option<f64>) -> Accepted {
        let figures = Figures { objective, validation_loss, ..Figures::UNKNOWN };
        Accepted { iteration: 1, rounds: 1, epochs: 1.0, figures, gradient_norm: 1.0, step: 1.0 }
    }

    #[test]
    fn the_decrease_is_that_of_five_points_after_five_others() {
        let mut course = Course::default();
        for index in 0..9 {
            course.note(&point(if index < 5 { 10.0 } else { 8.0 }, None), true);
            assert_eq!(course.relative_decrease(), None);
        }
        course.note(&point(8.0, None), true);
        assert_eq!(course.relative_decrease(), Some(0.2));
        (0..9).for_each(|_| course.note(&point(0.0, None), true));
        assert_eq!(course.relative_decrease(), Some(1.0));
        (0..10).for_each(|_| course.note(&point(0.0, None), true));
        assert_eq!(course.relative_decrease(), Some(0.0), "nothing falls below nothing");
    }

    #[test]
    fn the_first_of_equally_good_points_is_the_best() {
        let mut course = Course::default();
        let losses = [None, Some(3.0), Some(2.0), Some(2.0), Some(f64::NAN), None, Some(2.5)];
        for (index, loss) in losses.into_iter().enumerate() {
            let point = point(index as f64, loss);
            course.note_evaluation(&point, Counters::default(), true, || vec![index as f32].into());
        }
        assert_eq!(course.best().unwrap().weights[..], [2.0]);
        assert_eq!(course.worse(), 4);
    }

    #[test]
    fn short_rounds_are_evaluated_about_every_tenth_of_an_epoch() {
        let evaluations = |every, round_examples: u64| {
            let mut course = Course::default();
            let mut evaluated = Vec::new();
            for rounds in 0..12 {
                let counters = Counters { rounds, examples: rounds * round_examples, ..Counters::default() };
                if course.evaluation_is_due(every, counters, 1000) {
                    course.note_evaluation(&point(0.0, None), counters, false, || unreachable!());
                    evaluated.push(rounds);
                }
            }
            evaluated
        };
        assert_eq!(evaluations(None, 30), [0, 4, 8]);
        assert_eq!(evaluations(None, 100).len(), 12);
        assert_eq!(evaluations(None, 1000).len(), 12);
        assert_eq!(evaluations(Some(5), 1000), [0, 5, 10]);
        assert_eq!(evaluations(Some(1), 1).len(), 12);
    }
}
