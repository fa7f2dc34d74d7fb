//! A small computation with a known exact result. A machine that reproduces it proves that it computes a
//! run's bits.
//!
//! It covers the steps of a work unit: matrix products, the functions, gradients of networks, inputs without
//! their zeros, local steps, exact sums. Its numbers reveal the usual differences: subnormals flushed to
//! zero, a fused multiply-add rounded twice or a portable one rounded once, another order of a sum, a
//! different exponential. Every layer and every loss occurs in one of the networks.

use ndarray::ArrayView2;

use crate::arithmetic::Arithmetic;
use crate::examples::{Examples, Features, Preprocessing, Rows, Targets};
use crate::kernels::{Ending, Kernel, Matrix, Workspace};
use crate::local::{DECAY_STEPS, LocalResults, LocalSteps};
use crate::network::{GradientResults, Network, Scratch};
use crate::nonzeros::NonZeros;
use crate::pass::Pass;
use crate::spec::{Activation, DenseSpec, LayerSpec, NetworkSpec, SpecError, Task};
use crate::{digest, exact, functions};

/// BLAKE3 over the results, on the fastest path this machine has. Equal digests mean equal bits; the two
/// arithmetics differ by design.
pub fn digest(arithmetic: Arithmetic) -> [u8; 32] {
    digest_with(Kernel::best(arithmetic), arithmetic)
}

fn digest_with(kernel: Kernel, arithmetic: Arithmetic) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    products(kernel, &mut hasher);
    rounding_cases(kernel, &mut hasher);
    functions(&mut hasher);
    networks(kernel, arithmetic, &mut hasher);
    training(kernel, arithmetic, &mut hasher);
    layers(kernel, arithmetic, &mut hasher);
    *hasher.finalize().as_bytes()
}

/// Products of all shapes that the tiles and their remainders distinguish, in the three orientations that a
/// layer needs.
fn products(kernel: Kernel, hasher: &mut blake3::Hasher) {
    let mut numbers = Numbers::new(1);
    let mut workspace = Workspace::default();
    for (m, n, k) in [
        (1, 1, 1),
        (2, 3, 5),
        (3, 16, 7),
        (4, 17, 9),
        (5, 10, 129),
        (6, 64, 31),
        (7, 33, 300),
        (11, 80, 13),
        (13, 99, 2),
        (0, 4, 3),
        (4, 3, 0),
    ] {
        let left = numbers.take(m * k);
        let right = numbers.take(k * n);
        let start = numbers.take(m * n);
        let forms = [
            (Matrix::new(&left, m, k), Matrix::new(&right, k, n)),
            (Matrix::new(&left, k, m).transposed(), Matrix::new(&right, k, n)),
            (Matrix::new(&left, m, k), Matrix::new(&right, n, k).transposed()),
        ];
        for (a, b) in forms {
            let mut c = start.clone();
            kernel.product(&mut workspace, a, b, Ending::Add, &mut c);
            digest::update(hasher, &c);
        }
    }
}

/// Single sums where the arithmetics differ, where results are subnormal, and where a zero's sign must not
/// survive.
fn rounding_cases(kernel: Kernel, hasher: &mut blake3::Hasher) {
    let tiny = f32::from_bits(1);
    let step = 1.0 + f32::EPSILON;
    let cases: [(f32, &[f32], &[f32]); 8] = [
        // (1 + e)^2 - (1 + 2 e) is e^2 when fused, and 0 when the product is rounded first.
        (-(1.0 + 2.0 * f32::EPSILON), &[step], &[step]),
        (0.0, &[tiny, tiny], &[0.5, 0.75]),
        (tiny, &[f32::MIN_POSITIVE, -f32::MIN_POSITIVE], &[0.5, 0.25]),
        (0.0, &[1.0e-20, 1.0e-23], &[1.0e-20, 1.0e-21]),
        // A negative underflow leaves -0 in a fused sum unless +0 is added.
        (0.0, &[-1.0e-30], &[1.0e-30]),
        (-0.0, &[-0.0], &[0.0]),
        (f32::MAX, &[f32::MAX, -f32::MAX], &[1.0e-8, 0.5]),
        (1.0, &[1.0e8, -1.0e8, 1.0], &[1.0, 1.0, 1.0e-8]),
    ];
    let mut workspace = Workspace::default();
    for (start, left, right) in cases {
        // Wide enough for every vector width, with the same sum in each column.
        let width = 21;
        let right: Vec<f32> = right.iter().flat_map(|&value| vec![value; width]).collect();
        let mut c = vec![start; width];
        kernel.product(
            &mut workspace,
            Matrix::new(left, 1, left.len()),
            Matrix::new(&right, left.len(), width),
            Ending::Add,
            &mut c,
        );
        digest::update(hasher, &c);
    }
}

/// The functions over a sweep of all magnitudes and signs, with infinities and NaN.
fn functions(hasher: &mut blake3::Hasher) {
    let sweep: Vec<f32> = (0..=0x7f9)
        .flat_map(|i| [1.0, -1.0].map(|sign: f32| f32::from_bits(i << 20 | i).copysign(sign)))
        .collect();
    let mut update = |results: &[f32]| {
        // The bits of a NaN may differ between machines; its being a NaN may not.
        let results: Vec<f32> = results.iter().map(|&x| if x.is_nan() { f32::NAN } else { x }).collect();
        digest::update(hasher, &results);
    };
    update(&sweep.iter().map(|&x| functions::exp(x)).collect::<Vec<_>>());
    update(&sweep.iter().map(|&x| functions::ln(x)).collect::<Vec<_>>());
    for activation in [Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::None] {
        let mut activations = sweep.clone();
        activation.forward(&mut activations);
        update(&activations);
        let mut delta = sweep.clone();
        activation.backward(&activations, &mut delta);
        update(&delta);
    }
}

/// The gradients of two small networks, summed exactly.
fn networks(kernel: Kernel, arithmetic: Arithmetic, hasher: &mut blake3::Hasher) {
    let mut numbers = Numbers::new(2);
    let dense = |units, activation| LayerSpec::Dense(DenseSpec { units, activation, initializer: None });
    let (features, examples) = (11, 9);
    let preprocessing = Preprocessing::uniform(features, 3.0, 1.0 / 255.0);

    let spec = NetworkSpec {
        layers: vec![dense(19, Activation::Relu), dense(6, Activation::Tanh)],
        ..NetworkSpec::default()
    };
    let pixels: Vec<u8> = numbers.take(examples * features).iter().map(|x| (x.abs() * 255.0) as u8).collect();
    let classes: Vec<u16> = (0..examples as u16).map(|i| i * 7 % 5).collect();
    let pixels = ArrayView2::from_shape((examples, features), &pixels).expect("one pixel per feature");
    network(
        kernel,
        arithmetic,
        &valid(Network::new(&spec, features, Task::Classes(5))),
        &Examples {
            features: Features::new(Rows::U8(pixels), &preprocessing),
            targets: Targets::Classes(&classes),
        },
        hasher,
    );

    let spec = NetworkSpec {
        layers: vec![dense(8, Activation::Sigmoid), dense(3, Activation::None)],
        ..NetworkSpec::default()
    };
    let rows = numbers.take(examples * features);
    let targets = numbers.take(examples * 2);
    let rows = ArrayView2::from_shape((examples, features), &rows).expect("one number per feature");
    let targets = ArrayView2::from_shape((examples, 2), &targets).expect("two numbers per example");
    network(
        kernel,
        arithmetic,
        &valid(Network::new(&spec, features, Task::Numbers(2))),
        &Examples {
            features: Features::new(Rows::F32(rows), &preprocessing),
            targets: Targets::Numbers(targets),
        },
        hasher,
    );
}

/// Gradients and local steps on inputs that are mostly zeros, for two networks. The dense one leaves out the
/// zeros and changes its weights in place; the other has most of the other layers.
fn training(kernel: Kernel, arithmetic: Arithmetic, hasher: &mut blake3::Hasher) {
    const SPECIFICATIONS: [&str; 2] = [
        r#"{"l1": 0.001, "l2": 0.01, "layers": [{"kind": "dense", "units": 37, "activation": "relu"},
            {"kind": "dense", "units": 18, "activation": "leaky-relu"}]}"#,
        r#"{"input": [2, 6, 7], "layers": [
            {"kind": "conv2d", "channels": 5, "kernel": 3, "padding": "same", "activation": "relu"},
            {"kind": "batch-norm"}, {"kind": "max-pool", "size": 2}, {"kind": "dropout", "rate": 0.25},
            {"kind": "conv2d", "channels": 6, "kernel": 2, "stride": 2, "padding": "same", "activation": "gelu"},
            {"kind": "layer-norm"}, {"kind": "flatten"},
            {"kind": "residual", "layers": [{"kind": "dense", "units": 24, "activation": "silu"}]},
            {"kind": "dense", "units": 7, "activation": "softplus"}]}"#,
    ];
    const FEATURES: usize = 84;
    const EXAMPLES: usize = 12;
    const MINIBATCH: usize = 5;
    // Enough steps for the penalties to be applied twice.
    const STEPS: usize = DECAY_STEPS + 3;
    let mut numbers = Numbers::new(3);
    let keep_few = |(i, x): (usize, f32)| if i % 5 < 2 { x } else { x * 0.0 };
    let rows: Vec<f32> = numbers.take(EXAMPLES * FEATURES).into_iter().enumerate().map(keep_few).collect();
    let rows = ArrayView2::from_shape((EXAMPLES, FEATURES), &rows).expect("one number per feature");
    let rows = Rows::F32(rows);
    let classes: Vec<u16> = (0..EXAMPLES as u16).map(|i| i * 5 % 3).collect();
    let preprocessing = Preprocessing::uniform(FEATURES, 0.0, 0.75);
    let nonzeros = NonZeros::of(&rows, &preprocessing).expect("mostly zeros");
    let features =
        Features { nonzeros: Some(nonzeros.rows(0..EXAMPLES)), ..Features::new(rows, &preprocessing) };
    let examples = Examples { features, targets: Targets::Classes(&classes) };
    let order: Vec<u32> = (0..STEPS * MINIBATCH).map(|i| (i * 7 % EXAMPLES) as u32).collect();
    for specification in SPECIFICATIONS {
        let spec = valid(NetworkSpec::from_json(specification));
        let of_spec = valid(Network::new(&spec, FEATURES, Task::Classes(3)));
        network(kernel, arithmetic, &of_spec, &examples, hasher);

        let mut weights = of_spec.initialize(u64::from_le_bytes(*b"shoal!!!"));
        let mut losses = vec![0.0; order.len()];
        let mut statistics = vec![0.0; of_spec.parameters() - of_spec.trainable()];
        let pass = Pass { mask_seed: 1, mask_epoch: 2, first_example: 3, ..Pass::new(MINIBATCH) };
        let steps = LocalSteps { order: &order, minibatch: MINIBATCH, learning_rate: 0.1, pass };
        of_spec.local_steps_with(
            kernel,
            &mut Scratch::new(),
            &mut weights,
            &steps,
            &[examples],
            LocalResults { losses: &mut losses, statistics: &mut statistics },
        );
        digest::update(hasher, &weights);
        digest::update(hasher, &losses);
        digest::update(hasher, &statistics);
    }
}

/// Three minibatches, the last one shorter, and mask parameters beyond 32 bits.
const PASS: Pass =
    Pass { minibatch: 3, mask_seed: u64::MAX / 3, mask_epoch: u64::MAX / 5, first_example: (1 << 40) + 5 };

/// Small networks that together have every kind of layer, with their number of features and their task.
const LAYERS: [(&str, usize, Task); 6] = [
    (
        r#"{"input": [2, 9, 7], "label_smoothing": 0.1, "class_weights": [1, 0.5, 2], "layers": [
        {"kind": "conv2d", "channels": 18, "kernel": 3, "padding": "same", "groups": 2, "activation": "leaky-relu"},
        {"kind": "max-pool", "size": 2, "stride": 1}, {"kind": "batch-norm"},
        {"kind": "conv2d", "channels": 5, "kernel": 5, "stride": 2, "padding": 3, "activation": "gelu"},
        {"kind": "average-pool", "size": 2}, {"kind": "flatten"}, {"kind": "dense", "units": 6}]}"#,
        126,
        Task::Classes(3),
    ),
    (
        r#"{"input": [2, 9, 7], "layers": [{"kind": "residual", "shortcut": "projection", "activation": "relu", "layers": [
        {"kind": "conv2d", "channels": 17, "kernel": 3, "padding": "same", "stride": 2, "activation": "none"},
        {"kind": "batch-norm"}, {"kind": "residual", "layers": [{"kind": "dropout", "rate": 0.5}]}]},
        {"kind": "global-average-pool"}]}"#,
        126,
        Task::Classes(4),
    ),
    (
        r#"{"input": [1, 7, 18], "loss": "binary-cross-entropy", "layers": [
        {"kind": "conv2d", "channels": 17, "kernel": 4, "activation": "tanh"}, {"kind": "global-max-pool"},
        {"kind": "activation", "function": "silu"}]}"#,
        126,
        Task::Numbers(2),
    ),
    (
        r#"{"loss": "huber", "huber_delta": 0.5, "layers": [{"kind": "embedding", "vocabulary": 9, "width": 5},
        {"kind": "layer-norm"}, {"kind": "dense", "units": 19, "activation": "softplus"},
        {"kind": "residual", "shortcut": "projection", "layers": [{"kind": "dense", "units": 7, "activation": "sigmoid"}]}]}"#,
        13,
        Task::Numbers(2),
    ),
    (
        r#"{"layers": [{"kind": "batch-norm"}, {"kind": "dropout", "rate": 0.3}, {"kind": "dense", "units": 8}]}"#,
        13,
        Task::Classes(5),
    ),
    (
        r#"{"l1": 0.01, "l2": 0.1, "initializer": "orthogonal", "layers": [{"kind": "dense", "units": 9}]}"#,
        13,
        Task::Numbers(1),
    ),
];

/// A training pass, local steps and inference through each of [`LAYERS`].
fn layers(kernel: Kernel, arithmetic: Arithmetic, hasher: &mut blake3::Hasher) {
    let mut numbers = Numbers::new(4);
    let examples = 8;
    for (json, features, task) in LAYERS {
        let spec = valid(NetworkSpec::from_json(json));
        let found = valid(Network::new(&spec, features, task));
        let mut rows = numbers.take(examples * features);
        if let Some(vocabulary) = spec.vocabulary() {
            rows.iter_mut().for_each(|value| *value = (value.abs() * vocabulary as f32).floor());
        }
        let rows = ArrayView2::from_shape((examples, features), &rows).expect("one number per feature");
        let preprocessing = Preprocessing::identity(features);
        let outputs = found.outputs();
        let classes: Vec<u16> = (0..examples).map(|i| (i * 7 % outputs) as u16).collect();
        let targets: Vec<f32> = numbers.take(examples * outputs).iter().map(|target| target.abs()).collect();
        let targets = match task {
            Task::Classes(_) => Targets::Classes(&classes),
            Task::Numbers(_) => Targets::Numbers(
                ArrayView2::from_shape((examples, outputs), &targets).expect("one number per output"),
            ),
        };
        let examples = Examples { features: Features::new(Rows::F32(rows), &preprocessing), targets };
        network(kernel, arithmetic, &found, &examples, hasher);
        local_steps(kernel, &found, &examples, hasher);
    }
}

/// The weights, losses and statistics after some local steps.
fn local_steps(kernel: Kernel, network: &Network, examples: &Examples<'_>, hasher: &mut blake3::Hasher) {
    let order = [3, 1, 4, 1, 5, 0, 2, 6, 5, 3, 7, 2];
    let steps = LocalSteps { order: &order, minibatch: 3, learning_rate: 0.05, pass: PASS };
    let mut weights = network.initialize(7);
    let mut losses = vec![0.0; order.len()];
    let mut statistics = vec![0.0; network.parameters() - network.trainable()];
    network.local_steps_with(
        kernel,
        &mut Scratch::new(),
        &mut weights,
        &steps,
        &[*examples],
        LocalResults { losses: &mut losses, statistics: &mut statistics },
    );
    for values in [&weights, &losses, &statistics] {
        digest::update(hasher, values);
    }
}

fn network(
    kernel: Kernel,
    arithmetic: Arithmetic,
    network: &Network,
    examples: &Examples<'_>,
    hasher: &mut blake3::Hasher,
) {
    let weights = network.initialize(u64::from_le_bytes(*b"shoal!!!"));
    let mut scratch = Scratch::new();
    let mut gradient = vec![0.0; network.parameters()];
    let mut losses = vec![0.0; examples.len()];
    let correct = network.gradient_with(
        kernel,
        &mut scratch,
        &weights,
        &PASS,
        examples,
        GradientResults { gradient: &mut gradient, losses: &mut losses },
    );
    digest::update(hasher, &weights);
    digest::update(hasher, &gradient);
    digest::update(hasher, &losses);
    hasher.update(&correct.to_le_bytes());

    let exponent = exact::exponent_for(f64::from(exact::largest(&gradient)), 24);
    let mut sum = vec![0; gradient.len()];
    exact::add(&mut sum, &gradient, exponent);
    hasher.update(&exponent.to_le_bytes());
    for value in &sum {
        hasher.update(&value.to_le_bytes());
    }

    let mut outputs = vec![0.0; examples.len() * network.outputs()];
    network.predict(arithmetic, &mut scratch, &weights, &examples.features, &mut outputs);
    digest::update(hasher, &outputs);
}

/// A sequence of numbers of mixed sign, in -1 .. 1, with a few subnormals and zeros among them.
struct Numbers {
    state: u32,
}

impl Numbers {
    fn new(seed: u32) -> Numbers {
        Numbers { state: seed }
    }

    fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> f32 {
        // A linear congruential generator: any fixed sequence will do.
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match self.state >> 28 {
            0 => f32::from_bits(self.state >> 9 & 0x7f_ffff),
            1 => 0.0,
            _ => ((self.state >> 8) as f32 - 8_388_608.0) / 8_388_608.0,
        }
    }
}

/// What a valid specification gives. A volunteer's worker is downloaded, so a panic shows the error in the one form that
/// the worker has anyway.
fn valid<T>(made: Result<T, SpecError>) -> T {
    made.unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every platform, native or WebAssembly, must match these. They change only with the definition itself,
    /// and then no older volunteer or checkpoint is compatible.
    #[test]
    fn digests_are_pinned() {
        let hex =
            |arithmetic| digest(arithmetic).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            [Arithmetic::Portable, Arithmetic::Fused].map(hex),
            [
                "2a2d848cd98d461b40518dd90feefae1f42066f64783cbceef5c500cc7e518e9",
                "4bfc7184f476561979bad38bc069f22a932c001d1e2738b0f2d07d2f07058da4",
            ]
        );
    }

    #[test]
    fn every_path_gives_the_same_bits() {
        for arithmetic in Arithmetic::ALL {
            for kernel in Kernel::all(arithmetic) {
                assert_eq!(digest_with(kernel, arithmetic), digest(arithmetic), "{kernel:?}");
            }
        }
    }
}
