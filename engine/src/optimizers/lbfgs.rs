//! L-BFGS on the full batch or on samples, one network round an iteration when all goes well.
//!
//! The first step length along a direction is 1 (min(1, 1/||g||) while there is no memory), and the
//! trial point is accepted if its loss passes Armijo's test. If not, one scalars-only round fetches
//! the losses at [`BACKTRACKS`] successively halved steps; of those that pass the test, the one
//! with the lowest loss (the longest of equals) is evaluated and accepted. If none passes, the
//! memory is cleared and the steepest descent is tried; if that fails too, the optimizer stops.
//!
//! With a [`Sample`], each iteration k has a sample S_k = O_(k-1) + N_k + O_k of its own, which shares
//! O_(k-1) with the one before. Gradients are only ever compared on the same examples: y is the difference of
//! the gradients on O_k at either end of the step, and the trial point is accepted by the losses on O_k.
//! (Multi-batch L-BFGS, Berahas, Nocedal and Takac, 2016.)

use std::sync::Arc;

use model::trial_point;
use serde::{Deserialize, Serialize};

use super::curvature::{Evaluated, learn_into};
use super::memory::{Direction, Memory};
use super::pair::CurvaturePair;
use super::vectors::{BLOCK, Scalar, Spare, block, dot, each_block, fill, norm};
use super::{Ask, Batch, Halt, Iteration, Progress, Segment, Tell, TellError, check_length};

/// How many halvings of the step a scalars-only round covers: alpha/2 to alpha/256.
pub const BACKTRACKS: usize = 8;

/// Part of the predicted decrease that a step must achieve (Armijo's constant).
const SUFFICIENT_DECREASE: f64 = 1e-4;

/// Line searches in a row that may fail before the optimizer stops.
const FAILURES_MAX: u32 = 2;

/// Iterations in a row that may leave the loss exactly as it was. Armijo's test passes by rounding
/// when the predicted decrease is far below the loss's precision; this ends such wandering.
const FLAT_ITERATIONS_MAX: u32 = 10;

/// Dropout masks are those of one epoch for the whole run: every loss is compared with, and every
/// gradient subtracted from, one at another point under the same masks.
const MASK_EPOCH: u64 = 0;

/// What the user can choose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LbfgsSettings {
    /// Curvature pairs remembered (m); 0 counts as 1.
    pub memory: usize,
    /// Stop when ||g|| / max(1, ||x||) is at most this. Without it only a gradient of zero counts
    /// as converged.
    pub gradient_tolerance: Option<f64>,
}

/// Which part of the training set the gradients are taken on, in its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Units of a sample, at least 2.
    pub units: u32,
    /// Units that it shares with the next one: at least 1, at most half of it.
    pub overlap: u32,
}

impl Sample {
    /// The sample of an iteration: what it shares with the one before, what is new (unless that is
    /// nothing), and what it will share with the next.
    fn of(self, iteration: u64) -> Vec<Segment> {
        let Sample { units, overlap } = self;
        let first = iteration * u64::from(units - overlap);
        let new = units - 2 * overlap;
        let ends = first + u64::from(overlap) + u64::from(new);
        let segments = [(first, overlap), (first + u64::from(overlap), new), (ends, overlap)];
        segments
            .into_iter()
            .filter(|(_, units)| *units > 0)
            .map(|(first, units)| Segment { first, units })
            .collect()
    }
}

impl Default for LbfgsSettings {
    /// Ten pairs, no tolerance.
    fn default() -> Self {
        Self { memory: 10, gradient_tolerance: None }
    }
}

/// The complete state. Cloning is cheap: vectors are shared. A clone, or a copy read back from a
/// serialized one, asks the same and continues with the same bits, also in the middle of a line
/// search.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "", try_from = "State<T>")]
pub struct Lbfgs<T: Scalar>(State<T>);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
struct State<T: Scalar> {
    settings: LbfgsSettings,
    /// `None` for the full batch.
    sample: Option<Sample>,
    /// The accepted point.
    weights: Arc<[T]>,
    iteration: u64,
    /// Line searches failed since the last accepted step.
    failures: u32,
    /// Iterations since the loss last changed.
    flat_iterations: u32,
    memory: Memory<T>,
    phase: Phase<T>,
    /// The last trial points, to be written over once nobody needs them any more.
    #[serde(skip)]
    points: Spare<Arc<[T]>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
enum Phase<T: Scalar> {
    /// Waiting for loss and gradient at the start point.
    Start,
    /// Waiting for loss and gradient at the point `step` along the line.
    Trial { line: Line<T>, step: T, point: Arc<[T]> },
    /// Waiting for the losses at steps shorter than the first.
    Shorten { line: Line<T> },
    /// Waiting for nothing.
    Stopped { reason: Halt, loss: f64 },
}

/// The line being searched.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
struct Line<T: Scalar> {
    base: Base<T>,
    direction: Arc<[T]>,
    /// Inner product of gradient and direction, negative.
    slope: f64,
    /// The first step length tried along it.
    first_step: T,
}

/// Loss and gradient at the accepted point, where the line starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
struct Base<T: Scalar> {
    loss: f64,
    gradient: Arc<[T]>,
    gradient_norm: f64,
    /// The same on what the sample shares with the next one; `None` for the full batch.
    shared: Option<(f64, Arc<[T]>)>,
}

/// An answer at a point.
struct Found<T: Scalar> {
    base: Base<T>,
    /// Loss and gradient on what the sample shares with the one before; `None` for the full batch.
    shared_before: Option<(f64, Arc<[T]>)>,
}

impl<T: Scalar> Lbfgs<T> {
    /// An optimizer that begins at `start`, one value per parameter.
    pub fn new(start: impl Into<Arc<[T]>>, settings: LbfgsSettings) -> Self {
        Self::begin(start.into(), settings, None)
    }

    /// One that takes its gradients on samples.
    ///
    /// # Panics
    /// If the sample is not as [`Sample`] says.
    pub fn sampled(start: impl Into<Arc<[T]>>, settings: LbfgsSettings, sample: Sample) -> Self {
        let Sample { units, overlap } = sample;
        assert!(overlap >= 1 && overlap <= units / 2, "an overlap from 1 to half of the sample");
        Self::begin(start.into(), settings, Some(sample))
    }

    fn begin(start: Arc<[T]>, settings: LbfgsSettings, sample: Option<Sample>) -> Self {
        Self(State {
            settings,
            sample,
            weights: start,
            iteration: 0,
            failures: 0,
            flat_iterations: 0,
            memory: Memory::new(settings.memory),
            phase: Phase::Start,
            points: Spare::default(),
        })
    }

    /// What to compute next; the same until the next successful [`Lbfgs::tell`].
    pub fn ask(&self) -> Ask<T> {
        let state = &self.0;
        match &state.phase {
            Phase::Start => state.gradient_at(&state.weights, 0),
            Phase::Trial { point, .. } => state.gradient_at(point, state.iteration + 1),
            Phase::Shorten { line } => Ask::Losses {
                base: Arc::clone(&state.weights),
                direction: Arc::clone(&line.direction),
                steps: line.shorter_steps().to_vec(),
                batch: state.batch(state.iteration),
                mask_epoch: MASK_EPOCH,
            },
            Phase::Stopped { reason, .. } => Ask::Stopped(reason.clone()),
        }
    }

    /// Takes the answer to the last [`Lbfgs::ask`].
    ///
    /// # Errors
    /// [`TellError`] when this is not an answer to what was asked; the optimizer is unchanged.
    pub fn tell(&mut self, answer: Tell<T>) -> Result<Progress, TellError> {
        let state = &mut self.0;
        let accepted = match (state.phase.clone(), answer) {
            (Phase::Start, told @ (Tell::Gradient { .. } | Tell::Segments(_))) => {
                let found = state.found(told)?;
                state.start(found.base);
                None
            }
            (Phase::Trial { line, step, point }, told @ (Tell::Gradient { .. } | Tell::Segments(_))) => {
                let found = state.found(told)?;
                state.judge(line, step, point, found)
            }
            (Phase::Shorten { line }, Tell::Losses(losses)) => {
                check_length(BACKTRACKS, losses.len())?;
                state.shorten(line, &losses);
                None
            }
            (Phase::Stopped { .. }, _) => return Err(TellError::Stopped),
            (Phase::Start | Phase::Trial { .. }, told) => {
                return Err(TellError::WrongKind { asked: "a gradient", told: told.kind() });
            }
            (Phase::Shorten { .. }, told) => {
                return Err(TellError::WrongKind { asked: "losses", told: told.kind() });
            }
        };
        Ok(Progress { accepted, ..Progress::default() })
    }

    /// The last accepted point (the start point until one is accepted).
    pub fn weights(&self) -> &Arc<[T]> {
        &self.0.weights
    }

    /// Loss at [`Lbfgs::weights`]; `None` until the first answer.
    pub fn loss(&self) -> Option<f64> {
        match &self.0.phase {
            Phase::Start => None,
            Phase::Trial { line, .. } | Phase::Shorten { line } => Some(line.base.loss),
            Phase::Stopped { loss, .. } => Some(*loss),
        }
    }

    /// How many iterations (accepted steps) were taken.
    pub fn iteration(&self) -> u64 {
        self.0.iteration
    }
}

impl<T: Scalar> State<T> {
    fn batch(&self, iteration: u64) -> Batch {
        self.sample.map_or(Batch::Full, |sample| Batch::Segments(sample.of(iteration)))
    }

    fn gradient_at(&self, point: &Arc<[T]>, iteration: u64) -> Ask<T> {
        Ask::Gradient { point: Arc::clone(point), batch: self.batch(iteration), mask_epoch: MASK_EPOCH }
    }

    /// The answer to a question for a gradient.
    fn found(&self, answer: Tell<T>) -> Result<Found<T>, TellError> {
        let length = self.weights.len();
        match (answer, self.sample) {
            (Tell::Gradient { loss, gradient }, None) => {
                check_length(length, gradient.len())?;
                let gradient_norm = norm(&gradient);
                Ok(Found { base: Base { loss, gradient, gradient_norm, shared: None }, shared_before: None })
            }
            (Tell::Segments(segments), Some(sample)) => {
                let units: Vec<f64> = sample.of(0).iter().map(|segment| segment.units.into()).collect();
                check_length(units.len(), segments.len())?;
                for (_, gradient) in &segments {
                    check_length(length, gradient.len())?;
                }
                let (loss, gradient) = mean_of(&segments, &units);
                let gradient_norm = norm(&gradient);
                let shared = segments.last().cloned();
                let base = Base { loss, gradient, gradient_norm, shared };
                Ok(Found { base, shared_before: segments.into_iter().next() })
            }
            (told, None) => Err(TellError::WrongKind { asked: "a gradient", told: told.kind() }),
            (told, Some(_)) => {
                Err(TellError::WrongKind { asked: "gradients of segments", told: told.kind() })
            }
        }
    }

    /// Takes loss and gradient at the start point.
    fn start(&mut self, base: Base<T>) {
        let loss = base.loss;
        if loss.is_finite() && base.gradient_norm.is_finite() {
            self.leave(base, None);
        } else {
            self.phase = Phase::Stopped { reason: Halt::NonFiniteStart { loss }, loss };
        }
    }

    /// Accepts or rejects a trial point by the loss and gradient found there.
    fn judge(&mut self, line: Line<T>, step: T, point: Arc<[T]>, found: Found<T>) -> Option<Iteration> {
        let (loss, gradient_norm) = (found.base.loss, found.base.gradient_norm);
        let backtracked = step != line.first_step;
        let passes = match (&found.shared_before, &line.base.shared) {
            // A shorter step was chosen by the losses of the whole sample, which this one is not.
            (Some((new, _)), Some(_)) if backtracked => new.is_finite() && loss.is_finite(),
            (Some((new, _)), Some(old)) => loss.is_finite() && line.passes_on(old, step, *new),
            _ => line.passes(step, loss),
        };
        if !(passes && gradient_norm.is_finite()) {
            if backtracked {
                self.search_failed(line);
            } else {
                self.phase = Phase::Shorten { line };
            }
            return None;
        }
        let room = self.memory.room(self.weights.len());
        let old = Evaluated { weights: &self.weights, gradient: &line.base.gradient };
        let lesson = match (&found.shared_before, &line.base.shared) {
            (Some((_, new)), Some((_, shared))) => {
                // The step came from the whole sample's gradient, the curvature is that of the shared part.
                let gradient = changed_as(&line.base.gradient, shared, new);
                learn_into(room, old, Evaluated { weights: &point, gradient: &gradient }, step)
            }
            _ => learn_into(room, old, Evaluated { weights: &point, gradient: &found.base.gradient }, step),
        };
        self.weights = point;
        self.iteration += 1;
        self.failures = 0;
        self.flat_iterations = if loss == line.base.loss { self.flat_iterations + 1 } else { 0 };
        self.leave(found.base, lesson.pair);
        Some(Iteration {
            iteration: self.iteration,
            loss,
            gradient_norm,
            step: step.to_f64(),
            backtracked,
            damped: lesson.damped,
            memory: self.memory.len(),
        })
    }

    /// Chooses among the shorter steps by their losses: the lowest that passes the test, and the
    /// longest step of equally low ones.
    fn shorten(&mut self, line: Line<T>, losses: &[f64]) {
        let mut best: Option<(T, f64)> = None;
        for (&step, &loss) in line.shorter_steps().iter().zip(losses) {
            if line.passes(step, loss) && best.is_none_or(|(_, lowest)| loss < lowest) {
                best = Some((step, loss));
            }
        }
        match best {
            Some((step, _)) => self.try_step(line, step),
            None => self.search_failed(line),
        }
    }

    /// Sets out from the accepted point, which `base` describes and `newest` led to, unless this is
    /// the end.
    fn leave(&mut self, base: Base<T>, newest: Option<CurvaturePair<T>>) {
        let (loss, gradient_norm) = (base.loss, base.gradient_norm);
        let reason = if self.has_converged(gradient_norm) {
            Some(Halt::Converged { gradient_norm })
        } else if self.flat_iterations >= FLAT_ITERATIONS_MAX {
            Some(Halt::Flat { iterations: self.flat_iterations, gradient_norm })
        } else {
            None
        };
        if let Some(reason) = reason {
            self.phase = Phase::Stopped { reason, loss };
            return;
        }
        let Direction { vector, slope } = self.memory.direction(newest, &base.gradient);
        if slope < 0.0 && slope.is_finite() {
            let first_step = self.first_step(gradient_norm);
            self.search(Line { base, direction: vector, slope, first_step });
        } else {
            self.descend_steepest(base);
        }
    }

    /// Forgets all curvature and searches along -g.
    fn descend_steepest(&mut self, base: Base<T>) {
        self.memory.clear();
        let Direction { vector, slope } = self.memory.direction(None, &base.gradient);
        let first_step = self.first_step(base.gradient_norm);
        self.search(Line { base, direction: vector, slope, first_step });
    }

    fn search(&mut self, line: Line<T>) {
        let step = line.first_step;
        self.try_step(line, step);
    }

    /// Asks for loss and gradient at `step` along the line, unless the step is too short to move
    /// any weight: such a step can be neither progress nor a curvature pair.
    fn try_step(&mut self, line: Line<T>, step: T) {
        let point = self.point_at(&line.direction, step);
        if point == self.weights {
            self.search_failed(line);
        } else {
            self.phase = Phase::Trial { line, step, point };
        }
    }

    fn point_at(&mut self, direction: &[T], step: T) -> Arc<[T]> {
        let mut point = self.points.room(self.weights.len());
        let blocks = fill(&mut point).chunks_mut(BLOCK).enumerate();
        each_block(blocks, |(index, elements)| {
            let made = trial_point(block(&self.weights, index), block(direction, index), step);
            elements.iter_mut().zip(made).for_each(|(element, made)| *element = made);
        });
        self.points.keep(&point);
        point
    }

    /// No step along the line is good enough.
    fn search_failed(&mut self, line: Line<T>) {
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            let reason = Halt::NoProgress { gradient_norm: line.base.gradient_norm };
            self.phase = Phase::Stopped { reason, loss: line.base.loss };
        } else if self.memory.is_empty() {
            // It was the steepest descent already: go on where its step lengths ended.
            let [.., shortest] = line.shorter_steps();
            self.search(Line { first_step: shortest * T::HALF, ..line });
        } else {
            self.descend_steepest(line.base);
        }
    }

    /// 1, or less while there is no curvature to scale the gradient by.
    fn first_step(&self, gradient_norm: f64) -> T {
        T::from_f64(if self.memory.is_empty() { (1.0 / gradient_norm).min(1.0) } else { 1.0 })
    }

    fn has_converged(&self, gradient_norm: f64) -> bool {
        gradient_norm == 0.0
            || self
                .settings
                .gradient_tolerance
                .is_some_and(|tolerance| gradient_norm <= tolerance * norm(&self.weights).max(1.0))
    }
}

impl<T: Scalar> Line<T> {
    /// Armijo's test. A loss that is not finite fails it, minus infinity included.
    fn passes(&self, step: T, loss: f64) -> bool {
        let expected = SUFFICIENT_DECREASE * step.to_f64() * self.slope;
        loss.is_finite() && loss <= self.base.loss + expected
    }

    /// The same on the shared part of the sample, whose own gradient may point elsewhere.
    fn passes_on(&self, (old, gradient): &(f64, Arc<[T]>), step: T, new: f64) -> bool {
        let slope = dot(gradient, &self.direction).min(0.0);
        new.is_finite() && new <= old + SUFFICIENT_DECREASE * step.to_f64() * slope
    }

    /// The first step length halved once, twice, and so on; exact while no step is subnormal.
    fn shorter_steps(&self) -> [T; BACKTRACKS] {
        let mut step = self.first_step;
        std::array::from_fn(|_| {
            step = step * T::HALF;
            step
        })
    }

    /// Whether the vectors have the right length.
    fn is_sound(&self, length: usize) -> bool {
        let shared = self.base.shared.as_ref();
        self.base.gradient.len() == length
            && self.direction.len() == length
            && shared.is_none_or(|(_, gradient)| gradient.len() == length)
    }
}

impl<T: Scalar> TryFrom<State<T>> for Lbfgs<T> {
    type Error = &'static str;

    /// Refuses a state whose vectors do not fit together, so that a damaged snapshot is an error
    /// where it is read and not a panic later.
    fn try_from(state: State<T>) -> Result<Self, Self::Error> {
        let length = state.weights.len();
        let phase_is_sound = match &state.phase {
            Phase::Start | Phase::Stopped { .. } => true,
            Phase::Trial { line, point, .. } => line.is_sound(length) && point.len() == length,
            Phase::Shorten { line } => line.is_sound(length),
        };
        let sample_is_sound =
            state.sample.is_none_or(|sample| sample.overlap >= 1 && sample.overlap <= sample.units / 2);
        if sample_is_sound && phase_is_sound && state.memory.is_sound(length) {
            Ok(Self(state))
        } else {
            Err("the optimizer's vectors differ in length")
        }
    }
}

/// Mean loss and gradient of segments of so many units each.
fn mean_of<T: Scalar>(segments: &[(f64, Arc<[T]>)], units: &[f64]) -> (f64, Arc<[T]>) {
    let all: f64 = units.iter().sum();
    let shares = || units.iter().map(|units| units / all);
    let loss = shares().zip(segments).map(|(share, (loss, _))| share * loss).sum();
    let element = |index: usize| {
        let parts = shares().zip(segments).map(|(share, (_, gradient))| share * gradient[index].to_f64());
        T::from_f64(parts.sum())
    };
    (loss, (0..segments[0].1.len()).map(element).collect())
}

/// `gradient`, changed by what `old` became.
fn changed_as<T: Scalar>(gradient: &[T], old: &[T], new: &[T]) -> Vec<T> {
    let change = new.iter().zip(old).map(|(new, old)| new.to_f64() - old.to_f64());
    gradient.iter().zip(change).map(|(gradient, change)| T::from_f64(gradient.to_f64() + change)).collect()
}
