//! NPY and NPZ, NumPy's formats: a header in Python's notation, then the values. Arrays of objects, which are
//! pickled programs, are refused.

use std::{io::Read, path::Path};

use super::{Examples, Found};
use crate::{
    PixelScaling, PixelValues, Pixels, TableError, Texts, limits,
    memory::{MemoryTable, Raw},
    numbers::Numbers,
    source::DataFile,
};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// Whether a zip archive's first member is an array.
pub(super) fn is_npz(head: &[u8]) -> bool {
    const NAME_START: usize = 30;
    let length = head.get(26..28).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    head.get(NAME_START..NAME_START + length).is_some_and(|name| name.ends_with(b".npy"))
}

/// Bytes of an array that are turned into columns at a time.
const BLOCK_BYTES: usize = 4 << 20;
/// Bytes of a header. NumPy itself reads 10,000 unless it is told otherwise.
const HEADER_BYTES_MAX: u32 = 1 << 20;

struct Array {
    shape: Vec<usize>,
    values: ArrayValues,
}

enum ArrayValues {
    /// Numbers of at most two dimensions, as columns.
    Columns(Vec<Raw>),
    /// Bytes of more dimensions.
    U8(Vec<u8>),
    /// Other numbers of more dimensions; infinite where 32 bits do not hold one.
    F32(Vec<f32>),
    Texts(Vec<String>),
}

/// Some values of an array.
enum Block {
    U8(Vec<u8>),
    Booleans(Vec<f64>),
    F64(Vec<f64>),
    /// Some of which no f64 holds.
    Integers(Vec<i128>),
    Texts(Vec<String>),
}

/// A file with one array: a table without names, or images without labels.
pub(super) fn read_npy(file: &DataFile) -> Result<Found, TableError> {
    let array = Array::read(&mut file.open()?).map_err(|problem| wrong(&file.path, problem))?;
    match array.shape.len() {
        0 | 1 => Err(wrong(&file.path, "its array has one dimension; rows of columns are needed".to_owned())),
        2 => Ok(Found::Columns { train: array.into_table(&file.path, None)?, test: None }),
        _ => Ok(Found::Examples { train: array.into_examples(&file.path, None)?, test: None }),
    }
}

/// Names of arrays, as the data sets that are passed around have them; the first that is there counts.
const TRAIN: [&str; 12] = [
    "x_train",
    "X_train",
    "train_images",
    "train_x",
    "train_data",
    "x",
    "X",
    "data",
    "images",
    "features",
    "inputs",
    "arr_0",
];
const TRAIN_LABELS: [&str; 9] =
    ["y_train", "train_labels", "train_y", "y", "labels", "label", "target", "targets", "arr_1"];
const TEST: [&str; 5] = ["x_test", "X_test", "test_images", "test_x", "test_data"];
const TEST_LABELS: [&str; 3] = ["y_test", "test_labels", "test_y"];

/// An archive of arrays: features and labels, perhaps a test part.
pub(super) fn read_npz(file: &DataFile) -> Result<Found, TableError> {
    let refuse = |problem: String| wrong(&file.path, problem);
    let mut archive = zip::ZipArchive::new(file.seekable(limits::FILE_BYTES_MAX)?)
        .map_err(|error| refuse(format!("it is a damaged archive ({error}); write it again")))?;
    let mut names: Vec<String> =
        archive.file_names().filter_map(|name| Some(name.ok()?.strip_suffix(".npy")?.to_owned())).collect();
    names.sort();
    let mut take = |wanted: &[&str]| -> Result<Option<Array>, TableError> {
        let Some(name) = wanted.iter().find(|name| names.iter().any(|other| other == *name)) else {
            return Ok(None);
        };
        let damaged = |problem: String| wrong(&file.path, format!("its array {name}: {problem}"));
        let member = archive
            .by_name(&format!("{name}.npy"))
            .map_err(|error| damaged(format!("it is damaged ({error}); write the file again")))?;
        Array::read(&mut member.take(limits::FILE_BYTES_MAX)).map(Some).map_err(damaged)
    };
    let (train, train_labels) = (take(&TRAIN)?, take(&TRAIN_LABELS)?);
    let (test, test_labels) = (take(&TEST)?, take(&TEST_LABELS)?);
    let Some(train) = train else {
        return Err(refuse(format!(
            "its arrays are {}; call the examples X or x_train and the labels y or y_train",
            crate::error::listed(&names)
        )));
    };
    if train.shape.len() < 2 {
        return Err(refuse("the examples' array has one dimension; rows of columns are needed".to_owned()));
    }
    if train.shape.len() == 2 {
        let test = test.map(|test| test.into_table(&file.path, test_labels)).transpose()?;
        return Ok(Found::Columns { train: train.into_table(&file.path, train_labels)?, test });
    }
    let test = test.map(|test| test.into_examples(&file.path, test_labels)).transpose()?;
    Ok(Found::Examples { train: train.into_examples(&file.path, train_labels)?, test })
}

fn wrong(path: &Path, problem: String) -> TableError {
    TableError::Format { path: path.to_owned(), problem }
}

impl Array {
    fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// The array that a file holds, in C order; else what is wrong with it. Whatever the header says, memory is only
    /// taken for what is there.
    fn read(file: &mut impl Read) -> Result<Self, String> {
        let cut = || "it is cut short; write it again".to_owned();
        let mut start = [0; 10];
        file.read_exact(&mut start).map_err(|error| unread(&error))?;
        let version = start.strip_prefix(MAGIC).and_then(|rest| rest.first()).ok_or_else(cut)?;
        let mut length = u32::from(u16::from_le_bytes([start[8], start[9]]));
        match version {
            1 => {}
            2 | 3 => {
                let mut more = [0; 2];
                file.read_exact(&mut more).map_err(|error| unread(&error))?;
                length = u32::from_le_bytes([start[8], start[9], more[0], more[1]]);
            }
            other => {
                return Err(format!("it is of version {other} of the format; save it again with numpy.save"));
            }
        }
        if length > HEADER_BYTES_MAX {
            return Err("its header is too long; save a plain array".to_owned());
        }
        let mut header = Vec::new();
        file.by_ref().take(length.into()).read_to_end(&mut header).map_err(|error| unread(&error))?;
        if header.len() < length as usize {
            return Err(cut());
        }
        let header =
            std::str::from_utf8(&header).map_err(|_| "its header is damaged; write it again".to_owned())?;
        let (descr, fortran, shape) = header_of(header).ok_or_else(|| {
            format!("its header cannot be understood: {:?}; save a plain array", header.trim())
        })?;
        let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        let count = count.filter(|&count| {
            count <= limits::VALUES_MAX && shape.first().is_none_or(|&rows| rows <= limits::EXAMPLES_MAX)
        });
        let count = count.ok_or_else(|| {
            format!("it has more than {} values, the most Shoal takes; take a part of it", limits::VALUES_MAX)
        })?;
        if count == 0 {
            return Err("it has no values; is it the right file?".to_owned());
        }
        let element = Element::of(&descr)?;
        let values = match (&shape[..], element.is_number()) {
            (_, false) => {
                let mut bytes = Vec::new();
                let needed = element.bytes.checked_mul(count).ok_or_else(cut)?;
                file.take(needed as u64).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
                if bytes.len() < needed {
                    return Err(cut());
                }
                match values_of(element, &bytes) {
                    Block::Texts(texts) => ArrayValues::Texts(texts),
                    _ => unreachable!("the values are no numbers"),
                }
            }
            ([] | [_], true) => ArrayValues::Columns(columns(file, element, false, (count, 1))?),
            // They are refused once it is clear what they are.
            ([_, width], true) if *width > limits::COLUMNS_MAX => ArrayValues::Columns(Vec::new()),
            ([rows, width], true) => ArrayValues::Columns(columns(file, element, fortran, (*rows, *width))?),
            (_, true) => values(file, element, count)?,
        };
        let values = if fortran && shape.len() > 1 { values.rows_first(&shape) } else { values };
        Ok(Self { shape, values })
    }

    /// Two dimensions as columns; labels are the last of them.
    fn into_table(self, path: &Path, labels: Option<Self>) -> Result<MemoryTable, TableError> {
        let (rows, width) = (self.rows(), self.shape.get(1).copied().unwrap_or(0));
        if self.shape.len() != 2 {
            return Err(wrong(
                path,
                "its parts have different numbers of dimensions; save both alike".to_owned(),
            ));
        }
        if width > limits::COLUMNS_MAX {
            return Err(TableError::TooLarge {
                path: path.to_owned(),
                what: "columns",
                limit: limits::COLUMNS_MAX as u64,
            });
        }
        let mut columns = match self.values {
            ArrayValues::Columns(columns) => columns,
            ArrayValues::Texts(values) => {
                let column =
                    |column: usize| texts(values.iter().skip(column).step_by(width).map(String::as_str));
                (0..width).map(column).collect()
            }
            _ => unreachable!("numbers of two dimensions are columns"),
        };
        if let Some(labels) = labels {
            columns.push(labels.into_labels(path, rows)?);
        }
        Ok(MemoryTable { path: path.to_owned(), names: None, rows, columns, scratch: None })
    }

    fn into_labels(self, path: &Path, rows: usize) -> Result<Raw, TableError> {
        if self.rows() != rows {
            return Err(wrong(
                path,
                format!("it has {rows} examples but {} labels; they must belong together", self.rows()),
            ));
        }
        if self.shape.iter().skip(1).any(|&size| size != 1) {
            return Err(wrong(
                path,
                format!("its labels have the shape {:?}; give one label for each example", self.shape),
            ));
        }
        Ok(match self.values {
            // The shape has a single one.
            ArrayValues::Columns(mut columns) => columns.pop().unwrap_or(Raw::Numbers(Numbers::new())),
            ArrayValues::U8(values) => Raw::Numbers(values.into_iter().map(f64::from).collect()),
            ArrayValues::F32(values) => Raw::Numbers(values.into_iter().map(f64::from).collect()),
            ArrayValues::Texts(values) => texts(values.iter().map(String::as_str)),
        })
    }

    /// Three dimensions or more as images; channels that come last are put first.
    fn into_examples(self, path: &Path, labels: Option<Self>) -> Result<Examples, TableError> {
        let rows = self.rows();
        let labels = labels.map(|labels| labels.into_labels(path, rows)).transpose()?;
        let shape = self.shape[1..].to_vec();
        let (values, scaling) = match self.values {
            ArrayValues::Columns(_) => unreachable!("images have three dimensions or more"),
            ArrayValues::U8(values) => (PixelValues::U8(values), PixelScaling::Bytes),
            ArrayValues::F32(values) => {
                if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                    let width: usize = shape.iter().product();
                    return Err(wrong(
                        path,
                        format!(
                            "its example {} has a value that is not a finite number of 32 bits; correct it",
                            at / width + 1
                        ),
                    ));
                }
                (PixelValues::F32(values), PixelScaling::Common)
            }
            ArrayValues::Texts(_) => {
                return Err(wrong(path, "its examples are texts; images are numbers".to_owned()));
            }
        };
        if shape.iter().product::<usize>() > limits::COLUMNS_MAX {
            return Err(TableError::TooLarge {
                path: path.to_owned(),
                what: "values in one example",
                limit: limits::COLUMNS_MAX as u64,
            });
        }
        let pixels = Pixels { shape, values, scaling }.with_channels_first();
        Ok(Examples { path: path.to_owned(), pixels, labels, are_classes: false, notices: Vec::new() })
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Raw {
    let mut code_of = std::collections::BTreeMap::new();
    let mut texts = Vec::new();
    let codes = values
        .map(|text| {
            *code_of.entry(text.to_owned()).or_insert_with(|| {
                texts.push(text.to_owned());
                texts.len() as u32 - 1
            })
        })
        .collect();
    if texts.len() > limits::TEXTS_MAX {
        Raw::ManyTexts
    } else {
        Raw::Texts(Texts::new(codes, texts, Vec::new()))
    }
}

/// Type, order and shape of a header such as `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
fn header_of(header: &str) -> Option<(String, bool, Vec<usize>)> {
    let after = |key: &str| {
        let at = header.find(&format!("'{key}'"))?;
        header[at + key.len() + 2..].trim_start().strip_prefix(':').map(str::trim_start)
    };
    let descr = after("descr")?;
    // A list of fields begins with a bracket.
    let descr = descr.strip_prefix('\'')?.split('\'').next()?.to_owned();
    let fortran = after("fortran_order")?.starts_with("True");
    let shape = after("shape")?.strip_prefix('(')?.split(')').next()?;
    let shape: Option<Vec<usize>> = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().ok())
        .collect();
    Some((descr, fortran, shape?))
}

/// Integers of 64 bits, as f64 if these hold all of them.
fn integers(values: impl Iterator<Item = i128> + Clone) -> Block {
    if values.clone().all(|value| value.abs() <= 1 << 53) {
        Block::F64(values.map(|value| value as f64).collect())
    } else {
        Block::Integers(values.collect())
    }
}

/// The type of an array's values.
#[derive(Clone, Copy)]
struct Element {
    kind: char,
    /// The number in the type's name: bytes, or characters of a text.
    size: usize,
    /// Bytes of one value.
    bytes: usize,
    big_endian: bool,
}

impl Element {
    fn of(descr: &str) -> Result<Self, String> {
        let (order, rest) = match descr.chars().next() {
            Some(order @ ('<' | '>' | '|' | '=')) => (order, &descr[1..]),
            _ => ('=', descr),
        };
        let big_endian = order == '>' || (order == '=' && cfg!(target_endian = "big"));
        let kind = rest.chars().next().unwrap_or(' ');
        let size: usize = rest.get(1..).and_then(|size| size.parse().ok()).unwrap_or(0);
        let bytes = if kind == 'U' { size.saturating_mul(4) } else { size };
        match (kind, size) {
            ('O', _) => {
                Err("it is an array of objects, which are programs to be run; save it with a type such as \
                             float64"
                    .to_owned())
            }
            ('b', 1) | ('u' | 'i', 1 | 2 | 4 | 8) | ('f', 2 | 4 | 8) | ('S' | 'U', 1..) => {
                Ok(Self { kind, size, bytes, big_endian })
            }
            _ => Err(format!("its type {descr:?} is not read; save it as float64 or uint8")),
        }
    }

    fn is_number(self) -> bool {
        !matches!(self.kind, 'S' | 'U')
    }
}

/// Reads an array of numbers with so many rows and columns, some megabytes at a time.
fn columns(
    file: &mut impl Read,
    element: Element,
    fortran: bool,
    (rows, width): (usize, usize),
) -> Result<Vec<Raw>, String> {
    let row_bytes = width.saturating_mul(element.bytes).max(1);
    let empty = |_| match element.kind {
        'b' => Raw::Booleans(Numbers::new()),
        _ => Raw::Numbers(Numbers::new()),
    };
    let mut columns: Vec<Raw> = (0..width).map(empty).collect();
    let mut blocks = Blocks { file, element, buffer: Vec::new() };
    let mut append = |column: usize, values: Raw| columns[column].append(values).map_err(str::to_owned);
    if fortran {
        let at_once = (BLOCK_BYTES / element.bytes).max(1);
        for column in 0..width {
            for first in (0..rows).step_by(at_once) {
                let count = at_once.min(rows - first);
                append(column, blocks.next(count)?.column(0, 1))?;
            }
        }
        return Ok(columns);
    }
    let at_once = (BLOCK_BYTES / row_bytes).max(1);
    for first in (0..rows).step_by(at_once) {
        let values = blocks.next(at_once.min(rows - first) * width)?;
        for column in 0..width {
            append(column, values.column(column, width))?;
        }
    }
    Ok(columns)
}

/// Reads so many numbers of images, some megabytes at a time.
fn values(file: &mut impl Read, element: Element, count: usize) -> Result<ArrayValues, String> {
    let at_once = (BLOCK_BYTES / element.bytes).max(1);
    let counts = (0..count).step_by(at_once).map(|first| at_once.min(count - first));
    let mut blocks = Blocks { file, element, buffer: Vec::new() };
    if (element.kind, element.size) == ('u', 1) {
        let mut bytes = Vec::new();
        for count in counts {
            bytes.extend_from_slice(blocks.bytes(count)?);
        }
        return Ok(ArrayValues::U8(bytes));
    }
    let narrow = |value: f64| if value.abs() > f64::from(f32::MAX) { f32::INFINITY } else { value as f32 };
    let mut values = Vec::new();
    for count in counts {
        match blocks.next(count)? {
            Block::U8(some) => values.extend(some.into_iter().map(f32::from)),
            Block::Booleans(some) | Block::F64(some) => values.extend(some.into_iter().map(narrow)),
            Block::Integers(some) => values.extend(some.into_iter().map(|value| value as f32)),
            Block::Texts(_) => unreachable!("an array of numbers"),
        }
    }
    Ok(ArrayValues::F32(values))
}

/// The values of an array, some at a time.
struct Blocks<'a, R> {
    file: &'a mut R,
    element: Element,
    buffer: Vec<u8>,
}

impl<R: Read> Blocks<'_, R> {
    fn bytes(&mut self, count: usize) -> Result<&[u8], String> {
        self.buffer.resize(count * self.element.bytes, 0);
        self.file.read_exact(&mut self.buffer).map_err(|error| unread(&error))?;
        Ok(&self.buffer)
    }

    fn next(&mut self, count: usize) -> Result<Block, String> {
        let element = self.element;
        self.bytes(count).map(|bytes| values_of(element, bytes))
    }
}

/// Why bytes could not be read.
fn unread(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it is cut short; write it again".to_owned(),
        std::io::ErrorKind::FileTooLarge => {
            let most = limits::FILE_BYTES_MAX;
            format!("it has more than {most} bytes, the most Shoal takes; take a part of it")
        }
        _ => format!("it is damaged ({error}); write the file again"),
    }
}

/// The values that some bytes are.
fn values_of(element: Element, bytes: &[u8]) -> Block {
    let Element { kind, size, bytes: bytes_each, big_endian: big } = element;
    let each = bytes.chunks_exact(bytes_each);
    macro_rules! numbers {
        ($type:ty, $size:literal) => {
            each.map(|value| {
                let mut value: [u8; $size] = value.try_into().unwrap_or([0; $size]);
                if big {
                    value.reverse();
                }
                <$type>::from_le_bytes(value)
            })
        };
    }
    match (kind, size) {
        ('b', 1) => Block::Booleans(each.map(|value| f64::from(u8::from(value[0] != 0))).collect()),
        ('u', 1) => Block::U8(bytes.to_vec()),
        ('i', 1) => Block::F64(numbers!(i8, 1).map(f64::from).collect()),
        ('u', 2) => Block::F64(numbers!(u16, 2).map(f64::from).collect()),
        ('i', 2) => Block::F64(numbers!(i16, 2).map(f64::from).collect()),
        ('u', 4) => Block::F64(numbers!(u32, 4).map(f64::from).collect()),
        ('i', 4) => Block::F64(numbers!(i32, 4).map(f64::from).collect()),
        ('u', 8) => integers(numbers!(u64, 8).map(i128::from)),
        ('i', 8) => integers(numbers!(i64, 8).map(i128::from)),
        ('f', 2) => Block::F64(numbers!(half::f16, 2).map(f64::from).collect()),
        ('f', 4) => Block::F64(numbers!(f32, 4).map(f64::from).collect()),
        ('f', 8) => Block::F64(numbers!(f64, 8).collect()),
        ('S', _) => Block::Texts(
            each.map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()).collect(),
        ),
        ('U', _) => Block::Texts(
            each.map(|text| {
                let character = |bytes: &[u8]| {
                    let bytes = bytes.first_chunk::<4>().copied().unwrap_or_default();
                    char::from_u32(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
                };
                text.chunks_exact(4)
                    .map(|bytes| character(bytes).unwrap_or('\u{fffd}'))
                    .take_while(|&one| one != '\0')
                    .collect()
            })
            .collect(),
        ),
        _ => unreachable!("other types are refused"),
    }
}

impl Block {
    /// Every `width`-th number, from this one on.
    fn column(&self, column: usize, width: usize) -> Raw {
        fn of<T: Copy>(values: &[T], column: usize, width: usize) -> impl Iterator<Item = T> {
            values.iter().skip(column).step_by(width).copied()
        }
        match self {
            Self::U8(values) => {
                let mut numbers = Numbers::new();
                numbers.extend_bytes(of(values, column, width));
                Raw::Numbers(numbers)
            }
            Self::Booleans(values) => Raw::Booleans(of(values, column, width).collect()),
            Self::F64(values) => Raw::Numbers(of(values, column, width).collect()),
            Self::Integers(values) => Raw::of_integers(of(values, column, width).collect()),
            Self::Texts(_) => unreachable!("a block has numbers"),
        }
    }
}

impl ArrayValues {
    /// The same values with the last index fastest.
    fn rows_first(self, shape: &[usize]) -> Self {
        fn turned<T: Clone>(values: &[T], shape: &[usize]) -> Vec<T> {
            let mut turned = Vec::with_capacity(values.len());
            let mut index = vec![0; shape.len()];
            for _ in 0..values.len() {
                let mut place = 0;
                for (&at, &size) in index.iter().zip(shape).rev() {
                    place = place * size + at;
                }
                turned.push(values[place].clone());
                for (at, &size) in index.iter_mut().zip(shape).rev() {
                    *at += 1;
                    if *at < size {
                        break;
                    }
                    *at = 0;
                }
            }
            turned
        }
        match self {
            Self::U8(values) => Self::U8(turned(&values, shape)),
            Self::F32(values) => Self::F32(turned(&values, shape)),
            Self::Texts(values) => Self::Texts(turned(&values, shape)),
            columns @ Self::Columns(_) => columns,
        }
    }
}
