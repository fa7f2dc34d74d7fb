//! Dropout, `y = x m`. In training, each m is 0 with probability `rate` and `1 / (1 - rate)` otherwise; in
//! inference, it is 1.
//!
//! Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov (2014), "Dropout: A Simple Way to Prevent
//! Neural Networks from Overfitting", with the factor moved from inference to training. Whether a value is
//! dropped is a pure function of the run's seed, the mask epoch, the step, the example's number in the
//! training set, the dropout layer's number in the network, and the value's place. Every machine therefore
//! draws the same masks, whatever other examples it computes.

use super::Means;
use crate::pass::{Masks, Mode};
use crate::philox::{philox, words};

/// A dropout layer.
#[derive(Debug, Clone)]
pub(crate) struct Dropout {
    /// Values per example.
    values: usize,
    /// A value is dropped if its random number, one of 2^16 equally likely ones, is below this.
    threshold: u16,
    /// The factor of the values that are kept.
    scale: f32,
    /// The number of this dropout layer in the network, from 0.
    number: u32,
}

/// Number of masks from one call of the generator: one for each half of its words.
const MASKS_AT_ONCE: usize = 8;

impl Dropout {
    /// A dropout layer; `None` unless `rate`, to the nearest multiple of 2^-16, is in 0 .. 1.
    pub(crate) fn new(rate: f32, values: usize, number: u32) -> Option<Dropout> {
        const CHANCES: f64 = 65_536.0;
        let threshold = (f64::from(rate) * CHANCES).round();
        if rate < 0.0 || !(0.0..CHANCES).contains(&threshold) {
            return None;
        }
        let scale = (CHANCES / (CHANCES - threshold)) as f32;
        Some(Dropout { values, threshold: threshold as u16, scale, number })
    }

    /// Writes y to `outputs`. Given the derivatives by y, it writes the derivatives by x.
    ///
    /// A dropped value is multiplied by 0 rather than replaced by it, so that a diverged run is recognized.
    pub(crate) fn apply(&self, means: &Means<'_>, inputs: &[f32], outputs: &mut [f32]) {
        let Mode::Training(masks) = means.mode else { return outputs.copy_from_slice(inputs) };
        let key = key(&masks);
        let rows = inputs.chunks_exact(self.values).zip(outputs.chunks_exact_mut(self.values));
        for (row, (inputs, outputs)) in rows.enumerate() {
            let [low, high] = words(masks.example(row));
            let blocks = inputs.chunks(MASKS_AT_ONCE).zip(outputs.chunks_mut(MASKS_AT_ONCE));
            for (block, (inputs, outputs)) in blocks.enumerate() {
                let drawn = philox(key, [low, high, block as u32, self.number]);
                for (i, (input, output)) in inputs.iter().zip(outputs).enumerate() {
                    let chance = (drawn[i / 2] >> (16 * (i % 2))) as u16;
                    *output = input * if chance < self.threshold { 0.0 } else { self.scale };
                }
            }
        }
    }
}

/// The generator's key for one step of one mask epoch.
fn key(masks: &Masks<'_>) -> [u32; 2] {
    let ([a, b], [c, d]) = (words(masks.epoch), words(masks.step));
    let drawn = philox(words(masks.seed), [a, b, c, d]);
    [drawn[0], drawn[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::Arithmetic;
    use crate::kernels::{Kernel, Workspace};
    use crate::pass::Numbers;

    const MASKS: Masks<'_> = Masks { seed: 1, epoch: 2, step: 3, examples: Numbers::From(4) };

    fn masked(dropout: &Dropout, mode: Mode<'_>, values: usize) -> Vec<f32> {
        let means = Means {
            kernel: Kernel::best(Arithmetic::Portable),
            workspace: &mut Workspace::default(),
            buffer: &mut Vec::new(),
            weights: &[],
            running: &[],
            observed: &mut [],
            mode,
        };
        let mut outputs = vec![f32::NAN; values];
        dropout.apply(&means, &vec![3.0; values], &mut outputs);
        outputs
    }

    #[test]
    fn drops_the_share_it_should_and_scales_the_rest() {
        for rate in [0.0f32, 0.1, 0.5, 0.875] {
            let dropout = Dropout::new(rate, 100_003, 0).unwrap();
            let outputs = masked(&dropout, Mode::Training(MASKS), 100_003);
            let dropped = outputs.iter().filter(|&&output| output == 0.0).count() as f64 / 100_003.0;
            // Six standard deviations of a binomial share.
            assert!((dropped - f64::from(rate)).abs() < 0.01, "{dropped} instead of {rate}");
            let scaled = outputs.iter().filter(|&&output| output != 0.0);
            assert!(scaled.into_iter().all(|output| (output - 3.0 / (1.0 - rate)).abs() < 1e-4));
            assert_eq!(masked(&dropout, Mode::Inference, 100_003), vec![3.0; 100_003]);
        }
    }

    #[test]
    fn masks_differ_in_all_that_they_depend_on() {
        let dropout = |number| Dropout::new(0.5, 64, number).unwrap();
        let all: Vec<Vec<f32>> = [
            MASKS,
            Masks { seed: 1 + (1 << 32), ..MASKS },
            Masks { epoch: 2 + (1 << 32), ..MASKS },
            Masks { step: 4, ..MASKS },
            Masks { examples: Numbers::From(4 + (1 << 32)), ..MASKS },
            Masks { examples: Numbers::Picked { first: 4, indices: &[1] }, ..MASKS },
        ]
        .map(|masks| masked(&dropout(0), Mode::Training(masks), 64))
        .into_iter()
        .chain([masked(&dropout(1), Mode::Training(MASKS), 64)])
        .collect();
        for (i, mask) in all.iter().enumerate() {
            assert!(!all[..i].contains(mask), "mask {i} repeats an earlier one");
        }
        let picked = Masks { examples: Numbers::Picked { first: 1, indices: &[3] }, ..MASKS };
        assert_eq!(masked(&dropout(0), Mode::Training(picked), 64), all[0]);
    }
}
