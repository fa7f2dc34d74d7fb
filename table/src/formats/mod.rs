//! Every format that is read, told by content rather than by name: of a directory by the names in it, of a
//! file by its first bytes.

pub(crate) mod idx;
mod images;
mod npy;
mod parquet;
mod svmlight;

use std::path::{Path, PathBuf};

use crate::{
    Pixels, ReadOptions, TableError,
    memory::{MemoryTable, Raw},
    source::{self, DataFile},
};

/// What some paths hold.
// One of them is made for a whole data set.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Found {
    /// Text, for the two passes.
    Text(Vec<DataFile>),
    /// Columns with types.
    Columns { train: MemoryTable, test: Option<MemoryTable> },
    /// Examples whose values have no names.
    Examples { train: Examples, test: Option<Examples> },
}

/// Pixels and what belongs to them.
pub(crate) struct Examples {
    pub(crate) path: PathBuf,
    pub(crate) pixels: Pixels,
    /// One for each example, where there are any.
    pub(crate) labels: Option<Raw>,
    /// Whether labels are classes in this format, whatever their values.
    pub(crate) are_classes: bool,
    pub(crate) notices: Vec<String>,
}

/// Reads what is no text, and says which files are. `shape`: that of a trained model's examples. `labels`:
/// whether they are needed.
pub(crate) fn open(
    paths: &[PathBuf],
    options: &ReadOptions,
    shape: Option<&[usize]>,
    labels: bool,
) -> Result<Found, TableError> {
    if let [directory] = paths
        && directory.is_dir()
    {
        return if idx::is_directory(directory) {
            refuse_flags(directory, options, "a directory of IDX files")?;
            idx::read(directory, labels)
        } else {
            images::read(directory, options, shape, labels)
        };
    }
    if let Some(directory) = paths.iter().find(|path| path.is_dir()) {
        return Err(TableError::Format {
            path: directory.clone(),
            problem: "a directory is a data set of its own; name it alone, or name files".to_owned(),
        });
    }
    let files = source::files(paths)?;
    let mut typed: Option<MemoryTable> = None;
    let mut text = Vec::new();
    if options.text_only {
        return Ok(Found::Text(files.into_iter().map(DataFile::stored).collect()));
    }
    for file in &files {
        // Enough for a few rows of svmlight.
        const HEAD_BYTES: usize = 64 << 10;
        let head = file.head(HEAD_BYTES)?;
        let alone = || match files.len() {
            1 => Ok(()),
            _ => Err(TableError::Format {
                path: file.path.clone(),
                problem: "such a file is a data set of its own; name it alone".to_owned(),
            }),
        };
        if head.starts_with(b"PAR1") {
            let table = parquet::read(file, options.scratch.as_ref())?;
            typed = Some(match typed {
                None => table,
                Some(first) => first.join(table)?,
            });
        } else if head.starts_with(npy::MAGIC) {
            alone()?;
            return npy::read_npy(file);
        } else if head.starts_with(b"PK\x03\x04") && npy::is_npz(&head) {
            alone()?;
            return npy::read_npz(file);
        } else if svmlight::is_svmlight(&head) {
            alone()?;
            return svmlight::read(file, shape);
        } else {
            text.push(file.clone());
        }
    }
    match typed {
        None => Ok(Found::Text(text)),
        Some(train) if text.is_empty() => Ok(Found::Columns { train, test: None }),
        Some(_) => Err(TableError::Format {
            path: text[0].path.clone(),
            problem: "it is text while other files are Parquet; files of one data set need one format"
                .to_owned(),
        }),
    }
}

/// Flags about columns mean nothing where there are none.
fn refuse_flags(path: &Path, options: &ReadOptions, what: &str) -> Result<(), TableError> {
    let flags: [(&'static str, bool); 6] = [
        ("label", !options.labels.is_empty()),
        ("header", options.header.is_some()),
        ("separator", options.separator.is_some()),
        ("drop", !options.drop.is_empty()),
        ("keep", !options.keep.is_empty()),
        ("as", !options.kinds.is_empty()),
    ];
    match flags.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(TableError::Flag {
            flag,
            problem: format!(
                "{} is {what}, which has no columns; leave the flag out",
                crate::error::Shown(path)
            ),
        }),
    }
}

impl MemoryTable {
    /// The rows of a further file with the same columns, found by name.
    fn join(mut self, mut other: Self) -> Result<Self, TableError> {
        let wrong = |problem: String| TableError::Format { path: other.path.clone(), problem };
        let names = self.names.clone().unwrap_or_default();
        for (column, name) in self.columns.iter_mut().zip(&names) {
            let shown = crate::error::plain(name);
            let at = other.names.as_ref().and_then(|names| names.iter().position(|other| other == name));
            let at = at.ok_or_else(|| wrong(format!("it has no column {shown}, which the first file has; files of one data set need the same columns")))?;
            let more = std::mem::replace(&mut other.columns[at], Raw::Other);
            let Some(more) = column.concatenate(more) else { continue };
            let mut whole = std::mem::replace(column, Raw::Other).into_memory()?;
            whole
                .append(more.into_memory()?)
                .map_err(|problem| wrong(format!("column {shown}: {problem}")))?;
            *column = match &self.scratch {
                Some(scratch) => whole.spilled(scratch)?,
                None => whole,
            };
        }
        self.rows += other.rows;
        Ok(self)
    }
}
