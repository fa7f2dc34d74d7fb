//! The results of a sweep's runs so far.

use std::path::{Path, PathBuf};

use engine::Figures;
use serde::Deserialize;

use super::case::Case;
use super::course::Course;
use super::targets::Target;
use crate::run_directory::{self, RunError};

/// The state of a sweep.
#[derive(Debug)]
pub struct Results {
    /// The training in a few words, for titles.
    pub title: String,
    /// The compared cases.
    pub cases: Vec<Case>,
    /// The targets to reach.
    pub targets: Vec<Target>,
    /// Every case with every seed, in the order of the cases.
    pub runs: Vec<Run>,
}

/// A case with a seed.
#[derive(Debug)]
pub struct Run {
    /// Index of the case.
    pub case: usize,
    /// The seed.
    pub seed: u64,
    /// Its run directory.
    pub directory: PathBuf,
    /// How it ended.
    pub ending: Ending,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ending {
    /// It was trained to its end.
    Finished(RunOutcome, Course),
    /// It could not be trained; the reason in one sentence.
    Failed(String),
    /// It has not begun, or was interrupted.
    NotRun,
}

/// The outcome of a finished run: the fields of [`crate::report::Summary`] that a sweep shows, as saved with
/// the run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunOutcome {
    /// Why it ended, as in the JSON of `shoal train`.
    pub stop_reason: String,
    /// Accepted optimizer steps.
    pub iterations: u64,
    /// Rounds over the volunteers.
    pub rounds: f64,
    /// Passes over the training data.
    pub epochs: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// The figures of the saved model.
    #[serde(flatten)]
    pub figures: Figures,
    /// The digest of the trained weights.
    pub weights_digest: String,
}

impl Ending {
    /// Reads the outcome from a run directory; [`Ending::NotRun`] without one.
    ///
    /// # Errors
    /// When the outcome or the metrics cannot be read.
    pub fn load(run: &Path) -> Result<Self, RunError> {
        match run_directory::load_outcome(run)? {
            Some(outcome) => Ok(Self::Finished(outcome, Course::load(run)?)),
            None => Ok(Self::NotRun),
        }
    }
}

impl Results {
    /// The reasons of the runs that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&Run, &str)> {
        self.runs.iter().filter_map(|run| match &run.ending {
            Ending::Failed(reason) => Some((run, reason.as_str())),
            _ => None,
        })
    }
}
