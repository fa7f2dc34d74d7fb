//! A finished run, opened for use.

use std::path::Path;

use super::misuse;
use super::output::say;
use crate::choice::{self, Weights};
use crate::config::DataSource;
use crate::data::{self, Labels, Matched, ReadOptions, TargetScaling, TargetSchema};
use crate::inference::Trained;
use crate::run_directory::SavedModel;

/// The model of a run and everything needed to feed it.
pub(super) struct TrainedRun {
    model: SavedModel,
}

impl TrainedRun {
    pub(super) fn open(run: &Path, weights: Weights) -> anyhow::Result<Self> {
        Ok(Self { model: choice::load(run, weights)? })
    }

    /// Reads examples as the training data was read. Says on standard error what the user should know of them.
    pub(super) fn read(
        &self,
        source: &DataSource,
        options: &ReadOptions,
        labels: Labels,
    ) -> anyhow::Result<Matched> {
        let preparation = &self.model.preparation;
        let matched = match source {
            DataSource::Path(path) => data::load_matching(path, preparation, options, labels)?,
            DataSource::EmbeddedMnist => {
                let (_, test) = data::mnist()?;
                data::matched_dataset(test, preparation).ok_or_else(|| {
                    misuse("the embedded MNIST does not fit this model, which was trained on other data")
                })?
            }
        };
        for notice in &matched.notices {
            say(format!("Data: {notice}."));
        }
        if let Some(vocabulary) = self.model.network.spec().vocabulary() {
            matched.features.check_integers(vocabulary, &preparation.input_places(), 0)?;
        }
        Ok(matched)
    }

    pub(super) fn model(&self) -> &SavedModel {
        &self.model
    }

    pub(super) fn trained(&self) -> Trained<'_> {
        Trained::of(&self.model)
    }

    pub(super) fn targets(&self) -> &TargetSchema {
        &self.model.preparation.targets
    }

    pub(super) fn target_scaling(&self) -> Option<&TargetScaling> {
        self.model.target_scaling.as_ref()
    }

    /// Answers that are numbers in the user's units, row-major.
    pub(super) fn in_units(&self, answers: &[f32]) -> Vec<f64> {
        match self.target_scaling() {
            Some(scaling) => scaling.restore(answers),
            None => answers.iter().map(|&answer| f64::from(answer)).collect(),
        }
    }
}
