//! What hub and compute workers derive from a welcome, and which rounds suit it.

use model::{Network, NetworkSpec, SpecError, exact};
use protocol::frame::RoundFrame;
use protocol::message::Welcome;
use protocol::plan::{Set, SetPlan};

/// A run as far as a volunteer must know it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) welcome: Welcome,
    pub(crate) network: Network,
}

impl Run {
    pub(crate) fn new(welcome: Welcome) -> Result<Run, SpecError> {
        let spec = NetworkSpec::from_json(&welcome.network)?;
        let network = Network::new(&spec, welcome.features as usize, welcome.task)?;
        Ok(Run { welcome, network })
    }

    pub(crate) fn set(&self, set: Set) -> &SetPlan {
        match set {
            Set::Training => &self.welcome.training,
            Set::Test => &self.welcome.test,
        }
    }

    /// Whether a round's vectors, units and exponents are ones that this run can have.
    pub(crate) fn suits(&self, round: &RoundFrame<'_>) -> bool {
        let plan = &round.plan;
        let exponents = [plan.gradient_exponent, plan.loss_exponent, plan.evaluation_exponent];
        round.parameters() == self.network.parameters()
            && exponents.iter().all(|exponent| exact::EXPONENTS.contains(exponent))
            && plan.parts.iter().all(|part| part.units <= self.set(part.set).units())
    }
}
