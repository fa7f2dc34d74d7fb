//! The engine: everything that decides what a run computes and who computes it.
//!
//! It is pure. [`Engine::handle`] takes one [`Input`] and the time; then [`Engine::poll_output`] is
//! drained; [`Engine::wake_ms`] says when to call again if nothing happens. No clock, no file, no
//! socket, no thread and no randomness is reachable from here, so a whole run with its churn and
//! failures can be replayed in a test, and the weights are a function of the data, the
//! configuration and the seed alone.
//!
//! The walk of a round: the [optimizer](optimizers) asks for a point; [`Engine`] opens a round
//! there; the scheduler hands out units; the validator judges what comes back; the
//! [aggregator] sums it exactly; the optimizer is told. Between two rounds the state is a
//! [`Snapshot`].

#![forbid(unsafe_code)]

mod advice;
pub mod aggregator;
mod course;
pub mod decoder;
pub mod optimizers;
mod round;
mod scheduler;
mod snapshot;
mod stopping;
mod tally;
mod validator;
mod volunteers;

use std::collections::VecDeque;
use std::sync::Arc;

use model::Network;
use protocol::message::{ResultHeader, Unfit};
use protocol::plan::{Assignment, Part, RoundPlan, Selection, Set, SetPlans, Work};

use advice::Advice;
use aggregator::{Misfit, Scales};
use decoder::Message;
use optimizers::{Ask, Batch, Optimizer, Progress, Segment, Tell};
use round::{Cuts, Round};
use scheduler::Scheduler;
use tally::{Evaluation, Tally};
use validator::Question;
use volunteers::Volunteers;

pub use course::{Best, Course};
pub use protocol::measure::Measure;
pub use scheduler::{LAST_RESORT_MS, OUTSTANDING_MAX, REST_MS};
pub use snapshot::{Accepted, Counters, KnownScales, Snapshot, Statistics};
pub use stopping::{StopReason, StopRules};

/// What defines the run for the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names the run; results of other runs are refused.
    pub run: u64,
    /// The network being trained.
    pub network: Network,
    /// How the examples are cut.
    pub sets: SetPlans,
    /// Keys the run's random orders and masks.
    pub seed: u64,
    /// Examples of one gradient step.
    pub minibatch: u32,
    /// When to stop.
    pub stop: StopRules,
    /// Points are evaluated every so many rounds; `None`: see [`Course`].
    pub evaluate_every: Option<u64>,
    /// Whether the training set is evaluated too, where no round measures it anyway.
    pub evaluate_training: bool,
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
    /// A volunteer is gone.
    Left {
        /// Its session.
        session: u64,
    },
    /// A volunteer that has joined says something.
    Message {
        /// Its session.
        session: u64,
        /// The message, decoded.
        message: Message,
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
    /// So does the clock: the time given to the training is over.
    TimeIsUp {
        /// The time given.
        seconds: u64,
    },
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

/// See the module's description.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    optimizer: Optimizer,
    scales: KnownScales,
    statistics: Statistics,
    counters: Counters,
    accepted: Option<Accepted>,
    course: Course,
    phase: Phase,
    volunteers: Volunteers,
    /// When a volunteer's result was last counted, or else the round was opened.
    heard_ms: u64,
    /// Nobody was heard for so long that the coordinator's own worker helps whatever its setting.
    /// Outlasts the round: only a volunteer's result ends it.
    left_alone: bool,
    /// When the round was opened, for the last time if it was more than once.
    opened_ms: u64,
    advice: Advice,
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
            optimizer: snapshot.optimizer,
            scales: snapshot.scales,
            statistics: snapshot.statistics,
            counters: snapshot.counters,
            accepted: snapshot.accepted,
            course: snapshot.course,
            phase: Phase::Waiting,
            volunteers: Volunteers::default(),
            heard_ms: 0,
            left_alone: false,
            opened_ms: 0,
            advice: Advice::default(),
            outputs: VecDeque::new(),
            wake_ms: None,
        }
    }

    /// The state to go on from: that of the last moment between two rounds.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            optimizer: self.optimizer.clone(),
            scales: self.scales,
            statistics: self.statistics.clone(),
            counters: self.counters,
            accepted: self.accepted,
            course: self.course.clone(),
        }
    }

    /// The weights of the last accepted point, with the statistics it was evaluated with.
    pub fn weights(&self) -> Arc<[f32]> {
        with_tail(self.optimizer.weights(), &self.statistics.accepted)
    }

    /// The last accepted point.
    pub fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// The accepted point with the lowest validation loss, whose weights are the ones to keep; `None` without a
    /// validation set.
    pub fn best(&self) -> Option<&Best> {
        self.course.best()
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
                let existing = |shard: &u32| (*shard as usize) < self.settings.sets.training.shards.len();
                let shards = training_shards.into_iter().filter(existing).map(|shard| (Set::Training, shard));
                self.volunteers.join(session, cores, local, shards.collect());
            }
            Input::Left { session } => self.remove(session),
            Input::Message { session, message } => self.message(now_ms, session, message),
            Input::Measured { round, measure } => self.measured(now_ms, round, measure),
            Input::Tick => {}
            Input::Stop => self.break_off(now_ms, StopReason::Interrupted),
            Input::TimeIsUp { seconds } => self.break_off(now_ms, StopReason::Time(seconds)),
        }
        self.hand_out(now_ms);
    }

    fn message(&mut self, now_ms: u64, session: u64, message: Message) {
        match message {
            Message::Cores(cores) => {
                if let Some(volunteer) = self.volunteers.get_mut(session) {
                    volunteer.cores = cores;
                }
            }
            Message::Result { header, vector } => self.result(now_ms, session, &header, vector.as_deref()),
            Message::Unfit(unfit) => self.unfit(now_ms, session, unfit),
            Message::Declined { assignment, .. } => self.declined(now_ms, session, assignment),
        }
    }

    // Rounds.

    /// Ends the training if a rule says so, otherwise opens the round that the optimizer asks for;
    /// before the first, has the referee find the scales.
    fn go_on(&mut self, now_ms: u64) {
        if let Some(reason) = self.stop_rule() {
            return self.finish(now_ms, reason);
        }
        let ask = self.optimizer.ask();
        if let Ask::Local { replicas, .. } = ask {
            let lent = self.volunteers.iter().map(|(_, volunteer)| u32::from(volunteer.cores)).sum();
            self.outputs.extend(self.advice.of_replicas(lent, replicas).map(Output::Note));
        }
        let training = |work: Work, batch: Batch| match batch {
            Batch::Full => vec![Part::in_turn(work, Set::Training, self.settings.sets.training.units())],
            Batch::Segments(segments) => {
                let drawn = |Segment { first, units }| Part {
                    selection: Selection::Drawn { first },
                    ..Part::in_turn(work.clone(), Set::Training, units)
                };
                segments.into_iter().map(drawn).collect()
            }
        };
        let tail = self.statistics_to_send();
        let (mut parts, vectors, mask_epoch) = match ask {
            Ask::Gradient { point, batch, mask_epoch } => {
                (training(Work::Gradient, batch), vec![with_tail(&point, tail)], mask_epoch)
            }
            Ask::Losses { base, direction, steps, batch, mask_epoch } => {
                let no_change: Arc<[f32]> = vec![0.0; tail.len()].into();
                let vectors = vec![with_tail(&base, tail), with_tail(&direction, &no_change)];
                (training(Work::Losses { steps }, batch), vectors, mask_epoch)
            }
            Ask::Local { point, replicas, steps, learning_rate, draw } => {
                let work = Work::Local { steps, learning_rate, draw };
                (vec![Part::in_turn(work, Set::Training, replicas)], vec![with_tail(&point, tail)], draw)
            }
            Ask::Stopped(reason) => return self.finish(now_ms, StopReason::Optimizer(reason)),
        };
        let finds_a_point = parts.iter().any(|part| part.work.has_vector());
        if finds_a_point {
            parts.extend(self.evaluations(&parts));
        }
        self.counters.version += 1;
        if let Some(scales) = *self.scales.of(&parts[0].work) {
            return self.open(now_ms, parts, vectors, mask_epoch, scales);
        }
        let plan = self.plan(parts, mask_epoch, Scales::default());
        self.outputs.push_back(Output::Measure { plan: plan.clone(), unit: 0, vectors: vectors.clone() });
        self.phase = Phase::Scaling { plan, vectors };
    }

    /// Batch statistics that go out with the next point: as long as it is the start, the first.
    fn statistics_to_send(&self) -> &Arc<[f32]> {
        let Statistics { accepted, running } = &self.statistics;
        if self.optimizer.has_set_out() { running } else { accepted }
    }

    fn plan(&mut self, parts: Vec<Part>, mask_epoch: u64, scales: Scales) -> RoundPlan {
        self.counters.round += 1;
        let Scales { vector_exponent, statistics_exponent, loss_exponent, evaluation_exponent } = scales;
        let Counters { round, version, .. } = self.counters;
        RoundPlan {
            round,
            version,
            vector_exponent,
            statistics_exponent,
            loss_exponent,
            evaluation_exponent,
            mask_epoch,
            parts,
        }
    }

    fn open(
        &mut self,
        now_ms: u64,
        parts: Vec<Part>,
        vectors: Vec<Arc<[f32]>>,
        mask_epoch: u64,
        scales: Scales,
    ) {
        self.volunteers.forget_tasks(now_ms);
        self.heard_ms = now_ms;
        self.opened_ms = now_ms;
        let plan = self.plan(parts, mask_epoch, scales);
        self.outputs.push_back(Output::OpenRound { plan: plan.clone(), vectors: vectors.clone() });
        let round = Round::new(plan, vectors, self.settings.network.parameters(), self.settings.cuts());
        self.phase = Phase::Open { round: Box::new(round), referee: None };
    }

    /// Opens the round once more under a new number, all of its results forgotten.
    fn reopen(&mut self, now_ms: u64, parts: Vec<Part>, scales: Scales) {
        if let Phase::Open { round, .. } = &mut self.phase {
            let (vectors, mask_epoch) = (std::mem::take(&mut round.vectors), round.plan.mask_epoch);
            self.open(now_ms, parts, vectors, mask_epoch, scales);
        }
    }

    fn stop_rule(&self) -> Option<StopReason> {
        let examples = self.settings.sets.training.examples;
        self.settings.stop.reason(self.accepted.as_ref(), &self.course, self.counters, examples)
    }

    /// Evaluations that ride along with a round of these parts: they cost no round of their own. Besides those that
    /// are due there are those of a round that may be the last, so that it ends with figures.
    fn evaluations(&self, parts: &[Part]) -> Vec<Part> {
        let Settings { sets, stop, .. } = &self.settings;
        let may_end = || {
            let cuts = self.settings.cuts();
            let examples = |part: &Part| cuts.size(part, &part.lay_out(cuts.of(part.set), cuts.seed)).0;
            let examples = self.counters.examples + parts.iter().map(examples).sum::<u64>();
            let then = Counters { rounds: self.counters.rounds + 1, examples, ..self.counters };
            stop.may_end(self.optimizer.iteration(), then, sets.training.examples)
        };
        if !self.evaluation_is_due() && !may_end() {
            return Vec::new();
        }
        let measured = !self.settings.evaluate_training || self.settings.measures_training_set(parts);
        let wanted = [Set::Test, Set::Validation].into_iter().chain((!measured).then_some(Set::Training));
        let part = |set: Set| Part::in_turn(Work::Evaluation, set, sets.of(set).units());
        wanted.map(part).filter(|part| part.units > 0).collect()
    }

    /// The same until the next round is told of.
    fn evaluation_is_due(&self) -> bool {
        let Settings { evaluate_every, sets, .. } = &self.settings;
        // Of several rounds at the start point the first that has a value evaluates it.
        let is_known = self.accepted.is_some() && !self.optimizer.has_set_out();
        !is_known && self.course.evaluation_is_due(*evaluate_every, self.counters, sets.training.examples)
    }

    /// Ends the training wherever it is. A round under way is lost, and the weights are those of before it.
    fn break_off(&mut self, now_ms: u64, reason: StopReason) {
        if !matches!(self.phase, Phase::Finished(_)) {
            self.finish(now_ms, reason);
        }
    }

    fn finish(&mut self, now_ms: u64, reason: StopReason) {
        if !self.optimizer.has_set_out() {
            self.outputs.extend(self.accepted.map(Output::Accepted));
        }
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
            let (run, parameters) = (self.settings.run, self.settings.network.parameters());
            let examples = round.examples(self.settings.cuts(), group.part, &group.units);
            let question = Question { run, plan: &round.plan, group, examples, parameters };
            if let Err(text) = validator::judge(question, header, vector) {
                return self.dismiss(session, text);
            }
            round.sums.add(group.part, header, vector);
            round.settle(assignment, session);
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
        let group = round.group_of(assignment);
        let shards = group.map(|group| round.shards(self.settings.cuts(), group.part, &group.units));
        self.volunteers.declined(session, assignment, &shards.unwrap_or_default(), now_ms);
        round.take_back(assignment);
    }

    /// All units are accounted for: tell the optimizer.
    fn complete(&mut self, now_ms: u64) {
        let Phase::Open { round, .. } = std::mem::replace(&mut self.phase, Phase::Waiting) else { return };
        self.time(now_ms, &round);
        let tally = Tally::new(&round, &self.settings);
        if let Work::Losses { steps } = &round.plan.parts[0].work {
            let losses = tally.losses_along(steps);
            return self.tell(now_ms, Tell::Losses(losses), tally.examples * steps.len() as u64, None);
        }
        let answer = match round.plan.parts[0].work {
            Work::Local { .. } => {
                Tell::Local { loss: tally.objective(), displacement: tally.mean_displacement() }
            }
            _ if round.plan.parts[0].selection == Selection::InTurn => {
                Tell::Gradient { loss: tally.objective(), gradient: tally.gradient(0) }
            }
            _ => Tell::Segments(tally.segments()),
        };
        let is_due = self.evaluation_is_due();
        let point = Point {
            work: round.plan.parts[0].work.clone(),
            train_loss: tally.train_loss(),
            objective: tally.objective(),
            training_set_loss: tally.training_set_loss(),
            validation: tally.evaluation(Set::Validation),
            test: tally.evaluation(Set::Test),
            scales: tally.scales(self.scales.of(&round.plan.parts[0].work).unwrap_or_default(), is_due),
            statistics: Statistics {
                accepted: Arc::clone(self.statistics_to_send()),
                running: tally.statistics(self.statistics_to_send()),
            },
        };
        self.tell(now_ms, answer, tally.examples, Some(point));
    }

    /// Gives advice where a round of local steps is mostly spent on its way.
    fn time(&mut self, now_ms: u64, round: &Round) {
        let Work::Local { steps, .. } = round.plan.parts[0].work else { return };
        let local_helps = self.local_helps();
        let helping = || self.volunteers.iter().map(|(_, one)| one).filter(|one| local_helps || !one.local);
        let cores: u32 = helping().map(|one| u32::from(one.cores)).sum();
        // More cores than replicas is another matter, and told of in other words.
        if cores > round.plan.parts[0].units {
            return;
        }
        let speed: f64 = helping().map(|one| f64::from(one.cores) * one.core_speed_at_best).sum();
        let parts = round.plan.parts.iter().zip(round.parts());
        let cost: f64 = parts.map(|(part, state)| f64::from(part.units) * state.unit_cost).sum();
        let advice = self.advice.of_steps(steps, (now_ms - self.opened_ms) as f64, cost / speed);
        self.outputs.extend(advice.map(Output::Note));
    }

    /// The round's point is confirmed not to be finite (or far out of range): an answer like any
    /// other, which makes the optimizer try something else. The next round's scales are those that
    /// this one began with, so that they do not depend on which unit was reported first.
    fn complete_without_value(&mut self, now_ms: u64) {
        let Phase::Open { round, .. } = std::mem::replace(&mut self.phase, Phase::Waiting) else { return };
        let nothing: Arc<[f32]> = vec![f32::NAN; self.settings.network.trainable()].into();
        let part = &round.plan.parts[0];
        let segments = round.plan.parts.iter().filter(|part| part.work == Work::Gradient).count();
        let answer = match (&part.work, part.selection) {
            (Work::Local { .. }, _) => Tell::Local { loss: f64::INFINITY, displacement: nothing },
            (_, Selection::Drawn { .. }) => Tell::Segments(vec![(f64::INFINITY, nothing); segments]),
            (_, Selection::InTurn) => Tell::Gradient { loss: f64::INFINITY, gradient: nothing },
        };
        let examples = Tally::new(&round, &self.settings).examples;
        self.tell(now_ms, answer, examples, None);
    }

    /// Tells the optimizer what came of a round that went through so many training examples.
    fn tell(&mut self, now_ms: u64, answer: Tell<f32>, examples: u64, point: Option<Point>) {
        let (before, evaluation_was_due) = (self.counters, self.evaluation_is_due());
        self.counters.rounds += 1;
        self.counters.examples += examples;
        let (last_loss, had_set_out) = (self.optimizer.loss(), self.optimizer.has_set_out());
        let (has_gradient, norm_at_start) = match &answer {
            Tell::Gradient { gradient, .. } => (true, norm(gradient)),
            Tell::Segments(segments) => (true, segments.first().map_or(0.0, |(_, gradient)| norm(gradient))),
            Tell::Local { displacement, .. } => (false, norm(displacement)),
            Tell::Losses(_) => (false, 0.0),
        };
        let Progress { accepted: step, note, starts_afresh } =
            self.optimizer.tell(answer).expect("a round answers what the optimizer asked for");
        self.outputs.extend(note.map(Output::Note));
        let is_start = !had_set_out && self.optimizer.loss() != last_loss;
        if let Some(point) = point.filter(|_| is_start || step.is_some()) {
            let new = Accepted {
                iteration: self.optimizer.iteration(),
                rounds: if is_start { 0 } else { before.rounds },
                epochs: if is_start { 0.0 } else { before.epochs(self.settings.sets.training.examples) },
                train_loss: point.train_loss,
                objective: point.objective,
                training_set_loss: point.training_set_loss,
                validation_loss: point.validation.map(|found| found.loss),
                validation_accuracy: point.validation.and_then(|found| found.accuracy),
                test_loss: point.test.map(|found| found.loss),
                test_accuracy: point.test.and_then(|found| found.accuracy),
                gradient_norm: step.as_ref().map_or(norm_at_start, |step| step.gradient_norm),
                step: step.as_ref().map_or(0.0, |step| step.step),
            };
            let Accepted { train_loss, objective, gradient_norm, .. } = new;
            self.accepted = Some(match self.accepted.filter(|_| is_start) {
                // Another learning rate there: another way on, from the same point.
                Some(start) => Accepted { train_loss, objective, gradient_norm, ..start },
                None => new,
            });
            // A rejected point may lie far off: its sums say nothing of the next.
            *self.scales.of(&point.work) = Some(point.scales);
            self.statistics = point.statistics;
        }
        if starts_afresh {
            self.scales.local = None;
        }
        let sets_out = !had_set_out && self.optimizer.has_set_out();
        match self.accepted.filter(|_| sets_out || step.is_some()) {
            Some(accepted) => {
                self.course.note(&accepted, has_gradient);
                if sets_out || evaluation_was_due {
                    let validates = self.settings.sets.validation.examples > 0;
                    let weights = || with_tail(self.optimizer.weights(), &self.statistics.accepted);
                    // Nothing led to the start point.
                    let before = if sets_out { Counters::default() } else { before };
                    self.course.note_evaluation(&accepted, before, validates, weights);
                }
                self.outputs.push_back(Output::Accepted(accepted));
            }
            None => self.outputs.push_back(Output::Between),
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
                let (mask_epoch, scales) = (plan.mask_epoch, Scales::for_unit(&measure));
                *self.scales.of(&parts[0].work) = Some(scales);
                self.open(now_ms, parts, vectors, mask_epoch, scales);
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
        if measure.fits() {
            return self.convict(now_ms, suspicion.session);
        }
        let Phase::Open { round, .. } = &self.phase else { return };
        let Some(first) = *self.scales.of(&round.plan.parts[0].work) else { return };
        let (index, _) = round.plan.locate(suspicion.unit).expect("checked when it was reported");
        let mut parts = round.plan.parts.clone();
        let is_evaluation = round.plan.parts[index].work == Work::Evaluation;
        let misfit = Misfit {
            vector: !measure.vector_fits,
            statistics: !measure.statistics_fit,
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
            // Such examples judge the model, they do not train it: go on without them, and as if
            // they had never been there.
            self.note(match parts.remove(index).set {
                Set::Training => "the loss of the training examples is not finite in inference at this point",
                Set::Validation => "the loss of the validation examples is not finite at this point",
                Set::Test => "the loss of the test examples is not finite at this point",
            });
            return self.reopen(now_ms, parts, first);
        }
        self.complete_without_value(now_ms);
    }

    /// A unit was reported unfit that fits: what else that volunteer sent cannot be trusted either. If
    /// that is nothing, only what it and others reported has to be computed after all, so that somebody
    /// who comes back again and again does not hold up the round.
    fn convict(&mut self, now_ms: u64, session: u64) {
        self.dismiss(session, "a unit was reported unfit that fits");
        let Phase::Open { round, .. } = &mut self.phase else { return };
        if round.counts_results_of(session) {
            let (parts, scales) = (round.plan.parts.clone(), Scales::of(&round.plan));
            self.reopen(now_ms, parts, scales);
        } else {
            round.restore();
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
            cuts: self.settings.cuts(),
            assignment: &mut self.counters.assignment,
            local_helps,
            left_alone: self.left_alone,
            now_ms,
        };
        let handed = scheduler.hand_out();
        let assign = |(session, assignment)| Output::Assign { session, assignment };
        self.outputs.extend(handed.assignments.into_iter().map(assign));
        let last_resort_ms = (!self.left_alone).then_some(last_resort_ms);
        self.wake_ms = handed.again_ms.into_iter().chain(last_resort_ms).min();
    }
}

impl Settings {
    fn cuts(&self) -> Cuts<'_> {
        let Settings { sets, seed, minibatch, .. } = self;
        Cuts { sets, seed: *seed, minibatch: *minibatch }
    }

    /// Whether a round of these parts finds out the mean loss over the training set in inference.
    fn measures_training_set(&self, parts: &[Part]) -> bool {
        let is_full = |part: &Part| part.work == Work::Gradient && part.selection == Selection::InTurn;
        self.network.infers_as_it_trains() && parts.first().is_some_and(is_full)
    }
}

/// What a round found out about its point, for when it is accepted.
#[derive(Debug, Clone)]
struct Point {
    work: Work,
    train_loss: f64,
    objective: f64,
    training_set_loss: Option<f64>,
    validation: Option<Evaluation>,
    test: Option<Evaluation>,
    /// For the rounds after it.
    scales: Scales,
    statistics: Statistics,
}

/// Parameters and the statistics that follow them. Nothing is copied where there are none.
fn with_tail(parameters: &Arc<[f32]>, tail: &[f32]) -> Arc<[f32]> {
    if tail.is_empty() { Arc::clone(parameters) } else { parameters.iter().chain(tail).copied().collect() }
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}
