//! The memory that an engine is said to take, compared with what is allocated: many volunteers, liars among them,
//! with audits and with ways back, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;

use dhat::{Alloc, HeapStats, Profiler};
use engine::decoder::Message;
use engine::optimizers::{Lbfgs, LbfgsSettings, Optimizer};
use engine::{
    Answer, Audit, Counters, Course, Engine, Identity, Input, KnownScales, Load, LocalHelp, Measure, OnLie,
    Output, Secret, Settings, Snapshot, Statistics, StopRules,
};
use model::{Network, NetworkSpec, Task, exact, trial_point};
use protocol::message::ResultHeader;
use protocol::plan::{RoundPlan, SetPlan, SetPlans, ShardRef, Work};

#[global_allocator]
static ALLOCATOR: Alloc = Alloc;

const PAIRS: usize = 5;
/// Volunteers that come while a round is open.
const NEWCOMERS: u64 = 9;
/// Results of a liar before the first that is wrong.
const HONEST_RESULTS: u64 = 20;
/// The formula may state at most so many times what is taken.
const OVERESTIMATED_TIMES: u64 = 3;

/// How much there is of everything.
struct Case {
    parameters: usize,
    volunteers: u64,
    units: u32,
    iterations: u64,
    /// One in so many lies once it is known.
    liars_one_in: u64,
}

/// A single test, because the allocator counts for the whole process.
#[test]
fn an_engine_takes_no_more_than_is_said() {
    for case in [
        Case { parameters: 200, volunteers: 500, units: 1_000, iterations: 3, liars_one_in: 1_000 },
        Case { parameters: 10_000, volunteers: 60, units: 240, iterations: 24, liars_one_in: 30 },
        Case { parameters: 80_000, volunteers: 60, units: 120, iterations: 24, liars_one_in: 30 },
    ] {
        let profiler = Profiler::builder().testing().build();
        let (stated, convicted, rewound) = case.train();
        let taken = HeapStats::get().max_bytes as u64;
        drop(profiler);
        let Case { parameters, iterations, .. } = case;
        assert!(convicted > 0 || iterations < 10, "{parameters}: nobody was found out");
        assert!(rewound > 0 || iterations < 10, "{parameters}: it never went back");
        assert!(taken <= stated, "{parameters} parameters took {taken} bytes of at most {stated}");
        let is_near = OVERESTIMATED_TIMES * taken >= stated;
        assert!(is_near, "{parameters} parameters took {taken} bytes, far from {stated}");
    }
}

/// Something that is on its way to the engine.
enum Event {
    Answer(Asked),
    Joins(u64),
    Input(Input),
}

struct Asked {
    session: u64,
    assignment: u64,
    round: u64,
    units: u32,
    lies: bool,
}

/// What is to happen, by time.
#[derive(Default)]
struct Events {
    queue: BTreeMap<(u64, u64), Event>,
    number: u64,
}

impl Events {
    fn at(&mut self, ms: u64, event: Event) {
        self.number += 1;
        self.queue.insert((ms, self.number), event);
    }

    fn input(&mut self, ms: u64, input: Input) {
        self.at(ms, Event::Input(input));
    }
}

impl Case {
    fn settings(&self) -> Settings {
        let spec = NetworkSpec::from_shorthand("linear").unwrap();
        let network = Network::new(&spec, self.parameters - 1, Task::Numbers(1)).unwrap();
        let shards = vec![ShardRef { hash: [0; 32], bytes: 1 }; (self.units / 4) as usize];
        let training = SetPlan { examples: self.units, examples_per_unit: 1, units_per_shard: 4, shards };
        let none = SetPlan { examples: 0, shards: Vec::new(), ..training.clone() };
        Settings {
            run: 1,
            network,
            sets: SetPlans { training, validation: none.clone(), test: none },
            seed: 1,
            minibatch: 1,
            stop: StopRules::iterations(self.iterations),
            evaluate_every: None,
            evaluate_training: false,
            examines: false,
            local_help: LocalHelp::Never,
            audit: Audit::Sample(0.03),
            on_lie: OnLie::Rewind,
        }
    }

    /// Trains. Answers with what is stated, how many were found out, and how often the training went back.
    fn train(&self) -> (u64, u64, u64) {
        let lbfgs = LbfgsSettings { memory: PAIRS, gradient_tolerance: None };
        let statistics: Arc<[f32]> = Arc::new([]);
        let snapshot = Snapshot {
            optimizer: Optimizer::Lbfgs(Lbfgs::new(vec![0.0; self.parameters], lbfgs)),
            scales: KnownScales::default(),
            statistics: Statistics::new(statistics),
            counters: Counters::default(),
            accepted: None,
            course: Course::default(),
        };
        let mut engine = Engine::new(self.settings(), snapshot, &Secret::new([3; 32]));
        let mut events = Events::default();
        (1..=self.volunteers).for_each(|session| events.at(0, Event::Joins(session)));
        events.input(1, Input::Begin);
        let (mut last, mut convicted, mut rewound) = (self.volunteers, 0, 0);
        let mut delivered: BTreeMap<u64, u64> = BTreeMap::new();
        let mut round: Option<(RoundPlan, Vec<Arc<[f32]>>)> = None;
        while engine.stop_reason().is_none() {
            let ((now_ms, _), event) = events.queue.pop_first().expect("something happens until the end");
            let input = match event {
                Event::Input(input) => input,
                Event::Joins(session) => {
                    let identity = Identity { token: session.into(), address: session.into() };
                    let training_shards = (0..self.units / 4).collect();
                    Input::Joined { session, cores: 1, local: false, identity, training_shards }
                }
                Event::Answer(asked) => {
                    let Some((plan, vectors)) = round.as_ref().filter(|(plan, _)| plan.round == asked.round)
                    else {
                        continue;
                    };
                    *delivered.entry(asked.session).or_default() += 1;
                    result(&asked, plan, vectors)
                }
            };
            engine.handle(now_ms, input);
            while let Some(output) = engine.poll_output() {
                match output {
                    Output::OpenRound { plan, vectors } => {
                        for _ in 0..NEWCOMERS {
                            last += 1;
                            events.at(now_ms + 1, Event::Joins(last));
                        }
                        round = Some((plan, vectors));
                    }
                    Output::Assign { session, assignment } => {
                        let results = delivered.get(&session).copied().unwrap_or(0);
                        let lies = results >= HONEST_RESULTS && session % self.liars_one_in == 0;
                        let (round, units) = (assignment.round, count(&assignment.units));
                        let ms = now_ms + 20 + 80 * u64::from(units) + session % 7;
                        let assignment = assignment.assignment;
                        events.at(ms, Event::Answer(Asked { session, assignment, round, units, lies }));
                    }
                    Output::Measure { plan, unit, vectors } => {
                        let measure = measure(&vectors[0]);
                        events.input(now_ms + 1, Input::Measured { round: plan.round, unit, measure });
                    }
                    Output::Recompute { plan, units, vectors } => {
                        let answer = Some(answer(&plan, &vectors, count(&units)));
                        events.input(now_ms + 1, Input::Recomputed { round: plan.round, answer });
                    }
                    Output::Convicted { .. } => convicted += 1,
                    Output::Rewound { .. } => rewound += 1,
                    _ => {}
                }
            }
            if let Some(ms) = engine.wake_ms().filter(|_| events.queue.is_empty()) {
                events.input(ms, Input::Tick);
            }
        }
        let load = Load {
            parameters: self.parameters as u64,
            pairs: PAIRS as u64,
            vectors: 1,
            rewinds: true,
            units: self.units.into(),
            shards: u64::from(self.units / 4),
            volunteers: last,
        };
        (load.worst_case_bytes(), convicted, rewound)
    }
}

fn count(units: &[std::ops::Range<u32>]) -> u32 {
    units.iter().map(|range| range.end - range.start).sum()
}

fn result(asked: &Asked, plan: &RoundPlan, vectors: &[Arc<[f32]>]) -> Input {
    let Answer { losses, unfit_steps, correct, mut vector } = answer(plan, vectors, asked.units);
    if let (true, Some(vector)) = (asked.lies, &mut vector) {
        vector[0] += 1;
    }
    let header = ResultHeader {
        run: 1,
        round: plan.round,
        version: plan.version,
        assignment: asked.assignment,
        losses,
        unfit_steps,
        correct,
        vector_bytes: 0,
    };
    Input::Message { session: asked.session, message: Message::Result { header, vector } }
}

/// How steep the loss is along a parameter.
fn steepness(parameter: usize) -> f64 {
    (1 + parameter * 7 % 1_000) as f64
}

/// Every example's loss is the same: a sum of squares, lowest where all weights are 1.
fn loss(point: impl Iterator<Item = f32>, parameters: usize) -> f64 {
    let terms = point.enumerate().map(|(parameter, weight)| {
        let away = f64::from(weight) - 1.0;
        steepness(parameter) * away * away / 2.0
    });
    terms.sum::<f64>() / parameters as f64
}

fn slope(weights: &[f32], parameter: usize) -> f64 {
    steepness(parameter) * (f64::from(weights[parameter]) - 1.0) / weights.len() as f64
}

fn measure(weights: &[f32]) -> Measure {
    let largest = (0..weights.len()).map(|parameter| slope(weights, parameter).abs()).fold(0.0, f64::max);
    Measure { largest, loss: loss(weights.iter().copied(), weights.len()), ..Measure::fitting() }
}

/// What so many units sum to, each of which is one example.
fn answer(plan: &RoundPlan, vectors: &[Arc<[f32]>], units: u32) -> Answer {
    let (weights, limit) = (&vectors[0], exact::unit_limit(plan.units()));
    let integer = |value: f64, exponent| {
        i64::from(units) * exact::integer(value, exponent, limit).expect("the values change slowly")
    };
    let of_loss = |loss: f64| integer(loss, plan.scales.loss_exponent);
    let length = weights.len();
    let (losses, vector) = match &plan.parts[0].work {
        Work::Losses { steps } => {
            let at = |step: &f32| of_loss(loss(trial_point(weights, &vectors[1], *step), length));
            (steps.iter().map(at).collect(), None)
        }
        _ => {
            let exponent = plan.scales.vector_exponent;
            let vector = (0..length).map(|parameter| integer(slope(weights, parameter), exponent)).collect();
            (vec![of_loss(loss(weights.iter().copied(), length))], Some(vector))
        }
    };
    Answer { losses, unfit_steps: 0, correct: 0, vector }
}
