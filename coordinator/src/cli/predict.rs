//! `shoal predict`: a trained model's answers as CSV, one line an example, in the file's order.

use super::args::PredictArgs;
use super::output::results;
use super::trained::TrainedRun;
use crate::data::{Labels, TargetSchema};
use crate::inference::{batches, likeliest};

pub(super) fn run(args: PredictArgs) -> anyhow::Result<()> {
    let run = TrainedRun::open(&args.run)?;
    let features = run.read(&args.data, args.reading.header, Labels::Ignored)?.features;
    results(|output| {
        let mut table = csv::Writer::from_writer(output);
        table.write_record(header(run.targets())).map_err(unwrapped)?;
        for range in batches(features.len()) {
            let mut answers = run.trained().answers(&features, range);
            run.restore_units(&mut answers);
            for row in answers.chunks_exact(run.trained().network.outputs()) {
                table.write_record(record(run.targets(), row)).map_err(unwrapped)?;
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

fn record(targets: &TargetSchema, answer: &[f32]) -> Vec<String> {
    match targets {
        TargetSchema::Classes(names) => {
            let probabilities = answer.iter().map(|probability| format!("{probability:.6}"));
            std::iter::once(names[likeliest(answer)].clone()).chain(probabilities).collect()
        }
        TargetSchema::Numbers(_) => answer.iter().map(|&value| number(value)).collect(),
    }
}

/// The number with enough digits to read the same f32 back.
fn number(value: f32) -> String {
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
        let targets = TargetSchema::Classes(vec!["no, never".to_owned(), "yes".to_owned()]);
        assert_eq!(header(&targets), ["prediction", "probability no, never", "probability yes"]);
        assert_eq!(record(&targets, &[0.75, 0.25]), ["no, never", "0.750000", "0.250000"]);
    }

    #[test]
    fn numbers_read_back_the_same() {
        for value in [0.0, -12.5, 1.0e-30, 3.3e38, 0.1, f32::MIN_POSITIVE] {
            assert_eq!(number(value).parse::<f32>().unwrap(), value);
            assert!(number(value).len() < 24);
        }
    }
}
