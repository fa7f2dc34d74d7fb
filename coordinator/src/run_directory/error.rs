//! Everything that can go wrong with a run directory, each in one sentence that names the file and says what
//! to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A run directory that cannot be used, or a file in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The operating system refused an operation.
    #[error("cannot {action} {}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// The operation.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The directory for a new run holds a run already.
    #[error(
        "{0} holds a run already; continue it with `shoal resume {0}`, or give another directory with --out",
        path.display()
    )]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The directory for a new run holds something else.
    #[error("{} is not empty; give another directory with --out", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The trained model could not be written to its place and was saved elsewhere.
    #[error(
        "{source}. The trained model is saved in {} instead: move it into the run directory as model.safetensors",
        elsewhere.display()
    )]
    SavedElsewhere {
        /// The file with the model.
        elsewhere: PathBuf,
        /// The error at its own place.
        source: Box<RunError>,
    },
    /// The trained model could not be saved anywhere.
    #[error(
        "{source}. The trained model could not be saved in {} either: make room, then go on from the last checkpoint \
         with `shoal resume {}`",
        elsewhere.display(), path.display()
    )]
    NotSaved {
        /// The run directory.
        path: PathBuf,
        /// The other place that failed.
        elsewhere: PathBuf,
        /// The error at its own place.
        source: Box<RunError>,
    },
    /// No run was ever started in the directory.
    #[error("{} is not a run directory: it has no run.toml; give the path of a run", path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// Another process holds the directory.
    #[error(
        "another shoal process{} is working in {}; wait until it ends, or stop it",
        pid.map(|pid| format!(" ({pid})")).unwrap_or_default(), path.display()
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// The other process's id, if it is known.
        pid: Option<u32>,
    },
    /// The directory was deleted or moved away while a process worked in it.
    #[error(
        "{0} is no longer the directory that this run began in: it was deleted, or moved and another made in its \
         place; put it back",
        path.display()
    )]
    Gone {
        /// The directory.
        path: PathBuf,
    },
    /// The run's training has not saved a model yet.
    #[error("{0} has no model yet; finish its training first with `shoal resume {0}`", path.display())]
    NoModel {
        /// The directory.
        path: PathBuf,
    },
    /// The checkpoint, which has the last weights, cannot be used.
    #[error("the last weights of {} cannot be had: {problem}; leave --last out for the model that was saved", path.display())]
    NoLastWeights {
        /// The run directory.
        path: PathBuf,
        /// What is wrong with the checkpoint.
        problem: String,
    },
    /// Neither does a process train the run, nor is there a report of it.
    #[error("nobody trains {0} at present, and it has no report; go on with `shoal resume {0}`", path.display())]
    NothingToOpen {
        /// The directory.
        path: PathBuf,
    },
    /// A file differs from what was written.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage, with advice if there is any.
        problem: String,
    },
    /// The last checkpoint is damaged and there is no good one before it.
    #[error("{damaged}, and there is no good checkpoint before it; start a new run with another --out")]
    NoGoodCheckpoint {
        /// The damage to the last checkpoint.
        damaged: Box<RunError>,
    },
    /// Another version of the program wrote the file.
    #[error(
        "{} was written by another version of shoal (file version {found}, this shoal reads {expected}); \
         use that version, or start a new run with another --out",
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
    /// A model cannot be written because its parts do not fit together.
    #[error("{} cannot be written: {problem}; this is a mistake in shoal, please report it", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The mismatch.
        problem: String,
    },
}

/// The remedy for an error of the operating system.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "make room there, or name a place with more room"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "check its permissions, or name another place"
        }
        io::ErrorKind::NotFound => "check the path",
        _ => "check the path and the disk",
    }
}

impl RunError {
    /// Turns an error of the operating system into one that names the operation.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path: path.clone(), source }
    }

    /// Whether room would mend it.
    pub(super) fn is_lack_of_room(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    pub(super) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.into() }
    }
}
