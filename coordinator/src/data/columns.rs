//! Prepares examples that memory does not hold: the same split, shuffle and preparation as in memory, to the bit,
//! one column at a time.

use std::ops::Range;
use std::sync::Arc;

use table::{Preparation, Stored};

use super::examples::{ColumnExamples, Examples};
use super::prepared::{Part, Shuffled, check_integers};
use super::standardize::target_values;
use super::{DataError, TargetScaling, dataset::gather};

/// The sets of prepared examples, in columns outside of memory.
pub(super) struct Sets {
    pub(super) train: Examples,
    pub(super) validation: Option<Examples>,
    pub(super) test: Option<Examples>,
}

/// Stores the columns in the order of the sets, each as narrow as volunteers get it. Notices are added to `notices`.
pub(super) fn store(
    shuffled: Shuffled,
    preparation: &Preparation,
    scaling: Option<&TargetScaling>,
    notices: &mut Vec<String>,
) -> Result<Sets, DataError> {
    let Shuffled { train, kept, validation, test } = shuffled;
    let vocabulary = train.vocabulary;
    let shared = Arc::new(preparation.clone());
    let mut order = kept;
    let in_training = 0..order.len();
    // Parts of the training file follow in it; files of their own are stored apart.
    let mut place = |part: Option<Part>| match part {
        Some(Part::Rows(rows)) => {
            let first = order.len();
            order.extend(rows);
            Some(Place::Within(first..order.len()))
        }
        Some(Part::Own(data)) => Some(Place::Own(data)),
        None => None,
    };
    let (validation, test) = (place(validation), place(test));
    let targets = train.targets();
    let targets_of = |range: &Range<usize>| target_values(gather(targets, &order[range.clone()]), scaling);
    let part_targets = |part: &Option<Place>| match part {
        Some(Place::Within(range)) => Some(targets_of(range)),
        _ => None,
    };
    let train_targets = targets_of(&in_training);
    let (validation_targets, test_targets) = (part_targets(&validation), part_targets(&test));

    let mut store = |mut data: super::Dataset, order: Option<Vec<u32>>| -> Result<Stored, DataError> {
        if let Some(vocabulary) = vocabulary {
            // In the file's order, so that the error names the first wrong example.
            check_integers(&preparation.store(data.table.clone())?, preparation, vocabulary)?;
        }
        // They have been put in order above, and memory should not hold them twice.
        data.table.targets = None;
        let stored = match order {
            Some(order) => preparation.store_ordered(data.table, order)?,
            None => {
                notices.extend(data.table.notices.iter().cloned());
                preparation.store(data.table)?
            }
        };
        notices.extend(stored.notices.iter().cloned());
        Ok(stored)
    };
    let stored = Arc::new(store(*train, Some(order))?);
    let mut own = |part: Option<Place>, targets| -> Result<_, DataError> {
        Ok(match (part, targets) {
            (Some(Place::Within(range)), Some(targets)) => Some((Arc::clone(&stored), range.start, targets)),
            (Some(Place::Own(data)), _) => {
                let targets = target_values(data.targets().clone(), scaling);
                Some((Arc::new(store(*data, None)?), 0, targets))
            }
            _ => None,
        })
    };
    let validation = own(validation, validation_targets)?;
    let test = own(test, test_targets)?;
    // One type serves all, so that a volunteer meets one.
    let parts = [&validation, &test].into_iter().flatten().map(|(stored, ..)| stored);
    let as_bytes = std::iter::once(&stored).chain(parts).all(|stored| stored.fits_bytes(preparation));
    let examples = |(stored, first, targets)| {
        let preparation = Arc::clone(&shared);
        Examples::Columns(ColumnExamples { stored, preparation, as_bytes, first, targets })
    };
    Ok(Sets {
        validation: validation.map(examples),
        test: test.map(examples),
        train: examples((Arc::clone(&stored), 0, train_targets)),
    })
}

/// Where the rows of a part are.
enum Place {
    /// Among those of the training file.
    Within(Range<usize>),
    Own(Box<super::Dataset>),
}
