//! Keeps the status that pages and terminals show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Arithmetic;
use serde::{Deserialize, Serialize};

use super::{BeginRule, Checkpoint};
use crate::report::marks::Marks;
use crate::report::progress::IterationReport;
use crate::report::status::{
    CurvePoint, DetailPoint, HISTORY_MAX, OFFENDERS_MAX, Offender, RunPhase, Status,
};
use engine::optimizers::{Iteration, Method};
use engine::{Accepted, Attendance, Counters, Figures};

/// The facts that do not change during a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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

/// What ends a training by itself, besides the limit on iterations.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Rounds.
    pub rounds: Option<u64>,
    /// Passes over the training data.
    pub epochs: Option<f64>,
    /// Seconds of training, those before a resume included.
    pub seconds: Option<u64>,
}

/// Bytes of a weight in a round's frame, and of its sum in a packed result, roughly.
const BYTES_PER_PARAMETER: (u64, u64) = (4, 4);

impl Facts {
    /// The status of a run that has not begun.
    pub fn status(&self) -> Status {
        Status {
            title: self.title.clone(),
            run: format!("{:016x}", self.run),
            arithmetic: self.arithmetic,
            phase: RunPhase::Waiting,
            network: self.network.clone(),
            parameters: self.parameters,
            examples: self.examples,
            iterations_max: self.iterations_max,
            data: self.data.clone(),
            data_bytes: self.data_bytes,
            operator: self.operator.clone(),
            purpose: self.purpose.clone(),
            round_bytes: self.parameters as u64 * (BYTES_PER_PARAMETER.0 + BYTES_PER_PARAMETER.1),
            ..Status::default()
        }
    }
}

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
    limits: Limits,
    /// Where this process began to train, for the estimate of the rest.
    origin: Option<Place>,
}

/// A place in the course of the training.
#[derive(Debug, Clone, Copy)]
struct Place {
    seconds: f64,
    iteration: u64,
    rounds: u64,
    epochs: f64,
}

impl Picture {
    pub(super) fn new(
        facts: Facts,
        limits: Limits,
        resumed: Option<&Checkpoint>,
        history: Vec<DetailPoint>,
    ) -> Picture {
        let accepted = resumed.and_then(|checkpoint| checkpoint.snapshot.accepted);
        let counters = resumed.map(|checkpoint| checkpoint.snapshot.counters).unwrap_or_default();
        let status = Status {
            iteration: accepted.map_or(0, |accepted| accepted.iteration),
            rounds: counters.rounds,
            epochs: counters.examples as f64 / facts.examples as f64,
            figures: accepted.map(|accepted| accepted.figures),
            seconds: resumed.map_or(0.0, |checkpoint| checkpoint.seconds),
            ..facts.status()
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
            limits,
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
        self.status.iteration = accepted.iteration;
        let here = self.place(seconds);
        self.origin.get_or_insert(here);
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
        let eta_seconds = self.eta_seconds(seconds, seconds);
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

    fn place(&self, seconds: f64) -> Place {
        let Status { iteration, rounds, epochs, .. } = self.status;
        Place { seconds, iteration, rounds, epochs }
    }

    /// Seconds until the first of the limits, at the pace until the last point, which was accepted at that time;
    /// `now` are the seconds of training until now.
    fn eta_seconds(&self, accepted: f64, now: f64) -> Option<f64> {
        let at_this_pace = |origin: Place| {
            let here = self.place(accepted);
            let seconds = here.seconds - origin.seconds;
            let until = move |from: f64, at: f64, limit: f64| {
                (at > from).then(|| seconds / (at - from) * (limit - at).max(0.0))
            };
            let most = self.status.iterations_max as f64;
            let iterations = until(origin.iteration as f64, here.iteration as f64, most);
            let rounds = |most: u64| until(origin.rounds as f64, here.rounds as f64, most as f64);
            let epochs = |most: f64| until(origin.epochs, here.epochs, most);
            [iterations, self.limits.rounds.and_then(rounds), self.limits.epochs.and_then(epochs)]
        };
        let paces = self.origin.map(at_this_pace).into_iter().flatten().flatten();
        let clock = self.limits.seconds.map(|most| (most as f64 - now).max(0.0));
        paces.chain(clock).reduce(f64::min)
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
        let accepted = self.course.last.map_or(since_last, |last| last.point.seconds.unwrap_or(since_last));
        // Where nobody computes, the end does not come nearer.
        let goes_on = self.status.phase == RunPhase::Training && !self.paused && self.ended.is_none();
        // Volunteers that pause lend no core.
        let at_work = if attendance.cores > 0 { attendance.volunteers } else { 0 };
        let computes = at_work > 0 || local_helps;
        let eta = self.eta_seconds(accepted, seconds).filter(|_| goes_on && computes);
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
            RunPhase::Training => status.sentence = training(at_work, local_helps),
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
            "Nobody is computing. If no volunteer starts, the coordinator goes on by itself in a few seconds."
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

    /// A training of ten iterations, of one round and half a pass each, after six of them in 60 seconds.
    fn six_of_ten(limits: Limits) -> Picture {
        let facts = Facts { examples: 100, iterations_max: 10, ..Facts::default() };
        let mut picture = Picture::new(facts, limits, None, Vec::new());
        picture.training_begins();
        for iteration in 0..=6 {
            let counters = Counters { rounds: iteration, examples: 50 * iteration, ..Counters::default() };
            picture.status.rounds = counters.rounds;
            picture.status.epochs = picture.epochs(counters);
            picture.status.iteration = iteration;
            let here = picture.place(10.0 * iteration as f64);
            picture.origin.get_or_insert(here);
        }
        picture
    }

    #[test]
    fn the_end_is_estimated_by_the_limit_that_comes_first() {
        for (limits, expected) in [
            (Limits::default(), 40.0),
            (Limits { rounds: Some(8), ..Limits::default() }, 20.0),
            (Limits { epochs: Some(3.5), ..Limits::default() }, 10.0),
            (Limits { seconds: Some(65), ..Limits::default() }, 3.0),
            (Limits { rounds: Some(100), epochs: Some(99.0), seconds: Some(9999) }, 40.0),
        ] {
            assert_eq!(six_of_ten(limits).eta_seconds(60.0, 62.0), Some(expected), "{limits:?}");
        }
    }

    #[test]
    fn no_end_is_promised_while_nobody_computes() {
        let begin = BeginRule { wait_for: 0, patience: None };
        let mut picture = six_of_ten(Limits::default());
        let eta = |picture: &mut Picture, volunteers, local_helps| {
            // The first volunteer has paused.
            let attendance = Attendance { volunteers, cores: volunteers.saturating_sub(1) };
            picture.renew(attendance, 0, begin, Duration::ZERO, local_helps, 60.0);
            picture.status.eta_seconds
        };
        picture.status.seconds = 60.0;
        assert_eq!(eta(&mut picture, 2, false), Some(40.0));
        assert_eq!(eta(&mut picture, 0, true), Some(40.0));
        for volunteers in [0, 1] {
            assert_eq!(eta(&mut picture, volunteers, false), None);
            assert!(
                picture.status.sentence.starts_with("Nobody is computing."),
                "{}",
                picture.status.sentence
            );
        }
        picture.pauses(true);
        assert_eq!(eta(&mut picture, 2, true), None);
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
