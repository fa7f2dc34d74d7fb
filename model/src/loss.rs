//! The two losses: each example's loss from the network's outputs, and its derivative by those outputs.

use ndarray::ArrayView2;

use crate::functions::{exp, ln};

/// Softmax cross-entropy of each row of `outputs`, shape `[classes.len(), width]`, replaced by the derivative.
///
/// loss = ln(sum_j exp(z_j - m)) - (z_y - m) with m = max_j z_j, and d loss / d z_j = p_j - [j = y] with
/// p_j = exp(z_j - m) / sum. Sums go over increasing j. Returns how many rows have their largest output at their class
/// (the first of equals counts; a row with a NaN at its class has none).
pub(crate) fn softmax_cross_entropy(
    outputs: &mut [f32],
    width: usize,
    classes: &[u16],
    losses: &mut [f32],
) -> u32 {
    let mut correct = 0;
    for ((row, &class), loss) in outputs.chunks_exact_mut(width).zip(classes).zip(losses) {
        let class = usize::from(class);
        assert!(class < width, "class {class} where there are {width}");
        correct += u32::from(is_largest(row, class));
        let (largest, target) = (largest(row), row[class]);
        let sum = exponentials(row, largest);
        *loss = ln(sum) - (target - largest);
        for value in &mut *row {
            *value /= sum;
        }
        row[class] -= 1.0;
    }
    correct
}

/// Replaces each row of `outputs`, shape `[_, width]`, by its softmax: numbers of 0 to 1 that sum to 1.
pub(crate) fn softmax(outputs: &mut [f32], width: usize) {
    for row in outputs.chunks_exact_mut(width) {
        let sum = exponentials(row, largest(row));
        for value in row {
            *value /= sum;
        }
    }
}

/// Mean squared error of each row of `outputs`, replaced by the derivative. `targets` has the same shape, and its rows
/// from `first` on belong to `outputs`.
///
/// loss = sum_j (o_j - t_j)^2 / columns over increasing j, and d loss / d o_j = 2 (o_j - t_j) / columns.
pub(crate) fn mean_squared_error(
    outputs: &mut [f32],
    targets: &ArrayView2<'_, f32>,
    first: usize,
    losses: &mut [f32],
) {
    let columns = targets.ncols();
    for (i, (row, loss)) in outputs.chunks_exact_mut(columns).zip(losses).enumerate() {
        let mut sum = 0.0;
        for (value, target) in row.iter_mut().zip(targets.row(first + i)) {
            let difference = *value - target;
            sum += difference * difference;
            *value = 2.0 * difference / columns as f32;
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
