//! Synchronous stochastic descent: SGD, Nesterov momentum, Adam and AdamW. Each round computes the mean
//! gradient of a few minibatches at one point, and the optimizer steps along it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::learning_rate::Schedule;
use super::vectors::{fill, norm, zeros};
use super::{Ask, Batch, Halt, Iteration, Progress, Segment, Tell, TellError, check_length, only_segment};

/// The part of the velocity, and of Adam's mean gradient, that carries over to the next step.
const MOMENTUM: f64 = 0.9;
/// The part of Adam's mean squared gradient that carries over to the next step.
const SQUARES: f64 = 0.999;
/// Keeps Adam's steps finite where the gradient has always been 0.
const EPSILON: f64 = 1e-8;

/// A run has diverged once a round's loss exceeds this multiple of the loss at the start, or of 1 if that is
/// lower. A few outliers among the examples raise it less.
const DIVERGED: f64 = 1000.0;
/// A point is good enough to return to while its loss is at most this multiple of the loss at the start.
const GOOD: f64 = 1.05;
/// A default learning rate that turns out too high is multiplied by this.
const LOWER: f32 = 0.25;
/// Maximum number of times the learning rate is lowered.
const LOWERED_MAX: u32 = 6;

/// The user's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StochasticSettings {
    /// How a gradient becomes a step.
    pub rule: Rule,
    /// The learning rate before the schedule's factor.
    pub learning_rate: f32,
    /// Whether the optimizer may lower the rate when the run diverges, because the user did not give it.
    pub may_lower: bool,
    /// How the learning rate changes during the run.
    pub schedule: Schedule,
    /// Units per batch, at least 1.
    pub units: u32,
    /// Units of the whole training set. A batch of this size holds each unit once.
    pub all_units: u32,
}

/// How a gradient g becomes a step from w with the learning rate r.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Rule {
    /// w - r g.
    Sgd,
    /// Nesterov momentum: v = 0.9 v + g, then w - r (g + 0.9 v) (Sutskever et al., 2013).
    Momentum,
    /// Steps divided by the root of the mean squared gradient (Kingma and Ba, 2015, Algorithm 1).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019, Algorithm 2).
    AdamW {
        /// A step multiplies the weights by 1 - r * `weight_decay`.
        weight_decay: f32,
    },
}

/// The complete state. Cloning is cheap: vectors are shared.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "State")]
pub struct Stochastic(State);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    settings: StochasticSettings,
    /// The accepted point: the last point with a known loss.
    weights: Arc<[f32]>,
    loss: Option<f64>,
    iteration: u64,
    /// Where the next gradient is asked for.
    point: Arc<[f32]>,
    /// Momentum's velocity or Adam's mean gradient; empty until the first step that needs it.
    first: Arc<[f32]>,
    /// Adam's mean squared gradient; empty until the first step that needs it.
    second: Arc<[f32]>,
    stopped: Option<Halt>,
    /// The loss at the start point.
    start_loss: Option<f64>,
    /// The last point whose loss was at most about the start's, with its loss.
    good: Option<(Arc<[f32]>, f64)>,
    /// Number of times the learning rate was lowered.
    lowered: u32,
    /// Answers received when the rate was last lowered; `first` and `second` cover the later ones.
    lowered_at: u64,
}

impl Stochastic {
    /// An optimizer that begins at `start`, one value per parameter.
    pub fn new(start: impl Into<Arc<[f32]>>, settings: StochasticSettings) -> Self {
        let weights = start.into();
        Self(State {
            settings,
            point: Arc::clone(&weights),
            weights,
            loss: None,
            iteration: 0,
            first: Arc::from([]),
            second: Arc::from([]),
            stopped: None,
            start_loss: None,
            good: None,
            lowered: 0,
            lowered_at: 0,
        })
    }

    /// The next request; it stays the same until the next successful [`Stochastic::tell`].
    pub fn ask(&self) -> Ask<f32> {
        let state = &self.0;
        if let Some(reason) = &state.stopped {
            return Ask::Stopped(reason.clone());
        }
        let rounds = state.rounds();
        let units = state.settings.units;
        Ask::Gradient {
            point: Arc::clone(&state.point),
            batch: Batch::Segments(vec![Segment { first: rounds * u64::from(units), units }]),
            // No two gradients are compared, so every step can have its own masks.
            mask_epoch: rounds,
        }
    }

    /// Takes the answer to the last [`Stochastic::ask`].
    ///
    /// # Errors
    /// [`TellError`] if the answer does not match the request; the optimizer is then unchanged.
    pub fn tell(&mut self, answer: Tell<f32>) -> Result<Progress, TellError> {
        let state = &mut self.0;
        if state.stopped.is_some() {
            return Err(TellError::Stopped);
        }
        let (loss, gradient) = only_segment(answer)?;
        check_length(state.point.len(), gradient.len())?;
        Ok(state.step(loss, &gradient))
    }

    /// The last point with a known loss.
    pub fn weights(&self) -> &Arc<[f32]> {
        &self.0.weights
    }

    /// Loss of its minibatches at [`Stochastic::weights`]; `None` until the first answer.
    pub fn loss(&self) -> Option<f64> {
        self.0.loss
    }

    /// The most curvature pairs that it remembers at a time.
    pub(super) fn pairs_max(&self) -> usize {
        0
    }

    /// Number of steps that led to [`Stochastic::weights`].
    pub fn iteration(&self) -> u64 {
        self.0.iteration
    }
}

impl State {
    /// Answers received so far.
    fn rounds(&self) -> u64 {
        self.iteration + u64::from(self.loss.is_some())
    }

    fn learning_rate(&self, iteration: u64) -> f64 {
        f64::from(self.settings.learning_rate) * self.settings.schedule.factor(iteration)
    }

    /// Accepts the point and sets out for the next, unless the run has diverged.
    fn step(&mut self, loss: f64, gradient: &[f32]) -> Progress {
        let gradient_norm = norm(gradient);
        let is_finite = loss.is_finite() && gradient_norm.is_finite();
        match self.start_loss {
            None if !is_finite => {
                self.stopped = Some(Halt::NonFiniteStart { loss });
                return Progress::default();
            }
            None => self.start_loss = Some(loss),
            Some(start) if !is_finite || loss > DIVERGED * start.max(1.0) => return self.go_back(loss),
            Some(_) => {}
        }
        let is_start = self.loss.is_none();
        let step = self.learning_rate(self.iteration);
        self.weights = Arc::clone(&self.point);
        self.loss = Some(loss);
        let is_good = self.start_loss.is_some_and(|start| loss <= GOOD * start.max(f64::MIN_POSITIVE));
        if is_good {
            self.good = Some((Arc::clone(&self.weights), loss));
        }
        if !is_start {
            self.iteration += 1;
        }
        // The gradient of a few minibatches can vanish where the gradient of all examples does not.
        let StochasticSettings { units, all_units, .. } = self.settings;
        if gradient_norm == 0.0 && units == all_units && self.first.is_empty() {
            self.stopped = Some(Halt::Converged { gradient_norm });
        } else {
            self.point = self.next(gradient);
        }
        let iteration = self.iteration;
        let accepted =
            Iteration { iteration, loss, gradient_norm, step, backtracked: false, damped: false, memory: 0 };
        Progress { accepted: (!is_start).then_some(accepted), is_good, ..Progress::default() }
    }

    /// Goes back to the last good point and lowers the learning rate, or stops.
    fn go_back(&mut self, loss: f64) -> Progress {
        let rate = self.learning_rate(self.iteration);
        let went_back = self.good.is_some();
        if let Some((weights, loss)) = &self.good {
            (self.weights, self.loss) = (Arc::clone(weights), Some(*loss));
        }
        if !self.settings.may_lower || self.lowered == LOWERED_MAX {
            self.stopped = Some(Halt::Diverged { learning_rate: rate });
            return Progress { went_back, ..Progress::default() };
        }
        self.lowered += 1;
        self.lowered_at = self.rounds();
        self.settings.learning_rate *= LOWER;
        self.point = Arc::clone(&self.weights);
        (self.first, self.second) = (Arc::from([]), Arc::from([]));
        let what = if loss.is_finite() {
            format!("the loss rose to {loss:.3e}")
        } else {
            "the loss is not a finite number".to_owned()
        };
        let lower = self.learning_rate(self.iteration);
        Progress {
            note: Some(format!(
                "{what} with a learning rate of {rate:.3e}: going back to the last good weights and lowering it \
                 to {lower:.3e}"
            )),
            went_back,
            ..Progress::default()
        }
    }

    /// The next point. Each element is computed in f64 and rounded once.
    fn next(&mut self, gradient: &[f32]) -> Arc<[f32]> {
        let rate = self.learning_rate(self.iteration);
        let length = gradient.len();
        let rule = self.settings.rule;
        let mut point = zeros(length);
        if rule == Rule::Sgd {
            for (next, (w, g)) in fill(&mut point).iter_mut().zip(self.weights.iter().zip(gradient)) {
                *next = (f64::from(*w) - rate * f64::from(*g)) as f32;
            }
            return point;
        }
        let mut first = zeros(length);
        let means = fill(&mut first);
        let previous = |vector: &[f32], index: usize| vector.get(index).copied().map_or(0.0, f64::from);
        if rule == Rule::Momentum {
            for (index, next) in fill(&mut point).iter_mut().enumerate() {
                let g = f64::from(gradient[index]);
                means[index] = (MOMENTUM * previous(&self.first, index) + g) as f32;
                let direction = g + MOMENTUM * f64::from(means[index]);
                *next = (f64::from(self.weights[index]) - rate * direction) as f32;
            }
            self.first = first;
            return point;
        }
        let decay = match rule {
            Rule::AdamW { weight_decay } => 1.0 - rate * f64::from(weight_decay),
            _ => 1.0,
        };
        // Adam's bias correction: the means started at 0.
        let step = self.rounds() - self.lowered_at;
        let (first_share, second_share) = (1.0 - power(MOMENTUM, step), 1.0 - power(SQUARES, step));
        let mut second = zeros(length);
        let squares = fill(&mut second);
        for (index, next) in fill(&mut point).iter_mut().enumerate() {
            let g = f64::from(gradient[index]);
            means[index] = (MOMENTUM * previous(&self.first, index) + (1.0 - MOMENTUM) * g) as f32;
            squares[index] = (SQUARES * previous(&self.second, index) + (1.0 - SQUARES) * g * g) as f32;
            let mean = f64::from(means[index]) / first_share;
            let root = (f64::from(squares[index]) / second_share).sqrt();
            *next = (decay * f64::from(self.weights[index]) - rate * mean / (root + EPSILON)) as f32;
        }
        self.first = first;
        self.second = second;
        point
    }
}

/// `base` to the power of `exponent`, by squaring: the same bits everywhere.
fn power(base: f64, mut exponent: u64) -> f64 {
    let (mut result, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

impl TryFrom<State> for Stochastic {
    type Error = &'static str;

    /// Rejects a state whose vectors or counts do not fit together.
    fn try_from(state: State) -> Result<Self, Self::Error> {
        let length = state.weights.len();
        let fits = |vector: &[f32]| vector.is_empty() || vector.len() == length;
        let good_fits = state.good.as_ref().is_none_or(|(weights, _)| weights.len() == length);
        let counts_fit = state.lowered_at <= state.rounds();
        if state.point.len() == length && fits(&state.first) && fits(&state.second) && good_fits && counts_fit
        {
            Ok(Self(state))
        } else {
            Err("the optimizer's vectors or counts do not fit together")
        }
    }
}
