//! A run as hub and compute workers derive it from a welcome, and the check that a round suits it.

use model::{Network, NetworkSpec, SpecError};
use protocol::examination::Layout;
use protocol::limits::LOCAL_EXAMPLES_MAX;
use protocol::message::{LocalBounds, Welcome};
use protocol::plan::{Part, RoundPlan, Set, SetPlan, UnitLayout, Work};

use crate::footprint::{Footprint, decoded_bytes};
use crate::settings::Settings;

/// A run as a volunteer knows it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) welcome: Welcome,
    pub(crate) network: Network,
}

impl Run {
    pub(crate) fn new(welcome: Welcome) -> Result<Run, SpecError> {
        let spec = NetworkSpec::from_json(&welcome.network)?;
        let network = Network::new(&spec, welcome.features as usize, welcome.task)?;
        network.check_minibatch(welcome.minibatch as usize)?;
        Ok(Run { welcome, network })
    }

    pub(crate) fn set(&self, set: Set) -> &SetPlan {
        self.welcome.sets.of(set)
    }

    /// The memory that a volunteer needs for this run.
    pub(crate) fn footprint(&self, settings: &Settings) -> Footprint {
        Footprint::of_run(&self.network, &self.welcome, settings)
    }

    /// The maximum bytes of a shard in a compute worker.
    pub(crate) fn decoded_bytes(&self, set: Set, shard: u32) -> u64 {
        decoded_bytes(&self.network, self.set(set), shard)
    }

    /// Whether this run can have a round with these units and scales.
    pub(crate) fn suits(&self, plan: &RoundPlan) -> bool {
        let work_fits = |part: &Part| match part.work {
            Work::Examination => Layout::of(self.network.task(), self.network.parameters()).is_some(),
            Work::Local { steps, .. } => {
                let pool = self.set(part.set).examples.div_ceil(part.units.max(1));
                let examples = u64::from(steps) * u64::from(self.welcome.minibatch.min(pool));
                let announced = |local: LocalBounds| part.units >= local.replicas && steps <= local.steps;
                part.set == Set::Training
                    && self.welcome.local.is_some_and(announced)
                    && examples <= LOCAL_EXAMPLES_MAX.into()
            }
            _ => true,
        };
        plan.scales.are_in_range()
            && plan.parts.iter().all(|part| part.suits(self.set(part.set)) && work_fits(part))
    }

    /// The examples of each unit, part by part.
    pub(crate) fn lay_out(&self, plan: &RoundPlan) -> Vec<UnitLayout> {
        plan.parts.iter().map(|part| part.lay_out(self.set(part.set), self.welcome.seed)).collect()
    }
}
