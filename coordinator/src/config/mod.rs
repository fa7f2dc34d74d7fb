//! What a run is told to do, with every default filled in.
//!
//! [`RunConfig`] is what the training works from and what `run.toml` holds. A user's own file
//! ([`ConfigFile`]) has the same keys, all of them optional, and the command line gives the same
//! type again; [`ConfigFile::or`] lays one over the other and [`ConfigFile::resolve`] fills in the
//! defaults. Keys are named like the flags.

mod check;
pub mod defaults;
mod error;
mod file;
mod network;
mod sentences;
mod settle;
mod values;

use std::path::{Path, PathBuf};

use model::{Arithmetic, NetworkSpec};
use serde::{Deserialize, Serialize};

pub use crate::data::TaskKind;
pub use check::MINIBATCH_MAX;
pub use error::ConfigError;
pub use file::{ConfigFile, ModelChoice, read_table};
pub use values::{
    DEFAULT_PORT, DataSource, Decay, Fraction, LOCAL_WORKERS_MAX, Listen, LocalWorkers, OptimizerKind, Rate,
    host_name,
};

/// A run, fully described. The same configuration and data give the same weights, bit for bit;
/// what cannot change the weights is grouped at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunConfig {
    /// Where the examples come from.
    pub data: DataSource,
    /// Columns to predict, each by name or index from 0; empty: the last one, or the data's own.
    #[serde(default)]
    pub label: Vec<String>,
    /// What the label is; `None`: told from the data.
    #[serde(default)]
    pub task: Option<TaskKind>,
    /// Whether a CSV file starts with a header; `None`: told from its first rows.
    #[serde(default)]
    pub header: Option<bool>,
    /// A file or directory with the test examples.
    #[serde(default)]
    pub test: Option<PathBuf>,
    /// Share of the examples set aside for testing. `None`, until the data is read and it is known
    /// whether there are test examples already.
    #[serde(default)]
    pub test_fraction: Option<Fraction>,
    /// A file or directory with the validation examples.
    #[serde(default)]
    pub validation: Option<PathBuf>,
    /// Share of the training examples set aside for validation; `None`: none.
    #[serde(default)]
    pub validation_fraction: Option<Fraction>,
    /// Points are evaluated every so many rounds; `None`: in every round through a tenth of the training examples or
    /// more, else about every tenth of an epoch.
    #[serde(default)]
    pub evaluate_every: Option<u64>,
    /// Whether the loss over the whole training set is measured where rounds do not do so anyway.
    #[serde(default)]
    pub evaluate_training: bool,
    /// Examples in a minibatch.
    pub minibatch: u32,
    /// How the weights are improved. The settings that follow are those of some methods only; `None`, until
    /// [`RunConfig::settle`], and for other methods.
    pub optimizer: OptimizerKind,
    /// Replicas that take local steps from the same point.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// Minibatch steps of each replica in a round.
    #[serde(default)]
    pub local_steps: Option<u32>,
    /// Length of a step, as a multiple of the mean gradient.
    #[serde(default)]
    pub learning_rate: Option<Rate>,
    /// How the learning rate changes in the course of the run.
    #[serde(default)]
    pub schedule: Option<Decay>,
    /// Over how many iterations it does. Fixed when the run begins, so that a limit raised later does not change what was planned.
    #[serde(default)]
    pub schedule_iterations: Option<u64>,
    /// Minibatches whose gradients a stochastic method averages before each step.
    #[serde(default)]
    pub minibatches_per_round: Option<u32>,
    /// Examples of the batch that sampled L-BFGS takes its gradients on.
    #[serde(default)]
    pub sample: Option<u32>,
    /// Share of the sample that one batch has in common with the next.
    #[serde(default)]
    pub overlap: Option<Fraction>,
    /// Momentum on the averaged displacements; 0 for plain averaging.
    #[serde(default)]
    pub outer_momentum: Option<f32>,
    /// Decay of all weights in a step of AdamW, as a multiple of the learning rate.
    #[serde(default)]
    pub weight_decay: Option<f32>,
    /// Curvature pairs that L-BFGS remembers.
    #[serde(default)]
    pub memory: Option<u32>,
    /// Most iterations to take.
    pub iterations: u64,
    /// Most rounds to take.
    #[serde(default)]
    pub rounds: Option<u64>,
    /// Most passes over the training examples.
    #[serde(default)]
    pub epochs: Option<f64>,
    /// Stop after so many seconds of training.
    #[serde(default)]
    pub max_seconds: Option<u64>,
    /// Stop when the test accuracy reaches this share.
    #[serde(default)]
    pub target_accuracy: Option<Fraction>,
    /// Stop when the mean loss over the training set is no larger.
    #[serde(default)]
    pub target_loss: Option<f64>,
    /// Stop when the norm of the gradient is no larger.
    #[serde(default)]
    pub gradient_tolerance: Option<f64>,
    /// Stop when the loss falls by no larger a share of itself in several iterations.
    #[serde(default)]
    pub relative_decrease: Option<f64>,
    /// Stop when so many evaluations in a row have found no lower validation loss.
    #[serde(default)]
    pub patience: Option<u64>,
    /// Decides the start weights, the split and the shuffle.
    pub seed: u64,
    /// How products are added up.
    pub arithmetic: Arithmetic,

    /// Where the page and the volunteers' channel are served.
    pub listen: Listen,
    /// Names under which the page may be opened, besides the machine's own addresses.
    #[serde(default)]
    pub allow_host: Vec<String>,
    /// Help by the coordinator itself.
    pub local_workers: LocalWorkers,
    /// Volunteers to wait for before the first round.
    pub wait_for: u32,
    /// Begin without them after this many seconds; `None`: wait as long as it takes.
    #[serde(default)]
    pub wait_seconds: Option<u32>,

    /// BLAKE3 of the data as prepared, in hexadecimal; a run is only resumed on the same data.
    /// `None` until the data is read.
    #[serde(default)]
    pub data_fingerprint: Option<String>,

    /// The network. Last, because it is a table of its own in the file.
    #[serde(deserialize_with = "network::deserialize")]
    pub model: NetworkSpec,
}

impl RunConfig {
    /// Reads the text of the `run.toml` at `path`. [`RunConfig::check`] says whether it can be used.
    ///
    /// # Errors
    /// When it was changed into something that is not understood.
    pub fn from_toml(path: &Path, text: &str) -> Result<Self, ConfigError> {
        file::parse_toml(path, text)
    }

    /// The text of `run.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every setting has a form in TOML: resolving saw to it")
    }
}
