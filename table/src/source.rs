//! Opening data: files, patterns and standard input; plain, gzip or Zstandard (told by the first bytes, not
//! by the name), and never more than a bounded number of bytes after decompression.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use tempfile::NamedTempFile;

use crate::{TableError, error::listed, limits};

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 256 << 10;

/// One file that can be read as often as needed.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// The name in messages; `-` for standard input.
    pub path: PathBuf,
    content: Content,
    /// Whether compressed content stays as it is.
    stored: bool,
}

#[derive(Clone, Debug)]
enum Content {
    OnDisk,
    /// Standard input, kept in a file because it is read twice.
    Spooled(Arc<NamedTempFile>),
    InMemory(Arc<[u8]>),
}

/// The files that some paths name: each a file, a pattern such as `part-*.csv`, or `-` for standard input. A
/// pattern's files come in the order of their names.
///
/// # Errors When a path does not exist or a pattern fits nothing.
pub fn files(paths: &[PathBuf]) -> Result<Vec<DataFile>, TableError> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            files.push(spooled()?);
        } else if path.exists() {
            files.push(DataFile::new(path));
        } else {
            let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']));
            let Some(pattern) = pattern else {
                return Err(TableError::Read { path: path.clone(), source: not_found(path) });
            };
            let wrong = |problem: String| TableError::Format { path: path.clone(), problem };
            let found = glob::glob(pattern).map_err(|error| {
                wrong(format!(
                    "the pattern is wrong at character {}: {}; correct it",
                    error.pos + 1,
                    error.msg
                ))
            })?;
            let before = files.len();
            for file in found {
                let file = file.map_err(|error| TableError::Read {
                    path: error.path().to_owned(),
                    source: error.into(),
                })?;
                if file.is_file() {
                    files.push(DataFile::new(&file));
                }
            }
            if files.len() == before {
                return Err(wrong(
                    "no file fits the pattern; check it, and quote it so that the shell leaves it alone"
                        .to_owned(),
                ));
            }
        }
        if files.len() > limits::FILES_MAX {
            return Err(TableError::TooLarge {
                path: path.clone(),
                what: "files",
                limit: limits::FILES_MAX as u64,
            });
        }
    }
    let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    if let Some(twice) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        return Err(TableError::Flag {
            flag: "data",
            problem: format!("{} is named twice; its examples would count twice", listed(&[twice.1])),
        });
    }
    Ok(files)
}

/// The operating system's words for a file that does not exist.
fn not_found(path: &Path) -> io::Error {
    std::fs::metadata(path).err().unwrap_or_else(|| io::ErrorKind::NotFound.into())
}

fn spooled() -> Result<DataFile, TableError> {
    let path = PathBuf::from("-");
    let failed = |source| TableError::Read { path: "-".into(), source };
    let mut file = NamedTempFile::new().map_err(failed)?;
    let copied =
        io::copy(&mut io::stdin().lock().take(limits::FILE_BYTES_MAX + 1), &mut file).map_err(failed)?;
    if copied > limits::FILE_BYTES_MAX {
        return Err(TableError::TooLarge { path, what: "bytes", limit: limits::FILE_BYTES_MAX });
    }
    Ok(DataFile { path, content: Content::Spooled(Arc::new(file)), stored: false })
}

impl DataFile {
    /// A file on disk.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), content: Content::OnDisk, stored: false }
    }

    /// Bytes in memory; `path` only names them in messages.
    pub fn in_memory(path: &Path, bytes: &[u8]) -> Self {
        Self { path: path.to_owned(), content: Content::InMemory(bytes.into()), stored: false }
    }

    /// The same file, but compressed content is taken as it is.
    pub(crate) fn stored(self) -> Self {
        Self { stored: true, ..self }
    }

    /// The content after decompression.
    pub(crate) fn open(&self) -> Result<Box<dyn Read + Send>, TableError> {
        self.open_sized(limits::FILE_BYTES_MAX)
    }

    fn open_sized(&self, bytes_max: u64) -> Result<Box<dyn Read + Send>, TableError> {
        let mut raw = self.raw()?;
        if self.stored {
            return Ok(Box::new(Bounded { inner: raw, left: bytes_max, compressed: false }));
        }
        let magic = read_up_to(&mut raw, ZSTD_MAGIC.len()).map_err(|source| self.error(source))?;
        let whole = Cursor::new(magic.clone()).chain(raw);
        let (inner, compressed): (Box<dyn Read + Send>, bool) = if magic.starts_with(GZIP_MAGIC) {
            (Box::new(MultiGzDecoder::new(whole)), true)
        } else if magic == ZSTD_MAGIC {
            (Box::new(zstd::Decoder::new(whole).map_err(|source| self.error(source))?), true)
        } else {
            (Box::new(whole), false)
        };
        Ok(Box::new(Bounded { inner, left: bytes_max, compressed }))
    }

    /// The content as it is stored.
    fn raw(&self) -> Result<Box<dyn Read + Send>, TableError> {
        let path = match &self.content {
            Content::InMemory(bytes) => return Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
            Content::Spooled(file) => file.path(),
            Content::OnDisk => &self.path,
        };
        let file = File::open(path).map_err(|source| self.error(source))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, file)))
    }

    /// A file that can be sought in; compressed content is decompressed first, into memory of `bytes_max` at
    /// most.
    pub(crate) fn whole(&self, bytes_max: u64) -> Result<Vec<u8>, TableError> {
        let mut bytes = Vec::new();
        self.open_sized(bytes_max)?.read_to_end(&mut bytes).map_err(|source| self.error(source))?;
        Ok(bytes)
    }

    /// The file itself, where it is one and is not compressed.
    pub(crate) fn on_disk(&self) -> Option<File> {
        let path = match &self.content {
            Content::InMemory(_) => return None,
            Content::Spooled(file) => file.path(),
            Content::OnDisk => &self.path,
        };
        let mut file = File::open(path).ok()?;
        let magic = read_up_to(&mut file, ZSTD_MAGIC.len()).ok()?;
        let compressed = magic.starts_with(GZIP_MAGIC) || magic == ZSTD_MAGIC;
        if compressed { None } else { File::open(path).ok() }
    }

    /// The content to seek in: the file itself where it is one and is not compressed, else in memory, of `bytes_max` at
    /// most.
    pub(crate) fn seekable(&self, bytes_max: u64) -> Result<Box<dyn Seekable>, TableError> {
        Ok(match self.on_disk() {
            Some(file) => Box::new(BufReader::with_capacity(BUFFER_BYTES, file)),
            None => Box::new(Cursor::new(self.whole(bytes_max)?)),
        })
    }

    /// The first bytes after decompression.
    pub(crate) fn head(&self, bytes: usize) -> Result<Vec<u8>, TableError> {
        read_up_to(self.open()?, bytes).map_err(|source| self.error(source))
    }

    /// Tells a damaged compressed file and an exceeded limit from an error of the operating system.
    pub(crate) fn error(&self, source: io::Error) -> TableError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::FileTooLarge => {
                TableError::TooLarge { path, what: "bytes", limit: limits::FILE_BYTES_MAX }
            }
            // Bounded gives every failure of a decompressor this kind.
            io::ErrorKind::InvalidData => TableError::Compressed { path, source },
            _ => TableError::Read { path, source },
        }
    }
}

/// What can be read from any place of it.
pub(crate) trait Seekable: Read + Seek {}

impl<T: Read + Seek> Seekable for T {}

/// Reads until `count` bytes or the end.
pub(crate) fn read_up_to(reader: impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Ends in an error, not in a quiet end of file, when there are more bytes than allowed.
struct Bounded<R> {
    inner: R,
    left: u64,
    compressed: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ if self.compressed => io::Error::new(io::ErrorKind::InvalidData, error),
            _ => error,
        })?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_gzip_and_zstandard_are_told_by_their_content() {
        let text = b"a,b\n1,2\n".repeat(100);
        for stored in [text.clone(), gzip(&text), zstd::encode_all(text.as_slice(), 1).unwrap()] {
            let file = DataFile::in_memory(Path::new("a.csv"), &stored);
            assert_eq!(file.whole(1 << 20).unwrap(), text);
            assert_eq!(file.head(3).unwrap(), b"a,b");
        }
    }

    #[test]
    fn damaged_compression_is_told_from_other_errors() {
        let text: Vec<u8> =
            (0..20_000_u32).flat_map(|value| value.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for whole in [gzip(&text), zstd::encode_all(text.as_slice(), 1).unwrap()] {
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 0xff;
            for damaged in [&whole[..whole.len() / 2], &whole[..whole.len() - 3], &whole[..5]] {
                let result = DataFile::in_memory(Path::new("a"), damaged).whole(1 << 20);
                assert!(matches!(result, Err(TableError::Compressed { .. })), "{result:?}");
            }
        }
    }

    #[test]
    fn more_bytes_than_allowed_is_an_error_and_not_an_early_end() {
        let file = DataFile::in_memory(Path::new("a"), &[0; 10]);
        assert!(matches!(file.whole(9), Err(TableError::TooLarge { .. })));
        assert_eq!(file.whole(10).unwrap().len(), 10);
    }

    #[test]
    fn a_pattern_names_its_files_in_order_and_nothing_is_read_twice() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b-2.csv", "b-1.csv", "c.csv"] {
            std::fs::write(folder.path().join(name), "x\n").unwrap();
        }
        let found = files(&[folder.path().join("b-*.csv"), folder.path().join("c.csv")]).unwrap();
        let names: Vec<&str> = found.iter().filter_map(|file| file.path.file_name()?.to_str()).collect();
        assert_eq!(names, ["b-1.csv", "b-2.csv", "c.csv"]);
        let message = |paths: &[PathBuf]| files(paths).unwrap_err().to_string();
        assert!(message(&[folder.path().join("*.csv"), folder.path().join("c.csv")]).contains("named twice"));
        assert!(message(&[folder.path().join("z*.csv")]).contains("no file fits"));
        assert!(message(&[folder.path().join("z.csv")]).contains("cannot read"));
    }
}
