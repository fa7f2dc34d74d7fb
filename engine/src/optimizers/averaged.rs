//! Rounds of local steps. Every replica starts at the same point and walks through its own part of the
//! training examples in small minibatches. The replicas' mean displacement decides the next point.
//!
//! The mean displacement d plays the part of a gradient: it is zero where the replicas on average stay put.
//! With [`Outer::Lbfgs`], L-BFGS on the pseudo-gradient g = -d finds the next point. A curvature pair has y =
//! g_new - g_old between two accepted points, damped as in L-BFGS. The step -H g is cut to [`LONGEST_STEP`]
//! times the length of d. An iteration takes one round and no other messages.
//!
//! The loss of the round's own minibatches guards the steps. The optimizer rejects a point whose loss is not
//! finite or has risen by more than [`TOLERATED_RISE`]. It goes back to the last good point and forgets all
//! curvature. If curvature shaped the rejected step, it takes the mean displacement itself instead. If the
//! step already was the mean displacement, the learning rate is too high: the optimizer halves it and repeats
//! the round at the last good point. A given learning rate is on probation for the first [`PROBATION`] steps,
//! each of which must lower the loss well. Otherwise the optimizer goes back to the start and looks for a
//! lower rate or, if the loss has not risen, for a better one.
//!
//! The first step reveals a given rate that is far too low: replicas that stop far short of their goal move
//! in nearly the same direction in the next round. If the cosine of the angle between the two displacements
//! is at least [`SAME_WAY`], the optimizer tries higher rates from the new point for as long as they lower
//! the loss. (On MNIST, 784-128-10, the cosine is 0.62 to 0.76 with suitable rates, whatever the replicas and
//! steps, and 0.79 to 0.89 with a tenth of them.)

use std::sync::Arc;

use model::trial_point;
use serde::{Deserialize, Serialize};

use super::curvature::{Evaluated, Lesson, learn_into};
use super::learning_rate::{LearningRate, Schedule, Search, Verdict};
use super::memory::Memory;
use super::pair::CurvaturePair;
use super::vectors::{dot, fill, norm, zeros};
use super::{Ask, Halt, Iteration, Progress, Tell, TellError, check_length};

/// The maximum length of a step shaped by curvature, as a multiple of the mean displacement's length.
const LONGEST_STEP: f64 = 10.0;
/// A point is rejected if its loss is above this multiple of the last good one's.
const TOLERATED_RISE: f64 = 1.05;
/// Number of first steps that test a given learning rate: a rate far too high can kill a network without its
/// loss ever rising.
const PROBATION: u64 = 2;
/// Each step on probation must bring the loss below this multiple of the last.
const FALL_ON_PROBATION: f64 = 0.98;
/// The optimizer tries higher rates if the cosine between the first two displacements is at least this.
const SAME_WAY: f64 = 0.78;
/// Maximum rejected points in a row before the optimizer stops.
const REJECTIONS_MAX: u32 = 16;
/// Maximum iterations in a row with exactly the same loss before the optimizer stops.
const FLAT_ITERATIONS_MAX: u32 = 10;
/// The step length of outer momentum along its direction (Douillard et al., 2023).
const MOMENTUM_STEP: f64 = 0.7;

/// The user's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AveragedSettings {
    /// Replicas per round (R), at least 1.
    pub replicas: u32,
    /// Minibatch steps per replica (K), at least 1.
    pub steps: u32,
    /// The replicas' learning rate.
    pub learning_rate: LearningRate,
    /// How the learning rate changes during the run.
    pub schedule: Schedule,
    /// How the mean displacement becomes a step.
    pub outer: Outer,
}

/// How the mean displacement d becomes a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Outer {
    /// L-BFGS on g = -d.
    Lbfgs {
        /// Curvature pairs remembered (m); 0 counts as 1.
        memory: usize,
    },
    /// Nesterov's momentum: v = `momentum` v + d, step 0.7 (d + `momentum` v) (DiLoCo, Douillard et al.,
    /// 2023). With a momentum of 0 the step is d: plain parameter averaging.
    Momentum {
        /// The part of the velocity that carries over to the next round, below 1.
        momentum: f32,
    },
}

/// The complete state. Cloning is cheap: vectors are shared.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "State")]
pub struct Averaged(State);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    settings: AveragedSettings,
    /// The last accepted point.
    accepted: Arc<[f32]>,
    /// Where the next round starts: the accepted point, or the start point while the optimizer tries learning
    /// rates there.
    weights: Arc<[f32]>,
    /// The result of the last good round at `weights`; `None` before the first.
    base: Option<Base>,
    iteration: u64,
    /// Answers received so far; the draw of the next round.
    rounds: u64,
    /// The learning rate before the schedule's factor.
    learning_rate: f32,
    /// The point to return to while the learning rate is on probation.
    start: Option<Start>,
    /// Points rejected since the last accepted one.
    rejections: u32,
    /// Iterations since the loss last changed.
    flat_iterations: u32,
    memory: Memory<f32>,
    /// The velocity v of momentum; empty until the first step.
    velocity: Arc<[f32]>,
    phase: Phase,
}

/// The result of a round at the accepted point.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Base {
    loss: f64,
    /// The negated mean displacement.
    gradient: Arc<[f32]>,
    gradient_norm: f64,
    /// The learning rate of that round, schedule included.
    learning_rate: f32,
}

/// The start point, and the result of its round if that was finite.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Start {
    weights: Arc<[f32]>,
    base: Option<Base>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Phase {
    /// Waiting for a round with the search's learning rate, at the start point or at the point reached.
    Searching(Search),
    /// Waiting for a round at the accepted point.
    Here,
    /// Waiting for a round at the next point.
    There(Step),
    /// Waiting for nothing.
    Stopped(Halt),
}

/// A step to a point that has not been judged yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Step {
    point: Arc<[f32]>,
    /// Its length along the direction: less than 1 if it was cut.
    length: f32,
    /// Whether the step is more than the mean displacement itself.
    is_shaped: bool,
}

impl Averaged {
    /// An optimizer that begins at `start`, one value per parameter.
    pub fn new(start: impl Into<Arc<[f32]>>, settings: AveragedSettings) -> Self {
        let memory = match settings.outer {
            Outer::Lbfgs { memory } => memory,
            Outer::Momentum { .. } => 0,
        };
        let (learning_rate, phase) = match settings.learning_rate {
            LearningRate::Given(rate) => (rate, Phase::Here),
            LearningRate::Searched => (0.0, Phase::Searching(Search::new())),
        };
        let weights = start.into();
        let start = matches!(settings.learning_rate, LearningRate::Given(_))
            .then(|| Start { weights: Arc::clone(&weights), base: None });
        Self(State {
            settings,
            accepted: Arc::clone(&weights),
            weights,
            base: None,
            iteration: 0,
            rounds: 0,
            learning_rate,
            start,
            rejections: 0,
            flat_iterations: 0,
            memory: Memory::new(memory),
            velocity: Arc::from([]),
            phase,
        })
    }

    /// The next request; it stays the same until the next successful [`Averaged::tell`].
    pub fn ask(&self) -> Ask<f32> {
        let state = &self.0;
        let point = match &state.phase {
            Phase::Searching(_) | Phase::Here => &state.weights,
            Phase::There(step) => &step.point,
            Phase::Stopped(reason) => return Ask::Stopped(reason.clone()),
        };
        let AveragedSettings { replicas, steps, .. } = state.settings;
        let learning_rate = state.asked_rate();
        Ask::Local { point: Arc::clone(point), replicas, steps, learning_rate, draw: state.rounds }
    }

    /// Takes the answer to the last [`Averaged::ask`].
    ///
    /// # Errors
    /// [`TellError`] if the answer does not match the request; the optimizer is then unchanged.
    pub fn tell(&mut self, answer: Tell<f32>) -> Result<Progress, TellError> {
        let state = &mut self.0;
        if matches!(state.phase, Phase::Stopped(_)) {
            return Err(TellError::Stopped);
        }
        let Tell::Local { loss, displacement } = answer else {
            return Err(TellError::WrongKind { asked: "a displacement", told: answer.kind() });
        };
        check_length(state.weights.len(), displacement.len())?;
        Ok(state.take_in(Found::new(loss, &displacement, state.asked_rate())))
    }

    /// Whether the optimizer is looking for a learning rate.
    pub(super) fn is_searching(&self) -> bool {
        matches!(self.0.phase, Phase::Searching(_))
    }

    /// Whether it looks for a learning rate before anything else, because none was given.
    pub(super) fn is_searching_at_start(&self) -> bool {
        self.0.settings.learning_rate == LearningRate::Searched && self.is_searching()
    }

    /// The last accepted point (the start point until one is accepted).
    #[expect(clippy::misnamed_getters, reason = "a search may set out from another point")]
    pub fn weights(&self) -> &Arc<[f32]> {
        &self.0.accepted
    }

    /// Loss of the last good round that started at [`Averaged::weights`], whose loss falls during the round.
    /// `None` before the first such round.
    pub fn loss(&self) -> Option<f64> {
        self.0.base.as_ref().map(|base| base.loss)
    }

    /// The most curvature pairs that it remembers at a time.
    pub(super) fn pairs_max(&self) -> usize {
        match self.0.settings.outer {
            Outer::Lbfgs { memory } => memory.max(1),
            Outer::Momentum { .. } => 0,
        }
    }

    /// Number of iterations (accepted steps) so far.
    pub fn iteration(&self) -> u64 {
        self.0.iteration
    }

    /// The learning rate of the next round.
    pub fn learning_rate(&self) -> f32 {
        self.0.asked_rate()
    }
}

/// A round's answer.
struct Found {
    base: Base,
    is_finite: bool,
}

impl Found {
    fn new(loss: f64, displacement: &[f32], learning_rate: f32) -> Self {
        let gradient: Arc<[f32]> = displacement.iter().map(|element| -element).collect();
        let gradient_norm = norm(&gradient);
        let is_finite = loss.is_finite() && gradient_norm.is_finite();
        Self { base: Base { loss, gradient, gradient_norm, learning_rate }, is_finite }
    }
}

impl State {
    /// The learning rate of the round asked for. Trials follow the schedule too, as the chosen rate will.
    fn asked_rate(&self) -> f32 {
        let rate = match &self.phase {
            Phase::Searching(search) => search.rate(),
            _ => self.learning_rate,
        };
        (f64::from(rate) * self.settings.schedule.factor(self.iteration)) as f32
    }

    fn take_in(&mut self, found: Found) -> Progress {
        self.rounds += 1;
        let last_rate = self.asked_rate();
        let progress = self.judge(found);
        let starts_afresh = matches!(self.phase, Phase::Searching(_)) && self.asked_rate() < last_rate;
        Progress { starts_afresh, ..progress }
    }

    fn judge(&mut self, found: Found) -> Progress {
        match std::mem::replace(&mut self.phase, Phase::Here) {
            Phase::Searching(search) => self.search(search, found),
            Phase::Here if found.is_finite => {
                // The point is the start point, or the last good one with another learning rate; that changes
                // the round's loss.
                if let Some(start) = &mut self.start {
                    start.base = Some(found.base.clone());
                }
                self.base = Some(found.base);
                self.set_out(None);
                Progress::default()
            }
            Phase::Here => self.reject(None, &found),
            Phase::There(step) if self.goes_the_same_way(&found) => self.accept_and_search(step, found.base),
            Phase::There(step) if self.is_good(&found) => self.accept(step, found.base),
            Phase::There(step) => self.reject(Some(step), &found),
            Phase::Stopped(_) => unreachable!("a stopped optimizer refuses answers"),
        }
    }

    /// Takes a trial of the search for the learning rate. After the last trial, the first iteration begins.
    fn search(&mut self, mut search: Search, found: Found) -> Progress {
        let loss = if found.is_finite { found.base.loss } else { f64::INFINITY };
        if search.is_best(loss) {
            self.base = Some(found.base);
            // A searched rate is not on probation.
            self.start = None;
        }
        let note = match search.tell(loss) {
            Verdict::GoOn => {
                self.phase = Phase::Searching(search);
                None
            }
            Verdict::Chosen(rate) => {
                self.learning_rate = rate;
                self.set_out(None);
                Some(format!("found the learning rate {rate:.3e} by trying a few, a round each"))
            }
            Verdict::NoneFits => {
                self.phase = Phase::Stopped(self.no_start(loss));
                None
            }
        };
        Progress { note, ..Progress::default() }
    }

    /// Explains why no round at the start was finite. A given learning rate may be far too high for any step.
    fn no_start(&self, loss: f64) -> Halt {
        match self.settings.learning_rate {
            LearningRate::Given(rate) => Halt::Diverged { learning_rate: rate.into() },
            LearningRate::Searched => Halt::NonFiniteStart { loss },
        }
    }

    fn is_good(&self, found: &Found) -> bool {
        let tolerated = if self.start.is_some() { FALL_ON_PROBATION } else { TOLERATED_RISE };
        found.is_finite && self.base.as_ref().is_none_or(|base| found.base.loss <= tolerated * base.loss)
    }

    /// Whether the first step shows that the given learning rate is far too low.
    fn goes_the_same_way(&self, found: &Found) -> bool {
        let (Some(old), true) = (&self.base, self.start.is_some() && self.iteration == 0) else {
            return false;
        };
        let new = &found.base;
        let cosine = dot(&old.gradient, &new.gradient) / (old.gradient_norm * new.gradient_norm);
        found.is_finite && new.loss < old.loss && cosine >= SAME_WAY
    }

    /// Moves to the new point and tries higher learning rates there.
    fn accept_and_search(&mut self, step: Step, new: Base) -> Progress {
        let (rate, loss) = (self.learning_rate, new.loss);
        // The curvature pair would mix in displacements at the old rate, so it is not kept.
        let (accepted, _) = self.advance(step, new);
        self.phase = Phase::Searching(Search::above(rate, loss));
        let note = format!(
            "the first two rounds went the same way, as happens when the learning rate is too low: \
             trying rates above {rate:.3e} from here"
        );
        Progress { accepted: Some(accepted), note: Some(note), ..Progress::default() }
    }

    /// Moves to the new point and sets out from it.
    fn accept(&mut self, step: Step, new: Base) -> Progress {
        let (accepted, pair) = self.advance(step, new);
        self.set_out(pair);
        let accepted = Iteration { memory: self.memory.len(), ..accepted };
        Progress { accepted: Some(accepted), ..Progress::default() }
    }

    /// Moves to the new point.
    fn advance(&mut self, step: Step, new: Base) -> (Iteration, Option<CurvaturePair<f32>>) {
        let old = self.base.replace(new);
        let new = self.base.as_ref().expect("`advance` has just set it");
        let (loss, gradient_norm) = (new.loss, new.gradient_norm);
        let mut pair = None;
        let mut damped = false;
        if let Some(old) = old {
            self.flat_iterations = if loss == old.loss { self.flat_iterations + 1 } else { 0 };
            if let Outer::Lbfgs { .. } = self.settings.outer {
                let room = self.memory.room(self.weights.len());
                Lesson { pair, damped } = learn_from(room, &self.weights, &old, &step, new);
            }
        }
        self.weights = step.point;
        self.iteration += 1;
        self.rejections = 0;
        self.accepted = Arc::clone(&self.weights);
        if self.iteration >= PROBATION {
            self.start = None;
        }
        let accepted = Iteration {
            iteration: self.iteration,
            loss,
            gradient_norm,
            step: f64::from(step.length),
            backtracked: false,
            damped,
            memory: self.memory.len(),
        };
        (accepted, pair)
    }

    /// Goes back from a rejected point, or stays at the accepted one if not even its own round was finite.
    fn reject(&mut self, step: Option<Step>, found: &Found) -> Progress {
        self.memory.clear();
        self.velocity = Arc::from([]);
        self.rejections += 1;
        let loss = found.base.loss;
        let last = self.base.as_ref().map(|base| base.loss);
        let has_risen = last.is_none_or(|last| loss > last);
        let what = match last {
            Some(last) if found.is_finite && has_risen => {
                format!("the loss rose from {last:.4} to {loss:.4}")
            }
            Some(last) if found.is_finite => format!("the loss hardly fell from {last:.4} to {loss:.4}"),
            _ => "the loss is not a finite number".to_owned(),
        };
        if self.rejections >= REJECTIONS_MAX {
            self.phase = Phase::Stopped(match &self.base {
                None => self.no_start(loss),
                Some(_) => Halt::Diverged { learning_rate: f64::from(self.learning_rate) },
            });
            return Progress::default();
        }
        let note = if let Some(start) = self.start.take() {
            let known = start.base.as_ref().map_or(f64::INFINITY, |base| base.loss);
            let rate = self.learning_rate;
            let (search, which) = match has_risen || !found.is_finite {
                true => (Search::below(rate, known), "below"),
                false => (Search::around(rate, known), "around"),
            };
            self.phase = Phase::Searching(search);
            (self.weights, self.base) = (start.weights, start.base.or(self.base.take()));
            format!("{what}: going back to the start to try learning rates {which} {rate:.3e}")
        } else if step.is_some_and(|step| step.is_shaped) {
            self.set_out(None);
            format!("{what}: going back to the last good weights and forgetting the curvature")
        } else {
            self.learning_rate *= 0.5;
            let rate = self.learning_rate;
            format!("{what}: going back to the last good weights with a learning rate of {rate:.3e}")
        };
        Progress { note: Some(note), ..Progress::default() }
    }

    /// Sets out from the accepted point; `newest` is the curvature pair of the step that led there.
    fn set_out(&mut self, newest: Option<CurvaturePair<f32>>) {
        let base = self.base.as_ref().expect("a round at this point has been told");
        let gradient_norm = base.gradient_norm;
        let reason = if gradient_norm == 0.0 {
            Some(Halt::Converged { gradient_norm })
        } else if self.flat_iterations >= FLAT_ITERATIONS_MAX {
            Some(Halt::Flat { iterations: self.flat_iterations, gradient_norm })
        } else {
            None
        };
        if let Some(reason) = reason {
            self.phase = Phase::Stopped(reason);
            return;
        }
        let step = match self.settings.outer {
            Outer::Lbfgs { .. } => self.curved_step(newest),
            Outer::Momentum { momentum } => self.momentum_step(f64::from(momentum)),
        };
        self.phase = Phase::There(step);
    }

    /// -H g, cut to [`LONGEST_STEP`] times the mean displacement's length.
    fn curved_step(&mut self, newest: Option<CurvaturePair<f32>>) -> Step {
        let base = self.base.as_ref().expect("a round at this point has been told");
        let mut direction = self.memory.direction(newest, &base.gradient);
        if !(direction.slope < 0.0 && direction.slope.is_finite()) {
            self.memory.clear();
            direction = self.memory.direction(None, &base.gradient);
        }
        let vector = direction.vector;
        let cut = LONGEST_STEP * base.gradient_norm / norm(&vector);
        let length = if cut < 1.0 { cut as f32 } else { 1.0 };
        let point = trial_point(&self.weights, &vector, length).collect();
        Step { point, length, is_shaped: !self.memory.is_empty() }
    }

    /// Nesterov momentum on the mean displacement.
    fn momentum_step(&mut self, momentum: f64) -> Step {
        let base = self.base.as_ref().expect("a round at this point has been told");
        if momentum == 0.0 {
            let point = self.weights.iter().zip(&*base.gradient).map(|(w, g)| w - g).collect();
            return Step { point, length: 1.0, is_shaped: false };
        }
        let is_shaped = !self.velocity.is_empty();
        let (mut point, mut velocity) = (zeros(self.weights.len()), zeros(self.weights.len()));
        let moving = fill(&mut velocity);
        for (index, next) in fill(&mut point).iter_mut().enumerate() {
            let displacement = -f64::from(base.gradient[index]);
            let old = self.velocity.get(index).copied().map_or(0.0, f64::from);
            moving[index] = (momentum * old + displacement) as f32;
            let direction = displacement + momentum * f64::from(moving[index]);
            *next = (f64::from(self.weights[index]) + MOMENTUM_STEP * direction) as f32;
        }
        self.velocity = velocity;
        Step { point, length: MOMENTUM_STEP as f32, is_shaped }
    }
}

/// The curvature pair of `step` from `weights`, written into `room`. A displacement is about proportional to
/// its learning rate, so the old one is first scaled to the new one's rate if the rates differ.
fn learn_from(room: CurvaturePair<f32>, weights: &[f32], old: &Base, step: &Step, new: &Base) -> Lesson<f32> {
    let there = Evaluated { weights: &step.point, gradient: &new.gradient };
    if old.learning_rate == new.learning_rate {
        return learn_into(room, Evaluated { weights, gradient: &old.gradient }, there, step.length);
    }
    let ratio = new.learning_rate / old.learning_rate;
    let gradient: Vec<f32> = old.gradient.iter().map(|element| ratio * element).collect();
    learn_into(room, Evaluated { weights, gradient: &gradient }, there, step.length / ratio)
}

impl TryFrom<State> for Averaged {
    type Error = &'static str;

    /// Rejects a state whose vectors differ in length.
    fn try_from(state: State) -> Result<Self, Self::Error> {
        let length = state.weights.len();
        let accepted_fits = state.accepted.len() == length;
        let base_fits = state.base.as_ref().is_none_or(|base| base.gradient.len() == length);
        let phase_fits = match &state.phase {
            Phase::There(step) => state.base.is_some() && step.point.len() == length,
            Phase::Searching(_) | Phase::Here | Phase::Stopped(_) => true,
        };
        let start_fits = state.start.as_ref().is_none_or(|start| {
            start.weights.len() == length
                && start.base.as_ref().is_none_or(|base| base.gradient.len() == length)
        });
        let velocity_fits = state.velocity.is_empty() || state.velocity.len() == length;
        if accepted_fits
            && base_fits
            && start_fits
            && phase_fits
            && velocity_fits
            && state.memory.is_sound(length)
        {
            Ok(Self(state))
        } else {
            Err("the optimizer's vectors differ in length")
        }
    }
}
