//! Synchronous stochastic descent: each round takes the mean gradient of a few minibatches at one
//! point and steps along it. SGD, Nesterov's momentum, Adam and AdamW.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::learning_rate::Schedule;
use super::vectors::{fill, norm, zeros};
use super::{Ask, Batch, Halt, Iteration, Progress, Segment, Tell, TellError, check_length, only_segment};

/// How much of the velocity, and of Adam's mean gradient, lasts from one step to the next.
const MOMENTUM: f64 = 0.9;
/// How much of Adam's mean squared gradient lasts from one step to the next.
const SQUARES: f64 = 0.999;
/// Keeps Adam's steps finite where the gradient has always been 0.
const EPSILON: f64 = 1e-8;

/// What the user can choose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StochasticSettings {
    /// How a gradient becomes a step.
    pub rule: Rule,
    /// The first learning rate.
    pub learning_rate: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// Units that a round's batch consists of, at least 1.
    pub units: u32,
    /// Units of the whole training set: a batch of as many holds each of them once.
    pub all_units: u32,
}

/// How a gradient g becomes a step from w, with the learning rate r.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Rule {
    /// w - r g.
    Sgd,
    /// Nesterov's momentum: v = 0.9 v + g, then w - r (g + 0.9 v) (Sutskever et al., 2013).
    Momentum,
    /// Steps scaled by the root of the mean squared gradient (Kingma and Ba, 2015, Algorithm 1).
    Adam,
    /// The same with all weights decaying on their own (Loshchilov and Hutter, 2019, Algorithm 2).
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
    /// The accepted point: the last whose loss is known.
    weights: Arc<[f32]>,
    loss: Option<f64>,
    iteration: u64,
    /// Where the next gradient is asked for.
    point: Arc<[f32]>,
    /// Momentum's velocity, Adam's mean gradient; empty until the first step of a rule that has it.
    first: Arc<[f32]>,
    /// Adam's mean squared gradient; likewise.
    second: Arc<[f32]>,
    stopped: Option<Halt>,
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
        })
    }

    /// What to compute next; the same until the next successful [`Stochastic::tell`].
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
            // No two gradients are compared, so that every step can have masks of its own.
            mask_epoch: rounds,
        }
    }

    /// Takes the answer to the last [`Stochastic::ask`].
    ///
    /// # Errors
    /// [`TellError`] when this is not an answer to what was asked; the optimizer is unchanged.
    pub fn tell(&mut self, answer: Tell<f32>) -> Result<Progress, TellError> {
        let state = &mut self.0;
        if state.stopped.is_some() {
            return Err(TellError::Stopped);
        }
        let (loss, gradient) = only_segment(answer)?;
        check_length(state.point.len(), gradient.len())?;
        Ok(Progress { accepted: state.step(loss, &gradient), ..Progress::default() })
    }

    /// The last point whose loss is known.
    pub fn weights(&self) -> &Arc<[f32]> {
        &self.0.weights
    }

    /// Loss of its minibatches at [`Stochastic::weights`]; `None` until the first answer.
    pub fn loss(&self) -> Option<f64> {
        self.0.loss
    }

    /// How many steps were taken to get to [`Stochastic::weights`].
    pub fn iteration(&self) -> u64 {
        self.0.iteration
    }
}

impl State {
    /// Answers taken in.
    fn rounds(&self) -> u64 {
        self.iteration + u64::from(self.loss.is_some())
    }

    fn learning_rate(&self, iteration: u64) -> f64 {
        f64::from(self.settings.learning_rate) * self.settings.schedule.factor(iteration)
    }

    /// Accepts the point and leaves it for the next.
    fn step(&mut self, loss: f64, gradient: &[f32]) -> Option<Iteration> {
        let gradient_norm = norm(gradient);
        if !(loss.is_finite() && gradient_norm.is_finite()) {
            self.stopped = Some(match self.loss {
                None => Halt::NonFiniteStart { loss },
                Some(_) => Halt::Diverged { learning_rate: self.learning_rate(self.iteration) },
            });
            return None;
        }
        let is_start = self.loss.is_none();
        let step = self.learning_rate(self.iteration);
        self.weights = Arc::clone(&self.point);
        self.loss = Some(loss);
        if !is_start {
            self.iteration += 1;
        }
        // The gradient of a few minibatches may well vanish where that of all examples does not.
        let StochasticSettings { units, all_units, .. } = self.settings;
        if gradient_norm == 0.0 && units == all_units && self.first.is_empty() {
            self.stopped = Some(Halt::Converged { gradient_norm });
        } else {
            self.point = self.next(gradient);
        }
        let iteration = self.iteration;
        (!is_start).then_some(Iteration {
            iteration,
            loss,
            gradient_norm,
            step,
            backtracked: false,
            damped: false,
            memory: 0,
        })
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
        // What the means lack because they began at 0.
        let step = self.rounds();
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

    /// Refuses a state whose vectors do not fit together.
    fn try_from(state: State) -> Result<Self, Self::Error> {
        let length = state.weights.len();
        let fits = |vector: &[f32]| vector.is_empty() || vector.len() == length;
        if state.point.len() == length && fits(&state.first) && fits(&state.second) {
            Ok(Self(state))
        } else {
            Err("the optimizer's vectors differ in length")
        }
    }
}
