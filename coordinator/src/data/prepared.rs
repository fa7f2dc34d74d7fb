//! Data ready to be cut into shards: split, shuffled, with its preprocessing worked out and a fingerprint of
//! all of it.

use std::ops::Range;

use model::{Preprocessing, Rows, Targets, Task};
use ndarray::ArrayView2;
use protocol::plan::Set;
use table::{Preparation, Stored};

use super::{
    DataError, Dataset, Examples, FeatureRows, FeatureValues, Matched, TargetScaling, columns,
    dataset::gather, preprocessing_of, random, split, standardize::target_values, task_of,
};

/// Everything a run needs to know about its data.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The training part, shuffled. Raw: volunteers apply `preprocessing`.
    pub train: Examples,
    /// The validation part in file order, if there is one. Its features have the same type as those of
    /// `train`.
    pub validation: Option<Examples>,
    /// The test part likewise.
    pub test: Option<Examples>,
    /// How raw features become inputs of the network.
    pub preprocessing: Preprocessing,
    /// How number targets were scaled; `None` for classes.
    pub target_scaling: Option<TargetScaling>,
    /// Columns, classes and image shape.
    pub preparation: Preparation,
    /// BLAKE3 over all of the above: two runs with the same fingerprint train on the same bits, under the same
    /// names.
    pub fingerprint: [u8; 32],
    /// Sentences about the data that the user should know of.
    pub notices: Vec<String>,
}

impl Prepared {
    /// What the network is to predict.
    pub fn task(&self) -> Task {
        task_of(&self.preparation)
    }

    /// The examples of a set; there may be no validation set and no test set.
    pub fn examples(&self, set: Set) -> Option<&Examples> {
        match set {
            Set::Training => Some(&self.train),
            Set::Validation => self.validation.as_ref(),
            Set::Test => self.test.as_ref(),
        }
    }

    /// The classes in id order; `None` when numbers are predicted.
    pub fn class_names(&self) -> Option<&[String]> {
        self.preparation.class_names()
    }
}

/// Where the examples of a part that is not trained on come from.
#[derive(Clone, Debug, Default)]
pub struct HeldBack {
    /// Separate files.
    pub own: Option<Dataset>,
    /// This share of the training examples; 0 for none.
    pub fraction: f64,
}

/// [`prepare_sets`] without a validation part.
///
/// # Errors
/// Those of [`prepare_sets`].
pub fn prepare(
    train: Dataset,
    test: Option<Dataset>,
    test_fraction: f64,
    seed: u64,
) -> Result<Prepared, DataError> {
    prepare_sets(train, HeldBack::default(), HeldBack { own: test, fraction: test_fraction }, seed, false)
}

/// Splits, shuffles and scales. The test part is drawn first, the validation part from what then remains; so
/// neither changes the other. Number targets are standardized unless the caller wants the raw values. `seed`
/// alone decides which examples are drawn and the order of the training part.
///
/// # Errors [`DataError::Split`] for a fraction that is not at least 0 and below 1, that leaves a part
/// without examples, or that comes together with a part from elsewhere.
pub fn prepare_sets(
    train: Dataset,
    validation: HeldBack,
    test: HeldBack,
    seed: u64,
    targets_as_they_are: bool,
) -> Result<Prepared, DataError> {
    let all = (0..train.len() as u32).collect();
    let (kept, test) = hold_back(&train, all, test, seed, TEST)?;
    let (mut kept, validation) = hold_back(&train, kept, validation, seed, VALIDATION)?;
    random::shuffle(&mut kept, &mut random::stream(seed, "shuffle"));

    let (vocabulary, mut notices) = (train.vocabulary, train.table.notices.clone());
    let missing = &train.missing;
    let preparation = match vocabulary {
        Some(_) => Preparation::of_integers(&train.table, missing)?,
        None => {
            let (preparation, told) = Preparation::fit(&train.table, &kept, missing)?;
            notices.extend(told);
            preparation
        }
    };
    let target_scaling = match train.targets() {
        table::Targets::Classes { .. } => None,
        table::Targets::Numbers { names, .. } if targets_as_they_are => {
            Some(TargetScaling::none(names.len()))
        }
        table::Targets::Numbers { names, .. } => match gather(train.targets(), &kept) {
            table::Targets::Numbers { values, .. } => Some(TargetScaling::of(&values, names.len())),
            table::Targets::Classes { .. } => None,
        },
    };
    if [Some(&train), own_file(&validation), own_file(&test)].into_iter().flatten().any(Dataset::is_outside) {
        let shuffled = Shuffled { train: Box::new(train), kept, validation, test };
        let scaling = target_scaling.as_ref();
        let columns::Sets { train, validation, test } =
            columns::store(shuffled, &preparation, scaling, &mut notices)?;
        return finish((train, validation, test), preparation, target_scaling, notices);
    }
    let targets = train.targets().clone();
    let stored = preparation.store(train.table)?;
    notices.extend(stored.notices.iter().cloned());
    // Files of their own are stored before any part is put together: one type serves all, so that a volunteer
    // meets one.
    let mut own = |part: Option<Part>| part.map(|part| part.store(&preparation, &mut notices)).transpose();
    let (validation, test) = (own(validation)?, own(test)?);
    if let Some(vocabulary) = vocabulary {
        let own = [&validation, &test].into_iter().flatten().filter_map(StoredPart::own);
        for stored in std::iter::once(&stored).chain(own) {
            check_integers(stored, &preparation, vocabulary)?;
        }
    }
    let as_bytes = stored.fits_bytes(&preparation)
        && [&validation, &test].into_iter().flatten().all(|part| part.fits_bytes(&preparation));
    let table = |stored: &Stored, rows: &[u32], targets: &table::Targets| {
        let features = stored.inputs(&preparation, rows, as_bytes).into();
        ExampleTable::new(features, gather(targets, rows), target_scaling.as_ref())
    };
    let held_back = |part: StoredPart| match part {
        StoredPart::Rows(rows) => table(&stored, &rows, &targets),
        StoredPart::Own { stored, targets } => {
            let rows: Vec<u32> = (0..stored.len() as u32).collect();
            table(&stored, &rows, &targets)
        }
    };
    let (validation, test) = (validation.map(held_back), test.map(held_back));
    let train = table(&stored, &kept, &targets);
    drop(stored);
    let sets = (Examples::Memory(train), validation.map(Examples::Memory), test.map(Examples::Memory));
    finish(sets, preparation, target_scaling, notices)
}

/// The training examples in their order and the other parts, of which nothing is prepared yet.
pub(super) struct Shuffled {
    pub(super) train: Box<Dataset>,
    pub(super) kept: Vec<u32>,
    pub(super) validation: Option<Part>,
    pub(super) test: Option<Part>,
}

/// The file that a part has of its own.
fn own_file(part: &Option<Part>) -> Option<&Dataset> {
    match part {
        Some(Part::Own(data)) => Some(data),
        _ => None,
    }
}

fn finish(
    (train, validation, test): (Examples, Option<Examples>, Option<Examples>),
    preparation: Preparation,
    target_scaling: Option<TargetScaling>,
    notices: Vec<String>,
) -> Result<Prepared, DataError> {
    let preprocessing = preprocessing_of(&preparation);
    let fingerprint = fingerprint(&train, validation.as_ref(), test.as_ref(), &preparation)?;
    Ok(Prepared { train, validation, test, preprocessing, target_scaling, preparation, fingerprint, notices })
}

/// Checks values that a network looks up, in the file's order, so that the error names the first wrong example.
pub(super) fn check_integers(
    stored: &Stored,
    preparation: &Preparation,
    vocabulary: u32,
) -> Result<(), DataError> {
    const ROWS_AT_A_TIME: usize = 1024;
    let places = preparation.input_places();
    for first in (0..stored.len()).step_by(ROWS_AT_A_TIME) {
        let rows = first..stored.len().min(first + ROWS_AT_A_TIME);
        let features: FeatureRows = stored.piece(preparation, rows, false)?.into();
        features.check_integers(vocabulary, &places, first)?;
    }
    Ok(())
}

/// A part that is not trained on.
pub(super) enum Part {
    /// These rows of the training examples.
    Rows(Vec<u32>),
    /// A file of its own.
    Own(Box<Dataset>),
}

/// The same with its columns narrowed.
enum StoredPart {
    Rows(Vec<u32>),
    Own { stored: Stored, targets: table::Targets },
}

impl Part {
    fn store(self, preparation: &Preparation, notices: &mut Vec<String>) -> Result<StoredPart, DataError> {
        Ok(match self {
            Self::Rows(rows) => StoredPart::Rows(rows),
            Self::Own(data) => {
                let targets = data.targets().clone();
                notices.extend(data.table.notices.iter().cloned());
                let stored = preparation.store(data.table)?;
                notices.extend(stored.notices.iter().cloned());
                StoredPart::Own { stored, targets }
            }
        })
    }
}

impl StoredPart {
    /// The rows of a file of its own.
    fn own(&self) -> Option<&Stored> {
        match self {
            Self::Rows(_) => None,
            Self::Own { stored, .. } => Some(stored),
        }
    }

    fn fits_bytes(&self, preparation: &Preparation) -> bool {
        match self {
            Self::Rows(_) => true,
            Self::Own { stored, .. } => stored.fits_bytes(preparation),
        }
    }
}

/// Name and purpose of a part that is not trained on.
struct Purpose {
    name: &'static str,
    /// Names its stream of random numbers.
    stream: &'static str,
    /// The error when it is requested twice.
    twice: &'static str,
    /// The error when it would be empty.
    empty: &'static str,
}

const TEST: Purpose = Purpose {
    name: "test",
    stream: "split",
    twice: "there is a test part already",
    empty: "no example would be left to test with; give --test-fraction 0 to test with none",
};
const VALIDATION: Purpose = Purpose {
    name: "validation",
    stream: "validation split",
    twice: "there is a validation part already",
    empty: "no example would be left to validate with; give --validation-fraction 0 to validate with none",
};

/// Takes a part out of the rows and returns the rest.
fn hold_back(
    train: &Dataset,
    rows: Vec<u32>,
    part: HeldBack,
    seed: u64,
    purpose: Purpose,
) -> Result<(Vec<u32>, Option<Part>), DataError> {
    let HeldBack { own, fraction } = part;
    let Purpose { name, stream, twice, empty } = purpose;
    let refuse = |problem| Err(DataError::Split { part: name, fraction, examples: rows.len(), problem });
    if !(0.0..1.0).contains(&fraction) {
        return refuse("it must be at least 0 and below 1");
    }
    if let Some(own) = own {
        return if fraction > 0.0 { refuse(twice) } else { Ok((rows, Some(Part::Own(Box::new(own))))) };
    }
    if fraction == 0.0 {
        return Ok((rows, None));
    }
    let is_held_back = split::split(train.targets(), &rows, fraction, seed, stream);
    if !is_held_back.contains(&true) {
        return refuse(empty);
    }
    let mut kept = rows;
    let held_back = kept.iter().zip(&is_held_back).filter(|(_, held)| **held).map(|(&row, _)| row).collect();
    let mut flags = is_held_back.into_iter();
    kept.retain(|_| flags.next() != Some(true));
    kept.shrink_to_fit();
    Ok((kept, Some(Part::Rows(held_back))))
}

/// Raw features and scaled targets of a number of examples, contiguous and row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleTable {
    features: FeatureRows,
    targets: TargetValues,
}

/// Targets as the network is trained on them.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetValues {
    /// One class id for each example.
    Classes(Vec<u16>),
    /// Standardized numbers.
    Numbers {
        /// Row-major, shape `[examples, columns]`.
        values: Vec<f32>,
        /// Number of target columns.
        columns: usize,
    },
}

impl ExampleTable {
    /// Puts features and targets of the same length together; numbers are standardized by `scaling`.
    fn new(features: FeatureRows, targets: table::Targets, scaling: Option<&TargetScaling>) -> Self {
        assert_eq!(features.len(), targets.len(), "every example has a target");
        Self { features, targets: target_values(targets, scaling) }
    }

    /// Puts features and targets of the same length together.
    pub(super) fn of_values(features: FeatureRows, targets: TargetValues) -> Self {
        assert_eq!(features.len(), targets.len(), "every example has a target");
        Self { features, targets }
    }

    /// Features and targets apart.
    pub(super) fn into_values(self) -> (FeatureRows, TargetValues) {
        (self.features, self.targets)
    }

    /// Examples to evaluate a trained model on; `None` if the file was read without its labels.
    pub fn of_matched(matched: Matched, scaling: Option<&TargetScaling>) -> Option<Self> {
        let Matched { features, targets, .. } = matched;
        targets.map(|targets| Self::new(features, targets, scaling))
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// The raw features.
    pub fn features(&self) -> &FeatureRows {
        &self.features
    }

    /// The targets.
    pub fn target_values(&self) -> &TargetValues {
        &self.targets
    }

    /// Raw features of a range of examples, shape `[range.len(), features]`. The view is contiguous:
    /// `as_slice` of it gives the rows one after the other. Panics on a range outside the table.
    pub fn rows(&self, range: Range<usize>) -> Rows<'_> {
        self.features.rows(range)
    }

    /// Targets of a range of examples. Panics on a range outside the table.
    pub fn targets(&self, range: Range<usize>) -> Targets<'_> {
        match &self.targets {
            TargetValues::Classes(ids) => Targets::Classes(&ids[range]),
            TargetValues::Numbers { values, columns } => Targets::Numbers(view(values, *columns, range)),
        }
    }
}

impl FeatureRows {
    /// The rows of a range of examples, shape `[range.len(), columns]`. Panics on a range outside the matrix.
    pub fn rows(&self, range: Range<usize>) -> Rows<'_> {
        match self.values() {
            FeatureValues::U8(values) => Rows::U8(view(values, self.columns(), range)),
            FeatureValues::F32(values) => Rows::F32(view(values, self.columns(), range)),
        }
    }
}

fn view<T>(values: &[T], columns: usize, range: Range<usize>) -> ArrayView2<'_, T> {
    let shape = (range.len(), columns);
    ArrayView2::from_shape(shape, &values[range.start * columns..range.end * columns])
        .expect("a slice of whole rows has the shape of its rows")
}

/// Bytes of rows that are hashed at a time where memory does not hold the examples.
const HASHED_BYTES: usize = 16 << 20;

fn fingerprint(
    train: &Examples,
    validation: Option<&Examples>,
    test: Option<&Examples>,
    preparation: &Preparation,
) -> Result<[u8; 32], DataError> {
    let mut hasher = blake3::Hasher::new_derive_key("shoal data 2026 fingerprint");
    let count = |hasher: &mut blake3::Hasher, count: usize| {
        hasher.update(&(count as u64).to_le_bytes());
    };
    count(&mut hasher, preparation.inputs());
    match task_of(preparation) {
        Task::Classes(classes) => hasher.update(b"classes").update(&classes.to_le_bytes()),
        Task::Numbers(columns) => hasher.update(b"numbers").update(&columns.to_le_bytes()),
    };
    // A renamed column or class is a different one to users of the model. The encoding is the same as in
    // the model file.
    let encoded = serde_json::to_vec(preparation).expect("a preparation has a form in JSON");
    count(&mut hasher, encoded.len());
    hasher.update(&encoded);
    // A run without a validation part has the fingerprint that it had before there were any.
    let validation = validation.map(Some);
    for part in [Some(train), test].into_iter().chain(validation) {
        count(&mut hasher, part.map_or(0, Examples::len));
        let Some(part) = part else { continue };
        let mut is_first = true;
        part.each_piece(HASHED_BYTES, |table, _| {
            let is_first = std::mem::replace(&mut is_first, false);
            match table.features.values() {
                FeatureValues::U8(values) => {
                    if is_first {
                        hasher.update(b"u8");
                    }
                    hasher.update(values);
                }
                FeatureValues::F32(values) => {
                    if is_first {
                        hasher.update(b"f32");
                    }
                    hash_floats(&mut hasher, values);
                }
            }
        })?;
        match part {
            Examples::Memory(table) => hash_targets(&mut hasher, &table.targets),
            Examples::Columns(columns) => hash_targets(&mut hasher, &columns.targets),
            Examples::Shards(_) => unreachable!("the fingerprint is older than the shards"),
        }
    }
    Ok(hasher.finalize().into())
}

fn hash_targets(hasher: &mut blake3::Hasher, targets: &TargetValues) {
    const CHUNK: usize = 4096;
    match targets {
        TargetValues::Classes(ids) => {
            let mut bytes = Vec::with_capacity(2 * CHUNK);
            for chunk in ids.chunks(CHUNK) {
                bytes.clear();
                bytes.extend(chunk.iter().flat_map(|id| id.to_le_bytes()));
                hasher.update(&bytes);
            }
        }
        TargetValues::Numbers { values, .. } => hash_floats(hasher, values),
    }
}

fn hash_floats(hasher: &mut blake3::Hasher, values: &[f32]) {
    const CHUNK: usize = 4096;
    let mut bytes = Vec::with_capacity(4 * CHUNK);
    for chunk in values.chunks(CHUNK) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        hasher.update(&bytes);
    }
}
