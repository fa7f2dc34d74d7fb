//! Losses, gradients and ten training steps, compared with reference numbers that JAX computed in 64 bits.
//! `jax/generate.py` made them with its own implementation of every layer.

#[path = "bits/numbers.rs"]
mod numbers;

use model::{
    Arithmetic, Examples, Features, GradientResults, Network, NetworkSpec, Pass, Preprocessing, Rows,
    Scratch, Targets, Task,
};
use ndarray::ArrayView2;
use serde::Deserialize;

use numbers::numbers;

/// The allowed difference, relative to the largest number of its kind. A sum in 32 bits is off by a few times
/// 2^-24.
const TOLERANCE: f64 = 4e-6;
/// The allowed difference after ten steps, each of which adds its own.
const TOLERANCE_OF_STEPS: f64 = 8e-6;

#[derive(Deserialize)]
struct Reference {
    learning_rate: f64,
    steps: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    spec: String,
    features: usize,
    task: String,
    outputs: u32,
    examples: usize,
    penalty: f64,
    losses: Vec<f64>,
    gradient: Vec<f64>,
    weights: Vec<f64>,
}

impl Case {
    fn inputs(&self, spec: &NetworkSpec) -> Vec<f32> {
        let mut values = numbers(1, self.examples * self.features);
        if let Some(model::LayerSpec::Embedding(embedding)) = spec.layers.first() {
            values
                .iter_mut()
                .for_each(|value| *value = ((*value + 1.0) / 2.0 * embedding.vocabulary as f32).floor());
        }
        values
    }

    fn targets(&self) -> Vec<f32> {
        let mut values = numbers(2, self.examples * self.outputs as usize);
        if self.spec.contains("binary-cross-entropy") {
            values.iter_mut().for_each(|value| *value = (*value + 1.0) / 2.0);
        }
        values
    }

    fn check(&self, arithmetic: Arithmetic, learning_rate: f64, steps: usize) {
        let spec = NetworkSpec::from_json(&self.spec).unwrap();
        let task =
            if self.task == "classes" { Task::Classes(self.outputs) } else { Task::Numbers(self.outputs) };
        let network = Network::new(&spec, self.features, task).unwrap();
        let (inputs, numbers_wanted) = (self.inputs(&spec), self.targets());
        let classes: Vec<u16> = (0..self.examples).map(|i| (i as u32 * 7 % self.outputs) as u16).collect();
        let preprocessing = Preprocessing::identity(self.features);
        let rows = ArrayView2::from_shape((self.examples, self.features), &inputs).unwrap();
        let targets = match task {
            Task::Classes(_) => Targets::Classes(&classes),
            Task::Numbers(columns) => {
                let shape = (self.examples, columns as usize);
                Targets::Numbers(ArrayView2::from_shape(shape, &numbers_wanted).unwrap())
            }
        };
        let examples = Examples { features: Features::new(Rows::F32(rows), &preprocessing), targets };
        // All examples are one minibatch.
        let pass = Pass::new(self.examples);
        let mut scratch = Scratch::new();
        let mut gradient_at = |weights: &[f32]| {
            let (mut gradient, mut losses) = (vec![0.0; network.parameters()], vec![0.0; self.examples]);
            network.gradient(
                arithmetic,
                &mut scratch,
                weights,
                &pass,
                &examples,
                GradientResults { gradient: &mut gradient, losses: &mut losses },
            );
            gradient.truncate(network.trainable());
            (gradient, losses)
        };
        let mut weights = network.initialize(1);
        let start = numbers(3, network.trainable());
        weights.iter_mut().zip(&start).for_each(|(weight, start)| *weight = start / 2.0);
        let what = |of: &str| format!("{of} of \"{}\" in {arithmetic:?} arithmetic", self.name);

        let (gradient, losses) = gradient_at(&weights);
        assert_close(&what("the losses"), &losses, &self.losses, TOLERANCE);
        assert_close(&what("the gradient"), &gradient, &self.gradient, TOLERANCE);
        let penalty = network.penalty(&weights);
        assert!(
            (penalty - self.penalty).abs() <= TOLERANCE * self.penalty,
            "{}: {penalty}",
            what("the penalty")
        );

        for _ in 0..steps {
            let (gradient, _) = gradient_at(&weights);
            let mut mean: Vec<f64> =
                gradient.iter().map(|value| f64::from(*value) / self.examples as f64).collect();
            network.add_penalty_gradient(&weights, &mut mean);
            for (weight, mean) in weights.iter_mut().zip(&mean) {
                *weight = (f64::from(*weight) - learning_rate * mean) as f32;
            }
        }
        weights.truncate(network.trainable());
        assert_close(&what("the weights after the steps"), &weights, &self.weights, TOLERANCE_OF_STEPS);
    }
}

fn assert_close(what: &str, got: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let error = (f64::from(*got) - wanted).abs();
        assert!(error <= tolerance * largest, "{what}: element {index} is {got} instead of {wanted}");
    }
}

#[test]
fn every_layer_and_loss_agrees_with_jax() {
    let reference: Reference = serde_json::from_str(include_str!("jax/reference.json")).unwrap();
    assert!(reference.cases.len() >= 30);
    for case in &reference.cases {
        for arithmetic in Arithmetic::ALL {
            case.check(arithmetic, reference.learning_rate, reference.steps);
        }
    }
}
