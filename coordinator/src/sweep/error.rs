//! Everything that can be wrong with a requested sweep. The user can mend all of it.

use std::path::PathBuf;

use super::case::CASES_MAX;
use crate::config::ConfigError;

/// A sweep that cannot be begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// Neither values nor cases are given.
    #[error(
        "there is nothing to compare: give --over KEY=V1,V2,... such as --over minibatch=10,100, or --cases FILE"
    )]
    NothingToCompare,
    /// There are more cases than anybody would look at.
    #[error("there are more than {CASES_MAX} cases; give fewer values")]
    TooManyCases,
    /// One key has two lists of values.
    #[error("--over {key} is given twice; put all its values into one list")]
    KeyTwice {
        /// The key.
        key: String,
    },
    /// One of the cases cannot be run.
    #[error("case \"{case}\": {problem}")]
    Case {
        /// Its name.
        case: String,
        /// What is wrong.
        problem: String,
    },
    /// A file of cases is malformed.
    #[error("{}{}: {problem}", path.display(), line.map_or_else(String::new, |line| format!(", line {line}")))]
    CaseFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1; `None` where the whole file lacks something.
        line: Option<usize>,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A shared setting is wrong, or the file cannot be read.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// An existing run of this name has other settings.
    #[error(
        "{} was begun with other settings ({differences}); give another directory with --out", run.display()
    )]
    OtherSettings {
        /// The run directory.
        run: PathBuf,
        /// The keys that differ.
        differences: String,
    },
    /// The data have changed since a run of the sweep finished.
    #[error(
        "{} was trained on other data, and their results cannot be compared; give another directory with --out \
         ({problem})",
        run.display()
    )]
    OtherData {
        /// The run directory.
        run: PathBuf,
        /// What differs.
        problem: String,
    },
}

impl From<ConfigError> for SweepError {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}
