//! What the page `/try` is told of a model: how cells and pixels become a network's inputs, and what its answers mean.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use model::{Arithmetic, Network, Preprocessing};
use serde::Serialize;
use table::Becomes;
use tokio::sync::watch;

use crate::data::{Examples, FeatureRows, FeatureValues, Preparation, Prepared, TargetScaling, TargetValues};
use crate::driver::Gallery;

/// Examples kept aside that the page may have.
const EXAMPLES_MAX: usize = 256;
/// Values of all these examples. Of images too large for that there is none.
const EXAMPLE_VALUES_MAX: usize = 100_000;

/// Values that are looked at of training examples that memory does not hold.
const SEEN_VALUES_MAX: usize = 1 << 22;

/// A model as the page is told of it, in JSON.
#[derive(Debug, Serialize)]
pub struct Description<'a> {
    /// What the network does, in words.
    pub title: &'a str,
    /// The network in words.
    pub network: String,
    /// The network's specification, as JSON text.
    pub spec: String,
    /// Inputs of the network.
    pub features: usize,
    /// The worker that computes as the training did.
    pub arithmetic: Arithmetic,
    /// Columns, classes and image shape.
    pub preparation: &'a Preparation,
    /// The preparation of stored values: `(stored - offset) * scale`.
    pub preprocessing: &'a Preprocessing,
    /// What makes numbers in their own unit of the network's answers.
    pub scaling: Option<&'a TargetScaling>,
    /// The texts that stand for a missing cell.
    pub missing: Vec<String>,
    /// What occurred in training, by column; empty where that is not known.
    pub seen: Vec<Seen>,
    /// Whether the page computes by itself. Otherwise it asks the server.
    pub has_weights: bool,
}

impl<'a> Description<'a> {
    /// The description of a network, without what occurred in training.
    pub fn new(
        title: &'a str,
        (network, arithmetic): (&Network, Arithmetic),
        preparation: &'a Preparation,
        preprocessing: &'a Preprocessing,
        scaling: Option<&'a TargetScaling>,
    ) -> Description<'a> {
        Description {
            title,
            network: network.outline(),
            spec: network.spec().to_json(),
            features: network.features(),
            arithmetic,
            preparation,
            preprocessing,
            scaling,
            missing: preparation.missing_texts(),
            seen: Vec::new(),
            has_weights: false,
        }
    }
}

/// What occurred in a column in training.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Seen {
    /// Numbers, or for dates days since 1970, in the column's own unit.
    Numbers {
        /// The least one.
        low: f64,
        /// The greatest one.
        high: f64,
        /// The median, or for dates the middle.
        typical: f64,
    },
    /// Texts.
    Texts {
        /// The most frequent one that has an input of its own.
        typical: Option<String>,
    },
}

/// What a training gives the page.
#[derive(Debug)]
pub struct Trial {
    title: String,
    network: Network,
    arithmetic: Arithmetic,
    data: Arc<Prepared>,
    gallery: watch::Receiver<Arc<Gallery>>,
    description: OnceLock<Compressed>,
    examples: OnceLock<Compressed>,
}

/// A text, plain and in gzip format.
#[derive(Debug, Clone)]
pub struct Compressed {
    /// The text.
    pub plain: Bytes,
    /// The same, compressed.
    pub gzip: Bytes,
}

impl Compressed {
    /// Compresses a value's JSON.
    pub fn of(value: &impl Serialize) -> Compressed {
        // Only maps with keys that are not strings can fail.
        let plain = serde_json::to_vec(value).expect("what the page is told is plain data");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory cannot fail.
        let _ = encoder.write_all(&plain);
        Compressed { gzip: encoder.finish().unwrap_or_default().into(), plain: plain.into() }
    }
}

/// An example that was kept aside.
#[derive(Debug, Serialize)]
struct Example {
    /// Its class; `None` where numbers are predicted.
    class: Option<u16>,
    /// Its numbers in their own unit.
    numbers: Vec<f64>,
    /// Its stored values.
    values: Vec<f32>,
}

impl Trial {
    /// What a training on these data with this network gives.
    pub fn new(
        title: String,
        (network, arithmetic): (Network, Arithmetic),
        data: Arc<Prepared>,
        gallery: watch::Receiver<Arc<Gallery>>,
    ) -> Trial {
        let (description, examples) = Default::default();
        Trial { title, network, arithmetic, data, gallery, description, examples }
    }

    /// The weights there are.
    pub fn gallery(&self) -> Arc<Gallery> {
        Arc::clone(&self.gallery.borrow())
    }

    /// The description. The first call goes through the training examples.
    pub fn description(&self) -> &Compressed {
        self.description.get_or_init(|| {
            let Prepared { preparation, preprocessing, target_scaling, train, .. } = &*self.data;
            let network = (&self.network, self.arithmetic);
            let description =
                Description::new(&self.title, network, preparation, preprocessing, target_scaling.as_ref());
            let seen = seen(preparation, train);
            Compressed::of(&Description { seen, has_weights: true, ..description })
        })
    }

    /// Some examples kept aside, of the test set if there is one.
    pub fn examples(&self) -> &Compressed {
        self.examples.get_or_init(|| {
            let Prepared { test, validation, target_scaling, .. } = &*self.data;
            let table = test.as_ref().or(validation.as_ref());
            Compressed::of(&table.map_or_else(Vec::new, |set| examples(set, target_scaling.as_ref())))
        })
    }
}

fn examples(set: &Examples, scaling: Option<&TargetScaling>) -> Vec<Example> {
    let width = set.columns();
    let count = set.len().min(EXAMPLES_MAX).min(EXAMPLE_VALUES_MAX / width);
    let piece = match set.piece(0..count) {
        Ok(piece) => piece,
        Err(error) => {
            tracing::warn!("the page /try has no examples: {error}");
            return Vec::new();
        }
    };
    let (table, _) = piece.of();
    let example = |row: usize| {
        let (class, numbers) = match table.target_values() {
            TargetValues::Classes(ids) => (Some(ids[row]), Vec::new()),
            TargetValues::Numbers { values, columns } => {
                let own = &values[row * columns..(row + 1) * columns];
                let plain = || own.iter().copied().map(f64::from).collect();
                (None, scaling.map_or_else(plain, |scaling| scaling.restore(own)))
            }
        };
        let values = (row * width..(row + 1) * width).map(|at| value(table.features(), at));
        Example { class, numbers, values: values.collect() }
    };
    (0..count).map(example).collect()
}

fn value(rows: &FeatureRows, at: usize) -> f32 {
    match rows.values() {
        FeatureValues::U8(values) => f32::from(values[at]),
        FeatureValues::F32(values) => values[at],
    }
}

/// What occurred in training, one for each column of a table. Of examples that memory does not hold, the first ones
/// are looked at.
fn seen(preparation: &Preparation, train: &Examples) -> Vec<Seen> {
    if preparation.pixels.is_some() {
        return Vec::new();
    }
    let width = train.columns();
    let mut ranges = vec![(f32::INFINITY, f32::NEG_INFINITY); width];
    let mut sums = vec![0.0_f64; width];
    let count = match train.in_memory() {
        Some(table) => table.len(),
        None => train.len().min(SEEN_VALUES_MAX / width.max(1)),
    };
    let Ok(piece) = train.piece(0..count) else { return Vec::new() };
    let rows = piece.of().0.features();
    for at in 0..rows.len() * width {
        let (value, input) = (value(rows, at), at % width);
        let (low, high) = &mut ranges[input];
        (*low, *high) = (low.min(value), high.max(value));
        sums[input] += f64::from(value);
    }
    let mut first = 0;
    let column = |becomes: &Becomes| {
        let at = first;
        first += becomes.inputs();
        match becomes {
            Becomes::Number { number: Some(number), .. } | Becomes::Date { days: Some(number), .. } => {
                let own = |stored: f64| stored * number.unit + number.shift;
                let (low, high) = ranges[at];
                let typical = own(number.median);
                Seen::Numbers { low: own(low.into()), high: own(high.into()), typical }
            }
            Becomes::Category { values, .. } => {
                let counts: BTreeMap<usize, f64> =
                    (0..values.len()).map(|value| (value, sums[at + value])).collect();
                let most = counts.into_iter().max_by(|one, other| one.1.total_cmp(&other.1));
                Seen::Texts { typical: most.map(|(value, _)| values[value].clone()) }
            }
            Becomes::Number { number: None, .. } | Becomes::Date { days: None, .. } => {
                Seen::Texts { typical: None }
            }
        }
    };
    preparation.columns.iter().map(|prepared| &prepared.becomes).map(column).collect()
}

#[cfg(test)]
mod tests {
    use table::ReadOptions;

    use super::*;
    use crate::data;

    #[test]
    fn what_occurred_in_training_is_in_the_columns_own_units() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("houses.csv");
        let mut text = String::from("id,area,town,price\n");
        for row in 0..40 {
            let town = ["Ulm", "Ulm", "Bonn"][row % 3];
            text += &format!("{},{},{town},{}\n", 1e9 + row as f64, 50 + row % 20, 1000 * row);
        }
        std::fs::write(&path, text).unwrap();
        let options = ReadOptions { keep: vec!["id".to_owned()], ..ReadOptions::default() };
        let dataset = data::load(&path, &options).unwrap().train;
        let prepared = data::prepare(dataset, None, 0.0, 1).unwrap();
        let seen = seen(&prepared.preparation, &prepared.train);
        let Seen::Numbers { low, high, .. } = seen[0] else { panic!("{seen:?}") };
        assert!((low - 1e9).abs() < 1e-2 && (high - 1e9 - 39.0).abs() < 1e-2, "{seen:?}");
        let Seen::Numbers { low, high, typical } = seen[1] else { panic!("{seen:?}") };
        assert_eq!((low, high), (50.0, 69.0));
        assert!((55.0..65.0).contains(&typical));
        assert_eq!(seen[2], Seen::Texts { typical: Some("Ulm".to_owned()) });
    }
}
