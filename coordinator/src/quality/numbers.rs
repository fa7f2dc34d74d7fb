//! The quality of predicted numbers, in the label's units.

use std::convert::Infallible;

use serde::Serialize;

/// The errors of one column of numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnQuality {
    /// The column.
    pub name: String,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Coefficient of determination: 1 less the squared errors over the squared deviations from the mean.
    /// `None` if the truth is constant.
    pub r2: Option<f64>,
    /// What comes of always answering with the mean of these examples; its R² is 0.
    pub mean: NamingMean,
}

/// See [`ColumnQuality::mean`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamingMean {
    /// Root of the mean squared error: the standard deviation.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
}

/// Sums over the examples of one column, in standardized numbers.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    examples: f64,
    mean: f64,
    /// Sums around the mean.
    squares: f64,
    magnitudes: f64,
    /// Sums of the errors.
    squared: f64,
    absolute: f64,
}

/// One for each column of the row-major truth, without answers yet.
pub(super) fn tallies(truth: &[f32], columns: usize) -> Vec<Tally> {
    let all = |see: &mut dyn FnMut(&[f32])| {
        see(truth);
        Ok::<(), Infallible>(())
    };
    let Ok(tallies) = tallies_of(columns, truth.len() / columns, all);
    tallies
}

/// The same of a truth that `each` shows in pieces, twice.
///
/// # Errors
/// Those of `each`.
pub(super) fn tallies_of<E>(
    columns: usize,
    examples: usize,
    each: impl Fn(&mut dyn FnMut(&[f32])) -> Result<(), E>,
) -> Result<Vec<Tally>, E> {
    let examples = examples as f64;
    let none = Tally { examples, mean: 0.0, squares: 0.0, magnitudes: 0.0, squared: 0.0, absolute: 0.0 };
    let mut tallies = vec![none; columns];
    let rows = |truth: &[f32], see: &mut dyn FnMut(usize, f64)| {
        truth.iter().enumerate().for_each(|(index, value)| see(index % columns, f64::from(*value)));
    };
    each(&mut |truth| rows(truth, &mut |column, value| tallies[column].mean += value))?;
    tallies.iter_mut().for_each(|tally| tally.mean /= examples);
    each(&mut |truth| {
        rows(truth, &mut |column, value| {
            let tally = &mut tallies[column];
            tally.squares += (value - tally.mean).powi(2);
            tally.magnitudes += (value - tally.mean).abs();
        });
    })?;
    Ok(tallies)
}

impl Tally {
    /// Adds the errors of all examples.
    pub(super) fn add_sums(&mut self, absolute: f64, squared: f64) {
        self.absolute += absolute;
        self.squared += squared;
    }

    pub(super) fn add(&mut self, truth: f64, answer: f64) {
        self.squared += (answer - truth).powi(2);
        self.absolute += (answer - truth).abs();
    }

    /// `unit` is the standard deviation by which the numbers were divided.
    pub(super) fn finish(&self, name: String, unit: f64) -> ColumnQuality {
        // A constant column differs from its own mean by rounding alone.
        let is_constant = self.squares <= self.examples * (f64::EPSILON * self.mean).powi(2);
        ColumnQuality {
            name,
            rmse: unit * (self.squared / self.examples).sqrt(),
            mae: unit * self.absolute / self.examples,
            r2: (!is_constant).then(|| 1.0 - self.squared / self.squares),
            mean: NamingMean {
                rmse: unit * (self.squares / self.examples).sqrt(),
                mae: unit * self.magnitudes / self.examples,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_truth_has_no_share_of_variance() {
        let truth = [0.1_f32; 7];
        let mut tally = tallies(&truth, 1).remove(0);
        truth.iter().for_each(|value| tally.add(f64::from(*value), 0.3));
        let quality = tally.finish("x".to_owned(), 2.0);
        assert_eq!(quality.r2, None);
        assert!((quality.rmse - 0.4).abs() < 1e-6, "{quality:?}");
    }
}
