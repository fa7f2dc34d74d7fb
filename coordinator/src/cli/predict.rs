//! `shoal predict`: a trained model's answers as CSV, one line an example, in the file's order.

use model::likeliest;

use super::args::PredictArgs;
use super::output::results;
use super::trained::TrainedRun;
use crate::data::{Labels, TargetSchema};
use crate::inference::batches;

pub(super) fn run(args: PredictArgs) -> anyhow::Result<()> {
    let run = TrainedRun::open(&args.run, args.which.weights())?;
    let features = run.read(&args.data, &args.reading.0.read_options(), Labels::Ignored)?.features;
    results(|output| {
        let mut table = csv::Writer::from_writer(output);
        table.write_record(header(run.targets())).map_err(unwrapped)?;
        for range in batches(features.len()) {
            let answers = run.trained().answers(&features, range);
            let outputs = run.trained().network.outputs();
            match run.targets() {
                TargetSchema::Classes(names) => {
                    for row in answers.chunks_exact(outputs) {
                        table.write_record(record(names, row)).map_err(unwrapped)?;
                    }
                }
                TargetSchema::Numbers(_) => {
                    for row in run.in_units(&answers).chunks_exact(outputs) {
                        table.write_record(row.iter().map(|&value| number(value))).map_err(unwrapped)?;
                    }
                }
            }
        }
        Ok(table.flush()?)
    })
}

fn header(targets: &TargetSchema) -> Vec<String> {
    match targets {
        TargetSchema::Classes(names) => {
            let probabilities = names.iter().map(|name| format!("probability {name}"));
            std::iter::once("prediction".to_owned()).chain(probabilities).collect()
        }
        TargetSchema::Numbers(names) => names.clone(),
    }
}

fn record(names: &[String], probabilities: &[f32]) -> Vec<String> {
    let written = probabilities.iter().map(|probability| format!("{probability:.6}"));
    std::iter::once(names[likeliest(probabilities)].clone()).chain(written).collect()
}

/// The number with enough digits to read the same f64 back.
fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-5..1e16).contains(&size) { value.to_string() } else { format!("{value:e}") }
}

/// The underlying error of writing, by which a reader that has gone is recognized.
fn unwrapped(error: csv::Error) -> anyhow::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        kind => anyhow::anyhow!("cannot write CSV: {kind:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_named_and_every_probability_has_its_column() {
        let names = vec!["no, never".to_owned(), "yes".to_owned()];
        let written = header(&TargetSchema::Classes(names.clone()));
        assert_eq!(written, ["prediction", "probability no, never", "probability yes"]);
        assert_eq!(record(&names, &[0.75, 0.25]), ["no, never", "0.750000", "0.250000"]);
    }

    #[test]
    fn numbers_read_back_the_same() {
        for value in [0.0, -12.5, 1.0e-30, 3.3e38, 0.1, 1_700_000_060.25, f64::MIN_POSITIVE] {
            assert_eq!(number(value).parse::<f64>().unwrap(), value);
            assert!(number(value).len() < 32);
        }
    }
}
