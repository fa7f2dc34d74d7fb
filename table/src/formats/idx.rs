//! A directory of IDX files, the format of MNIST and its relatives: images of any trailing shape as bytes,
//! labels as bytes, each file plain or gzip.
//!
//! An IDX file is `0 0 type dimensions`, one big-endian u32 for each dimension, then the values, last index
//! fastest. Only type 8 (unsigned byte) is read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Examples, Found};
use crate::{
    PixelScaling, PixelValues, Pixels, TableError, limits,
    memory::{Raw, as_texts},
    source::{DataFile, read_up_to},
};

const UNSIGNED_BYTE: u8 = 8;
const TRAIN_IMAGES: &[&str] = &["train-images"];
const TRAIN_LABELS: &[&str] = &["train-labels"];
const TEST_IMAGES: &[&str] = &["t10k-images", "test-images"];
const TEST_LABELS: &[&str] = &["t10k-labels", "test-labels"];

/// Whether a directory has files with such names.
pub(super) fn is_directory(directory: &Path) -> bool {
    Files::list(directory).is_ok_and(|files| {
        let prefixes = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS].concat();
        files.names.iter().any(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
    })
}

/// Reads a directory's training part, and its test part if there is one. A directory with a test part only is
/// one for a trained model.
pub(super) fn read(directory: &Path, labels: bool) -> Result<Found, TableError> {
    let files = Files::list(directory)?;
    let train = files.part(TRAIN_IMAGES, TRAIN_LABELS, labels)?;
    let test = files.part(TEST_IMAGES, TEST_LABELS, labels)?;
    match (train, test) {
        (Some(train), test) => {
            if let Some(test) = test.as_ref().filter(|test| test.pixels.shape != train.pixels.shape) {
                return Err(TableError::Mismatch {
                    path: test.path.clone(),
                    problem: format!(
                        "its images have the shape {:?}, but those to train on {:?}; make them alike",
                        test.pixels.shape, train.pixels.shape
                    ),
                });
            }
            Ok(Found::Examples { train, test })
        }
        (None, Some(test)) => Ok(Found::Examples { train: test, test: None }),
        (None, None) => Err(files.wrong(
            "it needs files named train-images* and train-labels* (and, for a test part, t10k-images* and t10k-labels*, \
             or test-images* and test-labels*), each plain or .gz"
                .to_owned(),
        )),
    }
}

/// The examples of two IDX files, images and labels.
pub(crate) fn examples(images: &DataFile, labels: Option<&DataFile>) -> Result<Examples, TableError> {
    let part = Part::read(images)?;
    let rows = part.shape[0];
    if part.shape.len() < 2 {
        return Err(wrong(
            images,
            "images need two dimensions or more, but it has one; is it the labels' file?".to_owned(),
        ));
    }
    let labels = labels
        .map(|file| {
            let labels = Part::read(file)?;
            if labels.shape.len() != 1 {
                return Err(wrong(
                    file,
                    format!(
                        "labels have one dimension, but it has {}; is it the images' file?",
                        labels.shape.len()
                    ),
                ));
            }
            if labels.shape[0] != rows {
                return Err(wrong(
                    file,
                    format!(
                        "it has {} labels but {} has {rows} images; they must belong together",
                        labels.shape[0],
                        crate::error::Shown(&images.path)
                    ),
                ));
            }
            // Labels in an IDX file are classes, however many there are.
            Ok(Raw::Texts(as_texts(labels.values.into_iter().map(f64::from), |value| value.to_string())))
        })
        .transpose()?;
    let pixels = Pixels {
        shape: part.shape[1..].to_vec(),
        values: PixelValues::U8(part.values),
        scaling: PixelScaling::Bytes,
    }
    .with_channels_first();
    Ok(Examples { path: images.path.clone(), pixels, labels, are_classes: true, notices: Vec::new() })
}

fn wrong(file: &DataFile, problem: String) -> TableError {
    TableError::Format { path: file.path.clone(), problem }
}

/// One IDX file in memory; at least one item of at least one byte.
struct Part {
    shape: Vec<usize>,
    values: Vec<u8>,
}

impl Part {
    fn read(file: &DataFile) -> Result<Self, TableError> {
        let mut reader = file.open()?;
        let mut exactly = |count: usize| match read_up_to(&mut reader, count) {
            Ok(bytes) if bytes.len() == count => Ok(bytes),
            Ok(bytes) => Err(wrong(
                file,
                format!("it ends after {} of {count} bytes; it was cut short, fetch it again", bytes.len()),
            )),
            Err(error) => Err(file.error(error)),
        };
        let magic = exactly(4)?;
        if magic[..2] != [0, 0] || magic[3] == 0 {
            return Err(wrong(
                file,
                format!("it starts with {magic:02x?}, not with 00 00 08 and a count; is it an IDX file?"),
            ));
        }
        if magic[2] != UNSIGNED_BYTE {
            return Err(wrong(
                file,
                format!(
                    "its values have type {:#04x}, but only unsigned bytes (0x08) can be read; convert it",
                    magic[2]
                ),
            ));
        }
        let sizes = exactly(4 * usize::from(magic[3]))?;
        let shape: Vec<usize> =
            sizes.as_chunks().0.iter().map(|&bytes| u32::from_be_bytes(bytes) as usize).collect();
        if shape.contains(&0) {
            return Err(TableError::Empty { path: file.path.clone() });
        }
        let too_large = |what, limit: usize| {
            Err(TableError::TooLarge { path: file.path.clone(), what, limit: limit as u64 })
        };
        if shape[0] > limits::EXAMPLES_MAX {
            return too_large("examples", limits::EXAMPLES_MAX);
        }
        let item = shape[1..].iter().try_fold(1, |size: usize, &n| size.checked_mul(n));
        let Some(item) = item.filter(|&item| item <= limits::COLUMNS_MAX) else {
            return too_large("values in one example", limits::COLUMNS_MAX);
        };
        let Some(total) = item.checked_mul(shape[0]).filter(|&total| total <= limits::VALUES_MAX) else {
            return too_large("values", limits::VALUES_MAX);
        };
        let values = exactly(total)?;
        match read_up_to(&mut reader, 1) {
            Ok(rest) if rest.is_empty() => Ok(Self { shape, values }),
            Ok(_) => Err(wrong(
                file,
                "it goes on after the number of values that its header gives; it is damaged, fetch it again"
                    .to_owned(),
            )),
            Err(error) => Err(file.error(error)),
        }
    }
}

/// The file names of a directory, sorted.
struct Files {
    directory: PathBuf,
    names: Vec<String>,
}

impl Files {
    fn list(directory: &Path) -> Result<Self, TableError> {
        let failed = |source| TableError::Read { path: directory.to_owned(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        names.sort();
        Ok(Self { directory: directory.to_owned(), names })
    }

    fn part(&self, images: &[&str], labels: &[&str], needed: bool) -> Result<Option<Examples>, TableError> {
        let (image_file, label_file) = (self.find(images)?, self.find(labels)?);
        match (image_file, label_file) {
            (None, None) => Ok(None),
            (Some(images), Some(labels)) => examples(&images, Some(&labels)).map(Some),
            (Some(images), None) if !needed => examples(&images, None).map(Some),
            (Some(_), None) => {
                Err(self.wrong(format!("it has images, but no file {}*; add it", labels.join("* or "))))
            }
            (None, Some(_)) => {
                Err(self.wrong(format!("it has labels, but no file {}*; add it", images.join("* or "))))
            }
        }
    }

    /// The one file whose name starts with one of `prefixes`. Where a file is there both plain and as .gz,
    /// the plain one.
    fn find(&self, prefixes: &[&str]) -> Result<Option<DataFile>, TableError> {
        let candidates: Vec<&String> =
            self.names.iter().filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect();
        let mut kept = candidates.iter().filter(|name| {
            name.strip_suffix(".gz").is_none_or(|plain| !candidates.iter().any(|other| *other == plain))
        });
        match (kept.next(), kept.next()) {
            (None, _) => Ok(None),
            (Some(name), None) => Ok(Some(DataFile::new(&self.directory.join(name)))),
            (Some(name), Some(other)) => {
                Err(self.wrong(format!("{name} and {other} could both be meant; remove one")))
            }
        }
    }

    fn wrong(&self, problem: String) -> TableError {
        TableError::Format { path: self.directory.clone(), problem }
    }
}
