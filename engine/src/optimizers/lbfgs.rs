//! L-BFGS on the full batch or on samples. An iteration takes one network round when all goes well.
//!
//! The first step length along a direction is 1, or min(1, 1/||g||) while there is no memory. The trial point
//! is accepted if its loss passes Armijo's test. Otherwise, one scalars-only round fetches the losses at
//! [`BACKTRACKS`] successively halved steps. Of the steps that pass the test, the one with the lowest loss
//! (the longest on a tie) is evaluated and accepted. If none passes, the optimizer clears the memory and
//! tries the steepest descent; if that fails too, it stops.
//!
//! With a [`Sample`], each iteration k has its own sample S_k = O_(k-1) + N_k + O_k, which shares O_(k-1)
//! with the previous sample. Gradients are compared only on the same examples: y is the difference of the
//! gradients on O_k at the two ends of the step, and the losses on O_k decide on the trial point.
//! (Multi-batch L-BFGS, Berahas, Nocedal and Takac, 2016.)

use std::sync::Arc;

use model::trial_point;
use serde::{Deserialize, Serialize};

use super::curvature::{Evaluated, learn_into};
use super::memory::{Direction, Memory};
use super::pair::CurvaturePair;
use super::vectors::{BLOCK, Scalar, Spare, block, dot, each_block, fill, norm};
use super::{Ask, Batch, Halt, Iteration, Progress, Segment, Tell, TellError, check_length};

/// Number of halvings of the step in a scalars-only round: alpha/2 to alpha/256.
pub const BACKTRACKS: usize = 8;

/// Fraction of the predicted decrease that a step must achieve (Armijo's constant).
const SUFFICIENT_DECREASE: f64 = 1e-4;

/// Maximum failed line searches in a row before the optimizer stops.
const FAILURES_MAX: u32 = 2;

/// Maximum iterations in a row with exactly the same loss. When the predicted decrease is far below the
/// loss's precision, Armijo's test passes by rounding; this limit ends such wandering.
const FLAT_ITERATIONS_MAX: u32 = 10;

/// The whole run uses one epoch's dropout masks: losses are compared, and gradients subtracted, between
/// points under the same masks.
const MASK_EPOCH: u64 = 0;

/// The user's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LbfgsSettings {
    /// Curvature pairs remembered (m); 0 counts as 1.
    pub memory: usize,
    /// Stop when ||g|| / max(1, ||x||) is at most this. Without a tolerance, only a zero gradient counts as
    /// converged.
    pub gradient_tolerance: Option<f64>,
}

/// The part of the training set on which gradients are taken, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Units of a sample, at least 2.
    pub units: u32,
    /// Units shared with the next sample: at least 1, at most half of the sample.
    pub overlap: u32,
}

impl Sample {
    /// The sample of an iteration, as segments: shared with the previous sample, new (if not empty), and
    /// shared with the next sample.
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

/// The complete state. Cloning is cheap: vectors are shared. A clone, or a deserialized copy, asks the same
/// and continues with the same bits, even in the middle of a line search.
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
    /// The last trial points, overwritten once nobody else holds them.
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
    /// Waiting for the losses at steps shorter than the first one.
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
    /// Loss and gradient on the examples shared with the next sample; `None` for the full batch.
    shared: Option<(f64, Arc<[T]>)>,
}

/// An answer at one point.
struct Found<T: Scalar> {
    base: Base<T>,
    /// Loss and gradient on the examples shared with the previous sample; `None` for the full batch.
    shared_before: Option<(f64, Arc<[T]>)>,
}

impl<T: Scalar> Lbfgs<T> {
    /// An optimizer that begins at `start`, one value per parameter.
    pub fn new(start: impl Into<Arc<[T]>>, settings: LbfgsSettings) -> Self {
        Self::begin(start.into(), settings, None)
    }

    /// An optimizer that takes its gradients on samples.
    ///
    /// # Panics
    /// If the sample breaks the limits that [`Sample`] states.
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

    /// The next request; it stays the same until the next successful [`Lbfgs::tell`].
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
    /// [`TellError`] if the answer does not match the request; the optimizer is then unchanged.
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

    /// The most curvature pairs that it remembers at a time.
    pub(super) fn pairs_max(&self) -> usize {
        self.0.settings.memory.max(1)
    }

    /// Number of iterations (accepted steps) so far.
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

    /// Converts the answer to a request for a gradient.
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

    /// Accepts or rejects a trial point by its loss and gradient.
    fn judge(&mut self, line: Line<T>, step: T, point: Arc<[T]>, found: Found<T>) -> Option<Iteration> {
        let (loss, gradient_norm) = (found.base.loss, found.base.gradient_norm);
        let backtracked = step != line.first_step;
        let passes = match (&found.shared_before, &line.base.shared) {
            // A shorter step was chosen by the losses on the whole sample; the loss on the shared part only
            // has to be finite.
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
                // The step came from the whole sample's gradient; the curvature comes from the shared part.
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

    /// Chooses among the shorter steps: of the steps that pass the test, the one with the lowest loss; on a
    /// tie, the longest.
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

    /// Sets out from the accepted point, unless the run ends here. `base` describes the point, and `newest`
    /// is the curvature pair of the step that led there.
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

    /// Asks for loss and gradient at `step` along the line. A step too short to move any weight counts as
    /// failed: it yields neither progress nor a curvature pair.
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

    /// Handles a line on which no step is good enough.
    fn search_failed(&mut self, line: Line<T>) {
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            let reason = Halt::NoProgress { gradient_norm: line.base.gradient_norm };
            self.phase = Phase::Stopped { reason, loss: line.base.loss };
        } else if self.memory.is_empty() {
            // The line was the steepest descent already: continue below its shortest step.
            let [.., shortest] = line.shorter_steps();
            self.search(Line { first_step: shortest * T::HALF, ..line });
        } else {
            self.descend_steepest(line.base);
        }
    }

    /// The first step length: 1, or less while no curvature scales the gradient.
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

    /// Armijo's test on the shared part of the sample, whose own gradient may point elsewhere.
    fn passes_on(&self, (old, gradient): &(f64, Arc<[T]>), step: T, new: f64) -> bool {
        let slope = dot(gradient, &self.direction).min(0.0);
        new.is_finite() && new <= old + SUFFICIENT_DECREASE * step.to_f64() * slope
    }

    /// The first step length halved once, twice, and so on. The halving is exact while no step is subnormal.
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

    /// Rejects a state whose vectors differ in length, so that a damaged snapshot is an error where it is
    /// read and not a panic later.
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

/// Mean loss and gradient of segments, weighted by their `units`.
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

/// `gradient` plus the change from `old` to `new`.
fn changed_as<T: Scalar>(gradient: &[T], old: &[T], new: &[T]) -> Vec<T> {
    let change = new.iter().zip(old).map(|(new, old)| new.to_f64() - old.to_f64());
    gradient.iter().zip(change).map(|(gradient, change)| T::from_f64(gradient.to_f64() + change)).collect()
}
