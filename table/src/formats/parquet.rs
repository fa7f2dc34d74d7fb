//! Parquet, column by column in parallel, without a detour over Arrow.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType},
    errors::ParquetError,
    file::metadata::KeyValue,
    file::reader::{ChunkReader, FileReader, Length, SerializedFileReader},
    schema::types::ColumnDescriptor,
};
use rayon::prelude::*;

use crate::{
    Scratch, TableError, Texts,
    column::MISSING_CODE,
    limits,
    memory::{MemoryTable, NO_INTEGER, RAW_BYTES, Raw, as_integers},
    numbers::Numbers,
    scratch::columns_at_once,
    source::DataFile,
};

const DAY: f64 = 86_400.0;
/// Values that are decoded at a time: few enough to stay in the cache.
const BATCH: usize = 16 << 10;

/// Reads a whole file; with `scratch`, some columns at a time, which are kept there.
pub(super) fn read(file: &DataFile, scratch: Option<&Scratch>) -> Result<MemoryTable, TableError> {
    let damaged = |error: String| TableError::Format {
        path: file.path.clone(),
        problem: format!("it is a damaged Parquet file ({error}); write it again"),
    };
    // The library answers most damaged files with an error; for the others it has assertions.
    let result = catch_unwind(AssertUnwindSafe(|| match file.on_disk() {
        Some(plain) => columns(&SerializedFileReader::new(Positioned::new(plain)?)?, scratch),
        None => {
            let bytes = file
                .whole(limits::FILE_BYTES_MAX)
                .map_err(|error| ParquetError::External(Box::new(error)))?;
            columns(&SerializedFileReader::new(Bytes::from(bytes))?, scratch)
        }
    }));
    let (names, rows, columns) = match result {
        Ok(Ok(read)) => read,
        Ok(Err(ParquetError::External(error))) => match error.downcast::<TableError>() {
            Ok(error) => return Err(*error),
            Err(error) => return Err(damaged(error.to_string())),
        },
        Ok(Err(error)) => return Err(damaged(error.to_string())),
        Err(_) => return Err(damaged("its pages contradict each other".to_owned())),
    };
    if rows == 0 {
        return Err(TableError::Empty { path: file.path.clone() });
    }
    Ok(MemoryTable { path: file.path.clone(), names: Some(names), rows, columns, scratch: scratch.cloned() })
}

/// A file that threads read in different places at once: a clone of a [`File`] shares its position.
struct Positioned {
    file: Arc<File>,
    bytes: u64,
}

impl Positioned {
    fn new(file: File) -> std::io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), bytes })
    }
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Positioned {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(From { file: Arc::clone(&self.file), position: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.saturating_add(length as u64) > self.bytes {
            return Err(ParquetError::EOF("it is cut short".to_owned()));
        }
        let mut bytes = vec![0; length];
        From { file: Arc::clone(&self.file), position: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// The bytes of a file from a position on.
struct From {
    file: Arc<File>,
    position: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        #[cfg(unix)]
        let count = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.position)?;
        #[cfg(windows)]
        let count = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

type Columns = (Vec<String>, usize, Vec<Raw>);

fn columns<R: FileReader + Sync>(reader: &R, scratch: Option<&Scratch>) -> Result<Columns, ParquetError> {
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(usize::MAX);
    let width = schema.num_columns();
    if rows > limits::EXAMPLES_MAX
        || width > limits::COLUMNS_MAX
        || (rows.saturating_mul(width) > limits::VALUES_MAX && scratch.is_none())
    {
        return Err(ParquetError::General(format!(
            "{rows} rows of {width} columns are more than Shoal takes; take a part of them"
        )));
    }
    let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    let column = |index: usize| {
        let descriptor = schema.column(index);
        if descriptor.max_rep_level() > 0 {
            return Ok(Raw::Other);
        }
        let mut column = Column::new(&descriptor);
        for group in 0..metadata.num_row_groups() {
            column.read(reader.get_row_group(group)?.get_column_reader(index)?, &descriptor)?;
        }
        let raw = column.into_raw();
        match (raw.len(), scratch) {
            (Some(len), _) if len != rows => {
                Err(ParquetError::General(format!("column {} has {len} of {rows} values", index + 1)))
            }
            (_, Some(scratch)) => {
                raw.spilled(scratch).map_err(|error| ParquetError::External(Box::new(error)))
            }
            (_, None) => Ok(raw),
        }
    };
    let at_once = scratch.map_or(width.max(1), |_| columns_at_once(rows, RAW_BYTES));
    let mut columns = Vec::with_capacity(width);
    for first in (0..width).step_by(at_once) {
        let some: Result<Vec<Raw>, ParquetError> =
            (first..width.min(first + at_once)).into_par_iter().map(column).collect();
        columns.extend(some?);
    }
    // Behind the other columns, where pandas writes it, an index would be taken for the label.
    let index = pandas_index(metadata.file_metadata().key_value_metadata());
    let (first, rest): (Vec<_>, Vec<_>) =
        names.into_iter().zip(columns).partition(|(name, _)| index.contains(name));
    let (names, columns) = first.into_iter().chain(rest).unzip();
    Ok((names, rows, columns))
}

/// The columns that pandas wrote the index of a table to, by name.
fn pandas_index(metadata: Option<&Vec<KeyValue>>) -> Vec<String> {
    let noted = metadata.into_iter().flatten().find(|noted| noted.key == "pandas");
    let noted = noted.and_then(|noted| serde_json::from_str(noted.value.as_deref()?).ok());
    let columns = noted.as_ref().and_then(|noted: &serde_json::Value| noted.get("index_columns")?.as_array());
    columns.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

impl Raw {
    fn len(&self) -> Option<usize> {
        match self {
            Self::Numbers(values) | Self::Booleans(values) | Self::Moments(values) => Some(values.len()),
            Self::Integers(values) => Some(values.len()),
            Self::Texts(texts) => Some(texts.len()),
            Self::ManyTexts | Self::Other | Self::Spilled(_) => None,
        }
    }
}

/// What the numbers of a column mean.
#[derive(Clone, Copy)]
enum Meaning {
    Number,
    /// To be divided by this power of ten.
    Decimal(f64),
    /// Times of so many seconds.
    Time(f64),
    Unsigned,
    Text,
}

struct Column {
    meaning: Meaning,
    boolean: bool,
    numbers: Numbers,
    /// In the place of `numbers` from the first value on that no f64 holds.
    integers: Option<Vec<i128>>,
    texts: TextsReader,
}

#[derive(Default)]
struct TextsReader {
    codes: Vec<u32>,
    code_of: HashMap<Vec<u8>, u32>,
    texts: Vec<String>,
    bytes: usize,
    too_many: bool,
}

impl Column {
    fn new(descriptor: &ColumnDescriptor) -> Self {
        let physical = descriptor.physical_type();
        let meaning = meaning(descriptor);
        Self {
            meaning,
            boolean: physical == Physical::BOOLEAN,
            numbers: Numbers::new(),
            integers: None,
            texts: TextsReader::default(),
        }
    }

    fn read(&mut self, reader: ColumnReader, descriptor: &ColumnDescriptor) -> Result<(), ParquetError> {
        let levels = descriptor.max_def_level();
        let meaning = self.meaning;
        match reader {
            ColumnReader::BoolColumnReader(reader) => {
                self.numbers(reader, levels, |&value| f64::from(u8::from(value)))
            }
            ColumnReader::Int32ColumnReader(reader) => self.numbers(reader, levels, |&value| match meaning {
                Meaning::Unsigned => f64::from(value as u32),
                meaning => meaning.of(f64::from(value)),
            }),
            ColumnReader::Int64ColumnReader(reader) => self.integers(reader, levels),
            ColumnReader::Int96ColumnReader(reader) => {
                self.numbers(reader, levels, |value| value.to_nanos() as f64 / 1e9)
            }
            ColumnReader::FloatColumnReader(reader) => {
                self.numbers(reader, levels, |&value| f64::from(value))
            }
            ColumnReader::DoubleColumnReader(reader) => self.numbers(reader, levels, |&value| value),
            ColumnReader::ByteArrayColumnReader(reader) => match meaning {
                Meaning::Text => self.texts(reader, levels),
                meaning => {
                    self.numbers(reader, levels, |value: &ByteArray| meaning.of(big_endian(value.data())))
                }
            },
            ColumnReader::FixedLenByteArrayColumnReader(reader) => match meaning {
                Meaning::Text => self.texts(reader, levels),
                Meaning::Decimal(_) => {
                    self.numbers(reader, levels, |value| meaning.of(big_endian(value.data())))
                }
                _ => self.numbers(reader, levels, |value| match *value.data() {
                    [low, high] => half::f16::from_le_bytes([low, high]).to_f64(),
                    _ => f64::NAN,
                }),
            },
        }
    }

    fn numbers<T: DataType>(
        &mut self,
        reader: ColumnReaderImpl<T>,
        levels: i16,
        number: impl Fn(&T::T) -> f64,
    ) -> Result<(), ParquetError> {
        let target = &mut self.numbers;
        let mut batch = Vec::with_capacity(BATCH);
        each_batch(reader, levels, |values, present| {
            batch.clear();
            match present {
                None => batch.extend(values.iter().map(&number)),
                Some(present) => {
                    let mut values = values.iter();
                    batch.extend(present.iter().map(|&level| {
                        if level == levels { values.next().map_or(f64::NAN, &number) } else { f64::NAN }
                    }));
                }
            }
            target.extend(&batch);
            Ok(())
        })
    }

    fn integers(
        &mut self,
        reader: ColumnReaderImpl<parquet::data_type::Int64Type>,
        levels: i16,
    ) -> Result<(), ParquetError> {
        let integer: fn(i64) -> i128 = match self.meaning {
            Meaning::Unsigned => |value| i128::from(value as u64),
            Meaning::Number => i128::from,
            meaning => return self.numbers(reader, levels, |&value| meaning.of(value as f64)),
        };
        let mut batch = Vec::with_capacity(BATCH);
        each_batch(reader, levels, |values, present| {
            let is_exact = values.iter().all(|&value| integer(value).abs() <= 1 << 53);
            if self.integers.is_none() && !is_exact {
                let numbers = std::mem::take(&mut self.numbers);
                self.integers = Some(as_integers(&numbers));
            }
            let mut values = values.iter().map(|&value| integer(value));
            match (&mut self.integers, present) {
                (None, None) => {
                    batch.clear();
                    batch.extend(values.map(|value| value as f64));
                    self.numbers.extend(&batch);
                }
                (Some(integers), None) => integers.extend(values),
                (None, Some(present)) => {
                    batch.clear();
                    batch.extend(present.iter().map(|&level| {
                        let value = if level == levels { values.next() } else { None };
                        value.map_or(f64::NAN, |value| value as f64)
                    }));
                    self.numbers.extend(&batch);
                }
                (Some(integers), Some(present)) => integers.extend(present.iter().map(|&level| {
                    let value = if level == levels { values.next() } else { None };
                    value.unwrap_or(NO_INTEGER)
                })),
            }
            Ok(())
        })
    }

    fn texts<T: DataType>(&mut self, reader: ColumnReaderImpl<T>, levels: i16) -> Result<(), ParquetError>
    where
        T::T: AsRef<[u8]>,
    {
        let target = &mut self.texts;
        each_batch(reader, levels, |values, present| {
            match present {
                None => values.iter().for_each(|value| target.push(Some(value.as_ref()))),
                Some(present) => {
                    let mut values = values.iter();
                    for &level in present {
                        target.push(if level == levels { values.next().map(AsRef::as_ref) } else { None });
                    }
                }
            }
            Ok(())
        })
    }

    fn into_raw(self) -> Raw {
        match self.meaning {
            Meaning::Text if self.texts.too_many => Raw::ManyTexts,
            Meaning::Text => Raw::Texts(Texts::new(self.texts.codes, self.texts.texts, Vec::new())),
            Meaning::Time(_) => Raw::Moments(self.numbers),
            _ if self.boolean => Raw::Booleans(self.numbers),
            _ => match self.integers {
                Some(integers) => Raw::Integers(integers),
                None => Raw::Numbers(self.numbers),
            },
        }
    }
}

impl TextsReader {
    fn push(&mut self, text: Option<&[u8]>) {
        if self.too_many {
            return;
        }
        let Some(text) = text else {
            self.codes.push(MISSING_CODE);
            return;
        };
        if let Some(&code) = self.code_of.get(text) {
            self.codes.push(code);
            return;
        }
        self.bytes += text.len();
        if self.texts.len() == limits::TEXTS_MAX || self.bytes > limits::DICTIONARY_BYTES_MAX {
            *self = Self { too_many: true, ..Self::default() };
            return;
        }
        let code = self.texts.len() as u32;
        self.code_of.insert(text.to_vec(), code);
        self.texts.push(String::from_utf8_lossy(text).into_owned());
        self.codes.push(code);
    }
}

/// Hands over values and, where cells may be missing, a level for each cell.
fn each_batch<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    levels: i16,
    mut take: impl FnMut(&[T::T], Option<&[i16]>) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let mut values = Vec::with_capacity(BATCH);
    let mut present = Vec::with_capacity(if levels > 0 { BATCH } else { 0 });
    loop {
        values.clear();
        present.clear();
        let wanted = if levels > 0 { Some(&mut present) } else { None };
        let (records, _, _) = reader.read_records(BATCH, wanted, None, &mut values)?;
        if records == 0 {
            return Ok(());
        }
        take(&values, (levels > 0).then_some(present.as_slice()))?;
    }
}

impl Meaning {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Decimal(scale) => value / scale,
            Self::Time(seconds) => value * seconds,
            _ => value,
        }
    }
}

/// The nearest f64, on every machine: the platform's powers differ in their last bits.
fn power_of_ten(exponent: i32) -> f64 {
    format!("1e{exponent}").parse().unwrap_or(f64::NAN)
}

fn meaning(descriptor: &ColumnDescriptor) -> Meaning {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => 1e-3,
        TimeUnit::MICROS => 1e-6,
        TimeUnit::NANOS => 1e-9,
    };
    match descriptor.logical_type_ref() {
        Some(LogicalType::Date) => return Meaning::Time(DAY),
        Some(LogicalType::Timestamp(kind)) => return Meaning::Time(unit(&kind.unit)),
        Some(LogicalType::Time(kind)) => return Meaning::Time(unit(&kind.unit)),
        Some(LogicalType::Decimal(kind)) => return Meaning::Decimal(power_of_ten(kind.scale)),
        Some(LogicalType::Integer(kind)) if !kind.is_signed => return Meaning::Unsigned,
        Some(LogicalType::Float16) => return Meaning::Number,
        _ => {}
    }
    match descriptor.converted_type() {
        ConvertedType::DATE => return Meaning::Time(DAY),
        ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIME_MILLIS => return Meaning::Time(1e-3),
        ConvertedType::TIMESTAMP_MICROS | ConvertedType::TIME_MICROS => return Meaning::Time(1e-6),
        ConvertedType::DECIMAL => return Meaning::Decimal(power_of_ten(descriptor.type_scale())),
        ConvertedType::UINT_32 | ConvertedType::UINT_64 => return Meaning::Unsigned,
        _ => {}
    }
    match descriptor.physical_type() {
        Physical::INT96 => Meaning::Time(1.0),
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => Meaning::Text,
        _ => Meaning::Number,
    }
}

/// A decimal's digits: an integer of any length, in two's complement.
fn big_endian(bytes: &[u8]) -> f64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let size =
        bytes.iter().fold(0.0, |size, &byte| size * 256.0 + f64::from(if negative { !byte } else { byte }));
    if negative { -size - 1.0 } else { size }
}
