//! Opening a data file: plain or gzip (told by its first bytes, not by its name), and never more than a bounded number
//! of bytes after decompression.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use super::{DataError, limits};

/// Bytes looked at to tell what a file is.
pub(super) const HEAD_BYTES: usize = 64 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file's content after decompression. `head` has the first bytes, which `reader` gives again.
pub(super) struct Content<'a> {
    pub(super) head: Vec<u8>,
    pub(super) reader: Box<dyn Read + 'a>,
}

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Content<'static>, DataError> {
    let file = File::open(path).map_err(|source| read_error(path, source))?;
    content(path, BufReader::with_capacity(HEAD_BYTES, file))
}

/// The same for bytes that are in memory already; `path` only names them in errors.
pub(super) fn content<'a>(path: &Path, mut raw: impl Read + 'a) -> Result<Content<'a>, DataError> {
    let magic = read_up_to(&mut raw, GZIP_MAGIC.len()).map_err(|source| read_error(path, source))?;
    let zipped = magic == GZIP_MAGIC;
    let raw = Cursor::new(magic).chain(raw);
    let unzipped: Box<dyn Read + 'a> =
        if zipped { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    let mut reader = Bounded { inner: unzipped, left: limits::MAX_FILE_BYTES, zipped };
    let head = read_up_to(&mut reader, HEAD_BYTES).map_err(|source| read_error(path, source))?;
    Ok(Content { reader: Box::new(Cursor::new(head.clone()).chain(reader)), head })
}

/// Reads until `count` bytes or the end.
pub(super) fn read_up_to(reader: impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells a damaged gzip stream and an exceeded limit from an error of the operating system.
pub(super) fn read_error(path: &Path, source: io::Error) -> DataError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::FileTooLarge => {
            DataError::TooLarge { path, what: "bytes", limit: limits::MAX_FILE_BYTES }
        }
        // Bounded gives every failure of the decompressor this kind.
        io::ErrorKind::InvalidData => DataError::Gzip { path, source },
        _ => DataError::Read { path, source },
    }
}

/// Ends in an error, not in a quiet end of file, when there are more bytes than allowed.
struct Bounded<R> {
    inner: R,
    left: u64,
    zipped: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput if self.zipped => {
                io::Error::new(io::ErrorKind::InvalidData, error)
            }
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
    use super::*;

    #[test]
    fn more_bytes_than_allowed_is_an_error_and_not_an_early_end() {
        let mut reader = Bounded { inner: Cursor::new([0; 10]), left: 9, zipped: false };
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(matches!(read_error(Path::new("a"), error), DataError::TooLarge { .. }));
    }
}
