//! The tables of a sweep: one row a run for programs, medians for people.

use std::path::Path;

use super::comparison::Comparison;
use super::course::Unit;
use super::results::{Ending, Results, Run};
use crate::report::words::{counted, loss, percent};

/// One row a run. Numbers are written in full. Unknown values and unreached targets are empty.
pub(super) fn csv(results: &Results, directory: &Path) -> String {
    let keys = keys(results);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header = vec!["case".to_owned()];
    header.extend(keys.iter().map(|key| (*key).to_owned()));
    header.extend(
        [
            "seed",
            "ended",
            "problem",
            "iterations",
            "rounds",
            "epochs",
            "seconds",
            "train_loss",
            "test_loss",
            "test_accuracy",
        ]
        .map(str::to_owned),
    );
    for target in &results.targets {
        header.extend(Unit::ALL.map(|unit| format!("{}_to_{}", unit.name(), target.column())));
    }
    header.extend(["weights_digest", "run"].map(str::to_owned));
    let mut records = vec![header];
    records.extend(results.runs.iter().map(|run| record(results, &keys, run, directory)));
    for record in &records {
        writer.write_record(record).expect("a vector takes every record, and all have the same length");
    }
    let bytes = writer.into_inner().expect("a vector takes every byte");
    String::from_utf8(bytes).expect("all fields are text")
}

fn record(results: &Results, keys: &[&str], run: &Run, directory: &Path) -> Vec<String> {
    let case = &results.cases[run.case];
    let mut record = vec![case.name.clone()];
    record.extend(keys.iter().map(|key| {
        let own = case.settings.iter().find(|setting| setting.key == *key);
        own.map_or_else(String::new, |setting| setting.text.clone())
    }));
    record.push(run.seed.to_string());
    let known = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let (ended, problem) = match &run.ending {
        Ending::Finished(outcome, _) => (outcome.stop_reason.as_str(), ""),
        Ending::Failed(reason) => ("failed", reason.as_str()),
        Ending::NotRun => ("", ""),
    };
    record.extend([ended.to_owned(), problem.to_owned()]);
    let mut digest = String::new();
    match &run.ending {
        Ending::Finished(outcome, course) => {
            record.push(outcome.iterations.to_string());
            record.extend([outcome.rounds, outcome.epochs, outcome.seconds].map(|value| value.to_string()));
            record.push(known(course.last(super::Measure::Loss)));
            record.extend([outcome.figures.test_loss, outcome.figures.test_accuracy].map(known));
            for &target in &results.targets {
                let effort = course.reached(target);
                record.extend(Unit::ALL.map(|unit| known(effort.map(|effort| effort.part(unit)))));
            }
            digest.clone_from(&outcome.weights_digest);
        }
        Ending::Failed(_) | Ending::NotRun => {
            record.extend((0..7 + 3 * results.targets.len()).map(|_| String::new()));
        }
    }
    let place = run.directory.strip_prefix(directory).unwrap_or(&run.directory);
    record.extend([digest, place.display().to_string()]);
    record
}

/// Every key that a case sets, in the order of first appearance.
fn keys(results: &Results) -> Vec<&str> {
    let mut keys = Vec::new();
    for setting in results.cases.iter().flat_map(|case| &case.settings) {
        if !keys.contains(&setting.key.as_str()) {
            keys.push(&setting.key);
        }
    }
    keys
}

/// `sweep.md`: the medians, the charts, the failures.
pub(super) fn markdown(results: &Results, charts: &[&str]) -> String {
    let mut text = format!("# {}\n\n{}", results.title, medians(results));
    for chart in charts {
        let over = chart.trim_end_matches(".svg");
        text += &format!("\n![Loss and accuracy over {over}]({chart})\n");
    }
    let failures: Vec<String> = results
        .failures()
        .map(|(run, reason)| format!("- {}, seed {}: {reason}\n", results.cases[run.case].name, run.seed))
        .collect();
    if !failures.is_empty() {
        text += &format!("\nRuns that failed:\n\n{}", failures.concat());
    }
    text
}

/// Each case's results and when it reached the targets, as medians over its finished runs: the tables that are
/// printed and stand in `sweep.md`.
pub fn medians(results: &Results) -> String {
    let comparisons = results.comparisons();
    let seeds = results.runs.iter().filter(|run| run.case == 0).count();
    let mut text = format!("Medians over {}.\n\n{}", counted(seeds, "seed"), ends(&comparisons, seeds));
    if results.targets.is_empty() {
        return text;
    }
    for unit in Unit::ALL {
        let mut rows = vec![vec![format!("{} until", unit.name())]];
        rows[0].extend(results.targets.iter().map(ToString::to_string));
        rows.extend(comparisons.iter().map(|comparison| {
            let marks = comparison.targets.iter().map(|marked| {
                mark(
                    marked.median(unit).map(|median| shown(median, unit)),
                    marked.reached,
                    comparison.finished,
                )
            });
            [comparison.case.clone()].into_iter().chain(marks).collect()
        }));
        text += &format!("\n{}", table(&rows));
    }
    text
}

fn ends(comparisons: &[Comparison], seeds: usize) -> String {
    let header = ["case", "runs", "rounds", "epochs", "seconds", "train loss", "test loss", "test accuracy"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let known = |value: Option<f64>, shown: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), shown);
    rows.extend(comparisons.iter().map(|comparison| {
        let runs = match comparison {
            Comparison { failed: 0, finished, .. } if *finished == seeds => finished.to_string(),
            Comparison { failed: 0, finished, .. } => format!("{finished} of {seeds}"),
            Comparison { failed, finished, .. } => format!("{finished} of {seeds}, {failed} failed"),
        };
        vec![
            comparison.case.clone(),
            runs,
            known(comparison.rounds, short),
            known(comparison.epochs, short),
            known(comparison.seconds, |seconds| shown(seconds, Unit::Seconds)),
            known(comparison.train_loss, loss),
            known(comparison.test_loss, loss),
            known(comparison.test_accuracy, percent),
        ]
    }));
    table(&rows)
}

/// `12`, `12 (2 of 3)` or `never`.
fn mark(median: Option<String>, reached: usize, finished: usize) -> String {
    match median {
        _ if finished == 0 => "-".to_owned(),
        Some(median) if reached == finished => median,
        Some(median) => format!("{median} ({reached} of {finished})"),
        None if reached == 0 => "never".to_owned(),
        None => format!("never ({reached} of {finished})"),
    }
}

fn shown(number: f64, unit: Unit) -> String {
    match unit {
        Unit::Rounds | Unit::Epochs => short(number),
        Unit::Seconds if number < 10.0 => format!("{number:.2}"),
        Unit::Seconds => format!("{number:.1}"),
    }
}

/// A count, or the mean of two counts. Epochs may be any fraction.
fn short(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number}") } else { format!("{number:.1}") }
}

/// A Markdown table that is also aligned as plain text: names to the left, numbers to the right.
fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cell.replace('|', "\\|")).collect()).collect();
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().enumerate().map(|(column, &width)| match column {
        0 => "-".repeat(width),
        _ => format!("{}:", "-".repeat(width - 1)),
    });
    let rule = format!("| {} |\n", rule.collect::<Vec<_>>().join(" | "));
    let mut text = line(&rows[0]) + &rule;
    text.extend(rows[1..].iter().map(line));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_and_lines_up() {
        let rows = [["case", "rounds"], ["a|b", "7"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "| case | rounds |\n| ---- | -----: |\n| a\\|b |      7 |\n");
    }

    #[test]
    fn a_mark_says_how_many_runs_got_there() {
        let mark = |median: Option<&str>, reached| mark(median.map(str::to_owned), reached, 3);
        assert_eq!(mark(Some("12"), 3), "12");
        assert_eq!(mark(Some("12"), 2), "12 (2 of 3)");
        assert_eq!(mark(None, 1), "never (1 of 3)");
        assert_eq!(mark(None, 0), "never");
    }
}
