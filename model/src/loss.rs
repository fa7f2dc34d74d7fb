//! The losses: each example's loss from the network's outputs, and its derivative by those outputs.

use ndarray::ArrayView2;

use crate::functions::{exp, ln, relu, sigmoid};
use crate::smooth::softplus;

/// A loss with its settings.
#[derive(Debug, Clone)]
pub(crate) enum Loss {
    /// For class targets.
    SoftmaxCrossEntropy {
        /// The share of the target that is spread evenly over all classes.
        smoothing: f32,
        /// One factor for each class; empty if all are 1.
        weights: Vec<f32>,
    },
    /// For numeric targets, like the losses below.
    MeanSquaredError,
    BinaryCrossEntropy,
    Huber {
        delta: f32,
    },
}

/// Softmax cross-entropy of each row of `outputs`, shape `[classes.len(), width]`, which is replaced by the
/// derivative.
///
/// loss = w_y (ln(sum_j exp(z_j - m)) - sum_j q_j (z_j - m)) with m = max_j z_j, w_y the weight of class y
/// and q_j = (1 - s) [j = y] + s / width under smoothing s (Szegedy and others (2015), "Rethinking the
/// Inception Architecture", section 7); d loss / d z_j = w_y (p_j - q_j) with p_j = exp(z_j - m) / sum. Sums
/// go over increasing j. Returns the number of rows whose largest output is at their class (on a tie, the
/// first counts; a row with a NaN at its class never counts).
pub(crate) fn softmax_cross_entropy(
    outputs: &mut [f32],
    width: usize,
    classes: &[u16],
    (smoothing, weights): (f32, &[f32]),
    losses: &mut [f32],
) -> u32 {
    let mut correct = 0;
    let spread = smoothing / width as f32;
    for ((row, &class), loss) in outputs.chunks_exact_mut(width).zip(classes).zip(losses) {
        let class = usize::from(class);
        assert!(class < width, "class {class}, but there are only {width} classes");
        correct += u32::from(is_largest(row, class));
        let (largest, target) = (largest(row), row[class]);
        let mut expected = target - largest;
        if smoothing > 0.0 {
            let all: f32 = row.iter().fold(0.0, |sum, value| sum + (value - largest));
            expected = (1.0 - smoothing) * expected + spread * all;
        }
        let sum = exponentials(row, largest);
        *loss = ln(sum) - expected;
        for value in &mut *row {
            *value /= sum;
        }
        if smoothing > 0.0 {
            row.iter_mut().for_each(|value| *value -= spread);
        }
        row[class] -= 1.0 - smoothing;
        if let Some(weight) = weights.get(class) {
            *loss *= weight;
            row.iter_mut().for_each(|value| *value *= weight);
        }
    }
    correct
}

/// Replaces each row of `outputs`, shape `[_, width]`, by its softmax: numbers from 0 to 1 that sum to 1.
pub(crate) fn softmax(outputs: &mut [f32], width: usize) {
    for row in outputs.chunks_exact_mut(width) {
        let sum = exponentials(row, largest(row));
        for value in row {
            *value /= sum;
        }
    }
}

/// The possible values of an example's loss, rounded to `f32`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossBounds {
    /// Whether it is never below zero.
    pub never_negative: bool,
    /// For classes: the least loss of a wrongly predicted example, and the greatest loss of a correctly
    /// predicted one.
    pub of_predictions: Option<(f64, f64)>,
}

/// The bounds hold for exact arithmetic; in single precision, they are wider by this fraction.
const BOUNDS_SLACK: f64 = 1e-3;

impl Loss {
    /// The bounds of an example's loss with this many outputs.
    ///
    /// For softmax cross-entropy without smoothing and weights: an example of class y is correctly predicted
    /// if no output is larger than z_y. All exponentials are then at most 1, and the exponential of y is 1,
    /// so the loss is at most ln(outputs). Otherwise another output is at least as large as z_y, so p_y is at
    /// most 1/2 and the loss is at least ln 2.
    pub(crate) fn bounds(&self, outputs: usize) -> LossBounds {
        match self {
            Loss::SoftmaxCrossEntropy { smoothing, weights } => {
                let is_plain = *smoothing == 0.0 && weights.is_empty();
                let bounds = (
                    std::f64::consts::LN_2 * (1.0 - BOUNDS_SLACK),
                    f64::from(ln(outputs as f32)) * (1.0 + BOUNDS_SLACK) + BOUNDS_SLACK,
                );
                LossBounds { never_negative: true, of_predictions: is_plain.then_some(bounds) }
            }
            Loss::MeanSquaredError | Loss::Huber { .. } => {
                LossBounds { never_negative: true, of_predictions: None }
            }
            // A target outside 0 to 1 makes the loss negative, and nothing checks the targets.
            Loss::BinaryCrossEntropy => LossBounds { never_negative: false, of_predictions: None },
        }
    }

    /// Computes a loss on numeric targets for each row of `outputs`, which is replaced by the derivative.
    /// `targets` has the same shape, and its rows from `first` on belong to `outputs`.
    ///
    /// The loss is the sum over increasing columns j of a term for the output o_j and the target t_j, divided
    /// by the number of columns, with d_j = o_j - t_j:
    /// - mean squared error: d^2, with the derivative 2 d;
    /// - binary cross-entropy: ln(1 + e^o) - o t = max(o, 0) - o t + ln(1 + e^-|o|), with the derivative
    ///   s(o) - t, where s is the sigmoid;
    /// - Huber (1964), "Robust Estimation of a Location Parameter": d^2 / 2 for |d| up to delta, with the
    ///   derivative d; beyond it delta (|d| - delta / 2), with the derivative delta or -delta.
    pub(crate) fn of_numbers(
        &self,
        outputs: &mut [f32],
        targets: &ArrayView2<'_, f32>,
        first: usize,
        losses: &mut [f32],
    ) {
        match *self {
            Loss::MeanSquaredError => columns(outputs, targets, first, losses, |output, target| {
                let difference = output - target;
                (difference * difference, 2.0 * difference)
            }),
            Loss::BinaryCrossEntropy => columns(outputs, targets, first, losses, |output, target| {
                (relu(output) - output * target + softplus(-output.abs()), sigmoid(output) - target)
            }),
            Loss::Huber { delta } => columns(outputs, targets, first, losses, |output, target| {
                let difference = output - target;
                // Written so that NaN stays NaN.
                if difference.abs() > delta {
                    (delta * (difference.abs() - 0.5 * delta), delta.copysign(difference))
                } else {
                    (0.5 * difference * difference, difference)
                }
            }),
            Loss::SoftmaxCrossEntropy { .. } => panic!("a loss for classes on numeric targets"),
        }
    }
}

/// The mean over the columns of `term`, which returns a loss and its derivative.
#[inline(always)]
fn columns(
    outputs: &mut [f32],
    targets: &ArrayView2<'_, f32>,
    first: usize,
    losses: &mut [f32],
    term: impl Fn(f32, f32) -> (f32, f32),
) {
    let columns = targets.ncols();
    for (i, (row, loss)) in outputs.chunks_exact_mut(columns).zip(losses).enumerate() {
        let mut sum = 0.0;
        for (value, &target) in row.iter_mut().zip(targets.row(first + i)) {
            let (loss, derivative) = term(*value, target);
            sum += loss;
            *value = derivative / columns as f32;
        }
        *loss = sum / columns as f32;
    }
}

fn largest(row: &[f32]) -> f32 {
    row.iter().fold(f32::NEG_INFINITY, |largest, &value| if value > largest { value } else { largest })
}

fn is_largest(row: &[f32], class: usize) -> bool {
    let (before, after) = row.split_at(class);
    before.iter().all(|&value| after[0] > value) && after.iter().all(|&value| after[0] >= value)
}

/// Replaces each value z by exp(z - largest); returns their sum.
fn exponentials(row: &mut [f32], largest: f32) -> f32 {
    let mut sum = 0.0;
    for value in row {
        *value = exp(*value - largest);
        sum += *value;
    }
    sum
}
