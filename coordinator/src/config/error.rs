//! Mistakes in a configuration. Each is one sentence that names the file and the line, or the
//! setting, and says what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::tree::Problem;

/// A configuration that cannot be used. The user can correct each of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the path", path.display())]
    Read {
        /// The configuration or network file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file that is not TOML or JSON, has an unknown key, or a value of the wrong kind.
    #[error("{}, line {line}: {problem}", path.display())]
    Parse {
        /// The configuration or network file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The mistake.
        problem: String,
    },
    /// A setting that has no default is not given.
    #[error(
        "{setting} is missing: give --{setting} {example}, or {setting} = \"{example}\" in the --config file"
    )]
    Missing {
        /// Its key.
        setting: &'static str,
        /// Values that could be given.
        example: &'static str,
    },
    /// A setting out of its range, or at odds with another one.
    #[error("{setting}: {problem}")]
    Setting {
        /// Its key.
        setting: &'static str,
        /// The mistake and the remedy.
        problem: String,
    },
    /// The network is not understood.
    #[error("{origin}: {problem}")]
    Model {
        /// The key.
        origin: String,
        /// The mistake and the remedy.
        problem: model::SpecError,
    },
}

impl ConfigError {
    /// A mistake in the file at `path`.
    pub(super) fn at(path: &Path, problem: Problem) -> Self {
        Self::Parse { path: path.to_owned(), line: problem.line.unwrap_or(1), problem: problem.text }
    }
}
