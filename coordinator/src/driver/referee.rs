//! The coordinator's own computation of single units: for the first scale of a run, and before it
//! believes a volunteer that a unit does not fit.

use std::sync::{Arc, mpsc};

use model::{Arithmetic, Examples, Features, Network};
use protocol::plan::{RoundPlan, SetPlans};
use tokio::sync::mpsc::WeakSender;
use worker::unit::{Buffers, Unit, measure_unit};

use super::Order;
use crate::data::Prepared;
use engine::Measure;

/// What the referee computes with.
#[derive(Debug)]
pub struct Referee {
    /// The network.
    pub network: Network,
    /// The run's arithmetic.
    pub arithmetic: Arithmetic,
    /// The run's seed.
    pub seed: u64,
    /// Examples of one gradient step.
    pub minibatch: u32,
    /// The data, straight from memory.
    pub data: Arc<Prepared>,
    /// How the data are cut.
    pub sets: SetPlans,
}

/// A unit to look at.
pub(super) struct Request {
    pub(super) plan: RoundPlan,
    pub(super) unit: u32,
    pub(super) vectors: Vec<Arc<[f32]>>,
}

/// Starts the referee's thread. It ends with the driver. The engine never has more than one
/// request open, so the channel stays short.
pub(super) fn start(referee: Referee, orders: WeakSender<Order>) -> std::io::Result<mpsc::Sender<Request>> {
    let (sender, requests) = mpsc::channel::<Request>();
    std::thread::Builder::new().name("referee".into()).spawn(move || {
        let mut buffers = Buffers::default();
        for request in requests {
            let Some(measure) = referee.measure(&request, &mut buffers) else { continue };
            let Some(orders) = orders.upgrade() else { return };
            if orders.blocking_send(Order::Measured(request.plan.round, measure)).is_err() {
                return;
            }
        }
    })?;
    Ok(sender)
}

impl Referee {
    fn measure(&self, request: &Request, buffers: &mut Buffers) -> Option<Measure> {
        let plan = &request.plan;
        let (part, number) = plan.locate(request.unit)?;
        let part = &plan.parts[part];
        let cut = self.sets.of(part.set);
        let examples = part.lay_out(cut, self.seed).examples_of(cut, number);
        let (first_example, range) = (examples.start, examples);
        let range = range.start as usize..range.end as usize;
        let table = self.data.table(part.set)?;
        let features = Features::new(table.rows(range.clone()), &self.data.preprocessing);
        let examples = Examples { features, targets: table.targets(range) };
        let direction = request.vectors.get(1).map_or(&[][..], |direction| direction);
        let unit = Unit {
            network: &self.network,
            arithmetic: self.arithmetic,
            seed: self.seed,
            minibatch: self.minibatch,
            plan,
            work: &part.work,
            number,
            examples: &[examples],
            first_example,
            weights: &request.vectors[0],
            direction,
        };
        Some(measure_unit(&unit, buffers))
    }
}
