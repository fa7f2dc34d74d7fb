//! The engine: everything that decides what a run computes and who computes it.
//!
//! It is pure. [`Engine::handle`] takes one [`Input`] and the time; then [`Engine::poll_output`] is
//! drained; [`Engine::wake_ms`] says when to call again if nothing happens. No clock, no file, no
//! socket, no thread and no randomness is reachable from here, so a whole run with its churn and
//! failures can be replayed in a test, and the weights are a function of the data, the
//! configuration and the seed alone.
//!
//! The walk of a round: the [optimiser](optimisers) asks for a point; [`Engine`] opens a round
//! there; the scheduler hands out units; the validator judges what comes back; the
//! [aggregator] sums it exactly; the optimiser is told. Between two rounds the state is a
//! [`Snapshot`].

pub mod aggregator;
pub mod optimisers;
mod round;
mod scheduler;
mod snapshot;
mod validator;
mod volunteers;

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use model::{Network, Task, exact, trial_point};
use protocol::message::{ResultHeader, Unfit};
use protocol::plan::{Assignment, Part, RoundPlan, Set, SetPlan, Work};

use aggregator::{Misfit, Scales, mean_gradient};
use optimisers::{Ask, Optimiser, Progress, Tell};
use round::Round;
use scheduler::{Cuts, Scheduler};
use validator::Question;
use volunteers::Volunteers;

pub use scheduler::{LAST_RESORT_MS, OUTSTANDING_MAX, REST_MS};
pub use snapshot::{Accepted, Counters, Snapshot};
pub use worker::unit::Measure;

/// What defines the run for the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names the run; results of other runs are refused.
    pub run: u64,
    /// The network being trained.
    pub network: Network,
    /// How the training examples are cut.
    pub training: SetPlan,
    /// How the test examples are cut; may be empty.
    pub test: SetPlan,
    /// Stop at this many iterations.
    pub iterations_max: u64,
    /// Stop once this share of the test examples is predicted correctly.
    pub target_accuracy: Option<f64>,
    /// When the coordinator's own worker helps.
    pub local_help: LocalHelp,
}

/// When the coordinator's own worker takes part in ordinary work. As the last resort for units
/// that nobody finishes it always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalHelp {
    /// Only as the last resort.
    Never,
    /// Like any volunteer.
    Always,
    /// Until the volunteers together are faster than it.
    Auto,
}

/// Everything that can happen to the engine. Volunteers are named by their session's number.
#[derive(Debug)]
pub enum Input {
    /// Training may begin (or go on, after a resume).
    Begin,
    /// A volunteer is ready for work.
    Joined {
        /// Its session.
        session: u64,
        /// Cores it lends.
        cores: u16,
        /// Whether it is the coordinator's own worker.
        local: bool,
        /// Shards of the training set that it already holds.
        training_shards: Vec<u32>,
    },
    /// A volunteer lends another number of cores; zero pauses it.
    Cores {
        /// Its session.
        session: u64,
        /// Cores it lends now.
        cores: u16,
    },
    /// A volunteer is gone.
    Left {
        /// Its session.
        session: u64,
    },
    /// A volunteer sent a result.
    Result {
        /// Its session.
        session: u64,
        /// The scalars.
        header: ResultHeader,
        /// The vector.
        vector: Option<Vec<i64>>,
    },
    /// A volunteer says that a unit does not fit.
    Unfit {
        /// Its session.
        session: u64,
        /// What it says.
        unfit: Unfit,
    },
    /// A volunteer gives an assignment back.
    Declined {
        /// Its session.
        session: u64,
        /// The assignment.
        assignment: u64,
    },
    /// The referee has computed what [`Output::Measure`] asked for.
    Measured {
        /// The request's plan number ([`RoundPlan::round`]).
        round: u64,
        /// What it found.
        measure: Measure,
    },
    /// Time has passed.
    Tick,
    /// Whoever runs the training wants it to end here.
    Stop,
}

/// What the engine wants done.
#[derive(Debug)]
pub enum Output {
    /// Show this round to every session; it replaces the one before.
    OpenRound {
        /// Its plan.
        plan: RoundPlan,
        /// [`RoundPlan::vectors`] vectors.
        vectors: Vec<Arc<[f32]>>,
    },
    /// Give a volunteer work.
    Assign {
        /// Its session.
        session: u64,
        /// The work.
        assignment: Assignment,
    },
    /// Send a volunteer away.
    Dismiss {
        /// Its session.
        session: u64,
        /// Why, in one sentence.
        text: String,
    },
    /// Have the referee compute one unit and answer with [`Input::Measured`].
    Measure {
        /// The plan it belongs to.
        plan: RoundPlan,
        /// The unit.
        unit: u32,
        /// The plan's vectors.
        vectors: Vec<Arc<[f32]>>,
    },
    /// A point was accepted. The engine is between two rounds: a good moment for a checkpoint.
    Accepted(Accepted),
    /// A line search goes on. The engine is between two rounds.
    Between,
    /// Something a person should know.
    Note(String),
    /// The training has ended; the weights are [`Engine::weights`].
    Finished(StopReason),
}

/// Why a training ended.
#[derive(Debug, Clone, PartialEq)]
pub enum StopReason {
    /// The limit on iterations was reached.
    Iterations(u64),
    /// The target accuracy was reached.
    TargetAccuracy(f64),
    /// The optimiser has nothing more to try.
    Optimiser(optimisers::StopReason),
    /// [`Input::Stop`].
    Interrupted,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Iterations(count) => write!(f, "the limit of {count} iterations was reached"),
            StopReason::TargetAccuracy(target) => {
                write!(f, "the target test accuracy of {target} was reached")
            }
            StopReason::Optimiser(reason) => reason.fmt(f),
            StopReason::Interrupted => write!(f, "interrupted"),
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    optimiser: Optimiser,
    scales: Option<Scales>,
    counters: Counters,
    accepted: Option<Accepted>,
    phase: Phase,
    volunteers: Volunteers,
    /// When a volunteer's result was last counted, or else the round was opened.
    heard_ms: u64,
    /// Nobody was heard for so long that the coordinator's own worker helps whatever its setting.
    /// Outlasts the round: only a volunteer's result ends it.
    left_alone: bool,
    outputs: VecDeque<Output>,
    wake_ms: Option<u64>,
}

#[derive(Debug)]
enum Phase {
    /// [`Input::Begin`] has not come.
    Waiting,
    /// The referee measures the first scales for this round.
    Scaling {
        plan: RoundPlan,
        vectors: Vec<Arc<[f32]>>,
    },
    /// A round is under way, perhaps with wider scales than [`Engine::scales`].
    Open {
        round: Box<Round>,
        referee: Option<Suspicion>,
    },
    Finished(StopReason),
}

/// A report that the referee looks into.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    session: u64,
    unit: u32,
}

impl Engine {
    /// An engine that goes on from `snapshot`.
    pub fn new(settings: Settings, snapshot: Snapshot) -> Engine {
        Engine {
            settings,
            optimiser: snapshot.optimiser,
            scales: snapshot.scales,
            counters: snapshot.counters,
            accepted: snapshot.accepted,
            phase: Phase::Waiting,
            volunteers: Volunteers::default(),
            heard_ms: 0,
            left_alone: false,
            outputs: VecDeque::new(),
            wake_ms: None,
        }
    }

    /// The state to go on from: that of the last moment between two rounds.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            optimiser: self.optimiser.clone(),
            scales: self.scales,
            counters: self.counters,
            accepted: self.accepted,
        }
    }

    /// The weights of the last accepted point.
    pub fn weights(&self) -> &Arc<[f32]> {
        self.optimiser.weights()
    }

    /// The last accepted point.
    pub fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// The run's number.
    pub fn run(&self) -> u64 {
        self.settings.run
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether the training has nothing to do: the point it stands at is the one to stop at.
    pub fn is_at_its_end(&self) -> bool {
        self.stop_rule().is_some()
    }

    /// Units accounted for and units in all, while a round is open.
    pub fn round_progress(&self) -> Option<(u32, u32)> {
        let Phase::Open { round, .. } = &self.phase else { return None };
        Some((round.done(), round.plan.units()))
    }

    /// Why the training ended, once it has.
    pub fn stop_reason(&self) -> Option<&StopReason> {
        match &self.phase {
            Phase::Finished(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether the coordinator's own worker takes part in ordinary work at present.
    pub fn local_helps(&self) -> bool {
        scheduler::local_helps(self.settings.local_help, &self.volunteers)
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::Tick`] if nothing else happens before. Always later than the last
    /// input.
    pub fn wake_ms(&self) -> Option<u64> {
        self.wake_ms
    }

    /// Takes in what happened at `now_ms` (any monotonic clock).
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        match input {
            Input::Begin => {
                if matches!(self.phase, Phase::Waiting) {
                    self.go_on(now_ms);
                }
            }
            Input::Joined { session, cores, local, training_shards } => {
                let existing = |shard: &u32| (*shard as usize) < self.settings.training.shards.len();
                let shards = training_shards.into_iter().filter(existing).map(|shard| (Set::Training, shard));
                self.volunteers.join(session, cores, local, shards.collect());
            }
            Input::Cores { session, cores } => {
                if let Some(volunteer) = self.volunteers.get_mut(session) {
                    volunteer.cores = cores;
                }
            }
            Input::Left { session } => self.remove(session),
            Input::Result { session, header, vector } => {
                self.result(now_ms, session, &header, vector.as_deref())
            }
            Input::Unfit { session, unfit } => self.unfit(now_ms, session, unfit),
            Input::Declined { session, assignment } => self.declined(now_ms, session, assignment),
            Input::Measured { round, measure } => self.measured(now_ms, round, measure),
            Input::Tick => {}
            Input::Stop => {
                if !matches!(self.phase, Phase::Finished(_)) {
                    self.finish(now_ms, StopReason::Interrupted);
                }
            }
        }
        self.hand_out(now_ms);
    }

    // Rounds.

    /// Ends the training if a rule says so, otherwise opens the round that the optimiser asks for;
    /// before the first, has the referee find the scales.
    fn go_on(&mut self, now_ms: u64) {
        if let Some(reason) = self.stop_rule() {
            return self.finish(now_ms, reason);
        }
        let (work, vectors) = match self.optimiser.ask() {
            Ask::Gradient { point, .. } => (Work::Gradient, vec![point]),
            Ask::Losses { base, direction, steps, .. } => (Work::Losses { steps }, vec![base, direction]),
            Ask::Local { .. } => unreachable!("full-batch L-BFGS asks for no local steps"),
            Ask::Stopped(reason) => return self.finish(now_ms, StopReason::Optimiser(reason)),
        };
        let evaluate = work == Work::Gradient && self.settings.test.examples > 0;
        let mut parts = vec![Part { work, set: Set::Training, units: self.settings.training.units() }];
        if evaluate {
            // Evaluating the test examples rides along: it costs no round of its own.
            parts.push(Part { work: Work::Evaluation, set: Set::Test, units: self.settings.test.units() });
        }
        self.counters.version += 1;
        if let Some(scales) = self.scales {
            return self.open(now_ms, parts, vectors, scales);
        }
        let unscaled = Scales { gradient_exponent: 0, loss_exponent: 0, evaluation_exponent: 0 };
        let plan = self.plan(parts, unscaled);
        self.outputs.push_back(Output::Measure { plan: plan.clone(), unit: 0, vectors: vectors.clone() });
        self.phase = Phase::Scaling { plan, vectors };
    }

    fn plan(&mut self, parts: Vec<Part>, scales: Scales) -> RoundPlan {
        self.counters.round += 1;
        let Scales { gradient_exponent, loss_exponent, evaluation_exponent } = scales;
        let Counters { round, version, .. } = self.counters;
        RoundPlan { round, version, gradient_exponent, loss_exponent, evaluation_exponent, parts }
    }

    fn open(&mut self, now_ms: u64, parts: Vec<Part>, vectors: Vec<Arc<[f32]>>, scales: Scales) {
        self.volunteers.forget_tasks(now_ms);
        self.heard_ms = now_ms;
        let plan = self.plan(parts, scales);
        self.outputs.push_back(Output::OpenRound { plan: plan.clone(), vectors: vectors.clone() });
        let round = Round::new(plan, vectors, self.settings.network.parameters());
        self.phase = Phase::Open { round: Box::new(round), referee: None };
    }

    /// Opens the round once more under a new number, all of its results forgotten.
    fn reopen(&mut self, now_ms: u64, parts: Vec<Part>, scales: Scales) {
        if let Phase::Open { round, .. } = &mut self.phase {
            let vectors = std::mem::take(&mut round.vectors);
            self.open(now_ms, parts, vectors, scales);
        }
    }

    fn stop_rule(&self) -> Option<StopReason> {
        let accepted = self.accepted.as_ref()?;
        if let (Some(target), Some(accuracy)) = (self.settings.target_accuracy, accepted.test_accuracy)
            && accuracy >= target
        {
            return Some(StopReason::TargetAccuracy(target));
        }
        let limit = self.settings.iterations_max;
        (accepted.iteration >= limit).then_some(StopReason::Iterations(limit))
    }

    fn finish(&mut self, now_ms: u64, reason: StopReason) {
        self.volunteers.forget_tasks(now_ms);
        self.phase = Phase::Finished(reason.clone());
        self.outputs.push_back(Output::Finished(reason));
    }

    // Answers.

    fn result(&mut self, now_ms: u64, session: u64, header: &ResultHeader, vector: Option<&[i64]>) {
        let assignment = header.assignment;
        let Phase::Open { round, .. } = &mut self.phase else { return };
        if !self.volunteers.owes(session, assignment) {
            return;
        }
        if let Some(group) = round.group_of(assignment) {
            let cuts = Cuts { training: &self.settings.training, test: &self.settings.test };
            let (run, parameters) = (self.settings.run, self.settings.network.parameters());
            let examples = examples(&round.plan, cuts, &group.units);
            let question = Question { run, plan: &round.plan, group, examples, parameters };
            if let Err(text) = validator::judge(question, header, vector) {
                return self.dismiss(session, text);
            }
            round.sums.add(group.part, header, vector);
            round.settle(assignment);
            if self.volunteers.get(session).is_some_and(|volunteer| !volunteer.local) {
                self.heard_ms = now_ms;
                self.left_alone = false;
            }
        }
        // Also when somebody else was first: it tells how fast the volunteer is.
        self.volunteers.delivered(session, assignment, now_ms);
        if round.is_complete() {
            self.complete(now_ms);
        }
    }

    fn declined(&mut self, now_ms: u64, session: u64, assignment: u64) {
        let Phase::Open { round, .. } = &mut self.phase else { return };
        if !self.volunteers.owes(session, assignment) {
            return;
        }
        let cuts = Cuts { training: &self.settings.training, test: &self.settings.test };
        let group = round.group_of(assignment);
        let shards = group.map(|group| scheduler::shards(round, cuts, group.part, &group.units));
        self.volunteers.declined(session, assignment, &shards.unwrap_or_default(), now_ms);
        round.take_back(assignment);
    }

    /// All units are accounted for: tell the optimiser.
    fn complete(&mut self, now_ms: u64) {
        let Phase::Open { round, .. } = std::mem::replace(&mut self.phase, Phase::Waiting) else { return };
        let Round { plan, vectors, sums, .. } = *round;
        let examples = self.settings.training.examples;
        let training = &sums.parts[0];
        let mean = |sum: i64| exact::to_f64(sum, plan.loss_exponent) / f64::from(examples);
        let network = &self.settings.network;
        if let Work::Losses { steps } = &plan.parts[0].work {
            let losses = losses_along(network, &vectors, steps, training, mean);
            return self.tell(now_ms, Tell::Losses(losses), steps.len() as u64, None);
        }
        let weights = &vectors[0];
        let evaluated = sums.parts.get(1).map(|sums| (sums.losses[0], plan.parts[1].units));
        let (loss, units) = (training.losses[0], plan.parts[0].units);
        let scales = Scales::of(&plan).after(&sums.gradient, loss, units, evaluated);
        let gradient = mean_gradient(network, weights, &sums.gradient, plan.gradient_exponent, examples);
        let train_loss = mean(training.losses[0]);
        let test = sums.parts.get(1).map(|sums| {
            let examples = f64::from(self.settings.test.examples);
            let loss = exact::to_f64(sums.losses[0], plan.evaluation_exponent) / examples;
            let classes = matches!(network.task(), Task::Classes(_));
            (loss, classes.then(|| sums.correct as f64 / examples))
        });
        let objective = train_loss + network.penalty(weights);
        let point = Point { train_loss, objective, test, scales };
        self.tell(now_ms, Tell::Gradient { loss: objective, gradient }, 1, Some(point));
    }

    /// The round's point is confirmed not to be finite (or far out of range): an answer like any
    /// other, which makes the optimiser try a shorter step. The next round's scales are those that
    /// this one began with, so that they do not depend on which unit was reported first.
    fn complete_without_value(&mut self, now_ms: u64) {
        let gradient = vec![f32::NAN; self.settings.network.parameters()].into();
        self.tell(now_ms, Tell::Gradient { loss: f64::INFINITY, gradient }, 1, None);
    }

    fn tell(&mut self, now_ms: u64, answer: Tell<f32>, epochs: u64, point: Option<Point>) {
        self.counters.rounds += 1;
        self.counters.epochs += epochs;
        let first = self.optimiser.loss().is_none();
        let norm_at_start = match (&answer, first) {
            (Tell::Gradient { gradient, .. }, true) => norm(gradient),
            _ => 0.0,
        };
        let Progress { accepted, note } =
            self.optimiser.tell(answer).expect("a round answers what the optimiser asked for");
        self.outputs.extend(note.map(Output::Note));
        let (gradient_norm, step) = match accepted {
            Some(accepted) => (accepted.gradient_norm, accepted.step),
            None => (norm_at_start, 0.0),
        };
        match point {
            Some(point) if first || step > 0.0 => {
                let accepted = Accepted {
                    iteration: self.optimiser.iteration(),
                    rounds: self.counters.rounds,
                    epochs: self.counters.epochs,
                    train_loss: point.train_loss,
                    objective: point.objective,
                    test_loss: point.test.map(|(loss, _)| loss),
                    test_accuracy: point.test.and_then(|(_, accuracy)| accuracy),
                    gradient_norm,
                    step,
                };
                self.accepted = Some(accepted);
                // A rejected point may lie far off: its sums say nothing of the next.
                self.scales = Some(point.scales);
                self.outputs.push_back(Output::Accepted(accepted));
            }
            _ => self.outputs.push_back(Output::Between),
        }
        self.go_on(now_ms);
    }

    // Units that do not fit.

    fn unfit(&mut self, now_ms: u64, session: u64, unfit: Unfit) {
        let Phase::Open { round, referee } = &mut self.phase else { return };
        if !self.volunteers.owes(session, unfit.assignment) {
            return;
        }
        let Some(group) = round.group_of(unfit.assignment) else {
            // Somebody else's result was believed already.
            return self.volunteers.gave_up(session, unfit.assignment);
        };
        if unfit.round != round.plan.round || !group.units.iter().any(|range| range.contains(&unfit.unit)) {
            return self.dismiss(session, "a unit that was not asked for");
        }
        if matches!(round.plan.parts[group.part].work, Work::Losses { .. }) {
            // Such units always have a result: it marks the step lengths that do not fit.
            return self.convict(now_ms, session);
        }
        round.withdraw(unfit.assignment);
        self.volunteers.gave_up(session, unfit.assignment);
        if referee.is_none() {
            *referee = Some(Suspicion { session, unit: unfit.unit });
            let (plan, vectors) = (round.plan.clone(), round.vectors.clone());
            self.outputs.push_back(Output::Measure { plan, unit: unfit.unit, vectors });
        }
    }

    fn measured(&mut self, now_ms: u64, number: u64, measure: Measure) {
        match &mut self.phase {
            Phase::Scaling { plan, vectors } if plan.round == number => {
                let (parts, vectors) = (std::mem::take(&mut plan.parts), std::mem::take(vectors));
                let scales = Scales::for_unit(measure.largest_gradient, measure.loss);
                self.scales = Some(scales);
                self.open(now_ms, parts, vectors, scales);
            }
            Phase::Open { round, referee } if round.plan.round == number => {
                if let Some(suspicion) = referee.take() {
                    self.rule_on(now_ms, suspicion, measure);
                }
            }
            _ => {}
        }
    }

    /// Whatever the referee has found out about a unit, the round cannot go on as it is.
    fn rule_on(&mut self, now_ms: u64, suspicion: Suspicion, measure: Measure) {
        if measure.finite && measure.gradient_fits && measure.loss_fits {
            return self.convict(now_ms, suspicion.session);
        }
        let (Phase::Open { round, .. }, Some(first)) = (&self.phase, self.scales) else { return };
        let (index, _) = round.plan.locate(suspicion.unit).expect("checked when it was reported");
        let mut parts = round.plan.parts.clone();
        let is_evaluation = round.plan.parts[index].work == Work::Evaluation;
        let misfit = Misfit {
            gradient: !measure.gradient_fits,
            loss: !measure.loss_fits && !is_evaluation,
            evaluation: !measure.loss_fits && is_evaluation,
        };
        let wider = first.widened(Scales::of(&round.plan), misfit);
        if let Some(wider) = wider.filter(|_| measure.finite) {
            self.note(
                "values have outgrown the round's fixed point: it is repeated with a wider one, which changes no result",
            );
            return self.reopen(now_ms, parts, wider);
        }
        if is_evaluation {
            // The test examples judge the model, they do not train it: go on without them, and as
            // if they had never been there.
            self.note("the loss of the test examples is not finite at this point");
            parts.truncate(1);
            return self.reopen(now_ms, parts, first);
        }
        self.complete_without_value(now_ms);
    }

    /// A unit was reported unfit that fits: what else that volunteer sent cannot be trusted either.
    fn convict(&mut self, now_ms: u64, session: u64) {
        self.dismiss(session, "a unit was reported unfit that fits");
        if let Phase::Open { round, .. } = &self.phase {
            let (parts, scales) = (round.plan.parts.clone(), Scales::of(&round.plan));
            self.reopen(now_ms, parts, scales);
        }
    }

    fn note(&mut self, text: &str) {
        self.outputs.push_back(Output::Note(text.into()));
    }

    // Volunteers.

    fn remove(&mut self, session: u64) {
        for assignment in self.volunteers.leave(session) {
            if let Phase::Open { round, .. } = &mut self.phase {
                round.take_back(assignment);
            }
        }
    }

    fn dismiss(&mut self, session: u64, text: &str) {
        if self.volunteers.get(session).is_some() {
            self.remove(session);
            self.outputs.push_back(Output::Dismiss { session, text: text.into() });
        }
    }

    fn hand_out(&mut self, now_ms: u64) {
        self.wake_ms = None;
        let Phase::Open { round, .. } = &mut self.phase else { return };
        let last_resort_ms = self.heard_ms + LAST_RESORT_MS;
        self.left_alone |= now_ms >= last_resort_ms;
        let local_helps =
            self.left_alone || scheduler::local_helps(self.settings.local_help, &self.volunteers);
        let scheduler = Scheduler {
            round,
            volunteers: &mut self.volunteers,
            cuts: Cuts { training: &self.settings.training, test: &self.settings.test },
            assignment: &mut self.counters.assignment,
            local_helps,
            now_ms,
        };
        let handed = scheduler.hand_out();
        let assign = |(session, assignment)| Output::Assign { session, assignment };
        self.outputs.extend(handed.assignments.into_iter().map(assign));
        let last_resort_ms = (!self.left_alone).then_some(last_resort_ms);
        self.wake_ms = handed.again_ms.into_iter().chain(last_resort_ms).min();
    }
}

/// What a gradient round found out about its point.
#[derive(Debug, Clone, Copy)]
struct Point {
    train_loss: f64,
    objective: f64,
    test: Option<(f64, Option<f64>)>,
    /// For the rounds after it, if it is accepted.
    scales: Scales,
}

/// The objective at each step length of a scalars-only round; infinite where a unit did not fit.
fn losses_along(
    network: &Network,
    vectors: &[Arc<[f32]>],
    steps: &[f32],
    sums: &aggregator::PartSums,
    mean: impl Fn(i64) -> f64,
) -> Vec<f64> {
    let objective = |(index, (&step, &sum)): (usize, (&f32, &i64))| {
        if sums.unfit_steps >> index & 1 == 1 {
            return f64::INFINITY;
        }
        let point: Vec<f32> = trial_point(&vectors[0], &vectors[1], step).collect();
        mean(sum) + network.penalty(&point)
    };
    steps.iter().zip(&sums.losses).enumerate().map(objective).collect()
}

/// Examples that these units of the round cover.
fn examples(plan: &RoundPlan, cuts: Cuts<'_>, units: &[Range<u32>]) -> u64 {
    let located = units.iter().cloned().flatten().filter_map(|unit| plan.locate(unit));
    located.map(|(part, unit)| cuts.of(plan.parts[part].set).examples_of(unit).len() as u64).sum()
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}
