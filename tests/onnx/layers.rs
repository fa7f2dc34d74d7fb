//! Every layer, activation and loss answers in ONNX Runtime as `predict` does, within 1e-5.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use model::{
    Arithmetic, Features, LossSpec, Network, NetworkSpec, ParameterKind, Preprocessing, Rows, Scratch, Task,
};
use ndarray::ArrayView2;
use onnx::export::{Answers, Export, INPUT, Inputs, LABEL, PREDICTION, PROBABILITIES};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use support::python;

/// Examples of each case.
const EXAMPLES: usize = 5;
/// Networks put together at random.
const RANDOM_NETWORKS: usize = 40;

/// Networks that have every layer and setting, with their number of features.
pub(crate) const NETWORKS: [(&str, usize); 8] = [
    (r#"{"layers": []}"#, 4),
    (
        r#"{"layers": [{"kind": "dense", "units": 9, "activation": "leaky-relu"}, {"kind": "layer-norm"},
        {"kind": "dense", "units": 9, "activation": "leaky-relu:0.3"}, {"kind": "layer-norm", "epsilon": 0.001},
        {"kind": "dense", "units": 8, "activation": "gelu"}, {"kind": "batch-norm"}, {"kind": "batch-norm", "epsilon": 0.1},
        {"kind": "dense", "units": 7, "activation": "silu"}, {"kind": "dense", "units": 6, "activation": "softplus"},
        {"kind": "dense", "units": 6, "activation": "tanh"}, {"kind": "dense", "units": 5, "activation": "sigmoid"},
        {"kind": "dense", "units": 5}, {"kind": "dense", "units": 5, "activation": "none"}]}"#,
        6,
    ),
    // Uneven padding, groups, overlapping windows, and a flatten whose order matters.
    (
        r#"{"input": [2, 9, 7], "layers": [
        {"kind": "conv2d", "channels": 6, "kernel": 4, "padding": "same", "groups": 2, "activation": "gelu"},
        {"kind": "batch-norm"}, {"kind": "max-pool", "size": 3, "stride": 2}, {"kind": "layer-norm"},
        {"kind": "activation", "function": "silu"},
        {"kind": "conv2d", "channels": 5, "kernel": 3, "stride": 2, "padding": 1, "activation": "leaky-relu"},
        {"kind": "flatten"}, {"kind": "dropout", "rate": 0.5}, {"kind": "dense", "units": 6}]}"#,
        126,
    ),
    (
        r#"{"input": [3, 8, 5], "layers": [{"kind": "conv2d", "channels": 4, "kernel": 2, "stride": 3,
        "padding": "same", "activation": "tanh"}, {"kind": "average-pool", "size": 2, "stride": 1},
        {"kind": "average-pool", "size": 2, "padding": "same"},
        {"kind": "max-pool", "size": 3, "stride": 2, "padding": 1}, {"kind": "dense", "units": 5}]}"#,
        120,
    ),
    (r#"{"layers": [{"kind": "conv2d", "channels": 3, "kernel": 3}, {"kind": "global-max-pool"}]}"#, 36),
    (
        r#"{"layers": [{"kind": "embedding", "vocabulary": 9, "width": 5}, {"kind": "batch-norm"},
        {"kind": "residual", "layers": [{"kind": "dropout", "rate": 0.3}, {"kind": "dense", "units": 7}],
        "shortcut": "projection", "activation": "tanh"}, {"kind": "residual", "layers": [{"kind": "dense", "units": 7}]}]}"#,
        4,
    ),
    // A projection with a stride of its own, and blocks inside blocks.
    (
        r#"{"input": [2, 9, 7], "layers": [{"kind": "residual", "shortcut": "projection", "activation": "relu",
        "layers": [{"kind": "conv2d", "channels": 5, "kernel": 3, "padding": "same", "stride": 2},
        {"kind": "batch-norm"}, {"kind": "residual", "layers": [{"kind": "dropout", "rate": 0.5}]}]},
        {"kind": "global-average-pool"}]}"#,
        126,
    ),
    (
        r#"{"input": [1, 6, 6], "layers": [{"kind": "residual", "shortcut": "projection",
        "layers": [{"kind": "dense", "units": 4}]}, {"kind": "flatten"}]}"#,
        36,
    ),
];

/// Losses, each with a task: every network gets each of these ends.
const ENDS: [(Option<LossSpec>, Task); 4] = [
    (None, Task::Classes(3)),
    (None, Task::Numbers(2)),
    (Some(LossSpec::BinaryCrossEntropy), Task::Numbers(3)),
    (Some(LossSpec::Huber), Task::Numbers(1)),
];

#[test]
fn no_layer_activation_or_loss_is_without_a_case() {
    let mut found = BTreeSet::new();
    for (json, _) in NETWORKS {
        // With the defaults spelled out.
        let spec = NetworkSpec::from_json(json).unwrap().to_json();
        names(&serde_json::from_str(&spec).unwrap(), &mut found);
    }
    found.extend(ENDS.map(|(loss, task)| {
        serde_json::to_value(loss.unwrap_or(task.loss())).unwrap().as_str().unwrap().to_owned()
    }));
    for unknown in [
        r#"{"layers": [{"kind": "?"}]}"#,
        r#"{"layers": [{"kind": "activation", "function": "?"}]}"#,
        r#"{"layers": [{"kind": "residual", "layers": [], "shortcut": "?"}]}"#,
        r#"{"loss": "?"}"#,
    ] {
        let known = all_that_are_known(unknown);
        assert!(known.len() > 1, "{unknown}: {known:?}");
        let missing: Vec<&String> = known.iter().filter(|&name| !found.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?} have no case in NETWORKS or ENDS");
    }
}

/// All texts in a specification: kinds, activations and the like.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(name) => _ = found.insert(name.clone()),
        Value::Array(values) => values.iter().for_each(|value| names(value, found)),
        Value::Object(values) => values.values().for_each(|value| names(value, found)),
        _ => {}
    }
}

/// The names that the program would have understood in the place of `?`, out of its refusal.
fn all_that_are_known(unknown: &str) -> Vec<String> {
    let refusal = NetworkSpec::from_json(unknown).unwrap_err().to_string();
    let (found, known) = refusal.split_once("expected one of").or(refusal.split_once("expected")).unwrap();
    assert!(found.contains("unknown variant `?`"), "{refusal}");
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_network_answers_in_onnx_runtime_as_it_predicts() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = 0;
    for (i, (json, features)) in NETWORKS.into_iter().enumerate() {
        let spec = NetworkSpec::from_json(json).unwrap();
        for (loss, task) in ENDS {
            let spec = NetworkSpec { loss, ..spec.clone() };
            write_case(folder.path(), &format!("{i}-{cases}"), &spec, features, task);
            cases += 1;
        }
    }
    for (i, spec) in random_specs().into_iter().enumerate() {
        write_case(folder.path(), &format!("random-{i}"), &spec, 84, Task::Classes(4));
        cases += 1;
    }
    let said = python::run("layers.py", &[folder.path()]);
    assert!(said.contains(&format!("{cases} networks agree")), "{said}");
}

/// Networks put together at random, of 84 features: always the same ones, so that a failure can be seen again.
pub(crate) fn random_specs() -> Vec<NetworkSpec> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut spec = || {
        let layers = images(2).new_tree(&mut runner).unwrap().current();
        let json = json!({"input": [2, 7, 6], "layers": layers}).to_string();
        NetworkSpec::from_json(&json).unwrap()
    };
    (0..RANDOM_NETWORKS).map(|_| spec()).collect()
}

/// Weights, biases, gains and statistics as a training would leave them, and not 0 and 1.
pub(crate) fn random_weights(network: &Network, seed: u64) -> Vec<f32> {
    let mut weights = network.initialize(seed);
    for block in network.layout() {
        for (i, weight) in weights[block.range.clone()].iter_mut().enumerate() {
            let noise = ((i as u64 * 37 + seed) % 101) as f32 / 101.0;
            match block.kind {
                ParameterKind::Weight => {}
                ParameterKind::Statistic if block.name.ends_with("variance") => *weight = 0.2 + noise,
                _ => *weight += noise - 0.5,
            }
        }
    }
    weights
}

/// Layers from any image to something, which keep the size of images.
fn images(depth: u32) -> BoxedStrategy<Vec<Value>> {
    let activation = prop::sample::select(vec![
        "relu",
        "leaky-relu",
        "tanh",
        "sigmoid",
        "gelu",
        "silu",
        "softplus",
        "none",
    ]);
    let conv2d = (prop::sample::select(vec![2, 4, 6]), 1..=5u32, activation.clone()).prop_map(
        |(channels, kernel, activation)| {
            json!({"kind": "conv2d", "channels": channels, "kernel": kernel, "padding": "same", "groups": 2,
                "activation": activation})
        },
    );
    let plain = prop::sample::select(vec![
        json!({"kind": "batch-norm"}),
        json!({"kind": "layer-norm"}),
        json!({"kind": "max-pool", "size": 2, "stride": 1}),
        json!({"kind": "average-pool", "size": 1}),
        json!({"kind": "dropout", "rate": 0.4}),
    ]);
    let function =
        activation.clone().prop_map(|activation| json!({"kind": "activation", "function": activation}));
    let layer = if depth == 0 {
        prop_oneof![3 => conv2d, 2 => plain, 1 => function].boxed()
    } else {
        let block = (images(depth - 1), activation).prop_map(|(layers, activation)| {
            // What pools makes images smaller, by one place and not by a stride.
            let kept: Vec<Value> = layers.into_iter().filter(|layer| layer["kind"] != "max-pool").collect();
            let layers = if kept.is_empty() { vec![json!({"kind": "batch-norm"})] } else { kept };
            json!({"kind": "residual", "shortcut": "projection", "layers": layers, "activation": activation})
        });
        prop_oneof![3 => conv2d, 2 => plain, 1 => function, 2 => block].boxed()
    };
    prop::collection::vec(layer, 1..=4).boxed()
}

/// Writes a network with random weights, inputs for it, and what it predicts.
fn write_case(folder: &Path, name: &str, spec: &NetworkSpec, features: usize, task: Task) {
    let network = Network::new(spec, features, task).unwrap_or_else(|problem| panic!("{problem}: {spec:?}"));
    let seed = name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte));
    let weights = random_weights(&network, seed);
    let vocabulary = spec.vocabulary();
    let rows: Vec<f32> = (0..EXAMPLES * features)
        .map(|i| match vocabulary {
            Some(vocabulary) => (i * 5 % vocabulary as usize) as f32,
            None => (i * 37 % 101) as f32 / 20.0 - 1.0,
        })
        .collect();
    let preprocessing = match vocabulary {
        Some(_) => Preprocessing::identity(features),
        None => Preprocessing {
            offset: (0..features).map(|i| (i % 7) as f32 / 7.0).collect(),
            scale: (0..features).map(|i| 0.3 + (i % 5) as f32 / 5.0).collect(),
        },
    };
    let width = network.outputs();
    let mut predicted = vec![0.0; EXAMPLES * width];
    let values = Rows::F32(ArrayView2::from_shape((EXAMPLES, features), &rows).unwrap());
    network.predict(
        Arithmetic::Portable,
        &mut Scratch::new(),
        &weights,
        &Features::new(values, &preprocessing),
        &mut predicted,
    );
    let names: Vec<String> = (0..width).map(|class| format!("class {class}")).collect();
    let (mean, deviation) = (vec![100.0_f64, -3.0, 0.0], vec![20.0_f64, 0.5, 1.0]);
    let (answers, outputs) = match task {
        Task::Classes(_) => {
            let likeliest = |row: &[f32]| {
                let largest = row.iter().copied().fold(0.0, f32::max);
                row.iter().position(|&probability| probability == largest).unwrap()
            };
            let labels: Vec<&str> = predicted.chunks(width).map(|row| &*names[likeliest(row)]).collect();
            let outputs = json!({
                LABEL: {"kind": "string", "shape": [EXAMPLES], "values": labels},
                PROBABILITIES: {"kind": "float32", "shape": [EXAMPLES, width], "values": predicted},
            });
            (Answers::Classes(&names), outputs)
        }
        Task::Numbers(_) => {
            let (mean, deviation) = (&mean[..width], &deviation[..width]);
            for row in predicted.chunks_mut(width) {
                for ((value, mean), deviation) in row.iter_mut().zip(mean).zip(deviation) {
                    *value = (f64::from(*value) * deviation + mean) as f32;
                }
            }
            let outputs = json!({
                PREDICTION: {"kind": "float32", "shape": [EXAMPLES, width], "values": predicted},
            });
            (Answers::Numbers { mean, deviation }, outputs)
        }
    };
    let inputs = Inputs::Numbers(&preprocessing);
    let metadata = vec![("columns".to_owned(), "[]".to_owned())];
    let export = Export { network: &network, weights: &weights, inputs, answers, metadata };
    let kind = if vocabulary.is_some() { "int64" } else { "float32" };
    let shape = match network.shapes()[0] {
        model::Shape::Image { channels, height, width } if vocabulary.is_none() => {
            vec![EXAMPLES, channels, height, width]
        }
        shape => vec![EXAMPLES, shape.len()],
    };
    let values: Value =
        if vocabulary.is_some() { rows.iter().map(|&value| value as i64).collect() } else { json!(rows) };
    let case =
        json!({"inputs": {INPUT: {"kind": kind, "shape": shape, "values": values}}, "outputs": outputs});
    fs::write(folder.join(format!("{name}.onnx")), export.to_bytes().unwrap()).unwrap();
    fs::write(folder.join(format!("{name}.json")), case.to_string()).unwrap();
}
