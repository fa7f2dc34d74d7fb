//! Warnings about data that make figures look better than they are.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use table::{Column, Numbers, Table, Targets, Values};

use super::{ExampleTable, Examples, FeatureValues, Prepared};

/// With fewer examples, a column may give the label away by chance.
const EXAMPLES_MIN: usize = 20;
/// The most different values in a column that may give classes away: more values would fit any labels.
const EXAMPLES_PER_VALUE: usize = 5;
/// Rows of a column of numbers that are looked at first. Most columns do not tell the class of these, and then the
/// others need no memory.
const ROWS_FIRST: usize = 1 << 16;
/// Examples whose hashes are in memory at once, beside those of the smaller part.
const ROWS_AT_ONCE: usize = 100_000;
/// From this correlation on, a column is the label in another unit.
const CORRELATION_MIN: f64 = 0.99999;

/// Sentences about columns that give the label away without an error.
pub fn telling_columns(table: &Table) -> Vec<String> {
    let Some(targets) = table.targets.as_ref().filter(|targets| targets.len() >= EXAMPLES_MIN) else {
        return Vec::new();
    };
    let learned = |column: &&Column| column.left_out.is_none() && !table.labels.contains(&column.position);
    let columns: Vec<&Column> = table.columns.iter().filter(learned).collect();
    columns
        .into_par_iter()
        .filter(|column| match (targets, column.values.loaded()) {
            (Targets::Classes { ids, names }, Ok(cells)) => tells_class(&cells, ids, names.len()),
            (Targets::Numbers { values, names }, Ok(cells)) if names.len() == 1 => is_multiple(&cells, values),
            // A column that cannot be read gives nothing away; preparing it fails with words.
            _ => false,
        })
        .map(|column| {
            format!(
                "{} alone tells the label of every example; leave it out with --drop {} if it is not known before \
                 the label is",
                column.place(),
                table::error::plain(&column.shown())
            )
        })
        .collect()
}

/// Whether each value occurs with one class only, or the classes lie one after the other.
fn tells_class(values: &Values, ids: &[u16], classes: usize) -> bool {
    match values {
        Values::Unread | Values::Spilled(_) => false,
        Values::Texts(texts) => {
            let mut class_of = BTreeMap::new();
            let pure = (0..ids.len())
                .filter_map(|row| Some((texts.get(row)?, ids[row])))
                .all(|(text, id)| *class_of.entry(text).or_insert(id) == id);
            pure && class_of.len() * EXAMPLES_PER_VALUE <= ids.len() && are_all(class_of.values(), classes)
        }
        Values::Numbers(numbers) => {
            let first = numbers.len().min(ROWS_FIRST);
            [first, numbers.len()]
                .into_iter()
                .all(|some| number_tells_class(numbers, &ids[..some], classes, ids.len()))
                && are_all(
                    numbers.iter().zip(ids).filter(|(value, _)| !value.is_nan()).map(|(_, id)| id),
                    classes,
                )
        }
    }
}

/// Whether nothing in the first of a table's rows, whose classes are `ids`, speaks against a column that tells the
/// class: no value occurs with two classes, and few values are different, as a share of `all` rows, or the classes lie
/// one after the other.
fn number_tells_class(numbers: &Numbers, ids: &[u16], classes: usize, all: usize) -> bool {
    let pairs = numbers.iter().zip(ids.iter().copied());
    let mut pairs: Vec<(f64, u16)> = pairs.filter(|(value, _)| !value.is_nan()).collect();
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mixed = pairs.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1);
    let changes = pairs.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    let different = 1 + pairs.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    let few = different * EXAMPLES_PER_VALUE <= all;
    let one_after_the_other = changes < classes && classes > 1;
    !mixed && (few || one_after_the_other)
}

fn are_all<'a>(ids: impl Iterator<Item = &'a u16>, classes: usize) -> bool {
    ids.collect::<HashSet<_>>().len() == classes && classes > 1
}

fn is_multiple(values: &Values, targets: &[f64]) -> bool {
    let Values::Numbers(numbers) = values else { return false };
    let pairs: Vec<(f64, f64)> =
        numbers.iter().zip(targets.iter().copied()).filter(|(value, _)| !value.is_nan()).collect();
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (mean_value, mean_target) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sums = pairs.iter().fold((0.0, 0.0, 0.0), |(both, value, target), pair| {
        let (a, b) = (pair.0 - mean_value, pair.1 - mean_target);
        (both + a * b, value + a * a, target + b * b)
    });
    // False for NaN, which a constant column gives.
    pairs.len() >= EXAMPLES_MIN && sums.0.abs() / (sums.1 * sums.2).sqrt() >= CORRELATION_MIN
}

/// A sentence for each part that contains examples of the training part. Examples that memory does not hold are not
/// compared.
pub fn repeated_examples(data: &Prepared) -> Vec<String> {
    let parts = [("test", &data.test), ("validation", &data.validation)];
    if parts.iter().all(|(_, part)| part.is_none()) {
        return Vec::new();
    }
    let Some(train) = data.train.in_memory() else { return Vec::new() };
    let mut sentences = Vec::new();
    for (name, part) in parts {
        let Some(part) = part.as_ref().and_then(Examples::in_memory) else { continue };
        let repeated = repeated_in(part, train);
        if repeated > 0 {
            sentences.push(format!(
                "{repeated} of the {} {name} examples have the same values as a training example, which makes figures \
                 look better than they are",
                part.len()
            ));
        }
    }
    sentences
}

/// How many examples of `part` have the values of one in `train`. Hashes of the part, which is smaller, are kept in order;
/// those of the training examples pass by.
fn repeated_in(part: &ExampleTable, train: &ExampleTable) -> usize {
    let mut kept = hashes(part, 0..part.len());
    kept.par_sort_unstable();
    let seen: Vec<AtomicBool> = kept.iter().map(|_| AtomicBool::new(false)).collect();
    for begin in (0..train.len()).step_by(ROWS_AT_ONCE) {
        let end = train.len().min(begin + ROWS_AT_ONCE);
        hashes(train, begin..end).par_iter().for_each(|hash| {
            let first = kept.partition_point(|other| other < hash);
            if kept.get(first) == Some(hash) {
                seen[first].store(true, Ordering::Relaxed);
            }
        });
    }
    // The first of equal hashes stands for all of them.
    let mut at = 0;
    let counts = kept.chunk_by(|one, other| one == other).map(|equal| {
        let is_seen = seen[at].load(Ordering::Relaxed);
        at += equal.len();
        if is_seen { equal.len() } else { 0 }
    });
    counts.sum()
}

/// A hash of the values of each example in `rows`.
fn hashes(table: &ExampleTable, rows: Range<usize>) -> Vec<u64> {
    let width = table.features().columns();
    let cells = rows.start * width..rows.end * width;
    let hash = |bytes: &mut dyn Iterator<Item = u8>| {
        let mut hasher = DefaultHasher::new();
        bytes.for_each(|byte| hasher.write_u8(byte));
        hasher.finish()
    };
    match table.features().values() {
        FeatureValues::U8(values) => {
            values[cells].par_chunks(width).map(|row| hash(&mut row.iter().copied())).collect()
        }
        FeatureValues::F32(values) => values[cells]
            .par_chunks(width)
            .map(|row| hash(&mut row.iter().flat_map(|value| value.to_le_bytes())))
            .collect(),
    }
}

/// Sentences about classes whose names differ in capital letters or spaces alone: the same ones, written twice?
pub fn alike_classes(classes: &[(String, usize)]) -> Vec<String> {
    let plain = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (class, _) in classes {
        alike.entry(plain(class)).or_default().push(table::error::quoted(class.as_bytes()));
    }
    let sentence = |names: Vec<String>| {
        format!(
            "the classes {} differ in capital letters or spaces alone; write them alike if they are the same",
            names.join(" and ")
        )
    };
    alike.into_values().filter(|names| names.len() > 1).map(sentence).collect()
}

/// A sentence for each class of which a part may have no example; `parts` are training, validation and test part.
pub fn rare_classes(classes: &[(String, usize)], parts: usize) -> Vec<String> {
    let rare = classes.iter().filter(|(_, examples)| *examples < parts);
    rare.map(|(class, examples)| {
        let (have, noun) = if *examples == 1 { ("is", "example") } else { ("are", "examples") };
        format!(
            "there {have} only {examples} {noun} of the class {}, but {parts} parts; some part will have none",
            table::error::quoted(class.as_bytes())
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::data::{ReadOptions, load, prepare};

    #[test]
    fn examples_that_come_again_are_counted_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.csv");
        let mut rows = "a,b,label\n".to_owned();
        for i in 0..900 {
            // A third of the rows comes again and again, the others are all different.
            let a = if i % 3 == 0 { i % 45 } else { 1000 + i };
            writeln!(rows, "{a}.25,{},c{}", a * 31 % 97, i % 2).unwrap();
        }
        std::fs::write(&file, rows).unwrap();
        let data = prepare(load(&file, &ReadOptions::default()).unwrap().train, None, 0.5, 1).unwrap();
        let (train, test) =
            (data.train.in_memory().unwrap(), data.test.as_ref().unwrap().in_memory().unwrap());
        let FeatureValues::F32(values) = train.features().values() else { panic!("these are no bytes") };
        let FeatureValues::F32(others) = test.features().values() else { panic!("these are no bytes") };
        let width = train.features().columns();
        let known: HashSet<Vec<u32>> =
            values.chunks(width).map(|row| row.iter().map(|value| value.to_bits()).collect()).collect();
        let is_known =
            |row: &[f32]| known.contains(&row.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        let expected = others.chunks(width).filter(|row| is_known(row)).count();
        assert!((100..test.len()).contains(&expected));
        assert_eq!(repeated_in(test, train), expected);
    }
}
