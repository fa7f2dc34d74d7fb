//! What is said of a training: of the run while it goes on, and of its outcome.

use std::sync::Arc;

use model::{Network, weights_digest};
use tokio::sync::watch;

use super::Material;
use crate::config::{DataSource, RunConfig};
use crate::data::{Examples, Prepared};
use crate::driver::{Facts, Gallery, TrainingOutcome};
use crate::report::helpers::Helpers;
use crate::report::status::CurvePoint;
use crate::report::{Report, ShownMistake, Summary};
use crate::run_directory::{RunDirectory, RunError, load_metrics};
use crate::trial::Trial;

/// Digits of the data's fingerprint that name the data on the pages.
const DATA_NAME_DIGITS: usize = 16;

/// What the pages and the status say of a run from its start.
pub(super) fn facts(material: &Material, run: u64, data_bytes: u64) -> Facts {
    let Material { config, data, network, .. } = material;
    Facts {
        title: title(config, data),
        run,
        arithmetic: config.arithmetic,
        network: network_in_words(network),
        parameters: network.parameters(),
        examples: data.train.len(),
        iterations_max: config.iterations,
        data: blake3::Hash::from_bytes(data.fingerprint).to_hex()[..DATA_NAME_DIGITS].to_owned(),
        data_bytes,
        operator: config.operator.clone(),
        purpose: config.purpose.clone(),
    }
}

/// What the page `/try` gets of a training.
pub(super) fn trial(material: &Material, gallery: watch::Receiver<Arc<Gallery>>) -> Trial {
    let Material { config, data, network, .. } = material;
    Trial::new(title(config, data), (network.clone(), config.arithmetic), Arc::clone(data), gallery)
}

/// What is trained, for people who know nothing of networks: `a network that predicts price from
/// houses.csv`.
fn title(config: &RunConfig, data: &Prepared) -> String {
    let path = match &config.data {
        DataSource::EmbeddedMnist => return "a network that reads handwritten digits (MNIST)".to_owned(),
        DataSource::Path(path) => path,
    };
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    match data.preparation.label_in_words() {
        Some(label) => format!("a network that predicts {label} from {file}"),
        None => format!("a network that recognizes the images in {file}"),
    }
}

/// `784-128-10 network`.
pub(crate) fn network_in_words(network: &Network) -> String {
    format!("{} network", network.outline())
}

/// What a training came to. `parameters` are the ones of its network.
pub(super) fn summarize(outcome: &TrainingOutcome, parameters: usize, directory: &RunDirectory) -> Summary {
    let saved = outcome.saved;
    Summary {
        iterations: outcome.last.map_or(0, |last| last.iteration),
        saved_iteration: saved.map_or(0, |saved| saved.iteration),
        rounds: outcome.rounds,
        epochs: outcome.epochs,
        seconds: outcome.checkpoint.seconds,
        parameters,
        figures: saved.map(|saved| saved.figures),
        weights_digest: blake3::Hash::from_bytes(weights_digest(&outcome.weights)).to_hex().to_string(),
        volunteers: outcome.checkpoint.volunteers as usize,
        offenders: outcome.offenders.clone(),
        test_quality: None,
        stop_reason: outcome.reason.clone(),
        run: directory.path().display().to_string(),
    }
}

/// Writes the report for people into the run directory.
pub(super) fn report(
    summary: &Summary,
    mistakes: Vec<ShownMistake>,
    helpers: &Helpers,
    material: &Material,
    directory: &RunDirectory,
) -> Result<(), RunError> {
    let Material { config, data, network, .. } = material;
    directory.save_helpers(helpers)?;
    let course: Vec<CurvePoint> = load_metrics(directory.path())?;
    let examples = [Some(&data.train), data.validation.as_ref(), data.test.as_ref()];
    let report = Report {
        summary,
        course: &course,
        title: title(config, data),
        network: network_in_words(network),
        data: config.data.to_string(),
        data_digest: blake3::Hash::from_bytes(data.fingerprint).to_hex().to_string(),
        examples: examples.map(|table| table.map_or(0, Examples::len)),
        settings: config.to_toml(),
        helpers,
        mistakes,
    };
    directory.save_report(&report.to_html())
}

#[cfg(test)]
mod tests {
    use model::{NetworkSpec, Task};

    use super::*;

    #[test]
    fn a_network_in_words_has_the_widths_of_its_layers() {
        let spec = NetworkSpec::from_shorthand("mlp:8").unwrap();
        let network = Network::new(&spec, 4, Task::Classes(3)).unwrap();
        assert_eq!(network_in_words(&network), "4-8-3 network");
    }
}
