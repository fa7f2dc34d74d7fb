//! A finished run, opened for use.

use std::path::Path;

use super::misuse;
use crate::config::DataSource;
use crate::data::{self, Labels, LoadOptions, Matched, TargetScaling, TargetSchema};
use crate::inference::Trained;
use crate::run_directory::{self, SavedModel};

/// The model of a run and everything needed to feed it.
pub(super) struct TrainedRun {
    model: SavedModel,
}

impl TrainedRun {
    pub(super) fn open(run: &Path) -> anyhow::Result<Self> {
        Ok(Self { model: run_directory::load_model(run)? })
    }

    /// Reads examples as the training data was read.
    pub(super) fn read(
        &self,
        source: &DataSource,
        header: Option<bool>,
        labels: Labels,
    ) -> anyhow::Result<Matched> {
        let schema = &self.model.schema;
        let matched = match source {
            DataSource::Path(path) => {
                let options = LoadOptions { header, ..LoadOptions::default() };
                data::load_matching(path, schema, &options, labels)?
            }
            DataSource::EmbeddedMnist => {
                let (_, test) = data::mnist()?;
                let fits = test.schema();
                if fits.features != schema.features || fits.targets != schema.targets {
                    return Err(misuse(
                        "the embedded MNIST does not fit this model, which was trained on other data; give \
                         data like its own",
                    ));
                }
                Matched { features: test.features, targets: Some(test.targets) }
            }
        };
        if let Some(vocabulary) = self.model.network.spec().vocabulary() {
            matched.features.check_integers(vocabulary, schema.feature_names.as_deref())?;
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
        &self.model.schema.targets
    }

    pub(super) fn target_scaling(&self) -> Option<&TargetScaling> {
        self.model.target_scaling.as_ref()
    }

    /// Turns answers that are numbers into the user's units.
    pub(super) fn restore_units(&self, answers: &mut [f32]) {
        if let Some(scaling) = self.target_scaling() {
            scaling.restore(answers);
        }
    }
}
