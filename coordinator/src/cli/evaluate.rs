//! `shoal evaluate`: measures a trained model on data with known answers.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::args::EvaluateArgs;
use super::output::{printable, results};
use super::trained::TrainedRun;
use crate::data::{ExampleTable, FeatureRows, Labels, TargetColumn};
use crate::inference::{Measured, batches, likeliest};
use crate::report::words::{count, loss, percent};

/// Most classes for which the whole confusion matrix is shown, because it fits a screen.
const SHOWN_CLASSES_MAX: usize = 20;
/// Most classes for which the JSON has the whole confusion matrix.
const JSON_CLASSES_MAX: usize = 1000;
/// Number of confusions listed if the matrix is not shown.
const SHOWN_CONFUSIONS: usize = 10;

pub(super) fn run(args: EvaluateArgs) -> anyhow::Result<()> {
    let run = TrainedRun::open(&args.run)?;
    let matched = run.read(&args.data, args.reading.header, Labels::Required)?;
    let Some(truth) = matched.targets.clone() else { unreachable!("labels were required") };
    let Some(table) = ExampleTable::of_matched(matched, run.target_scaling()) else {
        unreachable!("labels were required")
    };
    let measured = run.trained().measure(&table);
    let report = Report::new(&run, measured, &truth, table.features());
    results(|output| if args.json { report.write_json(output) } else { report.write_text(output) })
}

/// The results. Field names are those of the JSON.
#[derive(Debug, Serialize)]
struct Report {
    examples: usize,
    /// Mean loss, without the L2 penalty.
    loss: f64,
    #[serde(flatten)]
    quality: Quality,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Quality {
    Classes {
        accuracy: f64,
        classes: Vec<String>,
        /// Rows are the true class, columns the predicted one; left out for very many classes.
        #[serde(skip_serializing_if = "Option::is_none")]
        confusion: Option<Vec<Vec<u64>>>,
        /// The same as counts by (true, predicted).
        #[serde(skip)]
        pairs: BTreeMap<(usize, usize), u64>,
    },
    Numbers {
        columns: Vec<ColumnError>,
    },
}

/// The error of one column of numbers, in the user's units.
#[derive(Debug, Serialize)]
struct ColumnError {
    name: String,
    /// Root of the mean squared error.
    rmse: f64,
    /// Mean absolute error.
    mae: f64,
    /// Share of the variance explained (R squared); `None` if the truth is constant.
    r2: Option<f64>,
}

impl Report {
    fn new(run: &TrainedRun, measured: Measured, truth: &TargetColumn, features: &FeatureRows) -> Self {
        let examples = truth.len();
        let quality = match truth {
            TargetColumn::Classes { ids, names } => {
                let pairs = confusion_pairs(run, ids, features);
                Quality::Classes {
                    accuracy: measured.correct as f64 / examples as f64,
                    classes: names.clone(),
                    confusion: (names.len() <= JSON_CLASSES_MAX).then(|| matrix(&pairs, names.len())),
                    pairs,
                }
            }
            TargetColumn::Numbers { values, names } => {
                Quality::Numbers { columns: column_errors(run, values, names, features) }
            }
        };
        Self { examples, loss: measured.loss_sum / examples as f64, quality }
    }

    fn write_json(&self, output: &mut dyn Write) -> anyhow::Result<()> {
        Ok(writeln!(output, "{}", serde_json::to_string(self)?)?)
    }

    fn write_text(&self, output: &mut dyn Write) -> anyhow::Result<()> {
        writeln!(output, "{:<12}{}", "examples", count(self.examples))?;
        writeln!(output, "{:<12}{}", "loss", loss(self.loss))?;
        match &self.quality {
            Quality::Classes { accuracy, classes, confusion, pairs } => {
                writeln!(output, "{:<12}{}", "accuracy", percent(*accuracy))?;
                match confusion {
                    Some(matrix) if classes.len() <= SHOWN_CLASSES_MAX => {
                        write_matrix(output, classes, matrix)?
                    }
                    _ => write_confusions(output, classes, pairs)?,
                }
            }
            Quality::Numbers { columns } => {
                for column in columns {
                    writeln!(output, "\n{}", printable(&column.name))?;
                    writeln!(output, "  root mean square error  {}", loss(column.rmse))?;
                    writeln!(output, "  mean absolute error     {}", loss(column.mae))?;
                    if let Some(r2) = column.r2 {
                        writeln!(output, "  variance explained      {}", percent(r2))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn confusion_pairs(run: &TrainedRun, ids: &[u16], features: &FeatureRows) -> BTreeMap<(usize, usize), u64> {
    let mut pairs = BTreeMap::new();
    let trained = run.trained();
    for range in batches(ids.len()) {
        let answers = trained.answers(features, range.clone());
        let rows = answers.chunks_exact(trained.network.outputs());
        for (&id, probabilities) in ids[range].iter().zip(rows) {
            *pairs.entry((usize::from(id), likeliest(probabilities))).or_default() += 1;
        }
    }
    pairs
}

fn matrix(pairs: &BTreeMap<(usize, usize), u64>, classes: usize) -> Vec<Vec<u64>> {
    let mut matrix = vec![vec![0; classes]; classes];
    for (&(truth, predicted), &examples) in pairs {
        matrix[truth][predicted] = examples;
    }
    matrix
}

fn write_matrix(output: &mut dyn Write, classes: &[String], matrix: &[Vec<u64>]) -> anyhow::Result<()> {
    const NAME_CHARS_MAX: usize = 12;
    let names: Vec<String> =
        classes.iter().map(|name| printable(name).chars().take(NAME_CHARS_MAX).collect()).collect();
    let largest = matrix.iter().flatten().max().map_or(1, |count| count.to_string().len());
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(1);
    let cell = largest.max(widest) + 2;
    writeln!(output, "\nconfusion matrix: rows are the true class, columns the predicted one")?;
    write!(output, "{:>widest$}", "")?;
    for name in &names {
        write!(output, "{name:>cell$}")?;
    }
    writeln!(output)?;
    for (name, row) in names.iter().zip(matrix) {
        write!(output, "{name:>widest$}")?;
        for examples in row {
            write!(output, "{examples:>cell$}")?;
        }
        writeln!(output)?;
    }
    Ok(())
}

fn write_confusions(
    output: &mut dyn Write,
    classes: &[String],
    pairs: &BTreeMap<(usize, usize), u64>,
) -> anyhow::Result<()> {
    let mut wrong: Vec<(u64, usize, usize)> = pairs
        .iter()
        .filter(|((truth, predicted), _)| truth != predicted)
        .map(|(&(truth, predicted), &examples)| (examples, truth, predicted))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    // Largest first; equal counts by class.
    wrong.sort_by(|a, b| b.0.cmp(&a.0).then(a.cmp(b)));
    writeln!(output, "\nmost frequent confusions")?;
    for (examples, truth, predicted) in wrong.into_iter().take(SHOWN_CONFUSIONS) {
        writeln!(
            output,
            "{examples:>8}  {} taken for {}",
            printable(&classes[truth]),
            printable(&classes[predicted])
        )?;
    }
    Ok(())
}

fn column_errors(
    run: &TrainedRun,
    values: &[f32],
    names: &[String],
    features: &FeatureRows,
) -> Vec<ColumnError> {
    let columns = names.len();
    let examples = values.len() / columns;
    let mut sums = vec![Sums::default(); columns];
    for range in batches(examples) {
        let mut answers = run.trained().answers(features, range.clone());
        run.restore_units(&mut answers);
        let truth = &values[range.start * columns..range.end * columns];
        for (index, (&truth, &answer)) in truth.iter().zip(&answers).enumerate() {
            sums[index % columns].add(f64::from(truth), f64::from(answer));
        }
    }
    names.iter().zip(sums).map(|(name, sums)| sums.column_error(name.clone())).collect()
}

#[derive(Debug, Clone, Default)]
struct Sums {
    examples: f64,
    /// Running mean of the truth and sum of squares around it (Welford).
    mean: f64,
    around_mean: f64,
    squared: f64,
    absolute: f64,
}

impl Sums {
    fn add(&mut self, truth: f64, answer: f64) {
        self.examples += 1.0;
        let before = truth - self.mean;
        self.mean += before / self.examples;
        self.around_mean += before * (truth - self.mean);
        self.squared += (answer - truth).powi(2);
        self.absolute += (answer - truth).abs();
    }

    fn column_error(&self, name: String) -> ColumnError {
        ColumnError {
            name,
            rmse: (self.squared / self.examples).sqrt(),
            mae: self.absolute / self.examples,
            r2: (self.around_mean > 0.0).then(|| 1.0 - self.squared / self.around_mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_numbers_are_the_textbook_ones() {
        let mut sums = Sums::default();
        for (truth, answer) in [(1.0, 2.0), (2.0, 2.0), (3.0, 1.0)] {
            sums.add(truth, answer);
        }
        let error = sums.column_error("price".to_owned());
        assert_eq!(error.rmse, (5.0_f64 / 3.0).sqrt());
        assert_eq!(error.mae, 1.0);
        // Residual sum of squares 5, total sum of squares 2.
        assert!((error.r2.unwrap() - (1.0 - 5.0 / 2.0)).abs() < 1e-12);
    }

    #[test]
    fn a_constant_truth_has_no_share_of_variance() {
        let mut sums = Sums::default();
        sums.add(4.0, 5.0);
        sums.add(4.0, 3.0);
        assert_eq!(sums.column_error(String::new()).r2, None);
    }

    #[test]
    fn a_confusion_matrix_lines_up_and_says_which_side_is_which() {
        let pairs = BTreeMap::from([((0, 0), 12), ((0, 1), 3), ((1, 1), 100)]);
        let mut text = Vec::new();
        write_matrix(&mut text, &["no".to_owned(), "yes".to_owned()], &matrix(&pairs, 2)).unwrap();
        let text = String::from_utf8(text).unwrap();
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(rows, ["      no  yes", " no   12    3", "yes    0  100"]);
    }

    #[test]
    fn with_many_classes_the_worst_confusions_come_first() {
        let names: Vec<String> = (0..30).map(|class| format!("c{class}")).collect();
        let pairs = BTreeMap::from([((0, 0), 99), ((0, 1), 3), ((4, 2), 7)]);
        let mut text = Vec::new();
        write_confusions(&mut text, &names, &pairs).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().skip(2).map(str::trim).collect();
        assert_eq!(lines, ["7  c4 taken for c2", "3  c0 taken for c1"]);
    }
}
