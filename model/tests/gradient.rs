//! Loss and gradient of random small networks, compared with a plain `f64` implementation and its finite
//! differences.

mod reference;

use model::{
    Activation, ActivationSpec, Arithmetic, Conv2dSpec, DenseSpec, DropoutSpec, EmbeddingSpec, Examples,
    Features, GradientResults, LayerSpec, LocalResults, LocalSteps, LossSpec, Network, NetworkSpec, NormSpec,
    Padding, Pass, PoolSpec, Preprocessing, ResidualSpec, Rows, Scratch, Shortcut, Slope, Targets, Task,
};
use ndarray::{Array2, ArrayView2};
use proptest::prelude::*;

/// A random network with weights, and random examples for it.
#[derive(Debug, Clone)]
struct Case {
    network: Network,
    weights: Vec<f32>,
    pass: Pass,
    preprocessing: Preprocessing,
    rows: Array2<f32>,
    classes: Vec<u16>,
    numbers: Array2<f32>,
}

impl Case {
    fn len(&self) -> usize {
        self.rows.nrows()
    }

    /// Examples `first..end`.
    fn examples(&self, first: usize, end: usize) -> Examples<'_> {
        let rows = self.rows.slice(ndarray::s![first..end, ..]);
        let targets = match self.network.task() {
            Task::Classes(_) => Targets::Classes(&self.classes[first..end]),
            Task::Numbers(_) => Targets::Numbers(self.numbers.slice(ndarray::s![first..end, ..])),
        };
        Examples { features: Features::new(Rows::F32(rows), &self.preprocessing), targets }
    }

    /// The pass for examples from `first` on.
    fn pass(&self, first: usize) -> Pass {
        Pass { first_example: self.pass.first_example + first as u64, ..self.pass }
    }

    /// Gradient, losses and correct predictions of examples `first..end`, the gradient added to `gradient`.
    fn add_gradient(
        &self,
        arithmetic: Arithmetic,
        first: usize,
        end: usize,
        gradient: &mut [f32],
    ) -> (Vec<f32>, u32) {
        let mut losses = vec![f32::NAN; end - first];
        let examples = self.examples(first, end);
        let pass = self.pass(first);
        let scratch = &mut Scratch::new();
        let correct = self.network.gradient(
            arithmetic,
            scratch,
            &self.weights,
            &pass,
            &examples,
            GradientResults { gradient, losses: &mut losses },
        );
        (losses, correct)
    }

    fn exact_weights(&self) -> Vec<f64> {
        self.weights.iter().map(|&weight| f64::from(weight)).collect()
    }

    /// The outputs of each minibatch, computed in `f64` directly from the definitions.
    fn reference(&self, weights: &[f64], training: bool) -> Vec<reference::Outputs> {
        let preprocessed = |i: usize| {
            let raw = self.rows.row(i);
            let columns = raw.iter().zip(&self.preprocessing.offset).zip(&self.preprocessing.scale);
            columns.map(|((&raw, &offset), &scale)| f64::from((raw - offset) * scale)).collect()
        };
        let minibatch = |first: usize| {
            let end = self.len().min(first + self.pass.minibatch);
            let rows = (first..end).map(preprocessed).collect();
            reference::outputs(&self.network, weights, rows, training.then(|| self.pass(first)))
        };
        (0..self.len()).step_by(self.pass.minibatch).map(minibatch).collect()
    }

    /// The same outputs, one row per example.
    fn reference_rows(&self, weights: &[f64], training: bool) -> Vec<Vec<f64>> {
        self.reference(weights, training).into_iter().flat_map(|outputs| outputs.rows).collect()
    }

    /// Each example's loss for `weights`, computed in `f64`.
    fn reference_losses(&self, weights: &[f64], training: bool) -> Vec<f64> {
        let loss = |(example, values): (usize, Vec<f64>)| {
            let (spec, targets) = (self.network.spec(), self.numbers.row(example).mapv(f64::from));
            match self.network.task() {
                Task::Classes(_) => {
                    reference::loss_of_class(spec, &values, usize::from(self.classes[example]))
                }
                Task::Numbers(_) => reference::loss_of_numbers(spec, &values, &targets.to_vec()),
            }
        };
        self.reference_rows(weights, training).into_iter().enumerate().map(loss).collect()
    }

    /// Whether no normalization magnifies rounding errors beyond what the tests allow.
    fn is_well_conditioned(&self) -> bool {
        let minibatches = self.reference(&self.exact_weights(), true);
        minibatches.iter().all(|minibatch| minibatch.smallest_deviation > 0.1)
    }
}

/// A task, and a specification without layers that determines the loss.
fn objective() -> impl Strategy<Value = (Task, NetworkSpec)> {
    let classes = (2u32..6).prop_flat_map(|classes| {
        let weights = prop_oneof![Just(vec![]), prop::collection::vec(0.0f32..3.0, classes as usize)];
        let spec =
            (prop_oneof![Just(0.0), 0.0f32..0.9], weights).prop_map(|(label_smoothing, class_weights)| {
                let loss = Some(LossSpec::SoftmaxCrossEntropy);
                NetworkSpec { loss, label_smoothing, class_weights, ..NetworkSpec::default() }
            });
        (Just(Task::Classes(classes)), spec)
    });
    let loss = prop_oneof![
        Just((None, None)),
        Just((Some(LossSpec::BinaryCrossEntropy), None)),
        Just((Some(LossSpec::Huber), None)),
        (0.1f32..2.0).prop_map(|delta| (Some(LossSpec::Huber), Some(delta))),
    ];
    let numbers = ((1u32..4).prop_map(Task::Numbers), loss).prop_map(|(task, (loss, huber_delta))| {
        (task, NetworkSpec { loss, huber_delta, ..NetworkSpec::default() })
    });
    prop_oneof![classes, numbers]
}

fn activation() -> impl Strategy<Value = Activation> {
    prop::sample::select(vec![
        Activation::Relu,
        Activation::LeakyRelu(Slope::USUAL),
        Activation::LeakyRelu(Slope::new(0.3).expect("it is above 0")),
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Gelu,
        Activation::Silu,
        Activation::Softplus,
        Activation::None,
    ])
}

fn dense_layer() -> impl Strategy<Value = LayerSpec> {
    (1u32..20, activation())
        .prop_map(|(units, activation)| LayerSpec::Dense(DenseSpec { units, activation, initializer: None }))
}

fn epsilon() -> impl Strategy<Value = f32> {
    prop_oneof![Just(NormSpec::EPSILON), 1e-6f32..0.5]
}

/// A layer that keeps any shape.
fn anywhere() -> impl Strategy<Value = LayerSpec> {
    prop_oneof![
        activation().prop_map(|function| LayerSpec::Activation(ActivationSpec { function })),
        epsilon().prop_map(|epsilon| LayerSpec::LayerNorm(NormSpec { epsilon })),
        epsilon().prop_map(|epsilon| LayerSpec::BatchNorm(NormSpec { epsilon })),
        (0.0f32..0.9).prop_map(|rate| LayerSpec::Dropout(DropoutSpec { rate })),
    ]
}

/// A layer that keeps any shape, or a residual block of such layers, perhaps nested. Not every block fits its
/// inputs.
fn perhaps_residual(layer: impl Strategy<Value = LayerSpec> + 'static) -> impl Strategy<Value = LayerSpec> {
    layer.prop_recursive(2, 8, 3, |inner| {
        let shortcut = prop::sample::select(vec![Shortcut::Identity, Shortcut::Projection]);
        (prop::collection::vec(inner, 1..4), shortcut, activation()).prop_map(
            |(layers, shortcut, activation)| {
                LayerSpec::Residual(ResidualSpec { layers, shortcut, activation })
            },
        )
    })
}

/// A layer other than a residual block that may follow an image. Not every one fits every image.
fn simple_image_layer() -> impl Strategy<Value = LayerSpec> {
    let padding =
        || prop_oneof![Just(Padding::Valid), Just(Padding::Same), (0u32..3).prop_map(Padding::Number)];
    let conv2d = (1u32..5, 1u32..5, 1u32..4, padding(), 1u32..3, activation()).prop_map(
        |(channels, kernel, stride, padding, groups, activation)| {
            let channels = channels * groups;
            let initializer = None;
            LayerSpec::Conv2d(Conv2dSpec {
                channels,
                kernel,
                stride,
                padding,
                groups,
                activation,
                initializer,
            })
        },
    );
    let pool = || {
        (1u32..4, prop::option::of(1u32..4), padding()).prop_map(|(size, stride, padding)| PoolSpec {
            size,
            stride,
            padding,
        })
    };
    prop_oneof![
        4 => conv2d,
        1 => pool().prop_map(LayerSpec::MaxPool),
        1 => pool().prop_map(LayerSpec::AveragePool),
        2 => anywhere(),
    ]
}

fn image_layer() -> impl Strategy<Value = LayerSpec> {
    perhaps_residual(simple_image_layer())
}

/// A layer that turns an image into a vector, if any does so before a dense layer.
fn vector_layer() -> impl Strategy<Value = Option<LayerSpec>> {
    prop::option::of(prop::sample::select(vec![
        LayerSpec::Flatten,
        LayerSpec::GlobalMaxPool,
        LayerSpec::GlobalAveragePool,
    ]))
}

/// A random composition of layers for vectors, with the number of features.
fn dense_network() -> impl Strategy<Value = (Network, usize)> {
    let layer = perhaps_residual(prop_oneof![4 => dense_layer(), 3 => anywhere()]);
    let embedding = (1u32..6, 1u32..4).prop_map(|(vocabulary, width)| {
        LayerSpec::Embedding(EmbeddingSpec { vocabulary, width, initializer: None })
    });
    let first = prop_oneof![3 => Just(None), 1 => embedding.prop_map(Some)];
    (first, prop::collection::vec(layer, 0..4), objective(), 1usize..9).prop_filter_map(
        "the blocks must fit",
        |(first, layers, (task, spec), features)| {
            let spec = NetworkSpec { layers: first.into_iter().chain(layers).collect(), ..spec };
            Network::new(&spec, features, task).ok().map(|network| (network, features))
        },
    )
}

/// A random composition of layers for images, with the number of features.
fn image_network() -> impl Strategy<Value = (Network, usize)> {
    let input = (1u32..4, 2u32..8, 2u32..8).prop_map(|(channels, height, width)| [channels, height, width]);
    let layers =
        (prop::collection::vec(image_layer(), 1..4), vector_layer(), prop::option::of(dense_layer()));
    (input, layers, objective()).prop_filter_map(
        "the layers must fit",
        |(input, (mut layers, vector, dense), (task, spec))| {
            layers.extend(vector.into_iter().chain(dense));
            let spec = NetworkSpec { input: Some(input), layers, ..spec };
            let features = input.iter().product::<u32>() as usize;
            Network::new(&spec, features, task).ok().map(|network| (network, features))
        },
    )
}

fn case(max_examples: usize) -> impl Strategy<Value = Case> {
    let network = prop_oneof![dense_network(), image_network()];
    let pass = (1usize..6, any::<u64>(), any::<u64>(), 0..u64::MAX / 2).prop_map(
        |(minibatch, mask_seed, mask_epoch, first_example)| Pass {
            minibatch,
            mask_seed,
            mask_epoch,
            first_example,
        },
    );
    (network, 1..=max_examples, any::<u64>(), pass).prop_flat_map(
        |((network, features), examples, seed, pass)| {
            let columns = network.outputs();
            let numbers = |count: usize| prop::collection::vec(-2.0f32..2.0, count);
            (
                numbers(examples * features),
                prop::collection::vec(0..columns as u16, examples),
                numbers(examples * columns),
                numbers(features),
                numbers(network.parameters()),
            )
                .prop_map(move |(mut rows, classes, targets, offset, noise)| {
                    // Initial weights alone would leave the biases at zero.
                    let weights = network.initialize(seed);
                    let weights =
                        weights.iter().zip(&noise).map(|(weight, noise)| weight + 0.2 * noise).collect();
                    let mut preprocessing = Preprocessing { offset, scale: vec![0.75; features] };
                    if let Some(LayerSpec::Embedding(embedding)) = network.spec().layers.first() {
                        let integer =
                            |value: f32| ((value + 2.0) / 4.0 * embedding.vocabulary as f32).floor();
                        rows.iter_mut().for_each(|value| *value = integer(*value));
                        preprocessing = Preprocessing::identity(features);
                    }
                    Case {
                        network: network.clone(),
                        weights,
                        pass,
                        preprocessing,
                        rows: Array2::from_shape_vec((examples, features), rows)
                            .expect("one row per example"),
                        classes,
                        numbers: Array2::from_shape_vec((examples, columns), targets)
                            .expect("one row per example"),
                    }
                })
        },
    )
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn losses_and_gradient_agree_with_finite_differences(case in case(6)) {
        prop_assume!(case.is_well_conditioned());
        let weights = case.exact_weights();
        let wanted = case.reference_losses(&weights, true);
        let trainable = case.network.trainable();
        for arithmetic in Arithmetic::ALL {
            let mut gradient = vec![0.0; case.weights.len()];
            let (losses, _) = case.add_gradient(arithmetic, 0, case.len(), &mut gradient);
            for (loss, wanted) in losses.iter().zip(&wanted) {
                prop_assert!((f64::from(*loss) - wanted).abs() <= 1e-4 * (1.0 + wanted.abs()), "{loss} instead of {wanted}");
            }
            let middle: f64 = wanted.iter().sum();
            for (i, &got) in gradient[..trainable].iter().enumerate() {
                let at = |step: f64| -> f64 {
                    let mut moved = weights.clone();
                    moved[i] += step;
                    case.reference_losses(&moved, true).iter().sum()
                };
                // At the kink of a relu, the derivatives from the two sides differ; any value between them is
                // right.
                let step = 1e-6;
                let (left, right) = ((middle - at(-step)) / step, (at(step) - middle) / step);
                let tolerance = 1e-3 * (1.0 + left.abs().max(right.abs()));
                let allowed = left.min(right) - tolerance..=left.max(right) + tolerance;
                prop_assert!(allowed.contains(&f64::from(got)), "{}: {got} is not in {allowed:?}", i);
            }
            let mut wanted = vec![0.0; case.network.parameters() - trainable];
            for minibatch in case.reference(&weights, true) {
                wanted.iter_mut().zip(minibatch.statistics).for_each(|(sum, statistic)| *sum += statistic);
            }
            for (got, wanted) in gradient[trainable..].iter().zip(wanted) {
                prop_assert!((f64::from(*got) - wanted).abs() <= 1e-4 * (1.0 + wanted.abs()), "{got} instead of {wanted}");
            }
        }
    }

    #[test]
    fn parts_of_the_examples_add_up_to_the_same_bits(case in case(12), cut in 0usize..12) {
        let cut = cut.min(case.len());
        // Batch normalization needs whole minibatches.
        let cut = if case.network.has_statistics() { cut - cut % case.pass.minibatch } else { cut };
        for arithmetic in Arithmetic::ALL {
            let mut whole = vec![0.0; case.weights.len()];
            let (losses, correct) = case.add_gradient(arithmetic, 0, case.len(), &mut whole);
            let mut parts = vec![0.0; case.weights.len()];
            let (mut part_losses, first) = case.add_gradient(arithmetic, 0, cut, &mut parts);
            let (rest, second) = case.add_gradient(arithmetic, cut, case.len(), &mut parts);
            part_losses.extend(rest);
            prop_assert_eq!(bits(&whole), bits(&parts));
            prop_assert_eq!(bits(&losses), bits(&part_losses));
            prop_assert_eq!(correct, first + second);
        }
    }

    #[test]
    fn losses_in_training_are_those_of_the_gradient_pass(case in case(6)) {
        let examples = case.examples(0, case.len());
        for arithmetic in Arithmetic::ALL {
            let mut gradient = vec![0.0; case.weights.len()];
            let (losses, _) = case.add_gradient(arithmetic, 0, case.len(), &mut gradient);
            let (scratch, mut alone) = (&mut Scratch::new(), vec![0.0; case.len()]);
            case.network.training_losses(arithmetic, scratch, &case.weights, &case.pass, &examples, &mut alone);
            prop_assert_eq!(bits(&losses), bits(&alone));
        }
    }

    #[test]
    fn a_local_step_goes_down_the_gradient_and_tells_the_statistics(case in case(6)) {
        let examples = case.examples(0, case.len());
        let pass = Pass { minibatch: case.len(), ..case.pass };
        let order: Vec<u32> = (0..case.len() as u32).collect();
        let steps = LocalSteps { order: &order, minibatch: case.len(), learning_rate: 0.1, pass };
        let scratch = &mut Scratch::new();
        let (network, portable) = (&case.network, Arithmetic::Portable);
        let (mut gradient, mut losses) = (vec![0.0; case.weights.len()], vec![0.0; case.len()]);
        network.gradient(portable, scratch, &case.weights, &pass, &examples, GradientResults { gradient: &mut gradient, losses: &mut losses });
        let (learned, tail) = gradient.split_at(network.trainable());
        let (mut weights, mut local_losses) = (case.weights.clone(), vec![0.0; case.len()]);
        let mut statistics = vec![0.0; tail.len()];
        network.local_steps(portable, scratch, &mut weights, &steps, &[examples], LocalResults { losses: &mut local_losses, statistics: &mut statistics });
        let factor = -(0.1 / case.len() as f32);
        let mut wanted = case.weights.clone();
        wanted.iter_mut().zip(learned).for_each(|(weight, gradient)| *weight += factor * gradient);
        prop_assert_eq!(bits(&weights), bits(&wanted));
        prop_assert_eq!(bits(&local_losses), bits(&losses));
        prop_assert_eq!(bits(&statistics), bits(tail));
    }

    #[test]
    fn evaluate_and_predict_agree_with_the_definitions(case in case(6)) {
        prop_assume!(case.is_well_conditioned());
        let examples = case.examples(0, case.len());
        let exact = case.exact_weights();
        let (wanted_losses, wanted_rows) = (case.reference_losses(&exact, false), case.reference_rows(&exact, false));
        for arithmetic in Arithmetic::ALL {
            let scratch = &mut Scratch::new();
            let mut losses = vec![0.0; case.len()];
            case.network.evaluate(arithmetic, scratch, &case.weights, &examples, &mut losses);
            for (loss, wanted) in losses.iter().zip(&wanted_losses) {
                prop_assert!((f64::from(*loss) - wanted).abs() <= 1e-4 * (1.0 + wanted.abs()), "{loss} instead of {wanted}");
            }

            let width = case.network.outputs();
            let mut outputs = vec![0.0; case.len() * width];
            case.network.predict(arithmetic, scratch, &case.weights, &examples.features, &mut outputs);
            for (row, wanted) in outputs.chunks_exact(width).zip(&wanted_rows) {
                let wanted = reference::predictions(case.network.spec(), wanted.clone());
                for (answer, wanted) in row.iter().zip(wanted) {
                    prop_assert!((f64::from(*answer) - wanted).abs() <= 1e-4 * (1.0 + wanted.abs()));
                }
            }
        }
    }

    #[test]
    fn bytes_and_numbers_of_equal_value_give_the_same_bits(
        pixels in prop::collection::vec(any::<u8>(), 21), classes in prop::collection::vec(0u16..3, 3)
    ) {
        let network = Network::new(&NetworkSpec::from_shorthand("mlp:9").unwrap(), 7, Task::Classes(3)).unwrap();
        let weights = network.initialize(1);
        let preprocessing = Preprocessing::uniform(7, 33.3, 1.0 / 255.0);
        let numbers: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel)).collect();
        // The second form has its columns far apart in memory, like a transposed array.
        let columns: Vec<u8> = (0..21).map(|i| pixels[i % 3 * 7 + i / 3]).collect();
        let forms = [
            Rows::F32(ArrayView2::from_shape((3, 7), &numbers).unwrap()),
            Rows::U8(ArrayView2::from_shape((7, 3), &columns).unwrap().reversed_axes()),
            Rows::U8(ArrayView2::from_shape((3, 7), &pixels).unwrap()),
        ];
        let mut results = forms.map(|rows| {
            let features = Features::new(rows, &preprocessing);
            let examples = Examples { features, targets: Targets::Classes(&classes) };
            let (mut gradient, mut losses) = (vec![0.0; network.parameters()], [0.0; 3]);
            let scratch = &mut Scratch::new();
            network.gradient(Arithmetic::Portable, scratch, &weights, &Pass::new(1), &examples, GradientResults { gradient: &mut gradient, losses: &mut losses });
            (bits(&gradient), bits(&losses))
        });
        let last = results[2].clone();
        results.iter_mut().for_each(|result| assert_eq!(*result, last));
    }
}

/// Covers more examples than one sub-batch holds, and a scratch that served a larger network before.
#[test]
fn sub_batches_and_reused_buffers_change_no_bit() {
    let large =
        Network::new(&NetworkSpec::from_shorthand("mlp:40,30,20").unwrap(), 50, Task::Classes(9)).unwrap();
    let small =
        Network::new(&NetworkSpec::from_shorthand("mlp:12:tanh").unwrap(), 5, Task::Classes(3)).unwrap();
    let mut scratch = Scratch::new();
    for network in [large, small] {
        let (examples, features) = (700, network.features());
        let rows =
            Array2::from_shape_fn((examples, features), |(i, j)| ((i * 31 + j * 17) % 101) as f32 * 0.01);
        let classes: Vec<u16> = (0..examples).map(|i| (i % network.outputs()) as u16).collect();
        let preprocessing = Preprocessing::identity(features);
        let part = |first: usize, end: usize| Examples {
            features: Features::new(Rows::F32(rows.slice(ndarray::s![first..end, ..])), &preprocessing),
            targets: Targets::Classes(&classes[first..end]),
        };
        let weights = network.initialize(3);
        let (mut whole, mut losses) = (vec![0.0; network.parameters()], vec![0.0; examples]);
        network.gradient(
            Arithmetic::Fused,
            &mut scratch,
            &weights,
            &Pass::new(1),
            &part(0, examples),
            GradientResults { gradient: &mut whole, losses: &mut losses },
        );
        let (mut single, mut single_losses) = (vec![0.0; network.parameters()], vec![0.0; examples]);
        for i in 0..examples {
            let losses = &mut single_losses[i..=i];
            network.gradient(
                Arithmetic::Fused,
                &mut Scratch::new(),
                &weights,
                &Pass::new(1),
                &part(i, i + 1),
                GradientResults { gradient: &mut single, losses },
            );
        }
        assert_eq!(bits(&whole), bits(&single));
        assert_eq!(bits(&losses), bits(&single_losses));
    }
}

/// The L2 penalty and its gradient, for weights but not for biases.
#[test]
fn penalty_and_its_gradient_agree() {
    let spec = NetworkSpec { l2: 0.5, ..NetworkSpec::from_shorthand("mlp:3").unwrap() };
    let network = Network::new(&spec, 2, Task::Numbers(1)).unwrap();
    // Weights 2x3, biases 3, weights 3x1, bias 1: l2 / 2 * (6 * 1 + 3 * 4) = 4.5.
    let weights = [1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 9.0, 9.0, 9.0, 2.0, -2.0, 2.0, 9.0];
    assert_eq!(network.penalty(&weights), 4.5);
    // d/dw = l2 * w.
    let wanted = [0.5, -0.5, 0.5, 0.5, 0.5, -0.5, 0.0, 0.0, 0.0, 1.0, -1.0, 1.0, 0.0];
    let mut gradient = [1.0f64; 13];
    network.add_penalty_gradient(&weights, &mut gradient);
    assert_eq!(gradient, wanted.map(|g| f64::from(g) + 1.0f64));
    let mut gradient = [0.0f32; 13];
    network.add_penalty_gradient(&weights, &mut gradient);
    assert_eq!(gradient, wanted);
}

/// The L1 penalty and its gradient, together with the L2 penalty.
#[test]
fn both_penalties_and_their_gradient_agree() {
    let spec = NetworkSpec { l1: 0.25, l2: 0.5, ..NetworkSpec::default() };
    let network = Network::new(&spec, 3, Task::Numbers(1)).unwrap();
    // l2 / 2 * (4 + 1) + l1 * (2 + 1) = 2, without the bias.
    let weights = [2.0, -1.0, 0.0, 9.0];
    assert_eq!(network.penalty(&weights), 2.0);
    // d/dw = l2 * w + l1 * sign(w).
    let mut gradient = [0.0f32; 4];
    network.add_penalty_gradient(&weights, &mut gradient);
    assert_eq!(gradient, [1.25, -0.75, 0.0, 0.0]);
}

/// A diverged run must be recognized: no step may turn NaN or infinity into an ordinary number.
#[test]
fn non_finite_weights_flow_through() {
    for name in ["relu", "leaky-relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "none"] {
        let network = Network::new(
            &NetworkSpec::from_shorthand(&format!("mlp:4:{name}")).unwrap(),
            3,
            Task::Classes(2),
        )
        .unwrap();
        let rows = Array2::from_elem((2, 3), 1.0f32);
        let preprocessing = Preprocessing::identity(3);
        let examples = Examples {
            features: Features::new(Rows::F32(rows.view()), &preprocessing),
            targets: Targets::Classes(&[0, 1]),
        };
        let mut weights = network.initialize(1);
        weights[0] = f32::NAN;
        let (mut gradient, mut losses) = (vec![0.0; network.parameters()], [0.0; 2]);
        let scratch = &mut Scratch::new();
        let correct = network.gradient(
            Arithmetic::Portable,
            scratch,
            &weights,
            &Pass::new(1),
            &examples,
            GradientResults { gradient: &mut gradient, losses: &mut losses },
        );
        assert!(losses.iter().all(|loss| loss.is_nan()), "{name}");
        assert!(gradient.iter().any(|element| element.is_nan()), "{name}");
        assert_eq!(correct, 0);
    }
}

/// The first of equal outputs is the prediction.
#[test]
fn ties_are_predicted_as_the_first_class() {
    let network = Network::new(&NetworkSpec::default(), 1, Task::Classes(3)).unwrap();
    let weights = vec![0.0; network.parameters()];
    let rows = Array2::from_elem((3, 1), 1.0f32);
    let preprocessing = Preprocessing::identity(1);
    let examples = Examples {
        features: Features::new(Rows::F32(rows.view()), &preprocessing),
        targets: Targets::Classes(&[0, 1, 2]),
    };
    let scratch = &mut Scratch::new();
    assert_eq!(network.evaluate(Arithmetic::Portable, scratch, &weights, &examples, &mut [0.0; 3]), 1);
}
