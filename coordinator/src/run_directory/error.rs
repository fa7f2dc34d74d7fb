//! What can go wrong with a run directory, each in one sentence that names the file and says what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A run directory that cannot be used, or a file in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The operating system would not do it.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A new run was to go where one is already.
    #[error(
        "{0} holds a run already; go on with it by `shoal resume {0}`, or give another directory with --out",
        path.display()
    )]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A new run was to go into a directory with something else in it.
    #[error("{} is not empty; give another directory with --out", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that no run was ever started in.
    #[error("{} is not a run directory: it has no run.toml", path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// Another process holds the directory.
    #[error(
        "another shoal process{} is working in {}; wait for its end or stop it",
        pid.map(|pid| format!(" ({pid})")).unwrap_or_default(), path.display()
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// The other process's id, where it is known.
        pid: Option<u32>,
    },
    /// A run whose training has not come to its first model.
    #[error("{0} has no model yet; its training must end first (`shoal resume {0}`)", path.display())]
    NoModel {
        /// The directory.
        path: PathBuf,
    },
    /// A file that is not as it was written.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do where something can be done.
        problem: String,
    },
    /// The last checkpoint is damaged and there is no good one before it.
    #[error("{damaged}, and there is no good one before it; start a new run, with another --out")]
    NoGoodCheckpoint {
        /// What is wrong with the last one.
        damaged: Box<RunError>,
    },
    /// A file of another version of the program.
    #[error(
        "{} was written by another version of shoal (file version {found}, this one reads {expected})",
        path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// A model that cannot be written because its parts do not fit together.
    #[error("{} cannot be written: {problem}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
}

impl RunError {
    /// Turns an error of the operating system into one that says what was tried.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path: path.clone(), source }
    }

    pub(super) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.into() }
    }
}
