//! A directory of IDX files, the format of MNIST and its relatives: images of any trailing shape as bytes, labels as
//! bytes, each file plain or gzip.
//!
//! An IDX file is `0 0 type dimensions`, one big-endian u32 for each dimension, then the values, last index fastest.
//! Only type 8 (unsigned byte) is read.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    DataError, Dataset, DatasetKind, FeatureRows, FeatureValues, Labels, Loaded, Matched, Schema,
    TargetColumn, TargetSchema, file, limits,
};

const UNSIGNED_BYTE: u8 = 8;
const TRAIN_IMAGES: &[&str] = &["train-images"];
const TRAIN_LABELS: &[&str] = &["train-labels"];
const TEST_IMAGES: &[&str] = &["t10k-images", "test-images"];
const TEST_LABELS: &[&str] = &["t10k-labels", "test-labels"];

/// Reads the training part of a directory, and the test part if there is one.
pub(super) fn load(directory: &Path) -> Result<Loaded, DataError> {
    let files = Files::list(directory)?;
    let (Some(images), Some(labels)) = (files.find(TRAIN_IMAGES)?, files.find(TRAIN_LABELS)?) else {
        return Err(files.nothing_found());
    };
    let train = training_part(Part::open(&images)?, Part::open(&labels)?)?;
    let test = match (files.find(TEST_IMAGES)?, files.find(TEST_LABELS)?) {
        (None, None) => None,
        (Some(images), Some(labels)) => Some(test_part(Part::open(&images)?, Part::open(&labels)?, &train)?),
        (images, _) => {
            let (there, missing) = if images.is_some() { ("images", "labels") } else { ("labels", "images") };
            return Err(DataError::UnknownFormat {
                path: directory.to_owned(),
                hint: format!("it has test {there} but no test {missing}; add or remove one"),
            });
        }
    };
    Ok(Loaded { train, test })
}

/// Reads the test part of a directory (the training part where there is no other) for a trained model.
pub(super) fn load_matching(directory: &Path, schema: &Schema, use_of: Labels) -> Result<Matched, DataError> {
    let files = Files::list(directory)?;
    let (images, labels) = match files.find(TEST_IMAGES)? {
        Some(images) => (images, files.find(TEST_LABELS)?),
        None => match files.find(TRAIN_IMAGES)? {
            Some(images) => (images, files.find(TRAIN_LABELS)?),
            None => return Err(files.nothing_found()),
        },
    };
    let images = Part::open(&images)?;
    if images.bytes_per_item() != schema.features {
        return Err(DataError::Mismatch {
            path: images.path,
            problem: format!(
                "its images have {} values, the model takes {}",
                images.shape[1..].iter().product::<usize>(),
                schema.features
            ),
        });
    }
    let targets = match (use_of, labels) {
        (Labels::Ignored, _) => None,
        (Labels::Required, Some(labels)) => {
            Some(known_classes(&Part::open(&labels)?, &images, &schema.targets)?)
        }
        (Labels::Required, None) => return Err(DataError::NoLabels { path: directory.to_owned() }),
    };
    Ok(Matched { features: images.into_features()?, targets })
}

/// Images and labels of a training part: the classes are the labels that occur, in increasing order.
pub(super) fn training_part(images: Part, labels: Part) -> Result<Dataset, DataError> {
    let occurring: BTreeSet<u8> = labels.values.iter().copied().collect();
    if occurring.len() == 1 {
        return Err(DataError::Label {
            path: labels.path,
            problem: "all labels are the same; there is nothing to learn".to_owned(),
        });
    }
    let names = occurring.iter().map(u8::to_string).collect();
    let targets = known_classes(&labels, &images, &TargetSchema::Classes(names))?;
    let shape = images.shape[1..].to_vec();
    Ok(Dataset {
        features: images.into_features()?,
        feature_names: None,
        targets,
        label_names: None,
        label_columns: Vec::new(),
        kind: DatasetKind::Images { shape },
    })
}

/// Images and labels of a test part; shape and classes must be those of the training part.
pub(super) fn test_part(images: Part, labels: Part, train: &Dataset) -> Result<Dataset, DataError> {
    let schema = train.schema();
    if Some(&images.shape[1..]) != schema.image_shape.as_deref() {
        return Err(DataError::Mismatch {
            problem: format!(
                "its images have the shape {:?}, those of the training part {:?}",
                &images.shape[1..],
                schema.image_shape.unwrap_or_default()
            ),
            path: images.path,
        });
    }
    let targets = known_classes(&labels, &images, &schema.targets)?;
    Ok(Dataset {
        features: images.into_features()?,
        feature_names: None,
        targets,
        label_names: None,
        label_columns: Vec::new(),
        kind: train.kind.clone(),
    })
}

fn known_classes(labels: &Part, images: &Part, targets: &TargetSchema) -> Result<TargetColumn, DataError> {
    let TargetSchema::Classes(names) = targets else {
        return Err(DataError::Mismatch {
            path: labels.path.clone(),
            problem: "it has classes, the model predicts numbers".to_owned(),
        });
    };
    if labels.shape.len() != 1 {
        return Err(DataError::Idx {
            path: labels.path.clone(),
            problem: format!("labels must have one dimension, it has {}", labels.shape.len()),
        });
    }
    if labels.shape[0] != images.shape[0] {
        return Err(DataError::CountMismatch {
            images_path: images.path.clone(),
            images: images.shape[0],
            labels_path: labels.path.clone(),
            labels: labels.shape[0],
        });
    }
    let mut id_of_value = [None; 256];
    for (id, name) in (0..=u16::MAX).zip(names) {
        if let Ok(value) = name.parse::<u8>() {
            id_of_value[usize::from(value)] = Some(id);
        }
    }
    let mut ids = Vec::with_capacity(labels.values.len());
    for (index, &value) in labels.values.iter().enumerate() {
        let id = id_of_value[usize::from(value)].ok_or_else(|| DataError::Mismatch {
            path: labels.path.clone(),
            problem: format!("label {value} of example {index} is not a class of the training data"),
        })?;
        ids.push(id);
    }
    Ok(TargetColumn::Classes { ids, names: names.clone() })
}

/// One IDX file in memory; at least one item of at least one byte.
pub(super) struct Part {
    path: PathBuf,
    shape: Vec<usize>,
    values: Vec<u8>,
}

impl Part {
    fn open(path: &Path) -> Result<Self, DataError> {
        Self::read(path, file::open(path)?.reader)
    }

    /// Reads a file that is decompressed already; `path` only names it in errors.
    pub(super) fn read(path: &Path, mut reader: impl Read) -> Result<Self, DataError> {
        let invalid = |problem: String| DataError::Idx { path: path.to_owned(), problem };
        let mut exactly = |count: usize| match file::read_up_to(&mut reader, count) {
            Ok(bytes) if bytes.len() == count => Ok(bytes),
            Ok(bytes) => {
                Err(invalid(format!("it ends after {} of {count} bytes; it was cut short", bytes.len())))
            }
            Err(error) => Err(file::read_error(path, error)),
        };
        let magic = exactly(4)?;
        if magic[..2] != [0, 0] || magic[3] == 0 {
            return Err(invalid(format!("it starts with {magic:02x?}, not with 00 00 08 and a count")));
        }
        if magic[2] != UNSIGNED_BYTE {
            return Err(invalid(format!(
                "its values have type {:#04x}, but only unsigned bytes (0x08) can be read",
                magic[2]
            )));
        }
        let shape: Vec<usize> = exactly(4 * usize::from(magic[3]))?
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| u32::from_be_bytes(bytes) as usize)
            .collect();
        if shape.contains(&0) {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        let too_large = |what, limit: usize| {
            Err(DataError::TooLarge { path: path.to_owned(), what, limit: limit as u64 })
        };
        if shape[0] > limits::MAX_EXAMPLES {
            return too_large("examples", limits::MAX_EXAMPLES);
        }
        let item = shape[1..].iter().try_fold(1, |size: usize, &n| size.checked_mul(n));
        let Some(item) = item.filter(|&item| item <= limits::MAX_COLUMNS) else {
            return too_large("values in one example", limits::MAX_COLUMNS);
        };
        let Some(total) = item.checked_mul(shape[0]).filter(|&total| total <= limits::MAX_VALUES) else {
            return too_large("values", limits::MAX_VALUES);
        };
        let values = exactly(total)?;
        match file::read_up_to(&mut reader, 1) {
            Ok(rest) if rest.is_empty() => Ok(Self { path: path.to_owned(), shape, values }),
            Ok(_) => Err(DataError::Idx {
                path: path.to_owned(),
                problem: "it goes on after the number of values that its header gives".to_owned(),
            }),
            Err(error) => Err(file::read_error(path, error)),
        }
    }

    fn bytes_per_item(&self) -> usize {
        self.values.len() / self.shape[0]
    }

    fn into_features(self) -> Result<FeatureRows, DataError> {
        if self.shape.len() < 2 {
            return Err(DataError::Idx {
                path: self.path,
                problem: "images must have two dimensions or more, it has one".to_owned(),
            });
        }
        Ok(FeatureRows::new(self.bytes_per_item(), FeatureValues::U8(self.values)))
    }
}

/// The file names of a directory, sorted.
struct Files {
    directory: PathBuf,
    names: Vec<OsString>,
}

impl Files {
    fn list(directory: &Path) -> Result<Self, DataError> {
        let failed = |source| file::read_error(directory, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        Ok(Self { directory: directory.to_owned(), names })
    }

    /// The one file whose name starts with one of `prefixes`. Where a file is there both plain and as .gz, the plain one.
    fn find(&self, prefixes: &[&str]) -> Result<Option<PathBuf>, DataError> {
        let candidates: Vec<String> = self
            .names
            .iter()
            .filter_map(|name| name.to_str())
            .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .map(str::to_owned)
            .collect();
        let mut kept = candidates.iter().filter(|name| {
            name.strip_suffix(".gz").is_none_or(|plain| !candidates.iter().any(|other| other == plain))
        });
        match (kept.next(), kept.next()) {
            (None, _) => Ok(None),
            (Some(name), None) => Ok(Some(self.directory.join(name))),
            (Some(name), Some(other)) => Err(DataError::UnknownFormat {
                path: self.directory.clone(),
                hint: format!("{name} and {other} could both be meant; remove one"),
            }),
        }
    }

    fn nothing_found(&self) -> DataError {
        DataError::UnknownFormat {
            path: self.directory.clone(),
            hint: "a directory must hold IDX files named train-images* and train-labels* (and, for a test part, \
                   t10k-images* and t10k-labels* or test-images* and test-labels*), each plain or .gz"
                .to_owned(),
        }
    }
}
