//! The results that must be the same to the last bit on every machine: a list of cases, each with the digest
//! of its results.
//!
//! The cases cover every layer and loss (the networks compared with JAX, and some whose sizes meet the edges
//! of tiles) on ordinary, mostly zero, subnormal, huge and non-finite numbers. The results are gradient,
//! losses, predictions, local steps and exact sums. The bits of a NaN may differ between machines; its being
//! a NaN may not.

#[path = "numbers.rs"]
mod numbers;

use model::exact::{self, Fit};
use model::{
    Arithmetic, Examples, Features, GradientResults, LocalResults, LocalSteps, Network, NetworkSpec,
    NonZeros, Pass, Preprocessing, Rows, Scratch, Targets, Task,
};
use ndarray::ArrayView2;

use numbers::numbers;

/// More networks than those compared with JAX: specification, features, classes, examples.
const MORE_NETWORKS: [(&str, usize, u32, usize); 6] = [
    (r#"{"layers": [{"kind": "dense", "units": 70}, {"kind": "dense", "units": 17}]}"#, 99, 5, 37),
    (r#"{"layers": [{"kind": "dense", "units": 128}]}"#, 130, 10, 10),
    (
        r#"{"input": [1, 13, 11], "layers": [
            {"kind": "conv2d", "channels": 5, "kernel": 5, "padding": "same"}, {"kind": "max-pool", "size": 2},
            {"kind": "conv2d", "channels": 7, "kernel": 5, "padding": "same"}, {"kind": "max-pool", "size": 2}]}"#,
        143,
        10,
        9,
    ),
    (
        r#"{"input": [3, 9, 9], "layers": [
            {"kind": "conv2d", "channels": 6, "kernel": 3, "stride": 2, "groups": 3, "activation": "gelu"},
            {"kind": "batch-norm"}, {"kind": "dropout", "rate": 0.25}, {"kind": "global-average-pool"}]}"#,
        243,
        4,
        11,
    ),
    (r#"{"layers": [{"kind": "dropout", "rate": 0.5}, {"kind": "dense", "units": 33}]}"#, 40, 3, 13),
    (r#"{"layers": [], "l1": 0.001, "l2": 0.01}"#, 65, 2, 16),
];

/// The kind of numbers that a network gets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbers {
    Ordinary,
    /// Four fifths of the inputs are zeros, some of them negative.
    MostlyZero,
    /// Inputs and weights have the exponent zero.
    Subnormal,
    Huge,
    /// Some inputs are infinite or NaN.
    NonFinite,
    /// Some weights are infinite or NaN, and most inputs are zero: a product of both must not be left out.
    NonFiniteWeights,
}

impl Numbers {
    const ALL: [Numbers; 6] = [
        Numbers::Ordinary,
        Numbers::MostlyZero,
        Numbers::Subnormal,
        Numbers::Huge,
        Numbers::NonFinite,
        Numbers::NonFiniteWeights,
    ];

    fn inputs(self, count: usize) -> Vec<f32> {
        let mut values = numbers(1, count);
        for (index, value) in values.iter_mut().enumerate() {
            let zero = index % 5 != 0;
            match self {
                Numbers::Ordinary => {}
                Numbers::MostlyZero | Numbers::NonFiniteWeights if zero => *value = 0.0f32.copysign(*value),
                Numbers::MostlyZero | Numbers::NonFiniteWeights => {}
                Numbers::Subnormal => *value *= f32::from_bits(1 << 20),
                Numbers::Huge => *value *= 1e20,
                Numbers::NonFinite if index % 17 == 3 => *value = f32::INFINITY,
                Numbers::NonFinite if index % 29 == 5 => *value = f32::NAN,
                Numbers::NonFinite => {}
            }
        }
        values
    }

    fn weights(self, count: usize) -> Vec<f32> {
        let mut values = numbers(3, count);
        for (index, value) in values.iter_mut().enumerate() {
            *value *= match self {
                Numbers::Subnormal => f32::from_bits(1 << 21),
                Numbers::Huge => 1e4,
                Numbers::NonFiniteWeights if index % 31 == 7 => f32::INFINITY,
                _ => 0.5,
            };
        }
        values
    }
}

/// One `arithmetic; case; digest` per line. After a change of the definition, the failing check prints the
/// new lines.
const EXPECTED: &str = include_str!("digests.txt");

/// Panics unless this machine gives every case's digest.
pub(crate) fn check() {
    let mut found = String::new();
    for arithmetic in Arithmetic::ALL {
        for (case, digest) in digests(arithmetic) {
            found += &format!("{arithmetic}; {case}; {digest}\n");
        }
    }
    let first_difference = found.lines().zip(EXPECTED.lines()).find(|(found, expected)| found != expected);
    assert!(found == EXPECTED, "found and expected: {first_difference:?}; all lines found:\n{found}");
}

/// The name of every case and the digest of its results.
fn digests(arithmetic: Arithmetic) -> Vec<(String, String)> {
    let known_answer = blake3::Hash::from_bytes(model::known_answer::digest(arithmetic));
    let mut digests = vec![("known answer".to_owned(), known_answer.to_hex().to_string())];
    for (name, network, examples) in networks() {
        for numbers in Numbers::ALL {
            let problem = Problem::new(&network, examples, numbers);
            let dense = problem.digest(&network, arithmetic, false);
            assert_eq!(
                problem.digest(&network, arithmetic, true),
                dense,
                "leaving out zeros changes \"{name}\" on {numbers:?} numbers"
            );
            digests.push((format!("{name}; {numbers:?}"), dense));
        }
    }
    digests
}

/// Name, network and number of examples.
fn networks() -> Vec<(String, Network, usize)> {
    let reference: serde_json::Value = serde_json::from_str(include_str!("../jax/reference.json")).unwrap();
    let from_jax = reference["cases"].as_array().unwrap().iter().map(|case| {
        let number = |key: &str| case[key].as_u64().unwrap();
        let outputs = number("outputs") as u32;
        let task = if case["task"] == "classes" { Task::Classes(outputs) } else { Task::Numbers(outputs) };
        let spec = NetworkSpec::from_json(case["spec"].as_str().unwrap()).unwrap();
        let network = Network::new(&spec, number("features") as usize, task).unwrap();
        (case["name"].as_str().unwrap().to_owned(), network, number("examples") as usize)
    });
    let more = MORE_NETWORKS.iter().enumerate().map(|(index, &(spec, features, classes, examples))| {
        let spec = NetworkSpec::from_json(spec).unwrap();
        let network = Network::new(&spec, features, Task::Classes(classes)).unwrap();
        (format!("network {index}, {}", network.outline()), network, examples)
    });
    from_jax.chain(more).collect()
}

/// The data and weights for one network.
struct Problem {
    rows: Vec<f32>,
    examples: usize,
    classes: Vec<u16>,
    numbers: Vec<f32>,
    weights: Vec<f32>,
    preprocessing: Preprocessing,
}

impl Problem {
    fn new(network: &Network, examples: usize, kind: Numbers) -> Problem {
        let outputs = network.outputs();
        let mut weights = network.initialize(1);
        weights[..network.trainable()].copy_from_slice(&kind.weights(network.trainable()));
        Problem {
            rows: kind.inputs(examples * network.features()),
            examples,
            classes: (0..examples).map(|index| (index * 7 % outputs) as u16).collect(),
            numbers: numbers(2, examples * outputs).iter().map(|value| value.abs()).collect(),
            weights,
            preprocessing: Preprocessing::identity(network.features()),
        }
    }

    fn digest(&self, network: &Network, arithmetic: Arithmetic, skip_zeros: bool) -> String {
        let shape = (self.examples, network.features());
        let rows = Rows::F32(ArrayView2::from_shape(shape, &self.rows).unwrap());
        let nonzeros = NonZeros::of(&rows, &self.preprocessing).filter(|_| skip_zeros);
        let mut features = Features::new(rows, &self.preprocessing);
        features.nonzeros = nonzeros.as_ref().map(|nonzeros| nonzeros.rows(0..self.examples));
        let targets = match network.task() {
            Task::Classes(_) => Targets::Classes(&self.classes),
            Task::Numbers(columns) => {
                let shape = (self.examples, columns as usize);
                Targets::Numbers(ArrayView2::from_shape(shape, &self.numbers).unwrap())
            }
        };
        let examples = Examples { features, targets };
        let pass = Pass { minibatch: 4, mask_seed: 5, mask_epoch: 6, first_example: 70 };
        let mut results = Results(blake3::Hasher::new());
        let mut scratch = Scratch::new();

        let (mut gradient, mut losses) = (vec![0.0; network.parameters()], vec![0.0; self.examples]);
        let (weights, scratch) = (&self.weights, &mut scratch);
        let correct = network.gradient(
            arithmetic,
            scratch,
            weights,
            &pass,
            &examples,
            GradientResults { gradient: &mut gradient, losses: &mut losses },
        );
        results.add_vector(&gradient);
        results.add(&losses);
        results.0.update(&correct.to_le_bytes());
        network.training_losses(arithmetic, scratch, weights, &pass, &examples, &mut losses);
        results.add(&losses);
        let correct = network.evaluate(arithmetic, scratch, weights, &examples, &mut losses);
        results.add(&losses);
        results.0.update(&correct.to_le_bytes());
        let mut outputs = vec![0.0; self.examples * network.outputs()];
        network.predict(arithmetic, scratch, weights, &examples.features, &mut outputs);
        results.add(&outputs);

        let order: Vec<u32> = (0..5 * 4).map(|index| index * 5 % self.examples as u32).collect();
        let steps = LocalSteps { order: &order, minibatch: 4, learning_rate: 0.125, pass };
        let (mut end, mut losses) = (weights.clone(), vec![0.0; order.len()]);
        let mut statistics = vec![0.0; network.parameters() - network.trainable()];
        let pool = &[examples];
        network.local_steps(
            arithmetic,
            scratch,
            &mut end,
            &steps,
            pool,
            LocalResults { losses: &mut losses, statistics: &mut statistics },
        );
        if results.add_vector(&end) {
            results.add(&losses);
            results.add(&statistics);
        }
        results.0.finalize().to_hex()[..16].to_owned()
    }
}

/// Hashes results.
struct Results(blake3::Hasher);

impl Results {
    fn add(&mut self, values: &[f32]) {
        for value in values {
            let value = if value.is_nan() { f32::NAN } else { *value };
            self.0.update(&value.to_bits().to_le_bytes());
        }
    }

    /// Adds a vector. If an element is not finite, only that fact is hashed; otherwise the vector is, with
    /// its exact sum. Returns whether it is finite.
    fn add_vector(&mut self, values: &[f32]) -> bool {
        let exponent = exact::exponent_for(exact::largest(values).into(), 24);
        let is_finite = exact::fit(values, exponent) != Fit::NonFinite;
        self.0.update(&[u8::from(is_finite)]);
        if is_finite {
            let mut sum = vec![0; values.len()];
            exact::add(&mut sum, values, exponent);
            sum.iter().for_each(|value| {
                self.0.update(&value.to_le_bytes());
            });
            self.add(values);
        }
        is_finite
    }
}
