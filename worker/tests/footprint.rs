//! What is said of a volunteer's memory, compared with what hub and compute worker allocate.

use std::collections::VecDeque;

use dhat::{Alloc, HeapStats, Profiler};
use model::{Arithmetic, Network, NetworkSpec, Preprocessing, Rows, Targets, Task};
use ndarray::Array2;
use protocol::frame::encode_round;
use protocol::message::{FromCoordinator, Welcome};
use protocol::plan::{Assignment, Part, RoundPlan, Set, SetPlan, ShardRef, Work};
use protocol::shard;
use worker::unit::UnitSums;
use worker::{
    BASE_BYTES, Compute, Footprint, FromCompute, Hub, HubInput, HubOutput, Job, Settings, ToCompute,
};

#[global_allocator]
static ALLOCATOR: Alloc = Alloc;

const FEATURES: usize = 200;
const UNITS: u32 = 4;
const EXAMPLES_PER_UNIT: u32 = 300;

struct World {
    network: Network,
    welcome: Vec<u8>,
    rounds: Vec<(RoundPlan, Vec<f32>)>,
    shard: Vec<u8>,
    footprint: Footprint,
}

/// One test, because the allocator counts for the whole process.
#[test]
fn neither_hub_nor_compute_worker_takes_more_than_is_said() {
    let world = World::new();
    let stated = |bytes: u64| bytes - BASE_BYTES;
    for (who, stated, measured) in [
        ("a compute worker", stated(world.footprint.core_bytes), peak(|| world.compute())),
        ("the hub", stated(world.footprint.hub_bytes), peak(|| world.serve())),
    ] {
        assert!(measured <= stated, "{who} took {measured} bytes of at most {stated}");
        assert!(2 * measured >= stated, "{who} took {measured} bytes, far from {stated}");
    }
}

/// The most bytes that are allocated at a time.
fn peak(run: impl FnOnce()) -> u64 {
    let _profiler = Profiler::builder().testing().build();
    run();
    HeapStats::get().max_bytes as u64
}

impl World {
    /// A network with far more parameters than activations.
    fn new() -> World {
        let spec = NetworkSpec::from_shorthand("mlp:3000").unwrap();
        let task = Task::Classes(10);
        let network = Network::new(&spec, FEATURES, task).unwrap();
        let examples = UNITS * EXAMPLES_PER_UNIT;
        let rows = Array2::from_shape_fn((examples as usize, FEATURES), |(i, j)| (i * 31 + j * 57) as u8);
        let classes: Vec<u16> = (0..examples as u16).map(|i| i % 10).collect();
        let shard = shard::encode(&Rows::U8(rows.view()), &Targets::Classes(&classes));
        let hash = *blake3::hash(&shard).as_bytes();
        let shards = vec![ShardRef { hash, bytes: shard.len() as u32 }];
        let training =
            SetPlan { examples, examples_per_unit: EXAMPLES_PER_UNIT, units_per_shard: UNITS, shards };
        let test = SetPlan { examples: 0, shards: Vec::new(), ..training.clone() };
        let welcome = Welcome {
            run: 1,
            session: 1,
            arithmetic: Arithmetic::Portable,
            seed: 1,
            minibatch: 10,
            network: spec.to_json(),
            features: FEATURES as u32,
            task,
            preprocessing: Preprocessing::uniform(FEATURES, 0.0, 1.0 / 255.0),
            training,
            validation: test.clone(),
            test,
        };
        let works = [
            Work::Gradient,
            Work::Losses { steps: vec![0.5, 0.25] },
            Work::Local { steps: 2, learning_rate: 0.1, draw: 1 },
        ];
        let rounds = works.into_iter().zip(1..).map(|(work, round)| {
            let parts = vec![Part::in_turn(work, Set::Training, UNITS)];
            let plan = RoundPlan {
                round,
                version: round,
                vector_exponent: 24,
                statistics_exponent: 24,
                loss_exponent: 24,
                evaluation_exponent: 24,
                mask_epoch: 0,
                parts,
            };
            let vectors = (0..plan.vectors() as u64).flat_map(|i| network.initialise(i)).collect();
            (plan, vectors)
        });
        let rounds = rounds.collect();
        let footprint = Footprint::new(&network, 10, shard.len() as u64, &settings());
        let welcome = FromCoordinator::Welcome(Box::new(welcome)).encode();
        World { network, welcome, rounds, shard, footprint }
    }

    /// A compute worker's part in the rounds, as it is in a Web Worker of its own.
    fn compute(&self) {
        let mut compute = Compute::new();
        compute.handle(ToCompute::Setup(self.welcome.clone().into()));
        let content = worker::SharedShard::new(self.shard.clone()).into();
        compute.handle(ToCompute::Shard { set: Set::Training, shard: 0, content });
        for (plan, vectors) in &self.rounds {
            let round = worker::SharedRound::decoded(plan.clone(), vectors.clone());
            compute.handle(ToCompute::Round(round.into()));
            let units = vec![0..UNITS];
            let answer = compute.handle(ToCompute::Run(Job { job: 1, assignment: 1, units }));
            assert_eq!(answer, Some(FromCompute::Done { job: 1 }));
            assert!(compute.handle(ToCompute::Collect { assignment: 1 }).is_some());
        }
    }

    /// A hub's part in them, with two compute workers that are played here.
    fn serve(&self) {
        let mut hub = Hub::new(settings());
        let mut results = 0;
        let welcome = HubInput::Frame(self.welcome.clone().into());
        let mut inputs = VecDeque::from([HubInput::Connected, welcome]);
        for (plan, vectors) in &self.rounds {
            let vectors: Vec<&[f32]> = vectors.chunks(self.network.parameters()).collect();
            inputs.push_back(HubInput::Frame(encode_round(plan, &vectors).into()));
            let assignment = Assignment { assignment: plan.round, round: plan.round, units: vec![0..UNITS] };
            inputs.push_back(HubInput::Frame(FromCoordinator::Assign(assignment).encode().into()));
            while let Some(input) = inputs.pop_front() {
                hub.handle(1, input);
                while let Some(output) = hub.poll_output() {
                    match output {
                        HubOutput::Fetch { fetch, .. } => {
                            inputs.push_back(HubInput::ShardArrived { fetch, bytes: self.shard.clone() });
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
        assert_eq!(results, 2, "a gradient and a displacement");
    }
}

fn settings() -> Settings {
    Settings::new(Arithmetic::Portable, 2, "a test", 7)
}
