//! Keeps the status that pages and terminals show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Arithmetic;

use super::{BeginRule, Checkpoint};
use crate::report::marks::Marks;
use crate::report::progress::IterationReport;
use crate::report::status::{
    CurvePoint, DetailPoint, HISTORY_MAX, OFFENDERS_MAX, Offender, RunPhase, Status,
};
use engine::optimizers::{Iteration, Method};
use engine::{Accepted, Attendance, Counters, Figures};

/// The facts that do not change during a run.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The trained network, in words.
    pub title: String,
    /// Names the run.
    pub run: u64,
    /// The run's arithmetic.
    pub arithmetic: Arithmetic,
    /// The network in words.
    pub network: String,
    /// Number of parameters.
    pub parameters: usize,
    /// Training examples.
    pub examples: usize,
    /// The limit on iterations.
    pub iterations_max: u64,
    /// Names the data.
    pub data: String,
    /// Bytes of the training data, compressed.
    pub data_bytes: u64,
    /// Who runs the training, in the operator's own words.
    pub operator: Option<String>,
    /// What the training is for, in the operator's own words.
    pub purpose: Option<String>,
}

/// Bytes of a weight in a round's frame, and of its sum in a packed result, roughly.
const BYTES_PER_PARAMETER: (u64, u64) = (4, 4);

/// The status and the values needed to renew it.
pub(super) struct Picture {
    status: Status,
    course: Course,
    /// The training was resumed, and no point has been accepted since.
    resumed: bool,
    /// The course with what only the operator sees.
    details: Arc<Vec<DetailPoint>>,
    /// Whether the operator wants a pause.
    paused: bool,
    /// The epochs at the last measurement of the speed, and its time.
    measured: Option<(u64, Instant)>,
    /// Why the training has ended, once it has.
    ended: Option<String>,
    /// Seconds and iteration when this process began to train, for the estimate of the rest.
    origin: Option<(f64, u64)>,
}

impl Picture {
    pub(super) fn new(facts: Facts, resumed: Option<&Checkpoint>, history: Vec<DetailPoint>) -> Picture {
        let accepted = resumed.and_then(|checkpoint| checkpoint.snapshot.accepted);
        let counters = resumed.map(|checkpoint| checkpoint.snapshot.counters).unwrap_or_default();
        let status = Status {
            title: facts.title,
            run: format!("{:016x}", facts.run),
            arithmetic: facts.arithmetic,
            phase: RunPhase::Waiting,
            sentence: String::new(),
            network: facts.network,
            parameters: facts.parameters,
            examples: facts.examples,
            iteration: accepted.map_or(0, |accepted| accepted.iteration),
            iterations_max: facts.iterations_max,
            rounds: counters.rounds,
            epochs: counters.examples as f64 / facts.examples as f64,
            figures: accepted.map(|accepted| accepted.figures),
            data: facts.data,
            data_bytes: facts.data_bytes,
            operator: facts.operator,
            purpose: facts.purpose,
            round_bytes: facts.parameters as u64 * (BYTES_PER_PARAMETER.0 + BYTES_PER_PARAMETER.1),
            seconds: resumed.map_or(0.0, |checkpoint| checkpoint.seconds),
            ..Status::default()
        };
        let course = Course::default();
        let mut picture = Picture {
            status,
            course,
            resumed: accepted.is_some(),
            details: Arc::default(),
            paused: false,
            measured: None,
            ended: None,
            origin: None,
        };
        history.into_iter().for_each(|point| picture.course.add(point));
        picture.show_course();
        picture
    }

    pub(super) fn status(&self) -> Status {
        self.status.clone()
    }

    /// Training examples a second, over the last rounds.
    pub(super) fn examples_per_second(&self) -> f64 {
        self.status.examples_per_second
    }

    /// Passes over the training data.
    pub(super) fn epochs(&self, counters: Counters) -> f64 {
        counters.examples as f64 / self.status.examples as f64
    }

    pub(super) fn training_begins(&mut self) {
        self.status.phase = RunPhase::Training;
        self.measured = None;
    }

    /// The course of the training with everything that is known of its points.
    pub(super) fn details(&self) -> Arc<Vec<DetailPoint>> {
        Arc::clone(&self.details)
    }

    /// Notes whether the operator wants a pause. Speeds are measured anew after it.
    pub(super) fn pauses(&mut self, paused: bool) {
        self.paused = paused;
        self.measured = None;
    }

    /// Notes that a round is over.
    pub(super) fn between(&mut self, counters: Counters) {
        let now = Instant::now();
        if let Some((examples, at)) = self.measured {
            let seconds = (now - at).as_secs_f64().max(1e-3);
            let speed = (counters.examples - examples) as f64 / seconds;
            let known = self.status.examples_per_second;
            self.status.examples_per_second = if known > 0.0 { 0.7 * known + 0.3 * speed } else { speed };
            let known = self.status.round_seconds.unwrap_or(seconds);
            self.status.round_seconds = Some(0.7 * known + 0.3 * seconds);
        }
        self.measured = Some((counters.examples, now));
        self.status.rounds = counters.rounds;
        self.status.epochs = self.epochs(counters);
    }

    pub(super) fn accepted(
        &mut self,
        accepted: &Accepted,
        step: Option<&Iteration>,
        method: Method,
        counters: Counters,
        seconds: f64,
    ) {
        self.between(counters);
        self.origin.get_or_insert((seconds, accepted.iteration));
        self.status.iteration = accepted.iteration;
        // If the point was not evaluated, the figures of the last evaluated point stay.
        let earlier = self.status.figures.unwrap_or(Figures::UNKNOWN);
        self.status.figures = Some(accepted.figures.or(earlier));
        let resumed = std::mem::take(&mut self.resumed);
        let mut detail = detail(accepted, step, seconds);
        (detail.point.method, detail.point.resumed) = (Some(method), resumed);
        self.course.add(detail);
        self.show_course();
    }

    fn show_course(&mut self) {
        self.status.history_until = self.course.last.as_ref().map(|last| last.point.iteration);
        let details = self.course.points();
        self.status.history = Arc::new(details.iter().map(|detail| detail.point).collect());
        self.details = Arc::new(details);
        self.status.marks = self.course.marks.list().into();
    }

    /// Notes that a volunteer was found out.
    pub(super) fn convicted(&mut self, offender: Offender) {
        let Status { offenders, offenders_count, .. } = &mut self.status;
        *offenders_count += 1;
        if offenders.len() == OFFENDERS_MAX {
            offenders.remove(0);
        }
        offenders.push(offender);
    }

    /// The training has gone back to this iteration, or to before the start point was known.
    pub(super) fn rewound(&mut self, iteration: Option<u64>) {
        self.course.rewind(iteration);
        self.show_course();
        self.status.iteration = iteration.unwrap_or(0);
        self.origin = None;
        self.measured = None;
    }

    pub(super) fn report(
        &self,
        accepted: &Accepted,
        method: Method,
        attendance: Attendance,
        seconds: f64,
    ) -> IterationReport {
        let eta_seconds = self.eta_seconds(accepted.iteration, seconds);
        IterationReport {
            iteration: accepted.iteration,
            iterations_max: self.status.iterations_max,
            rounds: accepted.rounds,
            epochs: accepted.epochs,
            figures: accepted.figures,
            gradient_norm: accepted.gradient_norm,
            step: accepted.step,
            volunteers: attendance.volunteers,
            cores: attendance.cores,
            examples_per_second: self.status.examples_per_second,
            seconds,
            eta_seconds,
            method,
            resumed: false,
        }
    }

    /// Seconds of the iterations that are left after this one, at the pace so far.
    fn eta_seconds(&self, iteration: u64, seconds: f64) -> Option<f64> {
        let (since, from) = self.origin?;
        let done = iteration.saturating_sub(from);
        let rest = self.status.iterations_max.saturating_sub(iteration);
        (done > 0).then(|| (seconds - since) / done as f64 * rest as f64)
    }

    /// Notes that there are no more rounds: the model is being saved.
    pub(super) fn ended(&mut self, sentence: String) {
        self.ended = Some(sentence);
    }

    /// Notes that the model is saved, and how good it is.
    pub(super) fn saved(&mut self, figures: Option<Figures>) {
        self.status.phase = RunPhase::Finished;
        self.status.figures = figures.or(self.status.figures);
        (self.status.round_units, self.status.eta_seconds) = (None, None);
    }

    /// Notes how far the open round is: units accounted for, and all of them.
    pub(super) fn round(&mut self, units: Option<(u32, u32)>) {
        self.status.round_units = units;
    }

    pub(super) fn renew(
        &mut self,
        attendance: Attendance,
        fused_capable: usize,
        begin: BeginRule,
        waited: Duration,
        local_helps: bool,
        seconds: f64,
    ) {
        let since_last = self.status.seconds;
        let eta = self.eta_seconds(
            self.status.iteration,
            self.course.last.map_or(since_last, |last| last.point.seconds.unwrap_or(since_last)),
        );
        let status = &mut self.status;
        status.eta_seconds = eta;
        status.volunteers = attendance.volunteers;
        status.cores = attendance.cores;
        status.fused_capable = fused_capable;
        status.seconds = seconds;
        status.local_worker = status.phase == RunPhase::Training && local_helps;
        if let Some(sentence) = &self.ended {
            status.sentence.clone_from(sentence);
            status.local_worker = false;
            return;
        }
        if self.paused && status.phase != RunPhase::Finished {
            status.sentence = "The operator has paused the training.".to_owned();
            status.local_worker = false;
            return;
        }
        match status.phase {
            RunPhase::Waiting => status.sentence = waiting(status.volunteers, begin, waited),
            RunPhase::Training => status.sentence = training(status.volunteers, local_helps),
            RunPhase::Finished => {}
        }
    }
}

fn waiting(volunteers: usize, begin: BeginRule, waited: Duration) -> String {
    let missing = begin.wait_for.saturating_sub(volunteers);
    if missing == 0 {
        return "Preparing the first round.".into();
    }
    let who =
        if missing == 1 { "one more volunteer".to_owned() } else { format!("{missing} more volunteers") };
    match begin.patience {
        Some(patience) => {
            let seconds = patience.saturating_sub(waited).as_secs() + 1;
            format!("Waiting for {who}; the coordinator begins by itself in {seconds} s.")
        }
        None => format!("Waiting for {who} before the training begins."),
    }
}

fn training(volunteers: usize, local_helps: bool) -> String {
    match (volunteers, local_helps) {
        (0, true) => "Training on the coordinator's own worker; volunteers may join at any time.".into(),
        (0, false) => {
            "Nobody is computing. If no volunteer comes, the coordinator goes on by itself in a few seconds."
                .into()
        }
        (1, true) => "Training on one volunteer and the coordinator's own worker.".into(),
        (1, false) => "Training on one volunteer.".into(),
        (count, true) => format!("Training on {count} volunteers and the coordinator's own worker."),
        (count, false) => format!("Training on {count} volunteers."),
    }
}

fn detail(accepted: &Accepted, step: Option<&Iteration>, seconds: f64) -> DetailPoint {
    // A start point has no step.
    let step = step.filter(|step| step.iteration == accepted.iteration);
    DetailPoint {
        point: point(accepted, seconds),
        gradient_norm: Some(accepted.gradient_norm),
        step: Some(accepted.step),
        rounds: Some(accepted.rounds),
        pairs: step.map(|step| step.memory),
        damped: step.map(|step| step.damped),
        backtracked: step.map(|step| step.backtracked),
    }
}

fn point(accepted: &Accepted, seconds: f64) -> CurvePoint {
    let Figures {
        train_loss,
        training_set_loss,
        validation_loss,
        validation_accuracy,
        test_loss,
        test_accuracy,
        ..
    } = accepted.figures;
    CurvePoint {
        iteration: accepted.iteration,
        seconds: Some(seconds),
        epochs: Some(accepted.epochs),
        train_loss: Some(train_loss),
        training_set_loss,
        validation_loss,
        validation_accuracy,
        test_loss,
        test_accuracy,
        method: None,
        resumed: false,
    }
}

/// The course of a training in at most [`HISTORY_MAX`] points, as far apart as they must be: of each stretch of
/// so many iterations the first point that was evaluated, or else the first; and the last point of all.
#[derive(Debug)]
struct Course {
    /// Iterations of a stretch, a power of two.
    stride: u64,
    points: Vec<DetailPoint>,
    last: Option<DetailPoint>,
    marks: Marks,
}

impl Default for Course {
    fn default() -> Course {
        Course { stride: 1, points: Vec::new(), last: None, marks: Marks::default() }
    }
}

impl Course {
    fn add(&mut self, point: DetailPoint) {
        // A start point is told of again when it is evaluated late.
        while self.points.last().is_some_and(|last| last.point.iteration >= point.point.iteration) {
            self.points.pop();
        }
        self.marks.add(&point.point);
        self.last = Some(point);
        self.put(point);
        while self.points.len() >= HISTORY_MAX {
            self.stride *= 2;
            std::mem::take(&mut self.points).into_iter().for_each(|point| self.put(point));
        }
    }

    /// Forgets the points after that iteration, or all of them.
    fn rewind(&mut self, iteration: Option<u64>) {
        self.points.retain(|point| iteration.is_some_and(|last| point.point.iteration <= last));
        self.last = self.points.last().copied();
        self.marks.rewind(iteration);
    }

    fn put(&mut self, point: DetailPoint) {
        let stretch = |detail: &DetailPoint| detail.point.iteration / self.stride;
        match self.points.last_mut() {
            Some(first) if stretch(first) == stretch(&point) => {
                if !first.point.is_evaluated() && point.point.is_evaluated() {
                    *first = point;
                }
            }
            _ => self.points.push(point),
        }
    }

    /// The points to draw.
    fn points(&self) -> Vec<DetailPoint> {
        let kept = self.points.last().map(|kept| kept.point.iteration);
        let last = self.last.filter(|last| kept != Some(last.point.iteration));
        self.points.iter().copied().chain(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(iteration: u64, is_evaluated: bool) -> DetailPoint {
        let test_loss = is_evaluated.then_some(1.0);
        DetailPoint {
            point: CurvePoint { iteration, test_loss, ..CurvePoint::default() },
            ..DetailPoint::default()
        }
    }

    fn iterations(course: &Course) -> Vec<u64> {
        course.points().iter().map(|detail| detail.point.iteration).collect()
    }

    #[test]
    fn a_long_course_is_thinned_evenly_and_keeps_its_last_point() {
        let mut course = Course::default();
        for iteration in 0..=1802 {
            course.add(point(iteration, true));
            assert!(course.points().len() <= HISTORY_MAX);
        }
        let expected: Vec<u64> = (0..=1802).step_by(8).chain([1802]).collect();
        assert_eq!(iterations(&course), expected);
    }

    #[test]
    fn evaluated_points_are_kept_however_rare_they_are() {
        let mut course = Course::default();
        (0..5000).for_each(|iteration| course.add(point(iteration, iteration % 37 == 0)));
        assert_eq!(
            course.points().iter().filter(|detail| detail.point.is_evaluated()).count(),
            5000_usize.div_ceil(37)
        );
    }

    #[test]
    fn a_point_that_is_told_again_replaces_its_first_report() {
        let mut course = Course::default();
        course.add(point(0, false));
        course.add(point(0, true));
        assert_eq!(iterations(&course), [0]);
        assert!(course.points()[0].point.is_evaluated());
    }
}
