//! From the settings of a run to its optimizer.

use std::sync::Arc;

use protocol::message::LocalBounds;
use protocol::plan::SetPlan;

use crate::config::{Decay, Fraction, OptimizerKind, Rate, RunConfig, customary_rate};
use engine::optimizers::{
    Auto, Averaged, AveragedSettings, Lbfgs, LbfgsSettings, LearningRate, Optimizer, Outer, Rule, Sample,
    Schedule, Stochastic, StochasticSettings,
};

/// The optimizer of a run whose settings are settled ([`RunConfig::settle`]), at `start`, a value for
/// each trainable parameter. `training` says how the training examples are cut.
pub(super) fn optimizer(config: &RunConfig, start: Arc<[f32]>, training: &SetPlan) -> Optimizer {
    let memory = config.memory.map_or(0, |memory| memory as usize);
    let lbfgs = LbfgsSettings { memory, gradient_tolerance: None };
    match config.optimizer {
        OptimizerKind::Auto => {
            let outer = Outer::Lbfgs { memory };
            Optimizer::Auto(Auto::new(start, local_steps(config, outer), lbfgs))
        }
        OptimizerKind::Averaged => {
            let outer = Outer::Lbfgs { memory };
            Optimizer::Averaged(Averaged::new(start, local_steps(config, outer)))
        }
        OptimizerKind::Average => {
            let outer = Outer::Momentum { momentum: config.outer_momentum.unwrap_or(0.0) };
            Optimizer::Averaged(Averaged::new(start, local_steps(config, outer)))
        }
        OptimizerKind::Lbfgs => Optimizer::Lbfgs(match sample(config, training) {
            Some(sample) => Lbfgs::sampled(start, lbfgs, sample),
            None => Lbfgs::new(start, lbfgs),
        }),
        OptimizerKind::Sgd => stochastic(config, start, training, Rule::Sgd),
        OptimizerKind::Momentum => stochastic(config, start, training, Rule::Momentum),
        OptimizerKind::Adam => stochastic(config, start, training, Rule::Adam),
        OptimizerKind::AdamW => {
            let rule = Rule::AdamW { weight_decay: config.weight_decay.unwrap_or(0.0) };
            stochastic(config, start, training, rule)
        }
    }
}

/// How large rounds of local steps get, if the run has any.
pub(super) fn local_bounds(config: &RunConfig) -> Option<LocalBounds> {
    config.optimizer.is_local().then(|| {
        let (replicas, steps) = replicas_and_steps(config);
        LocalBounds { replicas, steps }
    })
}

fn replicas_and_steps(config: &RunConfig) -> (u32, u32) {
    (config.replicas.unwrap_or(1), config.local_steps.unwrap_or(1))
}

fn local_steps(config: &RunConfig, outer: Outer) -> AveragedSettings {
    let learning_rate = match config.learning_rate {
        Some(Rate::Given(rate)) => LearningRate::Given(rate),
        Some(Rate::Auto) | None => LearningRate::Searched,
    };
    let (replicas, steps) = replicas_and_steps(config);
    AveragedSettings { replicas, steps, learning_rate, schedule: schedule(config), outer }
}

fn stochastic(config: &RunConfig, start: Arc<[f32]>, training: &SetPlan, rule: Rule) -> Optimizer {
    let (learning_rate, may_lower) = match config.learning_rate {
        Some(Rate::Given(rate)) => (rate, false),
        Some(Rate::Auto) | None => {
            let rate = customary_rate(config.optimizer);
            (rate.expect("each stochastic optimizer has a customary rate"), true)
        }
    };
    let examples = config.minibatch.saturating_mul(config.minibatches_per_round.unwrap_or(1));
    let all_units = training.units();
    let units = (examples / training.examples_per_unit).clamp(1, all_units);
    let schedule = schedule(config);
    let settings = StochasticSettings { rule, learning_rate, may_lower, schedule, units, all_units };
    Optimizer::Stochastic(Stochastic::new(start, settings))
}

/// The sample asked for in whole units; `None` where that is all of them.
fn sample(config: &RunConfig, training: &SetPlan) -> Option<Sample> {
    let units = config.sample?.div_ceil(training.examples_per_unit).max(2);
    let share = config.overlap.map_or(0.0, Fraction::get);
    let overlap = ((f64::from(units) * share).round() as u32).clamp(1, units / 2);
    (units < training.units()).then_some(Sample { units, overlap })
}

fn schedule(config: &RunConfig) -> Schedule {
    let iterations = config.schedule_iterations.unwrap_or(config.iterations);
    match config.schedule {
        None | Some(Decay::Constant) => Schedule::Constant,
        Some(Decay::Linear) => Schedule::Linear { iterations },
        Some(Decay::Cosine) => Schedule::Cosine { iterations },
    }
}
