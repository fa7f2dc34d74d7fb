//! Columns that memory should not hold, in a file that vanishes with the last that uses it.
//!
//! A column is appended in pieces and read in pieces, in the order of its rows. Each piece is written in the
//! narrowest width that gives back all of its values to the bit, so that a column of small integers takes a
//! byte a row.

use std::{
    fmt,
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{TableError, numbers::Numbers};

/// Values of a column in a piece of the file: each is written and read in one go.
const PIECE_VALUES: usize = 1 << 20;
/// Bytes of all columns of a table that wait in memory until they are written.
pub(crate) const WAITING_BYTES_MAX: usize = 32 << 20;
/// Bytes of the columns of a table that are in memory at a time, unless a single one is larger.
const COLUMNS_BYTES_MAX: usize = 256 << 20;

/// A place for columns outside of memory. Clones share it.
#[derive(Clone)]
pub struct Scratch(Arc<Space>);

struct Space {
    folder: PathBuf,
    file: File,
    /// Bytes that have been given away.
    end: AtomicU64,
}

impl Scratch {
    /// An empty place in this folder, which must exist. The file has no name there: it vanishes when nobody
    /// uses it, also if the program is killed.
    ///
    /// # Errors
    /// [`TableError::Scratch`] when no file can be made there.
    pub fn create(folder: &Path) -> Result<Self, TableError> {
        let file = tempfile::tempfile_in(folder)
            .map_err(|source| TableError::Scratch { folder: folder.to_owned(), source })?;
        Ok(Self(Arc::new(Space { folder: folder.to_owned(), file, end: AtomicU64::new(0) })))
    }

    fn write(&self, bytes: &[u8]) -> Result<Arc<Region>, TableError> {
        let at = self.0.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        write_at(&self.0.file, bytes, at).map_err(|source| self.error(source))?;
        Ok(Arc::new(Region { scratch: self.clone(), at, bytes: bytes.len() as u64 }))
    }

    fn error(&self, source: io::Error) -> TableError {
        TableError::Scratch { folder: self.0.folder.clone(), source }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Scratch").field(&self.0.folder).finish()
    }
}

/// Two are equal if they are the same file.
impl PartialEq for Scratch {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Bytes of the file that one piece has. The disk gets them back with the last user.
#[derive(Debug)]
struct Region {
    scratch: Scratch,
    at: u64,
    bytes: u64,
}

impl Drop for Region {
    fn drop(&mut self) {
        // Where the system cannot do it, the disk gets the bytes back with the file.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fallocate(
            &self.scratch.0.file,
            rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
            self.at,
            self.bytes,
        );
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => (bytes, at) = (&bytes[count..], at + count as u64),
        }
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => (bytes, at) = (&mut bytes[count..], at + count as u64),
        }
    }
    Ok(())
}

/// How many columns of so many rows, each a value of so many bytes, may be in memory at a time.
pub(crate) fn columns_at_once(rows: usize, bytes: usize) -> usize {
    (COLUMNS_BYTES_MAX / rows.saturating_mul(bytes).max(1)).max(1)
}

/// A value of a column.
pub(crate) trait Cell: Copy + Send + Sync {
    /// The least number of bytes that give the value back to the bit.
    fn width(self) -> u8;
    /// Appends the value in a width that is enough for it.
    fn pack(self, width: u8, bytes: &mut Vec<u8>);
    /// The value from as many bytes as the width.
    fn unpack(bytes: &[u8]) -> Self;
}

impl Cell for f64 {
    fn width(self) -> u8 {
        let whole = self as i16;
        let exact = self.is_nan() || f64::from(whole).to_bits() == self.to_bits();
        match whole {
            _ if self.is_nan() => 1,
            -127..=127 if exact => 1,
            -32_767..=32_767 if exact => 2,
            _ if f64::from(self as f32).to_bits() == self.to_bits() => 4,
            _ => 8,
        }
    }

    fn pack(self, width: u8, bytes: &mut Vec<u8>) {
        match width {
            1 => bytes.push(if self.is_nan() { i8::MIN } else { self as i8 } as u8),
            2 => bytes.extend(if self.is_nan() { i16::MIN } else { self as i16 }.to_le_bytes()),
            4 => bytes.extend((self as f32).to_le_bytes()),
            _ => bytes.extend(self.to_le_bytes()),
        }
    }

    fn unpack(bytes: &[u8]) -> Self {
        match *bytes {
            [byte] if byte as i8 == i8::MIN => f64::NAN,
            [byte] => f64::from(byte as i8),
            [a, b] => match i16::from_le_bytes([a, b]) {
                i16::MIN => f64::NAN,
                whole => f64::from(whole),
            },
            [a, b, c, d] => match f32::from_le_bytes([a, b, c, d]) {
                value if value.is_nan() => f64::NAN,
                value => f64::from(value),
            },
            _ => f64::from_le_bytes(array(bytes)),
        }
    }
}

impl Cell for f32 {
    fn width(self) -> u8 {
        f64::from(self).width()
    }

    fn pack(self, width: u8, bytes: &mut Vec<u8>) {
        match width {
            1 | 2 => f64::from(self).pack(width, bytes),
            _ => bytes.extend(self.to_le_bytes()),
        }
    }

    fn unpack(bytes: &[u8]) -> Self {
        match *bytes {
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
            _ => f64::unpack(bytes) as f32,
        }
    }
}

impl Cell for u32 {
    /// The largest value of each width stands for the largest of all, which means that there is none.
    fn width(self) -> u8 {
        match self {
            u32::MAX => 1,
            0..0xff => 1,
            0xff..0xffff => 2,
            _ => 4,
        }
    }

    fn pack(self, width: u8, bytes: &mut Vec<u8>) {
        match width {
            1 => bytes.push(self as u8),
            2 => bytes.extend((self as u16).to_le_bytes()),
            _ => bytes.extend(self.to_le_bytes()),
        }
    }

    fn unpack(bytes: &[u8]) -> Self {
        match *bytes {
            [u8::MAX] => u32::MAX,
            [byte] => byte.into(),
            [a, b] => match u16::from_le_bytes([a, b]) {
                u16::MAX => u32::MAX,
                value => value.into(),
            },
            _ => u32::from_le_bytes(array(bytes)),
        }
    }
}

impl Cell for u16 {
    fn width(self) -> u8 {
        if self == u16::MAX { 1 } else { u32::from(self).width().min(2) }
    }

    fn pack(self, width: u8, bytes: &mut Vec<u8>) {
        match width {
            1 => bytes.push(self as u8),
            _ => bytes.extend(self.to_le_bytes()),
        }
    }

    fn unpack(bytes: &[u8]) -> Self {
        match *bytes {
            [u8::MAX] => u16::MAX,
            [byte] => byte.into(),
            _ => u16::from_le_bytes(array(bytes)),
        }
    }
}

impl Cell for u8 {
    fn width(self) -> u8 {
        1
    }

    fn pack(self, _: u8, bytes: &mut Vec<u8>) {
        bytes.push(self);
    }

    fn unpack(bytes: &[u8]) -> Self {
        bytes[0]
    }
}

impl Cell for i128 {
    fn width(self) -> u8 {
        16
    }

    fn pack(self, _: u8, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }

    fn unpack(bytes: &[u8]) -> Self {
        i128::from_le_bytes(array(bytes))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

/// A column in a [`Scratch`].
#[derive(Clone, Debug)]
pub(crate) struct Spilled<T> {
    scratch: Scratch,
    pieces: Vec<Piece>,
    len: usize,
    cells: std::marker::PhantomData<T>,
}

#[derive(Clone, Debug)]
struct Piece {
    /// The place of its first value in the column.
    first: usize,
    width: u8,
    region: Arc<Region>,
}

impl Spilled<f64> {
    /// A whole column of numbers.
    pub(crate) fn of_numbers(scratch: &Scratch, numbers: &Numbers) -> Result<Self, TableError> {
        let mut spilled = Self::new(scratch);
        spilled.push_numbers(numbers)?;
        Ok(spilled)
    }

    /// Appends numbers.
    pub(crate) fn push_numbers(&mut self, numbers: &Numbers) -> Result<(), TableError> {
        let mut some = Vec::with_capacity(numbers.len().min(PIECE_VALUES));
        for first in (0..numbers.len()).step_by(PIECE_VALUES) {
            some.clear();
            some.extend((first..numbers.len().min(first + PIECE_VALUES)).map(|index| numbers.get(index)));
            self.push(&some)?;
        }
        Ok(())
    }
}

impl<T: Cell> Spilled<T> {
    pub(crate) fn new(scratch: &Scratch) -> Self {
        Self { scratch: scratch.clone(), pieces: Vec::new(), len: 0, cells: std::marker::PhantomData }
    }

    /// A whole column.
    pub(crate) fn of(scratch: &Scratch, values: &[T]) -> Result<Self, TableError> {
        let mut spilled = Self::new(scratch);
        spilled.push(values)?;
        Ok(spilled)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends values.
    pub(crate) fn push(&mut self, values: &[T]) -> Result<(), TableError> {
        let mut bytes = Vec::new();
        for values in values.chunks(PIECE_VALUES) {
            let width = values.iter().map(|value| value.width()).max().unwrap_or(1);
            bytes.clear();
            bytes.reserve(values.len() * usize::from(width));
            values.iter().for_each(|value| value.pack(width, &mut bytes));
            let region = self.scratch.write(&bytes)?;
            self.pieces.push(Piece { first: self.len, width, region });
            self.len += values.len();
        }
        Ok(())
    }

    /// Appends another column of the same file, without copying it.
    pub(crate) fn append(&mut self, other: Self) {
        let before = self.len;
        self.pieces
            .extend(other.pieces.into_iter().map(|piece| Piece { first: piece.first + before, ..piece }));
        self.len += other.len;
    }

    /// All values.
    pub(crate) fn all(&self) -> Result<Vec<T>, TableError> {
        self.read(0..self.len)
    }

    /// The values of some rows. Panics on a range outside the column.
    pub(crate) fn read(&self, range: Range<usize>) -> Result<Vec<T>, TableError> {
        let mut values = Vec::with_capacity(range.len());
        self.each(range, |value| values.push(value))?;
        Ok(values)
    }

    /// Hands over the values of some rows in order. Panics on a range outside the column.
    pub(crate) fn each(&self, range: Range<usize>, mut take: impl FnMut(T)) -> Result<(), TableError> {
        const VALUES_AT_A_TIME: usize = 32 << 10;
        assert!(range.start <= range.end && range.end <= self.len, "rows of the column");
        let mut buffer = Vec::new();
        let mut at = self.pieces.partition_point(|piece| piece.first <= range.start).saturating_sub(1);
        let mut row = range.start;
        while row < range.end {
            let piece = &self.pieces[at];
            let end = self.pieces.get(at + 1).map_or(self.len, |next| next.first).min(range.end);
            let width = usize::from(piece.width);
            while row < end {
                let count = (end - row).min(VALUES_AT_A_TIME);
                buffer.resize(count * width, 0);
                let place = piece.region.at + ((row - piece.first) * width) as u64;
                read_at(&self.scratch.0.file, &mut buffer, place)
                    .map_err(|source| self.scratch.error(source))?;
                buffer.chunks_exact(width).for_each(|bytes| take(T::unpack(bytes)));
                row += count;
            }
            at += 1;
        }
        Ok(())
    }

    /// The file.
    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Scratch) {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(folder.path()).unwrap();
        (folder, scratch)
    }

    /// Pushes the values in three parts and reads all and some back, in bits.
    fn check<T: Cell>(values: &[T], bits: impl Fn(&T) -> u64) {
        let (_folder, scratch) = scratch();
        let mut column = Spilled::new(&scratch);
        let thirds = [0, values.len() / 3, values.len() / 2, values.len()];
        for ends in thirds.windows(2) {
            column.push(&values[ends[0]..ends[1]]).unwrap();
        }
        let bits = |values: &[T]| values.iter().map(&bits).collect::<Vec<u64>>();
        assert_eq!(bits(&column.all().unwrap()), bits(values));
        for range in [0..1, 1..values.len(), values.len() / 3..values.len() / 2 + 1, 2..2] {
            assert_eq!(bits(&column.read(range.clone()).unwrap()), bits(&values[range]));
        }
        let mut twice = column.clone();
        twice.append(column);
        assert_eq!(bits(&twice.read(values.len()..2 * values.len()).unwrap()), bits(values));
    }

    #[test]
    fn every_width_gives_back_every_bit() {
        let whole = [-0.0, 0.0, 1.0, -127.0, -128.0, 127.0, 128.0, f64::NAN];
        let wide = [-32_767.0, -32_768.0, 32_767.0, 0.5, 0.1, 1e300, -1e-300, f64::MIN_POSITIVE / 2.0, 1e38];
        for count in 3..=whole.len() {
            check(&whole[..count], |value| value.to_bits());
        }
        check(&[whole.as_slice(), wide.as_slice()].concat(), |value| value.to_bits());
        check(&[1.5_f32, -0.0, 300.0, f32::NAN, 1e-40], |value| value.to_bits().into());
        check(&[0_f32, 255.0, 3.0, -0.0], |value| value.to_bits().into());
        check(&[0, 254, 255, 65_534, 65_535, u32::MAX, 7], |&value| value.into());
        check(&[0, 254, u32::MAX, 1], |&value| value.into());
        check(&[0, 254, 255, 65_534, u16::MAX], |&value| value.into());
        check(&[3, u16::MAX, 4], |&value| value.into());
        check(&[1, 2, 3_u8], |&value| value.into());
        check(&[i128::MIN, -1, 1 << 60], |&value| value as u64 ^ (value >> 64) as u64);
    }

    #[test]
    fn a_column_of_small_integers_takes_a_byte_a_row() {
        let (_folder, scratch) = scratch();
        let values: Vec<f64> = (0..10_000).map(|row| f64::from(row % 100)).collect();
        Spilled::of(&scratch, &values).unwrap();
        assert_eq!(scratch.0.end.load(Ordering::Relaxed), 10_000);
    }
}
