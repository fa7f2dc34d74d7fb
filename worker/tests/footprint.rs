//! The predicted memory of a volunteer, compared with the allocations of its hub and compute worker.

use std::collections::VecDeque;
use std::ops::Range;

use dhat::{Alloc, HeapStats, Profiler};
use model::{Arithmetic, Network, NetworkSpec, Preprocessing, Rows, Targets, Task};
use ndarray::Array2;
use protocol::frame::encode_round;
use protocol::message::{FromCoordinator, LocalBounds, Welcome};
use protocol::plan::{Assignment, Part, RoundPlan, Set, SetPlan, SetPlans, Work};
use protocol::scales::Scales;
use protocol::shard;
use support::world;
use worker::unit::UnitSums;
use worker::{
    BASE_BYTES, Compute, Footprint, FromCompute, Hub, HubInput, HubOutput, Job, Settings, ToCompute,
};

#[global_allocator]
static ALLOCATOR: Alloc = Alloc;

const FEATURES: usize = 200;
const MINIBATCH: u32 = 10;
const REPLICAS: u32 = 2;

/// A run, with its settings and data.
struct World {
    network: Network,
    settings: Settings,
    welcome: Welcome,
    rounds: Vec<(RoundPlan, Vec<f32>)>,
    shards: Vec<Vec<u8>>,
    footprint: Footprint,
}

/// A single test, because the allocator counts for the whole process.
#[test]
fn neither_hub_nor_compute_worker_takes_more_than_is_said() {
    for (what, world) in [("parameters", World::of_parameters()), ("data", World::of_data())] {
        let stated = |bytes: u64| bytes - BASE_BYTES;
        for (who, stated, measured) in [
            ("a compute worker", stated(world.footprint.core_bytes), peak(|| world.compute())),
            ("the hub", stated(world.footprint.hub_bytes), peak(|| world.serve())),
        ] {
            assert!(measured <= stated, "{what}: {who} took {measured} bytes of at most {stated}");
            assert!(2 * measured >= stated, "{what}: {who} took {measured} bytes, far from {stated}");
        }
    }
}

/// The peak of the allocated bytes.
fn peak(run: impl FnOnce()) -> u64 {
    let _profiler = Profiler::builder().testing().build();
    run();
    HeapStats::get().max_bytes as u64
}

impl World {
    /// Far more parameters than activations, and little data.
    fn of_parameters() -> World {
        World::new("mlp:3000", [1200, 300, 4], 2, settings())
    }

    /// Mostly data: pools of many shards, beyond the usual cache, and many steps.
    fn of_data() -> World {
        let settings = Settings { shard_cache_bytes: 1 << 20, compute_shard_bytes: 1 << 20, ..settings() };
        World::new("mlp:4", [40_000, 100, 25], 10_000, settings)
    }

    /// `in_unit` is the number of examples per unit, and `in_shard` the number of units per shard.
    fn new(model: &str, [examples, in_unit, in_shard]: [u32; 3], steps: u32, settings: Settings) -> World {
        let spec = NetworkSpec::from_shorthand(model).unwrap();
        let network = Network::new(&spec, FEATURES, Task::Classes(10)).unwrap();
        let (training, shards) = world::cut(examples, in_unit, in_shard, |range| {
            // Half of the inputs are zero, so that the lists of nonzero inputs are as long as possible.
            let rows = Array2::from_shape_fn((range.len(), FEATURES), |(i, j)| {
                ((i + j) % 2 * (1 + (i * 31 + j * 57 + range.start) % 255)) as u8
            });
            let classes: Vec<u16> = range.map(|i| (i % 10) as u16).collect();
            shard::encode(&Rows::U8(rows.view()), &Targets::Classes(&classes))
        });
        let test = SetPlan { examples: 0, shards: Vec::new(), ..training.clone() };
        let welcome = Welcome {
            minibatch: MINIBATCH,
            local: Some(LocalBounds { replicas: REPLICAS, steps }),
            preprocessing: Preprocessing::uniform(FEATURES, 0.0, 1.0 / 255.0),
            ..world::welcome(&network, SetPlans { training, validation: test.clone(), test })
        };
        let all = welcome.sets.training.units();
        let works = [
            (Work::Gradient, all),
            (Work::Losses { steps: vec![0.5, 0.25] }, all),
            (Work::Local { steps, learning_rate: 0.1, draw: 1 }, REPLICAS),
            (Work::Examination, all),
        ];
        let rounds = works.into_iter().zip(1..).map(|((work, units), round)| {
            let plan = RoundPlan {
                round,
                version: round,
                scales: Scales { loss_exponent: 20, ..Scales::uniform(24) },
                mask_epoch: 0,
                parts: vec![Part::in_turn(work, Set::Training, units)],
            };
            let vectors = (0..plan.vectors() as u64).flat_map(|i| network.initialize(i)).collect();
            (plan, vectors)
        });
        let rounds = rounds.collect();
        let footprint = Footprint::of_run(&network, &welcome, &settings);
        World { network, settings, welcome, rounds, shards, footprint }
    }

    fn welcome_frame(&self) -> Vec<u8> {
        FromCoordinator::Welcome(Box::new(self.welcome.clone())).encode()
    }

    /// A round's units, grouped by the shards that they need, with these shards.
    fn jobs(&self, plan: &RoundPlan) -> Vec<(Range<u32>, Range<u32>)> {
        let layout = plan.parts[0].lay_out(&self.welcome.sets.training, self.welcome.seed);
        let shards = |unit| layout.shards_of(&self.welcome.sets.training, unit);
        let mut jobs: Vec<(Range<u32>, Range<u32>)> = Vec::new();
        for unit in 0..plan.units() {
            match jobs.last_mut() {
                Some((units, needed)) if *needed == shards(unit) => units.end += 1,
                _ => jobs.push((unit..unit + 1, shards(unit))),
            }
        }
        jobs
    }

    /// Plays a compute worker's part in the rounds, as in its own Web Worker, with no more shards than it
    /// needs.
    fn compute(&self) {
        let mut compute = Compute::new();
        compute.handle(ToCompute::Setup(self.welcome_frame().into()));
        let mut held = 0..0;
        for (plan, vectors) in &self.rounds {
            let round = worker::SharedRound::decoded(plan.clone(), vectors.clone());
            compute.handle(ToCompute::Round(round.into()));
            for (units, shards) in self.jobs(plan) {
                for shard in std::mem::replace(&mut held, shards.clone()) {
                    compute.handle(ToCompute::DropShard { set: Set::Training, shard });
                }
                for shard in shards {
                    let content = worker::SharedShard::new(self.shards[shard as usize].clone()).into();
                    compute.handle(ToCompute::Shard { set: Set::Training, shard, content });
                }
                let answer =
                    compute.handle(ToCompute::Run(Job { job: 1, assignment: 1, units: vec![units] }));
                assert_eq!(answer, Some(FromCompute::Done { job: 1 }));
            }
            assert!(compute.handle(ToCompute::Collect { assignment: 1 }).is_some());
        }
    }

    /// Plays a hub's part in the rounds, with two simulated compute workers.
    fn serve(&self) {
        let mut hub = Hub::new(self.settings.clone());
        let mut results = 0;
        let welcome = HubInput::Frame(self.welcome_frame().into());
        let mut inputs = VecDeque::from([HubInput::Connected, welcome]);
        for (plan, vectors) in &self.rounds {
            let vectors: Vec<&[f32]> = vectors.chunks(self.network.parameters()).collect();
            inputs.push_back(HubInput::Frame(encode_round(plan, &vectors).into()));
            let units = vec![0..plan.units()];
            let assignment = Assignment { assignment: plan.round, round: plan.round, units };
            inputs.push_back(HubInput::Frame(FromCoordinator::Assign(assignment).encode().into()));
            while let Some(input) = inputs.pop_front() {
                hub.handle(1, input);
                while let Some(output) = hub.poll_output() {
                    match output {
                        HubOutput::Fetch { fetch, shard, .. } => {
                            let shards = &self.welcome.sets.training.shards;
                            let index = shards.iter().position(|other| *other == shard).unwrap();
                            let bytes = self.shards[index].clone();
                            inputs.push_back(HubInput::ShardArrived { fetch, bytes });
                        }
                        HubOutput::Compute { compute, message: ToCompute::Run(job) } => {
                            let message = FromCompute::Done { job: job.job };
                            inputs.push_back(HubInput::Compute { compute, message });
                        }
                        HubOutput::Compute { compute, message: ToCompute::Collect { assignment } } => {
                            let sums = UnitSums::zero(&plan.parts[0].work, self.network.parameters());
                            let message = FromCompute::Sums { assignment, sums };
                            hub.handle(1, HubInput::Compute { compute, message });
                        }
                        HubOutput::SendVector(chunks) => results += usize::from(chunks.count() > 0),
                        _ => {}
                    }
                }
            }
        }
        assert_eq!(results, 3, "a gradient, a displacement and counts");
    }
}

fn settings() -> Settings {
    Settings::new(Arithmetic::Portable, 2, "a test", 7)
}
