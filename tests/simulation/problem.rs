//! What is trained: a small data set, a small network, and how the set is cut.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use engine::optimizers::{
    self, Auto, Averaged, AveragedSettings, Lbfgs, LearningRate, Optimizer, Outer, Rule, Sample, Schedule,
    Stochastic, StochasticSettings,
};
use engine::{
    Answer, Audit, Counters, Course, KnownScales, LocalHelp, Measure, OnLie, Settings, Snapshot, Statistics,
};
use model::{Arithmetic, Examples, Features, Network, NetworkSpec, Preprocessing, Rows, Targets, Task};
use ndarray::{Array2, s};
use protocol::limits::LOCAL_EXAMPLES_MAX;
use protocol::message::{LocalBounds, Welcome};
use protocol::plan::{RoundPlan, Set, SetPlan, SetPlans};
use protocol::shard;
use support::world;
use worker::unit::{Buffers, Unit, UnitOutcome, UnitSums, evaluate_unit, measure_unit};

use crate::random::Draw;
use crate::reference::Limits;

/// Names the simulated run.
pub(crate) const RUN: u64 = 0x5a0a1;
/// The run's seed.
pub(crate) const SEED: u64 = 0xf15;

/// A network with statistics and masks.
const DROPS_AND_NORMALIZES: &str = r#"{"layers": [{"kind": "dense", "units": 5, "activation": "tanh"},
    {"kind": "batch-norm"}, {"kind": "dropout", "rate": 0.25}]}"#;

/// All that a problem is made from.
#[derive(Debug, Clone)]
pub(crate) struct ProblemPlan {
    pub(crate) seed: u64,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) task: Task,
    pub(crate) features: usize,
    pub(crate) bytes: bool,
    pub(crate) training: u32,
    pub(crate) test: u32,
    pub(crate) validation: u32,
    pub(crate) minibatch: u32,
    pub(crate) examples_per_unit: u32,
    pub(crate) units_per_shard: u32,
    pub(crate) network: &'static str,
    pub(crate) l2: f32,
    pub(crate) memory: usize,
    pub(crate) method: Method,
    /// Of methods that take local steps.
    pub(crate) replicas: u32,
    pub(crate) oddity: Oddity,
}

/// The optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    Lbfgs,
    /// L-BFGS on samples.
    Sampled,
    /// Averaged local steps, then L-BFGS.
    Auto,
    /// Averaged local steps with momentum.
    Average,
    /// Averaged local steps with a learning rate so low that higher ones are tried from the first point reached.
    Timid,
    /// Averaged local steps with a learning rate far too high, which is not given up at once.
    Wild,
    /// Adam.
    Adam,
    /// Plain descent along the gradient of some units, at a learning rate that stays.
    Sgd {
        learning_rate: f32,
    },
}

impl Method {
    fn optimizer(self, start: &[f32], plan: &ProblemPlan, units: u32) -> Optimizer {
        let settings = optimizers::LbfgsSettings { memory: plan.memory, gradient_tolerance: None };
        let local = |learning_rate, outer| AveragedSettings {
            replicas: plan.training.min(plan.replicas),
            steps: 3,
            learning_rate,
            schedule: Schedule::Constant,
            outer,
        };
        let stochastic = |rule, learning_rate, schedule, drawn| {
            let settings = StochasticSettings {
                rule,
                learning_rate,
                may_lower: rule != Rule::Sgd,
                schedule,
                units: drawn,
                all_units: units,
            };
            Optimizer::Stochastic(Stochastic::new(start, settings))
        };
        match self {
            Self::Lbfgs => Optimizer::Lbfgs(Lbfgs::new(start, settings)),
            // A sample may well go through all units more than once.
            Self::Sampled => {
                Optimizer::Lbfgs(Lbfgs::sampled(start, settings, Sample { units: units.max(2), overlap: 1 }))
            }
            Self::Auto => {
                let first = local(LearningRate::Searched, Outer::Lbfgs { memory: plan.memory });
                Optimizer::Auto(Auto::new(start, first, settings))
            }
            Self::Average => {
                let first = local(LearningRate::Given(1.0), Outer::Momentum { momentum: 0.5 });
                Optimizer::Averaged(Averaged::new(start, first))
            }
            Self::Timid => {
                let first = local(LearningRate::Given(1e-3), Outer::Lbfgs { memory: plan.memory });
                // So many that two rounds differ little in what they draw.
                let first = AveragedSettings { steps: 40, ..first };
                Optimizer::Averaged(Averaged::new(start, first))
            }
            Self::Wild => {
                let first = local(LearningRate::Given(3e4), Outer::Lbfgs { memory: plan.memory });
                Optimizer::Auto(Auto::new(start, first, settings))
            }
            Self::Adam => stochastic(Rule::Adam, 0.01, Schedule::Cosine { iterations: 10 }, 2),
            Self::Sgd { learning_rate } => stochastic(Rule::Sgd, learning_rate, Schedule::Constant, 5),
        }
    }
}

/// What is unusual about the numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Oddity {
    None,
    /// Unit 0 is silent, and the others' targets (or features, for classes) are 2^this as large:
    /// the first scale, which comes from unit 0, does not fit them.
    Loud(i32),
    /// One example in eight of the training set has features 2^this as large.
    Outliers(i32),
    /// The test set's features are 2^this as large.
    LoudTest(i32),
    /// All features are 2^this as large.
    Explosive(i32),
    /// Features and targets are 2^these as large and all weights begin at zero, so that the first
    /// step may lead far away. For numbers and no hidden layer only.
    Overshoot(i32, i32),
}

impl ProblemPlan {
    /// Three classes, `units` units of four examples, a small network.
    pub(crate) fn plain(units: u32) -> ProblemPlan {
        ProblemPlan {
            seed: 7,
            arithmetic: Arithmetic::Portable,
            task: Task::Classes(3),
            features: 4,
            bytes: false,
            training: 4 * units,
            test: 0,
            validation: 0,
            minibatch: 2,
            examples_per_unit: 4,
            units_per_shard: 4,
            network: "mlp:4:tanh",
            l2: 0.0,
            memory: 5,
            method: Method::Lbfgs,
            replicas: 5,
            oddity: Oddity::None,
        }
    }

    /// Numbers to be met by a linear function, with something unusual about them.
    pub(crate) fn odd(oddity: Oddity) -> ProblemPlan {
        let (task, network) = (Task::Numbers(1), "linear");
        ProblemPlan { task, network, features: 1, test: 10, oddity, ..ProblemPlan::plain(12) }
    }

    pub(crate) fn draw(draw: &mut Draw) -> ProblemPlan {
        let classes = draw.percent(50);
        let count = draw.between(1, 3) as u32;
        let examples_per_unit = draw.between(1, 8) as u32;
        let units = draw.between(1, 40) as u32;
        let oddity = match draw.between(0, 11) {
            0 | 1 => Oddity::Loud(draw.between(4, 40) as i32),
            2 => Oddity::Outliers(draw.between(4, 30) as i32),
            3 | 4 => Oddity::LoudTest(draw.between(4, 70) as i32),
            5 => Oddity::Explosive(draw.between(20, 63) as i32),
            6 => Oddity::Overshoot(draw.between(4, 66) as i32, draw.between(0, 76) as i32 - 20),
            _ => Oddity::None,
        };
        let overshoots = matches!(oddity, Oddity::Overshoot(..));
        let seed = draw.between(0, u64::MAX - 1);
        let methods = [
            Method::Lbfgs,
            Method::Lbfgs,
            Method::Auto,
            Method::Average,
            Method::Timid,
            Method::Sampled,
            Method::Adam,
        ];
        let networks = ["linear", "mlp:3", "mlp:5:tanh", "mlp:4,3", "mlp:6:sigmoid", DROPS_AND_NORMALIZES];
        ProblemPlan {
            seed,
            arithmetic: draw.of(&Arithmetic::ALL),
            task: if classes && !overshoots { Task::Classes(count + 1) } else { Task::Numbers(count) },
            features: draw.between(1, 6) as usize,
            bytes: draw.percent(30) && oddity == Oddity::None,
            training: ((units - 1) * examples_per_unit) + draw.between(1, examples_per_unit.into()) as u32,
            test: if draw.percent(75) { draw.between(1, 40) as u32 } else { 0 },
            validation: if draw.percent(50) { draw.between(1, 40) as u32 } else { 0 },
            minibatch: draw.between(1, examples_per_unit.into()) as u32,
            examples_per_unit,
            units_per_shard: draw.between(1, 5) as u32,
            network: draw.of(&networks[..if overshoots { 1 } else { networks.len() }]),
            l2: draw.of(&[0.0, 0.01]),
            memory: draw.between(1, 6) as usize,
            method: Draw::new(seed, "method").of(&methods),
            replicas: 5,
            oddity,
        }
    }
}

/// Everything that defines the run, ready to be trained on.
pub(crate) struct Problem {
    pub(crate) network: Network,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) minibatch: u32,
    pub(crate) sets: SetPlans,
    training_table: Table,
    validation_table: Table,
    test_table: Table,
    /// Encoded shards by their hash.
    pub(crate) shards: BTreeMap<[u8; 32], Vec<u8>>,
    start: Snapshot,
}

/// The examples of one set.
struct Table {
    rows: Values,
    targets: Answers,
}

enum Values {
    Bytes(Array2<u8>),
    Numbers(Array2<f32>),
}

enum Answers {
    Classes(Vec<u16>),
    Numbers(Array2<f32>),
}

impl Problem {
    pub(crate) fn new(plan: &ProblemPlan) -> Problem {
        let mut draw = Draw::new(plan.seed, "data");
        let is_json = plan.network.starts_with('{');
        let read = if is_json { NetworkSpec::from_json } else { NetworkSpec::from_shorthand };
        let mut spec = read(plan.network).unwrap();
        spec.l2 = plan.l2;
        let network = Network::new(&spec, plan.features, plan.task).unwrap();
        let training_table = Table::draw(&mut draw, plan, Set::Training);
        let test_table = Table::draw(&mut draw, plan, Set::Test);
        let validation_table = Table::draw(&mut draw, plan, Set::Validation);
        let mut shards = BTreeMap::new();
        let sets = SetPlans {
            training: cut(plan, plan.training, &training_table, &mut shards),
            validation: cut(plan, plan.validation, &validation_table, &mut shards),
            test: cut(plan, plan.test, &test_table, &mut shards),
        };
        let scale = if plan.bytes { 1.0 / 255.0 } else { 1.0 };
        let start = match plan.oddity {
            Oddity::Overshoot(..) => vec![0.0; network.parameters()],
            _ => network.initialize(plan.seed),
        };
        let (start, statistics) = start.split_at(network.trainable());
        let start = Snapshot {
            optimizer: plan.method.optimizer(start, plan, sets.training.units() / 2),
            scales: KnownScales::default(),
            statistics: Statistics::new(statistics.into()),
            counters: Counters::default(),
            accepted: None,
            course: Course::default(),
        };
        let preprocessing = Preprocessing::uniform(plan.features, 0.0, scale);
        let arithmetic = plan.arithmetic;
        Problem {
            network,
            arithmetic,
            preprocessing,
            minibatch: plan.minibatch,
            sets,
            training_table,
            validation_table,
            test_table,
            shards,
            start,
        }
    }

    /// The state before the first round.
    pub(crate) fn start(&self) -> Snapshot {
        self.start.clone()
    }

    pub(crate) fn set(&self, set: Set) -> &SetPlan {
        self.sets.of(set)
    }

    /// Some examples of a set.
    pub(crate) fn examples(&self, set: Set, range: Range<u32>) -> Examples<'_> {
        let table = match set {
            Set::Training => &self.training_table,
            Set::Validation => &self.validation_table,
            Set::Test => &self.test_table,
        };
        table.examples(range.start as usize..range.end as usize, &self.preprocessing)
    }

    /// What units of one part sum to.
    ///
    /// # Errors
    /// The first unit that has no result.
    pub(crate) fn compute(
        &self,
        plan: &RoundPlan,
        units: &[u32],
        vectors: &[Arc<[f32]>],
    ) -> Result<Answer, u32> {
        let (part, _) = plan.locate(units[0]).unwrap();
        let mut sums = UnitSums::zero(&plan.parts[part].work, self.network.parameters());
        for &number in units {
            let outcome = self.with_unit(plan, number, vectors, |unit| {
                evaluate_unit(unit, &mut Buffers::default(), &mut sums)
            });
            if outcome != UnitOutcome::Added {
                return Err(number);
            }
        }
        let UnitSums { losses, unfit_steps, correct, vector } = sums;
        Ok(Answer { losses, unfit_steps, correct, vector })
    }

    /// How large the values of a unit are.
    pub(crate) fn measure(&self, plan: &RoundPlan, unit: u32, vectors: &[Arc<[f32]>]) -> Measure {
        self.with_unit(plan, unit, vectors, |unit| measure_unit(unit, &mut Buffers::default()))
    }

    fn with_unit<T>(
        &self,
        plan: &RoundPlan,
        unit: u32,
        vectors: &[Arc<[f32]>],
        compute: impl FnOnce(&Unit<'_>) -> T,
    ) -> T {
        let (part, number) = plan.locate(unit).unwrap();
        let part = &plan.parts[part];
        let set = self.set(part.set);
        let examples = part.lay_out(set, SEED).examples_of(set, number);
        compute(&Unit {
            network: &self.network,
            arithmetic: self.arithmetic,
            seed: SEED,
            minibatch: self.minibatch,
            plan,
            work: &part.work,
            number,
            examples: &[self.examples(part.set, examples.clone())],
            first_example: examples.start,
            weights: &vectors[0],
            direction: vectors.get(1).map_or(&[][..], |direction| direction),
        })
    }

    /// What defines the run for an engine, with these limits.
    pub(crate) fn settings(&self, limits: &Limits) -> Settings {
        Settings {
            run: RUN,
            network: self.network.clone(),
            sets: self.sets.clone(),
            seed: SEED,
            minibatch: self.minibatch,
            stop: limits.stop.clone(),
            evaluate_every: limits.evaluate_every,
            evaluate_training: limits.evaluate_training,
            examines: limits.examines,
            local_help: LocalHelp::Never,
            audit: Audit::None,
            on_lie: OnLie::Rewind,
        }
    }

    pub(crate) fn welcome(&self, session: u64) -> Welcome {
        Welcome {
            run: RUN,
            session,
            arithmetic: self.arithmetic,
            preprocessing: self.preprocessing.clone(),
            seed: SEED,
            minibatch: self.minibatch,
            local: Some(LocalBounds { replicas: 1, steps: LOCAL_EXAMPLES_MAX }),
            ..world::welcome(&self.network, self.sets.clone())
        }
    }
}

fn cut(
    plan: &ProblemPlan,
    examples: u32,
    table: &Table,
    shards: &mut BTreeMap<[u8; 32], Vec<u8>>,
) -> SetPlan {
    let ProblemPlan { examples_per_unit, units_per_shard, features, .. } = *plan;
    let preprocessing = Preprocessing::identity(features);
    let (set, encoded) = world::cut(examples, examples_per_unit, units_per_shard, |range| {
        let examples = table.examples(range, &preprocessing);
        shard::encode(&examples.features.rows, &examples.targets)
    });
    shards.extend(set.shards.iter().map(|shard| shard.hash).zip(encoded));
    set
}

impl Table {
    fn draw(draw: &mut Draw, plan: &ProblemPlan, set: Set) -> Table {
        let examples = match set {
            Set::Training => plan.training,
            Set::Validation => plan.validation,
            Set::Test => plan.test,
        } as usize;
        let power = |exponent: i32| (exponent as f32).exp2();
        let mut rows = Array2::from_shape_simple_fn((examples, plan.features), || draw.number());
        // Something to learn: targets follow the features' sum, with noise.
        let leaning: Vec<f32> = rows.rows().into_iter().map(|row| row.sum() + 0.5 * draw.number()).collect();
        let quiet = |example: usize| set == Set::Training && example < plan.examples_per_unit as usize;
        let columns = plan.task.outputs();
        let targets = match plan.task {
            Task::Classes(classes) => {
                let class = |leaning: &f32| {
                    ((leaning + 2.0) * 0.25 * classes as f32).clamp(0.0, classes as f32 - 1.0)
                };
                Answers::Classes(leaning.iter().map(|leaning| class(leaning) as u16).collect())
            }
            Task::Numbers(_) => {
                let mut targets = Array2::from_shape_fn((examples, columns as usize), |(row, column)| {
                    leaning[row] * (1.0 + column as f32)
                });
                for (example, mut row) in targets.rows_mut().into_iter().enumerate() {
                    let factor = match plan.oddity {
                        Oddity::Loud(_) if quiet(example) => 0.0,
                        Oddity::Loud(exponent) => power(exponent),
                        Oddity::Overshoot(_, exponent) => power(exponent),
                        _ => 1.0,
                    };
                    row.mapv_inplace(|value| value * factor);
                }
                Answers::Numbers(targets)
            }
        };
        if plan.bytes {
            let rows = rows.mapv(|value| ((value + 1.0) * 127.5) as u8);
            return Table { rows: Values::Bytes(rows), targets };
        }
        for (example, mut row) in rows.rows_mut().into_iter().enumerate() {
            let factor = match plan.oddity {
                Oddity::Loud(_) if quiet(example) => 0.0,
                Oddity::Loud(exponent) if matches!(plan.task, Task::Classes(_)) => power(exponent),
                Oddity::Outliers(exponent) if set == Set::Training && example % 8 == 7 => power(exponent),
                Oddity::LoudTest(exponent) if set == Set::Test => power(exponent),
                Oddity::Explosive(exponent) | Oddity::Overshoot(exponent, _) => power(exponent),
                _ => 1.0,
            };
            row.mapv_inplace(|value| value * factor);
        }
        Table { rows: Values::Numbers(rows), targets }
    }

    fn examples<'a>(&'a self, range: Range<usize>, preprocessing: &'a Preprocessing) -> Examples<'a> {
        let rows = match &self.rows {
            Values::Bytes(rows) => Rows::U8(rows.slice(s![range.clone(), ..])),
            Values::Numbers(rows) => Rows::F32(rows.slice(s![range.clone(), ..])),
        };
        let targets = match &self.targets {
            Answers::Classes(classes) => Targets::Classes(&classes[range]),
            Answers::Numbers(numbers) => Targets::Numbers(numbers.slice(s![range, ..])),
        };
        Examples { features: Features::new(rows, preprocessing), targets }
    }
}
