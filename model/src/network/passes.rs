//! Passes over examples, a sub-batch at a time: gradients, losses, evaluations and predictions.

use std::ops::Range;

use crate::arithmetic::Arithmetic;
use crate::examples::{Examples, Features, Targets};
use crate::kernels::{Kernel, all_finite};
use crate::layers::dense::Dense;
use crate::loss::{self, Loss};
use crate::pass::{Masks, Mode, Pass};
use crate::spec::Activation;

use super::{Network, Scratch, Target};

/// Maximum examples of a sub-batch, so that activations stay in the cache. No result depends on it, because
/// gradients accumulate in the order of the examples.
const SUB_BATCH_MAX: usize = 256;

/// Maximum `f32` of one layer's activations in a sub-batch: very wide layers get fewer examples at a time.
const SUB_BATCH_VALUES_MAX: usize = 1 << 20;

/// Maximum `f32` of all layers' activations in a sub-batch, 64 MiB: very deep networks get fewer examples,
/// too.
const ALL_VALUES_MAX: usize = 1 << 24;

/// The outputs of [`Network::gradient`].
#[derive(Debug)]
pub struct GradientResults<'a> {
    /// The gradient of the summed loss, one element per parameter. Added to.
    pub gradient: &'a mut [f32],
    /// Each example's loss. Overwritten.
    pub losses: &'a mut [f32],
}

impl Network {
    /// Adds the gradient of the summed loss of `examples`, without the penalties, to the results' `gradient`
    /// and writes each example's loss to their `losses`. Returns the number of correct predictions (0 for
    /// numbers).
    ///
    /// Every element of the gradient accumulates over the examples in increasing order. Two calls with
    /// consecutive examples (the second with a larger [`Pass::first_example`]) therefore give the bits of one
    /// call; with batch normalization, only if the first call has whole minibatches. No element of the
    /// gradient may be -0 on entry, and none is on return. The tail accumulates the minibatches' statistics:
    /// the sum of their means and of their unbiased variances.
    ///
    /// # Panics
    /// If a length does not match the network, or a class is not smaller than the number of classes.
    pub fn gradient(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        pass: &Pass,
        examples: &Examples<'_>,
        results: GradientResults<'_>,
    ) -> u32 {
        self.gradient_with(Kernel::best(arithmetic), scratch, weights, pass, examples, results)
    }

    /// [`Network::gradient`] with the kernel chosen by the caller.
    pub(crate) fn gradient_with(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        pass: &Pass,
        examples: &Examples<'_>,
        results: GradientResults<'_>,
    ) -> u32 {
        let GradientResults { gradient, losses } = results;
        assert_eq!(gradient.len(), self.parameters, "a gradient of another network");
        assert_eq!(losses.len(), examples.len(), "one loss per example");
        let features = self.with_usable_nonzeros(&examples.features, weights);
        let mut correct = 0;
        let batch = self.training_batch(pass.minibatch);
        for rows in sub_batches(examples.len(), batch) {
            let mode = Mode::Training(Masks::of(pass, rows.start));
            self.forward(kernel, scratch, weights, mode, &features, rows.clone());
            correct += self.loss(scratch, &examples.targets, rows.clone(), &mut losses[rows.clone()]);
            self.backward(kernel, scratch, Target::Gradient { weights, gradient }, mode, rows.len());
        }
        correct
    }

    /// Writes each example's training loss, without the penalties, to `losses`. As in [`Network::gradient`],
    /// dropout and the minibatches' statistics apply.
    ///
    /// # Panics
    /// If a length does not match the network, or a class is not smaller than the number of classes.
    pub fn training_losses(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        pass: &Pass,
        examples: &Examples<'_>,
        losses: &mut [f32],
    ) {
        let mode = |first| Mode::Training(Masks::of(pass, first));
        let batch = self.training_batch(pass.minibatch);
        self.losses(Kernel::best(arithmetic), scratch, weights, (batch, mode), examples, losses);
    }

    /// Writes each example's inference loss, without the penalties, to `losses`: without dropout and with the
    /// running statistics. Returns the number of correct predictions (0 for numbers).
    ///
    /// # Panics
    /// If a length does not match the network, or a class is not smaller than the number of classes.
    pub fn evaluate(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        examples: &Examples<'_>,
        losses: &mut [f32],
    ) -> u32 {
        let mode = (self.sub_batch(), |_| Mode::Inference);
        self.losses(Kernel::best(arithmetic), scratch, weights, mode, examples, losses)
    }

    /// Writes the network's predictions to `outputs`, row-major `[examples, outputs]`: probabilities of the
    /// classes, or of each column under binary cross-entropy, or otherwise numbers.
    ///
    /// # Panics
    /// If a length does not match the network.
    pub fn predict(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        features: &Features<'_>,
        outputs: &mut [f32],
    ) {
        let width = self.outputs();
        assert_eq!(outputs.len(), features.len() * width, "one row of outputs per example");
        let kernel = Kernel::best(arithmetic);
        let features = &self.with_usable_nonzeros(features, weights);
        for rows in sub_batches(features.len(), self.sub_batch()) {
            self.forward(kernel, scratch, weights, Mode::Inference, features, rows.clone());
            let answers = &mut scratch.activations[self.steps.len()][..rows.len() * width];
            self.answer(answers);
            outputs[rows.start * width..rows.end * width].copy_from_slice(answers);
        }
    }

    /// Turns outputs into predictions.
    fn answer(&self, outputs: &mut [f32]) {
        match self.loss {
            Loss::SoftmaxCrossEntropy { .. } => loss::softmax(outputs, self.outputs()),
            Loss::BinaryCrossEntropy => Activation::Sigmoid.forward(outputs),
            Loss::MeanSquaredError | Loss::Huber { .. } => {}
        }
    }

    /// [`Network::evaluate`] and [`Network::predict`] in one pass: shows `see` the number of each example, what there is
    /// of it, and its prediction. Returns the number of correct predictions.
    ///
    /// # Panics
    /// As [`Network::evaluate`].
    pub fn examine(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &[f32],
        examples: &Examples<'_>,
        mut see: impl FnMut(usize, ExampleLoss, &[f32]),
    ) -> u32 {
        let (width, kernel) = (self.outputs(), Kernel::best(arithmetic));
        let features = self.with_usable_nonzeros(&examples.features, weights);
        // The losses replace what they are computed from.
        let mut copy = vec![0.0; width];
        let mut correct = 0;
        for rows in sub_batches(examples.len(), self.sub_batch()) {
            self.forward(kernel, scratch, weights, Mode::Inference, &features, rows.clone());
            let outputs = &mut scratch.activations[self.steps.len()][..rows.len() * width];
            for (example, outputs) in rows.zip(outputs.chunks_exact_mut(width)) {
                let (mut loss, mut log_loss) = ([0.0], [0.0]);
                copy.copy_from_slice(outputs);
                correct += self.loss_of(&mut copy, &examples.targets, example..example + 1, &mut loss);
                if let Targets::Classes(classes) = &examples.targets {
                    copy.copy_from_slice(outputs);
                    let class = &classes[example..=example];
                    loss::softmax_cross_entropy(&mut copy, width, class, (0.0, &[]), &mut log_loss);
                }
                self.answer(outputs);
                see(example, ExampleLoss { loss: loss[0], log_loss: log_loss[0] }, outputs);
            }
        }
        correct
    }

    /// Computes the losses in sub-batches of `batch` examples. `mode` gets the index of a sub-batch's first
    /// example.
    fn losses(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &[f32],
        (batch, mode): (usize, impl Fn(usize) -> Mode<'static>),
        examples: &Examples<'_>,
        losses: &mut [f32],
    ) -> u32 {
        assert_eq!(losses.len(), examples.len(), "one loss per example");
        let features = self.with_usable_nonzeros(&examples.features, weights);
        let mut correct = 0;
        for rows in sub_batches(examples.len(), batch) {
            self.forward(kernel, scratch, weights, mode(rows.start), &features, rows.clone());
            correct += self.loss(scratch, &examples.targets, rows.clone(), &mut losses[rows]);
        }
        correct
    }

    /// The number of examples that go through the network at a time in inference.
    pub(crate) fn sub_batch(&self) -> usize {
        let all: usize = self.steps.iter().map(|step| step.outputs).sum();
        (SUB_BATCH_VALUES_MAX / self.widest()).min(ALL_VALUES_MAX / all).clamp(1, SUB_BATCH_MAX)
    }

    /// The number of examples that go through the network at a time in training. Batch normalization needs a
    /// whole minibatch at once.
    pub(crate) fn training_batch(&self, minibatch: usize) -> usize {
        if self.has_statistics() {
            assert!(minibatch > 0, "a minibatch has an example");
            minibatch
        } else {
            self.sub_batch()
        }
    }

    /// Maximum inputs or outputs of a step.
    fn widest(&self) -> usize {
        self.steps.iter().map(|step| step.inputs.max(step.outputs)).max().unwrap_or(1)
    }

    /// `features` without their list of nonzero inputs, if the network cannot use the list or a weight is
    /// infinite or NaN: the product of such a weight with a zero is NaN.
    fn with_usable_nonzeros<'a>(&self, features: &Features<'a>, weights: &[f32]) -> Features<'a> {
        let is_usable = |dense: &Dense| all_finite(&weights[dense.weight.clone()]);
        let nonzeros = features.nonzeros.filter(|_| self.first_dense().is_some_and(is_usable));
        Features { nonzeros, ..*features }
    }
}

/// What the network's error on an example costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExampleLoss {
    /// The loss, without the penalties.
    pub loss: f32,
    /// Cross-entropy without smoothing and class weights; 0 for numbers.
    pub log_loss: f32,
}

/// The class of the first of the largest probabilities.
pub fn likeliest(probabilities: &[f32]) -> usize {
    let mut best = 0;
    for (class, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[best] {
            best = class;
        }
    }
    best
}

/// The examples in consecutive ranges of `batch`; the last range has the remainder.
fn sub_batches(examples: usize, batch: usize) -> impl Iterator<Item = Range<usize>> {
    (0..examples).step_by(batch).map(move |first| first..examples.min(first + batch))
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView2;

    use super::*;
    use crate::examples::{Preprocessing, Rows};
    use crate::nonzeros::NonZeros;
    use crate::spec::{NetworkSpec, Task};

    /// Specifications that together have every layer, with their number of features.
    const NETWORKS: [(&str, usize); 5] = [
        (
            r#"{"layers": [{"kind": "dense", "units": 19, "activation": "leaky-relu"},
            {"kind": "dense", "units": 33, "activation": "gelu"}, {"kind": "dense", "units": 17, "activation": "silu"},
            {"kind": "dense", "units": 6, "activation": "softplus"}]}"#,
            13,
        ),
        (
            r#"{"input": [2, 9, 7], "layers": [
            {"kind": "conv2d", "channels": 18, "kernel": 3, "padding": "same", "groups": 2, "activation": "gelu"},
            {"kind": "max-pool", "size": 2, "stride": 1}, {"kind": "layer-norm"}, {"kind": "activation", "function": "silu"},
            {"kind": "conv2d", "channels": 5, "kernel": 5, "stride": 2, "padding": 3},
            {"kind": "average-pool", "size": 2}, {"kind": "flatten"}, {"kind": "dense", "units": 6}]}"#,
            126,
        ),
        (
            r#"{"input": [1, 7, 18], "layers": [{"kind": "conv2d", "channels": 17, "kernel": 4, "activation": "tanh"},
            {"kind": "global-max-pool"}]}"#,
            126,
        ),
        (
            r#"{"layers": [{"kind": "embedding", "vocabulary": 9, "width": 5}, {"kind": "batch-norm"},
            {"kind": "residual", "layers": [{"kind": "dropout", "rate": 0.3}, {"kind": "dense", "units": 19}],
            "shortcut": "projection", "activation": "tanh"}]}"#,
            13,
        ),
        (
            r#"{"input": [2, 9, 7], "layers": [{"kind": "residual", "shortcut": "projection", "layers": [
            {"kind": "conv2d", "channels": 17, "kernel": 3, "padding": "same", "stride": 2}, {"kind": "batch-norm"},
            {"kind": "residual", "layers": [{"kind": "dropout", "rate": 0.5}]}]}]}"#,
            126,
        ),
    ];

    #[test]
    fn an_examination_is_an_evaluation_and_a_prediction() {
        for (json, features) in NETWORKS {
            let smoothed = NetworkSpec { label_smoothing: 0.25, ..NetworkSpec::from_json(json).unwrap() };
            let plain = NetworkSpec::from_json(json).unwrap();
            let [network, plain] =
                [smoothed, plain].map(|spec| Network::new(&spec, features, Task::Classes(3)).unwrap());
            let weights = network.initialize(5);
            let count = 2 * network.sub_batch() + 3;
            let inputs: Vec<f32> = (0..count * features).map(|i| (i * 7919 % 8) as f32).collect();
            let rows = ArrayView2::from_shape((count, features), &inputs).unwrap();
            let preprocessing = Preprocessing::identity(features);
            let features = Features::new(Rows::F32(rows), &preprocessing);
            let classes: Vec<u16> = (0..count as u16).map(|i| i % 3).collect();
            let examples = Examples { features, targets: Targets::Classes(&classes) };
            let (arithmetic, scratch) = (Arithmetic::Portable, &mut Scratch::new());
            let [mut losses, mut log_losses] = [vec![0.0; count], vec![0.0; count]];
            let correct = network.evaluate(arithmetic, scratch, &weights, &examples, &mut losses);
            plain.evaluate(arithmetic, scratch, &weights, &examples, &mut log_losses);
            let mut answers = vec![0.0; 3 * count];
            network.predict(arithmetic, scratch, &weights, &examples.features, &mut answers);
            let mut seen = 0;
            let found = network.examine(arithmetic, scratch, &weights, &examples, |index, loss, answer| {
                assert_eq!(index, seen);
                let expected = ExampleLoss { loss: losses[index], log_loss: log_losses[index] };
                assert_eq!(loss, expected);
                assert_eq!(answer, &answers[3 * index..3 * index + 3]);
                seen += 1;
            });
            assert_eq!((found, seen), (correct, count));
        }
    }

    #[test]
    fn the_first_of_equal_probabilities_wins() {
        assert_eq!(likeliest(&[0.25, 0.375, 0.375]), 1);
        assert_eq!(likeliest(&[f32::NAN, f32::NAN]), 0);
    }

    /// Covers ordinary, subnormal, huge and infinite numbers. The bits of a NaN may differ.
    #[test]
    fn every_path_gives_the_same_bits() {
        let bits = |values: &[f32]| -> Vec<u32> {
            values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
        };
        for (json, features) in NETWORKS {
            let spec = NetworkSpec::from_json(json).unwrap();
            let network = Network::new(&spec, features, Task::Classes(3)).unwrap();
            let weights = network.initialize(5);
            let preprocessing = Preprocessing::identity(features);
            for size in [1.0, 1e-39, 1e30, f32::INFINITY] {
                let rows: Vec<f32> = (0..7 * features)
                    .map(|i| if i % 5 == 0 { size } else { 1.0 } * ((i * 37 % 101) as f32 / 50.0 - 1.0))
                    .collect();
                let examples = Examples {
                    features: Features::new(
                        Rows::F32(ArrayView2::from_shape((7, features), &rows).unwrap()),
                        &preprocessing,
                    ),
                    targets: Targets::Classes(&[0, 1, 2, 0, 1, 2, 1]),
                };
                for arithmetic in Arithmetic::ALL {
                    let mut results = Kernel::all(arithmetic).into_iter().map(|kernel| {
                        let (mut gradient, mut losses) = (vec![0.0; network.parameters()], [0.0; 7]);
                        let scratch = &mut Scratch::new();
                        network.gradient_with(
                            kernel,
                            scratch,
                            &weights,
                            &Pass { mask_seed: 9, ..Pass::new(3) },
                            &examples,
                            GradientResults { gradient: &mut gradient, losses: &mut losses },
                        );
                        (bits(&gradient), bits(&losses))
                    });
                    let first = results.next().expect("there is always a path");
                    assert!(results.all(|result| result == first), "{json} with {size} in {arithmetic}");
                }
            }
        }
    }

    /// Covers zeros of either sign, also where they meet infinities or NaN.
    #[test]
    fn leaving_zeros_out_changes_no_bit() {
        let bits = |values: &[f32]| -> Vec<u32> {
            values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
        };
        let features = 13;
        let spec = NetworkSpec::from_json(NETWORKS[0].0).unwrap();
        let network = Network::new(&spec, features, Task::Classes(3)).unwrap();
        let preprocessing = Preprocessing::identity(features);
        for size in [1.0, 1e-39, 1e30, f32::INFINITY] {
            let value = |i: usize| match i % 7 {
                0 => (i * 37 % 101) as f32 / 50.0 - 1.0,
                1 => size,
                2 => -0.0,
                _ => 0.0,
            };
            // The last example's inputs are all zeros.
            let rows: Vec<f32> =
                (0..7 * features).map(|i| if i < 6 * features { value(i) } else { 0.0 }).collect();
            let rows = Rows::F32(ArrayView2::from_shape((7, features), &rows).unwrap());
            let nonzeros = NonZeros::of(&rows, &preprocessing).expect("enough zeros");
            for weight in [0.5, -0.0, f32::INFINITY, f32::NAN] {
                let mut weights = network.initialize(5);
                // The weight of one input, then of an input that is always zero.
                weights[6 * 19 + 3] = weight;
                weights[13 * 19 + 4] = weight;
                for arithmetic in Arithmetic::ALL {
                    for kernel in Kernel::all(arithmetic) {
                        let results = [None, Some(nonzeros.rows(0..7))].map(|nonzeros| {
                            let features = Features { nonzeros, ..Features::new(rows, &preprocessing) };
                            let targets = Targets::Classes(&[0, 1, 2, 0, 1, 2, 1]);
                            let examples = Examples { features, targets };
                            let (mut gradient, mut losses) = (vec![0.0; network.parameters()], [0.0; 7]);
                            let scratch = &mut Scratch::new();
                            network.gradient_with(
                                kernel,
                                scratch,
                                &weights,
                                &Pass::new(7),
                                &examples,
                                GradientResults { gradient: &mut gradient, losses: &mut losses },
                            );
                            (bits(&gradient), bits(&losses))
                        });
                        assert_eq!(results[0], results[1], "{size} and {weight} with {kernel:?}");
                    }
                }
            }
        }
    }
}
