//! What settings may be: the same for a new run, for one that is resumed, and for a `run.toml` that
//! somebody has edited.

use std::fmt;

use super::error::ConfigError;
use super::values::{Fraction, host_name};
use super::{RunConfig, TaskKind};

/// Examples in the largest minibatch.
pub const MINIBATCH_MAX: u32 = 1 << 20;

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
        in_range("iterations", self.iterations, 1, i64::MAX as u64)?;
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
