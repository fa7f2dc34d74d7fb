//! What can be wrong with a data file, each in one sentence that names the file, the line and the column where there
//! is one, and says what to do.

use std::{io, path::PathBuf};

use super::limits;

/// A data set that cannot be used. No input makes the readers panic; it ends here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system would not let us read the file.
    #[error("cannot read {}: {source}; check the path", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A gzip stream that ends early or does not decompress.
    #[error("{} is damaged or cut short ({source}); fetch or compress it again", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decompressor said.
        source: io::Error,
    },
    /// One of the limits of [`limits`] is exceeded.
    #[error("{} has more than {limit} {what}, the most Shoal takes; leave some out", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What there is too much of, in the plural.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A file or directory that is neither CSV nor a directory of IDX files.
    #[error("{} is not a data set Shoal can read: {hint}", path.display())]
    UnknownFormat {
        /// The file or directory.
        path: PathBuf,
        /// What was found or missed, and what to do.
        hint: String,
    },
    /// A file without a single example.
    #[error("{} has no examples in it; check that it is the right file", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// An IDX file whose header or length is wrong.
    #[error("{} is not a valid IDX file of bytes: {problem}", path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Images and labels of different number.
    #[error(
        "{} has {images} images but {} has {labels} labels; they must belong together",
        images_path.display(), labels_path.display()
    )]
    CountMismatch {
        /// The image file.
        images_path: PathBuf,
        /// Images in it.
        images: usize,
        /// The label file.
        labels_path: PathBuf,
        /// Labels in it.
        labels: usize,
    },
    /// A CSV row with another number of cells than the first row.
    #[error("{} line {line}: {cells} cells where the first row has {expected}", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// Line of the row, from 1.
        line: u64,
        /// Cells in this row.
        cells: usize,
        /// Cells in the first row.
        expected: usize,
    },
    /// A cell that cannot be used.
    #[error("{} line {line}, column {column}: {problem}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// Line of the row, from 1.
        line: u64,
        /// The column's index from 0, and its name where there is one.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The label column asked for is not there, or cannot serve.
    #[error("{}: {problem}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A second file that does not fit the data the model is trained on.
    #[error("{} does not match the training data: {problem}", path.display())]
    Mismatch {
        /// The second file.
        path: PathBuf,
        /// Where they differ.
        problem: String,
    },
    /// A file to test with that has no labels.
    #[error("{} has no labels, so there is nothing to test against; give data with labels", path.display())]
    NoLabels {
        /// The file or directory.
        path: PathBuf,
    },
    /// More classes than an id of 16 bits can tell apart.
    #[error(
        "{} has more than {} different labels; predict numbers instead (task numbers) or group the labels",
        path.display(), limits::MAX_CLASSES
    )]
    TooManyClasses {
        /// The file.
        path: PathBuf,
    },
    /// A value that an embedding cannot look up.
    #[error(
        "example {example}, column {column}: {value} is not an integer from 0 to {}, which the model's embedding looks \
         up; number the values so, or give it a larger vocabulary", vocabulary - 1
    )]
    NotInVocabulary {
        /// Position in the file, from 1.
        example: usize,
        /// The column's index among the features, from 0, and its name where there is one.
        column: String,
        /// What stands there.
        value: f32,
        /// How many integers the embedding has.
        vocabulary: u32,
    },
    /// A split that leaves one side without examples, or is not a fraction.
    #[error("a {part} fraction of {fraction} of {examples} examples cannot be split off: {problem}")]
    Split {
        /// What the part is called.
        part: &'static str,
        /// The fraction asked for.
        fraction: f64,
        /// Examples there are.
        examples: usize,
        /// Why not.
        problem: &'static str,
    },
}

/// A cell's text as shown in a message: quoted, escaped, never longer than a line can bear.
pub(super) fn quoted(cell: &[u8]) -> String {
    const SHOWN_CHARS: usize = 40;
    let text = String::from_utf8_lossy(cell);
    if text.chars().count() <= SHOWN_CHARS {
        format!("{text:?}")
    } else {
        let start: String = text.chars().take(SHOWN_CHARS).collect();
        format!("{:?}", start + "...")
    }
}
