//! Local minibatch SGD: many small steps from the current weights, in place.

use std::ops::Range;

use ndarray::ArrayView2;

use crate::arithmetic::Arithmetic;
use crate::examples::{Examples, Targets};
use crate::kernels::Kernel;
use crate::layers::Layer;
use crate::network::{Network, Scratch, Target};
use crate::pass::{Masks, Mode, Numbers, Pass};
use crate::spec::NetworkSpec;

/// The penalties shrink the weights once per this many steps, so that steps on inputs that are mostly zeros
/// need not touch every weight.
pub const DECAY_STEPS: usize = 64;

/// The order of the examples of local steps, and the length of the steps.
#[derive(Debug, Clone, Copy)]
pub struct LocalSteps<'a> {
    /// Indices of the pool's examples, one minibatch per step.
    pub order: &'a [u32],
    /// Examples in a step, at least 1.
    pub minibatch: usize,
    /// The factor of the gradient of a minibatch's mean loss; finite.
    pub learning_rate: f32,
    /// Everything else that the passes depend on. Its first example is the pool's first. Its minibatch size
    /// is ignored.
    pub pass: Pass,
}

/// The outputs of [`Network::local_steps`] besides the weights.
#[derive(Debug)]
pub struct LocalResults<'a> {
    /// One loss for each entry of the order, at the weights before its step. Overwritten.
    pub losses: &'a mut [f32],
    /// The sum over the steps of the minibatches' statistics, as long as the tail of the weights. Added to.
    pub statistics: &'a mut [f32],
}

impl Network {
    /// Takes the steps one after the other and leaves the final weights in place. `pool` holds consecutive
    /// slices of a set of examples. Each loss is computed at the weights before its step.
    ///
    /// Let g be the gradient of the minibatch's summed loss, each element accumulated over the minibatch in
    /// order from 0 and ended by adding +0.0, and c = -(learning rate / minibatch), rounded once. A step is
    /// `w + c g`: rounded after the product and after the sum, or fused. All derivatives are at the weights
    /// before the step. After every [`DECAY_STEPS`] steps, and after the last, the penalties of these n steps
    /// at learning rate r follow: weights (not biases) are multiplied by `1 - n r l2`, at least 0, and then
    /// moved toward 0 by `n r l1`, at most to 0. Each factor is computed in 64 bits and rounded once. The
    /// tail of `weights` does not change. The minibatches' statistics are added to the results' `statistics`,
    /// as [`Network::gradient`] adds them to its tail.
    ///
    /// An infinite or NaN weight stays so. If there is such a weight at the end, the rest of the result has
    /// no meaning.
    ///
    /// # Panics
    /// If a length does not match the network, the order is not a whole number of minibatches, an index is
    /// not in the pool, or a class is not smaller than the number of classes.
    pub fn local_steps(
        &self,
        arithmetic: Arithmetic,
        scratch: &mut Scratch,
        weights: &mut [f32],
        steps: &LocalSteps<'_>,
        pool: &[Examples<'_>],
        results: LocalResults<'_>,
    ) {
        self.local_steps_with(Kernel::best(arithmetic), scratch, weights, steps, pool, results);
    }

    /// [`Network::local_steps`] with the kernel chosen by the caller.
    pub(crate) fn local_steps_with(
        &self,
        kernel: Kernel,
        scratch: &mut Scratch,
        weights: &mut [f32],
        steps: &LocalSteps<'_>,
        pool: &[Examples<'_>],
        results: LocalResults<'_>,
    ) {
        let LocalResults { losses, statistics } = results;
        assert_eq!(statistics.len(), self.parameters() - self.trainable(), "statistics of another network");
        let LocalSteps { order, minibatch, learning_rate, pass } = *steps;
        assert_eq!(order.len() % minibatch, 0, "a whole number of minibatches");
        assert_eq!(losses.len(), order.len(), "one loss for each entry of the order");
        let factor = -(learning_rate / minibatch as f32);
        let takes_lists =
            self.first_dense().is_some() && pool.iter().all(|examples| examples.features.nonzeros.is_some());
        let rest = self.all_but_dense();
        let minibatches = order.chunks_exact(minibatch).zip(losses.chunks_exact_mut(minibatch));
        for (step, (order, losses)) in minibatches.enumerate() {
            let mut gradient = std::mem::take(&mut scratch.gradient);
            gradient.resize(self.parameters(), 0.0);
            let batch = self.training_batch(minibatch);
            // No weight may change before the whole minibatch has passed through it.
            let in_place = minibatch <= batch;
            if in_place {
                rest.iter().for_each(|range| gradient[range.clone()].fill(0.0));
                gradient[self.trainable()..].fill(0.0);
            } else {
                gradient.fill(0.0);
            }
            let sub_batches = order.chunks(batch).zip(losses.chunks_mut(batch));
            for (order, losses) in sub_batches {
                let masks = Masks {
                    seed: pass.mask_seed,
                    epoch: pass.mask_epoch,
                    step: step as u64,
                    examples: Numbers::Picked { first: pass.first_example, indices: order },
                };
                let mode = Mode::Training(masks);
                self.pick(scratch, pool, order, takes_lists);
                self.forward_layers(kernel, scratch, weights, mode, order.len());
                self.loss_of_picked(scratch, pool, order.len(), losses);
                let gradient = &mut gradient[..];
                let target = if in_place {
                    Target::InPlace { weights, factor, gradient }
                } else {
                    Target::Gradient { weights, gradient }
                };
                self.backward(kernel, scratch, target, mode, order.len());
            }
            let everything = [0..self.trainable()];
            for range in if in_place { &rest } else { &everything[..] } {
                kernel.add_scaled(factor, &gradient[range.clone()], &mut weights[range.clone()]);
            }
            for (sum, statistic) in statistics.iter_mut().zip(&gradient[self.trainable()..]) {
                *sum += statistic;
            }
            scratch.gradient = gradient;
            if (step + 1) % DECAY_STEPS == 0 {
                self.shrink(weights, learning_rate, DECAY_STEPS);
            }
        }
        self.shrink(weights, learning_rate, order.len() / minibatch % DECAY_STEPS);
    }

    /// The learned parameters outside the dense steps.
    fn all_but_dense(&self) -> Vec<Range<usize>> {
        let mut rest = Vec::new();
        let mut end = 0;
        for step in &self.steps {
            if let Layer::Dense(dense) = &step.layer {
                rest.push(end..dense.weight.start);
                end = dense.bias.end;
            }
        }
        rest.push(end..self.trainable());
        rest
    }

    /// Puts the preprocessed inputs and the targets of the picked examples into the scratch.
    fn pick(&self, scratch: &mut Scratch, pool: &[Examples<'_>], order: &[u32], takes_lists: bool) {
        scratch.make_room(self, order.len());
        scratch.takes_lists = takes_lists;
        scratch.lists.clear();
        scratch.picked_classes.clear();
        scratch.picked_numbers.clear();
        let inputs = scratch.activations[0].chunks_exact_mut(self.features());
        for (&index, inputs) in order.iter().zip(inputs) {
            let mut row = index as usize;
            let examples = pool.iter().find(|examples| {
                let here = row < examples.len();
                row -= if here { 0 } else { examples.len() };
                here
            });
            let Examples { features, targets } = examples.expect("an index within the pool");
            assert_eq!(features.width(), self.features(), "rows of another width");
            assert_eq!(features.preprocessing.len(), self.features(), "preprocessing of another width");
            match features.nonzeros.filter(|_| takes_lists) {
                Some(nonzeros) => scratch.lists.push(&features.rows, &nonzeros, features.preprocessing, row),
                None => features.preprocessing.apply(&features.rows, row, inputs),
            }
            match targets {
                Targets::Classes(classes) => scratch.picked_classes.push(classes[row]),
                Targets::Numbers(numbers) => scratch.picked_numbers.extend(numbers.row(row)),
            }
        }
    }

    /// [`Network::loss`] of the examples that [`Network::pick`] has put into the scratch.
    fn loss_of_picked(&self, scratch: &mut Scratch, pool: &[Examples<'_>], count: usize, losses: &mut [f32]) {
        let (classes, numbers) =
            (std::mem::take(&mut scratch.picked_classes), std::mem::take(&mut scratch.picked_numbers));
        let targets = match pool[0].targets {
            Targets::Classes(_) => Targets::Classes(&classes),
            Targets::Numbers(_) => {
                let shape = (count, self.outputs());
                Targets::Numbers(ArrayView2::from_shape(shape, &numbers).expect("targets of another width"))
            }
        };
        self.loss(scratch, &targets, 0..count, losses);
        (scratch.picked_classes, scratch.picked_numbers) = (classes, numbers);
    }

    /// Shrinks the weights by the penalties of this many steps.
    fn shrink(&self, weights: &mut [f32], learning_rate: f32, steps: usize) {
        let NetworkSpec { l1, l2, .. } = *self.spec();
        let pull = |penalty: f32| steps as f64 * f64::from(learning_rate) * f64::from(penalty);
        let keep = (1.0 - pull(l2)).max(0.0) as f32;
        let threshold = pull(l1) as f32;
        for block in self.penalized() {
            let weights = &mut weights[block.range.clone()];
            if l2 != 0.0 {
                weights.iter_mut().for_each(|weight| *weight *= keep);
            }
            if l1 != 0.0 {
                for weight in weights {
                    // Written so that an infinite or NaN weight stays so.
                    let vanishes = weight.abs() <= threshold && weight.is_finite();
                    *weight = if vanishes { 0.0 } else { *weight - threshold.copysign(*weight) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayView2, Axis, Slice};

    use super::*;
    use crate::examples::{Features, Preprocessing, Rows};
    use crate::network::GradientResults;
    use crate::nonzeros::NonZeros;
    use crate::spec::Task;

    const POOL: usize = 11;
    const MINIBATCH: usize = 3;
    const LEARNING_RATE: f32 = 0.05;

    /// A pool, cut into slices of different lengths.
    struct Pool {
        width: usize,
        rows: Vec<f32>,
        classes: Vec<u16>,
        numbers: Vec<f32>,
        preprocessing: Preprocessing,
        nonzeros: Option<NonZeros>,
    }

    impl Pool {
        fn new(width: usize) -> Pool {
            // More than half of them are zeros.
            let rows: Vec<f32> = (0..POOL * width)
                .map(|i| if i * 7 % 13 < 8 { 0.0 } else { (i * 37 % 101) as f32 / 50.0 - 1.0 })
                .collect();
            let preprocessing = Preprocessing::identity(width);
            let view = Rows::F32(ArrayView2::from_shape((POOL, width), &rows).unwrap());
            let nonzeros = NonZeros::of(&view, &preprocessing);
            assert!(nonzeros.is_some());
            Pool {
                width,
                rows,
                classes: (0..POOL).map(|i| (i * 5 % 3) as u16).collect(),
                numbers: (0..POOL * 2).map(|i| (i * 29 % 17) as f32 / 8.0 - 1.0).collect(),
                preprocessing,
                nonzeros,
            }
        }

        fn examples(&self, task: Task, range: Range<usize>, with_lists: bool) -> Examples<'_> {
            let rows = ArrayView2::from_shape((POOL, self.width), &self.rows).unwrap();
            let targets = match task {
                Task::Classes(_) => Targets::Classes(&self.classes[range.clone()]),
                Task::Numbers(_) => {
                    let numbers = ArrayView2::from_shape((POOL, 2), &self.numbers).unwrap();
                    Targets::Numbers(numbers.slice_axis_move(Axis(0), Slice::from(range.clone())))
                }
            };
            let rows = Rows::F32(rows.slice_axis_move(Axis(0), Slice::from(range.clone())));
            let nonzeros = self.nonzeros.as_ref().filter(|_| with_lists);
            let nonzeros = nonzeros.map(|nonzeros| nonzeros.rows(range));
            let features = Features { nonzeros, ..Features::new(rows, &self.preprocessing) };
            Examples { features, targets }
        }
    }

    fn order(steps: usize) -> Vec<u32> {
        (0..steps * MINIBATCH).map(|i| (i * 7 % POOL) as u32).collect()
    }

    /// The definition as a plain loop: one gradient call per example.
    fn reference(
        arithmetic: Arithmetic,
        network: &Network,
        task: Task,
        pool: &Pool,
        order: &[u32],
    ) -> (Vec<f32>, Vec<f32>) {
        let NetworkSpec { l1, l2, .. } = *network.spec();
        let mut weights = network.initialize(3);
        let mut losses = Vec::new();
        let mut scratch = Scratch::new();
        let mut since = 0;
        for (step, minibatch) in order.chunks(MINIBATCH).enumerate() {
            let mut gradient = vec![0.0; network.parameters()];
            for &index in minibatch {
                let (index, mut loss) = (index as usize, [0.0]);
                let example = pool.examples(task, index..index + 1, false);
                let pass = Pass::new(1);
                network.gradient(
                    arithmetic,
                    &mut scratch,
                    &weights,
                    &pass,
                    &example,
                    GradientResults { gradient: &mut gradient, losses: &mut loss },
                );
                losses.push(loss[0]);
            }
            let factor = -(LEARNING_RATE / MINIBATCH as f32);
            for (weight, gradient) in weights.iter_mut().zip(&gradient) {
                *weight = match arithmetic {
                    Arithmetic::Portable => *weight + factor * gradient,
                    Arithmetic::Fused => factor.mul_add(*gradient, *weight),
                };
            }
            since += 1;
            if since == DECAY_STEPS || step + 1 == order.len() / MINIBATCH {
                let pull =
                    |penalty: f32| f64::from(since as u32) * f64::from(LEARNING_RATE) * f64::from(penalty);
                for block in network.layout().iter().filter(|block| block.name.ends_with("weight")) {
                    for weight in &mut weights[block.range.clone()] {
                        *weight *= (1.0 - pull(l2)) as f32;
                        let size = (weight.abs() - pull(l1) as f32).max(0.0);
                        *weight = if size == 0.0 { 0.0 } else { size.copysign(*weight) };
                    }
                }
                since = 0;
            }
        }
        (weights, losses)
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    const DENSE: &str = r#"{"l2": 0.01, "l1": 0.001, "layers": [{"kind": "dense", "units": 19, "activation": "relu"},
        {"kind": "dense", "units": 17, "activation": "gelu"}]}"#;
    const CONVOLUTION: &str = r#"{"input": [1, 5, 6], "layers": [
        {"kind": "conv2d", "channels": 3, "kernel": 3, "padding": "same", "activation": "relu"},
        {"kind": "max-pool", "size": 2}, {"kind": "layer-norm"}, {"kind": "flatten"}]}"#;

    #[test]
    fn every_path_takes_the_steps_of_the_definition() {
        for (json, task) in
            [(DENSE, Task::Classes(3)), (DENSE, Task::Numbers(2)), (CONVOLUTION, Task::Classes(3))]
        {
            let network = Network::new(&NetworkSpec::from_json(json).unwrap(), 30, task).unwrap();
            let pool = Pool::new(30);
            for steps in [0, 1, DECAY_STEPS, DECAY_STEPS + 5] {
                let order = order(steps);
                for arithmetic in Arithmetic::ALL {
                    let (wanted, wanted_losses) = reference(arithmetic, &network, task, &pool, &order);
                    let kernels = Kernel::all(arithmetic).into_iter();
                    for (kernel, with_lists) in kernels.flat_map(|kernel| [(kernel, false), (kernel, true)]) {
                        let slice = |range| pool.examples(task, range, with_lists);
                        let slices = [0..4, 4..5, 5..5, 5..POOL].map(slice);
                        let mut weights = network.initialize(3);
                        let mut losses = vec![0.0; order.len()];
                        let steps = LocalSteps {
                            order: &order,
                            minibatch: MINIBATCH,
                            learning_rate: LEARNING_RATE,
                            pass: Pass::new(MINIBATCH),
                        };
                        network.local_steps_with(
                            kernel,
                            &mut Scratch::new(),
                            &mut weights,
                            &steps,
                            &slices,
                            LocalResults { losses: &mut losses, statistics: &mut [] },
                        );
                        assert_eq!(bits(&weights), bits(&wanted), "{json} {kernel:?}");
                        assert_eq!(bits(&losses), bits(&wanted_losses), "{json} {kernel:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_weight_that_is_not_finite_is_never_lost() {
        let spec = NetworkSpec::from_json(DENSE).unwrap();
        let network = Network::new(&spec, 30, Task::Classes(3)).unwrap();
        let pool = Pool::new(30);
        let slices = [pool.examples(Task::Classes(3), 0..POOL, true)];
        for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            for learning_rate in [LEARNING_RATE, 0.0, f32::MAX] {
                let mut weights = network.initialize(3);
                weights[40] = value;
                let order = order(DECAY_STEPS + 1);
                let pass = Pass::new(MINIBATCH);
                let steps = LocalSteps { order: &order, minibatch: MINIBATCH, learning_rate, pass };
                let mut losses = vec![0.0; order.len()];
                let scratch = &mut Scratch::new();
                network.local_steps(
                    Arithmetic::Portable,
                    scratch,
                    &mut weights,
                    &steps,
                    &slices,
                    LocalResults { losses: &mut losses, statistics: &mut [] },
                );
                assert!(!weights[40].is_finite());
            }
        }
    }
}
