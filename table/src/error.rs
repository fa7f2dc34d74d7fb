//! What can be wrong with data, each in one sentence that names the file, the line and the column where there
//! is one, and says what to do. Lines and columns count from 1.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::limits;

/// Data that cannot be used. No input makes a reader panic; it ends here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The operating system would not let us read the file.
    #[error("cannot read {}: {source}; check the path and who may read it", Shown(path))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The folder for columns that memory should not hold cannot be used.
    #[error("cannot keep columns in {}: {source}; make room there, or name another folder", Shown(folder))]
    Scratch {
        /// The folder.
        folder: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A compressed file that ends early or does not decompress.
    #[error("{} is damaged or cut short ({source}); fetch or compress it again", Shown(path))]
    Compressed {
        /// The file.
        path: PathBuf,
        /// The decompressor's answer.
        source: io::Error,
    },
    /// One of the limits of [`limits`] is exceeded.
    #[error(
        "{} has more than {limit} {what}, the most Shoal takes; split the file or take a part of it",
        Shown(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What there is too much of, in the plural.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A file or directory of no known format, or one that breaks its format's rules.
    #[error("{} cannot be read: {problem}", Shown(path))]
    Format {
        /// The file or directory.
        path: PathBuf,
        /// What was found or missed, and what to do.
        problem: String,
    },
    /// A file without a single example.
    #[error("{} has no examples in it; is it the right file?", Shown(path))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A row that cannot be used.
    #[error("{}, line {line}: {problem}", Shown(path))]
    Row {
        /// The file.
        path: PathBuf,
        /// Line of the row.
        line: u64,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A cell that cannot be used.
    #[error("{}, line {line}, {column}: {problem}", Shown(path))]
    Cell {
        /// The file.
        path: PathBuf,
        /// Line of the row.
        line: u64,
        /// The column's number, and its name where there is one.
        column: ColumnPlace,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// More bad rows than may be skipped.
    #[error(
        "{bad} of {rows} rows of {} are bad, more than the one in {} that may be skipped; the first: {first}",
        Shown(path),
        limits::BAD_ROWS_ONE_IN
    )]
    TooManyBadRows {
        /// The first file of the data set.
        path: PathBuf,
        /// Rows that are bad.
        bad: usize,
        /// All rows.
        rows: usize,
        /// What is wrong with the first of them.
        first: String,
    },
    /// The label column asked for is not there, or cannot serve.
    #[error("{}: {problem}", Shown(path))]
    Label {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A second file that does not fit the data the model is trained on.
    #[error("{} does not match the training data: {problem}", Shown(path))]
    Mismatch {
        /// The second file.
        path: PathBuf,
        /// Where they differ.
        problem: String,
    },
    /// A file to test with that has no labels.
    #[error("{} has no labels, so there is nothing to test against; add the label column", Shown(path))]
    NoLabels {
        /// The file or directory.
        path: PathBuf,
    },
    /// More classes than an id of 16 bits can tell apart.
    #[error(
        "{} has more than {} different labels; predict numbers instead (--task numbers) or group the labels",
        Shown(path),
        limits::CLASSES_MAX
    )]
    TooManyClasses {
        /// The file.
        path: PathBuf,
    },
    /// A flag about reading that does not fit the data.
    #[error("--{flag}: {problem}")]
    Flag {
        /// The flag without its dashes.
        flag: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// Where a cell stands in its row, for messages: `column 3 (petal)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPlace {
    /// Position in the file, from 0; shown from 1.
    pub index: usize,
    /// The name, where the file has names.
    pub name: Option<String>,
}

impl fmt::Display for ColumnPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "column {}", self.index + 1)?;
        match &self.name {
            Some(name) if !name.is_empty() => write!(formatter, " ({})", plain(name)),
            _ => Ok(()),
        }
    }
}

/// A path as shown in a message: a file's name may hold anything, control characters too.
pub(crate) struct Shown<'a>(pub(crate) &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        if text == "-" { formatter.write_str("standard input") } else { formatter.write_str(&escaped(&text)) }
    }
}

/// Text with its control characters escaped, so that no file can write to a terminal as it likes.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let (escape, plain) = match character.is_control() {
                true => (Some(character.escape_default()), None),
                false => (None, Some(character)),
            };
            escape.into_iter().flatten().chain(plain)
        })
        .collect()
}

const SHOWN_CHARS_MAX: usize = 40;

/// A name as shown in a message: escaped, and never longer than a line can bear.
pub fn plain(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => escaped(&name[..end]) + "...",
        None => escaped(name),
    }
}

/// A cell's text as shown in a message: quoted, escaped, never longer than a line can bear.
pub fn quoted(cell: &[u8]) -> String {
    // No more bytes than could be shown: a cell may have megabytes.
    let text = String::from_utf8_lossy(&cell[..cell.len().min(4 * SHOWN_CHARS_MAX + 4)]);
    if text.chars().count() <= SHOWN_CHARS_MAX {
        format!("{text:?}")
    } else {
        let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        format!("{:?}", start + "...")
    }
}

/// Names for a message: the first few, and how many more.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN_MAX: usize = 8;
    let shown: Vec<String> =
        names.iter().take(SHOWN_MAX).map(|name| quoted(name.as_ref().as_bytes())).collect();
    match names.len().checked_sub(SHOWN_MAX) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `1 row`, `2 rows`.
pub(crate) fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_cannot_write_to_the_terminal() {
        assert_eq!(quoted(b"\x1b[31mred"), r#""\u{1b}[31mred""#);
        assert_eq!(plain("a\x1b[2Jb"), r"a\u{1b}[2Jb");
        let error = TableError::Empty { path: "a\n\x07b".into() }.to_string();
        assert!(error.starts_with(r"a\n\u{7}b has no"), "{error}");
        assert!(quoted("ü".repeat(1 << 20).as_bytes()).chars().count() < 60);
    }
}
