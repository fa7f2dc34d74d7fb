//! The coordinator's own computation of single units: for the first scale of a run, and to check a
//! volunteer's report that a unit does not fit.

use std::sync::Arc;

use model::{Arithmetic, Examples, Features, Network};
use protocol::plan::{RoundPlan, SetPlans};
use tokio::runtime::Handle;
use tokio::sync::{mpsc::WeakSender, watch};
use worker::unit::{Buffers, Unit, measure_unit};

use super::Order;
use crate::data::Prepared;
use engine::Measure;

/// Everything that the referee computes with.
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
    /// The data, in memory.
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

/// The driver's way to the referee. It holds one request, the newest: an older request belongs to a round
/// that is over.
pub(super) struct Requests(watch::Sender<Option<Arc<Request>>>);

impl Requests {
    /// Asks for a unit.
    pub(super) fn ask(&self, request: Request) {
        // The referee ends after the driver. If it has gone, it has panicked, and nothing can go on.
        self.0.send(Some(Arc::new(request))).expect("the referee lives as long as the driver");
    }

    /// Drops the answered request of that round, and the vectors in it.
    pub(super) fn answered(&self, round: u64) {
        self.0.send_if_modified(|newest| {
            newest.take_if(|request| request.plan.round == round);
            false
        });
    }
}

/// Starts the referee's thread. It ends with the driver.
pub(super) fn start(
    referee: Referee,
    orders: WeakSender<Order>,
    runtime: Handle,
) -> std::io::Result<Requests> {
    let (sender, mut requests) = watch::channel::<Option<Arc<Request>>>(None);
    std::thread::Builder::new().name("referee".into()).spawn(move || {
        let mut buffers = Buffers::default();
        while runtime.block_on(requests.changed()).is_ok() {
            let Some(request) = requests.borrow_and_update().clone() else { continue };
            let Some(measure) = referee.measure(&request, &mut buffers) else { continue };
            let Some(orders) = orders.upgrade() else { return };
            if orders.blocking_send(Order::Measured(request.plan.round, measure)).is_err() {
                return;
            }
        }
    })?;
    Ok(Requests(sender))
}

impl Referee {
    fn measure(&self, request: &Request, buffers: &mut Buffers) -> Option<Measure> {
        let plan = &request.plan;
        let (part, number) = plan.locate(request.unit)?;
        let part = &plan.parts[part];
        let set = self.sets.of(part.set);
        let examples = part.lay_out(set, self.seed).examples_of(set, number);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_newest_request_only_and_until_it_is_answered() {
        let (sender, waiting) = watch::channel::<Option<Arc<Request>>>(None);
        let requests = Requests(sender);
        let request = |round| Request {
            plan: RoundPlan { round, ..RoundPlan::default() },
            unit: 0,
            vectors: Vec::new(),
        };
        let round = || waiting.borrow().as_ref().map(|request| request.plan.round);
        requests.ask(request(1));
        requests.ask(request(2));
        assert_eq!(round(), Some(2));
        requests.answered(1);
        assert_eq!(round(), Some(2));
        requests.answered(2);
        assert_eq!(round(), None);
    }
}
