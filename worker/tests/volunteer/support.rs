//! The test data, the scripted coordinator and the simulated volunteer.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use model::{Arithmetic, Network, NetworkSpec, Preprocessing, Rows, Targets, Task};
use ndarray::{Array2, s};
use protocol::frame::{UpwardFrame, decode_upward, encode_round};
use protocol::message::{FromCoordinator, FromVolunteer, ResultHeader, Welcome};
use protocol::pack::unpack;
use protocol::plan::{Assignment, Part, RoundPlan, Set, SetPlan, SetPlans, ShardRef, Work};
use protocol::scales::Scales;
use protocol::shard::{self, Shard};
use support::world;
use worker::unit::{Buffers, Unit, UnitOutcome, UnitSums, evaluate_unit};
use worker::{Compute, Footprint, Hub, HubInput, HubOutput, Settings, ToCompute};

pub(crate) const RUN: u64 = 42;
const SEED: u64 = 6;
const MINIBATCH: u32 = 5;
const FEATURES: usize = 6;

/// A run: data, plan and network.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) welcome: Welcome,
    /// Encoded shards by name.
    pub(crate) shards: BTreeMap<String, Vec<u8>>,
}

impl World {
    pub(crate) fn new() -> World {
        World::of("mlp:5:tanh")
    }

    pub(crate) fn of(model: &str) -> World {
        let mut shards = BTreeMap::new();
        let sets = SetPlans {
            training: cut(&mut shards, 203, 1),
            validation: cut(&mut shards, 17, 3),
            test: cut(&mut shards, 31, 2),
        };
        let spec = NetworkSpec::from_shorthand(model).unwrap();
        let network = Network::new(&spec, FEATURES, Task::Classes(3)).unwrap();
        let welcome = Welcome {
            run: RUN,
            preprocessing: Preprocessing::uniform(FEATURES, 0.0, 1.0 / 255.0),
            seed: SEED,
            minibatch: MINIBATCH,
            ..world::welcome(&network, sets)
        };
        World { network, welcome, shards }
    }

    pub(crate) fn welcome_frame(&self) -> Vec<u8> {
        FromCoordinator::Welcome(Box::new(self.welcome.clone())).encode()
    }

    /// The memory that a volunteer of this run needs with the usual settings.
    pub(crate) fn footprint(&self) -> Footprint {
        Footprint::of_run(&self.network, &self.welcome, &settings(1))
    }

    /// A round of the gradient over the training set and evaluations of the other two.
    pub(crate) fn gradient_round(&self, round: u64) -> Round {
        let part = |work, set, plan: &SetPlan| Part::in_turn(work, set, plan.units());
        let parts = vec![
            part(Work::Gradient, Set::Training, &self.welcome.sets.training),
            part(Work::Evaluation, Set::Test, &self.welcome.sets.test),
            part(Work::Evaluation, Set::Validation, &self.welcome.sets.validation),
        ];
        self.round(round, parts)
    }

    /// A scalars-only round over the training set.
    pub(crate) fn losses_round(&self, round: u64, steps: &[f32]) -> Round {
        let work = Work::Losses { steps: steps.to_vec() };
        self.round(round, vec![Part::in_turn(work, Set::Training, self.welcome.sets.training.units())])
    }

    /// An examination of the test set.
    pub(crate) fn examination_round(&self, round: u64) -> Round {
        self.round(round, vec![Part::in_turn(Work::Examination, Set::Test, self.welcome.sets.test.units())])
    }

    /// A round of local steps.
    pub(crate) fn local_round(&self, round: u64, replicas: u32, steps: u32) -> Round {
        let work = Work::Local { steps, learning_rate: 0.1, draw: 0 };
        self.round(round, vec![Part::in_turn(work, Set::Training, replicas)])
    }

    fn round(&self, round: u64, parts: Vec<Part>) -> Round {
        let plan = RoundPlan {
            round,
            version: 10 + round,
            scales: Scales::uniform(24),
            parts,
            ..RoundPlan::default()
        };
        let count = plan.vectors();
        let vectors = (0..count as u64).map(|index| self.network.initialize(100 * round + index)).collect();
        Round { plan, vectors }
    }

    /// The sums of units of one part, evaluated one after the other in this thread.
    pub(crate) fn expected(&self, round: &Round, units: &[Range<u32>]) -> UnitSums {
        let (part, _) = round.plan.locate(units[0].start).unwrap();
        let part = &round.plan.parts[part];
        let mut sums = UnitSums::zero(&part.work, self.network.parameters());
        let mut buffers = Buffers::default();
        for unit in units.iter().cloned().flatten() {
            let (_, unit) = round.plan.locate(unit).unwrap();
            let plan = self.set(part.set);
            let layout = part.lay_out(plan, SEED);
            let range = layout.examples_of(plan, unit);
            let decode = |index: u32| {
                let bytes = &self.shards[&plan.shards[index as usize].name()];
                Shard::decode(bytes, FEATURES, self.welcome.task).unwrap()
            };
            let shards: Vec<(u32, Shard)> =
                layout.shards_of(plan, unit).map(|index| (index, decode(index))).collect();
            let within = |index: u32| {
                let held = plan.examples_in_shard(index);
                let (start, end) = (range.start.max(held.start), range.end.min(held.end));
                (start - held.start) as usize..(end - held.start) as usize
            };
            let preprocessing = &self.welcome.preprocessing;
            let examples: Vec<_> = shards
                .iter()
                .map(|(index, shard)| shard.slice(within(*index), preprocessing).unwrap())
                .collect();
            let input = Unit {
                network: &self.network,
                arithmetic: self.welcome.arithmetic,
                seed: SEED,
                minibatch: MINIBATCH,
                plan: &round.plan,
                work: &part.work,
                number: unit,
                examples: &examples,
                first_example: range.start,
                weights: &round.vectors[0],
                direction: round.vectors.get(1).map(Vec::as_slice).unwrap_or_default(),
            };
            assert_eq!(evaluate_unit(&input, &mut buffers, &mut sums), UnitOutcome::Added);
        }
        sums
    }

    fn set(&self, set: Set) -> &SetPlan {
        self.welcome.sets.of(set)
    }
}

/// Cuts a set into units of 7 examples and shards of 4 units.
fn cut(shards: &mut BTreeMap<String, Vec<u8>>, examples: usize, seed: usize) -> SetPlan {
    let rows = Array2::from_shape_fn((examples, FEATURES), |(row, column)| {
        (((row * 31 + column * 57 + seed * 13) * 40_503) >> 7) as u8
    });
    let classes: Vec<u16> = (0..examples).map(|row| (rows[(row, 0)] % 3).into()).collect();
    let (plan, bytes) = world::cut(examples as u32, 7, 4, |range| {
        let view = rows.slice(s![range.clone(), ..]);
        shard::encode(&Rows::U8(view), &Targets::Classes(&classes[range]))
    });
    shards.extend(plan.shards.iter().map(ShardRef::name).zip(bytes));
    plan
}

/// A round with its vectors.
pub(crate) struct Round {
    pub(crate) plan: RoundPlan,
    pub(crate) vectors: Vec<Vec<f32>>,
}

impl Round {
    pub(crate) fn frame(&self) -> Vec<u8> {
        let vectors: Vec<&[f32]> = self.vectors.iter().map(Vec::as_slice).collect();
        encode_round(&self.plan, &vectors)
    }

    pub(crate) fn assign(&self, assignment: u64, units: &[Range<u32>]) -> Vec<u8> {
        let units = units.to_vec();
        FromCoordinator::Assign(Assignment { assignment, round: self.plan.round, units }).encode()
    }

    /// All units of a part.
    pub(crate) fn part(&self, index: usize) -> Range<u32> {
        let first: u32 = self.plan.parts[..index].iter().map(|part| part.units).sum();
        first..first + self.plan.parts[index].units
    }
}

/// A message that the coordinator receives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Message(FromVolunteer),
    Result(ResultHeader, Option<Vec<i64>>),
}

/// A download that the hub has requested.
#[derive(Debug, Clone)]
pub(crate) struct Download {
    pub(crate) fetch: u64,
    pub(crate) name: String,
    pub(crate) fresh: bool,
}

/// A hub with compute workers whose messages wait until a test releases them.
pub(crate) struct Volunteer {
    pub(crate) hub: Hub,
    pub(crate) now_ms: u64,
    pub(crate) wake_ms: Option<u64>,
    pub(crate) connects: usize,
    pub(crate) closed: bool,
    pub(crate) downloads: VecDeque<Download>,
    pub(crate) computes: BTreeMap<u32, (Compute, VecDeque<ToCompute>)>,
    /// Units of each job, in the order the jobs were given out.
    pub(crate) jobs: Vec<u32>,
    heard: Vec<Heard>,
    arriving: Option<(ResultHeader, Vec<u8>)>,
    parameters: usize,
}

impl Volunteer {
    pub(crate) fn new(world: &World, settings: Settings) -> Volunteer {
        let mut volunteer = Volunteer {
            hub: Hub::new(settings),
            now_ms: 1000,
            wake_ms: None,
            connects: 0,
            closed: false,
            downloads: VecDeque::new(),
            computes: BTreeMap::new(),
            jobs: Vec::new(),
            heard: Vec::new(),
            arriving: None,
            parameters: world.network.parameters(),
        };
        volunteer.drain();
        volunteer
    }

    /// A volunteer that has been welcomed.
    pub(crate) fn welcomed(world: &World, cores: u16) -> Volunteer {
        let mut volunteer = Volunteer::new(world, settings(cores));
        volunteer.tell(HubInput::Connected);
        volunteer.frame(&world.welcome_frame());
        volunteer.heard();
        volunteer
    }

    pub(crate) fn tell(&mut self, input: HubInput) {
        self.hub.handle(self.now_ms, input);
        self.drain();
    }

    pub(crate) fn frame(&mut self, frame: &[u8]) {
        self.tell(HubInput::Frame(frame.to_vec().into()));
    }

    /// Advances the time to the hub's next wake-up.
    pub(crate) fn wake(&mut self) {
        self.now_ms = self.wake_ms.take().expect("the hub wants to be woken");
        self.tell(HubInput::Tick);
    }

    /// The messages that the coordinator received since the last call.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        assert!(self.arriving.is_none(), "a result was announced and not delivered");
        std::mem::take(&mut self.heard)
    }

    /// Delivers one download.
    pub(crate) fn download(&mut self, world: &World) {
        let download = self.downloads.pop_front().expect("a download");
        let bytes = world.shards[&download.name].clone();
        self.tell(HubInput::ShardArrived { fetch: download.fetch, bytes });
    }

    /// Lets one compute worker handle one message: number `choice` of those with a message.
    pub(crate) fn compute(&mut self, choice: usize) -> bool {
        let ready: Vec<u32> = self
            .computes
            .iter()
            .filter(|(_, (_, inbox))| !inbox.is_empty())
            .map(|(compute, _)| *compute)
            .collect();
        if ready.is_empty() {
            return false;
        }
        let compute = ready[choice % ready.len()];
        let (worker, inbox) = self.computes.get_mut(&compute).unwrap();
        let message = inbox.pop_front().unwrap();
        if let Some(message) = worker.handle(message) {
            self.tell(HubInput::Compute { compute, message });
        }
        true
    }

    /// Continues until nothing more happens. `order` picks whose turn it is.
    pub(crate) fn settle(&mut self, world: &World, mut order: impl FnMut() -> usize) {
        loop {
            let choice = order();
            if !self.downloads.is_empty() && choice.is_multiple_of(3) {
                self.download(world);
            } else if !self.compute(choice) {
                if self.downloads.is_empty() {
                    return;
                }
                self.download(world);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                HubOutput::Connect => self.connects += 1,
                HubOutput::Close => self.closed = true,
                HubOutput::Send(frame) => self.hear(&frame),
                HubOutput::SendVector(chunks) => chunks.for_each(|frame| self.hear(&frame)),
                HubOutput::Fetch { fetch, shard, path, fresh } => {
                    let name = shard.name();
                    assert_eq!(path, format!("/shards/{name}"));
                    self.downloads.push_back(Download { fetch, name, fresh });
                    assert!(self.downloads.len() <= worker::FETCHES_MAX);
                }
                HubOutput::StartCompute { compute } => {
                    let before = self.computes.insert(compute, (Compute::new(), VecDeque::new()));
                    assert!(before.is_none(), "numbers are never used again");
                }
                HubOutput::StopCompute { compute } => {
                    self.computes.remove(&compute).expect("it was started");
                }
                HubOutput::Compute { compute, message } => {
                    if let ToCompute::Run(job) = &message {
                        self.jobs.push(job.units.iter().map(|range| range.len() as u32).sum());
                    }
                    self.computes.get_mut(&compute).expect("it was started").1.push_back(message);
                }
                HubOutput::Wake { at_ms } => self.wake_ms = Some(at_ms),
            }
        }
    }

    fn hear(&mut self, frame: &[u8]) {
        match (decode_upward(frame).unwrap(), self.arriving.take()) {
            (UpwardFrame::Message(FromVolunteer::Result(header)), None) if header.vector_bytes > 0 => {
                self.arriving = Some((header, Vec::new()));
            }
            (UpwardFrame::Message(FromVolunteer::Result(header)), None) => {
                self.heard.push(Heard::Result(header, None));
            }
            (UpwardFrame::Message(message), None) => self.heard.push(Heard::Message(message)),
            (UpwardFrame::Chunk(chunk), Some((header, mut packed))) => {
                packed.extend_from_slice(chunk);
                if packed.len() < header.vector_bytes as usize {
                    self.arriving = Some((header, packed));
                } else {
                    let vector = unpack(&packed, self.parameters).unwrap();
                    self.heard.push(Heard::Result(header, Some(vector)));
                }
            }
            (frame, _) => panic!("out of order: {frame:?}"),
        }
    }
}

pub(crate) fn settings(cores: u16) -> Settings {
    Settings { known_answer: [1; 32], ..Settings::new(Arithmetic::Portable, cores, "a test", 7) }
}

/// An order of events that looks arbitrary and is the same every time.
pub(crate) fn order(mut seed: u64) -> impl FnMut() -> usize {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    }
}

/// Asserts that this is the result that an honest volunteer sends.
pub(crate) fn result(round: &Round, assignment: u64, sums: &UnitSums, heard: &Heard) {
    let Heard::Result(header, vector) = heard else { panic!("a result, not {heard:?}") };
    assert_eq!((header.run, header.round, header.version), (RUN, round.plan.round, round.plan.version));
    assert_eq!(header.assignment, assignment);
    let found = UnitSums {
        losses: header.losses.clone(),
        unfit_steps: header.unfit_steps,
        correct: header.correct,
        vector: vector.clone(),
    };
    assert_eq!(&found, sums);
}
