//! A whole gradient pass over MNIST, as a round of a training computes it: units on compute workers, exact
//! sums, the mean gradient. `experiments/numpy_gradient.py` measures the same with NumPy.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Arithmetic, Network, NetworkSpec};
use protocol::message::{FromCoordinator, Welcome};
use protocol::plan::{Part, RoundPlan, Set, Work};
use protocol::scales::Scales;
use worker::unit::UnitSums;
use worker::{Compute, FromCompute, Job, SharedRound, SharedShard, ToCompute};

use crate::config::default_minibatch;
use crate::data;
use crate::data::ShardStore;
use crate::training::examples_per_unit;
use engine::aggregator::mean_gradient;

/// Its name among the cases.
pub const NAME: &str = "mnist-pass";

const MODEL: &str = "mlp:128";
const SEED: u64 = 1;
/// Units that a compute worker takes at a time, as from a hub.
const UNITS_PER_JOB: u32 = 4;
/// Sums of gradients and losses have a resolution of 2^-20. Both are far from the limits of a unit.
const EXPONENT: i32 = 20;
const ASSIGNMENT: u64 = 1;

/// MNIST cut into shards, and the network.
pub(super) struct FullPass {
    network: Network,
    weights: Vec<f32>,
    welcome: Welcome,
    shards: Vec<Arc<SharedShard>>,
}

impl FullPass {
    pub(super) fn prepare() -> FullPass {
        let (train, _) = data::mnist().expect("the embedded MNIST can be read");
        let data = data::prepare(train, None, 0.0, SEED).expect("all of it can be trained on");
        let spec = NetworkSpec::from_shorthand(MODEL).expect("the network is valid");
        let network =
            Network::new(&spec, data.preparation.inputs(), data.task()).expect("and suits the data");
        let preprocessing = data.preprocessing.clone();
        let unit = examples_per_unit(data.train.len(), default_minibatch());
        let (store, sets) = ShardStore::cut(Arc::new(data), unit);
        let encoded = |hash| store.encoded(hash).expect("the store has the shards it names");
        let shards =
            sets.training.shards.iter().map(|shard| Arc::new(SharedShard::new(encoded(&shard.hash))));
        FullPass {
            shards: shards.collect(),
            weights: network.initialize(SEED),
            welcome: Welcome {
                run: 1,
                session: 0,
                arithmetic: Arithmetic::default(),
                network: spec.to_json(),
                features: network.features() as u32,
                task: network.task(),
                preprocessing,
                seed: SEED,
                minibatch: default_minibatch(),
                local: None,
                sets,
            },
            network,
        }
    }

    /// Examples of a pass.
    pub(super) fn examples(&self) -> usize {
        self.welcome.sets.training.examples as usize
    }

    /// Floating-point operations of a pass, as the benchmark counts them.
    pub(super) fn operations(&self) -> f64 {
        self.examples() as f64 * bench::operations(&self.network)
    }

    /// The time of each of several passes with that many compute workers, after one pass that does not count.
    pub(super) fn measure(&self, arithmetic: Arithmetic, cores: usize, passes: u32) -> Vec<Duration> {
        let welcome = Welcome { arithmetic, ..self.welcome.clone() };
        let welcome = Bytes::from(FromCoordinator::Welcome(Box::new(welcome)).encode());
        let weights: Vec<u8> = self.weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        let round = Arc::new(SharedRound::new(self.plan(), weights.into()));
        let hall = Hall {
            begin: Barrier::new(cores + 1),
            end: Barrier::new(cores + 1),
            units: self.welcome.sets.training.units(),
            next_unit: AtomicU32::new(0),
            sums: Mutex::new(Vec::new()),
            has_failed: AtomicBool::new(false),
        };
        let work = || {
            let mut compute = Compute::new();
            compute.handle(ToCompute::Setup(welcome.clone()));
            for (shard, content) in (0..).zip(&self.shards) {
                let content = Arc::clone(content);
                compute.handle(ToCompute::Shard { set: Set::Training, shard, content });
            }
            (0..=passes).for_each(|_| hall.help(&mut compute, &round));
        };
        let mut has_failed = false;
        let durations = thread::scope(|scope| {
            (0..cores).for_each(|_| drop(scope.spawn(work)));
            let passes = (0..=passes).map(|_| {
                hall.next_unit.store(0, Ordering::Relaxed);
                // The workers are waiting already, so that none begins before the clock.
                let began = Instant::now();
                hall.begin.wait();
                hall.end.wait();
                has_failed |= self.reduce(hall.take()).is_none();
                began.elapsed()
            });
            passes.skip(1).collect()
        });
        assert!(!has_failed && !hall.has_failed.into_inner(), "every unit can be computed and added");
        durations
    }

    /// The coordinator's part: one gradient from all workers' sums. `None` if they are incomplete.
    fn reduce(&self, mut sums: Vec<UnitSums>) -> Option<Arc<[f32]>> {
        let mut all = sums.pop()?;
        let is_whole = sums.iter().all(|sums| all.merge(sums));
        let examples = self.welcome.sets.training.examples.into();
        let mean = |sum: Vec<i64>| mean_gradient(&self.network, &self.weights, &sum, EXPONENT, examples);
        all.vector.filter(|_| is_whole).map(mean)
    }

    fn plan(&self) -> RoundPlan {
        let units = self.welcome.sets.training.units();
        RoundPlan {
            round: 1,
            version: 1,
            scales: Scales::uniform(EXPONENT),
            mask_epoch: 0,
            parts: vec![Part::in_turn(Work::Gradient, Set::Training, units)],
        }
    }
}

/// Where compute workers meet for a pass.
struct Hall {
    begin: Barrier,
    end: Barrier,
    units: u32,
    next_unit: AtomicU32,
    sums: Mutex<Vec<UnitSums>>,
    has_failed: AtomicBool,
}

impl Hall {
    /// One worker's share of a pass: it takes free units. It must not panic, or the others would wait
    /// forever.
    fn help(&self, compute: &mut Compute, round: &Arc<SharedRound>) {
        self.begin.wait();
        compute.handle(ToCompute::Round(Arc::clone(round)));
        loop {
            let first = self.next_unit.fetch_add(UNITS_PER_JOB, Ordering::Relaxed);
            if first >= self.units {
                break;
            }
            let units = first..self.units.min(first + UNITS_PER_JOB);
            let job = Job { job: first.into(), assignment: ASSIGNMENT, units: vec![units] };
            if !matches!(compute.handle(ToCompute::Run(job)), Some(FromCompute::Done { .. })) {
                self.has_failed.store(true, Ordering::Relaxed);
            }
        }
        if let Some(FromCompute::Sums { sums, .. }) =
            compute.handle(ToCompute::Collect { assignment: ASSIGNMENT })
        {
            self.sums.lock().unwrap_or_else(PoisonError::into_inner).push(sums);
        }
        self.end.wait();
    }

    /// The sums of a pass.
    fn take(&self) -> Vec<UnitSums> {
        std::mem::take(&mut self.sums.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
