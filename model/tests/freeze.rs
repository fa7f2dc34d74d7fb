//! Frozen layers: their parameters keep their bits, and the others get the derivatives that they would get.

use model::{
    Arithmetic, Examples, Features, GradientResults, LocalResults, LocalSteps, Network, NetworkSpec,
    ParameterKind, Pass, Preprocessing, Rows, Scratch, SpecError, Targets, Task,
};
use ndarray::Array2;

const EXAMPLES: usize = 6;
const FEATURES: usize = 32;

/// Every layer that has parameters, apart from an embedding, which must be the first.
const IMAGES: &str = r#"{"input": [2, 4, 4], "l2": 0.01, "l1": 0.001, "layers": [
    {"kind": "conv2d", "channels": 4, "kernel": 3, "padding": "same", "activation": "gelu"}, {"kind": "layer-norm"},
    {"kind": "residual", "shortcut": "projection", "layers": [
        {"kind": "conv2d", "channels": 3, "kernel": 3, "padding": "same", "stride": 2}, {"kind": "dropout", "rate": 0.3}]},
    {"kind": "dense", "units": 7, "activation": "tanh"}, {"kind": "dense", "units": 5}]}"#;
const INTEGERS: &str =
    r#"{"layers": [{"kind": "embedding", "vocabulary": 5, "width": 3}, {"kind": "dense", "units": 6}]}"#;

fn network(json: &str, freeze: &[&str]) -> Network {
    let mut spec = NetworkSpec::from_json(json).unwrap();
    spec.freeze = freeze.iter().map(|&position| position.to_owned()).collect();
    Network::new(&spec, FEATURES, Task::Classes(3)).unwrap()
}

fn rows() -> Array2<f32> {
    Array2::from_shape_fn((EXAMPLES, FEATURES), |(i, j)| ((i * 37 + j * 11) % 101) as f32 / 25.0)
}

fn gradient(network: &Network, weights: &[f32]) -> Vec<f32> {
    let (rows, preprocessing) = (rows(), Preprocessing::identity(FEATURES));
    let features = Features::new(Rows::F32(rows.view()), &preprocessing);
    let examples = Examples { features, targets: Targets::Classes(&[0, 1, 2, 0, 1, 2]) };
    let mut gradient = vec![0.0; network.parameters()];
    let results = GradientResults { gradient: &mut gradient, losses: &mut [0.0; EXAMPLES] };
    network.gradient(Arithmetic::Portable, &mut Scratch::new(), weights, &Pass::new(3), &examples, results);
    network.add_penalty_gradient(weights, &mut gradient);
    gradient
}

fn stepped(network: &Network, weights: &[f32]) -> Vec<f32> {
    let (rows, preprocessing) = (rows(), Preprocessing::identity(FEATURES));
    let features = Features::new(Rows::F32(rows.view()), &preprocessing);
    let examples = Examples { features, targets: Targets::Classes(&[0, 1, 2, 0, 1, 2]) };
    let order: Vec<u32> = (0..12).map(|i| i * 5 % EXAMPLES as u32).collect();
    let steps = LocalSteps { order: &order, minibatch: 3, learning_rate: 0.1, pass: Pass::new(3) };
    let mut weights = weights.to_vec();
    let mut statistics = vec![0.0; network.parameters() - network.trainable()];
    let results = LocalResults { losses: &mut [0.0; 12], statistics: &mut statistics };
    network.local_steps(
        Arithmetic::Portable,
        &mut Scratch::new(),
        &mut weights,
        &steps,
        &[examples],
        results,
    );
    weights
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn what_is_frozen_keeps_its_bits_and_the_rest_gets_its_derivatives() {
    for (json, freeze) in [
        (IMAGES, &["1"][..]),
        (IMAGES, &["2"]),
        (IMAGES, &["3"]),
        (IMAGES, &["3.1"]),
        (IMAGES, &["4"]),
        (IMAGES, &["1", "2", "3", "4"]),
        (IMAGES, &["6"]),
        (IMAGES, &["1", "3", "5"]),
        (INTEGERS, &["1"]),
        (INTEGERS, &["2"]),
    ] {
        let (free, frozen) = (network(json, &[]), network(json, freeze));
        let weights = free.initialize(5);
        let (expected, found) = (gradient(&free, &weights), gradient(&frozen, &weights));
        let after = stepped(&frozen, &weights);
        let mut learned = 0;
        for block in frozen.layout() {
            let range = block.range.clone();
            if block.frozen {
                assert!(
                    found[range.clone()].iter().all(|&value| value.to_bits() == 0),
                    "{freeze:?}: {}",
                    block.name
                );
                assert_eq!(bits(&after[range.clone()]), bits(&weights[range]), "{freeze:?}: {}", block.name);
            } else {
                assert_eq!(
                    bits(&found[range.clone()]),
                    bits(&expected[range.clone()]),
                    "{freeze:?}: {}",
                    block.name
                );
                learned += usize::from(bits(&after[range.clone()]) != bits(&weights[range]));
            }
        }
        assert!(learned > 0, "{freeze:?}");
    }
}

/// It goes by its running statistics, as in inference, and these stay too.
#[test]
fn a_frozen_batch_normalization_is_a_linear_layer() {
    let json = r#"{"layers": [{"kind": "dense", "units": 6, "activation": "none"}, {"kind": "batch-norm"}, {"kind": "dense", "units": 4}]}"#;
    let frozen = network(json, &["2"]);
    assert_eq!(frozen.trainable(), frozen.parameters());
    let mut weights = frozen.initialize(5);
    for block in frozen.layout().iter().filter(|block| block.frozen) {
        for (i, weight) in weights[block.range.clone()].iter_mut().enumerate() {
            *weight = if block.kind == ParameterKind::Bias { -0.5 } else { 0.5 + i as f32 / 4.0 };
        }
    }
    // The same function of the same weights, with the normalization in the dense layer's.
    let folded_json = json.replace(r#"{"kind": "batch-norm"}, "#, "");
    let folded = network(&folded_json, &[]);
    let block = |name: &str| {
        let block = frozen.layout().iter().find(|block| block.name == name).unwrap();
        weights[block.range.clone()].to_vec()
    };
    let parts =
        ["gain", "bias", "running_mean", "running_variance"].map(|part| block(&format!("layers.1.{part}")));
    let factors: Vec<f32> =
        parts[0].iter().zip(&parts[3]).map(|(gain, variance)| gain / (variance + 1e-5).sqrt()).collect();
    let weight = block("layers.0.weight")
        .chunks(6)
        .flat_map(|row| {
            row.iter().zip(&factors).map(|(weight, factor)| weight * factor).collect::<Vec<f32>>()
        })
        .collect::<Vec<f32>>();
    let bias = (0..6).map(|i| (block("layers.0.bias")[i] - parts[2][i]) * factors[i] + parts[1][i]);
    let rest = ["layers.2.weight", "layers.2.bias", "layers.3.weight", "layers.3.bias"].map(block).concat();
    let folded_weights: Vec<f32> = weight.into_iter().chain(bias).chain(rest).collect();

    let (found, expected) = (gradient(&frozen, &weights), gradient(&folded, &folded_weights));
    // The later layers see the same values; the first one's derivatives are the folded one's, times the factors.
    let end = frozen.layout().iter().find(|block| block.name == "layers.2.weight").unwrap().range.start;
    let folded_end = 6 * FEATURES + 6;
    for (found, expected) in found[end..].iter().zip(&expected[folded_end..]) {
        assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{found} {expected}");
    }
    for i in 0..6 * FEATURES + 6 {
        let expected = expected[i] * factors[i % 6];
        assert!((found[i] - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{} {expected}", found[i]);
    }
    let after = stepped(&frozen, &weights);
    for block in frozen.layout().iter().filter(|block| block.frozen) {
        assert_eq!(bits(&after[block.range.clone()]), bits(&weights[block.range.clone()]), "{}", block.name);
    }
}

#[test]
fn positions_must_be_those_of_layers_and_leave_something_to_learn() {
    let wrong = |freeze: &[&str]| {
        let mut spec = NetworkSpec::from_json(IMAGES).unwrap();
        spec.freeze = freeze.iter().map(|&position| position.to_owned()).collect();
        Network::new(&spec, FEATURES, Task::Classes(3)).unwrap_err()
    };
    assert_eq!(wrong(&["1", "7"]), SpecError::NoSuchLayer { position: "7".to_owned() });
    assert_eq!(wrong(&["one"]), SpecError::NoSuchLayer { position: "one".to_owned() });
    assert!(matches!(wrong(&["1", "2", "3", "4", "5", "6"]), SpecError::AllFrozen { .. }));
}
