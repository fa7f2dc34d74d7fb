//! Mistakes in data that have been read, each in one sentence that says what to do. Mistakes in a file are
//! [`TableError`]s.

use std::path::PathBuf;

use table::TableError;

/// Data that cannot be trained on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file that cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A value that an embedding cannot look up.
    #[error(
        "example {example}, {column}: {value} is not an integer from 0 to {}, which the model's embedding looks \
         up; number the values so, or give it a larger vocabulary", vocabulary - 1
    )]
    NotInVocabulary {
        /// Position among the examples, from 1.
        example: usize,
        /// Where the value stands, such as `column 2 (age)`.
        column: String,
        /// The value.
        value: f32,
        /// How many integers the embedding has.
        vocabulary: u32,
    },
    /// Shards that cannot be kept or read back.
    #[error("cannot use the shard {}: {source}; make room, or remove the folder so that the data are cut again", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A store that fails.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The program ends.
    #[error("the program ends before a shard in the --cache folder or the store is read; start it again")]
    Ended,
    /// A shard that is none.
    #[error("a shard in the --cache folder or the store cannot be decoded ({0}); remove it and start again")]
    Shard(protocol::DecodeError),
    /// Examples that are asked for and do not exist.
    #[error(
        "the data in the --cache folder have fewer examples than a set is cut for; remove the folder and start again"
    )]
    NoExamples,
    /// A split that leaves one side without examples, or is not a fraction.
    #[error("a {part} fraction of {fraction} of {} cannot be split off: {problem}", crate::report::words::counted(*examples, "example"))]
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
