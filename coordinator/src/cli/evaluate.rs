//! `shoal evaluate`: measures a trained model on data with known answers.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::args::EvaluateArgs;
use super::output::{printable, results};
use super::trained::TrainedRun;
use crate::data::{ExampleTable, Labels};
use crate::quality::{self, ClassQuality, ColumnQuality, Quality};
use crate::report::quality::score;
use crate::report::words::{count, loss, percent};

/// Most classes for which the figures of each and the whole confusion matrix are shown, because they fit a
/// screen.
const SHOWN_CLASSES_MAX: usize = 20;
/// Number of confusions listed if the matrix is not shown.
const SHOWN_CONFUSIONS: usize = 10;
/// Columns of text for a name.
const NAME_CHARS_MAX: usize = 12;

pub(super) fn run(args: EvaluateArgs) -> anyhow::Result<()> {
    let run = TrainedRun::open(&args.run, args.which.weights())?;
    let matched = run.read(&args.data, &args.reading.0.read_options(), Labels::Required)?;
    let Some(table) = ExampleTable::of_matched(matched, run.target_scaling()) else {
        unreachable!("labels were required")
    };
    let report = Report::new(&run, &table);
    results(|output| if args.json { report.write_json(output) } else { report.write_text(output) })
}

/// The results. Field names are those of the JSON.
#[derive(Debug, Serialize)]
struct Report {
    examples: usize,
    /// Mean of the network's own loss, without the L2 penalty.
    loss: f64,
    #[serde(flatten)]
    quality: Quality,
}

impl Report {
    fn new(run: &TrainedRun, table: &ExampleTable) -> Self {
        let loss = run.trained().measure(table).loss_sum / table.len() as f64;
        Self { examples: table.len(), loss, quality: quality::of(run.model(), table, loss) }
    }

    fn write_json(&self, output: &mut dyn Write) -> anyhow::Result<()> {
        Ok(writeln!(output, "{}", serde_json::to_string(self)?)?)
    }

    fn write_text(&self, output: &mut dyn Write) -> anyhow::Result<()> {
        writeln!(output, "{:<20}{}", "examples", count(self.examples))?;
        writeln!(output, "{:<20}{}", "loss", loss(self.loss))?;
        match &self.quality {
            Quality::Classes(quality) => self.write_classes(output, quality),
            Quality::Numbers { columns } => {
                columns.iter().try_for_each(|column| write_column(output, column))
            }
        }
    }

    fn write_classes(&self, output: &mut dyn Write, quality: &ClassQuality) -> anyhow::Result<()> {
        let mut row = |name: &str, value: String| writeln!(output, "{name:<20}{value}");
        if quality.log_loss != self.loss {
            row("log-loss", format!("{}, without class weights and smoothing", loss(quality.log_loss)))?;
        }
        row("accuracy", percent(quality.accuracy))?;
        row("balanced accuracy", percent(quality.balanced_accuracy))?;
        if let Some(area) = quality.roc_auc {
            row("ROC AUC", score(area))?;
        }
        let error = percent(quality.expected_calibration_error);
        row("calibration error", format!("{error} of the probabilities, expected"))?;
        let trivial = &quality.most_frequent;
        row(
            "to beat",
            format!(
                "accuracy {} by always naming {}, loss {} with the classes' shares",
                percent(trivial.accuracy),
                printable(&trivial.class),
                loss(trivial.log_loss)
            ),
        )?;
        let is_small = quality.classes.len() <= SHOWN_CLASSES_MAX;
        if is_small {
            write_by_class(output, quality)?;
        }
        match &quality.confusion {
            Some(matrix) if is_small => write_matrix(output, &quality.classes, matrix),
            _ => write_confusions(output, &quality.classes, &quality.pairs),
        }
    }
}

fn write_by_class(output: &mut dyn Write, quality: &ClassQuality) -> anyhow::Result<()> {
    writeln!(
        output,
        "\n{:NAME_CHARS_MAX$}{:>10}{:>11}{:>9}{:>9}{:>9}",
        "", "examples", "precision", "recall", "F1", "ROC AUC"
    )?;
    for class in &quality.by_class {
        writeln!(
            output,
            "{:NAME_CHARS_MAX$}{:>10}{:>11}{:>9}{:>9}{:>9}",
            short(&class.class),
            count(class.examples as usize),
            score(class.precision),
            score(class.recall),
            score(class.f1),
            class.roc_auc.map_or_else(String::new, score)
        )?;
    }
    let area_of_means = [("mean", &quality.macro_mean, quality.roc_auc)];
    for (name, means, area) in
        area_of_means.into_iter().chain([("weighted", &quality.weighted_mean, quality.roc_auc_weighted)])
    {
        writeln!(
            output,
            "{name:NAME_CHARS_MAX$}{:>10}{:>11}{:>9}{:>9}{:>9}",
            "",
            score(means.precision),
            score(means.recall),
            score(means.f1),
            area.map_or_else(String::new, score)
        )?;
    }
    Ok(())
}

fn write_column(output: &mut dyn Write, column: &ColumnQuality) -> anyhow::Result<()> {
    writeln!(output, "\n{}", printable(&column.name))?;
    let error = |found: f64, mean: f64| format!("{} ({} by always naming the mean)", loss(found), loss(mean));
    writeln!(output, "  root mean square error  {}", error(column.rmse, column.mean.rmse))?;
    writeln!(output, "  mean absolute error     {}", error(column.mae, column.mean.mae))?;
    if let Some(r2) = column.r2 {
        writeln!(output, "  variance explained, R²  {}", score(r2))?;
    }
    Ok(())
}

/// A name cut to the columns there are for it.
fn short(name: &str) -> String {
    printable(name).chars().take(NAME_CHARS_MAX).collect()
}

fn write_matrix(output: &mut dyn Write, classes: &[String], matrix: &[Vec<u64>]) -> anyhow::Result<()> {
    let names: Vec<String> = classes.iter().map(|name| short(name)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confusion_matrix_lines_up_and_says_which_side_is_which() {
        let mut text = Vec::new();
        let matrix = [vec![12, 3], vec![0, 100]];
        write_matrix(&mut text, &["no".to_owned(), "yes".to_owned()], &matrix).unwrap();
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
