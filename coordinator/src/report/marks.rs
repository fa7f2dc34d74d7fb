//! The moments of a training from which its curves show something else, or begin anew: charts draw a line there.

use engine::optimizers::Method;
use serde::{Deserialize, Serialize};

use super::status::CurvePoint;

/// Marks that are kept; of more, the oldest are forgotten.
pub const MARKS_MAX: usize = 32;

/// Such a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The accepted point where it happened.
    pub iteration: u64,
    /// Seconds of training until then.
    pub seconds: Option<f64>,
    /// What begins there, in a word or two: `L-BFGS`, `resumed`.
    pub label: String,
}

/// The marks of a course whose points come one by one.
#[derive(Debug, Default)]
pub struct Marks {
    /// The method of the last point.
    method: Option<Method>,
    list: Vec<Mark>,
}

impl Marks {
    /// The marks of a whole course.
    pub fn of(course: &[CurvePoint]) -> Marks {
        let mut marks = Marks::default();
        course.iter().for_each(|point| marks.add(point));
        marks
    }

    /// Takes the next point.
    pub fn add(&mut self, point: &CurvePoint) {
        if point.resumed {
            self.push(point, "resumed".to_owned());
        }
        if let (Some(before), Some(now)) = (self.method, point.method)
            && before != now
        {
            self.push(point, now.to_string());
        }
        self.method = point.method.or(self.method);
    }

    /// Forgets what came after that iteration, or everything.
    pub fn rewind(&mut self, iteration: Option<u64>) {
        self.list.retain(|mark| iteration.is_some_and(|last| mark.iteration <= last));
        self.method = None;
    }

    /// The marks so far, in order.
    pub fn list(&self) -> &[Mark] {
        &self.list
    }

    fn push(&mut self, point: &CurvePoint, label: String) {
        if self.list.len() == MARKS_MAX {
            self.list.remove(0);
        }
        self.list.push(Mark { iteration: point.iteration, seconds: point.seconds, label });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(iteration: u64, method: Option<Method>, resumed: bool) -> CurvePoint {
        CurvePoint { iteration, method, resumed, ..CurvePoint::default() }
    }

    #[test]
    fn a_switch_of_the_method_and_a_resume_are_marked_where_they_happen() {
        let (local, full) = (Some(Method::LocalSteps), Some(Method::Lbfgs));
        // Metrics of an earlier release name no method.
        let course = [
            point(0, None, false),
            point(1, local, false),
            point(2, local, true),
            point(3, full, false),
            point(4, full, false),
        ];
        let mut marks = Marks::of(&course);
        let found: Vec<(u64, &str)> =
            marks.list().iter().map(|mark| (mark.iteration, mark.label.as_str())).collect();
        assert_eq!(found, [(2, "resumed"), (3, "L-BFGS")]);
        marks.rewind(Some(2));
        course[3..].iter().for_each(|point| marks.add(point));
        assert_eq!(marks.list().len(), 1, "the method was the same when it went on");
        (0..2 * MARKS_MAX as u64).for_each(|iteration| marks.add(&point(iteration, full, true)));
        assert_eq!(marks.list().len(), MARKS_MAX);
    }
}
