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
mod values;

use std::path::{Path, PathBuf};

use model::{Arithmetic, NetworkSpec};
use serde::{Deserialize, Serialize};

pub use crate::data::TaskKind;
pub use check::MINIBATCH_MAX;
pub use error::ConfigError;
pub use file::{ConfigFile, ModelChoice};
pub use values::{
    DEFAULT_PORT, DataSource, Fraction, LOCAL_WORKERS_MAX, Listen, LocalWorkers, Optimizer, host_name,
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
    /// Examples in a minibatch.
    pub minibatch: u32,
    /// How the weights are improved.
    pub optimizer: Optimizer,
    /// Most iterations to take.
    pub iterations: u64,
    /// Stop when the test accuracy reaches this share.
    #[serde(default)]
    pub target_accuracy: Option<Fraction>,
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
