//! The coordinator's own computation: of single units for the first scale of a run and to check a volunteer's
//! report that a unit does not fit, and of several to decide between two results that differ.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use model::{Arithmetic, Examples, Features, Network, Preprocessing, Task};
use protocol::plan::{RoundPlan, Set, SetPlan, SetPlans};
use protocol::shard::Shard;
use tokio::runtime::Handle;
use tokio::sync::{mpsc::WeakSender, watch};
use worker::unit::{Buffers, Unit, UnitOutcome, UnitSums, evaluate_unit, measure_unit};

use super::Order;
use crate::data::{Prepared, ShardStore};
use engine::{Answer, Measure};

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
    /// The data.
    pub source: Source,
    /// How the data are cut.
    pub sets: SetPlans,
}

/// Where the referee has the data from.
#[derive(Debug)]
pub enum Source {
    /// They are in memory.
    Prepared(Arc<Prepared>),
    /// Each shard is decoded when it is needed.
    Shards(ShardReader),
}

/// The shards of a run, of which the last few are kept decoded.
#[derive(Debug)]
pub struct ShardReader {
    shards: Arc<ShardStore>,
    features: usize,
    task: Task,
    preprocessing: Preprocessing,
    kept: Mutex<VecDeque<(Set, u32, Arc<Shard>)>>,
    /// Between two tries.
    pause: Duration,
}

/// Decoded shards that are kept; a shard has some megabytes.
const SHARDS_KEPT: usize = 16;

/// How often a shard is asked for, if the store that has it does not answer. Then other requests get their turn; whoever
/// waits for this one asks again.
const SHARD_TRIES_MAX: u32 = 10;
/// The pause between.
const SHARD_PAUSE: Duration = Duration::from_secs(1);

impl ShardReader {
    /// A reader of these shards, of examples of that many features.
    pub fn new(
        shards: Arc<ShardStore>,
        features: usize,
        task: Task,
        preprocessing: Preprocessing,
    ) -> ShardReader {
        ShardReader { shards, features, task, preprocessing, kept: Mutex::default(), pause: SHARD_PAUSE }
    }

    /// A shard of a set; `None` if it cannot be had now.
    fn shard(&self, set: Set, index: u32, plan: &SetPlan) -> Option<Arc<Shard>> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., shard)) = kept().iter().find(|(of, at, _)| (*of, *at) == (set, index)) {
            return Some(Arc::clone(shard));
        }
        let hash = plan.shards.get(index as usize)?.hash;
        let mut tries = 0..SHARD_TRIES_MAX;
        let bytes = loop {
            match self.shards.encoded(&hash) {
                Some(bytes) => break bytes,
                // The store does not answer.
                None => tries.next().map(|_| std::thread::sleep(self.pause))?,
            }
        };
        let mut shard = Shard::decode_in_place(Arc::new(bytes), self.features, self.task).ok()?;
        shard.find_zeros(&self.preprocessing);
        let shard = Arc::new(shard);
        let mut kept = kept();
        if kept.len() == SHARDS_KEPT {
            kept.pop_front();
        }
        kept.push_back((set, index, Arc::clone(&shard)));
        Some(shard)
    }
}

/// Units to compute.
pub(crate) struct Request {
    pub(crate) plan: RoundPlan,
    /// The units, all of one part. A request to measure has one.
    pub(crate) units: Vec<Range<u32>>,
    pub(crate) vectors: Vec<Arc<[f32]>>,
}

impl Request {
    /// The unit that a request to measure has.
    fn unit(&self) -> u32 {
        self.units.first().map_or(0, |units| units.start)
    }
}

/// The newest request of each kind: an older one belongs to a round that is over.
#[derive(Default)]
struct Desk {
    measure: Option<Arc<Request>>,
    recompute: Option<Arc<Request>>,
    /// A request to recompute for which nobody waits. The round may be over.
    spot_check: Option<Arc<Request>>,
}

/// The driver's way to the referee.
pub(crate) struct Requests(watch::Sender<Desk>);

impl Requests {
    /// Asks for the size of a unit.
    pub(crate) fn measure(&self, request: Request) {
        self.ask(|desk| desk.measure = Some(Arc::new(request)));
    }

    /// Asks for the sum of units.
    pub(crate) fn recompute(&self, request: Request) {
        self.ask(|desk| desk.recompute = Some(Arc::new(request)));
    }

    /// Asks for the sum of units when there is time, whatever becomes of their round.
    pub(crate) fn spot_check(&self, request: Request) {
        self.ask(|desk| desk.spot_check = Some(Arc::new(request)));
    }

    fn ask(&self, put: impl FnOnce(&mut Desk)) {
        // The referee ends after the driver. If it has gone, it has panicked, and nothing can go on.
        assert!(self.0.receiver_count() > 0, "the referee lives as long as the driver");
        self.0.send_modify(put);
    }

    /// Drops the answered request to measure that unit of that round, and the vectors in it.
    pub(crate) fn measured(&self, round: u64, unit: u32) {
        self.0.send_if_modified(|desk| {
            desk.measure.take_if(|request| request.plan.round == round && request.unit() == unit);
            false
        });
    }

    /// Another round is open: nobody waits for the sums of units of the one before.
    pub(crate) fn opened(&self, round: u64) {
        self.0.send_if_modified(|desk| {
            desk.recompute.take_if(|request| request.plan.round != round);
            false
        });
    }
}

/// Starts the referee's thread. It ends with the driver.
pub(crate) fn start(
    referee: Referee,
    orders: WeakSender<Order>,
    runtime: Handle,
) -> std::io::Result<Requests> {
    let (sender, mut requests) = watch::channel(Desk::default());
    std::thread::Builder::new().name("referee".into()).spawn(move || {
        let mut buffers = Buffers::default();
        let mut done = [None, None, None];
        while runtime.block_on(requests.changed()).is_ok() {
            let desk = requests.borrow_and_update();
            let (measure, recompute) = (desk.measure.clone(), desk.recompute.clone());
            let spot_check = desk.spot_check.clone();
            drop(desk);
            let is_new = |done: &Option<Weak<Request>>, request: &Arc<Request>| {
                done.as_ref().is_none_or(|done| !std::ptr::eq(done.as_ptr(), Arc::as_ptr(request)))
            };
            let mut answers = Vec::new();
            if let Some(request) = measure.filter(|request| is_new(&done[0], request)) {
                done[0] = Some(Arc::downgrade(&request));
                let round = request.plan.round;
                let unit = request.unit();
                answers.push(match referee.measure(&request, &mut buffers) {
                    Some(measure) => Order::Measured(round, unit, measure),
                    None => Order::NotMeasured(round, unit),
                });
            }
            if let Some(request) = recompute.filter(|request| is_new(&done[1], request)) {
                done[1] = Some(Arc::downgrade(&request));
                let is_wanted = || {
                    let desk = requests.borrow();
                    desk.recompute.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, &request))
                };
                let round = request.plan.round;
                match referee.recompute(&request, &mut buffers, is_wanted) {
                    Computed::Sums(answer) => answers.push(Order::Recomputed(round, answer)),
                    Computed::Unknown => answers.push(Order::NotRecomputed(round)),
                    Computed::Unwanted => {}
                }
            }
            if let Some(request) = spot_check.filter(|request| is_new(&done[2], request)) {
                done[2] = Some(Arc::downgrade(&request));
                let round = request.plan.round;
                answers.push(match referee.recompute(&request, &mut buffers, || true) {
                    Computed::Sums(answer) => Order::SpotChecked(round, answer),
                    Computed::Unknown | Computed::Unwanted => Order::NotSpotChecked(round),
                });
            }
            for answer in answers {
                let Some(orders) = orders.upgrade() else { return };
                if orders.blocking_send(answer).is_err() {
                    return;
                }
            }
        }
    })?;
    Ok(Requests(sender))
}

/// What came of a request to add units up.
#[derive(Debug, PartialEq)]
enum Computed {
    /// Their sums; `None` if one of them has no result.
    Sums(Option<Answer>),
    /// The examples cannot be had now.
    Unknown,
    /// Nobody waits for it any more.
    Unwanted,
}

impl Referee {
    /// `None` if the examples cannot be had now.
    fn measure(&self, request: &Request, buffers: &mut Buffers) -> Option<Measure> {
        self.with_unit(request, request.unit(), |unit| measure_unit(unit, buffers))
    }

    fn recompute(&self, request: &Request, buffers: &mut Buffers, is_wanted: impl Fn() -> bool) -> Computed {
        let mut sums: Option<UnitSums> = None;
        for number in request.units.iter().cloned().flatten() {
            if !is_wanted() {
                return Computed::Unwanted;
            }
            let outcome = self.with_unit(request, number, |unit| {
                let zero = || UnitSums::zero(unit.work, self.network.parameters());
                evaluate_unit(unit, buffers, sums.get_or_insert_with(zero))
            });
            match outcome {
                Some(UnitOutcome::Added) => {}
                Some(_) => return Computed::Sums(None),
                None => return Computed::Unknown,
            }
        }
        let Some(UnitSums { losses, unfit_steps, correct, vector }) = sums else { return Computed::Unknown };
        Computed::Sums(Some(Answer { losses, unfit_steps, correct, vector }))
    }

    /// Does something with one of the round's units.
    fn with_unit<T>(&self, request: &Request, unit: u32, act: impl FnOnce(&Unit<'_>) -> T) -> Option<T> {
        let plan = &request.plan;
        let (part, number) = plan.locate(unit)?;
        let part = &plan.parts[part];
        let set = self.sets.of(part.set);
        let layout = part.lay_out(set, self.seed);
        let range = layout.examples_of(set, number);
        let first_example = range.start;
        let shards: Vec<Arc<Shard>>;
        let examples = match &self.source {
            Source::Prepared(data) => {
                let range = range.start as usize..range.end as usize;
                let table = data.examples(part.set)?.in_memory()?;
                let features = Features::new(table.rows(range.clone()), &data.preprocessing);
                vec![Examples { features, targets: table.targets(range) }]
            }
            Source::Shards(reader) => {
                let indices: Vec<u32> = layout.shards_of(set, number).collect();
                let read = indices.iter().map(|index| reader.shard(part.set, *index, set));
                shards = read.collect::<Option<_>>()?;
                let mut slices = Vec::new();
                for (index, shard) in indices.into_iter().zip(&shards) {
                    let held = set.examples_in_shard(index);
                    let (start, end) = (range.start.max(held.start), range.end.min(held.end));
                    let within = (start - held.start) as usize..(end - held.start) as usize;
                    slices.push(shard.slice(within, &reader.preprocessing)?);
                }
                slices
            }
        };
        let direction = request.vectors.get(1).map_or(&[][..], |direction| direction);
        let unit = Unit {
            network: &self.network,
            arithmetic: self.arithmetic,
            seed: self.seed,
            minibatch: self.minibatch,
            plan,
            work: &part.work,
            number,
            examples: &examples,
            first_example,
            weights: &request.vectors[0],
            direction,
        };
        Some(act(&unit))
    }
}

#[cfg(test)]
mod tests {
    use model::NetworkSpec;
    use protocol::plan::{Part, ShardRef, Work};
    use tokio::sync::mpsc;

    use super::*;
    use crate::store::Store;

    #[test]
    fn who_asks_for_examples_that_cannot_be_had_is_told_and_may_ask_again() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let network =
            Network::new(&NetworkSpec::from_shorthand("linear").unwrap(), 1, Task::Numbers(1)).unwrap();
        let shards = vec![ShardRef { hash: [7; 32], bytes: 1 }];
        let training = SetPlan { examples: 4, examples_per_unit: 4, units_per_shard: 1, shards };
        let none = SetPlan { examples: 0, shards: Vec::new(), ..training.clone() };
        let sets = SetPlans { training, validation: none.clone(), test: none };
        // The store is empty.
        let store = ShardStore::stored(Store::in_memory(), runtime.handle().clone(), &sets);
        let preprocessing = Preprocessing::identity(1);
        let mut reader = ShardReader::new(Arc::new(store), 1, Task::Numbers(1), preprocessing);
        reader.pause = Duration::ZERO;
        let source = Source::Shards(reader);
        let arithmetic = Arithmetic::Portable;
        let referee = Referee { network, arithmetic, seed: 1, minibatch: 4, source, sets };
        let (orders, mut answers) = mpsc::channel(4);
        let requests = start(referee, orders.downgrade(), runtime.handle().clone()).unwrap();
        let request = || {
            let parts = vec![Part::in_turn(Work::Gradient, Set::Training, 1)];
            let plan = RoundPlan { round: 3, parts, ..RoundPlan::default() };
            Request { plan, units: vec![0..1], vectors: vec![Arc::from([0.0; 2])] }
        };
        for _ in 0..2 {
            requests.measure(request());
            assert!(matches!(answers.blocking_recv(), Some(Order::NotMeasured(3, 0))));
            requests.recompute(request());
            assert!(matches!(answers.blocking_recv(), Some(Order::NotRecomputed(3))));
            requests.spot_check(request());
            assert!(matches!(answers.blocking_recv(), Some(Order::NotSpotChecked(3))));
        }
    }

    #[test]
    fn there_is_room_for_the_newest_request_only_and_until_it_is_answered() {
        let (sender, waiting) = watch::channel(Desk::default());
        let requests = Requests(sender);
        let request_of = |round, unit: u32| Request {
            plan: RoundPlan { round, ..RoundPlan::default() },
            units: vec![unit..unit + 1],
            vectors: Vec::new(),
        };
        let rounds = || {
            let desk = waiting.borrow();
            [&desk.measure, &desk.recompute].map(|request| request.as_ref().map(|request| request.plan.round))
        };
        let request = |round| request_of(round, 0);
        requests.measure(request(1));
        requests.measure(request_of(2, 5));
        requests.measure(request(2));
        requests.recompute(request(2));
        assert_eq!(rounds(), [Some(2), Some(2)]);
        requests.measured(1, 0);
        requests.measured(2, 5);
        requests.opened(2);
        assert_eq!(rounds(), [Some(2), Some(2)], "these were answers to earlier requests");
        requests.measured(2, 0);
        requests.opened(3);
        assert_eq!(rounds(), [None, None]);
    }
}
