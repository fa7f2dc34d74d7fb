//! Cuts a run's examples into work units: a function of the data and the settings alone, whoever helps.

use std::sync::Arc;

use anyhow::Result;
use protocol::limits::UNITS_MAX;
use protocol::plan::SetPlans;

use crate::config::{ConfigError, RunConfig};
use crate::data::{Prepared, ShardStore};

/// Aim for a unit's examples: enough that turning its gradient into integers costs little beside computing
/// it.
const UNIT_EXAMPLES: u32 = 256;
/// Aim for a round's units if the data are few, so that several volunteers find work.
const UNITS_WANTED: u32 = 64;
/// Aim for a round's units for each core that volunteers are expected to lend.
const UNITS_PER_CORE: u32 = 50;
/// Most units of a set, unless more cores are expected.
const SET_UNITS_MAX: u32 = 1 << 16;
/// Most units of a set in any case: a quarter of the limit, because evaluations of three sets add to the round.
const CROWD_UNITS_MAX: u32 = UNITS_MAX / 4;

/// Cuts all sets of a run, and keeps the shards ready to serve.
///
/// # Errors
/// When volunteers would refuse the cut.
pub(super) fn cut(config: &RunConfig, data: Arc<Prepared>) -> Result<(ShardStore, SetPlans)> {
    let examples_per_unit = unit_of_run(config, data.train.len());
    let (shards, plans) = ShardStore::cut(data, examples_per_unit);
    check_plans(&plans, config.replicas)?;
    Ok((shards, plans))
}

/// Examples in a unit of the run. Stochastic methods use so few in a round that they need units of their own:
/// the number of a unit's minibatches divides the round's, and the unit is as near to [`UNIT_EXAMPLES`] as
/// that allows.
pub(super) fn unit_of_run(config: &RunConfig, examples: usize) -> u32 {
    let Some(minibatches) = config.minibatches_per_round else {
        return cut_for(examples, config.minibatch, config.expected_cores);
    };
    let fits = |count: &u32| minibatches.is_multiple_of(*count);
    let most = (UNIT_EXAMPLES / config.minibatch).clamp(1, minibatches);
    (1..=most).rev().find(fits).unwrap_or(1).saturating_mul(config.minibatch)
}

/// Examples in a unit: a whole number of minibatches, which follows from the data and the configuration
/// alone. There are about 256, or fewer where that would leave fewer than 64 units.
pub fn examples_per_unit(examples: usize, minibatch: u32) -> u32 {
    let examples = u32::try_from(examples).unwrap_or(u32::MAX);
    let wanted = (examples / UNITS_WANTED).clamp(1, UNIT_EXAMPLES);
    let least = examples.div_ceil(SET_UNITS_MAX);
    wanted.max(least).div_ceil(minibatch).saturating_mul(minibatch)
}

/// The same for so many expected cores: where that would leave fewer than 50 units for each, units are smaller, down
/// to one minibatch.
fn cut_for(examples: usize, minibatch: u32, cores: Option<u32>) -> u32 {
    let ordinary = examples_per_unit(examples, minibatch);
    let examples = u32::try_from(examples).unwrap_or(u32::MAX);
    let wanted = cores.map_or(0, |cores| cores.saturating_mul(UNITS_PER_CORE));
    if wanted <= examples.div_ceil(ordinary) {
        return ordinary;
    }
    let minibatches = (examples / wanted / minibatch).max(1);
    let least = examples.div_ceil(CROWD_UNITS_MAX).div_ceil(minibatch);
    minibatches.max(least).saturating_mul(minibatch)
}

/// Refuses a cut that volunteers would refuse.
fn check_plans(plans: &SetPlans, replicas: Option<u32>) -> Result<()> {
    let SetPlans { training, validation, test } = plans;
    let checked = plans.check();
    // The training set may be evaluated as well as trained on, by replicas or otherwise.
    let trained = training.units().max(replicas.unwrap_or(0));
    let units = [trained, training.units(), validation.units(), test.units()];
    let units = units.into_iter().map(u64::from).sum::<u64>();
    let problem = match checked {
        Err(problem) => problem.to_string(),
        Ok(()) if units > UNITS_MAX.into() => format!("more than {UNITS_MAX} units in a round"),
        Ok(()) => return Ok(()),
    };
    let problem = format!("the examples cannot be cut into work units of whole minibatches: {problem}");
    Err(ConfigError::Setting { setting: "minibatch", problem }.into())
}

#[cfg(test)]
mod tests {
    use protocol::plan::{SetPlan, ShardRef};

    use super::*;

    #[test]
    fn a_unit_is_a_whole_number_of_minibatches() {
        assert_eq!(examples_per_unit(60_000, 10), 260);
        assert_eq!(examples_per_unit(60_000, 1000), 1000);
        assert_eq!(examples_per_unit(1_438, 10), 30);
        assert_eq!(examples_per_unit(1, 32), 32);
        let unit = examples_per_unit(u32::MAX as usize, 1);
        assert!(u32::MAX.div_ceil(unit) <= UNITS_MAX / 4);
    }

    #[test]
    fn each_expected_core_has_fifty_units_where_the_data_allow() {
        let units = |examples: usize, cores| examples.div_ceil(cut_for(examples, 10, Some(cores)) as usize);
        assert_eq!(cut_for(60_000, 10, Some(4)), examples_per_unit(60_000, 10), "there are enough anyway");
        assert!(units(60_000, 100) >= 5_000);
        assert_eq!(units(60_000, 10_000), 6_000, "a minibatch is the least");
        assert!(units(1_000_000, 1_000) >= 50_000);
        // 256 examples are the most, as long as the round has room for the units.
        assert!(units(100_000_000, 7_000) >= 50 * 7_000);
        assert!(units(100_000_000, 100_000) >= 30 * 100_000);
        assert!(u32::MAX.div_ceil(cut_for(u32::MAX as usize, 1, Some(1 << 20))) <= CROWD_UNITS_MAX);
        // Without that, a cut of today.
        assert_eq!(examples_per_unit(100_000_000, 10), 1530);
    }

    #[test]
    fn replicas_count_among_the_units_of_a_round() {
        let set = |units: u32| SetPlan {
            examples: units,
            examples_per_unit: 1,
            units_per_shard: UNITS_MAX,
            shards: vec![ShardRef { hash: [0; 32], bytes: 1 }; units.min(1) as usize],
        };
        let plans = SetPlans { training: set(10), validation: set(0), test: set(UNITS_MAX - 30) };
        assert!(check_plans(&plans, None).is_ok());
        assert!(check_plans(&plans, Some(20)).is_ok());
        let problem = check_plans(&plans, Some(21)).unwrap_err().to_string();
        assert!(problem.contains(&UNITS_MAX.to_string()), "{problem}");
    }
}
