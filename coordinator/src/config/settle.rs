//! Settings of the optimizer that follow from data and network if they are not given. They are the same for
//! everyone with the same data and flags, however fast the machine is.

use model::Network;
use protocol::limits::LOCAL_EXAMPLES_MAX;

use super::error::ConfigError;
use super::table::{REPLICAS_MAX, RunConfig, STOCHASTIC_EXAMPLES};
use super::values::Decay;

/// The fewest steps of a replica in a round, where the network allows: the number of rounds depends on the steps far
/// more than on the replicas.
const STEPS_WANTED: u32 = 200;
/// Steps that each replica should be able to take in one pass over its part of the examples.
const PASS_STEPS: u32 = 400;
/// The fewest steps, however large the network is.
const STEPS_LEAST: u32 = 50;
/// Most replicas, and least where the data allow: several times the cores that a handful of
/// volunteers lend.
const REPLICAS: (u32, u32) = (8, 32);
/// The fewest minibatches in a replica's own part of the examples: with fewer it would learn
/// them by heart.
const MINIBATCHES_OF_REPLICA: u32 = 20;
/// Replicas for each core that volunteers are expected to lend: a fast core takes two or three while a slow one takes
/// one.
const REPLICAS_PER_CORE: u32 = 2;
/// Floating-point operations of a round beyond which it does not grow to have [`STEPS_WANTED`], or to
/// cover all examples: some seconds of ten cores.
const ROUND_OPERATIONS: f64 = 1e11;
/// The same for each core that volunteers are expected to lend: two or three seconds, because a crowd's weights and
/// sums take as long on their way.
const CORE_OPERATIONS: f64 = 5e10;
/// Operations on an example for each parameter: a multiplication and an addition forward, and twice
/// that backward.
const OPERATIONS_PER_PARAMETER: f64 = 6.0;

impl RunConfig {
    /// Fills in the settings that follow from data and network. Given settings stay.
    ///
    /// # Errors
    /// When a setting does not fit the data.
    pub fn settle(&mut self, examples: usize, network: &Network) -> Result<(), ConfigError> {
        let examples = u32::try_from(examples).unwrap_or(u32::MAX);
        let optimizer = self.optimizer;
        if optimizer.is_local() {
            let cores = self.expected_cores;
            let replicas = *self.replicas.get_or_insert_with(|| replicas(examples, self.minibatch, cores));
            if replicas > examples {
                let problem =
                    format!("there are only {examples} examples to train on; give no more than that");
                return Err(ConfigError::Setting { setting: "replicas", problem });
            }
            let work = OPERATIONS_PER_PARAMETER * network.trainable() as f64;
            let steps = *self
                .local_steps
                .get_or_insert_with(|| local_steps(examples, self.minibatch, replicas, work, cores));
            let step = self.minibatch.min(examples.div_ceil(replicas));
            if u64::from(steps) * u64::from(step) > LOCAL_EXAMPLES_MAX.into() {
                let problem = format!(
                    "{steps} steps of {step} examples are more than the {LOCAL_EXAMPLES_MAX} examples that a \
                     replica may go through in a round; give fewer steps, smaller minibatches or more replicas"
                );
                return Err(ConfigError::Setting { setting: "local-steps", problem });
            }
        }
        self.settle_each();
        if self.schedule.is_some_and(|schedule| schedule != Decay::Constant) {
            self.schedule_iterations.get_or_insert(self.iterations);
        }
        if optimizer.is_stochastic() {
            self.minibatches_per_round.get_or_insert((STOCHASTIC_EXAMPLES / self.minibatch).max(1));
        }
        if self.sample.is_none() {
            self.overlap = None;
        }
        Ok(())
    }
}

/// As many replicas as leave each [`PASS_STEPS`] in one pass over its examples, within [`REPLICAS`], or as many as the
/// expected cores need; fewer for small data.
fn replicas(examples: u32, minibatch: u32, cores: Option<u32>) -> u32 {
    let with_minibatches = |minibatches: u32| examples / minibatch.saturating_mul(minibatches);
    let (least, most) = REPLICAS;
    let of_cores = cores.map_or(0, |cores| cores.saturating_mul(REPLICAS_PER_CORE)).min(REPLICAS_MAX);
    let wanted = with_minibatches(PASS_STEPS).clamp(least, most).max(of_cores);
    wanted.min(with_minibatches(MINIBATCHES_OF_REPLICA)).max(1)
}

/// [`STEPS_WANTED`], or those of one pass over the replica's examples if they are more; fewer where
/// that would take too long with a network of `work` operations an example.
fn local_steps(examples: u32, minibatch: u32, replicas: u32, work: f64, cores: Option<u32>) -> u32 {
    let most = cores.map_or(0.0, |cores| f64::from(cores) * CORE_OPERATIONS).max(ROUND_OPERATIONS);
    let one_pass = examples.div_ceil(replicas).div_ceil(minibatch);
    let step_of_all = f64::from(replicas) * f64::from(minibatch) * work;
    let affordable = (most / step_of_all.max(1.0)) as u32;
    one_pass.max(STEPS_WANTED).min(affordable.max(STEPS_LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations on an example of the 784-128-10 network.
    const SMALL: f64 = 6.0 * 101_770.0;

    #[test]
    fn replicas_and_steps_follow_from_data_and_network() {
        for (examples, minibatch, work, expected) in [
            (60_000, 10, SMALL, (15, 400)),
            (60_000, 5, SMALL, (30, 400)),
            (60_000, 100, SMALL, (8, 200)),
            (60_000, 1000, SMALL, (3, 54)),
            (1_438, 10, SMALL, (7, 200)),
            (100, 10, SMALL, (1, 200)),
            (1, 10, SMALL, (1, 200)),
            // Much data: a round covers a part of it.
            (10_000_000, 10, SMALL, (32, 511)),
            // A large network.
            (60_000, 10, 6.0 * 2e7, (15, 50)),
        ] {
            let replicas = replicas(examples, minibatch, None);
            let steps = local_steps(examples, minibatch, replicas, work, None);
            assert_eq!((replicas, steps), expected, "{examples} examples, minibatch {minibatch}");
        }
    }

    #[test]
    fn a_crowd_that_is_expected_has_enough_to_do() {
        for (examples, cores, expected) in [
            // No more than there would be anyway.
            (60_000, 4, (15, 400)),
            // As many as the data allow.
            (60_000, 100, (200, 200)),
            (60_000, 10_000, (300, 200)),
            (1_000_000, 1_000, (2_000, 200)),
            (1_000_000, 100_000, (5_000, 200)),
            (100_000_000, 1_000, (2_000, 4_094)),
            (100_000_000, 100_000, (200_000, 200)),
        ] {
            let cores = Some(cores);
            let replicas = replicas(examples, 10, cores);
            let steps = local_steps(examples, 10, replicas, SMALL, cores);
            assert_eq!((replicas, steps), expected, "{examples} examples, {cores:?} cores");
        }
    }
}
