//! Keeps the status that pages and terminals show.

use std::time::{Duration, Instant};

use model::Arithmetic;

use super::{BeginRule, Checkpoint};
use crate::report::progress::IterationReport;
use crate::report::status::{CurvePoint, HISTORY_MAX, OFFENDERS_MAX, Offender, RunPhase, Status};
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
}

/// The status and the values needed to renew it.
pub(super) struct Picture {
    status: Status,
    /// The epochs at the last measurement of the speed, and its time.
    measured: Option<(u64, Instant)>,
    /// Why the training has ended, once it has.
    ended: Option<String>,
    /// Seconds and iteration when this process began to train, for the estimate of the rest.
    origin: Option<(f64, u64)>,
}

impl Picture {
    pub(super) fn new(facts: Facts, resumed: Option<&Checkpoint>, history: Vec<CurvePoint>) -> Picture {
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
            history: Vec::new(),
            volunteers: 0,
            cores: 0,
            fused_capable: 0,
            local_worker: false,
            examples_per_second: 0.0,
            offenders: Vec::new(),
            offenders_count: 0,
            seconds: resumed.map_or(0.0, |checkpoint| checkpoint.seconds),
        };
        let mut picture = Picture { status, measured: None, ended: None, origin: None };
        history.into_iter().for_each(|point| picture.remember(point));
        picture
    }

    pub(super) fn status(&self) -> Status {
        self.status.clone()
    }

    /// Passes over the training data.
    pub(super) fn epochs(&self, counters: Counters) -> f64 {
        counters.examples as f64 / self.status.examples as f64
    }

    pub(super) fn training_begins(&mut self) {
        self.status.phase = RunPhase::Training;
        self.measured = None;
    }

    /// Notes that a round is over.
    pub(super) fn between(&mut self, counters: Counters) {
        let now = Instant::now();
        if let Some((examples, at)) = self.measured {
            let speed = (counters.examples - examples) as f64 / (now - at).as_secs_f64().max(1e-3);
            let known = self.status.examples_per_second;
            self.status.examples_per_second = if known > 0.0 { 0.7 * known + 0.3 * speed } else { speed };
        }
        self.measured = Some((counters.examples, now));
        self.status.rounds = counters.rounds;
        self.status.epochs = self.epochs(counters);
    }

    pub(super) fn accepted(&mut self, accepted: &Accepted, counters: Counters, seconds: f64) {
        self.between(counters);
        self.origin.get_or_insert((seconds, accepted.iteration));
        self.status.iteration = accepted.iteration;
        // If the point was not evaluated, the figures of the last evaluated point stay.
        let earlier = self.status.figures.unwrap_or(Figures::UNKNOWN);
        self.status.figures = Some(accepted.figures.or(earlier));
        self.remember(point(accepted));
    }

    fn remember(&mut self, point: CurvePoint) {
        let history = &mut self.status.history;
        if history.last().is_some_and(|last| last.iteration == point.iteration) {
            history.pop();
        }
        if history.len() >= HISTORY_MAX {
            let mut index = 0;
            history.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        history.push(point);
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
        self.status.history.retain(|point| iteration.is_some_and(|last| point.iteration <= last));
        self.status.iteration = iteration.unwrap_or(0);
        self.origin = None;
        self.measured = None;
    }

    pub(super) fn report(
        &self,
        accepted: &Accepted,
        attendance: Attendance,
        seconds: f64,
    ) -> IterationReport {
        let rest = self.status.iterations_max.saturating_sub(accepted.iteration) as f64;
        let pace = self.origin.and_then(|(since, from)| {
            let done = accepted.iteration.saturating_sub(from);
            (done > 0).then(|| (seconds - since) / done as f64)
        });
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
            eta_seconds: pace.map(|pace| pace * rest),
        }
    }

    /// Notes that there are no more rounds: the model is being saved.
    pub(super) fn ended(&mut self, sentence: String) {
        self.ended = Some(sentence);
    }

    pub(super) fn saved(&mut self) {
        self.status.phase = RunPhase::Finished;
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
        let status = &mut self.status;
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
        (0, false) => "Waiting for a volunteer: nobody is computing.".into(),
        (1, true) => "Training on one volunteer and the coordinator's own worker.".into(),
        (1, false) => "Training on one volunteer.".into(),
        (count, true) => format!("Training on {count} volunteers and the coordinator's own worker."),
        (count, false) => format!("Training on {count} volunteers."),
    }
}

fn point(accepted: &Accepted) -> CurvePoint {
    CurvePoint {
        iteration: accepted.iteration,
        train_loss: Some(accepted.figures.train_loss),
        test_accuracy: accepted.figures.test_accuracy,
    }
}
