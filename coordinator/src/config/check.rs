//! What settings may be: the same for a new run, for one that is resumed, and for a `run.toml` that
//! somebody has edited.

use std::fmt;

use super::error::ConfigError;
use super::values::{Fraction, OptimizerKind, host_name};
use super::{RunConfig, TaskKind};

/// Examples in the largest minibatch, and minibatches in the largest round of a stochastic method.
pub const MINIBATCH_MAX: u32 = 1 << 20;
/// Replicas of a round.
const REPLICAS_MAX: u32 = 1 << 16;
/// Minibatch steps of a replica in a round.
const LOCAL_STEPS_MAX: u32 = 1 << 20;
/// Curvature pairs; more than a few dozen have no use and cost memory.
const MEMORY_MAX: u32 = 100;

impl RunConfig {
    /// Whether all settings are in range and go together.
    ///
    /// # Errors
    /// The first that is not or does not, with what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse =
            |setting, problem: &str| Err(ConfigError::Setting { setting, problem: problem.to_owned() });
        let splits = self.test_fraction.is_some_and(|fraction| fraction != Fraction::ZERO);
        if self.test.is_some() && splits {
            return refuse("test-fraction", "give either test examples or a test fraction, not both");
        }
        if self.test_fraction.is_some_and(|fraction| fraction.get() == 1.0) {
            return refuse(
                "test-fraction",
                "with 1 nothing is left to train on; give a share below 1, such as 0.2",
            );
        }
        let splits = self.validation_fraction.is_some_and(|fraction| fraction != Fraction::ZERO);
        if self.validation.is_some() && splits {
            return refuse(
                "validation-fraction",
                "give either validation examples or a validation fraction, not both",
            );
        }
        if self.validation_fraction.is_some_and(|fraction| fraction.get() == 1.0) {
            return refuse(
                "validation-fraction",
                "with 1 nothing is left to train on; give a share below 1, such as 0.1",
            );
        }
        if self.patience.is_some() && self.validation.is_none() && !splits {
            return refuse(
                "patience",
                "early stopping looks at validation examples, and there are none; give --validation-fraction 0.1, or \
                 --validation with a file of them",
            );
        }
        if self.target_accuracy.is_some() && self.task == Some(TaskKind::Numbers) {
            return refuse(
                "target-accuracy",
                "numbers have no accuracy; leave it out or set task to classes",
            );
        }
        if self.target_accuracy == Some(Fraction::ZERO) {
            return refuse("target-accuracy", "0 is reached before training; give a share such as 0.97");
        }
        in_range("minibatch", self.minibatch, 1, MINIBATCH_MAX)?;
        self.check_method()?;
        in_range("iterations", self.iterations, 1, i64::MAX as u64)?;
        self.check_stopping()?;
        in_range("seed", self.seed, 0, i64::MAX as u64)?;
        if !(self.model.l2 >= 0.0 && self.model.l2.is_finite()) {
            return refuse("l2", "the weight of the L2 penalty must be 0 or a positive number");
        }
        for name in &self.allow_host {
            if let Err(problem) = host_name(name) {
                return refuse("allow-host", &format!("\"{name}\" is not a host name; {problem}"));
            }
        }
        Ok(())
    }
}

impl RunConfig {
    /// When to evaluate and when to stop.
    fn check_stopping(&self) -> Result<(), ConfigError> {
        let most = i64::MAX as u64;
        in_range("evaluate-every", self.evaluate_every.unwrap_or(1), 1, most)?;
        in_range("rounds", self.rounds.unwrap_or(1), 1, most)?;
        in_range("max-seconds", self.max_seconds.unwrap_or(1), 1, most)?;
        in_range("patience", self.patience.unwrap_or(1), 1, most)?;
        let positive = |setting, value: Option<f64>, example: &str| match value {
            Some(value) if !(value > 0.0 && value.is_finite()) => {
                let problem = format!("{value} is out of range; give a number above 0, such as {example}");
                Err(ConfigError::Setting { setting, problem })
            }
            _ => Ok(()),
        };
        positive("epochs", self.epochs, "10")?;
        positive("target-loss", self.target_loss, "0.01")?;
        positive("gradient-tolerance", self.gradient_tolerance, "0.0001")?;
        if self.relative_decrease.is_some_and(|share| !(0.0..1.0).contains(&share)) {
            let problem = "give a share from 0 to below 1, such as 0.001".to_owned();
            return Err(ConfigError::Setting { setting: "relative-decrease", problem });
        }
        let only_steps = matches!(self.optimizer, OptimizerKind::Averaged | OptimizerKind::Average);
        if self.gradient_tolerance.is_some() && only_steps {
            let problem =
                "local steps measure no gradient; leave it out, or choose another optimizer".to_owned();
            return Err(ConfigError::Setting { setting: "gradient-tolerance", problem });
        }
        Ok(())
    }

    /// The settings of some methods: in range, and of the method that was chosen.
    fn check_method(&self) -> Result<(), ConfigError> {
        let optimizer = self.optimizer;
        let of = |is_given: bool, setting, has_it: bool, problem: &str| match is_given && !has_it {
            true => Err(ConfigError::Setting { setting, problem: problem.to_owned() }),
            false => Ok(()),
        };
        let (local, stochastic) = (optimizer.is_local(), optimizer.is_stochastic());
        let replicas = "only the optimizers auto, averaged and average have replicas";
        of(self.replicas.is_some(), "replicas", local, replicas)?;
        of(self.local_steps.is_some(), "local-steps", local, replicas)?;
        let minibatches = "only the optimizers sgd, momentum, adam and adamw take it";
        of(self.minibatches_per_round.is_some(), "minibatches-per-round", stochastic, minibatches)?;
        let rates = "L-BFGS finds its own step lengths; leave it out, or choose another optimizer";
        of(self.learning_rate.is_some(), "learning-rate", local || stochastic, rates)?;
        of(self.schedule.is_some(), "schedule", local || stochastic, rates)?;
        of(self.schedule_iterations.is_some(), "schedule-iterations", local || stochastic, rates)?;
        let sampled = optimizer == OptimizerKind::Lbfgs;
        of(self.sample.is_some(), "sample", sampled, "only the optimizer lbfgs takes a sample")?;
        let overlap = "it goes with --optimizer lbfgs and --sample";
        of(self.overlap.is_some(), "overlap", sampled && self.sample.is_some(), overlap)?;
        let averages = optimizer == OptimizerKind::Average;
        of(self.outer_momentum.is_some(), "outer-momentum", averages, "only the optimizer average has it")?;
        let decays = optimizer == OptimizerKind::AdamW;
        of(self.weight_decay.is_some(), "weight-decay", decays, "only the optimizer adamw has it; see l2")?;
        let memory = "only the optimizers auto, averaged and lbfgs remember curvature";
        of(self.memory.is_some(), "memory", optimizer.has_memory(), memory)?;

        in_range("replicas", self.replicas.unwrap_or(1), 1, REPLICAS_MAX)?;
        in_range("local-steps", self.local_steps.unwrap_or(1), 1, LOCAL_STEPS_MAX)?;
        in_range("minibatches-per-round", self.minibatches_per_round.unwrap_or(1), 1, MINIBATCH_MAX)?;
        in_range("schedule-iterations", self.schedule_iterations.unwrap_or(1), 1, i64::MAX as u64)?;
        in_range("sample", self.sample.unwrap_or(1), 1, u32::MAX)?;
        in_range("memory", self.memory.unwrap_or(1), 1, MEMORY_MAX)?;
        in_range("weight-decay", self.weight_decay.unwrap_or(0.0), 0.0, f32::MAX)?;
        let share = |setting, problem: &str| ConfigError::Setting { setting, problem: problem.to_owned() };
        if self.outer_momentum.is_some_and(|momentum| !(0.0..1.0).contains(&momentum)) {
            return Err(share("outer-momentum", "give a number from 0 to below 1, such as 0.9"));
        }
        if self.overlap.is_some_and(|overlap| !(overlap > Fraction::ZERO && overlap.get() <= 0.5)) {
            return Err(share("overlap", "give a share above 0, at most 0.5"));
        }
        Ok(())
    }
}

fn in_range<T: PartialOrd + fmt::Display>(
    setting: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), ConfigError> {
    if value >= least && value <= most {
        return Ok(());
    }
    let problem = format!("{value} is out of range; give a number from {least} to {most}");
    Err(ConfigError::Setting { setting, problem })
}
