//! Shards: slices of a set of examples as bytes.
//!
//! Layout, little-endian: the word `SHRD`, a byte for the type of the rows (0: `u8`, 1: `f32`), a byte for
//! the type of the targets (0: classes as `u16`, 1: numbers as `f32`), two zero bytes, then `u32` examples,
//! `u32` features and `u32` target columns (1 for classes); then the rows, example by example, then the
//! targets. `u8` data stays `u8`. A shard is named by the BLAKE3 hash of these bytes. The transport may
//! compress it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use model::{Examples, Features, NonZeros, Preprocessing, Rows, Targets, Task};
use ndarray::{ArrayView2, Axis, Slice};
use zerocopy::FromBytes as _;

use crate::DecodeError;
use crate::limits::SHARD_BYTES_MAX;
use crate::within;

const MAGIC: [u8; 4] = *b"SHRD";
const HEADER_BYTES: usize = 20;

/// A decoded shard.
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    examples: usize,
    features: usize,
    columns: usize,
    rows: LentRows,
    targets: TargetData,
    nonzeros: Option<NonZeros>,
}

#[derive(Debug, Clone, PartialEq)]
enum TargetData {
    Classes(Vec<u16>),
    Numbers(Vec<f32>),
}

/// Values that somebody has in memory.
pub type Values<T> = Arc<dyn AsRef<[T]> + Send + Sync>;

/// Some of the values that somebody has in memory.
#[derive(Clone)]
pub struct Lent<T> {
    all: Values<T>,
    range: Range<usize>,
}

impl<T> Lent<T> {
    /// These of the values; `None` if there are fewer.
    pub fn new(all: Values<T>, range: Range<usize>) -> Option<Self> {
        (*all).as_ref().get(range.clone())?;
        Some(Self { all, range })
    }

    fn values(&self) -> &[T] {
        &(*self.all).as_ref()[self.range.clone()]
    }
}

impl<T: PartialEq> PartialEq for Lent<T> {
    fn eq(&self, other: &Self) -> bool {
        self.values() == other.values()
    }
}

impl<T: fmt::Debug> fmt::Debug for Lent<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values().fmt(formatter)
    }
}

/// Rows of a shard that are in memory already, example by example.
#[derive(Debug, Clone, PartialEq)]
pub enum LentRows {
    /// Bytes.
    U8(Lent<u8>),
    /// Numbers.
    F32(Lent<f32>),
}

/// The floats among a shard's bytes, read where they are.
struct FloatsIn {
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl AsRef<[f32]> for FloatsIn {
    fn as_ref(&self) -> &[f32] {
        <[f32]>::ref_from_bytes(&self.bytes[self.range.clone()]).unwrap_or_default()
    }
}

impl Shard {
    /// Decodes a shard whose hash has been checked.
    ///
    /// # Errors
    /// If the bytes are not a shard, or it does not have `features` columns and targets that suit `task`.
    pub fn decode(bytes: &[u8], features: usize, task: Task) -> Result<Shard, DecodeError> {
        Self::decode_in_place(Arc::new(bytes.to_vec()), features, task)
    }

    /// The same without a copy of the rows, which stay among the bytes.
    ///
    /// # Errors
    /// As [`Shard::decode`].
    pub fn decode_in_place(encoded: Arc<Vec<u8>>, features: usize, task: Task) -> Result<Shard, DecodeError> {
        let bytes = encoded.as_slice();
        within("a shard's size", bytes.len() as u64, SHARD_BYTES_MAX as u64)?;
        let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(DecodeError::Truncated)?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (examples, found, columns) = (word(8) as usize, word(12) as usize, word(16) as usize);
        let columns_due = match task {
            Task::Classes(_) => 1,
            Task::Numbers(columns) => columns as usize,
        };
        if header[..4] != MAGIC || header[6..8] != [0, 0] || found != features || columns != columns_due {
            return Err(DecodeError::Malformed);
        }
        let cells = examples.checked_mul(features).ok_or(DecodeError::Truncated)?;
        let (rows, rest) = match header[4] {
            0 => {
                let rest = body.get(cells..).ok_or(DecodeError::Truncated)?;
                let range = HEADER_BYTES..HEADER_BYTES + cells;
                let all: Values<u8> = encoded.clone();
                (LentRows::U8(Lent { all, range }), rest)
            }
            1 => {
                let length = cells.checked_mul(4).ok_or(DecodeError::Truncated)?;
                let rest = body.get(length..).ok_or(DecodeError::Truncated)?;
                let range = HEADER_BYTES..HEADER_BYTES + length;
                let all = floats_in(&encoded, range);
                (LentRows::F32(Lent { all, range: 0..cells }), rest)
            }
            other => return Err(DecodeError::UnknownKind(other)),
        };
        let cells = examples.checked_mul(columns).ok_or(DecodeError::Truncated)?;
        let (targets, rest) = match (header[5], task) {
            (0, Task::Classes(classes)) => {
                let length = cells.checked_mul(2).ok_or(DecodeError::Truncated)?;
                let (raw, rest) = rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
                let ids: Vec<u16> = raw.as_chunks().0.iter().map(|id| u16::from_le_bytes(*id)).collect();
                if ids.iter().any(|id| u32::from(*id) >= classes) {
                    return Err(DecodeError::Malformed);
                }
                (TargetData::Classes(ids), rest)
            }
            (1, Task::Numbers(_)) => {
                let (values, rest) = split_f32(rest, cells)?;
                (TargetData::Numbers(values), rest)
            }
            _ => return Err(DecodeError::Malformed),
        };
        if !rest.is_empty() {
            return Err(DecodeError::TrailingBytes(rest.len()));
        }
        Ok(Shard { examples, features, columns, rows, targets, nonzeros: None })
    }

    /// A shard of rows that are in memory, example by example, with a copy of their targets; `None` if the numbers of
    /// examples differ.
    pub fn lent(rows: LentRows, features: usize, targets: &Targets<'_>) -> Option<Shard> {
        let (targets, examples, columns) = match targets {
            Targets::Classes(ids) => (TargetData::Classes(ids.to_vec()), ids.len(), 1),
            Targets::Numbers(values) => {
                (TargetData::Numbers(values.iter().copied().collect()), values.nrows(), values.ncols())
            }
        };
        let cells = match &rows {
            LentRows::U8(values) => values.range.len(),
            LentRows::F32(values) => values.range.len(),
        };
        let fits = examples.checked_mul(features) == Some(cells);
        fits.then_some(Shard { examples, features, columns, rows, targets, nonzeros: None })
    }

    /// Whether the shard has examples of so many features, with targets that suit `task`.
    pub fn suits(&self, features: usize, task: Task) -> bool {
        let targets = match (&self.targets, task) {
            (TargetData::Classes(ids), Task::Classes(classes)) => {
                ids.iter().all(|id| u32::from(*id) < classes)
            }
            (TargetData::Numbers(_), Task::Numbers(columns)) => self.columns == columns as usize,
            _ => false,
        };
        targets && self.features == features
    }

    /// Lists the inputs that are not zero after `preprocessing`, so that computations can leave out the
    /// zeros. From then on, [`Shard::slice`] must get the same `preprocessing`.
    ///
    /// # Panics
    /// If `preprocessing` has another number of features.
    pub fn find_zeros(&mut self, preprocessing: &Preprocessing) {
        self.nonzeros = self.rows().and_then(|rows| NonZeros::of(&rows, preprocessing));
    }

    fn rows(&self) -> Option<Rows<'_>> {
        let shape = (self.examples, self.features);
        Some(match &self.rows {
            LentRows::U8(values) => Rows::U8(ArrayView2::from_shape(shape, values.values()).ok()?),
            LentRows::F32(values) => Rows::F32(ArrayView2::from_shape(shape, values.values()).ok()?),
        })
    }

    /// The number of examples.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// Bytes of memory that the decoded shard takes, with its rows if these are its own.
    pub fn bytes(&self) -> usize {
        let rows = match &self.rows {
            LentRows::U8(values) => values.range.len(),
            LentRows::F32(values) => 4 * values.range.len(),
        };
        let targets = match &self.targets {
            TargetData::Classes(ids) => 2 * ids.len(),
            TargetData::Numbers(values) => 4 * values.len(),
        };
        rows + targets + self.nonzeros.as_ref().map_or(0, NonZeros::bytes)
    }

    /// The examples in `range`, counted from the shard's first; `None` if the shard does not have all of
    /// them.
    pub fn slice<'a>(
        &'a self,
        range: Range<usize>,
        preprocessing: &'a Preprocessing,
    ) -> Option<Examples<'a>> {
        if range.start > range.end || range.end > self.examples {
            return None;
        }
        let window = Slice::from(range.clone());
        let rows = match self.rows()? {
            Rows::U8(rows) => Rows::U8(rows.slice_axis_move(Axis(0), window)),
            Rows::F32(rows) => Rows::F32(rows.slice_axis_move(Axis(0), window)),
        };
        let nonzeros = self.nonzeros.as_ref().map(|nonzeros| nonzeros.rows(range.clone()));
        let targets = match &self.targets {
            TargetData::Classes(ids) => Targets::Classes(ids.get(range)?),
            TargetData::Numbers(values) => Targets::Numbers(
                ArrayView2::from_shape((self.examples, self.columns), values)
                    .ok()?
                    .slice_axis_move(Axis(0), window),
            ),
        };
        Some(Examples { features: Features { nonzeros, ..Features::new(rows, preprocessing) }, targets })
    }
}

/// Encodes a shard of these examples. The rows must be in standard layout, one after the other.
///
/// # Panics
/// If a count is 2^32 or more.
pub fn encode(rows: &Rows<'_>, targets: &Targets<'_>) -> Vec<u8> {
    let (row_kind, (examples, features)) = match rows {
        Rows::U8(rows) => (0, rows.dim()),
        Rows::F32(rows) => (1, rows.dim()),
    };
    let (target_kind, columns) = match targets {
        Targets::Classes(_) => (0, 1),
        Targets::Numbers(values) => (1, values.ncols()),
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend([row_kind, target_kind, 0, 0]);
    for count in [examples, features, columns] {
        bytes.extend(u32::try_from(count).expect("a shard is far smaller than this").to_le_bytes());
    }
    match rows {
        Rows::U8(rows) => bytes.extend(rows.iter()),
        Rows::F32(rows) => bytes.extend(rows.iter().flat_map(|value| value.to_le_bytes())),
    }
    match targets {
        Targets::Classes(ids) => bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes())),
        Targets::Numbers(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
    }
    bytes
}

/// The floats in a range of a shard's bytes: where they are, or a copy if they do not lie there as floats must.
fn floats_in(bytes: &Arc<Vec<u8>>, range: Range<usize>) -> Values<f32> {
    let raw = &bytes[range.clone()];
    if cfg!(target_endian = "little") && <[f32]>::ref_from_bytes(raw).is_ok() {
        return Arc::new(FloatsIn { bytes: Arc::clone(bytes), range });
    }
    Arc::new(floats(raw))
}

fn split_f32(bytes: &[u8], count: usize) -> Result<(Vec<f32>, &[u8]), DecodeError> {
    let length = count.checked_mul(4).ok_or(DecodeError::Truncated)?;
    let (raw, rest) = bytes.split_at_checked(length).ok_or(DecodeError::Truncated)?;
    Ok((floats(raw), rest))
}

fn floats(raw: &[u8]) -> Vec<f32> {
    raw.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn u8_rows_stay_one_byte_and_come_back() {
        let rows = array![[1u8, 2, 3], [250, 0, 7]];
        let bytes = encode(&Rows::U8(rows.view()), &Targets::Classes(&[4, 0]));
        assert_eq!(bytes.len(), HEADER_BYTES + 6 + 4);
        let shard = Shard::decode(&bytes, 3, Task::Classes(5)).unwrap();
        let preprocessing = Preprocessing::identity(3);
        let examples = shard.slice(1..2, &preprocessing).unwrap();
        assert!(matches!(examples.features.rows, Rows::U8(view) if view == array![[250u8, 0, 7]]));
        assert!(matches!(examples.targets, Targets::Classes([0])));
        assert!(shard.slice(1..3, &preprocessing).is_none());
        assert!(examples.features.nonzeros.is_none());
        let mut shard = shard;
        shard.find_zeros(&Preprocessing::uniform(3, 0.0, 0.5));
        assert!(shard.slice(1..2, &preprocessing).unwrap().features.nonzeros.is_none(), "too few zeros");
        shard.find_zeros(&Preprocessing::uniform(3, 3.0, 0.0));
        assert!(shard.slice(1..2, &preprocessing).unwrap().features.nonzeros.is_some());
    }

    #[test]
    fn a_class_the_task_does_not_have_is_refused() {
        let rows = array![[1u8]];
        let bytes = encode(&Rows::U8(rows.view()), &Targets::Classes(&[5]));
        assert_eq!(Shard::decode(&bytes, 1, Task::Classes(5)), Err(DecodeError::Malformed));
        assert!(Shard::decode(&bytes, 1, Task::Classes(6)).is_ok());
        assert_eq!(Shard::decode(&bytes, 2, Task::Classes(6)), Err(DecodeError::Malformed));
    }

    #[test]
    fn numbers_come_back_and_cuts_are_refused() {
        let rows = array![[0.5f32, -1.0], [3.0, 1e-40]];
        let targets = array![[1.0f32], [2.0]];
        let bytes = encode(&Rows::F32(rows.view()), &Targets::Numbers(targets.view()));
        let shard = Shard::decode(&bytes, 2, Task::Numbers(1)).unwrap();
        let preprocessing = Preprocessing::identity(2);
        let examples = shard.slice(0..2, &preprocessing).unwrap();
        assert!(matches!(examples.features.rows, Rows::F32(view) if view == rows));
        for end in 0..bytes.len() {
            assert!(Shard::decode(&bytes[..end], 2, Task::Numbers(1)).is_err());
        }
    }

    #[test]
    fn a_shard_of_lent_rows_is_the_one_that_its_bytes_give() {
        let all: Arc<Vec<f32>> = Arc::new((0..12).map(|value| value as f32).collect());
        let rows = ArrayView2::from_shape((2, 3), &all[3..9]).unwrap();
        let targets = Targets::Classes(&[1, 0]);
        let decoded = Shard::decode(&encode(&Rows::F32(rows), &targets), 3, Task::Classes(2)).unwrap();
        let lent = |range| Lent::new(all.clone(), range).map(LentRows::F32);
        let shard = Shard::lent(lent(3..9).unwrap(), 3, &targets).unwrap();
        assert_eq!(shard, decoded);
        assert!(shard.suits(3, Task::Classes(2)) && !shard.suits(2, Task::Classes(2)));
        assert!(!shard.suits(3, Task::Classes(1)) && !shard.suits(3, Task::Numbers(1)));
        assert!(lent(3..13).is_none());
        assert!(Shard::lent(lent(3..8).unwrap(), 3, &targets).is_none());
    }

    /// An allocation begins where any type may, but its part need not.
    #[test]
    fn floats_are_read_wherever_their_bytes_lie() {
        let numbers = [0.5f32, -1.0, 3.0, 1e-40];
        for before in 0..4 {
            let mut bytes = vec![0; before];
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            let range = before..bytes.len();
            let floats = floats_in(&Arc::new(bytes), range);
            assert_eq!((*floats).as_ref(), numbers);
        }
    }

    proptest! {
        #[test]
        fn any_header_is_decoded_or_refused(header in proptest::collection::vec(any::<u8>(), 16), tail in proptest::collection::vec(any::<u8>(), 0..64)) {
            let bytes = [MAGIC.to_vec(), header, tail].concat();
            let _ = Shard::decode(&bytes, 2, Task::Classes(3));
        }
    }
}
